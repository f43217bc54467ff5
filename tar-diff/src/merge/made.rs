//! A middle layer while the ops of its delta are read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use layer::Spool;

use super::compose::{Place, Sink};
use super::pieces::{Origin, Pieces};
use super::{DeltaMergeOptions, stored};
use crate::Result;

/// Bytes of literals that are written at one time.
const BUFFER_SIZE: usize = 256 << 10;

/// A middle layer in the making: a sparse tar, in which all that comes from the old layers is a hole.
pub(super) struct LayerInTheMaking {
    tar: File,
    pieces: Pieces,
    /// Literals that are not written yet, and the place where they start.
    literals: Vec<u8>,
    start: u64,
    stored: u64,
}

impl LayerInTheMaking {
    pub(super) fn new(options: &DeltaMergeOptions) -> Result<Self> {
        let file = || tempfile::tempfile_in(&options.temp_dir).map_err(|error| stored(error, "make"));
        let (tar, pieces) = (file()?, Pieces::new(file()?));
        Ok(Self { tar, pieces, literals: Vec::new(), start: 0, stored: 0 })
    }

    /// Returns the tar, and the origins of its bytes.
    pub(super) fn finish(mut self) -> Result<(Spool, Pieces)> {
        self.flush()?;
        self.pieces.flush().map_err(|error| stored(error, "write"))?;
        let size = self.pieces.size();
        self.tar.set_len(size).map_err(|error| stored(error, "write"))?;
        Ok((Spool::of_file("the middle layer".into(), self.tar, size), self.pieces))
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.tar.write_all_at(&self.literals, self.start);
        self.literals.clear();
        written.map_err(|error| stored(error, "write"))
    }
}

impl Sink for LayerInTheMaking {
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.pieces.size();
        let is_next = self.start + self.literals.len() as u64 == at;
        if !is_next || self.literals.len() + bytes.len() > BUFFER_SIZE {
            self.flush()?;
            self.start = at;
        }
        self.literals.extend_from_slice(bytes);
        self.stored += bytes.len() as u64;
        self.pieces.push(bytes.len() as u64, Origin::Literal);
        Ok(())
    }

    fn copy(&mut self, from: Place<'_>, size: u64) -> Result<()> {
        self.pieces.push(size, Origin::Copy { source: from.source, offset: from.offset });
        Ok(())
    }

    fn add(&mut self, to: Place<'_>, difference: &[u8]) -> Result<()> {
        self.stored += difference.len() as u64;
        let added = self.pieces.push_add(to.source, to.offset, difference);
        added.map_err(|error| stored(error, "write"))
    }

    fn memory(&self) -> u64 {
        self.pieces.memory()
    }

    fn stored(&self) -> u64 {
        self.stored
    }
}
