//! Files that are too large to hold, read from any offset on.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::ops::Range;

/// Bytes of a part that are read at a time.
const BUFFER_SIZE: usize = 64 << 10;

/// Bytes that can be read from any offset on, any number of times and by any thread: those of a file, or a slice.
pub trait ReadAt: Sync {
    /// The number of bytes.
    fn size(&self) -> u64;

    /// Returns a reader of a range of the bytes, which ends where the range or the file ends.
    fn reader(&self, range: Range<u64>) -> Box<dyn Read + '_>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn reader(&self, range: Range<u64>) -> Box<dyn Read + '_> {
        let offset = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let (start, end) = (offset(range.start), offset(range.end));
        Box::new(self.get(start..end).unwrap_or(&[]))
    }
}

/// A range of the bytes of a file.
#[derive(Clone)]
pub struct Part<'f> {
    /// The file.
    pub file: &'f dyn ReadAt,
    /// The range, in bytes.
    pub range: Range<u64>,
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Part").field("range", &self.range).finish_non_exhaustive()
    }
}

impl<'f> Part<'f> {
    pub(crate) const fn size(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    pub(crate) fn reader(&self) -> BufReader<Box<dyn Read + 'f>> {
        BufReader::with_capacity(BUFFER_SIZE, self.file.reader(self.range.clone()))
    }
}

/// Returns the bytes from `offset` on: `size` of them, or as many as there are.
pub(crate) fn peek(file: &dyn ReadAt, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.reader(offset..offset.saturating_add(size as u64)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
