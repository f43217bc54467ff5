//! Matches of two tables, as levels 5 and 6 of klauspost/compress find them: where strings of 4 bytes were seen
//! last, and the last two places of strings of 7 bytes.

use super::super::token::{MAX_MATCH, Token};
use super::history::{
    self, History, MARGIN, TABLE_SIZE, WINDOW_SIZE, common, common_before, distance, eight, entry, four,
    hash_four, hash_seven, literals, references, shift,
};

/// The rules in which the levels differ.
pub(in super::super) trait Level {
    /// Base-2 logarithm of the bytes without a match after which steps grow by one.
    const SKIP: u32;
    /// The distance of the last match is tried at the next byte.
    const TRIES_LAST_DISTANCE: bool;
    /// A shorter match is tried to be bettered from its end.
    const LONG_ENOUGH: usize;
    /// Bytes at the start that a better match need not share.
    const MAY_DIFFER: usize;
    /// Both places of a string of 7 bytes may better a match, and not only the first that does.
    const TRIES_BOTH: bool;
}

pub(in super::super) struct Five;

impl Level for Five {
    const SKIP: u32 = 6;
    const TRIES_LAST_DISTANCE: bool = false;
    const LONG_ENOUGH: usize = 30;
    const MAY_DIFFER: usize = 2;
    const TRIES_BOTH: bool = false;
}

/// Level 5 up to klauspost/compress 1.15.10.
pub(in super::super) struct EarlierFive;

impl Level for EarlierFive {
    const SKIP: u32 = Five::SKIP;
    const TRIES_LAST_DISTANCE: bool = Five::TRIES_LAST_DISTANCE;
    const LONG_ENOUGH: usize = Five::LONG_ENOUGH;
    const MAY_DIFFER: usize = 0;
    const TRIES_BOTH: bool = Five::TRIES_BOTH;
}

/// Level 5 up to klauspost/compress 1.11, where no match is bettered.
pub(in super::super) struct EarliestFive;

impl Level for EarliestFive {
    const SKIP: u32 = Five::SKIP;
    const TRIES_LAST_DISTANCE: bool = Five::TRIES_LAST_DISTANCE;
    const LONG_ENOUGH: usize = 0;
    const MAY_DIFFER: usize = 0;
    const TRIES_BOTH: bool = Five::TRIES_BOTH;
}

pub(in super::super) struct Six;

impl Level for Six {
    const SKIP: u32 = 7;
    const TRIES_LAST_DISTANCE: bool = true;
    const LONG_ENOUGH: usize = usize::MAX;
    const MAY_DIFFER: usize = 2;
    const TRIES_BOTH: bool = true;
}

/// The tables.
pub(in super::super) struct Double {
    history: History,
    of_four: Vec<u32>,
    of_seven: Vec<[u32; 2]>,
}

impl Double {
    pub(in super::super) fn new() -> Self {
        let of_seven = vec![[0; 2]; TABLE_SIZE];
        Self { history: History::default(), of_four: vec![0; TABLE_SIZE], of_seven }
    }

    /// Forgets all.
    pub(in super::super) fn restart(&mut self) -> &mut Self {
        self.history.clear();
        self.of_four.fill(0);
        self.of_seven.fill([0; 2]);
        self
    }

    /// Takes a chunk in that is not searched.
    pub(in super::super) fn skip(&mut self, chunk: &[u8]) -> usize {
        let (start, gone) = self.history.push(chunk);
        if gone > 0 {
            shift(&mut self.of_four, gone);
            shift(self.of_seven.as_flattened_mut(), gone);
        }
        start
    }

    /// Finds the tokens of a chunk up to where only literals follow.
    pub(in super::super) fn find<L: Level>(&mut self, chunk: &[u8], found: &mut Vec<Token>) {
        let start = self.skip(chunk);
        let tables = (self.of_four.first_chunk_mut(), self.of_seven.first_chunk_mut());
        let (Some(of_four), Some(of_seven)) = tables else { return };
        let bytes = self.history.bytes();
        if chunk.len() > MARGIN + 1 {
            Search { bytes, of_four, of_seven, limit: bytes.len() - MARGIN, last_distance: 1 }
                .find::<L>(start, found);
        }
    }
}

struct Search<'h> {
    bytes: &'h [u8],
    of_four: &'h mut [u32; TABLE_SIZE],
    of_seven: &'h mut [[u32; 2]; TABLE_SIZE],
    limit: usize,
    last_distance: usize,
}

/// A match that was found.
struct Candidate {
    at: usize,
    source: usize,
    size: usize,
    /// The place after the one where it was found.
    next: usize,
}

