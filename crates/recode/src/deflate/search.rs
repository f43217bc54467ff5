//! Finds what makes a deflate stream.

mod prefix;

use self::prefix::{Prefix, Turn};
use super::ahead::{self, CHUNK_SIZE, PART_SIZE, PIGZ, PIGZ_PART_SIZE, SMALL_PART_SIZE};
use super::corrections::{self, Estimate, FEW, Manner};
use super::reader::{BlockReader, Kind};
use super::settings::EFFORT_OF_PGZIP;
use super::zlib::USUAL_MEMORY;
use super::{BYTE_WORK, Plan, zlib};
use crate::charge::Charged;
use crate::compare::{Plain, Source};
use crate::{Budget, MAX_RECIPE_SIZE, Refused};

/// Tokens at the start of a stream that tell the encoder.
const PREFIX_TOKENS: usize = 8 << 10;
/// Levels, the likely first.
const LEVELS: [u8; 9] = [6, 9, 1, 5, 4, 8, 7, 3, 2];
/// Efforts for corrections: the others differ little from them.
const NEAR_LEVELS: [u8; 12] = [6, 9, 4, 1, 3, 8, 10, 11, 12, 13, 14, EFFORT_OF_PGZIP];
/// Units of work that setting up a parser costs.
const SETUP_WORK: u64 = 32 << 10;

/// Plain bytes that the tokens at the start are made of, and what a parser reads ahead of them.
const START_SIZE: u64 = PREFIX_TOKENS as u64 * 258 + (256 << 10);

/// Bytes of the stream, and pieces of an encoder that runs ahead, that tell which comes nearest.
const START_ENCODED: u64 = 512 << 10;
const START_PIECES: usize = 3;
/// A stream of which the corrections are less than this share is likely of another version of the encoder.
const NEAR_SHARE: u64 = 256;
/// The share of the work that is left which looking at one encoder may take.
const SHARES_OF_ESTIMATES: u64 = 8;
/// Few corrections are less than this share of the start of a stream.
const FEW_SHARE: u64 = 64;
/// Work to read the tokens of a plain byte, in units of about a nanosecond.
const READ_WORK: u64 = 10;
/// Most blocks of the first megabyte of a stream by pgzip. It makes some twenty.
const MAX_BLOCKS_OF_PART: u64 = 4096;
/// Tokens of a block at the start that are looked at.
const MAX_START_TOKENS: usize = 1 << 16;

/// The plans that may make a stream, by its first tokens.
pub(crate) struct Candidates {
    prefix: Prefix,
    /// The first bytes of the stream.
    encoded: Vec<u8>,
    /// The plain bytes of those tokens.
    start: Vec<u8>,
    /// The plans of zlib and GNU gzip that were not looked at yet.
    of_zlib: std::vec::IntoIter<zlib::Plan>,
    /// The levels of zlib that make the first tokens with its usual memory.
    levels: Vec<u8>,
}

impl Candidates {
    /// Reads the start of a stream.
    ///
    /// # Errors
    /// [`Refused`] if it is no stream or cannot be read.
    pub(crate) fn read(source: &mut dyn Source) -> Result<Self, Refused> {
        let prefix = Prefix::read(&mut source.readers().map_err(unreadable)?.0)?;
        let (encoded, start) = source.starts(START_ENCODED, START_SIZE).map_err(unreadable)?;
        let of_zlib = prefix.candidates().into_iter();
        Ok(Self { prefix, encoded, start, of_zlib, levels: Vec::new() })
    }

    /// Returns the next plan of zlib or GNU gzip that makes the first tokens; `None` if there is none or the
    /// budget is spent.
    pub(crate) fn next_of_zlib(&mut self, budget: &Budget) -> Option<Plan> {
        let Self { prefix, start, of_zlib, levels, .. } = self;
        let plan = of_zlib.find(|plan| prefix.is_predicted(plan.settings(), start, budget))?;
        if plan.is_usual() {
            levels.push(plan.level);
        }
        Some(Plan::Zlib(plan))
    }

    /// Returns the plans of pigz that may make the stream, none of which corrects anything: they begin as zlib does,
    /// and then have a part of their own.
    pub(crate) fn of_pigz(&self, encoded_size: u64, budget: &Budget) -> impl Iterator<Item = Plan> + use<> {
        let mut levels = self.levels.clone();
        // A block that is not full ends with the part, which is all that the parser sees.
        if let Some(part) = self.start.get(..PIGZ_PART_SIZE)
            && self.prefix.first_size() == Some(PIGZ_PART_SIZE)
        {
            let is_predicted = |level: &u8| {
                let plan = zlib::Plan::of_zlib(*level, USUAL_MEMORY);
                self.prefix.is_first_predicted(plan.settings(), part, budget)
            };
            levels = LEVELS.into_iter().filter(is_predicted).collect();
        }
        let is_of_parts = self.start.len() > PIGZ_PART_SIZE;
        levels
            .into_iter()
            .filter(move |_| is_of_parts)
            .map(move |level| Plan::Corrections(corrections::Plan::exact(PIGZ + level, encoded_size)))
    }

