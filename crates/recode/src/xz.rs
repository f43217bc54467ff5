//! xz streams: the container written here, LZMA2 by liblzma.
//!
//! The container is not left to liblzma's encoders, because two of them write it (with and without
//! sizes in the headers of blocks) and other programs cut blocks as they like. A recipe carries the
//! header of each block, so that all of them are alike, and blocks are encoded without holding them.

mod block;
mod check;
mod search;

use std::io::Write;

use liblzma::stream::{Action, LzmaOptions, Status, Stream};

use self::block::{Chain, MAX_HEADER_SIZE};
use self::check::{Check, crc32};
pub(crate) use self::search::find;
use crate::compare::{Plain, put};
use crate::wire::{Fields, put_number};
use crate::{Codec, EncodingWork, Error, Result};

const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: [u8; 2] = [b'Y', b'Z'];
/// Most blocks of a stream: the header of each is held, and each is an encoder to set up. `xz -0 -T2`
/// cuts blocks of 1 MiB.
const MAX_BLOCKS: u64 = 1 << 14;
/// Bit of the preset that stands for `-e`.
const EXTREME: u8 = 0x10;

/// The parameters that make an xz stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// A level 0 to 9, with or without [`EXTREME`].
    preset: u8,
    /// Number of the integrity check.
    check: u8,
    /// lc, lp and pb in one byte, as in a chunk of LZMA2.
    properties: u8,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    /// The header without its first byte and its CRC.
    header: Vec<u8>,
    chain: Chain,
    plain_size: u64,
}

impl Plan {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Result<Self> {
        let broken = |reason| Error::BadRecipe { reason };
        let (preset, check, properties) = (fields.byte()?, fields.byte()?, fields.byte()?);
        if preset & !EXTREME > 9 {
            return Err(broken("no such preset of xz"));
        }
        if Check::new(check).is_none() {
            return Err(broken("no such check of xz"));
        }
        if literal_bits(properties).is_none() {
            return Err(broken("no such properties of LZMA"));
        }
        let count = fields.number()?;
        if count > MAX_BLOCKS {
            return Err(broken("too many blocks of xz"));
        }
        let mut blocks = Vec::new();
        for _ in 0..count {
            let plain_size = fields.number()?;
            if plain_size == 0 {
                return Err(broken("a block of xz is empty"));
            }
            let size = usize::from(fields.byte()?) * 4 + 3;
            if size > MAX_HEADER_SIZE {
                return Err(broken("a header of a block of xz is too large"));
            }
            let header = fields.bytes(size)?.to_vec();
            let chain = Chain::parse(&header).ok_or(broken("a header of a block of xz is broken"))?;
            blocks.push(Block { header, chain, plain_size });
        }
        fields.end()?;
        Ok(Self { preset, check, properties, blocks })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend([self.preset, self.check, self.properties]);
        put_number(bytes, self.blocks.len() as u64);
        for block in &self.blocks {
            put_number(bytes, block.plain_size);
            bytes.push(size_byte(&block.header).saturating_sub(1));
            bytes.extend(&block.header);
        }
    }

