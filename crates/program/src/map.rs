//! The map from places of the old file to places of the new one, which the blocks are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::payload::Block;
use crate::sorted::Sorted;

/// Ranges of the old file, each with the distance that it moved.
///
/// Where several blocks read the same bytes, the longest counts, and of those as long the one that comes first in the
/// old file, then in the new one.
#[derive(Debug, Default)]
pub(crate) struct Map {
    starts: Sorted,
    /// The end of each range, and how far it moved; it wraps.
    ranges: Vec<(u32, u32)>,
}

/// A block as the map sees it, the one that counts more last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    size: u32,
    start: Reverse<u32>,
    new: Reverse<u32>,
}

impl Map {
    /// The blocks were checked: they lie in files of at most [`crate::MAX_SIZE`] bytes.
    pub(crate) fn new(blocks: &[Block]) -> Self {
        let mut new = 0u32;
        let mut candidates = Vec::new();
        for block in blocks {
            if block.add > 0 {
                candidates.push(Candidate {
                    size: block.add,
                    start: Reverse(block.source),
                    new: Reverse(new),
                });
            }
            new = new.wrapping_add(block.add).wrapping_add(block.literal);
        }
        candidates.sort_unstable_by_key(|candidate| candidate.start.0);
        let mut map = Builder::default();
        let mut open: BinaryHeap<Candidate> = BinaryHeap::new();
        let mut position = 0;
        let mut next = candidates.into_iter().peekable();
        loop {
            while open.peek().is_some_and(|best| best.start.0 + best.size <= position) {
                open.pop();
            }
            match (open.peek(), next.peek()) {
                (None, None) => break,
                (None, Some(candidate)) => position = position.max(candidate.start.0),
                (Some(best), None) => {
                    let end = best.start.0 + best.size;
                    map.push(position, end, best.new.0.wrapping_sub(best.start.0));
                    position = end;
                }
                (Some(best), Some(candidate)) => {
                    let end = (best.start.0 + best.size).min(candidate.start.0).max(position);
                    map.push(position, end, best.new.0.wrapping_sub(best.start.0));
                    position = end;
                }
            }
            while let Some(candidate) = next.next_if(|candidate| candidate.start.0 <= position) {
                open.push(candidate);
            }
        }
        Self { starts: Sorted::new(map.starts), ranges: map.ranges }
    }

    /// The new place of an old one, and whether a block has it. Of one that no block has, the shift of the nearest
    /// range is taken.
    pub(crate) fn get(&self, place: u32) -> (u32, bool) {
        let after = self.starts.rank(place);
        let before = after.checked_sub(1).map(|index| self.ranges[index]);
        if let Some((end, moved)) = before
            && place < end
        {
            return (place.wrapping_add(moved), true);
        }
        let next = self.starts.keys().get(after).map(|start| (*start, self.ranges[after].1));
        let moved = match (before, next) {
            (Some((end, before)), Some((start, next))) => {
                if place - end < start - place {
                    before
                } else {
                    next
                }
            }
            (Some((_, moved)), None) | (None, Some((_, moved))) => moved,
            (None, None) => 0,
        };
        (place.wrapping_add(moved), false)
    }
}

/// A map that grows, with neighbours that moved alike joined.
#[derive(Default)]
struct Builder {
    starts: Vec<u32>,
    ranges: Vec<(u32, u32)>,
}

impl Builder {
    fn push(&mut self, start: u32, end: u32, moved: u32) {
        if start >= end {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if *last == (start, moved) => last.0 = end,
            _ => {
                self.starts.push(start);
                self.ranges.push((end, moved));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at every block for every place.
    fn slow(blocks: &[Block], place: u32) -> Option<u32> {
        let mut new = 0;
        let mut best: Option<(Candidate, u32)> = None;
        for block in blocks {
            let candidate = Candidate { size: block.add, start: Reverse(block.source), new: Reverse(new) };
            let has = place.checked_sub(block.source).is_some_and(|offset| offset < block.add);
            if has && best.is_none_or(|(other, _)| candidate > other) {
                best = Some((candidate, place - block.source + new));
            }
            new += block.add + block.literal;
        }
        best.map(|(_, place)| place)
    }

    #[test]
    fn of_blocks_that_read_the_same_the_longest_counts() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..300 {
            let block = |random: &mut fastrand::Rng| Block {
                source: random.u32(..300),
                add: random.u32(..60),
                literal: random.u32(..20),
            };
            let blocks: Vec<Block> = (0..random.usize(..12)).map(|_| block(&mut random)).collect();
            let map = Map::new(&blocks);
            for place in 0..400 {
                let (found, is_exact) = map.get(place);
                assert_eq!(is_exact.then_some(found), slow(&blocks, place), "{blocks:?} {place}");
            }
        }
    }

    #[test]
    fn a_gap_moves_with_what_is_near() {
        let blocks = [Block { source: 0, add: 10, literal: 5 }, Block { source: 20, add: 10, literal: 0 }];
        let map = Map::new(&blocks);
        assert_eq!([9, 10, 14, 15, 20, 40].map(|place| map.get(place).0), [9, 10, 14, 10, 15, 35]);
    }
}
