//! zstd frames whose blocks are opened: what the entropy coder did is undone, and nothing else.
//!
//! A frame that no encoder can make again in reasonable time (level 22 with a window of 128 MiB, as of kernel
//! images) still has the same literals and sequences where its plain bytes did not change. The opened form
//! shows them as whole bytes, and the coder is so simple that its tables say all about what it makes.
//!
//! ```text
//! frame header, as it is
//! form of the block:u8 (1: opened, 2: as it is; 128 more: the last)  the opened form | header:u24 and content
//! checksum, as it is
//! ```

pub(crate) mod bits;
mod block;
pub(crate) mod frequencies;
pub(crate) mod fse;
pub(crate) mod headers;
pub(crate) mod huffman;
pub(crate) mod lengths;
pub(crate) mod outline;
pub(crate) mod sequences;
#[cfg(test)]
mod tests;
pub(crate) mod weights;

use std::io::{Read, Write};

use crate::compare::{Plain, put};
use crate::decode::read_some;
use crate::{Codec, Decoded, Error, Refused, Result};

pub(crate) use block::Known;
use block::{close, open};
use headers::{BlockHeader, COMPRESSED};

/// Forms of a block, and the mark of the last one.
const OPENED: u8 = 1;
const AS_IT_IS: u8 = 2;
const LAST: u8 = 0x80;
/// Most bytes of a block, and of an opened one: of each, a sequence may take a little over two bits.
pub(crate) const MAX_BLOCK: usize = 128 << 10;
/// Units of work that the tables of a block cost beside its bytes.
pub(crate) const BLOCK_WORK: u64 = 16 << 10;
/// Bytes of the opened form that are held at a time.
const PIECE: usize = 4 << 20;

fn corrupt(reason: &str) -> Error {
    Error::Corrupt { codec: Codec::ZstdBlocks, reason: reason.into() }
}

/// The size of a frame header by its descriptor, and of the checksum.
pub(crate) fn header_sizes(descriptor: u8) -> (usize, usize) {
    let is_single = descriptor & 0x20 != 0;
    let size = match descriptor >> 6 {
        0 => usize::from(is_single),
        log => 1 << log,
    };
    let window = usize::from(!is_single);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    (5 + window + dictionary + size, if descriptor & 4 != 0 { 4 } else { 0 })
}

/// Returns the size of the frame that bytes begin with, if its blocks are all there.
pub(crate) fn frame_size(bytes: &[u8]) -> Option<usize> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, ..] = *bytes else { return None };
    let (mut at, checksum) = header_sizes(descriptor);
    loop {
        let header = BlockHeader::read(bytes.get(at..)?)?;
        at += BlockHeader::SIZE + header.content_size();
        if header.is_last {
            return Some(at + checksum).filter(|size| *size <= bytes.len());
        }
    }
}

/// Reads so many bytes of a frame.
pub(crate) fn read_bytes(encoded: &mut dyn Read, size: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = vec![0; size];
    encoded.read_exact(&mut bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Refused::NotTheStream,
        _ => Refused::Unreadable,
    })?;
    Ok(bytes)
}