    /// Most memory that the encoder takes, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let dictionary = self.blocks.iter().map(|block| block.chain.dictionary).max().unwrap_or(0);
        u64::from(dictionary) * 12 + (8 << 20)
    }

    /// Returns the cost of encoding, in units of about a nanosecond. Each block has an encoder; tables of large
    /// dictionaries come from the system cleared.
    pub(crate) fn encoding_work(&self) -> EncodingWork {
        let setup = self.blocks.len() as u64 * ((256 << 10) + self.memory() / 64);
        let byte = match (self.preset & !EXTREME, self.preset & EXTREME) {
            (0..=3, 0) => 200,
            (_, 0) => 600,
            _ => 1200,
        };
        EncodingWork { setup, byte }
    }

    /// The options of LZMA2 for a dictionary. `None` if liblzma does not take them.
    fn options(&self, dictionary: u32) -> Option<LzmaOptions> {
        let extreme = if self.preset & EXTREME == 0 { 0 } else { liblzma::stream::PRESET_EXTREME };
        let mut options = LzmaOptions::new_preset(u32::from(self.preset & !EXTREME) | extreme).ok()?;
        let [lc, lp, pb] = literal_bits(self.properties)?;
        options.dict_size(dictionary);
        options.literal_context_bits(lc).literal_position_bits(lp).position_bits(pb);
        Some(options)
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let flags = [0, self.check];
        put(output, &HEADER_MAGIC)?;
        put(output, &flags)?;
        put(output, &crc32(&flags))?;
        let mut index = vec![0];
        put_number(&mut index, self.blocks.len() as u64);
        for block in &self.blocks {
            let unpadded_size = self.encode_block(block, plain, output)?;
            put_number(&mut index, unpadded_size);
            put_number(&mut index, block.plain_size);
        }
        if plain.left() > 0 {
            return Err(Error::Mismatch { reason: "they are longer than its blocks" });
        }
        index.resize(index.len().next_multiple_of(4), 0);
        index.extend(crc32(&index));
        put(output, &index)?;
        let backward_size = u32::try_from(index.len() / 4 - 1).unwrap_or(u32::MAX);
        let footer = [&backward_size.to_le_bytes()[..], &flags].concat();
        put(output, &crc32(&footer))?;
        put(output, &footer)?;
        put(output, &FOOTER_MAGIC)
    }

    /// Writes a block with its padding and check; gives its size without padding, for the index.
    fn encode_block(&self, block: &Block, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<u64> {
        const BUFFER_SIZE: usize = 32 << 10;
        let failed =
            |error: liblzma::stream::Error| Error::Encoder { codec: Codec::Xz, reason: error.to_string() };
        let header = [&[size_byte(&block.header)][..], &block.header].concat();
        put(output, &header)?;
        put(output, &crc32(&header))?;
        let options = self
            .options(block.chain.dictionary)
            .ok_or(Error::BadRecipe { reason: "liblzma does not take the options" })?;
        let filters = block.chain.filters(&options).map_err(failed)?;
        let mut encoder = Stream::new_raw_encoder(&filters).map_err(failed)?;
        let mut check = Check::new(self.check).ok_or(Error::BadRecipe { reason: "no such check of xz" })?;
        let (mut input, mut encoded) = (vec![0; BUFFER_SIZE], vec![0; BUFFER_SIZE]);
        let (mut start, mut end, mut left) = (0, 0, block.plain_size);
        loop {
            if start == end && left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_SIZE);
                (start, end) = (0, plain.read(&mut input[..want])?);
                if end < want {
                    return Err(Error::Mismatch { reason: "they are shorter than its blocks" });
                }
                left -= end as u64;
                check.update(&input[..end]);
            }
            let action = if left == 0 { Action::Finish } else { Action::Run };
            let (taken, given) = (encoder.total_in(), encoder.total_out());
            let status = encoder.process(&input[start..end], &mut encoded, action).map_err(failed)?;
            start += usize::try_from(encoder.total_in() - taken).unwrap_or(0);
            let made = usize::try_from(encoder.total_out() - given).unwrap_or(0);
            put(output, &encoded[..made])?;
            if status == Status::StreamEnd {
                break;
            }
        }
        let size = encoder.total_out();
        let padding = size.next_multiple_of(4) - size;
        put(output, &[0; 3][..usize::try_from(padding).unwrap_or(0)])?;
        let check = check.finish();
        put(output, &check)?;
        Ok((header.len() + 4 + check.len()) as u64 + size)
    }
}

/// The first byte of a header: its size with that byte and its CRC, in units of four bytes, less
/// one.
fn size_byte(header: &[u8]) -> u8 {
    u8::try_from((header.len() + 1) / 4).unwrap_or(u8::MAX)
}

/// lc, lp and pb of the byte that holds all three.
fn literal_bits(properties: u8) -> Option<[u32; 3]> {
    let byte = u32::from(properties);
    let bits = [byte % 9, byte / 9 % 5, byte / 45];
    (bits[0] + bits[1] <= 4 && bits[2] <= 4).then_some(bits)
}
