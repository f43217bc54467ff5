//! Deflate as any encoder makes it: how it differs from what zlib would have made.

use std::io::{Read, Write};

use super::bits::BitWriter;
use super::range::{Decoder, Encoder};
use super::reader::{Block, BlockReader, Kind};
use super::settings::PGZIP;
use super::trees::{static_lengths, write_tokens};
use super::walk::Walk;
use super::zlib::{DYNAMIC, STATIC, STORED, write_stored};
use crate::compare::Plain;
use crate::wire::{Fields, put_number};
use crate::{Error, Refused, Result};

/// A stream by its corrections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The effort that comes nearest: a level of zlib, 1 to 9, one of others, 10 to 14, or pgzip.
    level: u8,
    /// Bytes of the stream.
    encoded_size: u64,
    corrections: Vec<u8>,
}

/// Largest stream of so many plain bytes that is made: corrections may say that block after block is
/// empty, and an applier must come to an end. Who flushes zlib after every byte is within it.
pub(super) const fn max_encoded_size(plain_size: u64) -> u64 {
    plain_size.saturating_mul(8).saturating_add(64 << 10)
}

/// Returns the bytes of the corrections of these blocks with an effort. The blocks need not be whole.
pub(super) fn estimate(level: u8, blocks: &[Block], plain: &mut Plain<'_>) -> usize {
    let mut walk = Walk::new(Encoder::new(), level);
    for block in blocks {
        if walk.block(plain, Some(block)).is_err() {
            break;
        }
    }
    walk.coder.finish().len()
}

impl Plan {
    pub(crate) fn parse(mut fields: Fields<'_>) -> Result<Self> {
        let level = fields.byte()?;
        if !(1..=PGZIP).contains(&level) {
            return Err(Error::BadRecipe { reason: "no such level of deflate" });
        }
        let encoded_size = fields.number()?;
        Ok(Self { level, encoded_size, corrections: fields.rest().to_vec() })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.level);
        put_number(bytes, self.encoded_size);
        bytes.extend(&self.corrections);
    }

    /// Makes the corrections of a stream; `max_size` is the most bytes of them.
    ///
    /// # Errors
    /// [`Refused`] if they take more, or if the stream is not of the plain bytes.
    pub(super) fn make(
        level: u8,
        encoded: &mut dyn Read,
        plain: &mut Plain<'_>,
        max_size: u64,
    ) -> Result<Self, Refused> {
        let mut walk = Walk::new(Encoder::new(), level);
        let mut reader = BlockReader::new(encoded);
        while let Some(block) = reader.next().map_err(|_| Refused::Unsupported("deflate-block"))? {
            walk.block(plain, Some(&block)).map_err(|_| Refused::NotTheStream)?;
            let size = walk.coder.size() as u64;
            if size > max_size {
                return Err(Refused::CorrectionsTooLarge { size, max: max_size });
            }
        }
        Ok(Self { level, encoded_size: reader.size(), corrections: walk.coder.finish() })
    }

    /// Bytes of the stream that it is for.
    pub(super) const fn encoded_size(&self) -> u64 {
        self.encoded_size
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        if self.encoded_size > max_encoded_size(plain.left()) {
            return Err(Error::Mismatch { reason: "the stream is too long for them" });
        }
        let mut walk = Walk::new(Decoder::new(&self.corrections), self.level);
        let mut output = BitWriter::new(output);
        loop {
            let is_last = walk.block(plain, None)?;
            write(&walk.block, &walk.stored, &mut output)?;
            // The bits of a block are fewer than the tokens that were held, so this is soon enough.
            if output.size() > self.encoded_size {
                return Err(Error::Mismatch { reason: "the stream comes out too long" });
            }
            if is_last {
                break;
            }
        }
        if walk.parser.lookahead() as u64 + plain.left() > 0 {
            return Err(Error::Mismatch { reason: "they are longer than the stream" });
        }
        output.flush()?;
        if output.size() != self.encoded_size {
            return Err(Error::Mismatch { reason: "the stream comes out too short" });
        }
        Ok(())
    }
}

/// Writes a block; `stored` is its plain bytes if it is stored.
fn write(block: &Block, stored: &[u8], output: &mut BitWriter<'_>) -> Result<()> {
    let is_last = u32::from(block.last.is_some());
    match &block.kind {
        Kind::Stored { padding, .. } => {
            output.put(is_last | STORED << 1, 3);
            output.align(*padding);
            write_stored(stored, output)?;
        }
        Kind::Static => {
            output.put(is_last | STATIC << 1, 3);
            let (literals, distances) = static_lengths();
            write_tokens(&block.tokens, &literals, &distances, output)?;
        }
        Kind::Dynamic(header) => {
            output.put(is_last | DYNAMIC << 1, 3);
            header.write(output);
            let (literals, distances) = header.lengths();
            write_tokens(&block.tokens, &literals, &distances, output)?;
        }
    }
    if let Some(padding) = block.last {
        output.align(padding);
    }
    Ok(())
}
