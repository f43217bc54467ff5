//! zstd frames of any encoder, described by how they differ from what libzstd 1.5.7 would have made.
//!
//! The versions of libzstd find nearly the same matches, but they end blocks elsewhere, and one sequence that differs
//! changes all bytes of its block. So the frame is taken apart: the sequences of each block are compared with the
//! matches that libzstd 1.5.7 finds at the same places of the plain bytes, and the code and the tables of a block with
//! those that the rules of libzstd choose for its literals and its sequences. Whatever differs is coded. A block that
//! does not come out of its parts is carried as it is.
//!
//! The rules are those of Yann Collet's libzstd.

mod chains;
mod history;
mod literals;
mod parts;
mod predictor;
mod reader;
mod repeats;
mod search;
mod sequence;
mod strategy;
mod tables;
#[cfg(test)]
mod tests;
mod walk;

use std::io::Write;

pub(crate) use self::search::find;

use self::predictor::Manner;
use self::strategy::Strategy;
use self::walk::{CARRIED, Walk};
use crate::compare::{Plain, put};
use crate::deflate::range::Decoder;
use crate::wire::{Fields, put_number};
use crate::zstd_blocks::header_sizes;
use crate::zstd_blocks::headers::{BlockHeader, COMPRESSED};
use crate::{EncodingWork, Error, Result, zstd_frame};

/// Units of work that a byte takes beside the prediction: codes and sequences are made and compared.
const BYTE_WORK: u64 = 24;
/// Memory beside that of libzstd: bytes that are kept and read ahead, and a block.
const OWN_MEMORY: u64 = 24 << 20;

/// A frame by its corrections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    manner: Manner,
    strategy: Strategy,
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

    pub(crate) fn parse(mut fields: Fields<'_>) -> Result<Self> {
        const NO_SUCH: Error = Error::BadRecipe { reason: "no such strategy or header of zstd" };
        let plan = zstd_frame::Plan::read(&mut fields)?;
        let byte = fields.byte()?;
        let strategy = Strategy::new(byte & !Self::SPLIT).ok_or(NO_SUCH)?;
        let encoded_size = fields.number()?;
        let descriptor = fields.byte()?;
        let (size, checksum) = header_sizes(descriptor);
        if descriptor & 3 != 0 {
            return Err(NO_SUCH);
        }
        let header = [&[descriptor], fields.bytes(size - 5)?].concat();
        let checksum = fields.bytes(checksum)?.to_vec();
        let manner = Manner { plan, is_split: byte & Self::SPLIT != 0 };
        Ok(Self { manner, strategy, encoded_size, header, checksum, corrections: fields.rest().to_vec() })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        self.manner.plan.write(bytes);
        bytes.push(self.strategy.byte() | if self.manner.is_split { Self::SPLIT } else { 0 });
        put_number(bytes, self.encoded_size);
        bytes.extend_from_slice(&self.header);
        bytes.extend_from_slice(&self.checksum);
        bytes.extend_from_slice(&self.corrections);
    }

    /// Most memory that the encoder takes, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        memory(self.manner)
    }

    /// Returns the cost of encoding, in units of about a nanosecond.
    pub(crate) fn encoding_work(&self, plain_size: u64) -> EncodingWork {
        work(self.manner, plain_size)
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let plain_size = plain.left();
        if self.encoded_size > max_encoded_size(plain_size) {
            return Err(Error::Mismatch { reason: "the frame is too long for them" });
        }
        let mut walk = Walk::new(Decoder::new(&self.corrections), self.manner, self.strategy, plain_size)?;
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

fn memory(manner: Manner) -> u64 {
    // The plain bytes of the job that is made and of the next one are held.
    let ahead = if manner.plan.is_threaded() { manner.plan.job() * 2 } else { 0 };
    manner.plan.memory() + OWN_MEMORY + ahead
}

fn work(manner: Manner, plain_size: u64) -> EncodingWork {
    let EncodingWork { setup, byte } = manner.plan.encoding_work(plain_size);
    EncodingWork { setup: setup + (64 << 10), byte: byte + BYTE_WORK }
}
