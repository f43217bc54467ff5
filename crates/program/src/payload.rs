//! The parts of a payload.
//!
//! ```text
//! payload  = size:uvarint part{9} part{11}?     size of the new file
//! part     = size:uvarint bytes
//! parts    = places rules adds literals seeks runs rests differences new
//!            calls loads branches stack misses tables jumps starts lengths pads actions   only with rules
//! places   = bytes{4}*                         of blocks that are far from the end of another, where they read
//! adds     = uvarint*                          of each block, the bytes along the old file
//! literals = uvarint*                          of each block, the new bytes after those
//! seeks    = uvarint*                          of each block, how far from the end of another it reads, or 0
//! runs     = byte*                             over the bytes along the old file, as `runs.rs` has them
//! rests    = uvarint*                          of long runs
//! ```
//!
//! Numbers and bytes of one meaning stand together, over all blocks of the file, since a compressor finds
//! more in them then.

use crate::call_sites::{COLUMNS, Rows};
use crate::misses::{Missed, Misses};
use crate::operands::{New, Taken};
use crate::rules::Rules;
use crate::runs::Runs;
use crate::seeks::{SeekReader, Seeks};
use crate::varint::{Reader, put};
use crate::wire::read_rules;
use crate::{Error, MAX_SIZE, Result};

/// A stretch of the new file that lies along a stretch of the old one, and new bytes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The position in the old file that it starts at.
    pub source: u32,
    /// Bytes along the old file, of which some may differ.
    pub add: u32,
    /// New bytes.
    pub literal: u32,
}

/// A payload, taken apart.
#[derive(Debug, Clone)]
pub struct Payload<'p> {
    pub(crate) size: usize,
    pub(crate) blocks: Vec<Block>,
    pub(crate) rules: &'p [u8],
    pub(crate) runs: [&'p [u8]; 2],
    pub(crate) differences: &'p [u8],
    pub(crate) new: New<'p>,
    pub(crate) misses: [&'p [u8]; 3],
    pub(crate) rows: [&'p [u8]; COLUMNS],
    sizes: Sizes,
}

/// Bytes of the parts of a payload, to explain its cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Rules.
    pub rules: usize,
    /// Blocks.
    pub blocks: usize,
    /// Lengths of the runs of bytes that were as predicted, and of others.
    pub runs: usize,
    /// The differences of the bytes that are not as predicted, and the addresses that are not.
    pub differences: usize,
    /// New bytes, with the addresses of their operands and the rows of call sites.
    pub new: usize,
}

impl<'p> Payload<'p> {
    /// Takes a payload apart and checks that its blocks make a file. `old_size` is the size of the old file,
    /// if it is known.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(payload: &'p [u8], old_size: Option<usize>) -> Result<Self> {
        let mut reader = Reader::new(payload, "the payload");
        let size = reader.at_most("the size of the new file", MAX_SIZE)?;
        let (places, rules) = (reader.part()?, reader.part()?);
        let columns = [reader.part()?, reader.part()?, reader.part()?, places];
        let (runs, differences) = ([reader.part()?, reader.part()?], reader.part()?);
        let new = reader.part()?;
        let mut of_rules = || if rules.is_empty() { Ok(&[][..]) } else { reader.part() };
        let (calls, loads, branches, stack) = (of_rules()?, of_rules()?, of_rules()?, of_rules()?);
        let new = New { new, calls, loads, branches, stack };
        let misses = [of_rules()?, of_rules()?, of_rules()?];
        let rows = [of_rules()?, of_rules()?, of_rules()?, of_rules()?];
        reader.end()?;
        let blocks = read_blocks(columns, size, old_size.unwrap_or(MAX_SIZE))?;
        let sizes = Sizes {
            rules: rules.len(),
            blocks: columns.iter().map(|column| column.len()).sum(),
            runs: runs.iter().map(|part| part.len()).sum(),
            differences: differences.len() + misses.iter().map(|part| part.len()).sum::<usize>(),
            new: [new.new, calls, loads, branches, stack].iter().chain(&rows).map(|part| part.len()).sum(),
        };
        Ok(Self { size, blocks, rules, runs, differences, new, misses, rows, sizes })
    }

    /// The misses.
    pub(crate) const fn misses(&self) -> Misses<'p> {
        Misses::new(self.misses)
    }

    /// The size of the new file in bytes.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// The blocks, in the order of the new file.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The sizes of the parts.
    pub const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Reads the rules without the old file, to show them: rules that reach past its end are not noticed. Returns
    /// none if there are none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rules(&self) -> Result<Rules> {
        match self.has_rules() {
            true => read_rules(&mut Reader::new(self.rules, "the rules"), MAX_SIZE),
            false => Ok(Rules::default()),
        }
    }

    /// True if it has rules: without, it is nothing but ops in another order.
    pub const fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }
}

