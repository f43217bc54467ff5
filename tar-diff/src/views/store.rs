//! The file that decoded files lie in until the delta is written.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use layer::Spool;

use crate::{Error, Result};

/// An unlinked temporary file to which any thread appends.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    /// Bytes that are taken.
    end: AtomicU64,
}

impl Store {
    /// Makes the file in `directory`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(Error::Store)?;
        Ok(Self { file, end: AtomicU64::new(0) })
    }

    /// Appends bytes. Gives where they lie.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) fn append(&self, bytes: &[u8]) -> Result<Range<u64>> {
        let start = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(bytes, start).map_err(Error::Store)?;
        Ok(start..start + bytes.len() as u64)
    }

    /// Returns the appended files, to be read.
    pub(crate) fn into_spool(self) -> Spool {
        Spool::of_file("decoded files".into(), self.file, self.end.into_inner())
    }
}
