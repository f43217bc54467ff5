//! zstd frames of any encoder, described by how they differ from what libzstd 1.5.7 or a version of klauspost/compress
//! would have made.
//!
//! The versions of libzstd find nearly the same matches, but they end blocks elsewhere, and one sequence that differs
//! changes all bytes of its block. So the frame is taken apart: the sequences of each block are compared with the
//! matches that libzstd 1.5.7 finds at the same places of the plain bytes, and the code and the tables of a block with
//! those that the rules of libzstd choose for its literals and its sequences. Whatever differs is coded. A block that
//! does not come out of its parts is carried as it is.
//!
//! Frames of klauspost/compress whose version is not known are compared with what a version finds that is.
//!
//! The rules are those of Yann Collet's libzstd, and those of Klaus Post's compress.

mod candidates;
mod chains;
mod history;
mod literals;
mod manner;
mod parts;
mod predictor;
mod reader;
mod repeats;
mod rules;
mod search;
mod sequence;
mod strategy;
mod tables;
#[cfg(test)]
mod tests;
mod walk;

use std::io::Write;

pub(crate) use self::search::{Nearest, find, find_of_klauspost, nearest};

use self::manner::{Klauspost, Libzstd, Manner};
use self::strategy::Strategy;
use self::walk::{CARRIED, Walk};
use crate::compare::{Plain, put};
use crate::deflate::range::Decoder;
use crate::klauspost::{Settings, prediction::MAX_WINDOW_LOG};
use crate::wire::{Fields, put_number};
use crate::zstd_blocks::header_sizes;
use crate::zstd_blocks::headers::{BlockHeader, COMPRESSED};
use crate::{EncodingWork, Error, Result, zstd_frame};

/// Units of work that a byte takes beside the prediction: codes and sequences are made and compared.
const BYTE_WORK: u64 = 24;
/// Memory beside that of libzstd: bytes that are kept and read ahead, and a block.
const OWN_MEMORY: u64 = 24 << 20;

/// Base-2 logarithm of the least window.
const MIN_WINDOW_LOG: u8 = 10;

const NO_SUCH: Error = Error::BadRecipe { reason: "no such strategy, window or header of zstd" };

/// A frame by its corrections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    manner: Manner,
    /// Bytes of the frame.
    encoded_size: u64,
    /// The header of the frame without its magic number.
    header: Vec<u8>,
    checksum: Vec<u8>,
    corrections: Vec<u8>,
}

/// Largest frame of so many plain bytes that is made: corrections may say that block after block is empty, and an
/// applier must come to an end.
const fn max_encoded_size(plain_size: u64) -> u64 {
    plain_size.saturating_mul(4).saturating_add(64 << 10)
}

impl Plan {
    const SPLIT: u8 = 1 << 4;
    const WHOLE: u8 = 1;

    /// Reads corrections to libzstd.
    pub(crate) fn parse(mut fields: Fields<'_>) -> Result<Self> {
        let plan = zstd_frame::Plan::read(&mut fields)?;
        let byte = fields.byte()?;
        let strategy = Strategy::new(byte & !Self::SPLIT).ok_or(NO_SUCH)?;
        let manner = Manner::Libzstd(Libzstd { plan, strategy, is_split: byte & Self::SPLIT != 0 });
        Self::parse_of(manner, fields)
    }

    /// Reads corrections to klauspost/compress.
    pub(crate) fn parse_of_klauspost(mut fields: Fields<'_>) -> Result<Self> {
        let settings = Settings::parse(&mut fields)?;
        let (window_log, flags) = (fields.byte()?, fields.byte()?);
        if !(MIN_WINDOW_LOG..=MAX_WINDOW_LOG).contains(&window_log) || flags > Self::WHOLE {
            return Err(NO_SUCH);
        }
        Self::parse_of(Manner::Klauspost(Klauspost { settings, window_log, is_whole: flags != 0 }), fields)
    }

    fn parse_of(manner: Manner, mut fields: Fields<'_>) -> Result<Self> {
        let encoded_size = fields.number()?;
        let descriptor = fields.byte()?;
        let (size, checksum) = header_sizes(descriptor);
        if descriptor & 3 != 0 {
            return Err(NO_SUCH);
        }
        let header = [&[descriptor], fields.bytes(size - 5)?].concat();
        let checksum = fields.bytes(checksum)?.to_vec();
        Ok(Self { manner, encoded_size, header, checksum, corrections: fields.rest().to_vec() })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        match self.manner {
            Manner::Libzstd(Libzstd { plan, strategy, is_split }) => {
                plan.write(bytes);
                bytes.push(strategy.byte() | if is_split { Self::SPLIT } else { 0 });
            }
            Manner::Klauspost(Klauspost { settings, window_log, is_whole }) => {
                settings.write(bytes);
                bytes.extend([window_log, u8::from(is_whole)]);
            }
        }
        put_number(bytes, self.encoded_size);
        bytes.extend_from_slice(&self.header);
        bytes.extend_from_slice(&self.checksum);
        bytes.extend_from_slice(&self.corrections);
    }

    pub(crate) const fn is_of_klauspost(&self) -> bool {
        self.manner.libzstd().is_none()
    }

    /// Returns the number of bytes that say how the frame differs.
    pub(crate) const fn corrections_size(&self) -> usize {
        self.corrections.len()
    }

    /// Most memory that the encoder takes, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.manner.memory()
    }

    /// Returns the cost of encoding, in units of about a nanosecond.
    pub(crate) fn encoding_work(&self, plain_size: u64) -> EncodingWork {
        self.manner.work(plain_size)
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let plain_size = plain.left();
        if self.encoded_size > max_encoded_size(plain_size) {
            return Err(Error::Mismatch { reason: "the frame is too long for them" });
        }
        let mut walk = Walk::new(Decoder::new(&self.corrections), self.manner, plain_size)?;
        put(output, &[0x28, 0xb5, 0x2f, 0xfd])?;
        put(output, &self.header)?;
        let mut size = (4 + self.header.len() + self.checksum.len()) as u64;
        loop {
            let block = walk.block(plain, None)?;
            size += 3 + block.content.len() as u64;
            if size > self.encoded_size {
                return Err(Error::Mismatch { reason: "the frame comes out too long" });
            }
            let kind = if block.kind == CARRIED { COMPRESSED } else { block.kind };
            let of_block = if kind == COMPRESSED { block.content.len() } else { block.plain_size };
            put(output, &BlockHeader { is_last: block.is_last, kind, size: of_block }.bytes())?;
            put(output, &block.content)?;
            if block.is_last {
                break;
            }
        }
        if walk.at() != plain_size || size != self.encoded_size {
            return Err(Error::Mismatch { reason: "the frame has another size" });
        }
        put(output, &self.checksum)
    }
}
