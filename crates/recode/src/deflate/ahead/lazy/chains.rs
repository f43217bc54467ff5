//! The chains of strings with equal hash, and the search in them.

use super::super::super::token::MAX_MATCH;
use super::super::blocks::WINDOW_SIZE;
use super::super::history::common;
use super::{HASH_BITS, Lazy, Match, STRING_SIZE};

const MASK: usize = WINDOW_SIZE - 1;
/// A reference of the least size over a longer distance costs more than its literals.
const TOO_FAR: usize = 4096;
const MIN_GAIN: usize = 4;
/// Work to look at a string of a chain, and to compare it, in units of about a nanosecond.
const STRING_WORK: u64 = 3;
const COMPARE_WORK: u64 = 12;

impl Lazy {
    pub(super) fn hash(&self, at: usize) -> usize {
        let bytes = self.window.bytes[at..].first_chunk::<4>().copied().unwrap_or_default();
        let product = if self.effort.is_new {
            u32::from_le_bytes(bytes).wrapping_mul(2_654_435_761)
        } else {
            u32::from_be_bytes(bytes).wrapping_mul(0x1e35_a7bd)
        };
        (product >> (32 - HASH_BITS)) as usize
    }

    /// Enters the string at a place into its chain; gives the one before.
    pub(super) fn enter(&mut self, at: usize) -> u32 {
        let hash = self.hash(at);
        let place = u32::try_from(at + self.offset).unwrap_or(0);
        let before = std::mem::replace(&mut self.head[hash], place);
        self.previous[at & MASK] = before;
        before
    }

    /// Enters the strings behind the next place up to `end`.
    pub(super) fn enter_until(&mut self, end: usize) {
        for at in self.window.index + 1..end.min((self.window.end + 1).saturating_sub(STRING_SIZE)) {
            self.enter(at);
        }
    }

    /// The longest match in the chain that was looked up last.
    pub(super) fn search(&mut self, ahead: usize) -> Match {
        let at = self.window.index;
        let max = ahead.min(MAX_MATCH);
        let nice = self.effort.nice.min(max);
        let least = at.saturating_sub(WINDOW_SIZE);
        let place = |entry: u32| (entry as usize).checked_sub(self.offset).filter(|place| *place >= least);
        let mut found = Match { size: STRING_SIZE - 1, distance: 0 };
        let mut next = place(self.found);
        let (mut work, mut gain) = (0, MIN_GAIN);
        for _ in 0..self.effort.chain {
            let Some(source) = next.filter(|source| *source < at) else { break };
            work += STRING_WORK;
            if self.window.bytes[source + found.size] == self.window.bytes[at + found.size] {
                work += COMPARE_WORK;
                let size = common(&self.window.bytes, source, at, max);
                let longer = Match { size, distance: at - source };
                let pays = if !self.effort.is_new {
                    size > STRING_SIZE || longer.distance <= TOO_FAR
                } else if self.effort.chain > 100 && size > found.size {
                    work += size as u64;
                    let (before, now) = (gain, self.gain(longer));
                    gain = before.max(now);
                    now > before
                } else {
                    true
                };
                if size > found.size && pays {
                    found = longer;
                    if size >= nice {
                        break;
                    }
                }
            }
            if source + WINDOW_SIZE == at || (self.effort.is_new && source == 0) {
                // What was before it is overwritten.
                break;
            }
            next = place(self.previous[source & MASK]);
        }
        self.work += work;
        if found.distance == 0 { Match::default() } else { found }
    }
}
