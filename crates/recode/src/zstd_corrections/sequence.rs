//! The coder of sequences: how each differs from the match that is predicted at its place.

use super::chains::{Chains, MAX_LOOKED_AT};
use super::history::History;
use super::predictor::{Match, Predictor};
use super::repeats::{NUMBERS, Repeats};
use crate::deflate::range::{Coder, Model};
use crate::zstd_blocks::MAX_BLOCK;
use crate::zstd_blocks::sequences::Sequence;

/// Fewest bytes of a match.
const MIN_MATCH: u64 = 3;
/// Most bytes that are compared to see how long a match may be.
const MAX_COMPARED: usize = 4 << 10;
/// Ways to say a distance: that of the match that is predicted, of the one behind it, of the one before it, or another.
const OTHER: u32 = 3;
/// Ways to say another distance beside the numbers of those that were used before: as it is, or by its place in a
/// chain.
const BY_DISTANCE: u32 = 0;
const BY_RANK: u32 = 4;
/// Ways to say a size: up to the end that is predicted, as many bytes as are the same, or another.
const TO_END: u32 = 0;
const ALL_SAME: u32 = 1;
const OTHER_SIZE: u32 = 2;

/// Units of work that a sequence takes which is not as predicted, beside the places of a chain that are looked at.
const SEQUENCE_WORK: u64 = 512;

const BROKEN: &str = "a sequence does not fit";

/// A number of at most 32 bits: how many bits it has, and which.
#[derive(Debug)]
pub(super) struct Number {
    sizes: [Model; 64],
    high: [Model; 64],
}

impl Number {
    pub(super) const NEW: Self = Self { sizes: [Model::NEW; 64], high: [Model::NEW; 64] };

    pub(super) fn code(&mut self, coder: &mut impl Coder, value: u32) -> u32 {
        let size = coder.tree(&mut self.sizes, 32 - value.leading_zeros(), 6).min(32);
        if size < 2 {
            return size;
        }
        let bits = size - 1;
        let rest = value & ((1u32 << bits) - 1);
        let high = coder.bit(&mut self.high[size as usize], rest >> (bits - 1) & 1 == 1);
        let low = coder.raw(rest, bits - 1);
        1 << bits | u32::from(high) << (bits - 1) | low
    }
}

/// The models of sequences.
pub(super) struct Sequences {
    exact: [Model; 8 * CONTEXTS],
    end: [Model; 2],
    same_literals: [Model; 4],
    literals: Number,
    distance: [[Model; 4]; 2],
    told: [[Model; 8]; 2],
    offset: Number,
    rank: Number,
    chains: Chains,
    manner: [[Model; 4]; 4],
    size: Number,
    /// The last sequences, of which those that did not come as predicted are ones, the last one in the lowest bit.
    outcomes: usize,
}

/// The place of the next sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) at: u64,
    /// The end of the block.
    pub(super) end: u64,
    /// The index of the first predicted match that ends behind the place.
    pub(super) next: usize,
}

/// All that is known around a place.
#[derive(Clone, Copy)]
pub(super) struct Around<'w> {
    pub(super) predictor: &'w Predictor,
    pub(super) history: &'w History,
    pub(super) repeats: Repeats,
}

/// The parts of a sequence that are coded before its size. The offset value means something only if it is known.
#[derive(Debug, Clone, Copy)]
struct Said {
    literals: u32,
    is_same_start: bool,
    offset: u32,
}

/// A sequence that is predicted, and its distance.
#[derive(Debug, Clone, Copy)]
struct Guess {
    sequence: Sequence,
    index: usize,
    is_cut: bool,
}

/// The number of kinds of predicted sequences.
const CONTEXTS: usize = 1 + 32;