    /// Finds the encoder that comes nearest.
    ///
    /// # Errors
    /// [`Refused`] if the stream cannot be read.
    pub(crate) fn nearest(self, source: &mut dyn Source, budget: &Budget) -> Result<Nearest, Refused> {
        let (manner, mut level) = self.nearest_at_start(budget);
        for size in [SMALL_PART_SIZE, PART_SIZE] {
            let of_parts = if manner == Manner::Pieces { ahead::of_parts(level, size) } else { None };
            if let Some(number) = of_parts
                && is_cut(source, size, budget)?
            {
                level = number;
                break;
            }
        }
        Ok(Nearest { manner, level })
    }

    /// Returns which encoder comes nearest at the start of the stream.
    fn nearest_at_start(&self, budget: &Budget) -> (Manner, u8) {
        let charge = |units| budget.take(units);
        let estimate = |number, best: Option<&Estimate>| {
            if !budget.charge(SETUP_WORK) {
                return None;
            }
            // Some search long for what others find at once, above all in runs of one byte.
            let share = Budget::new(budget.work() / SHARES_OF_ESTIMATES, u64::MAX);
            let charge = |units| share.take(units).and_then(|()| budget.take(units));
            let mut plain = Charged::new(&*self.start, BYTE_WORK, &charge);
            let mut plain = Plain::new(&mut plain, self.start.len() as u64).charged(&charge);
            let found = corrections::estimate_pieces(number, &self.encoded, &mut plain, START_PIECES, best);
            Some(if share.is_spent() { Estimate::NOTHING } else { found })
        };
        let mut of_ahead: Option<(Estimate, u8)> = None;
        let mut try_all = |numbers: &mut dyn Iterator<Item = u8>| {
            for number in numbers {
                let Some(found) = estimate(number, of_ahead.as_ref().map(|(best, _)| best)) else { break };
                let is_few = found.is_few();
                let is_less = of_ahead.as_ref().is_none_or(|(best, _)| found.is_less(best.size, best.known));
                if is_few || found.known > 0 && is_less {
                    of_ahead = Some((found, number));
                }
                if is_few {
                    break;
                }
            }
            of_ahead.as_ref().map(|(best, number)| (*number, best.is_few(), best.is_near()))
        };
        // Encoders that fill the first block as it is come first, and then the other versions of the nearest one. If
        // none of them is near, the block may have ended there by chance, and the others are tried.
        let mut seen = None;
        for turn in [Turn::First, Turn::Later, Turn::Last] {
            let mut best =
                try_all(&mut ahead::NUMBERS.into_iter().filter(|number| self.prefix.turn(*number) == turn));
            if let Some((number, false, _)) = best
                && seen != Some(number)
            {
                let others = ahead::other_version(number).into_iter().chain(ahead::earlier_versions(number));
                best = try_all(&mut others.into_iter());
                seen = best.map(|(number, ..)| number);
            }
            match best {
                Some((number, true, _)) => return (Manner::Pieces, number),
                Some((.., true)) => break,
                _ => {}
            }
        }
        if let Some((number, true, _)) = try_all(&mut ahead::of_tiny(self.start.len())) {
            return (Manner::Pieces, number);
        }
        if let Some((_, number)) = of_ahead.as_ref().filter(|(best, _)| best.is_near()) {
            return (Manner::Pieces, *number);
        }
        let blocks = self.prefix.start();
        let known = blocks.iter().flat_map(|block| &block.tokens).map(|token| token.size() as u64).sum();
        let estimate = |level: &u8| {
            if !budget.charge(SETUP_WORK) {
                return usize::MAX;
            }
            let mut plain = Charged::new(&*self.start, BYTE_WORK, &charge);
            let mut plain = Plain::new(&mut plain, self.start.len() as u64).charged(&charge);
            corrections::estimate(*level, &blocks, &mut plain)
        };
        let estimates = NEAR_LEVELS.map(|level| (estimate(&level), level));
        let (size, level) =
            estimates.into_iter().min_by_key(|(size, _)| *size).unwrap_or((0, NEAR_LEVELS[0]));
        match of_ahead {
            Some((best, number)) if best.is_less(size as u64, known) => (Manner::Pieces, number),
            _ => (Manner::Blocks, level),
        }
    }
}

/// The encoder that comes nearest to a stream.
pub(crate) struct Nearest {
    manner: Manner,
    /// Its effort or its number.
    level: u8,
}

