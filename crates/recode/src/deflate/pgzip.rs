//! The tokens that the gzip writer of container tools takes: the Go package klauspost/pgzip at its
//! default level, with which skopeo, podman and buildah compress layers.
//!
//! Its parser does not depend on the tokens before, but on the plain bytes alone, and works on chunks
//! of 65,535 bytes. So it runs ahead of the walk, which takes from it a token at each place; where the
//! stream was made otherwise, because another version made it, corrections say so, and the next token
//! that begins at the same place is of use again. Between two flushes, a MiB apart, nothing is
//! remembered but the last 16 KiB.
//!
//! Two tables hold where strings were seen last: of 4 bytes, and of 7 bytes the last two places.

use std::collections::VecDeque;

use super::token::{MAX_MATCH, MIN_MATCH, Token};

/// Plain bytes that are parsed together.
pub(super) const CHUNK_SIZE: usize = 65_535;
/// A chunk of fewer bytes, before a flush, has no references.
const MIN_CHUNK: usize = 128;
/// Bytes before a flush that references behind it may be to.
pub(super) const DICTIONARY_SIZE: usize = 16 << 10;
/// Fewest bytes between two flushes behind which the parser begins anew. It would cost a hostile
/// recipe nothing to ask for it at every byte.
const MIN_FLUSH: usize = 64 << 10;
/// Longest history; then all but the last 32 KiB is forgotten.
const HISTORY_SIZE: usize = 5 * CHUNK_SIZE;
const MAX_DISTANCE: usize = 1 << 15;
/// Base-2 logarithm of the places of a table.
const TABLE_BITS: u32 = 15;
/// No string begins closer to the end of a chunk.
const MARGIN: usize = 11;
/// A shorter match is tried to be bettered from its end.
const LONG_ENOUGH: usize = 30;
/// Bytes at the start that the better one need not share.
const MAY_DIFFER: usize = 2;
/// So far from all places that nothing refers to it.
const NOWHERE: i64 = i64::MIN / 4;

/// The parser, ahead of the walk.
pub(super) struct Pgzip {
    history: Vec<u8>,
    /// The start of `history`, counted from the first byte that was ever parsed.
    base: i64,
    of_four: Vec<i64>,
    of_seven: Vec<[i64; 2]>,
    /// Tokens ahead.
    tokens: VecDeque<Token>,
    /// Their start, relative to the walk: before it if the walk stepped over a border of theirs.
    offset: isize,
    /// Plain bytes since the start, or the last flush.
    since_flush: usize,
    is_flushed: bool,
}

impl Pgzip {
    pub(super) fn new() -> Self {
        Self {
            history: Vec::new(),
            base: 0,
            of_four: vec![NOWHERE; 1 << TABLE_BITS],
            of_seven: vec![[NOWHERE; 2]; 1 << TABLE_BITS],
            tokens: VecDeque::new(),
            offset: 0,
            since_flush: 0,
            is_flushed: false,
        }
    }

    /// Returns how many bytes before the walk's place the next chunk begins, if it is wanted now.
    pub(super) fn wants(&self) -> Option<usize> {
        self.tokens.is_empty().then(|| self.offset.unsigned_abs())
    }

    /// Tells whether a flush came, so that the dictionary is wanted before the next chunk.
    pub(super) const fn wants_dictionary(&self) -> bool {
        self.is_flushed
    }

    /// The stream was flushed where the walk is.
    pub(super) fn flush(&mut self) {
        if self.since_flush >= MIN_FLUSH {
            self.is_flushed = true;
            self.since_flush = 0;
            self.tokens.clear();
            self.offset = 0;
        }
    }

