//! zstd frames, by libzstd.
//!
//! Of its parameters the header of a frame tells whether the size and a checksum are in it, and the
//! window. The level is searched: a wrong one shows within a block or two, of 128 KiB each.

#[cfg(test)]
mod tests;

use std::io::Write;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, get_error_name};

use crate::compare::{Plain, put};
use crate::decode::MAX_ZSTD_WINDOW_LOG;
use crate::wire::Fields;
use crate::{Codec, EncodingWork, Error, Refused, Result};

/// Bytes that are read and written at a time: a block.
const BUFFER_SIZE: usize = 128 << 10;
/// Plain bytes up to which libzstd takes one thread in any case (`ZSTDMT_JOBSIZE_MIN`).
const MAX_SINGLE_SIZE: u64 = 512 << 10;
/// Levels, the likely first. Those from 20 take a window of 32 MiB and up.
const LEVELS: [u8; 22] = [3, 19, 1, 9, 15, 12, 6, 2, 5, 4, 7, 8, 10, 11, 13, 14, 16, 17, 18, 22, 20, 21];
/// The least level whose search for matches takes long.
const SLOW_LEVEL: u8 = 13;
/// Levels that are tried with `--long`.
const LONG_LEVELS: [u8; 8] = [3, 19, 1, 9, 6, 12, 15, 18];
/// Base-2 logarithm of the least size of jobs with `--long`.
const MIN_LONG_JOB_LOG: u8 = 21;
/// Plain bytes from which `--long` is looked for.
const MIN_LONG_SIZE: u64 = 1 << 20;
/// Base-2 logarithm of the window of `--long`.
const LONG_WINDOW_LOG: u8 = 27;

/// The parameters that make a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// 1 to 22.
    level: u8,
    /// True if the size is told first, so that the frame says it and the encoder fits itself to it.
    has_size: bool,
    has_checksum: bool,
    /// True if libzstd cuts jobs for its threads; their number does not show.
    is_threaded: bool,
    /// Base-2 logarithm of the window of `--long`; 0 is without it.
    long: u8,
}

impl Plan {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Result<Self> {
        let plan = Self::read(fields)?;
        fields.end()?;
        Ok(plan)
    }

