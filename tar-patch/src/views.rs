//! Sources with their compressed streams decoded (tardf3).

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use delta_format::wire::MAX_VIEW_SIZE;
use delta_format::{Error, Result, SourceFile, SourceFiles, SourcePath, View, ViewStream};
use recode::Codec;
use tempfile::SpooledTempFile;
use tempfile::spooled_tempfile;

/// Decoded bytes of a source that are held in memory; more lie in an unlinked temporary file.
const MAX_IN_MEMORY: usize = 32 << 20;
/// Bytes of the source that are read at once while it is decoded.
const READ_SIZE: usize = 64 << 10;
/// What a stream counts as at least, in bytes: to set up a decoder takes about as long. The most
/// streams of one view stay within any bound.
const STREAM_WORK: u64 = 4 << 10;

/// Source files that can be opened through a view.
#[derive(Debug)]
pub(crate) struct Views<'s, S> {
    files: &'s mut S,
}

/// A source, as it lies there or decoded.
#[derive(Debug)]
pub(crate) enum ViewedFile<F> {
    Raw(F),
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

    fn open(&mut self, path: &SourcePath) -> Result<Self::File> {
        self.files.open(path).map(ViewedFile::Raw)
    }

    fn open_view(&mut self, path: &SourcePath, view: &View, max_plain: u64) -> Result<(Self::File, u64)> {
        let file = self.files.open(path)?;
        let mut decoded = Decoded {
            path,
            bytes: spooled_tempfile(MAX_IN_MEMORY),
            size: 0,
            work: 0,
            max: max_plain.min(MAX_VIEW_SIZE),
        };
        decoded.expand(&file, view)?;
        let (size, work) = (decoded.size, decoded.work);
        let file = match decoded.bytes.into_inner() {
            tempfile::SpooledData::InMemory(bytes) => ViewedFile::InMemory(bytes.into_inner()),
            tempfile::SpooledData::OnDisk(file) => ViewedFile::OnDisk { file, size },
        };
        Ok((file, work))
    }
}

impl<F: SourceFile> SourceFile for ViewedFile<F> {
    fn size(&self) -> u64 {
        match self {
            Self::Raw(file) => file.size(),
            Self::InMemory(bytes) => bytes.len() as u64,
            Self::OnDisk { size, .. } => *size,
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Raw(file) => file.read_exact_at(buffer, offset),
            Self::InMemory(bytes) => Bytes(bytes).read_exact_at(buffer, offset),
            Self::OnDisk { file, .. } => file.read_exact_at(buffer, offset),
        }
    }
}

/// What a source decodes to, as far as it is decoded.
struct Decoded<'p> {
    path: &'p SourcePath,
    bytes: SpooledTempFile,
    size: u64,
    /// Bytes read and decoded, at every depth: a stream of empty blocks decodes to nothing, and takes
    /// its time all the same.
    work: u64,
    max: u64,
}

impl Decoded<'_> {
    /// Appends `file` with the streams of `view` decoded.
    fn expand(&mut self, file: &dyn SourceFile, view: &[ViewStream]) -> Result<()> {
        let mut position = 0;
        for stream in view {
            let start = position + self.copy(file, position, stream.gap)?;
            let codec = Codec::from_code(stream.codec)
                .ok_or_else(|| self.undecodable(format!("codec {} is not known", stream.codec)))?;
            let mut encoded = BufReader::with_capacity(READ_SIZE, FileReader { file, position: start });
            let left = self.max - self.size;
            let decoded = if stream.inner.is_empty() {
                let decoded = recode::decode(codec, &mut encoded, left, &mut self.bytes);
                self.size += decoded.as_ref().map_or(0, |decoded| decoded.plain_size);
                decoded
            } else {
                let mut plain = Vec::new();
                let decoded = recode::decode(codec, &mut encoded, left, &mut plain);
                if decoded.is_ok() {
                    self.expand(&Bytes(&plain), &stream.inner)?;
                }
                decoded
            };
            let decoded = decoded.map_err(|error| self.failed(error))?;
            self.work += decoded.encoded_size + decoded.plain_size + STREAM_WORK;
            position = start + decoded.encoded_size;
        }
        let rest = file.size().checked_sub(position).ok_or_else(|| self.too_short(file, position))?;
        self.copy(file, position, rest)?;
        Ok(())
    }

    /// Appends bytes of `file` as they are. Gives back their number.
    fn copy(&mut self, file: &dyn SourceFile, offset: u64, size: u64) -> Result<u64> {
        let end = offset.checked_add(size).filter(|end| *end <= file.size());
        let end = end.ok_or_else(|| self.too_short(file, offset.saturating_add(size)))?;
        self.size += size;
        self.work += size;
        if self.size > self.max {
            return Err(self.too_large());
        }
        let mut buffer = [0; 8 << 10];
        let mut position = offset;
        while position < end {
            let piece = usize::try_from(end - position).map_or(buffer.len(), |left| left.min(buffer.len()));
            let piece = &mut buffer[..piece];
            file.read_exact_at(piece, position).map_err(|source| self.unreadable(source))?;
            self.bytes.write_all(piece).map_err(|source| self.unreadable(source))?;
            position += piece.len() as u64;
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
        Error::TooLarge { what: "a decoded source", size: self.max.saturating_add(1), max: self.max }
    }

    fn too_short(&self, file: &dyn SourceFile, wanted: u64) -> Error {
        Error::SourceTooShort { path: self.path.clone(), size: file.size(), wanted }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::SourceUnreadable { path: self.path.clone(), source }
    }

    fn undecodable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::SourceUndecodable { path: self.path.clone(), source: source.into() }
    }
}

/// Decoded bytes as a file.
struct Bytes<'b>(&'b [u8]);

impl SourceFile for Bytes<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let from = start.and_then(|start| self.0.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Reads a file on from a position.
struct FileReader<'f> {
    file: &'f dyn SourceFile,
    position: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.size().saturating_sub(self.position);
        let size = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.file.read_exact_at(&mut buffer[..size], self.position)?;
        self.position += size as u64;
        Ok(size)
    }
}