impl Guess {
    /// Returns the kind of the sequence: short matches that come without literals are the least sure.
    fn context(self) -> usize {
        let size = match self.sequence.size {
            ..4 => 0,
            4 => 1,
            5..8 => 2,
            _ => 3,
        };
        let is_repeated = usize::from(self.sequence.offset <= NUMBERS);
        let has_literals = usize::from(self.sequence.literals > 0);
        1 + (size << 3 | is_repeated << 2 | has_literals << 1 | usize::from(self.is_cut))
    }
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self {
            exact: [Model::NEW; 8 * CONTEXTS],
            end: [Model::NEW; 2],
            same_literals: [Model::NEW; 4],
            literals: Number::NEW,
            distance: [[Model::NEW; 4]; 2],
            told: [[Model::NEW; 8]; 2],
            offset: Number::NEW,
            rank: Number::NEW,
            chains: Chains::default(),
            manner: [[Model::NEW; 4]; 4],
            size: Number::NEW,
            outcomes: 0,
        }
    }

    /// Codes the next sequence, or that there is none; `actual` is the sequence, if it is known. Adds the work to
    /// `work`.
    pub(super) fn code(
        &mut self,
        coder: &mut impl Coder,
        place: &mut Place,
        around: Around<'_>,
        actual: Option<Option<Sequence>>,
        work: &mut u64,
    ) -> Result<Option<Sequence>, &'static str> {
        let Around { predictor, history, repeats } = around;
        let guess = guess(place, predictor, repeats);
        let context = guess.map_or(0, Guess::context) << 3 | self.outcomes & 7;
        let expected = guess.map(|guess| guess.sequence);
        let is_exact = coder.bit(&mut self.exact[context], actual.is_some_and(|actual| actual != expected));
        self.outcomes = self.outcomes << 1 | usize::from(is_exact);
        if !is_exact {
            return Ok(expected);
        }
        if expected.is_some() && coder.bit(&mut self.end[0], actual == Some(None)) {
            return Ok(None);
        }
        let actual = actual.flatten().unwrap_or(Sequence { literals: 0, size: 0, offset: 0 });
        let left = place.end - place.at;
        let literals = match expected {
            Some(expected)
                if !coder.bit(
                    &mut self.same_literals[self.outcomes >> 1 & 3],
                    actual.literals != expected.literals,
                ) =>
            {
                expected.literals
            }
            _ => self.literals.code(coder, actual.literals),
        };
        if u64::from(literals) + MIN_MATCH > left {
            return Err(BROKEN);
        }
        let start = place.at + u64::from(literals);
        let is_same_start = expected.is_some_and(|expected| expected.literals == literals);
        let said = Said { literals, is_same_start, offset: actual.offset };
        let offset = self.offset(coder, guess, place, around, said).ok_or(BROKEN)?;
        let distance = repeats.distance(offset, literals > 0).ok_or(BROKEN)?;
        if u64::from(distance) > start {
            return Err(BROKEN);
        }
        let most = (place.end - start).min(MAX_COMPARED as u64);
        let same = history.common(start, distance, usize::try_from(most).unwrap_or(MAX_COMPARED));
        *work += SEQUENCE_WORK + same as u64 / 4 + self.chains.take_work();
        let to_end = guess.and_then(|guess| {
            let found = predictor.matches().get(guess.index)?;
            found.end.min(place.end).checked_sub(start)
        });
        let sizes = [to_end.and_then(|size| u32::try_from(size).ok()), u32::try_from(same).ok()];
        let way = match actual.size {
            size if sizes[0] == Some(size) => TO_END,
            size if sizes[1] == Some(size) => ALL_SAME,
            _ => OTHER_SIZE,
        };
        let context = usize::from(is_same_start) | usize::from(sizes[0] == sizes[1]) << 1;
        let size = match coder.tree(&mut self.manner[context], way, 2) {
            TO_END => sizes[0].ok_or(BROKEN)?,
            ALL_SAME => sizes[1].ok_or(BROKEN)?,
            _ => self.size.code(coder, actual.size),
        };
        if u64::from(size) < MIN_MATCH || start + u64::from(size) > place.end || size as usize > MAX_BLOCK {
            return Err(BROKEN);
        }
        Ok(Some(Sequence { literals, size, offset }))
    }

    /// Codes an offset value.
    fn offset(
        &mut self,
        coder: &mut impl Coder,
        guess: Option<Guess>,
        place: &Place,
        Around { predictor, history, repeats }: Around<'_>,
        Said { literals, is_same_start, offset: actual }: Said,
    ) -> Option<u32> {
        let has_literals = literals > 0;
        let index = guess.map_or(place.next, |guess| guess.index);
        let matches = predictor.matches();
        let near = [Some(index), index.checked_add(1), index.checked_sub(1)].map(|index| {
            let found = matches.get(index?)?;
            Some(offset_of(found, repeats, has_literals))
        });
        let way = (0..OTHER).zip(near).find(|(_, near)| *near == Some(actual)).map_or(OTHER, |(way, _)| way);
        let way = coder.tree(&mut self.distance[usize::from(is_same_start)], way, 2);
        if let Some(Some(offset)) = near.get(way as usize) {
            return Some(*offset);
        }
        let start = place.at + u64::from(literals);
        let rank = match actual.checked_sub(NUMBERS) {
            Some(distance @ 1..) => self.chains.rank(history, start, distance),
            _ => None,
        };
        let number = if actual <= NUMBERS {
            actual
        } else if rank.is_some() {
            BY_RANK
        } else {
            BY_DISTANCE
        };
        match coder.tree(&mut self.told[usize::from(has_literals)], number, 3) {
            BY_DISTANCE => self.offset.code(coder, actual.saturating_sub(NUMBERS)).checked_add(NUMBERS),
            BY_RANK => {
                let rank = self.rank.code(coder, rank.unwrap_or(0)).min(MAX_LOOKED_AT);
                Some(self.chains.distance(history, start, rank)? + NUMBERS)
            }
            number => Some(number),
        }
    }
}

fn offset_of(found: &Match, repeats: Repeats, has_literals: bool) -> u32 {
    if found.is_told {
        found.distance.saturating_add(NUMBERS)
    } else {
        repeats.offset(found.distance, has_literals)
    }
}

/// Returns the sequence that is predicted at a place; `None` if no match begins before the end of the block.
fn guess(place: &mut Place, predictor: &Predictor, repeats: Repeats) -> Option<Guess> {
    let matches = predictor.matches();
    while matches.get(place.next).is_some_and(|found| found.end < place.at + MIN_MATCH) {
        place.next += 1;
    }
    let found = matches.get(place.next)?;
    let start = found.start.max(place.at);
    let size = found.end.min(place.end).checked_sub(start).filter(|size| *size >= MIN_MATCH)?;
    let literals = u32::try_from(start - place.at).ok()?;
    let offset = offset_of(found, repeats, literals > 0);
    let sequence = Sequence { literals, size: u32::try_from(size).ok()?, offset };
    Some(Guess { sequence, index: place.next, is_cut: found.start < place.at })
}