    /// Reads the parameters, which others follow.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let (level, flags, long) = (fields.byte()?, fields.byte()?, fields.byte()?);
        if !(1..=22).contains(&level) || flags > 7 {
            return Err(Error::BadRecipe { reason: "no such level or flag of zstd" });
        }
        if long != 0 && !(10..=MAX_ZSTD_WINDOW_LOG).contains(&u32::from(long)) {
            return Err(Error::BadRecipe { reason: "no such window of zstd" });
        }
        let [has_size, has_checksum, is_threaded] = [1, 2, 4].map(|flag| flags & flag != 0);
        Ok(Self { level, has_size, has_checksum, is_threaded, long })
    }

    pub(crate) const fn level(self) -> u8 {
        self.level
    }

    /// Tells whether the search for matches takes long.
    pub(crate) const fn is_slow(self) -> bool {
        self.level >= SLOW_LEVEL
    }

    /// Bytes of the window, unless less is enough.
    pub(crate) const fn window(self) -> u64 {
        1 << if self.long == 0 { window_log(self.level) } else { self.long }
    }

    /// The same with jobs for threads.
    pub(crate) const fn threaded(self) -> Self {
        Self { is_threaded: true, ..self }
    }

    /// Tells whether the size is told first.
    pub(crate) const fn has_size(self) -> bool {
        self.has_size
    }

    /// Tells whether libzstd cuts jobs for its threads.
    pub(crate) const fn is_threaded(self) -> bool {
        self.is_threaded
    }

    pub(crate) fn write(self, bytes: &mut Vec<u8>) {
        let flags = [self.has_size, self.has_checksum, self.is_threaded];
        let flags = flags.iter().rev().fold(0, |flags, flag| flags << 1 | u8::from(*flag));
        bytes.extend([self.level, flags, self.long]);
    }

    /// Bytes of a job of threads (`ZSTDMT_computeTargetJobLog`). With `--long` the tables tell them, not the window.
    pub(crate) const fn job(self) -> u64 {
        let log = match self.long {
            0 => window_log(self.level) + 2,
            _ => cycle_log(self.level) + 3,
        };
        if log < MIN_LONG_JOB_LOG && self.long != 0 { 1 << MIN_LONG_JOB_LOG } else { 1 << log }
    }

    /// Most memory that the encoder takes, in bytes: the window, tables, and jobs. Those lie in a buffer of a window
    /// (at least a job) and three jobs, and what is made of up to four of them waits.
    pub(crate) fn memory(self) -> u64 {
        let own: u64 = 1 << window_log(self.level);
        let window = self.window();
        // Another window does not make the tables of a level smaller, unless the size is known.
        let tables = if self.level < 13 { 64 << 20 } else { (80 << 20) + window.max(own) * 5 };
        let held = match (self.is_threaded, self.long) {
            (false, _) => window,
            // From level 17 on one job at a time waits, and the tables take less than is said.
            (true, 0) => window + own * if self.is_one_by_one() { 15 } else { 20 },
            (true, _) => window.max(self.job()) + self.job() * 7,
        };
        tables + held
    }

    /// Tells whether a job is made and taken before the next one begins, as jobs of 32 MiB and more are, so that memory
    /// is held for what is made of one of them. The bytes are the same.
    const fn is_one_by_one(self) -> bool {
        self.is_threaded && self.level >= 17
    }

    /// Returns the cost of encoding, in units of about a nanosecond. The encoder clears its tables, which are
    /// smaller where it knows that there are few bytes.
    pub(crate) fn encoding_work(self, plain_size: u64) -> EncodingWork {
        let (tables, byte): (u64, u64) = match self.level {
            0..=4 => (300_000, 10),
            5..=12 => (3_000_000, 60),
            13..=17 => (25_000_000, 400),
            18 => (25_000_000, 900),
            _ => (60_000_000, 900),
        };
        let tables = if self.long == 0 { tables } else { tables + 8_000_000 };
        let least = (256 << 10) + plain_size.saturating_mul(32);
        let setup = if self.has_size { tables.min(least) } else { tables };
        EncodingWork { setup: if self.is_threaded { setup + (256 << 10) } else { setup }, byte }
    }

    pub(crate) fn encode(self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let mut encoder = self.encoder(plain.left()).map_err(failed)?;
        self.encode_by(&mut encoder, plain, output)
    }

    fn encode_by(self, encoder: &mut CCtx<'_>, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let (mut input, mut encoded) = (vec![0; BUFFER_SIZE], vec![0; BUFFER_SIZE]);
        loop {
            let read = plain.read(&mut input)?;
            // Who knows the size ends the frame with the last bytes, who does not with none.
            let is_end = plain.left() == 0 && (self.has_size || read == 0);
            let mut input = InBuffer::around(&input[..read]);
            loop {
                let mut buffer = OutBuffer::around(encoded.as_mut_slice());
                let directive =
                    if is_end { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_continue };
                let has_none = input.pos() == read;
                let left = encoder.compress_stream2(&mut buffer, &mut input, directive).map_err(failed)?;
                put(output, buffer.as_slice())?;
                // Where it is given no plain bytes, the library waits for what a job makes, unless there is no job.
                let is_idle = !self.is_one_by_one() || (has_none && buffer.pos() == 0);
                if if is_end { left == 0 } else { input.pos() == read && is_idle } {
                    break;
                }
            }
            if is_end {
                return Ok(());
            }
        }
    }

    /// Makes the encoder with blocks of at most so many bytes.
    pub(crate) fn encoder_of_blocks(self, plain_size: u64, max_block: usize) -> Result<CCtx<'static>, usize> {
        let mut encoder = self.encoder(plain_size)?;
        if max_block < BUFFER_SIZE {
            encoder.set_parameter(CParameter::MaxBlockSize(u32::try_from(max_block).unwrap_or(u32::MAX)))?;
        }
        Ok(encoder)
    }

    fn encoder(self, plain_size: u64) -> Result<CCtx<'static>, usize> {
        let mut encoder = CCtx::create();
        encoder.set_parameter(CParameter::CompressionLevel(i32::from(self.level)))?;
        encoder.set_parameter(CParameter::ChecksumFlag(self.has_checksum))?;
        encoder.set_parameter(CParameter::ContentSizeFlag(self.has_size))?;
        if self.long != 0 {
            encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
            encoder.set_parameter(CParameter::WindowLog(u32::from(self.long)))?;
        }
        if self.is_threaded {
            encoder.set_parameter(CParameter::NbWorkers(1))?;
        }
        if self.has_size {
            encoder.set_pledged_src_size(Some(plain_size))?;
        }
        Ok(encoder)
    }
}

