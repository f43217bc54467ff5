//! Compares what an encoder makes with what it ought to make, while it is made.

use std::io::{self, Read, Write};

use crate::{Error, Result};

/// A writer that takes only the bytes that it expects: an encoder that makes others stops at once.
#[derive(Debug)]
pub(crate) struct Compare<'e> {
    rest: &'e [u8],
}

impl<'e> Compare<'e> {
    pub(crate) const fn new(expected: &'e [u8]) -> Self {
        Self { rest: expected }
    }

    /// Bytes that are still expected.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest = self.rest.strip_prefix(bytes).ok_or_else(|| io::Error::other("other bytes"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plain bytes of a stated size, read in pieces.
pub(crate) struct Plain<'p> {
    reader: &'p mut dyn Read,
    size: u64,
    left: u64,
}

impl<'p> Plain<'p> {
    pub(crate) fn new(reader: &'p mut dyn Read, size: u64) -> Self {
        Self { reader, size, left: size }
    }

    /// Bytes that were not read yet.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// Fills `buffer`, but for what is behind the end; gives the bytes read.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let mut got = 0;
        while got < want {
            match self.reader.read(&mut buffer[got..want]) {
                Ok(0) => {
                    let size = self.size - self.left + got as u64;
                    return Err(Error::PlainTooShort { size, expected: self.size });
                }
                Ok(size) => got += size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { action: "read the plain bytes", source }),
            }
        }
        self.left -= got as u64;
        Ok(got)
    }
}

/// Writes to the output of [`encode`](crate::encode).
pub(crate) fn put(output: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    output.write_all(bytes).map_err(|source| Error::Io { action: "write the stream", source })
}
