//! The table of `.eh_frame_hdr`: it is computed from the records of the new file, and no block carries it.
//!
//! ```text
//! .eh_frame_hdr   header  (code, record)*     sorted by code, each relative to the header
//! .eh_frame       record* ---------^          which has the address of its code
//! ```
//!
//! A block of its own makes the bytes that are added to the computed ones: zeros, which runs tell, if a linker made
//! the table as it is computed here. The records come after the table as a rule, so that pieces are held back
//! until both are there.

use std::ops::Range;

use crate::form::{sign_extend, word32};
#[cfg(feature = "writer")]
use crate::normalise::Overlay;
use crate::payload::Block;
use crate::scan::for_each_record;
use crate::space::Space;
use crate::{Error, MAX_HELD, Result};

/// Bytes of an entry: two numbers of 32 bits.
pub(crate) const ENTRY_SIZE: usize = 8;
/// Bytes of the header before the table, whose address the numbers are relative to.
pub(crate) const HEADER_SIZE: u32 = 12;

/// The part of the bytes of a table that may be otherwise than computed for it to be worth it.
#[cfg(feature = "writer")]
const MAX_LEFT: usize = 8;

/// A table in the new file, and the records that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTable {
    /// The position of the first entry.
    pub start: u32,
    /// The number of entries.
    pub count: u32,
    /// The records.
    pub records: Range<u32>,
}

impl FrameTable {
    /// The bytes of the table.
    pub(crate) fn range(&self) -> Range<u64> {
        let start = u64::from(self.start);
        start..start + u64::from(self.count) * ENTRY_SIZE as u64
    }

    /// The bytes from the first of table and records to the last.
    pub(crate) fn held(&self) -> Range<u64> {
        let table = self.range();
        table.start.min(self.records.start.into())..table.end.max(self.records.end.into())
    }

    /// The number of bytes that are held.
    pub(crate) fn held_size(&self) -> usize {
        let held = self.held();
        usize::try_from(held.end - held.start).unwrap_or(usize::MAX)
    }

    /// Fails if it does not lie in a file of `size` bytes, or too much would be held back for it.
    pub(crate) fn check(&self, size: usize) -> Result<()> {
        let held = self.held();
        if self.records.start > self.records.end || held.end > size as u64 {
            return Err(Error::Rule("a table of frames reaches past the new file"));
        }
        let table = self.range();
        if table.start < self.records.end.into() && u64::from(self.records.start) < table.end {
            return Err(Error::Rule("a table of frames lies among its records"));
        }
        let size = held.end - held.start;
        if size > MAX_HELD {
            return Err(Error::TooLarge { what: "what is held for a table", value: size, max: MAX_HELD });
        }
        Ok(())
    }

    /// Adds the entries of the table to what lies in its place. `bytes` are those of the file from `start` on.
    pub(crate) fn add(&self, bytes: &mut [u8], start: u64, space: Space<'_>) {
        self.change(bytes, start, space, u8::wrapping_add);
    }

    /// Returns the bytes that a block makes in the place of the table of a whole file.
    pub(crate) fn left(&self, file: &[u8], space: Space<'_>) -> Vec<u8> {
        let index = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        let (table, held) = (self.range(), self.held());
        let mut bytes = file[index(held.start)..index(held.end)].to_vec();
        self.change(&mut bytes, held.start, space, u8::wrapping_sub);
        bytes.drain(..index(table.start - held.start));
        bytes.truncate(index(table.end - table.start));
        bytes
    }

    /// Returns true if a linker made the table of a whole file as it is computed here.
    #[cfg(feature = "writer")]
    pub(crate) fn is_computable(&self, file: &[u8], space: Space<'_>) -> bool {
        if self.check(file.len()).is_err() {
            return false;
        }
        let left = self.left(file, space);
        left.iter().filter(|byte| **byte != 0).count() <= left.len() / MAX_LEFT
    }

    /// The first number of each entry in a file, as it lies there, with the place of the code.
    #[cfg(feature = "writer")]
    pub(crate) fn codes(&self, file: &[u8], space: Space<'_>) -> Vec<Overlay> {
        let header = space.address(self.start.wrapping_sub(HEADER_SIZE));
        let code = |position: u32| {
            let address = header.wrapping_add(sign_extend(word32(file, position as usize)));
            Some(Overlay { position, width: ENTRY_SIZE / 2, place: space.place(address)? })
        };
        (self.start..).step_by(ENTRY_SIZE).take(self.count as usize).filter_map(code).collect()
    }

