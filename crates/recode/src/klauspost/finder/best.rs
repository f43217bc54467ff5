//! The search of the best level since 1.16.4: the two last places of eight and of four bytes, and the three
//! distances that were used last. Of all matches at a place and a little behind it, the one is taken that
//! saves most by an estimate.

use super::cost::{Costs, NO_GAIN};
use super::{Block, Match, Pair, four, hash_of_eight, hash_of_four, lessen, push};
use crate::klauspost::settings::Best;

/// Base-2 logarithms of the numbers of entries of the tables.
const LONG_LOG: u32 = 22;
const SHORT_LOG: u32 = 18;
/// The search takes a step more for each so many bytes without a match, as a base-2 logarithm.
const SKIP_LOG: u32 = 9;
/// Bytes of a match that is not compared with others any more.
const GOOD_ENOUGH: usize = 250;
/// Bytes at the start of a match that may differ where another one is looked for by its end.
const SKIPPED: u8 = 2;
/// The repeated distances that only a match without literals has are told by numbers from here on.
const WITHOUT_LITERALS: u8 = 4;

pub(super) struct Tables {
    long: Box<[Pair]>,
    short: Box<[Pair]>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            long: vec![[0; 2]; 1 << LONG_LOG].into_boxed_slice(),
            short: vec![[0; 2]; 1 << SHORT_LOG].into_boxed_slice(),
        }
    }

    pub(super) fn lessen(&mut self, less: u32) {
        lessen(self.long.iter_mut().chain(&mut self.short).flatten(), less);
    }

    /// Returns the places at which the first bytes of `bytes` were seen: eight, and four.
    pub(super) fn long(&self, bytes: u64) -> Pair {
        self.long[hash_of_eight(bytes, LONG_LOG)]
    }

    pub(super) fn short(&self, bytes: u64) -> Pair {
        self.short[hash_of_four(bytes, SHORT_LOG)]
    }

    /// Takes a place at which `bytes` lie.
    pub(super) fn push(&mut self, bytes: u64, place: u32) {
        push(&mut self.long[hash_of_eight(bytes, LONG_LOG)], place);
        push(&mut self.short[hash_of_four(bytes, SHORT_LOG)], place);
    }
}

/// The way in which a match tells its distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// There is no match yet.
    Nothing,
    Distance,
    /// One of the last distances, counted from 1, and 4 more if no literals come before.
    Repeated(u8),
}

impl Told {
    const fn is_repeated(self) -> bool {
        matches!(self, Self::Repeated(_))
    }
}

/// A match that may be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) at: usize,
    pub(super) before: usize,
    pub(super) size: usize,
    pub(super) told: Told,
    /// Bits that it takes less those that it saves.
    pub(super) cost: i32,
}

/// Searches one block.
pub(super) fn search(tables: &mut Tables, block: &mut Block<'_>, manner: Best) {
    let costs = Costs::new(&block.bytes[block.told..]);
    Search { tables, block, costs, distances: [0; 3], manner }.run();
}

struct Search<'s, 'f> {
    tables: &'s mut Tables,
    block: &'s mut Block<'f>,
    costs: Costs,
    /// The distances of the last matches.
    distances: [usize; 3],
    manner: Best,
}

impl Search<'_, '_> {
    fn run(&mut self) {
        let mut at = self.block.told;
        loop {
            let Some((looked_at, best)) = self.next(at) else { return };
            let end = best.at + best.size;
            let margin = if let Told::Repeated(number) = best.told {
                self.block.put(best.at, end, (number & 3).into());
                self.repeat(number);
                4
            } else {
                let distance = best.at - best.before;
                self.distances = [distance, self.distances[0], self.distances[1]];
                self.block.put(best.at, end, super::small(distance) + 3);
                -4
            };
            at = end;
            let is_end = at >= self.block.limit;
            if self.manner.remembers_ends() {
                let limit = self.block.limit.saturating_add_signed(margin);
                self.remember(looked_at + 1, at.min(limit));
            } else if !is_end {
                self.remember(looked_at + 1, at);
            }
            if is_end {
                return;
            }
        }
    }

    fn remember(&mut self, start: usize, end: usize) {
        for at in start..end {
            self.tables.push(self.block.eight(at), self.block.place(at));
        }
    }

    /// Takes over a distance that was repeated.
    fn repeat(&mut self, number: u8) {
        let [first, second, third] = self.distances;
        self.distances = match number {
            2 | 5 => [second, first, third],
            3 | 6 => [third, first, second],
            7 => [first - 1, first, second],
            _ => [first, second, third],
        };
    }

