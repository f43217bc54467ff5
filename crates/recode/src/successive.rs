//! The walk over compressed streams that follow each other from the start of a file: members of gzip, frames of zstd,
//! streams of xz and of bzip2. A file of zstd:chunked is one stream.

use std::io;

use crate::codec::Container;
use crate::find::{MAX_GZIP_HEADER, gzip_header_size};
use crate::read_at::{ReadAt, peek};
use crate::{Budget, Codec, chunked};

/// Bytes in which the header of a gzip member usually ends.
const USUAL_GZIP_HEADER: usize = 512;
/// CRC-32 and size of the plain bytes of a gzip member (RFC 1952, 2.3.1).
const GZIP_TRAILER: u64 = 8;
/// Bytes of padding that are read at a time.
const PADDING_SIZE: usize = 4 << 10;
/// Units of work that the header of a skippable frame costs.
const HEADER_WORK: u64 = 8;

/// Takes the stream of a codec that begins at an offset, and returns the offset of its end; `None` ends the walk.
pub(crate) type Take<'t> = dyn FnMut(Codec, u64) -> Option<u64> + 't;

/// A walk over the streams of a file.
pub(crate) type Walk = fn(Container, &dyn ReadAt, &Budget, &mut Take<'_>) -> io::Result<()>;

/// Walks over the streams of the file. What `container` is says of which codec they are; a file of another
/// kind has none.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn walk(
    container: Container,
    file: &dyn ReadAt,
    budget: &Budget,
    take: &mut Take<'_>,
) -> io::Result<()> {
    let is_one = container == Container::Zstd && is_chunked(file)?;
    if is_one && take(Codec::ZstdChunked, 0) == Some(file.size()) {
        return Ok(());
    }
    walk_apart(container, file, budget, take)
}

/// Walks over the streams of the file as [`walk`] does, but over the frames of zstd:chunked one by one.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn walk_apart(
    container: Container,
    file: &dyn ReadAt,
    budget: &Budget,
    take: &mut Take<'_>,
) -> io::Result<()> {
    match container {
        Container::Gzip => members(file, take),
        Container::Xz | Container::Zstd | Container::Bzip2 => streams(container, file, budget, take),
        Container::Zip | Container::Kernel => Ok(()),
    }
}

/// Tells whether the file ends as zstd:chunked does, which is one stream as a whole.
fn is_chunked(file: &dyn ReadAt) -> io::Result<bool> {
    let tail = file.size().saturating_sub(chunked::TAIL_SIZE as u64);
    Ok(chunked::is_chunked(&peek(file, tail, chunked::TAIL_SIZE)?))
}

fn members(file: &dyn ReadAt, take: &mut Take<'_>) -> io::Result<()> {
    let mut at = 0;
    while at < file.size() {
        let start = peek(file, at, USUAL_GZIP_HEADER)?;
        let header = match gzip_header_size(&start) {
            None if start.len() == USUAL_GZIP_HEADER => gzip_header_size(&peek(file, at, MAX_GZIP_HEADER)?),
            header => header,
        };
        let Some(end) = header.and_then(|header| take(Codec::Deflate, at + header as u64)) else { break };
        at = end.saturating_add(GZIP_TRAILER);
    }
    Ok(())
}

fn streams(container: Container, file: &dyn ReadAt, budget: &Budget, take: &mut Take<'_>) -> io::Result<()> {
    let mut at = 0;
    loop {
        let codec = match container {
            Container::Xz => {
                at = behind_zeros(file, at, budget)?;
                Codec::Xz
            }
            Container::Zstd => {
                at = behind_skippable(file, at, budget)?;
                Codec::Zstd
            }
            _ => Codec::Bzip2,
        };
        if Container::detect(&peek(file, at, Container::START_SIZE)?) != Some(container) {
            return Ok(());
        }
        match take(codec, at) {
            Some(end) => at = end,
            None => return Ok(()),
        }
    }
}

/// Returns the offset behind the zeros that pad an xz stream; the end of the file if the budget is spent.
fn behind_zeros(file: &dyn ReadAt, mut at: u64, budget: &Budget) -> io::Result<u64> {
    loop {
        let bytes = peek(file, at, PADDING_SIZE)?;
        let zeros = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        if !budget.charge(zeros as u64) {
            return Ok(file.size());
        }
        at += zeros as u64;
        if zeros < PADDING_SIZE {
            return Ok(at);
        }
    }
}

/// Returns the offset behind skippable frames of zstd (RFC 8878, 3.1.2); the end of the file if one is cut off or the
/// budget is spent.
fn behind_skippable(file: &dyn ReadAt, mut at: u64, budget: &Budget) -> io::Result<u64> {
    loop {
        let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d] = *peek(file, at, 8)? else { return Ok(at) };
        at = at.saturating_add(8).saturating_add(u64::from(u32::from_le_bytes([a, b, c, d])));
        if at > file.size() || !budget.charge(HEADER_WORK) {
            return Ok(file.size());
        }
    }
}
