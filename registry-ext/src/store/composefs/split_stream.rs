//! Split streams: bytes of which some are in objects. All numbers are little-endian.
//!
//! ```text
//! header  "SplitStream" version=0 flags:u16 algorithm:u8 lg_block:u8 info:range
//! info    stream_refs:range object_refs:range stream:range named_refs:range content_type:u64 size:u64
//! stream  zstd of chunks: n:i64, and -n bytes where n is negative, or else the object of that index
//! ```
//!
//! A range is two u64, start and end in the file. Early versions of bootc wrote the fields of the header in another
//! order: the range, the flags, "SplitStream", version, algorithm, block.

use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use delta_format::{SourceFile, SourcePath};
use layer::Compression;

use crate::{Error, Result};

const MAGIC: &[u8; 11] = b"SplitStream";
const HEADER_SIZE: usize = 32;
/// The part of the info section that is read: all ranges. Later versions may have a longer one.
const INFO_SIZE: usize = 64;
/// Most objects that the streams of an image may name: their list takes some 64 MiB.
pub(super) const MAX_OBJECTS: u64 = 1 << 20;
/// Most chunks of the streams of an image: no image has more files. The list of their places takes 128 MiB.
pub(super) const MAX_CHUNKS: u32 = 8 << 20;
/// Bytes that are read at once.
const CHUNK_SIZE: usize = 64 << 10;

/// The fs-verity digest that names an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectId(Box<[u8]>);

/// A piece of what a stream stands for. A long one comes in several pieces.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk<'c, I> {
    Inline(&'c [u8]),
    Object(I),
}

/// A split stream in a file.
#[derive(Debug)]
pub(super) struct SplitStream<F> {
    what: String,
    file: F,
    ids: Vec<ObjectId>,
    stream: (u64, u64),
}

impl ObjectId {
    /// Reads the digest off a link to an object: `../objects/XX/REST`.
    pub(super) fn of_link(link: &Path) -> Option<Self> {
        let mut parts = link.components().rev();
        let mut name = || match parts.next()? {
            Component::Normal(name) => name.to_str(),
            _ => None,
        };
        let (rest, first, objects) = (name()?, name()?, name()?);
        let hex = [first, rest].concat();
        if objects != "objects" || first.len() != 2 || !matches!(hex.len(), 64 | 128) {
            return None;
        }
        // Every byte is one of ASCII's, or it is no digit.
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
        let byte = |pair: &[u8]| Some((digit(pair[0])? << 4) | digit(pair[1])?);
        hex.as_bytes().chunks_exact(2).map(byte).collect::<Option<_>>().map(Self)
    }

    /// The path of the object in its repository.
    pub(super) fn path(&self) -> SourcePath {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("objects/{}/{}", &hex[..2], &hex[2..]);
        SourcePath::new(path.as_bytes()).expect("the path has no components but names")
    }
}

