//! Counts bytes that are of no use but for their number.

use std::io::{self, Write};

/// An output that keeps nothing but the number of its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counter(u64);

impl Counter {
    /// The bytes that were written to it.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
