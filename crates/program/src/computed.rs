//! Tables of the new file that are computed from other bytes of it, so that no block carries them.
//!
//! A block of its own makes the bytes that are added to the computed ones: zeros, which runs tell, if a linker made
//! the table as it is computed here. What a table is computed from comes after it as a rule, so that pieces are held
//! back until both are there.

use std::ops::Range;

use crate::form::index;
use crate::frame_table::FrameTable;
use crate::hash_table::HashTable;
use crate::payload::Block;
use crate::space::Space;
use crate::{Error, MAX_HELD, Result};

/// The part of the bytes of a table that may be otherwise than computed for it to be worth it.
#[cfg(feature = "writer")]
const MAX_LEFT: usize = 8;

/// A table, and what it is computed from.
#[derive(Debug, Clone)]
pub(crate) enum Computed {
    Hash(HashTable),
    Frames(FrameTable),
}

impl Computed {
    /// The bytes of the table.
    pub(crate) fn range(&self) -> Range<u64> {
        match self {
            Self::Hash(table) => table.range(),
            Self::Frames(table) => table.range(),
        }
    }

    /// The bytes from the first of the table and of what it is computed from to the last.
    pub(crate) fn held(&self) -> Range<u64> {
        match self {
            Self::Hash(table) => table.held(),
            Self::Frames(table) => table.held(),
        }
    }

    /// Fails if it does not lie in a file of `size` bytes, or among what it is computed from.
    fn check(&self, size: usize) -> Result<()> {
        match self {
            Self::Hash(table) => table.check()?,
            Self::Frames(table) => table.check()?,
        }
        if self.held().end > size as u64 {
            return Err(Error::Rule("a table that is computed reaches past the new file"));
        }
        Ok(())
    }

    /// Computes the bytes of the table, as many as there are. `bytes` are those of the file from `start` on.
    fn compute(&self, bytes: &[u8], start: u64, space: Space<'_>) -> Vec<u8> {
        match self {
            Self::Hash(table) => table.compute(bytes, start),
            Self::Frames(table) => table.compute(bytes, start, space),
        }
    }

    /// Adds the computed bytes to what lies in the place of the table. `bytes` are those of the file from `start` on.
    fn add(&self, bytes: &mut [u8], start: u64, space: Space<'_>) {
        let computed = self.compute(bytes, start, space);
        let range = self.range();
        let table = bytes.get_mut(index(range.start - start)..index(range.end - start)).unwrap_or_default();
        table.iter_mut().zip(computed).for_each(|(byte, computed)| *byte = byte.wrapping_add(computed));
    }

    /// Returns the bytes that a block makes in the place of the table of a whole file.
    pub(crate) fn left(&self, file: &[u8], space: Space<'_>) -> Vec<u8> {
        let (table, held) = (self.range(), self.held());
        let computed = self.compute(&file[index(held.start)..index(held.end)], held.start, space);
        let mut left = file[index(table.start)..index(table.end)].to_vec();
        left.iter_mut().zip(computed).for_each(|(byte, computed)| *byte = byte.wrapping_sub(computed));
        left
    }

    /// Returns true if a linker made the table of a whole file as it is computed here, and little is held for it.
    #[cfg(feature = "writer")]
    pub(crate) fn is_computable(&self, file: &[u8], space: Space<'_>) -> bool {
        if check(std::slice::from_ref(self), file.len()).is_err() {
            return false;
        }
        let left = self.left(file, space);
        left.iter().filter(|byte| **byte != 0).count() <= left.len() / MAX_LEFT
    }

    /// Returns true if the table is all that a block at `start` makes.
    pub(crate) fn is_made_by(&self, block: Block, start: u32) -> bool {
        let table = self.range();
        block.add == 0
            && u64::from(start) == table.start
            && u64::from(start) + u64::from(block.literal) == table.end
    }
}

/// Returns the number of bytes that are held for tables.
pub(crate) fn held_size(tables: &[Computed]) -> u64 {
    tables.iter().map(Computed::held).map(|held| held.end - held.start).sum()
}

/// Fails if tables do not lie in a file of `size` bytes, or too much would be held back for them.
pub(crate) fn check(tables: &[Computed], size: usize) -> Result<()> {
    tables.iter().try_for_each(|table| table.check(size))?;
    let value = held_size(tables);
    if value > MAX_HELD {
        return Err(Error::TooLarge { what: "what is held for tables", value, max: MAX_HELD });
    }
    let mut ranges: Vec<_> = tables.iter().map(Computed::held).filter(|held| !held.is_empty()).collect();
    ranges.sort_by_key(|held| held.start);
    if ranges.windows(2).any(|pair| pair[1].start < pair[0].end) {
        return Err(Error::Rule("a byte is held for two tables"));
    }
    Ok(())
}

/// Returns the blocks with one for each of the tables alone, in place of what they make there.
pub(crate) fn cut(tables: &[Computed], blocks: &[Block]) -> Vec<Block> {
    let ranges: Vec<_> = tables.iter().map(Computed::range).collect();
    let mut cut = Cut { blocks: Vec::with_capacity(blocks.len() + 2 * tables.len()), table: None };
    let mut position = 0u64;
    for block in blocks {
        let mut source = block.source;
        for (size, is_new) in [(block.add, false), (block.literal, true)] {
            let end = position + u64::from(size);
            while position < end {
                let table = ranges.iter().position(|range| range.contains(&position));
                let next = match table {
                    Some(table) => Some(ranges[table].end),
                    None => ranges.iter().map(|range| range.start).filter(|start| *start > position).min(),
                };
                let next = next.map_or(end, |next| next.min(end));
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a part of a stretch, whose size has 32 bits"
                )]
                let part = (next - position) as u32;
                cut.push(source, part, is_new, table);
                source += if is_new { 0 } else { part };
                position = next;
            }
        }
    }
    cut.blocks
}

/// Blocks that are put together of their parts.
struct Cut {
    blocks: Vec<Block>,
    /// The table that the last one makes.
    table: Option<usize>,
}

impl Cut {
    fn push(&mut self, source: u32, size: u32, is_new: bool, table: Option<usize>) {
        let is_carried = is_new || table.is_some();
        match self.blocks.last_mut() {
            Some(last) if is_carried && table == self.table => last.literal += size,
            _ if is_carried => self.blocks.push(Block { source, add: 0, literal: size }),
            _ => self.blocks.push(Block { source, add: size, literal: 0 }),
        }
        self.table = table;
    }
}

/// The pieces that are held back until a table can be computed.
#[derive(Debug)]
pub(crate) struct Held {
    table: Computed,
    /// The bytes that are held.
    bytes: Vec<u8>,
    /// The position of the first of them.
    start: u64,
}

impl Held {
    pub(crate) const fn new(table: Computed) -> Self {
        Self { table, bytes: Vec::new(), start: 0 }
    }

    pub(crate) const fn table(&self) -> &Computed {
        &self.table
    }

    /// Takes a piece that ends at a position of the new file. Returns true if it goes on: as it is, or with all that
    /// was held before it.
    pub(crate) fn passes(&mut self, piece: &mut Vec<u8>, end: u64, space: Space<'_>) -> bool {
        let held = self.table.held();
        let start = end - piece.len() as u64;
        if end <= held.start || start >= held.end {
            return true;
        }
        if self.bytes.is_empty() {
            self.start = start;
        }
        self.bytes.append(piece);
        if end < held.end {
            return false;
        }
        self.table.add(&mut self.bytes, self.start, space);
        *piece = std::mem::take(&mut self.bytes);
        true
    }
}
