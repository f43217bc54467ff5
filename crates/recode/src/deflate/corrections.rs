//! Deflate as any encoder makes it: how it differs from what zlib would have made.

use std::io::{Read, Write};

use super::actual::Actual;
use super::ahead;
use super::bits::BitWriter;
use super::pieces::{Made, Pieces};
use super::range::{Decoder, Encoder};
use super::reader::{Block, BlockReader, Kind};
use super::settings::EFFORT_OF_PGZIP;
use super::symbols::{Symbols, write_tokens};
use super::trees::static_lengths;
use super::walk::Walk;
use super::zlib::{DYNAMIC, STATIC, STORED, write_stored};
use crate::compare::Plain;
use crate::wire::{Fields, put_number};
use crate::{Error, Refused, Result};

/// A stream by its corrections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    manner: Manner,
    /// The effort that comes nearest: a level of zlib, 1 to 9, one of others, 10 to 14, or pgzip; by pieces, also
    /// the number of an encoder that runs ahead.
    level: u8,
    /// Bytes of the stream.
    encoded_size: u64,
    corrections: Vec<u8>,
}

/// The two kinds of corrections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Whole blocks, whose headers follow from their tokens.
    Blocks,
    /// Pieces of blocks, of any number of tokens.
    Pieces,
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

/// The corrections by pieces of the start of a stream, in bytes.
pub(super) struct Estimate {
    pub(super) size: u64,
    /// Plain bytes that they are for.
    pub(super) known: u64,
    /// Bytes of the stream that were read for them.
    pub(super) encoded: u64,
}

/// Bytes of corrections at the start of the stream of an encoder that is known.
pub(super) const FEW: u64 = 16;
/// Plain bytes that tell how near an encoder comes that needs corrections.
const ENOUGH: u64 = 256 << 10;

/// Returns the corrections by pieces of the first bytes of a stream, or of fewer of them where they are already more
/// than `best` has for as many bytes, or enough to tell.
pub(super) fn estimate_pieces(
    level: u8,
    encoded: &[u8],
    plain: &mut Plain<'_>,
    pieces: usize,
    best: Option<&Estimate>,
) -> Estimate {
    let mut walk = Pieces::new(Encoder::new(), level);
    let mut encoded = encoded;
    let mut actual = Actual::new(BlockReader::new(&mut encoded));
    let all = plain.left();
    let mut known = 0;
    for _ in 0..pieces {
        let is_going_on = matches!(walk.piece(plain, Some(&mut actual)), Ok(false));
        known = all - plain.left() - walk.lookahead() as u64;
        let size = walk.coder().size() as u64;
        let is_worse = |best: &Estimate| size > best.size && known <= best.known;
        // More bytes tell one encoder from another only where neither needs corrections.
        let is_enough = size > FEW && known >= ENOUGH;
        if !is_going_on || is_enough || best.is_some_and(is_worse) {
            break;
        }
    }
    Estimate { size: walk.into_coder().finish().len() as u64, known, encoded: actual.size() }
}

impl Plan {
    pub(crate) fn parse(mut fields: Fields<'_>, manner: Manner) -> Result<Self> {
        let level = fields.byte()?;
        let is_known =
            (1..=EFFORT_OF_PGZIP).contains(&level) || (manner == Manner::Pieces && ahead::is_known(level));
        if !is_known {
            return Err(Error::BadRecipe { reason: "no such level of deflate" });
        }
        let encoded_size = fields.number()?;
        Ok(Self { manner, level, encoded_size, corrections: fields.rest().to_vec() })
    }

    /// The plan of an encoder that runs ahead and makes all of a stream.
    pub(super) const fn exact(level: u8, encoded_size: u64) -> Self {
        Self { manner: Manner::Pieces, level, encoded_size, corrections: Vec::new() }
    }

    /// Which kind of corrections it has.
    pub(crate) const fn manner(&self) -> Manner {
        self.manner
    }

    /// Bytes of the corrections.
    pub(super) const fn corrections_size(&self) -> u64 {
        self.corrections.len() as u64
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
        let (manner, encoded_size) = (Manner::Blocks, reader.size());
        Ok(Self { manner, level, encoded_size, corrections: walk.coder.finish() })
    }