/// Base-2 logarithm of the window of a level (`ZSTD_defaultCParameters`), unless less is enough.
const fn window_log(level: u8) -> u8 {
    match level {
        0 | 1 => 19,
        2 => 20,
        3..=8 => 21,
        9..=16 => 22,
        17..=19 => 23,
        20 => 25,
        21 => 26,
        _ => 27,
    }
}

/// Base-2 logarithm of the places that the chains or trees of a level have (`ZSTD_cycleLog`), at most.
const fn cycle_log(level: u8) -> u8 {
    match level {
        0..=6 => 18,
        7 | 8 => 19,
        9 => 20,
        10 | 11 | 13 | 14 | 16 => 21,
        12 | 15 | 17 | 18 => 22,
        19 => 23,
        20 => 24,
        21 => 25,
        _ => 26,
    }
}

pub(crate) fn failed(code: usize) -> Error {
    Error::Encoder { codec: Codec::Zstd, reason: get_error_name(code).into() }
}

/// The contents of a frame header (RFC 8878, 3.1.1.1).
struct Header {
    has_size: bool,
    has_checksum: bool,
    /// Base-2 logarithm of the window, rounded down; unknown if the frame is one segment.
    window: Option<u8>,
}

impl Header {
    fn read(frame: &[u8]) -> Result<Self, Refused> {
        let [0x28, 0xb5, 0x2f, 0xfd, descriptor, window, ..] = *frame else {
            return Err(Refused::NotTheStream);
        };
        if descriptor & 3 != 0 {
            return Err(Refused::Unsupported("zstd-dictionary"));
        }
        let is_single = descriptor & 0x20 != 0;
        Ok(Self {
            has_size: is_single || descriptor >> 6 != 0,
            has_checksum: descriptor & 4 != 0,
            window: (!is_single).then_some(10 + (window >> 3)),
        })
    }
}

/// Returns the plans that may have made a frame of which `start` is the first bytes, the likely first.
pub(crate) fn plans(start: &[u8], plain_size: u64) -> Result<Vec<Plan>, Refused> {
    let Header { has_size, has_checksum, window } = Header::read(start)?;
    let plan = |level| Plan { level, has_size, has_checksum, is_threaded: false, long: 0 };
    let usual = LEVELS.iter().filter(|level| window.is_none_or(|window| window == window_log(**level)));
    let mut plans: Vec<Plan> = usual.map(|level| plan(*level)).collect();
    // A frame that is one segment does not tell the window. That of `--long` matters if it is large.
    let long = window.unwrap_or(LONG_WINDOW_LOG);
    let is_long = plans.is_empty() || long == LONG_WINDOW_LOG;
    if is_long && plain_size >= MIN_LONG_SIZE && u32::from(long) <= MAX_ZSTD_WINDOW_LOG {
        plans.extend(LONG_LEVELS.map(|level| Plan { long, ..plan(level) }));
    }
    Ok(plans)
}

/// Finds the plan that makes a frame, of which `start` is the first bytes. `matches` says how many
/// bytes of it a plan makes right, and `best` is the most that one made before.
///
/// # Errors
/// [`Refused`] if libzstd makes no such header.
pub(crate) fn find(
    start: &[u8],
    encoded_size: u64,
    plain_size: u64,
    best: &mut u64,
    mut matches: impl FnMut(Plan) -> u64,
) -> Result<Option<Plan>, Refused> {
    for plan in plans(start, plain_size)? {
        let matched = matches(plan);
        if matched == encoded_size {
            return Ok(Some(plan));
        }
        // A job differs from one stream at its end, so it is tried behind what matched best. Its
        // bytes come when it is done, which takes long.
        if plain_size > MAX_SINGLE_SIZE && matched > *best {
            let plan = Plan { is_threaded: true, ..plan };
            if matches(plan) == encoded_size {
                return Ok(Some(plan));
            }
        }
        *best = matched.max(*best);
    }
    Ok(None)
}