    /// Looks for the next match from `at` on. Returns the place at which it was looked for last, and the match.
    fn next(&mut self, mut at: usize) -> Option<(usize, Candidate)> {
        let may_repeat = self.block.may_repeat();
        loop {
            let bytes = self.block.eight(at);
            let mut best = Candidate { at, before: 0, size: 0, told: Told::Nothing, cost: NO_GAIN };
            for place in self.tables.long(bytes).into_iter().chain(self.tables.short(bytes)) {
                self.improve_by_place(&mut best, place, at);
            }
            if may_repeat && best.size < GOOD_ENOUGH {
                self.improve_by_distances(&mut best, at);
            }
            self.tables.push(bytes, self.block.place(at));
            if best.size >= GOOD_ENOUGH {
                return Some((at, best));
            }
            if best.size >= 4 {
                self.improve_from_behind(&mut best, at);
                return Some((at, best));
            }
            at += 1 + ((at - self.block.told) >> SKIP_LOG);
            if at >= self.block.limit {
                return None;
            }
        }
    }

    /// Tries the last distances at a place and behind it.
    fn improve_by_distances(&self, best: &mut Candidate, at: usize) {
        let [first, second, third] = self.distances;
        if at == self.block.told {
            // A distance of zero makes no match.
            for (distance, number) in [second, third, first - 1].into_iter().zip(1..) {
                let told = Told::Repeated(number | WITHOUT_LITERALS);
                self.improve(best, at.checked_sub(distance), at, told);
            }
        }
        if best.told.is_repeated() {
            return;
        }
        for at in [at + 1, at + 3] {
            for (distance, number) in self.distances.into_iter().zip(1..) {
                self.improve(best, at.checked_sub(distance), at, Told::Repeated(number));
            }
            if best.told != Told::Distance {
                return;
            }
        }
    }

    /// Tries matches that begin a little behind `at`, and those that have the bytes behind the end of the
    /// best match, too.
    fn improve_from_behind(&self, best: &mut Candidate, at: usize) {
        let bytes = [1, 2].map(|behind| self.block.eight(at + behind));
        self.improve_by_place(best, self.tables.short(bytes[0])[0], at + 1);
        for (bytes, at) in bytes.into_iter().zip(at + 1..) {
            for place in self.tables.long(bytes) {
                self.improve_by_place(best, place, at);
            }
        }
        let end = best.at + best.size;
        // Places before `at` are in the tables already.
        if best.at + usize::from(SKIPPED) > at && end < self.block.limit {
            for place in self.tables.long(self.block.eight(end)) {
                let before = self.block.index(place, SKIPPED, best.size);
                if before.is_none() {
                    return;
                }
                self.improve(best, before, best.at + usize::from(SKIPPED), Told::Distance);
            }
        }
    }

    fn improve_by_place(&self, best: &mut Candidate, place: u32, at: usize) {
        self.improve(best, self.block.within(place, at), at, Told::Distance);
    }

    /// Takes the match of the bytes at `at` and at `before`, if there is one that is better.
    fn improve(&self, best: &mut Candidate, before: Option<usize>, at: usize, told: Told) {
        let (bytes, window) = (self.block.bytes, self.block.window as usize);
        let Some(before) = before.filter(|before| (1..window).contains(&at.wrapping_sub(*before))) else {
            return;
        };
        if four(bytes, before) != four(bytes, at) {
            return;
        }
        if best.size > 16 {
            // Another match is hardly longer, unless the bytes near the end of this one are the same.
            let left = bytes.len() - (best.at + best.size);
            if left == 0 {
                return;
            }
            let near_end = (best.at + best.size).checked_sub(at + 8).filter(|near| *near > 4);
            if let Some(near) = near_end.filter(|_| left > 2)
                && four(bytes, before + near) != four(bytes, at + near)
            {
                return;
            }
        }
        let mut found = Match { at, before, end: self.block.end(at, before, 4) };
        if self.manner.extends(told.is_repeated(), best.told.is_repeated()) {
            found = self.block.extend(found, self.block.told, at);
        }
        let Match { at, before, end } = found;
        let mut candidate = Candidate { at, before, size: end - at, told, cost: 0 };
        self.costs.estimate(&mut candidate, NO_GAIN, self.manner.masks_numbers());
        if best.cost >= NO_GAIN || self.costs.is_less(&candidate, best) {
            *best = candidate;
        }
    }
}
