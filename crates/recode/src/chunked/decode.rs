//! The plain bytes of a stream, and where its frames are.

use std::io::{self, Read, Write};

use crate::decode::read_some;
use crate::{Codec, Decoded, Error, Result};

/// The content of the last frame ends with one of these, of which the second is the earlier one, and has one of these sizes.
const FOOTER_MAGICS: [&[u8; 8]; 2] = [b"GNUlInUx", b"GnUlInUx"];
const FOOTER_SIZES: std::ops::RangeInclusive<usize> = 40..=64;
/// Bytes of the header of a skippable frame.
const HEADER_SIZE: usize = 8;
/// Bytes at the end of a file that [`is_chunked`] looks at.
pub(crate) const TAIL_SIZE: usize = HEADER_SIZE + *FOOTER_SIZES.end();

/// Tells whether a file, of which the last [`TAIL_SIZE`] bytes are enough, ends as such a stream does.
pub(crate) fn is_chunked(file: &[u8]) -> bool {
    let is_footer = |size: usize| {
        let header = file.len().checked_sub(size + HEADER_SIZE).and_then(|start| file.get(start..));
        header.and_then(skippable_size) == Some(size)
    };
    FOOTER_MAGICS.iter().any(|magic| file.ends_with(*magic)) && FOOTER_SIZES.clone().any(is_footer)
}

/// Returns the size of the content of the skippable frame that bytes begin with.
pub(super) fn skippable_size(bytes: &[u8]) -> Option<usize> {
    let [0x50..=0x5f, 0x2a, 0x4d, 0x18, size @ ..] = bytes else { return None };
    usize::try_from(u32::from_le_bytes(*size.first_chunk()?)).ok()
}

fn corrupt(reason: &str) -> Error {
    Error::Corrupt { codec: Codec::ZstdChunked, reason: reason.into() }
}

/// Reads bytes until there are `size`; fewer at the end.
fn fill(input: &mut dyn Read, size: usize) -> Result<Vec<u8>> {
    let (mut bytes, mut filled) = (vec![0; size], 0);
    while filled < size {
        match read_some(input, &mut bytes[filled..])? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Decodes the stream at the start of `encoded`: its frames up to the footer.
pub(crate) fn decode(encoded: &mut dyn Read, max_plain: u64, plain: &mut dyn Write) -> Result<Decoded> {
    let mut all = Decoded { encoded_size: 0, plain_size: 0 };
    // Bytes that the decoder of a frame read and did not take.
    let mut held: Vec<u8> = Vec::new();
    loop {
        if held.len() < HEADER_SIZE {
            let more = fill(encoded, HEADER_SIZE - held.len())?;
            held.extend(more);
        }
        if let Some(size) = skippable_size(&held) {
            all.encoded_size += (HEADER_SIZE + size) as u64;
            let mut rest = io::Cursor::new(held.split_off(HEADER_SIZE)).chain(&mut *encoded);
            let last = FOOTER_MAGICS[0].len().min(size);
            let skipped = io::copy(&mut (&mut rest).take((size - last) as u64), &mut io::sink());
            let skipped = skipped.map_err(|source| Error::Io { action: "read the encoded bytes", source })?;
            let end = fill(&mut rest, last)?;
            if skipped != (size - last) as u64 || end.len() < last {
                return Err(corrupt("it is cut off"));
            }
            let (left, _) = rest.into_inner();
            let at = usize::try_from(left.position()).unwrap_or(usize::MAX);
            held = left.into_inner().split_off(at);
            if FOOTER_SIZES.contains(&size) && FOOTER_MAGICS.iter().any(|magic| end == **magic) {
                return Ok(all);
            }
            continue;
        }
        if held.is_empty() {
            return Err(corrupt("it is cut off"));
        }
        let mut input =
            Kept { before: io::Cursor::new(held), input: &mut *encoded, last: Vec::new(), read: 0 };
        let decoded = crate::decode(Codec::Zstd, &mut input, max_plain - all.plain_size, plain)?;
        all.encoded_size += decoded.encoded_size;
        all.plain_size += decoded.plain_size;
        held = input.behind(decoded.encoded_size);
    }
}

/// An input of which the bytes are kept that were read last: a decoder reads more than it takes.
struct Kept<'i> {
    before: io::Cursor<Vec<u8>>,
    input: &'i mut dyn Read,
    last: Vec<u8>,
    /// Bytes that were read.
    read: u64,
}

impl Kept<'_> {
    /// Returns the bytes that are there behind those that were taken.
    fn behind(self, taken: u64) -> Vec<u8> {
        let more = usize::try_from(self.read - taken).unwrap_or(usize::MAX);
        let start = self.last.len().saturating_sub(more);
        let unread = usize::try_from(self.before.position()).unwrap_or(usize::MAX);
        [&self.last[start..], self.before.get_ref().get(unread..).unwrap_or(&[])].concat()
    }
}

impl Read for Kept<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut size = self.before.read(buffer)?;
        if size == 0 {
            size = self.input.read(buffer)?;
        }
        if size > 0 {
            self.last.clear();
            self.last.extend_from_slice(&buffer[..size]);
        }
        self.read += size as u64;
        Ok(size)
    }
}