impl Nearest {
    /// Returns the plans of the encoder, and of its other version, that correct nothing: one of them is proved in the
    /// time that corrections would take to be made.
    pub(crate) fn exact(&self, encoded_size: u64) -> impl Iterator<Item = Plan> {
        let is_ahead = self.manner == Manner::Pieces && ahead::is_known(self.level);
        let numbers = std::iter::once(self.level).chain(ahead::other_version(self.level));
        numbers
            .filter(move |_| is_ahead)
            .map(move |number| Plan::Corrections(corrections::Plan::exact(number, encoded_size)))
    }

    /// Makes the plan that says how the stream differs from what the encoder would have made.
    ///
    /// # Errors
    /// [`Refused`] if the differences take too much, or if the budget is spent.
    pub(crate) fn corrections(self, source: &mut dyn Source, budget: &Budget) -> Result<Plan, Refused> {
        let Self { manner, level } = self;
        let (encoded_size, plain_size) = (source.encoded_size(), source.plain_size());
        // Recipes of a few bytes may be a large part of a tiny stream.
        let max = (encoded_size / 4).max(64).min(MAX_RECIPE_SIZE as u64 - 32);
        let charge = |units| budget.take(units);
        let mut make = |manner, level, max| {
            let (mut encoded, plain) = source.readers().map_err(unreadable)?;
            let mut plain = Charged::new(plain, BYTE_WORK, &charge);
            let mut plain = Plain::new(&mut plain, plain_size).charged(&charge);
            match manner {
                Manner::Blocks => corrections::Plan::make(level, &mut encoded, &mut plain, max),
                Manner::Pieces => corrections::Plan::make_pieces(level, &mut encoded, &mut plain, max),
            }
        };
        let plan = match make(manner, level, max) {
            // Blocks of any number of tokens are told by pieces.
            Err(Refused::Unsupported(_)) if manner == Manner::Blocks => make(Manner::Pieces, level, max)?,
            made => made?,
        };
        // The start of a stream does not always tell two versions of an encoder apart, where all else is the same.
        let size = plan.corrections_size();
        let is_near = manner == Manner::Pieces && size > FEW && size < encoded_size / NEAR_SHARE;
        let other = ahead::other_version(level).filter(|_| is_near);
        let plan = other.and_then(|other| make(manner, other, size).ok()).unwrap_or(plan);
        if plan.encoded_size() != encoded_size {
            return Err(Refused::NotTheStream);
        }
        if encoded_size > corrections::max_encoded_size(plain_size) {
            return Err(Refused::Unsupported("deflate-empty-blocks"));
        }
        Ok(Plan::Corrections(plan))
    }
}

impl Estimate {
    /// The estimate of an encoder that takes too long to be looked at.
    const NOTHING: Self = Self { size: 0, known: 0, encoded: 0 };

    /// Tells whether the encoder is known by it. A long run of one byte is so few bytes of a stream that a few corrections
    /// are many.
    const fn is_few(&self) -> bool {
        let is_share = self.size == 0 || self.size < self.encoded / FEW_SHARE;
        self.known >= CHUNK_SIZE as u64 && self.size <= FEW && is_share
    }

    /// Tells whether the encoder is of the same kind by it.
    const fn is_near(&self) -> bool {
        self.known >= CHUNK_SIZE as u64 && self.size < self.encoded / NEAR_SHARE
    }

    /// Tells whether the corrections are fewer for each plain byte than `size` of them for `known` bytes.
    const fn is_less(&self, size: u64, known: u64) -> bool {
        self.size.saturating_mul(known) < size.saturating_mul(self.known)
    }
}

/// Tells whether a stream is flushed where klauspost/pgzip flushes it first, with parts of so many bytes.
fn is_cut(source: &mut dyn Source, size: usize, budget: &Budget) -> Result<bool, Refused> {
    let first = source.plain_size().min(size as u64);
    if !budget.charge(SETUP_WORK + first * READ_WORK) {
        return Ok(false);
    }
    let mut encoded = source.readers().map_err(unreadable)?.0;
    let mut reader = BlockReader::new(&mut encoded);
    let (mut size, mut tokens) = (0, Vec::new());
    let broken = |_| Refused::Unsupported("deflate-block");
    let mut blocks = 0_u64;
    while size <= first {
        // Blocks of no bytes are charged as well.
        blocks += 1;
        if blocks > MAX_BLOCKS_OF_PART {
            return Ok(false);
        }
        let Some((kind, is_last)) = reader.begin().map_err(broken)? else { break };
        match kind {
            Kind::Stored { size: 0, .. } if size == first => return Ok(!is_last),
            Kind::Stored { size: stored, .. } => size += u64::from(stored),
            _ => {}
        }
        let mut is_whole = false;
        while !is_whole && size <= first {
            tokens.clear();
            is_whole = reader.tokens(&mut tokens, MAX_START_TOKENS).map_err(broken)?;
            size += tokens.iter().map(|token| token.size() as u64).sum::<u64>();
        }
    }
    Ok(false)
}

fn unreadable(_: std::io::Error) -> Refused {
    Refused::Unreadable
}