impl<F: SourceFile> SplitStream<F> {
    /// Reads all of the stream in `file` but its chunks. `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn open(what: String, file: F) -> Result<Self> {
        let broken = |reason: &str| Error::malformed(what.as_str(), reason);
        let read = |start: u64, end: u64, max: u64| {
            let size = end.checked_sub(start).filter(|size| *size <= max && end <= file.size());
            let size = size.and_then(|size| usize::try_from(size).ok());
            let mut bytes = vec![0; size.ok_or_else(|| broken("a part of it is not there"))?];
            file.read_exact_at(&mut bytes, start).map_err(|error| Error::malformed(what.as_str(), error))?;
            Ok::<_, Error>(bytes)
        };
        let header = read(0, HEADER_SIZE as u64, HEADER_SIZE as u64)?;
        let (magic, fields, info) = if header.starts_with(MAGIC) { (0, 11, 16) } else { (18, 29, 0) };
        if &header[magic..][..MAGIC.len()] != MAGIC {
            return Err(broken("it is no split stream"));
        }
        let version = header[fields];
        if version != 0 {
            return Err(broken(&format!("its version is {version}, and 0 alone is known")));
        }
        // The flags stand between the version and these where the header begins with the magic.
        let algorithm = header[if magic == 0 { 14 } else { 30 }];
        let id_size = match algorithm {
            1 => 32,
            2 => 64,
            _ => return Err(broken("its objects are named by an unknown digest")),
        };
        let (start, end) = range(&header, info);
        let part = read(start, end.min(start.saturating_add(INFO_SIZE as u64)), INFO_SIZE as u64)?;
        if part.len() < INFO_SIZE {
            return Err(broken("its info section is too short"));
        }
        let ((refs_start, refs_end), stream) = (range(&part, 16), range(&part, 32));
        let refs = read(refs_start, refs_end, MAX_OBJECTS * id_size)?;
        if stream.0 > stream.1 || stream.1 > file.size() || !(refs.len() as u64).is_multiple_of(id_size) {
            return Err(broken("a part of it is not there"));
        }
        let size = usize::try_from(id_size).map_err(|error| Error::malformed(what.as_str(), error))?;
        let ids = refs.chunks_exact(size).map(|id| ObjectId(id.into())).collect();
        Ok(Self { what, file, ids, stream })
    }

    /// The name of the stream in errors.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The objects that the stream may name, and nothing else of it.
    pub(super) fn into_ids(self) -> Vec<ObjectId> {
        self.ids
    }

    /// The objects that the stream may name.
    pub(super) fn ids(&self) -> &[ObjectId] {
        &self.ids
    }

    /// Calls `take` with each chunk in turn, of which there may be `max_chunks`.
    ///
    /// # Errors
    /// [`Error::Malformed`]; those of `take`.
    pub(super) fn read(
        &self,
        max_chunks: u32,
        mut take: impl FnMut(Chunk<'_, ObjectId>) -> Result<()>,
    ) -> Result<()> {
        let mut left = max_chunks;
        self.read_indexed(&mut left, |chunk| match chunk {
            Chunk::Inline(bytes) => take(Chunk::Inline(bytes)),
            Chunk::Object(index) => take(Chunk::Object(self.ids[index as usize].clone())),
        })
    }

    /// Calls `take` with each chunk in turn, of which there may be `left`, as many as are taken off it. An object comes
    /// as its index in [`ids`](Self::ids), which is within it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn read_indexed(
        &self,
        left: &mut u32,
        mut take: impl FnMut(Chunk<'_, u32>) -> Result<()>,
    ) -> Result<()> {
        let failed = |error: io::Error| Error::malformed(self.what.as_str(), error);
        let section = Section { file: &self.file, at: self.stream.0, end: self.stream.1 };
        let mut decoder =
            Compression::Zstd.decoder(BufReader::with_capacity(CHUNK_SIZE, section)).map_err(failed)?;
        let mut buffer = vec![0; CHUNK_SIZE];
        while let Some(number) = read_number(&mut decoder).map_err(failed)? {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| Error::malformed(self.what.as_str(), "it has too many chunks"))?;
            if let Ok(index) = usize::try_from(number) {
                let index = u32::try_from(index).ok().filter(|index| (*index as usize) < self.ids.len());
                let index = index
                    .ok_or_else(|| Error::malformed(self.what.as_str(), "it names an unknown object"))?;
                take(Chunk::Object(index))?;
                continue;
            }
            let mut bytes = number.unsigned_abs();
            while bytes > 0 {
                let size = usize::try_from(bytes).unwrap_or(CHUNK_SIZE).min(CHUNK_SIZE);
                decoder.read_exact(&mut buffer[..size]).map_err(failed)?;
                take(Chunk::Inline(&buffer[..size]))?;
                bytes -= size as u64;
            }
        }
        Ok(())
    }
}

/// The next number of a stream; `None` at its end.
fn read_number(input: &mut impl Read) -> io::Result<Option<i64>> {
    let mut bytes = Vec::with_capacity(8);
    input.take(8).read_to_end(&mut bytes)?;
    match bytes.first_chunk() {
        Some(number) => Ok(Some(i64::from_le_bytes(*number))),
        None if bytes.is_empty() => Ok(None),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A range at an offset that is within the bytes.
fn range(bytes: &[u8], offset: usize) -> (u64, u64) {
    let number = |at: usize| {
        let bytes = bytes[at..].first_chunk().expect("the bytes are as long as the fields that are read");
        u64::from_le_bytes(*bytes)
    };
    (number(offset), number(offset + 8))
}

/// A part of a file.
struct Section<'f, F> {
    file: &'f F,
    at: u64,
    end: u64,
}

impl<F: SourceFile> Read for Section<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let size = left.min(buffer.len());
        self.file.read_exact_at(&mut buffer[..size], self.at)?;
        self.at += size as u64;
        Ok(size)
    }
}

#[cfg(test)]
mod tests;
