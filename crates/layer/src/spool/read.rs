//! Reads the uncompressed tar: at an offset, in chunks, as a stream.

use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::Spool;
use crate::{DiffId, Digest, Error, Result};

impl Spool {
    /// Fills `buffer` from byte `offset` of the uncompressed tar on.
    ///
    /// # Errors
    /// [`Error::Io`], also where the tar ends earlier.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|source| {
            let within = offset.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.size);
            let source = match source.kind() {
                io::ErrorKind::UnexpectedEof if within => self.shortened(),
                _ => source,
            };
            Error::Io { action: "read", name: self.name.clone(), source }
        })
    }

    /// The error for a file that ends before the size that it had when it was opened.
    fn shortened(&self) -> io::Error {
        let text = format!("it had {} bytes and became shorter while it was read", self.size);
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    }

    /// The bytes of a range of the uncompressed tar.
    ///
    /// # Errors
    /// As [`read_exact_at`](Self::read_exact_at).
    pub fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let too_large = || Error::TooLarge { name: self.name.clone(), size: range.end, max: self.size };
        if range.end > self.size {
            return Err(too_large());
        }
        let size = range.end.checked_sub(range.start).and_then(|size| usize::try_from(size).ok());
        let mut bytes = vec![0; size.ok_or_else(too_large)?];
        self.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }

    /// Hashes the whole uncompressed tar.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn diff_id(&self) -> Result<DiffId> {
        let mut reader = self.reader(0..self.size);
        match Digest::of_reader(&mut reader) {
            Ok((digest, _)) => Ok(DiffId(digest)),
            Err(source) => Err(reader.take_error().unwrap_or_else(|| Error::Io {
                action: "read",
                name: self.name.clone(),
                source,
            })),
        }
    }

    /// Calls `take` with the bytes of a range of the uncompressed tar, in order, with at most `chunk_size` of them
    /// at one time.
    ///
    /// # Errors
    /// As [`read_exact_at`](Self::read_exact_at); those of `take`.
    pub fn for_each_chunk<E: From<Error>>(
        &self,
        mut range: Range<u64>,
        chunk_size: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let step = |range: &Range<u64>| {
            let left = range.end.saturating_sub(range.start);
            usize::try_from(left).map_or(chunk_size, |left| left.min(chunk_size))
        };
        let mut chunk = vec![0; step(&range)];
        while !range.is_empty() {
            let chunk = &mut chunk[..step(&range)];
            self.read_exact_at(chunk, range.start)?;
            take(chunk)?;
            range.start += chunk.len() as u64;
        }
        Ok(())
    }

    /// A reader of a range of the uncompressed tar, with a position of its own.
    pub const fn reader(&self, range: Range<u64>) -> SpoolReader<'_> {
        SpoolReader { spool: self, range, failed: None }
    }
}

/// Reads a range of a [`Spool`], with a position of its own. It ends where the range ends: bytes that are appended
/// to the file meanwhile do not belong to the layer.
#[derive(Debug)]
pub struct SpoolReader<'s> {
    spool: &'s Spool,
    /// The bytes that are not read yet.
    range: Range<u64>,
    failed: Option<Error>,
}

impl SpoolReader<'_> {
    /// Takes the error of the layer because of which a read failed, of which an [`io::Error`] has the kind alone.
    pub const fn take_error(&mut self) -> Option<Error> {
        self.failed.take()
    }
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.end.saturating_sub(self.range.start);
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if let Err(error) = self.spool.read_exact_at(&mut buffer[..size], self.range.start) {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        self.range.start += size as u64;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn spool() -> Spool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        Spool::of_file("digits".into(), file, 10)
    }

    #[test]
    fn a_range_is_read_in_chunks_and_by_a_reader() {
        let spool = spool();
        for (range, chunks) in
            [(2..9, &["234", "567", "8"][..]), (0..3, &["012"]), (4..4, &[]), (10..10, &[])]
        {
            let mut taken = Vec::new();
            let done: Result<()> = spool.for_each_chunk(range.clone(), 3, |chunk| {
                taken.push(String::from_utf8_lossy(chunk).into_owned());
                Ok(())
            });
            done.unwrap();
            assert_eq!(taken, chunks, "{range:?}");
            let mut read = String::new();
            spool.reader(range).read_to_string(&mut read).unwrap();
            assert_eq!(read, chunks.concat());
        }
    }

    #[test]
    fn a_layer_that_became_shorter_is_an_error_that_says_so() {
        let spool = spool();
        spool.file.set_len(5).unwrap();
        let said = "became shorter while it was read";
        let mut reader = spool.reader(0..10);
        reader.read_to_end(&mut Vec::new()).unwrap_err();
        let errors = [
            reader.take_error().unwrap(),
            spool.for_each_chunk(0..10, 4, |_| Ok(())).unwrap_err(),
            spool.diff_id().unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(&error, Error::Io { source, .. } if source.to_string().contains(said)),
                "{error:?}"
            );
        }
    }
}
