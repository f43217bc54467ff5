//! Sources with their compressed streams decoded (tardf3).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use delta_format::wire::MAX_VIEW_SIZE;
use delta_format::{
    Budget, Error, Exhausted, Result, SourceFile, SourceFiles, SourcePath, View, ViewStream, Work,
};
use recode::Codec;
use tempfile::{SpooledData, SpooledTempFile, spooled_tempfile};

/// Decoded bytes of a source that are held in memory; more lie in an unlinked temporary file.
const MAX_IN_MEMORY: usize = 32 << 20;
/// Bytes of the source that are read at once while it is decoded.
const READ_SIZE: usize = 64 << 10;
/// Bytes of a stream that its decoder gets at first. It gets more from time to time, so that little is
/// charged and copied that lies after the end of a short stream.
const FIRST_READ: usize = 4 << 10;
/// Work to read from a source once, beside that for each byte.
const READ_WORK: u64 = 1 << 10;

/// Source files that can be opened through a view.
#[derive(Debug)]
pub(crate) struct Views<'s, S> {
    files: &'s mut S,
}

/// A source, as it lies there or decoded.
#[derive(Debug)]
pub(crate) enum ViewedFile<F> {
    Raw(F),
    Decoded(Spooled),
}

/// Decoded bytes.
#[derive(Debug)]
pub(crate) enum Spooled {
    InMemory(Vec<u8>),
    OnDisk { file: File, size: u64 },
}

impl<'s, S> Views<'s, S> {
    pub(crate) const fn new(files: &'s mut S) -> Self {
        Self { files }
    }
}

impl<S: SourceFiles> SourceFiles for Views<'_, S> {
    type File = ViewedFile<S::File>;

    fn open(&mut self, path: &SourcePath, budget: &Budget) -> Result<Self::File> {
        self.files.open(path, budget).map(ViewedFile::Raw)
    }

    fn open_view(&mut self, path: &SourcePath, view: &View, budget: &Budget) -> Result<Self::File> {
        let file = self.files.open(path, budget)?;
        let mut decoded = Decoded { path, budget, bytes: spooled_tempfile(MAX_IN_MEMORY), size: 0 };
        decoded.expand(&file, view)?;
        Ok(ViewedFile::Decoded(Spooled::new(decoded.bytes, decoded.size)))
    }
}

impl<F: SourceFile> SourceFile for ViewedFile<F> {
    fn size(&self) -> u64 {
        match self {
            Self::Raw(file) => file.size(),
            Self::Decoded(file) => file.size(),
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Raw(file) => file.read_exact_at(buffer, offset),
            Self::Decoded(file) => file.read_exact_at(buffer, offset),
        }
    }
}

impl Spooled {
    fn new(bytes: SpooledTempFile, size: u64) -> Self {
        match bytes.into_inner() {
            SpooledData::InMemory(bytes) => Self::InMemory(bytes.into_inner()),
            SpooledData::OnDisk(file) => Self::OnDisk { file, size },
        }
    }
}

impl SourceFile for Spooled {
    fn size(&self) -> u64 {
        match self {
            Self::InMemory(bytes) => bytes.len() as u64,
            Self::OnDisk { size, .. } => *size,
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::InMemory(bytes) => {
                let start = usize::try_from(offset).ok();
                let from = start.and_then(|start| bytes.get(start..)?.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Self::OnDisk { file, .. } => file.read_exact_at(buffer, offset),
        }
    }
}

/// The bytes that a source decodes to, as far as it is decoded.
struct Decoded<'p> {
    path: &'p SourcePath,
    budget: &'p Budget,
    bytes: SpooledTempFile,
    size: u64,
}

impl Decoded<'_> {
    /// Appends `file` with the streams of `view` decoded.
    fn expand(&mut self, file: &dyn SourceFile, view: &[ViewStream]) -> Result<()> {
        let mut position = 0;
        let mut window = Window { file, budget: self.budget, start: 0, bytes: Vec::new() };
        for stream in view {
            let start = position + self.copy(&mut window, position, stream.gap)?;
            let codec = Codec::from_code(stream.codec)
                .ok_or_else(|| self.undecodable(format!("codec {} is not known", stream.codec)))?;
            let encoded = StreamReader { window: &mut window, position: start, next: FIRST_READ };
            let left = MAX_VIEW_SIZE - self.size;
            let decoded = if stream.inner.is_empty() {
                let decoded = decode(codec, encoded, left, &mut self.bytes, self.budget);
                self.size += decoded.as_ref().map_or(0, |decoded| decoded.plain_size);
                decoded
            } else {
                let mut plain = spooled_tempfile(MAX_IN_MEMORY);
                let decoded = decode(codec, encoded, left, &mut plain, self.budget);
                if let Ok(decoded) = &decoded {
                    self.expand(&Spooled::new(plain, decoded.plain_size), &stream.inner)?;
                }
                decoded
            };
            position = start + decoded.map_err(|error| self.failed(error))?.encoded_size;
        }
        let rest = file.size().checked_sub(position).ok_or_else(|| self.too_short(file, position))?;
        self.copy(&mut window, position, rest)?;
        Ok(())
    }