impl Search<'_> {
    fn find<L: Level>(&mut self, start: usize, found: &mut Vec<Token>) {
        let (mut at, mut unmatched) = (start, start);
        while let Some(mut candidate) = self.candidate::<L>(at, unmatched) {
            self.better::<L>(&mut candidate);
            let Candidate { at: at_match, source, size, next } = candidate;
            let before = common_before(self.bytes, source, at_match, unmatched);
            let size = size + before;
            literals(&self.bytes[unmatched..at_match - before], found);
            references(size, at_match - source, found);
            self.last_distance = at_match - source;
            unmatched = at_match - before + size;
            at = if next >= unmatched { next + 1 } else { unmatched };
            let is_end = at >= self.limit;
            if L::TRIES_BOTH {
                self.enter_seconds(next + 1, at, is_end);
            } else if !is_end {
                // From one byte behind the match's start, or behind where the search was already.
                self.enter_thirds(at - size + 1, at);
                self.enter(at - 1);
            }
            if is_end {
                break;
            }
        }
    }

    /// The next match that is taken, and where the search goes on if it is within it.
    fn candidate<L: Level>(&mut self, mut at: usize, unmatched: usize) -> Option<Candidate> {
        loop {
            let next = at + 1 + ((at - unmatched) >> L::SKIP);
            if next > self.limit {
                return None;
            }
            let value = four(self.bytes, at);
            let (of_four, of_seven) = self.enter(at);
            let found = |source, size| Some(Candidate { at, source, size, next });
            if let Some(last) = near(of_seven[0], at) {
                let before = near(of_seven[1], at).filter(|before| four(self.bytes, *before) == value);
                if four(self.bytes, last) == value {
                    self.enter(next);
                    let Some(before) = before else { return found(last, self.size(last, at)) };
                    let sizes = (self.bounded_size(last, at), self.bounded_size(before, at));
                    let (source, size) = if sizes.1 > sizes.0 { (before, sizes.1) } else { (last, sizes.0) };
                    return found(source, self.longest(source, at, size));
                }
                if let Some(before) = before {
                    self.enter(next);
                    return found(before, self.size(before, at));
                }
            }
            if let Some(last) = near(of_four, at).filter(|last| four(self.bytes, *last) == value) {
                return Some(self.lazy::<L>(Candidate { at, source: last, size: 0, next }));
            }
            at = next;
        }
    }

    /// What is taken where a string of 4 bytes was found, and may be one at the next place.
    fn lazy<L: Level>(&mut self, mut found: Candidate) -> Candidate {
        let Candidate { at, next, .. } = found;
        found.size = self.bounded_size(found.source, at);
        let (_, ahead) = self.enter(next);
        if L::TRIES_LAST_DISTANCE {
            let source = (at + 1).saturating_sub(self.last_distance);
            if four(self.bytes, source) == four(self.bytes, at + 1) {
                let size = self.bounded_size(source, at + 1);
                if size > found.size {
                    return Candidate { at: at + 1, source, size: self.longest(source, at + 1, size), next };
                }
            }
        }
        if near(ahead[0], next).is_some() {
            let value = four(self.bytes, next);
            for source in ahead.into_iter().filter_map(|entry| near(entry, next)) {
                if four(self.bytes, source) == value {
                    let size = self.bounded_size(source, next);
                    if size > found.size {
                        found = Candidate { at: next, source, size, next };
                        if !L::TRIES_BOTH {
                            break;
                        }
                    }
                }
            }
        }
        found.size = self.longest(found.source, found.at, found.size);
        found
    }

    /// Tries what the end of a match leads to.
    fn better<L: Level>(&self, found: &mut Candidate) {
        let (start, end) = (found.at, found.at + found.size);
        if found.size >= L::LONG_ENOUGH || end >= self.limit {
            return;
        }
        let at = start + L::MAY_DIFFER;
        let entries = self.of_seven[hash_seven(eight(self.bytes, end))];
        if distance(entries[0], end) >= WINDOW_SIZE && distance(entries[0], end) < usize::MAX / 2 {
            return;
        }
        for entry in &entries[..if L::TRIES_BOTH { 2 } else { 1 }] {
            let distance = distance(*entry, start + found.size);
            if distance == 0 || distance >= WINDOW_SIZE {
                continue;
            }
            let Some(source) = at.checked_sub(distance) else { continue };
            let size = self.size(source, at);
            if size > found.size {
                *found = Candidate { at, source, size, next: found.next };
            }
        }
    }

    /// Enters the strings of a match, those of 4 bytes at every second place. At the end of a chunk all places
    /// count.
    fn enter_seconds(&mut self, start: usize, end: usize, is_end: bool) {
        if is_end {
            for at in (start..self.bytes.len().saturating_sub(8)).step_by(2) {
                self.enter(at);
            }
            return;
        }
        for at in (start..end - 1).step_by(2) {
            let value = eight(self.bytes, at);
            self.put_seven(hash_seven(value), at);
            self.put_seven(hash_seven(value >> 8), at + 1);
            self.of_four[hash_four(value)] = entry(at);
        }
    }

    /// Enters every third string of a match.
    fn enter_thirds(&mut self, start: usize, end: usize) {
        if start + 1 >= end {
            return;
        }
        let value = eight(self.bytes, start);
        self.of_four[hash_four(value)] = entry(start);
        self.put_seven(hash_seven(value), start);
        self.put_seven(hash_seven(value >> 8), start + 1);
        self.of_four[hash_four(value >> 16)] = entry(start + 2);
        for at in (start + 4..end - 1).step_by(3) {
            let value = eight(self.bytes, at);
            self.put_seven(hash_seven(value), at);
            self.of_four[hash_four(value >> 8)] = entry(at + 1);
        }
    }

    /// Enters the strings at a place into both tables; gives what was there.
    fn enter(&mut self, at: usize) -> (u32, [u32; 2]) {
        let value = eight(self.bytes, at);
        let of_four = std::mem::replace(&mut self.of_four[hash_four(value)], entry(at));
        (of_four, self.put_seven(hash_seven(value), at))
    }

    fn put_seven(&mut self, hash: usize, at: usize) -> [u32; 2] {
        let before = self.of_seven[hash];
        self.of_seven[hash] = [entry(at), before[0]];
        before
    }

    fn size(&self, source: usize, at: usize) -> usize {
        common(self.bytes, source, at, usize::MAX)
    }

    fn bounded_size(&self, source: usize, at: usize) -> usize {
        common(self.bytes, source, at, MAX_MATCH)
    }

    /// The size of a match that was looked at up to the size of a reference.
    fn longest(&self, source: usize, at: usize, size: usize) -> usize {
        if size == MAX_MATCH { self.size(source, at) } else { size }
    }
}

/// An entry as a place of the history, if it is not too far.
fn near(entry: u32, at: usize) -> Option<usize> {
    history::near(entry, at, WINDOW_SIZE)
}
