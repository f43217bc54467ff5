//! The chains of strings with equal hash, and the search in them.

use super::super::super::token::{MAX_MATCH, Token, distance_extra};
use super::super::blocks::WINDOW_SIZE;
use super::super::history::{common, four};
use super::{HASH_BITS, Lazy, Match, STRING_SIZE, Version};

const MASK: usize = WINDOW_SIZE - 1;
/// A reference of the least size over a longer distance costs more than its literals.
const TOO_FAR: usize = 4096;
/// Bits that a match must save, and what a reference costs; in klauspost/compress 1.15.12, that alone counts.
const MIN_GAIN: usize = 4;
const REFERENCE_COST: usize = 3;
const EARLIER_REFERENCE_COST: usize = 6;
/// Work to look at a string of a chain, and to compare it, in units of about a nanosecond.
const STRING_WORK: u64 = 3;
const COMPARE_WORK: u64 = 12;

impl Lazy {
    pub(super) fn hash(&self, at: usize) -> usize {
        let bytes = self.window.bytes[at..].first_chunk::<4>().copied().unwrap_or_default();
        let product = if self.effort.version.is_new() {
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
        let offset = self.offset;
        let place = |entry: u32| (entry as usize).wrapping_sub(offset);
        let bytes = &self.window.bytes[..];
        let previous = self.previous.as_chunks::<WINDOW_SIZE>().0.first();
        let mut found = Match { size: STRING_SIZE - 1, distance: 0 };
        // A longer match ends with these bytes; they are compared first.
        let last_four = |end: usize| four(bytes, end + 1 - STRING_SIZE);
        let mut wanted = last_four(at + found.size);
        let mut source = place(self.found);
        let (least_gain, cost) = match self.effort.version {
            Version::Klauspost => (0, EARLIER_REFERENCE_COST),
            _ => (MIN_GAIN, REFERENCE_COST),
        };
        let (mut work, mut gain, mut saved) = (0, least_gain, Saved::default());
        for _ in 0..self.effort.chain {
            // An entry that is none wraps around, to a place behind all others.
            if source < least || source >= at {
                break;
            }
            work += STRING_WORK;
            if last_four(source + found.size) == wanted {
                work += COMPARE_WORK;
                let size = common(bytes, source, at, max);
                if size > found.size {
                    let longer = Match { size, distance: at - source };
                    let pays = if !self.effort.version.is_new() {
                        size > STRING_SIZE || longer.distance <= TOO_FAR
                    } else if self.effort.is_by_gain() {
                        work += size as u64;
                        saved.extend(&bytes[at..at + size], &self.code_lengths);
                        let (before, now) = (gain, saved.gain(longer, cost));
                        gain = before.max(now);
                        now > before
                    } else {
                        true
                    };
                    if pays {
                        found = longer;
                        if size >= nice {
                            break;
                        }
                        wanted = last_four(at + size);
                    }
                }
            }
            if source + WINDOW_SIZE == at || (self.effort.version.is_new() && source == 0) {
                // What was before it is overwritten.
                break;
            }
            source = place(previous.map_or(0, |previous| previous[source & MASK]));
        }
        self.work += work;
        if found.distance == 0 { Match::default() } else { found }
    }
}

/// The bits of the literals that a match stands for.
#[derive(Default)]
struct Saved {
    /// Bytes of the match, and the bits of their literals.
    size: usize,
    bits: usize,
}

impl Saved {
    /// Takes the bytes of another match at the same place. Most matches that are looked at are longer than the last.
    fn extend(&mut self, bytes: &[u8], code_lengths: &[u8; 256]) {
        if bytes.len() < self.size {
            *self = Self::default();
        }
        let more = bytes[self.size..].iter().map(|byte| usize::from(code_lengths[usize::from(*byte)]));
        self.bits += more.sum::<usize>();
        self.size = bytes.len();
    }

    /// Returns the bits that a match is thought to save if a reference costs so many.
    fn gain(&self, found: Match, cost: usize) -> usize {
        let size_extra = Token::reference(found.size, 1).symbol().2;
        // The encoder counts the bits behind the distance that is longer by one, and of the longest those of another.
        let distance_extra = match found.distance {
            WINDOW_SIZE => distance_extra(14),
            distance => Token::reference(found.size, distance + 1).distance_symbol().2,
        };
        self.bits.saturating_sub(size_extra as usize + distance_extra as usize + cost)
    }
}
