//! Matches of one table of where strings were seen last, as the fastest levels find them: levels 1 and 2 of
//! klauspost/compress, and level 1 of Go up to 1.26.

use super::super::token::{MAX_MATCH, Token};
use super::history::{
    self, Candidate, History, WINDOW_SIZE, common, common_before, distance, eight, entry, four, hash_five,
    literals, references, shift,
};

/// Base-2 logarithm of the places of the table at level 2. The other levels use a part of it.
const TABLE_BITS: u32 = 17;
const TABLE_SIZE: usize = 1 << TABLE_BITS;

/// The rules in which the levels differ.
pub(super) trait Level {
    /// No string begins closer to the end of a chunk.
    const MARGIN: usize;
    /// Places in front of the end of a match from which strings are entered.
    const BEFORE_END: usize;
    /// Two places are looked at in a turn, turns come closer behind a match, strings have 5 bytes, and a match is
    /// made as long as it gets, in both directions.
    const IS_KLAUSPOST: bool;
    /// Strings within a match are entered, and the one behind its start is not.
    const ENTERS_MATCHES: bool;

    /// The place of a string in the table.
    fn hash(value: u64) -> usize;
}

pub(super) struct One;

impl Level for One {
    const MARGIN: usize = history::MARGIN;
    const BEFORE_END: usize = 2;
    const IS_KLAUSPOST: bool = true;
    const ENTERS_MATCHES: bool = false;

    fn hash(value: u64) -> usize {
        hash_five(value, history::TABLE_BITS)
    }
}

pub(super) struct Two;

impl Level for Two {
    const MARGIN: usize = history::MARGIN;
    const BEFORE_END: usize = 2;
    const IS_KLAUSPOST: bool = true;
    const ENTERS_MATCHES: bool = true;

    fn hash(value: u64) -> usize {
        hash_five(value, TABLE_BITS)
    }
}

pub(super) struct Go;

impl Level for Go {
    const MARGIN: usize = 15;
    const BEFORE_END: usize = 1;
    const IS_KLAUSPOST: bool = false;
    const ENTERS_MATCHES: bool = false;

    fn hash(value: u64) -> usize {
        let [a, b, c, d, ..] = value.to_le_bytes();
        (u32::from_le_bytes([a, b, c, d]).wrapping_mul(0x1e35_a7bd) >> (32 - 14)) as usize
    }
}

/// The table.
pub(super) struct Single {
    history: History,
    table: Vec<u32>,
}

impl Single {
    pub(super) fn new() -> Self {
        Self { history: History::default(), table: vec![0; TABLE_SIZE] }
    }

    /// Forgets all.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.history.clear();
        self.table.fill(0);
        self
    }

    /// Finds the tokens of a chunk up to where only literals follow.
    pub(super) fn find<L: Level>(&mut self, chunk: &[u8], found: &mut Vec<Token>) {
        let (start, gone) = self.history.push(chunk);
        if gone > 0 {
            shift(&mut self.table, gone);
        }
        let bytes = self.history.bytes();
        let Some(table) = self.table.first_chunk_mut() else { return };
        if chunk.len() > L::MARGIN + 1 {
            Search { bytes, table, limit: bytes.len() - L::MARGIN }.find::<L>(start, found);
        }
    }
}

struct Search<'h> {
    bytes: &'h [u8],
    table: &'h mut [u32; TABLE_SIZE],
    limit: usize,
}

impl Search<'_> {
    fn find<L: Level>(&mut self, start: usize, found: &mut Vec<Token>) {
        let (mut at, mut unmatched) = (start, start);
        loop {
            let candidate =
                if L::IS_KLAUSPOST { self.pairs::<L>(at, unmatched) } else { self.growing::<L>(at) };
            let Some(Candidate { at: at_match, mut source, next }) = candidate else { return };
            at = at_match;
            // As long as a match begins where the last one ends.
            loop {
                let max = if L::IS_KLAUSPOST { usize::MAX } else { MAX_MATCH };
                let mut size = common(self.bytes, source, at, max);
                let distance = at - source;
                if L::IS_KLAUSPOST {
                    let before = common_before(self.bytes, source, at, unmatched);
                    (at, size) = (at - before, size + before);
                }
                literals(&self.bytes[unmatched..at], found);
                references(size, distance, found);
                at += size;
                unmatched = at;
                if L::IS_KLAUSPOST && next >= at {
                    at = next + 1;
                }
                if at >= self.limit {
                    if L::IS_KLAUSPOST && at + size + 8 < self.bytes.len() {
                        self.enter::<L>(at);
                    }
                    return;
                }
                if L::ENTERS_MATCHES {
                    self.enter_match::<L>(at - size, at);
                }
                self.enter::<L>(at - L::BEFORE_END);
                if L::ENTERS_MATCHES {
                    self.enter::<L>(at - 1);
                }
                let last = self.enter::<L>(at);
                match self.same_four(last, at, WINDOW_SIZE) {
                    Some(place) => source = place,
                    None => break,
                }
            }
            at += 1;
        }
    }

    /// Looks at two places a turn, the second right behind where the first would have led.
    fn pairs<L: Level>(&mut self, mut at: usize, unmatched: usize) -> Option<Candidate> {
        loop {
            let second = at + 2 + ((at - unmatched) >> 5);
            if second > self.limit {
                return None;
            }
            let last = self.enter::<L>(at);
            let hash = L::hash(eight(self.bytes, second));
            if let Some(source) = self.same_four(last, at, WINDOW_SIZE - 1) {
                self.table[hash] = entry(second);
                return Some(Candidate { at, source, next: second });
            }
            let last = std::mem::replace(&mut self.table[hash], entry(second));
            let next = second + 1;
            if let Some(source) = self.same_four(last, second, WINDOW_SIZE - 1) {
                if !L::ENTERS_MATCHES {
                    self.table[hash] = entry(next);
                }
                return Some(Candidate { at: second, source, next });
            }
            at = next;
        }
    }

    /// Looks at every place first, and at fewer the longer there is no match.
    fn growing<L: Level>(&mut self, mut at: usize) -> Option<Candidate> {
        let mut skip = 32;
        loop {
            let next = at + (skip >> 5);
            skip += skip >> 5;
            if next > self.limit {
                return None;
            }
            let last = self.enter::<L>(at);
            if let Some(source) = self.same_four(last, at, WINDOW_SIZE) {
                return Some(Candidate { at, source, next });
            }
            at = next;
        }
    }

    /// Enters strings of a match: of seven places the first, the third and the fifth, of which the last has a byte
    /// less and a zero.
    fn enter_match<L: Level>(&mut self, start: usize, end: usize) {
        for at in (start + 2..end.saturating_sub(5)).step_by(7) {
            let value = eight(self.bytes, at);
            for step in [0, 2, 4] {
                self.table[L::hash(value >> (8 * step))] = entry(at + step);
            }
        }
    }

    /// Enters the string at a place; gives what was there.
    fn enter<L: Level>(&mut self, at: usize) -> u32 {
        std::mem::replace(&mut self.table[L::hash(eight(self.bytes, at))], entry(at))
    }

    /// An entry as a place of the history, if it is not too far and its first 4 bytes are those of `at`.
    fn same_four(&self, entry: u32, at: usize, max: usize) -> Option<usize> {
        let distance = distance(entry, at);
        if distance == 0 || distance > max {
            return None;
        }
        let source = at.checked_sub(distance)?;
        (four(self.bytes, source) == four(self.bytes, at)).then_some(source)
    }
}