/// Opens the frame at the start of `encoded`.
pub(crate) fn decode(encoded: &mut dyn Read, max_plain: u64, plain: &mut dyn Write) -> Result<Decoded> {
    let mut decoded = Decoded { encoded_size: 0, plain_size: 0 };
    let mut take = |size: usize, decoded: &mut Decoded| {
        let mut bytes = vec![0; size];
        let mut filled = 0;
        while filled < size {
            match read_some(encoded, &mut bytes[filled..])? {
                0 => return Err(corrupt("it is cut off")),
                more => filled += more,
            }
        }
        decoded.encoded_size += size as u64;
        Ok(bytes)
    };
    let mut give = |bytes: &[u8], decoded: &mut Decoded| {
        decoded.plain_size += bytes.len() as u64;
        if decoded.plain_size > max_plain {
            return Err(Error::TooLarge { max: max_plain });
        }
        plain.write_all(bytes).map_err(|source| Error::Io { action: "write the plain bytes", source })
    };
    let mut header = take(5, &mut decoded)?;
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor] = *header.as_slice() else { return Err(corrupt("no frame")) };
    let (size, checksum) = header_sizes(descriptor);
    header.extend(take(size - 5, &mut decoded)?);
    give(&header, &mut decoded)?;
    let mut known = Known::default();
    loop {
        let head = take(BlockHeader::SIZE, &mut decoded)?;
        let header = BlockHeader::read(&head).ok_or_else(|| corrupt("no block"))?;
        let BlockHeader { is_last, kind, size } = header;
        let mark = if is_last { LAST } else { 0 };
        if kind > COMPRESSED || size > MAX_BLOCK {
            return Err(corrupt("no block"));
        }
        let content = take(header.content_size(), &mut decoded)?;
        match if kind == COMPRESSED { open(&content, &mut known) } else { None } {
            Some(opened) => {
                give(&[OPENED | mark], &mut decoded)?;
                give(&opened, &mut decoded)?;
            }
            None => {
                // Nothing can be taken from a block that is not known.
                if kind == COMPRESSED {
                    known = Known::default();
                }
                give(&[AS_IT_IS | mark], &mut decoded)?;
                give(&head, &mut decoded)?;
                give(&content, &mut decoded)?;
            }
        }
        if is_last {
            break;
        }
    }
    let checksum = take(checksum, &mut decoded)?;
    give(&checksum, &mut decoded)?;
    Ok(decoded)
}

/// Makes the frame again.
pub(crate) fn encode(plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
    const MISMATCH: Error = Error::Mismatch { reason: "they are no opened frame" };
    let mut held: Vec<u8> = Vec::new();
    let mut start = 0;
    // A block has less than this, and the bytes after the last one are few.
    let fill = |held: &mut Vec<u8>, start: &mut usize, plain: &mut Plain<'_>| -> Result<()> {
        if held.len() - *start >= PIECE / 2 || plain.left() == 0 {
            return Ok(());
        }
        held.drain(..*start);
        *start = 0;
        let mut buffer = vec![0; 256 << 10];
        while held.len() < PIECE && plain.left() > 0 {
            let read = plain.read(&mut buffer)?;
            held.extend_from_slice(&buffer[..read]);
        }
        Ok(())
    };
    fill(&mut held, &mut start, plain)?;
    let descriptor = *held.get(4).ok_or(MISMATCH)?;
    let (size, checksum) = header_sizes(descriptor);
    put(output, held.get(..size).ok_or(MISMATCH)?)?;
    start = size;
    let mut known = Known::default();
    loop {
        fill(&mut held, &mut start, plain)?;
        let (form, rest) = held[start..].split_first().ok_or(MISMATCH)?;
        let is_last = form & LAST != 0;
        plain.charge(BLOCK_WORK)?;
        start += 1;
        match form & !LAST {
            OPENED => {
                let (content, size) = close(rest, &mut known).ok_or(MISMATCH)?;
                let header = BlockHeader { is_last, kind: COMPRESSED, size: content.len() };
                put(output, &header.bytes())?;
                put(output, &content)?;
                start += size;
            }
            AS_IT_IS => {
                let header = BlockHeader::read(rest).ok_or(MISMATCH)?;
                if header.kind == COMPRESSED {
                    known = Known::default();
                }
                let size = BlockHeader::SIZE + header.content_size();
                put(output, rest.get(..size).ok_or(MISMATCH)?)?;
                start += size;
            }
            _ => return Err(MISMATCH),
        }
        if is_last {
            break;
        }
    }
    fill(&mut held, &mut start, plain)?;
    let rest = &held[start..];
    if rest.len() != checksum || plain.left() > 0 {
        return Err(MISMATCH);
    }
    put(output, rest)
}
