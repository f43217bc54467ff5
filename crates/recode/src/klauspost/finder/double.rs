//! The search of the default level: two tables of the places at which some bytes were last seen, one of eight bytes and
//! one of five, and the two distances that were used last.

use super::{Block, Entry, Match, hash_of_eight, hash_of_five, lessen};

/// Base-2 logarithms of the numbers of entries of the tables.
const LONG_LOG: u32 = 17;
const SHORT_LOG: u32 = 15;
/// The search takes a step more for each so many bytes without a match, as a base-2 logarithm.
const SKIP_LOG: u32 = 7;

pub(super) struct Tables {
    long: Box<[Entry]>,
    short: Box<[Entry]>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            long: vec![Entry::default(); 1 << LONG_LOG].into_boxed_slice(),
            short: vec![Entry::default(); 1 << SHORT_LOG].into_boxed_slice(),
        }
    }

    pub(super) fn lessen(&mut self, less: u32) {
        lessen(self.long.iter_mut().chain(&mut self.short).map(|entry| &mut entry.place), less);
    }
}

/// Searches one block.
pub(super) fn search(tables: &mut Tables, block: &mut Block<'_>, is_alone: bool) {
    Search {
        long: (&mut *tables.long).try_into().expect("it was made with as many entries"),
        short: (&mut *tables.short).try_into().expect("it was made with as many entries"),
        block,
        distances: [0; 2],
    }
    .run(is_alone);
}

fn long_hash(bytes: u64) -> usize {
    hash_of_eight(bytes, LONG_LOG)
}

fn short_hash(bytes: u64) -> usize {
    hash_of_five(bytes, SHORT_LOG)
}

struct Search<'s, 'f> {
    long: &'s mut [Entry; 1 << LONG_LOG],
    short: &'s mut [Entry; 1 << SHORT_LOG],
    block: &'s mut Block<'f>,
    /// The distances of the last matches.
    distances: [usize; 2],
}

impl Search<'_, '_> {
    fn run(&mut self, is_alone: bool) {
        let mut at = self.block.told;
        loop {
            let may_repeat = self.block.may_repeat();
            let Some((place, before)) = self.next(&mut at, may_repeat) else { return };
            self.distances = [place - before, self.distances[0]];
            let found = Match { at: place, before, end: self.block.end(place, before, 4) };
            let start = self.block.extend(found, self.block.told, place).at;
            self.block.put_match(found);
            at = found.end;
            if at >= self.block.limit {
                return;
            }
            let last = self.remember(start, at);
            let may_repeat = if is_alone { self.block.may_repeat() } else { may_repeat };
            if may_repeat {
                at = self.repeat_older(at, is_alone.then_some(last));
                if at >= self.block.limit {
                    return;
                }
            }
        }
    }

    /// Looks for the next match from `at` on. Returns where it is, and where the bytes were before.
    fn next(&mut self, at: &mut usize, may_repeat: bool) -> Option<(usize, usize)> {
        let mut bytes = self.block.eight(*at);
        loop {
            let (long_hash_here, short_hash_here) = (long_hash(bytes), short_hash(bytes));
            let entry = self.block.entry(*at, bytes);
            let of_long = std::mem::replace(&mut self.long[long_hash_here], entry);
            let of_short = std::mem::replace(&mut self.short[short_hash_here], entry);
            // The last distance is tried from the next byte on.
            if may_repeat && self.block.repeats(*at + 1, self.distances[0]) {
                *at = self.block.put_repeated(*at + 1, self.distances[0], *at);
                if *at >= self.block.limit {
                    return None;
                }
                bytes = self.block.eight(*at);
                continue;
            }
            if let Some(before) = self.block.reached(of_long, *at, bytes) {
                return Some((*at, before));
            }
            if let Some(before) = self.block.reached(of_short, *at, bytes) {
                // Eight bytes may be the same from the next byte on.
                let bytes = self.block.eight(*at + 1);
                let entry = self.block.entry(*at + 1, bytes);
                let of_long = std::mem::replace(&mut self.long[long_hash(bytes)], entry);
                let next = self.block.reached(of_long, *at + 1, bytes).map(|before| (*at + 1, before));
                return next.or(Some((*at, before)));
            }
            *at += 1 + ((*at - self.block.told) >> SKIP_LOG);
            if *at >= self.block.limit {
                return None;
            }
            bytes = self.block.eight(*at);
        }
    }

    /// Keeps two places of a match in the tables: near its start, and near its end. Returns the bytes of the last one.
    fn remember(&mut self, start: usize, end: usize) -> u64 {
        let mut last = 0;
        for at in [start + 1, end - 2] {
            let bytes = self.block.eight(at);
            self.long[long_hash(bytes)] = self.block.entry(at, bytes);
            last = bytes >> 8;
        }
        // The short table is another one, so that the order of both does not matter.
        for at in [start + 1, end - 2] {
            let bytes = self.block.eight(at) >> 8;
            self.short[short_hash(bytes)] = self.block.entry(at + 1, bytes);
        }
        last
    }

    /// Puts matches at the distance before the last for as long as there are some. Returns where the last one ends.
    ///
    /// In a block that is alone each is kept in the short table by the bytes behind `last`.
    fn repeat_older(&mut self, mut at: usize, last: Option<u64>) -> usize {
        while self.block.repeats(at, self.distances[1]) {
            let bytes = self.block.eight(at);
            let entry = self.block.entry(at, bytes);
            self.long[long_hash(bytes)] = entry;
            self.short[short_hash(last.map_or(bytes, |last| last >> 8))] = entry;
            let end = self.block.end(at, at - self.distances[1], 4);
            self.block.put(at, end, 1);
            self.distances.swap(0, 1);
            at = end;
            if at >= self.block.limit {
                return at;
            }
        }
        at
    }
}
