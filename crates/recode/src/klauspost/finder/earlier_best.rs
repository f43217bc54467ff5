//! The search of the best level up to 1.16.3, with which podman 4.3 and 4.4, buildah 1.28 and others of their time make
//! zstd:chunked. It compares the same matches as the later one, and extends them when one is chosen.

use super::best::{Candidate, Tables, Told};
use super::cost::Costs;
use super::{Block, Match, four};
use crate::klauspost::settings::EarlierBest;

/// The search takes a step more for each so many bytes without a match, as a base-2 logarithm.
const SKIP_LOG: u32 = 9;
/// Bytes of a match that is not compared with others any more.
const GOOD_ENOUGH: usize = 100;
/// The cost of a match that saves nothing.
const NO_GAIN: i32 = 25_000;

/// Searches one block.
pub(super) fn search(tables: &mut Tables, block: &mut Block<'_>, manner: EarlierBest) {
    let costs = Costs::new(&block.bytes[block.told..]);
    Search { tables, block, costs, distances: [0; 3], manner }.run();
}

struct Search<'s, 'f> {
    tables: &'s mut Tables,
    block: &'s mut Block<'f>,
    costs: Costs,
    /// The distances of the last matches.
    distances: [usize; 3],
    manner: EarlierBest,
}

impl Search<'_, '_> {
    fn run(&mut self) {
        let mut at = self.block.told;
        loop {
            let may_repeat = self.block.may_repeat();
            let Some(best) = self.next(at, may_repeat) else { return };
            let found = Match { at: best.at, before: best.before, end: best.at + best.size };
            let [first, second, third] = self.distances;
            at = found.end;
            if let Told::Repeated(number) = best.told {
                let extended = self.block.extend(found, self.block.told + 1, found.at);
                self.block.put(extended.at, at, number.into());
                self.distances = match number {
                    2 => [second, first, third],
                    3 => [third, first, second],
                    _ => self.distances,
                };
                if at >= self.block.limit {
                    return;
                }
                self.remember(found.at, at);
                continue;
            }
            self.distances = [found.at - found.before, first, second];
            let start = self.block.extend(found, self.block.told, found.at).at;
            self.block.put_match(found);
            if at >= self.block.limit {
                return;
            }
            self.remember(start + 1, at);
            if may_repeat {
                let tables = &mut *self.tables;
                at = self.block.put_repeats(at, &mut self.distances, |block, at| {
                    tables.push(block.eight(at), block.place(at));
                });
                if at >= self.block.limit {
                    return;
                }
            }
        }
    }

    /// Keeps the places of a match in the tables, but for the last one.
    fn remember(&mut self, start: usize, end: usize) {
        for at in start..end.saturating_sub(1) {
            self.tables.push(self.block.eight(at), self.block.place(at));
        }
    }

    /// Looks for the next match from `at` on.
    fn next(&mut self, mut at: usize, may_repeat: bool) -> Option<Candidate> {
        loop {
            let bytes = self.block.eight(at);
            let (of_long, of_short) = (self.tables.long(bytes), self.tables.short(bytes));
            let places = [of_long[0], of_long[1], of_short[0], of_short[1]];
            let mut best = self.best_of(&places.map(|place| self.match_of_place(place, at)));
            if may_repeat && best.size < GOOD_ENOUGH {
                best = self.repeated(best, at + 1);
                if best.size > 0 {
                    best = self.repeated(best, at + 3);
                }
            }
            self.tables.push(bytes, self.block.place(at));
            if best.size >= GOOD_ENOUGH {
                return Some(best);
            }
            if best.size >= 4 {
                return Some(self.best_behind(best, at + 1));
            }
            at += 1 + ((at - self.block.told) >> SKIP_LOG);
            if at >= self.block.limit {
                return None;
            }
        }
    }

    /// Returns the better one of the best match and those of the last distances at a place.
    fn repeated(&self, best: Candidate, at: usize) -> Candidate {
        let repeated =
            |number: u8, distance: usize| self.match_at(at.checked_sub(distance), at, Told::Repeated(number));
        let [first, second, third] = self.distances;
        self.best_of(&[best, repeated(1, first), repeated(2, second), repeated(3, third)])
    }

    /// Returns the best of matches that begin at `at` or behind it, or that have the bytes behind the end of
    /// the best one, too.
    fn best_behind(&self, mut best: Candidate, at: usize) -> Candidate {
        let bytes = [at, at + 1].map(|at| self.block.eight(at));
        let of_short = self.match_of_place(self.tables.short(bytes[0])[0], at);
        let [first, second] = self.tables.long(bytes[0]).map(|place| self.match_of_place(place, at));
        let [third, fourth] = self.tables.long(bytes[1]).map(|place| self.match_of_place(place, at + 1));
        best = self.best_of(&[best, of_short, first, second, third, fourth]);
        let end = best.at + best.size;
        if end >= self.block.limit {
            return best;
        }
        let places = self.tables.long(self.block.eight(end));
        let skipped = self.manner.skipped();
        let mut of = best;
        for place in places {
            let before = self.block.index(place, skipped, of.size);
            if before.is_none() {
                break;
            }
            best = self.better(best, self.match_at(before, of.at + usize::from(skipped), Told::Distance));
            if self.manner == EarlierBest::FirstOfEqual {
                of = best;
            }
        }
        best
    }

    /// Returns the best of candidates in the order in which the version compares them.
    fn best_of<const NUMBER: usize>(&self, candidates: &[Candidate; NUMBER]) -> Candidate {
        let better = |first, second: &Candidate| self.better(first, *second);
        if self.manner == EarlierBest::LastOfEqual {
            // Those of each half are compared first.
            let (first, second) = candidates.split_at(NUMBER / 2);
            let [first, second] = [first, second].map(|half| half[1..].iter().fold(half[0], better));
            return self.better(first, second);
        }
        candidates[1..].iter().fold(candidates[0], better)
    }

    /// Returns the one of two candidates that costs less.
    fn better(&self, first: Candidate, second: Candidate) -> Candidate {
        let is_first = match self.manner {
            EarlierBest::TwiceTheLiterals => {
                let of_first = first.cost + self.costs.of_literals_between(&second, &first);
                let of_second = second.cost + self.costs.of_literals_between(&first, &second);
                of_first < of_second
            }
            EarlierBest::LastOfEqual => self.costs.is_less(&first, &second),
            EarlierBest::FirstOfEqual => first.cost < NO_GAIN && !self.costs.is_less(&second, &first),
        };
        if is_first { first } else { second }
    }

    fn match_of_place(&self, place: u32, at: usize) -> Candidate {
        self.match_at(self.block.within(place, at), at, Told::Distance)
    }

    /// Returns the match of the bytes at `at` and at `before`, or one of no bytes.
    fn match_at(&self, before: Option<usize>, at: usize, told: Told) -> Candidate {
        let window = self.block.window as usize;
        let is_match = |before: &usize| {
            (1..window).contains(&at.wrapping_sub(*before))
                && four(self.block.bytes, *before) == four(self.block.bytes, at)
        };
        let Some(before) = before.filter(is_match) else {
            return Candidate { at, before: 0, size: 0, told: Told::Nothing, cost: NO_GAIN };
        };
        let size = self.block.end(at, before, 4) - at;
        let mut candidate = Candidate { at, before, size, told, cost: 0 };
        self.costs.estimate(&mut candidate, NO_GAIN, true);
        candidate
    }
}