/// Reads the blocks of a new file of `size` bytes.
pub(crate) fn read_blocks(
    [adds, literals, seeks, places]: [&[u8]; 4],
    size: usize,
    old_size: usize,
) -> Result<Vec<Block>> {
    let mut adds = Reader::new(adds, "the adds");
    let mut literals = Reader::new(literals, "the literals");
    let mut seeks = SeekReader::new([seeks, places]);
    let mut blocks = Vec::new();
    let mut left = size;
    let max = old_size.min(MAX_SIZE) as u64;
    let narrow = |size: usize| u32::try_from(size).map_err(|_| Error::Block("it is too large"));
    while !adds.is_empty() {
        let add = adds.at_most("an add", left)?;
        let literal = literals.at_most("a literal", left - add)?;
        let source = seeks.next(add as u64, max)?;
        if add + literal == 0 {
            return Err(Error::Block("it is empty"));
        }
        left -= add + literal;
        blocks.push(Block { source, add: narrow(add)?, literal: narrow(literal)? });
    }
    literals.end()?;
    seeks.end()?;
    if left > 0 {
        return Err(Error::Block("the blocks end before the new file does"));
    }
    Ok(blocks)
}

/// The parts that are written.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) rules: Vec<u8>,
    adds: Vec<u8>,
    literals: Vec<u8>,
    seeks: Seeks,
    runs: Runs,
    pub(crate) taken: Taken,
    pub(crate) missed: Missed,
    pub(crate) rows: Rows,
}

impl Parts {
    pub(crate) fn block(&mut self, block: Block) {
        put(&mut self.adds, block.add.into());
        put(&mut self.literals, block.literal.into());
        self.seeks.put(block.source, block.add);
    }

    /// Adds the next bytes along the old file: what they differ by.
    pub(crate) fn along(&mut self, predicted: &[u8], bytes: &[u8]) {
        self.runs.along(predicted, bytes);
    }

    /// Bytes of differences.
    pub(crate) fn differing(&self) -> usize {
        self.runs.differing()
    }

    /// The payload of a new file of `size` bytes.
    pub(crate) fn finish(self, size: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        put(&mut payload, size as u64);
        let Self { rules, adds, literals, seeks, runs, taken, missed, rows } = self;
        let [runs, rests, differences] = runs.into_parts();
        let Taken { new, calls, loads, branches, stack, .. } = taken;
        let [gaps, tables, jumps] = missed.into_parts();
        let has_rules = !rules.is_empty();
        let of_rules =
            [calls, loads, branches, stack, gaps, tables, jumps].into_iter().chain(rows.into_parts());
        let of_rules = of_rules.filter(|_| has_rules);
        let [seeks, places] = seeks.into_parts();
        let parts = [places, rules, adds, literals, seeks, runs, rests, differences, new];
        for part in parts.into_iter().chain(of_rules) {
            put(&mut payload, part.len() as u64);
            payload.extend(part);
        }
        payload
    }
}
