//! The memory that the entries of layers may take, whatever their compression hides.
//!
//! Headers compress a thousandfold: half a megabyte of a layer can hold a million entries, or names of
//! hundreds of megabytes. All who list entries keep some hundred bytes for each, and copies of its names.

use crate::{Entry, Error, Members, Result, Spool};

/// Memory for each byte of the layers as they are given. Entries of real layers take 16 bytes at least when
/// they are compressed, so that 256 allows each of them 4 KiB.
const RATIO: u64 = 256;
/// Memory for any layers: some ten thousand entries that compress to nothing.
const MIN_MEMORY: u64 = 64 << 20;
/// Memory for the largest layers: four million entries.
const MAX_MEMORY: u64 = 4 << 30;
/// Bytes that a diff holds of an entry, beside its names: 650 were measured.
const ENTRY_MEMORY: u64 = 768;
/// The copies of the names of an entry that a diff holds: 2.8 were measured.
const COPIES: u64 = 3;

/// The memory for the entries of one or several layers, which are listed together.
///
/// It counts what the most thorough reader holds, which is a diff: others take less.
#[derive(Debug, Clone)]
pub struct Listing {
    max: u64,
    used: u64,
}

impl Listing {
    /// Grants the entries of `layers` 256 bytes for each byte that the layers have as they are given, compressed
    /// or not; at least 64 MiB and at most 4 GiB.
    pub fn of<'s>(layers: impl IntoIterator<Item = &'s Spool>) -> Self {
        let size = layers.into_iter().map(Spool::blob_size).fold(0, u64::saturating_add);
        Self { max: size.saturating_mul(RATIO).clamp(MIN_MEMORY, MAX_MEMORY), used: 0 }
    }

    /// Grants the entries of any layers so many bytes of memory.
    pub const fn within(max: u64) -> Self {
        Self { max, used: 0 }
    }

    /// Lists the entries of one of the layers, as [`entries`](crate::entries) does.
    ///
    /// # Errors
    /// As [`entries`](crate::entries); [`Error::TooManyEntries`] if there is no memory left.
    pub fn entries(&mut self, layer: &Spool) -> Result<Vec<Entry>> {
        let mut members = Members::within(layer, self.clone());
        let listed = members.by_ref().map(|member| member.map(|member| member.entry)).collect();
        *self = members.into_listing();
        listed
    }

    /// The memory that the entries take so far, in bytes: an estimate that is rather too high.
    pub const fn memory(&self) -> u64 {
        self.used
    }

    /// Takes the memory of one entry, with `names` bytes of names and `records` bytes of extension headers.
    pub(crate) fn charge(&mut self, names: usize, records: usize, layer: &Spool) -> Result<()> {
        let memory = ENTRY_MEMORY + COPIES * names as u64 + records as u64;
        self.used = self.used.saturating_add(memory);
        if self.used > self.max {
            return Err(Error::TooManyEntries { name: layer.name().to_owned(), max: self.max });
        }
        Ok(())
    }
}
