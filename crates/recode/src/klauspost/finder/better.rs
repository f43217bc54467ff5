//! The search of the better level: a table of the two last places of eight bytes, one of the last place of
//! five bytes, and the two distances that were used last.

use super::{Block, Entry, Match, Pair, four, hash_of_eight, hash_of_five, lessen, push};
use crate::klauspost::settings::Better;

/// Base-2 logarithms of the numbers of entries of the tables.
const LONG_LOG: u32 = 19;
const SHORT_LOG: u32 = 13;
/// The search takes a step more for each so many bytes without a match, as a base-2 logarithm.
const SKIP_LOG: u32 = 8;

pub(super) struct Tables {
    long: Box<[Pair]>,
    short: Box<[Entry]>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            long: vec![[0; 2]; 1 << LONG_LOG].into_boxed_slice(),
            short: vec![Entry::default(); 1 << SHORT_LOG].into_boxed_slice(),
        }
    }

    pub(super) fn lessen(&mut self, less: u32) {
        lessen(self.long.iter_mut().flatten(), less);
        lessen(self.short.iter_mut().map(|entry| &mut entry.place), less);
    }
}

/// Searches one block.
pub(super) fn search(tables: &mut Tables, block: &mut Block<'_>, manner: Better) {
    Search {
        long: (&mut *tables.long).try_into().expect("it was made with as many entries"),
        short: (&mut *tables.short).try_into().expect("it was made with as many entries"),
        block,
        distances: [0; 2],
        manner,
    }
    .run();
}

fn long_hash(bytes: u64) -> usize {
    hash_of_eight(bytes, LONG_LOG)
}

fn short_hash(bytes: u64) -> usize {
    hash_of_five(bytes, SHORT_LOG)
}

/// Takes a place into the table of eight bytes. Returns the places that were there before.
fn push_long(long: &mut [Pair; 1 << LONG_LOG], block: &Block<'_>, at: usize) -> Pair {
    let pair = &mut long[long_hash(block.eight(at))];
    let before = *pair;
    push(pair, block.place(at));
    before
}

/// Takes a place into the table of five bytes. Returns the entry that was there before.
fn push_short(short: &mut [Entry; 1 << SHORT_LOG], block: &Block<'_>, at: usize) -> Entry {
    let bytes = block.eight(at);
    std::mem::replace(&mut short[short_hash(bytes)], block.entry(at, bytes))
}

struct Search<'s, 'f> {
    long: &'s mut [Pair; 1 << LONG_LOG],
    short: &'s mut [Entry; 1 << SHORT_LOG],
    block: &'s mut Block<'f>,
    /// The distances of the last matches.
    distances: [usize; 2],
    manner: Better,
}

impl Search<'_, '_> {
    fn run(&mut self) {
        let mut at = self.block.told;
        loop {
            let may_repeat = self.block.may_repeat();
            let Some((looked_at, found)) = self.next(at, may_repeat) else { return };
            let found = self.longer_at_end(found);
            self.distances = [found.at - found.before, self.distances[0]];
            let start = self.block.extend(found, self.block.told, found.at).at;
            self.block.put_match(found);
            at = found.end;
            if at >= self.block.limit {
                return;
            }
            let first = if self.manner.remembers_all { looked_at + 1 } else { start + 1 };
            self.remember(first, at);
            if may_repeat {
                let tables = (&mut *self.long, &mut *self.short);
                at = self.block.put_repeats(at, &mut self.distances, |block, at| {
                    push_long(tables.0, block, at);
                    push_short(tables.1, block, at);
                });
                if at >= self.block.limit {
                    return;
                }
            }
        }
    }

    fn push_long(&mut self, at: usize) -> Pair {
        push_long(self.long, self.block, at)
    }

    fn push_short(&mut self, at: usize) -> Entry {
        push_short(self.short, self.block, at)
    }

    /// Keeps the places of a match in the tables, every second in the one of eight bytes and the others in
    /// the other one.
    fn remember(&mut self, start: usize, end: usize) {
        for at in (start..end.saturating_sub(1)).step_by(2) {
            self.push_long(at);
            self.push_short(at + 1);
        }
    }

    /// Looks for the next match from `at` on. Returns the place at which it was looked for last, and the match.
    fn next(&mut self, mut at: usize, may_repeat: bool) -> Option<(usize, Match)> {
        loop {
            let bytes = self.block.eight(at);
            let of_long = self.push_long(at);
            let of_short = self.push_short(at);
            // The last distance is tried from the next byte on.
            if may_repeat && self.block.repeats(at + 1, self.distances[0]) {
                let end = self.block.put_repeated(at + 1, self.distances[0], at);
                if end >= self.block.limit {
                    return None;
                }
                self.remember(at + 1, end);
                at = end;
                continue;
            }
            if let Some(found) = self.longest(of_long, at, at, 0) {
                return Some((at, found));
            }
            if let Some(before) = self.block.reached(of_short, at, bytes) {
                let end = self.block.end(at, before, 4);
                // Eight bytes may be the same from the next byte on.
                let of_long = self.push_long(at + 1);
                let next = self.first_longer(of_long, at + 1, at, end - at);
                return Some((at, next.unwrap_or(Match { at, before, end })));
            }
            at += 1 + ((at - self.block.told) >> SKIP_LOG);
            if at >= self.block.limit {
                return None;
            }
        }
    }

    /// Returns the match of eight bytes at a place.
    fn long_match(&self, place: u32, at: usize, of: usize) -> Option<Match> {
        let before = self.block.within(place, of).filter(|before| *before < at)?;
        let is_same = self.block.eight(before) == self.block.eight(at);
        is_same.then(|| Match { at, before, end: self.block.end(at, before, 8) })
    }

    /// Returns the longer one of the matches at both places, if one is longer than `size`.
    fn longest(&self, of_long: Pair, at: usize, of: usize, size: usize) -> Option<Match> {
        let mut longest = None;
        let mut size = size;
        for place in of_long {
            if let Some(found) = self.long_match(place, at, of)
                && found.end - at > size
            {
                size = found.end - at;
                longest = Some(found);
            }
        }
        longest
    }

    /// Returns the first one of the matches at both places that is longer than `size`.
    fn first_longer(&self, of_long: Pair, at: usize, of: usize, size: usize) -> Option<Match> {
        let places = of_long.into_iter();
        places.filter_map(|place| self.long_match(place, at, of)).find(|found| found.end - at > size)
    }

    /// Returns a longer match that has the bytes behind the end of this one, too, and may begin a little later.
    fn longer_at_end(&self, mut found: Match) -> Match {
        let Match { at, end, .. } = found;
        if end >= self.block.limit {
            return found;
        }
        let skipped = self.manner.skipped;
        let begin = at + usize::from(skipped);
        let candidates = self.long[long_hash(self.block.eight(end))];
        for place in candidates {
            let size = found.end - found.at;
            // The place before the end of the match, less the match.
            let Some(before) = self.block.index(place, skipped, size).filter(|before| *before < begin) else {
                continue;
            };
            if begin - before < self.block.window as usize
                && four(self.block.bytes, begin) == four(self.block.bytes, before)
            {
                let end = self.block.end(begin, before, 4);
                if end - begin > size {
                    found = Match { at: begin, before, end };
                }
            }
        }
        found
    }
}
