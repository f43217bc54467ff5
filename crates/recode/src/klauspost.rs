//! zstd frames of klauspost/compress, with which podman, buildah, skopeo and buildkit compress layers as zstd.
//!
//! The matches depend on the plain bytes alone, and on where blocks end. What follows from them, whether a block is
//! compressed and with which codes, depends on the blocks before, too. So a block that was made otherwise is
//! carried as it is, the search runs on, and the codes are those that the block leaves.
//!
//! The encoder is written here and not taken from a library: there is none but the one of Go. The algorithms are those
//! of Yann Collet's zstd in the form that Klaus Post gave them.

mod block;
mod code;
mod finder;
mod literals;
pub(crate) mod prediction;
mod search;
mod sequences;
mod settings;
mod writer;

use std::io::Write;

pub(crate) use self::search::{FEW_CARRIED, Levels, find, makes_start};
pub(crate) use self::settings::Settings;
pub(crate) use self::writer::FrameWriter;

use self::block::Coder;
use self::finder::{Finder, Found};
use self::settings::DEFAULT_LEVEL;
use crate::compare::{Plain, put};
use crate::wire::{Fields, put_number};
use crate::zstd_blocks::headers::{BlockHeader, COMPRESSED};
use crate::zstd_blocks::outline::Outline;
use crate::{EncodingWork, Error, Result};

/// Most bytes of a block, plain or as it is carried.
const MAX_BLOCK_SIZE: usize = 128 << 10;
/// Units of work that the tables of a block cost that is carried.
const CARRIED_WORK: u64 = 16 << 10;

const MISMATCH: Error = Error::Mismatch { reason: "the blocks of the frame have other plain bytes" };

/// A block that is carried as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Carried {
    /// Blocks between the one that was carried before and this one.
    before: u64,
    /// Its plain bytes.
    plain_size: usize,
    /// Its header and its content.
    bytes: Vec<u8>,
}

/// The parameters that make a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    settings: &'static Settings,
    /// True if the plain bytes were there at once, so that the header says their number.
    is_whole: bool,
    checksum: Option<[u8; 4]>,
    carried: Vec<Carried>,
}

impl Plan {
    const WHOLE: u8 = 1;
    const CHECKSUM: u8 = 2;

    /// Reads a plan of the default level.
    pub(crate) fn parse_default(fields: Fields<'_>) -> Result<Self> {
        Self::parse_of(DEFAULT_LEVEL, fields)
    }

    /// Reads a plan of another level.
    pub(crate) fn parse(mut fields: Fields<'_>) -> Result<Self> {
        match fields.byte()? {
            DEFAULT_LEVEL => Err(Error::BadRecipe { reason: "the default level has an encoder of its own" }),
            level => Self::parse_of(level, fields),
        }
    }

    fn parse_of(level: u8, mut fields: Fields<'_>) -> Result<Self> {
        let (version, flags) = (fields.byte()?, fields.byte()?);
        let (Some(settings), 0..4) = (Settings::of(level, version), flags) else {
            return Err(Error::BadRecipe { reason: "no such level, version or flag of klauspost's zstd" });
        };
        let checksum = match flags & Self::CHECKSUM {
            0 => None,
            _ => fields.bytes(4)?.first_chunk().copied(),
        };
        let mut carried = Vec::new();
        while fields.end().is_err() {
            let (before, plain_size, size) = (fields.number()?, fields.number()?, fields.number()?);
            let small = |size| usize::try_from(size).ok().filter(|size| *size <= MAX_BLOCK_SIZE);
            let (Some(plain_size), Some(size)) = (small(plain_size), small(size)) else {
                return Err(Error::BadRecipe { reason: "a block is too large" });
            };
            let bytes = fields.bytes(BlockHeader::SIZE + size)?.to_vec();
            carried.push(Carried { before, plain_size, bytes });
        }
        Ok(Self { settings, is_whole: flags & Self::WHOLE != 0, checksum, carried })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let checksum = if self.checksum.is_some() { Self::CHECKSUM } else { 0 };
        if !self.is_default() {
            bytes.push(self.settings.level);
        }
        bytes.extend([self.settings.version, u8::from(self.is_whole) | checksum]);
        bytes.extend(self.checksum.iter().flatten());
        for Carried { before, plain_size, bytes: block } in &self.carried {
            put_number(bytes, *before);
            put_number(bytes, *plain_size as u64);
            put_number(bytes, (block.len() - BlockHeader::SIZE) as u64);
            bytes.extend_from_slice(block);
        }
    }

    pub(crate) const fn is_default(&self) -> bool {
        self.settings.is_default()
    }

