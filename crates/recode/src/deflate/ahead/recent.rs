//! Matches of one table of the last two places where strings of 5 bytes were seen, as level 3 of klauspost/compress
//! finds them.

use super::super::token::Token;
use super::history::{
    Candidate, History, MARGIN, WINDOW_SIZE, common, common_before, eight, entry, four, hash_five, literals,
    near, references, shift,
};

/// Base-2 logarithm of the places of the table.
const TABLE_BITS: u32 = 16;
const TABLE_SIZE: usize = 1 << TABLE_BITS;
/// Base-2 logarithm of the bytes without a match after which steps grow by one.
const SKIP: u32 = 7;
/// The first distance that is too far. The encoder counts to the end of the string, and one less where it looks at the
/// place before the last.
const TOO_FAR: usize = WINDOW_SIZE - 3;

/// The table.
pub(super) struct Recent {
    history: History,
    table: Vec<[u32; 2]>,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self { history: History::default(), table: vec![[0; 2]; TABLE_SIZE] }
    }

    /// Forgets all.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.history.clear();
        self.table.fill([0; 2]);
        self
    }

    /// Finds the tokens of a chunk up to where only literals follow.
    pub(super) fn find(&mut self, chunk: &[u8], found: &mut Vec<Token>) {
        let (start, gone) = self.history.push(chunk);
        if gone > 0 {
            shift(self.table.as_flattened_mut(), gone);
        }
        let bytes = self.history.bytes();
        let Some(table) = self.table.first_chunk_mut() else { return };
        if chunk.len() > MARGIN + 1 {
            Search { bytes, table, limit: bytes.len() - MARGIN }.find(start, found);
        }
    }
}

struct Search<'h> {
    bytes: &'h [u8],
    table: &'h mut [[u32; 2]; TABLE_SIZE],
    limit: usize,
}

impl Search<'_> {
    fn find(&mut self, start: usize, found: &mut Vec<Token>) {
        let (mut at, mut unmatched) = (start, start);
        while let Some(Candidate { at: at_match, mut source, next }) = self.candidate(at, unmatched) {
            at = at_match;
            // As long as a match begins where the last one ends.
            loop {
                let before = common_before(self.bytes, source, at, unmatched);
                let size = common(self.bytes, source, at, usize::MAX) + before;
                literals(&self.bytes[unmatched..at - before], found);
                references(size, at - source, found);
                let source_end = source - before + size;
                unmatched = at - before + size;
                at = if next >= unmatched { next + 1 } else { unmatched };
                if at >= self.limit {
                    if source_end + 8 < self.bytes.len() {
                        self.enter(source_end);
                    }
                    return;
                }
                match self.repeat(at - size, at) {
                    Some(place) => source = place,
                    None => break,
                }
            }
            at += 1;
        }
    }

    /// Looks for the next match.
    fn candidate(&mut self, mut at: usize, unmatched: usize) -> Option<Candidate> {
        loop {
            let next = at + 1 + ((at - unmatched) >> SKIP);
            if next > self.limit {
                return None;
            }
            let [last, before] = self.enter(at);
            let found = |source| Some(Candidate { at, source, next });
            if let Some(last) = near(last, at, TOO_FAR) {
                if !self.is_same(last, at) {
                    if let Some(before) = self.nearer(before, at) {
                        return found(before);
                    }
                } else if let Some(before) = near(before, at, TOO_FAR)
                    && self.is_same(before, at)
                    && common(self.bytes, before, at, usize::MAX) > common(self.bytes, last, at, usize::MAX)
                {
                    return found(before);
                } else {
                    return found(last);
                }
            }
            at = next;
        }
    }

    /// Enters strings of a match, and looks for one that begins behind it.
    fn repeat(&mut self, start: usize, end: usize) -> Option<usize> {
        for at in (start + 2..end.saturating_sub(5)).step_by(6) {
            self.enter(at);
        }
        self.enter(end - 2);
        self.enter(end - 1);
        let [last, before] = self.enter(end);
        near(last, end, TOO_FAR - 1)?;
        self.nearer(last, end).or_else(|| self.nearer(before, end))
    }

    /// Enters the string at a place; gives what was there.
    fn enter(&mut self, at: usize) -> [u32; 2] {
        let places = &mut self.table[hash_five(eight(self.bytes, at), TABLE_BITS)];
        let before = *places;
        *places = [entry(at), before[0]];
        before
    }

    /// An entry as a place of the same four bytes, if it is not too far.
    fn nearer(&self, entry: u32, at: usize) -> Option<usize> {
        near(entry, at, TOO_FAR - 1).filter(|place| self.is_same(*place, at))
    }

    fn is_same(&self, place: usize, at: usize) -> bool {
        four(self.bytes, place) == four(self.bytes, at)
    }
}
