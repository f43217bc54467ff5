//! The chains of strings with equal hash, and the search in them.

use super::super::super::token::MAX_MATCH;
use super::super::blocks::{LOOKAHEAD, WINDOW_SIZE};
use super::super::history::{common, eight, four};
use super::Ng;

const MASK: usize = WINDOW_SIZE - 1;
/// Longest distance.
pub(super) const MAX_DISTANCE: usize = WINDOW_SIZE - LOOKAHEAD;
/// Work to look at a string of a chain, and to compare it, in units of about a nanosecond.
pub(super) const STRING_WORK: u64 = 3;
pub(super) const COMPARE_WORK: u64 = 12;

impl Ng {
    /// Hashes the string at a place.
    pub(super) fn hash(&self, at: usize) -> usize {
        let value = four(&self.window.bytes, at);
        if self.is_of_three {
            let [a, b, c, _] = value.to_le_bytes().map(usize::from);
            (a << 10 ^ b << 5 ^ c) & 0x7fff
        } else {
            (value.wrapping_mul(2_654_435_761) >> 16) as usize
        }
    }

    /// Enters the string at a place into its chain; gives the place of the one before.
    pub(super) fn enter(&mut self, at: usize) -> usize {
        let hash = self.hash(at);
        let before = self.head[hash];
        let place = u16::try_from(at).unwrap_or(u16::MAX);
        if before != place {
            self.previous[at & MASK] = before;
            self.head[hash] = place;
        }
        usize::from(before)
    }

    pub(super) fn enter_all(&mut self, at: usize, count: usize) {
        for at in at..at + count {
            self.enter(at);
        }
    }

    /// Tells whether a match may refer to a place.
    pub(super) const fn is_near(&self, source: usize, at: usize) -> bool {
        source < at && at - source <= MAX_DISTANCE
    }

    /// Returns how many bytes are the same at two places.
    pub(super) fn common(&self, source: usize, at: usize) -> usize {
        common(&self.window.bytes, source, at, MAX_MATCH)
    }

    /// The longest match in a chain that is longer than `least`, and where it is; otherwise `least`, or 2. A match may
    /// reach over the bytes that are there where more bytes are ahead than it has.
    pub(super) fn search(&mut self, head: usize, at: usize, least: usize) -> (usize, usize) {
        let ahead = self.window.ahead();
        let mut found = (if least == 0 { 2 } else { least }, at);
        if head == 0 || !self.is_near(head, at) {
            return found;
        }
        let limit = at.saturating_sub(MAX_DISTANCE);
        let chain = self.effort.chain >> if found.0 >= self.effort.good { 2 } else { 0 };
        let (mut source, mut work) = (head, 0);
        for _ in 0..chain {
            work += STRING_WORK;
            if self.looks_better(source, at, found.0) {
                work += COMPARE_WORK;
                let size = self.common(source, at);
                if size > found.0 {
                    found = (size.min(ahead), source);
                    if size >= self.effort.nice || size >= ahead {
                        break;
                    }
                } else if self.effort.is_short {
                    break;
                }
            }
            source = usize::from(self.previous[source & MASK]);
            if source <= limit {
                break;
            }
        }
        self.work += work;
        found
    }

    /// Compares the first bytes of two strings, and those that a match of over `size` bytes ends with.
    pub(super) fn looks_better(&self, source: usize, at: usize, size: usize) -> bool {
        let bytes = &self.window.bytes;
        match size {
            ..4 => {
                let of = |at: usize| (four(bytes, at), four(bytes, at + size - 1));
                let (a, b) = (of(source), of(at));
                (a.0 ^ b.0) & 0xffff == 0 && (a.1 ^ b.1) & 0xffff == 0
            }
            4..8 => {
                four(bytes, source + size - 3) == four(bytes, at + size - 3)
                    && four(bytes, source) == four(bytes, at)
            }
            _ => {
                eight(bytes, source + size - 7) == eight(bytes, at + size - 7)
                    && eight(bytes, source) == eight(bytes, at)
            }
        }
    }
}
