//! The levels 5 to 9: a match is left for a better one at the next byte, or at the byte behind that.

use super::chains::Chains;
use super::{Choices, Effort, is_far, split};

/// Longest distance of a match of three bytes.
const MAX_DISTANCE: usize = 8192;
/// Plain bytes behind which the shortest match is chosen anew, by the literals of the block.
const FIRST_SIZE: usize = 10_000;
/// A literal is used rarely if it is one of so many, as a power of two.
const RARE: u32 = 10;

/// A match that may be taken.
#[derive(Debug, Clone, Copy)]
struct Match {
    size: usize,
    source: usize,
    distance: usize,
}

impl Match {
    /// Tells whether it is better than another, at a place in front of it, by at least so much: four for each byte, and
    /// one for each bit of the distance.
    fn is_better(self, other: Self, least: usize) -> bool {
        self.size >= other.size
            && 4 * (self.size - other.size) + other.distance.ilog2() as usize
                > least + self.distance.ilog2() as usize
    }
}

impl Choices<'_> {
    pub(super) fn lazy(&mut self, chains: &mut Chains, effort: Effort, is_by_two: bool, is_earlier: bool) {
        let mut min = split::min_size(&self.bytes[self.start..self.max_end], effort.depth, is_earlier);
        let mut next_min = self.start + (self.end - self.start).min(FIRST_SIZE);
        loop {
            if self.at >= next_min {
                min = self.min_size(effort.depth);
                next_min += (self.end - next_min).min(self.at - self.start);
            }
            match self.search(chains, effort, min - 1, 0, 0) {
                Some(found) if found.size >= min && !is_far(found.size, found.distance, MAX_DISTANCE) => {
                    self.improve(chains, effort, is_by_two, found);
                }
                _ => self.literal(),
            }
            if self.ends() {
                return;
            }
        }
    }

    /// Takes a match at the next byte, or literals and a better one behind them.
    fn improve(&mut self, chains: &mut Chains, effort: Effort, is_by_two: bool, mut found: Match) {
        loop {
            let (_, nice) = self.limits(effort.nice, 0);
            let looked_at = if found.size >= nice {
                1
            } else if let Some(next) = self.search(chains, effort, found.size - 1, 1, 1)
                && next.is_better(found, 2)
            {
                self.literal();
                found = next;
                continue;
            } else if !is_by_two {
                2
            } else if let Some(next) = self.search(chains, effort, found.size - 1, 2, 2)
                && next.is_better(found, 6)
            {
                self.literal();
                self.literal();
                found = next;
                continue;
            } else {
                3
            };
            if found.size > looked_at {
                chains.enter(self.bytes, self.at + looked_at, found.size - looked_at, self.end);
            }
            self.reference(found.size, found.source);
            return;
        }
    }

    /// Looks for a match at so many bytes behind the next, of more than `size` bytes. The search is a half as deep for
    /// each `halves`.
    fn search(
        &mut self,
        chains: &mut Chains,
        effort: Effort,
        size: usize,
        offset: usize,
        halves: u32,
    ) -> Option<Match> {
        let at = self.at + offset;
        let limits = self.limits(effort.nice, offset);
        let (found, source) = chains.longest(self.bytes, at, size, limits, effort.depth >> halves);
        (found > size).then_some(Match { size: found, source, distance: at - source })
    }

    /// Returns the size of the shortest match, by the literals of the block so far but for those that are rare.
    fn min_size(&self, depth: usize) -> usize {
        let rare = self.literals.iter().sum::<u32>() >> RARE;
        split::min_size_of(self.literals.iter().filter(|count| **count > rare).count(), depth)
    }
}