    pub(crate) const fn settings(&self) -> &'static Settings {
        self.settings
    }

    pub(crate) const fn memory(&self) -> u64 {
        self.settings.memory()
    }

    /// Returns the cost of encoding, in units of about a nanosecond.
    pub(crate) const fn encoding_work(&self) -> EncodingWork {
        let (setup, byte) = self.settings.work();
        EncodingWork { setup, byte }
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let window_log = self.settings.window_log();
        put(output, &header(window_log, self.is_whole, self.checksum.is_some(), plain.left()))?;
        let mut encoder = Encoder::new(self.settings, self.is_whole, plain.left());
        let mut buffer = vec![0; MAX_BLOCK_SIZE];
        let mut made = Vec::new();
        let mut carried = self.carried.iter();
        let mut next = carried.next();
        // Blocks since the last one that was carried.
        let mut passed = 0;
        loop {
            let is_last = match next {
                Some(block) if block.before == passed => {
                    plain.charge(CARRIED_WORK)?;
                    let buffer = &mut buffer[..block.plain_size];
                    if plain.read(buffer)? < block.plain_size {
                        return Err(MISMATCH);
                    }
                    encoder.carry(buffer, &block.bytes);
                    put(output, &block.bytes)?;
                    next = carried.next();
                    passed = 0;
                    block.bytes[0] & 1 != 0
                }
                _ => {
                    let size = plain.read(&mut buffer[..self.settings.block_size()])?;
                    let is_last = encoder.is_last(size, plain.left());
                    made.clear();
                    encoder.make(&buffer[..size], is_last, &mut made);
                    put(output, &made)?;
                    passed += 1;
                    is_last
                }
            };
            if is_last {
                break;
            }
        }
        if plain.left() > 0 || next.is_some() {
            return Err(MISMATCH);
        }
        put(output, self.checksum.as_ref().map_or(&[], |checksum| checksum))
    }
}

/// The encoder in the middle of a frame.
struct Encoder {
    block_size: usize,
    finder: Finder,
    found: Found,
    coder: Coder,
    is_whole: bool,
}

impl Encoder {
    fn new(settings: &'static Settings, is_whole: bool, plain_size: u64) -> Self {
        Self {
            block_size: settings.block_size(),
            finder: Finder::new(settings, settings.window(), is_whole, plain_size),
            found: Found::default(),
            coder: Coder::new(settings),
            is_whole,
        }
    }

    /// Begins another frame.
    fn restart(&mut self, is_whole: bool, plain_size: u64) {
        let settings = self.finder.restart(is_whole, plain_size);
        self.coder = Coder::new(settings);
        self.is_whole = is_whole;
    }

    /// Tells whether a block of so many bytes is the last one, behind which so many are left. A stream ends
    /// with a block that is not full.
    const fn is_last(&self, size: usize, left: u64) -> bool {
        if self.is_whole { left == 0 } else { size < self.block_size }
    }

    /// Appends the next block.
    fn make(&mut self, plain: &[u8], is_last: bool, output: &mut Vec<u8>) {
        self.finder.find(plain, &mut self.found);
        self.coder.write(plain, &self.found, is_last, output);
    }

    /// Passes a block that is carried, with its header.
    fn carry(&mut self, plain: &[u8], block: &[u8]) {
        self.finder.find(plain, &mut self.found);
        self.learn(block);
    }

    fn learn(&mut self, block: &[u8]) {
        if let Some(header) = BlockHeader::read(block)
            && header.kind == COMPRESSED
            && let Some(content) = block.get(BlockHeader::SIZE..)
            && let Some(outline) = Outline::read(content)
        {
            self.coder.learn(outline);
        }
    }
}

/// Returns the header of a frame of so many plain bytes, which is the same for each level but for the window.
fn header(window_log: u8, is_whole: bool, has_checksum: bool, plain_size: u64) -> Vec<u8> {
    const CHECKSUM: u8 = 4;
    const SINGLE: u8 = 1 << 5;
    // Ten is the least base-2 logarithm of a window.
    let window = (window_log - 10) << 3;
    let mut header = vec![0x28, 0xb5, 0x2f, 0xfd];
    let checksum = if has_checksum { CHECKSUM } else { 0 };
    if !is_whole {
        header.extend([checksum, window]);
        return header;
    }
    let is_single = plain_size == 0 || (1025..=1 << window_log).contains(&plain_size);
    let (size, bytes) = match plain_size {
        ..256 => (0, plain_size.to_le_bytes()[..usize::from(is_single)].to_vec()),
        256..0x1_0100 => (1, (plain_size - 256).to_le_bytes()[..2].to_vec()),
        0x1_0100..0xffff_ffff => (2, plain_size.to_le_bytes()[..4].to_vec()),
        _ => (3, plain_size.to_le_bytes().to_vec()),
    };
    header.push(checksum | if is_single { SINGLE } else { 0 } | size << 6);
    match (is_single, plain_size) {
        (true, _) => {}
        (false, ..1024) => header.push(0),
        (false, 1024) => header.push(1 << 3),
        _ => header.push(window),
    }
    header.extend(bytes);
    header
}