    /// Makes the corrections of a stream as [`make`](Self::make), by pieces.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub(super) fn make_pieces(
        level: u8,
        encoded: &mut dyn Read,
        plain: &mut Plain<'_>,
        max_size: u64,
    ) -> Result<Self, Refused> {
        let mut walk = Pieces::new(Encoder::new(), level);
        let mut actual = Actual::new(BlockReader::new(encoded));
        loop {
            let is_end = walk.piece(plain, Some(&mut actual)).map_err(|_| Refused::NotTheStream)?;
            let size = walk.coder().size() as u64;
            if size > max_size {
                return Err(Refused::CorrectionsTooLarge { size, max: max_size });
            }
            if is_end {
                break;
            }
        }
        let (manner, encoded_size) = (Manner::Pieces, actual.size());
        Ok(Self { manner, level, encoded_size, corrections: walk.into_coder().finish() })
    }

    /// Bytes of the stream that it is for.
    pub(super) const fn encoded_size(&self) -> u64 {
        self.encoded_size
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        if self.encoded_size > max_encoded_size(plain.left()) {
            return Err(Error::Mismatch { reason: "the stream is too long for them" });
        }
        let mut output = BitWriter::new(output);
        let lookahead = match self.manner {
            Manner::Blocks => self.encode_blocks(plain, &mut output)?,
            Manner::Pieces => self.encode_pieces(plain, &mut output)?,
        };
        if lookahead as u64 + plain.left() > 0 {
            return Err(Error::Mismatch { reason: "they are longer than the stream" });
        }
        output.flush()?;
        if output.size() != self.encoded_size {
            return Err(Error::Mismatch { reason: "the stream comes out too short" });
        }
        Ok(())
    }
}

impl Plan {
    /// Makes the stream; gives the plain bytes that were read and are not in it.
    fn encode_blocks(&self, plain: &mut Plain<'_>, output: &mut BitWriter<'_>) -> Result<usize> {
        let mut walk = Walk::new(Decoder::new(&self.corrections), self.level);
        loop {
            let is_last = walk.block(plain, None)?;
            write(&walk.block, &walk.stored, output)?;
            self.check(output)?;
            if is_last {
                return Ok(walk.parser.lookahead());
            }
        }
    }

    fn encode_pieces(&self, plain: &mut Plain<'_>, output: &mut BitWriter<'_>) -> Result<usize> {
        let mut walk = Pieces::new(Decoder::new(&self.corrections), self.level);
        let mut symbols = Symbols::new(&[], &[]);
        loop {
            let is_end = walk.piece(plain, None)?;
            write_piece(walk.made(), &mut symbols, output)?;
            self.check(output)?;
            if is_end {
                return Ok(walk.lookahead());
            }
        }
    }

    /// Checks that the output is not too long. The bits of a block are fewer than the tokens that were held, so it
    /// is soon enough behind each.
    fn check(&self, output: &BitWriter<'_>) -> Result<()> {
        if output.size() > self.encoded_size {
            return Err(Error::Mismatch { reason: "the stream comes out too long" });
        }
        Ok(())
    }
}

/// Writes a piece; `symbols` are those of the block that is open.
fn write_piece(piece: &Made, symbols: &mut Symbols, output: &mut BitWriter<'_>) -> Result<()> {
    if piece.ends_before {
        symbols.end(output);
    }
    let mut is_stored = false;
    if let Some((kind, is_last)) = &piece.begin {
        let is_last = u32::from(*is_last);
        let (literals, distances) = match kind {
            Kind::Stored { padding, .. } => {
                output.put(is_last | STORED << 1, 3);
                output.align(*padding);
                write_stored(&piece.stored, output)?;
                is_stored = true;
                (Vec::new(), Vec::new())
            }
            Kind::Static => {
                output.put(is_last | STATIC << 1, 3);
                static_lengths()
            }
            Kind::Dynamic(header) => {
                output.put(is_last | DYNAMIC << 1, 3);
                header.write(output);
                header.lengths()
            }
        };
        *symbols = Symbols::new(&literals, &distances);
    }
    symbols.write(&piece.tokens, output)?;
    if piece.ends && !is_stored {
        symbols.end(output);
    }
    if let Some(padding) = piece.padding {
        output.align(padding);
    }
    Ok(())
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