    fn change(&self, bytes: &mut [u8], start: u64, space: Space<'_>, change: impl Fn(u8, u8) -> u8) {
        let entries = self.entries(bytes, start, space);
        let at = usize::try_from(self.range().start - start).unwrap_or(usize::MAX);
        let table = bytes.get_mut(at..at + ENTRY_SIZE * self.count as usize).unwrap_or_default();
        let numbers = entries.iter().flat_map(|(code, record)| [code.cast_unsigned(), *record]);
        for (byte, computed) in table.iter_mut().zip(numbers.flat_map(u32::to_le_bytes)) {
            *byte = change(*byte, computed);
        }
    }

    /// The entries: of records with the same code the first has one.
    #[expect(clippy::cast_possible_truncation, reason = "both numbers have 32 bits")]
    fn entries(&self, bytes: &[u8], start: u64, space: Space<'_>) -> Vec<(i32, u32)> {
        let header = space.address(self.start.wrapping_sub(HEADER_SIZE));
        let index = |position: u32| usize::try_from(u64::from(position) - start).unwrap_or(usize::MAX);
        let relative = |index: usize| space.address((index as u64 + start) as u32).wrapping_sub(header);
        let mut entries = Vec::new();
        for_each_record(bytes, index(self.records.start)..index(self.records.end), |record| {
            if let Some(code) = record.code {
                let distance = relative(code).wrapping_add(sign_extend(word32(bytes, code)));
                entries.push(((distance as u32).cast_signed(), relative(record.position) as u32));
            }
            true
        });
        entries.sort_by_key(|(code, _)| *code);
        entries.dedup_by_key(|(code, _)| *code);
        entries
    }

    /// Returns true if the table is all that a block at `start` makes.
    pub(crate) fn is_made_by(&self, block: Block, start: u32) -> bool {
        block.add == 0
            && start == self.start
            && u64::from(block.literal) == u64::from(self.count) * ENTRY_SIZE as u64
    }

    /// Returns the blocks with one for the table alone, in place of what they make there.
    pub(crate) fn cut(&self, blocks: &[Block]) -> Vec<Block> {
        let mut cut = Cut { blocks: Vec::with_capacity(blocks.len() + 2), is_table: false };
        let mut position = 0u64;
        for block in blocks {
            let mut source = block.source;
            for (size, is_new) in [(block.add, false), (block.literal, true)] {
                for (size, is_table) in self.parts(position, size).into_iter().zip([false, true, false]) {
                    cut.push(source, size, is_new, is_table);
                    source += if is_new { 0 } else { size };
                }
                position += u64::from(size);
            }
        }
        cut.blocks
    }

    /// The bytes of a stretch of the file that lie before the table, in it, and after it.
    fn parts(&self, position: u64, size: u32) -> [u32; 3] {
        let (table, end) = (self.range(), position + u64::from(size));
        let bounds = [position, table.start.clamp(position, end), table.end.clamp(position, end), end];
        #[expect(clippy::cast_possible_truncation, reason = "parts of a stretch, whose size has 32 bits")]
        [0, 1, 2].map(|index| (bounds[index + 1] - bounds[index]) as u32)
    }
}

/// Blocks that are put together of their parts.
struct Cut {
    blocks: Vec<Block>,
    /// True if the last one is that of the table.
    is_table: bool,
}

impl Cut {
    fn push(&mut self, source: u32, size: u32, is_new: bool, is_table: bool) {
        let is_carried = is_new || is_table;
        match self.blocks.last_mut() {
            _ if size == 0 => return,
            Some(last) if is_carried && is_table == self.is_table => last.literal += size,
            _ if is_carried => self.blocks.push(Block { source, add: 0, literal: size }),
            _ => self.blocks.push(Block { source, add: size, literal: 0 }),
        }
        self.is_table = is_table;
    }
}

/// The pieces that are held back until a table can be computed.
#[derive(Debug)]
pub(crate) struct Held {
    table: FrameTable,
    /// The bytes that are held.
    bytes: Vec<u8>,
    /// The position of the first of them.
    start: u64,
}

impl Held {
    pub(crate) const fn table(&self) -> &FrameTable {
        &self.table
    }

    pub(crate) const fn new(table: FrameTable) -> Self {
        Self { table, bytes: Vec::new(), start: 0 }
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
