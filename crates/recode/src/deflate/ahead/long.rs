//! Matches of two tables of where strings of 4 and of 7 bytes were seen last, the longer strings first, as level 4 of
//! klauspost/compress finds them.

use super::super::token::Token;
use super::history::{
    Candidate, History, MARGIN, TABLE_SIZE, WINDOW_SIZE, common, common_before, eight, entry, four,
    hash_four, hash_seven, literals, near, references, shift,
};

/// Base-2 logarithm of the bytes without a match after which steps grow by one.
const SKIP: u32 = 6;
/// Bytes that two places are known to share when a match is compared with another.
const STRING_SIZE: usize = 4;

/// The bytes that tell which of two matches is longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// Those of the matches, up to version 1.17.11.
    Matches,
    /// For the second match, those at the place that has the number of its distance: a fault of 1.18.0 that
    /// Go has, too.
    Distance,
}

/// The tables.
pub(super) struct Long {
    compared: Compared,
    history: History,
    of_four: Vec<u32>,
    of_seven: Vec<u32>,
}

impl Long {
    pub(super) fn new(compared: Compared) -> Self {
        let table = || vec![0; TABLE_SIZE];
        Self { compared, history: History::default(), of_four: table(), of_seven: table() }
    }

    /// Forgets all.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.history.clear();
        self.of_four.fill(0);
        self.of_seven.fill(0);
        self
    }

    /// Finds the tokens of a chunk up to where only literals follow.
    pub(super) fn find(&mut self, chunk: &[u8], found: &mut Vec<Token>) {
        let (start, gone) = self.history.push(chunk);
        if gone > 0 {
            shift(&mut self.of_four, gone);
            shift(&mut self.of_seven, gone);
        }
        let bytes = self.history.bytes();
        let tables = (self.of_four.first_chunk_mut(), self.of_seven.first_chunk_mut());
        let (Some(of_four), Some(of_seven)) = tables else { return };
        if chunk.len() > MARGIN + 1 {
            let (compared, limit) = (self.compared, bytes.len() - MARGIN);
            Search { compared, bytes, of_four, of_seven, limit }.find(start, found);
        }
    }
}

struct Search<'h> {
    compared: Compared,
    bytes: &'h [u8],
    of_four: &'h mut [u32; TABLE_SIZE],
    of_seven: &'h mut [u32; TABLE_SIZE],
    limit: usize,
}

impl Search<'_> {
    fn find(&mut self, start: usize, found: &mut Vec<Token>) {
        let (mut at, mut unmatched) = (start, start);
        while let Some(Candidate { at: at_match, source, next }) = self.candidate(at, unmatched) {
            let before = common_before(self.bytes, source, at_match, unmatched);
            let size = common(self.bytes, source, at_match, usize::MAX) + before;
            literals(&self.bytes[unmatched..at_match - before], found);
            references(size, at_match - source, found);
            unmatched = at_match - before + size;
            at = if next >= unmatched { next + 1 } else { unmatched };
            if at >= self.limit {
                if at + 8 < self.bytes.len() {
                    self.enter(at);
                }
                return;
            }
            for at in (next..at - 1).step_by(3) {
                let value = eight(self.bytes, at);
                self.of_seven[hash_seven(value)] = entry(at);
                self.of_seven[hash_seven(value >> 8)] = entry(at + 1);
                self.of_four[hash_four(value >> 8)] = entry(at + 1);
            }
            self.enter(at - 1);
        }
    }

    /// Looks for the next match: of the longer string, or of the shorter one unless that at the next place is better.
    fn candidate(&mut self, mut at: usize, unmatched: usize) -> Option<Candidate> {
        loop {
            let next = at + 1 + ((at - unmatched) >> SKIP);
            if next > self.limit {
                return None;
            }
            let (of_four, of_seven) = self.enter(at);
            if let Some(source) = self.same_four(of_seven, at) {
                return Some(Candidate { at, source, next });
            }
            if let Some(source) = self.same_four(of_four, at) {
                let ahead = self.of_seven[hash_seven(eight(self.bytes, next))];
                if let Some(ahead) = self.same_four(ahead, next) {
                    let place = if self.compared == Compared::Matches { ahead } else { next - ahead };
                    let size = common(self.bytes, source + STRING_SIZE, at + STRING_SIZE, usize::MAX);
                    if common(self.bytes, place + STRING_SIZE, next + STRING_SIZE, size + 1) > size {
                        return Some(Candidate { at: next, source: ahead, next });
                    }
                }
                return Some(Candidate { at, source, next });
            }
            at = next;
        }
    }

    /// Enters the strings at a place into both tables; gives what was there.
    fn enter(&mut self, at: usize) -> (u32, u32) {
        let value = eight(self.bytes, at);
        let of_four = std::mem::replace(&mut self.of_four[hash_four(value)], entry(at));
        (of_four, std::mem::replace(&mut self.of_seven[hash_seven(value)], entry(at)))
    }

    /// An entry as a place of the same four bytes, if it is not too far.
    fn same_four(&self, entry: u32, at: usize) -> Option<usize> {
        near(entry, at, WINDOW_SIZE).filter(|place| four(self.bytes, *place) == four(self.bytes, at))
    }
}
