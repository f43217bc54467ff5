//! The plain bytes of a stream, and where its frames are.

use std::io::{Read, Write};

use crate::decode::{BUFFER_SIZE, read_some, zstd_decoder};
use crate::{Codec, Decoded, Error, Result};

/// The content of the last frame ends with one of these, of which the second is the earlier one, and has one
/// of these sizes.
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

/// Decodes the stream at the start of `encoded`: its frames up to the footer. One decoder takes them all, so
/// that a frame of few bytes costs little.
pub(crate) fn decode(encoded: &mut dyn Read, max_plain: u64, plain: &mut dyn Write) -> Result<Decoded> {
    let mut decoder = zstd_decoder()?;
    let mut input = Input { reader: encoded, buffer: vec![0; BUFFER_SIZE], start: 0, end: 0, taken: 0 };
    let mut output = vec![0; BUFFER_SIZE];
    let mut plain_size = 0;
    loop {
        if let Some(size) = skippable_size(input.look(HEADER_SIZE)?) {
            input.take(HEADER_SIZE);
            let last = FOOTER_MAGICS[0].len().min(size);
            input.skip(size - last)?;
            let end = input.look(last)?;
            let is_footer =
                FOOTER_SIZES.contains(&size) && FOOTER_MAGICS.iter().any(|magic| end.starts_with(*magic));
            if end.len() < last {
                return Err(corrupt("it is cut off"));
            }
            input.take(last);
            if is_footer {
                return Ok(Decoded { encoded_size: input.taken, plain_size });
            }
            continue;
        }
        if input.look(1)?.is_empty() {
            return Err(corrupt("it is cut off"));
        }
        loop {
            let bytes = input.look(1)?;
            let is_at_end = bytes.is_empty();
            let step = decoder.step(bytes, &mut output)?;
            input.take(step.used);
            plain_size += step.made as u64;
            if plain_size > max_plain {
                return Err(Error::TooLarge { max: max_plain });
            }
            plain
                .write_all(&output[..step.made])
                .map_err(|source| Error::Io { action: "write the plain bytes", source })?;
            if step.is_end {
                break;
            }
            if is_at_end && step.made == 0 {
                return Err(corrupt("it is cut off"));
            }
        }
    }
}

/// The encoded bytes, of which some are held.
struct Input<'i> {
    reader: &'i mut dyn Read,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that were taken.
    taken: u64,
}

impl Input<'_> {
    /// Returns the bytes that are held: `size` at least, or fewer at the end.
    fn look(&mut self, size: usize) -> Result<&[u8]> {
        while self.end - self.start < size {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match read_some(self.reader, &mut self.buffer[self.end..])? {
                0 => break,
                more => self.end += more,
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn take(&mut self, size: usize) {
        self.start += size;
        self.taken += size as u64;
    }

    fn skip(&mut self, mut size: usize) -> Result<()> {
        while size > 0 {
            let held = self.look(1)?.len().min(size);
            if held == 0 {
                return Err(corrupt("it is cut off"));
            }
            self.take(held);
            size -= held;
        }
        Ok(())
    }
}