    /// Appends bytes of a file as they are. Gives back their number.
    fn copy(&mut self, window: &mut Window<'_>, offset: u64, size: u64) -> Result<u64> {
        let end = offset.checked_add(size).filter(|end| *end <= window.file.size());
        let end = end.ok_or_else(|| self.too_short(window.file, offset.saturating_add(size)))?;
        self.size += size;
        if self.size > MAX_VIEW_SIZE {
            return Err(self.too_large());
        }
        let mut position = offset;
        while position < end {
            let wanted = usize::try_from(end - position).unwrap_or(READ_SIZE);
            let bytes = window.get(position, wanted).map_err(|source| self.unreadable(source))?;
            self.budget.charge(Work::reading(bytes.len() as u64))?;
            self.bytes.write_all(bytes).map_err(|source| self.unreadable(source))?;
            position += bytes.len() as u64;
        }
        Ok(size)
    }

    fn failed(&self, error: recode::Error) -> Error {
        match error {
            recode::Error::TooLarge { .. } => self.too_large(),
            recode::Error::Io { source, .. } => self.unreadable(source),
            other => self.undecodable(other),
        }
    }

    const fn too_large(&self) -> Error {
        Error::TooLarge { what: "a decoded source", size: MAX_VIEW_SIZE + 1, max: MAX_VIEW_SIZE }
    }

    fn too_short(&self, file: &dyn SourceFile, wanted: u64) -> Error {
        Error::SourceTooShort { path: self.path.clone(), size: file.size(), wanted }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        match Exhausted::of(&source) {
            Some(exhausted) => exhausted.into(),
            None => Error::SourceUnreadable { path: self.path.clone(), source },
        }
    }

    fn undecodable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::SourceUndecodable { path: self.path.clone(), source: source.into() }
    }
}

/// Decodes a stream, and charges it while it does.
fn decode(
    codec: Codec,
    mut encoded: StreamReader<'_, '_>,
    max_plain: u64,
    plain: &mut dyn Write,
    budget: &Budget,
) -> recode::Result<recode::Decoded> {
    let charge = |work| Ok(budget.charge(Work::reading(work))?);
    recode::decode_charged(codec, &mut encoded, max_plain, plain, &charge)
}

/// The bytes of a source that were read last: streams of a few bytes lie in them by the hundred.
struct Window<'f> {
    file: &'f dyn SourceFile,
    budget: &'f Budget,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Gives 1 to `wanted` bytes from `position` on; none at the end of the file.
    fn get(&mut self, position: u64, wanted: usize) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if position < self.start || position >= end {
            let left = self.file.size().saturating_sub(position);
            let size = usize::try_from(left).map_or(READ_SIZE, |left| left.min(READ_SIZE));
            self.budget.charge(Work::reading(READ_WORK + size as u64))?;
            self.bytes.resize(size, 0);
            self.start = position;
            if let Err(error) = self.file.read_exact_at(&mut self.bytes, position) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(position - self.start).unwrap_or(self.bytes.len());
        let held = &self.bytes[from..];
        Ok(&held[..held.len().min(wanted)])
    }
}

/// Reads a stream, first in small steps.
struct StreamReader<'w, 'f> {
    window: &'w mut Window<'f>,
    position: u64,
    /// Bytes that are given at once, at most.
    next: usize,
}

impl Read for StreamReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.window.get(self.position, buffer.len().min(self.next))?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.position += bytes.len() as u64;
        self.next = self.next.saturating_mul(2);
        Ok(bytes.len())
    }
}
