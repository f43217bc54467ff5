//! The table of `.eh_frame_hdr`: it is computed from the records of the new file, and no block carries it.
//!
//! ```text
//! .eh_frame_hdr   header  (code, record)*     sorted by code, each relative to the header
//! .eh_frame       record* ---------^          which has the address of its code
//! ```

use std::ops::Range;

use crate::form::{self, sign_extend, word32};
#[cfg(feature = "writer")]
use crate::normalise::Overlay;
use crate::scan::for_each_record;
use crate::space::Space;
use crate::{Error, Result};

/// Bytes of an entry: two numbers of 32 bits.
pub(crate) const ENTRY_SIZE: usize = 8;
/// Bytes of the header before the table, whose address the numbers are relative to.
pub(crate) const HEADER_SIZE: u32 = 12;

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

    /// Fails if the table lies among its records.
    pub(crate) fn check(&self) -> Result<()> {
        let table = self.range();
        if self.records.start > self.records.end
            || table.start < self.records.end.into() && u64::from(self.records.start) < table.end
        {
            return Err(Error::Rule("a table of frames lies among its records"));
        }
        Ok(())
    }

    /// Computes the table. `bytes` are those of the file from `start` on.
    pub(crate) fn compute(&self, bytes: &[u8], start: u64, space: Space<'_>) -> Vec<u8> {
        let entries = self.entries(bytes, start, space);
        let numbers = entries.iter().flat_map(|(code, record)| [code.cast_unsigned(), *record]);
        numbers.flat_map(u32::to_le_bytes).collect()
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

    /// The entries: of records with the same code the first has one.
    #[expect(clippy::cast_possible_truncation, reason = "both numbers have 32 bits")]
    fn entries(&self, bytes: &[u8], start: u64, space: Space<'_>) -> Vec<(i32, u32)> {
        let header = space.address(self.start.wrapping_sub(HEADER_SIZE));
        let index = |position: u32| form::index(u64::from(position) - start);
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
}
