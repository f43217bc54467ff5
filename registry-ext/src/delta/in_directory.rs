//! Files whose errors say in which directory they are.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes to a file without a name of its own: what fails says where it is.
pub(super) struct InDirectory<'f> {
    pub(super) file: &'f mut File,
    pub(super) dir: &'f Path,
}

impl Write for InDirectory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| match error.kind() {
            // The caller tries again.
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("cannot write a delta in {}: {error}", self.dir.display())),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