    /// Begins anew, with the last bytes before the flush.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        self.of_four.fill(NOWHERE);
        self.of_seven.fill([NOWHERE; 2]);
        self.base += self.history.len() as i64;
        self.history.clear();
        self.is_flushed = false;
        self.parse(dictionary);
        self.tokens.clear();
    }

    /// The token that is taken where the walk is, if one begins there.
    pub(super) fn token(&self) -> Option<Token> {
        self.tokens.front().copied().filter(|_| self.offset == 0)
    }

    /// The walk takes a step of so many bytes.
    pub(super) fn step(&mut self, size: usize) {
        self.since_flush += size;
        self.offset -= isize::try_from(size).unwrap_or(isize::MAX);
        while self.offset < 0 {
            let Some(token) = self.tokens.pop_front() else { break };
            self.offset += isize::try_from(token.size()).unwrap_or(0);
        }
    }

    /// Parses the next chunk.
    pub(super) fn parse(&mut self, chunk: &[u8]) {
        if self.history.len() + chunk.len() > HISTORY_SIZE {
            let gone = self.history.len() - MAX_DISTANCE;
            self.history.drain(..gone);
            self.base += gone as i64;
        }
        let start = self.history.len();
        self.history.extend_from_slice(chunk);
        let mut found = Vec::new();
        if chunk.len() >= MIN_CHUNK {
            self.find(start, &mut found);
        }
        let mut written: usize = found.iter().map(|token| token.size()).sum();
        // What is hardly smaller is written without references.
        if found.len() + chunk.len() - written > chunk.len() - (chunk.len() >> 4) {
            found.clear();
            written = 0;
        }
        found.extend(self.history[start + written..].iter().map(|byte| Token::literal(*byte)));
        self.tokens.extend(found);
        // It may be that the walk is past the chunk's start.
        self.step(0);
    }

    /// The tokens from a place of the history up to where only literals follow.
    fn find(&mut self, start: usize, found: &mut Vec<Token>) {
        let limit = self.history.len() - MARGIN;
        let (mut at, mut literals) = (start, start);
        while let Some(mut candidate) = self.candidate(at, literals, limit) {
            self.better(&mut candidate, limit);
            let Candidate { mut at_match, mut source, mut size, next } = candidate;
            while source > 0 && at_match > literals && self.history[source - 1] == self.history[at_match - 1]
            {
                (at_match, source, size) = (at_match - 1, source - 1, size + 1);
            }
            found.extend(self.history[literals..at_match].iter().map(|byte| Token::literal(*byte)));
            references(size, at_match - source, found);
            literals = at_match + size;
            at = if next >= literals { next + 1 } else { literals };
            if at >= limit {
                break;
            }
            // From one byte behind the match's start, or behind where the search was already.
            self.enter_some(at - size + 1, at);
            self.enter(at - 1);
        }
    }

    /// The next match that is taken, and where the search goes on if it is within it.
    fn candidate(&mut self, mut at: usize, literals: usize, limit: usize) -> Option<Candidate> {
        loop {
            let next = at + 1 + ((at - literals) >> 6);
            if next > limit {
                return None;
            }
            let (of_four, of_seven) = self.enter(at);
            let found = |source, size| Some(Candidate { at_match: at, source, size, next });
            if let Some(last) = self.near(of_seven[0], at) {
                let before = self.near(of_seven[1], at).filter(|before| self.is_four(*before, at));
                if self.is_four(last, at) {
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
            if let Some(last) = self.near(of_four, at).filter(|last| self.is_four(*last, at)) {
                let size = self.bounded_size(last, at);
                let (_, ahead) = self.enter(next);
                // A string of 7 bytes at the next place, if it is longer.
                if let Some(source) = self.near(ahead[0], next) {
                    let sources = [Some(source), self.near(ahead[1], next)];
                    for source in sources.into_iter().flatten().filter(|source| self.is_four(*source, next)) {
                        let longer = self.bounded_size(source, next);
                        if longer > size {
                            let size = self.longest(source, next, longer);
                            return Some(Candidate { at_match: next, source, size, next });
                        }
                    }
                }
                return found(last, self.longest(last, at, size));
            }
            at = next;
        }
    }

    /// Tries what the end of a short match leads to.
    fn better(&self, found: &mut Candidate, limit: usize) {
        let end = found.at_match + found.size;
        if found.size >= LONG_ENOUGH || end >= limit {
            return;
        }
        let place = self.of_seven[self.hash_seven(end)][0] - self.base;
        let at = found.at_match + MAY_DIFFER;
        let Ok(source) = usize::try_from(place - found.size as i64 + MAY_DIFFER as i64) else { return };
        if source >= at || at - source >= MAX_DISTANCE {
            return;
        }
        let size = self.size(source, at);
        if size > found.size {
            *found = Candidate { at_match: at, source, size, next: found.next };
        }
    }

    /// Enters every third string of a match, as it is done there.
    fn enter_some(&mut self, start: usize, end: usize) {
        if start + 1 >= end {
            return;
        }
        self.enter_four(start);
        self.enter_seven(start);
        self.enter_seven(start + 1);
        self.enter_four(start + 2);
        for at in (start + 4..end - 1).step_by(3) {
            self.enter_seven(at);
            self.enter_four(at + 1);
        }
    }

    /// Enters the strings at a place into both tables; gives what was there.
    fn enter(&mut self, at: usize) -> (i64, [i64; 2]) {
        (self.enter_four(at), self.enter_seven(at))
    }

    fn enter_four(&mut self, at: usize) -> i64 {
        let hash = self.hash_four(at);
        std::mem::replace(&mut self.of_four[hash], self.base + at as i64)
    }

    fn enter_seven(&mut self, at: usize) -> [i64; 2] {
        let hash = self.hash_seven(at);
        let before = self.of_seven[hash];
        self.of_seven[hash] = [self.base + at as i64, before[0]];
        before
    }

    fn four(&self, at: usize) -> u32 {
        self.history[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn hash_four(&self, at: usize) -> usize {
        (self.four(at).wrapping_mul(2_654_435_761) >> (32 - TABLE_BITS)) as usize
    }

    fn hash_seven(&self, at: usize) -> usize {
        let mut bytes = [0; 8];
        bytes[1..].copy_from_slice(&self.history[at..at + 7]);
        (u64::from_le_bytes(bytes).wrapping_mul(58_295_818_150_454_627) >> (64 - TABLE_BITS)) as usize
    }

    /// A place of a table as one of the history, if it is not too far.
    fn near(&self, place: i64, at: usize) -> Option<usize> {
        usize::try_from(place - self.base).ok().filter(|place| at - place < MAX_DISTANCE)
    }

    fn is_four(&self, source: usize, at: usize) -> bool {
        self.four(source) == self.four(at)
    }

    fn common(&self, source: usize, at: usize, max: usize) -> usize {
        let (left, right) = (&self.history[source..], &self.history[at..]);
        left.iter().zip(right).take(max).take_while(|(left, right)| left == right).count()
    }

    fn size(&self, source: usize, at: usize) -> usize {
        self.common(source, at, usize::MAX)
    }

    fn bounded_size(&self, source: usize, at: usize) -> usize {
        self.common(source, at, MAX_MATCH)
    }

    /// The size of a match that was looked at up to the size of a reference.
    fn longest(&self, source: usize, at: usize, size: usize) -> usize {
        if size == MAX_MATCH { self.size(source, at) } else { size }
    }
}

/// A match that was found.
struct Candidate {
    at_match: usize,
    source: usize,
    size: usize,
    /// The place after the one where it was found.
    next: usize,
}

/// A match as references, none too short.
fn references(mut size: usize, distance: usize, found: &mut Vec<Token>) {
    while size > 0 {
        let part = match size {
            ..=MAX_MATCH => size,
            _ if size > MAX_MATCH + MIN_MATCH => MAX_MATCH,
            _ => MAX_MATCH - MIN_MATCH,
        };
        found.push(Token::reference(part, distance));
        size -= part;
    }
}

#[cfg(test)]
mod tests;
