//! The chains of strings with equal hash, and zlib's search in them.

use super::super::settings::Strategy;
use super::super::token::{MAX_MATCH, MIN_MATCH, common};
use super::{MIN_LOOKAHEAD, Match, Parser, STRING_WORK};

/// A reference of the least size over a longer distance costs more than its literals.
const TOO_FAR: usize = 4096;
/// The cost of comparing one to its end, in strings.
const COMPARE_WORK: u64 = 4;

impl Parser {
    /// Enters the string at a place into its chain; gives the one before.
    pub(super) fn enter(&mut self, at: usize) -> usize {
        let mask = self.head.len() - 1;
        let hash = if self.settings.effort.is_wide {
            let bytes = self.window[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            // Knuth's multiplicative hash.
            (bytes.wrapping_mul(0x9e37_79b1) >> 16) as usize & mask
        } else {
            let [a, b, c] = [0, 1, 2].map(|offset| usize::from(self.window[at + offset]));
            let shift = self.settings.hash_bits.div_ceil(3);
            ((a << (2 * shift)) ^ (b << shift) ^ c) & mask
        };
        let before = self.head[hash];
        let mask = self.previous.len() - 1;
        self.previous[at & mask] = before;
        self.head[hash] = u16::try_from(at).unwrap_or(0);
        self.entered = at + 1;
        usize::from(before)
    }

    /// Enters all strings up to a place that the input has whole. GNU gzip does not look.
    pub(super) fn enter_until(&mut self, end: usize) {
        let end = if self.settings.is_gnu {
            end
        } else {
            end.min((self.start + self.lookahead + 1).saturating_sub(self.string_size()))
        };
        for at in self.entered.max(self.start)..end {
            self.enter(at);
        }
    }

    /// The longest match at an offset from the next token, if it is over `floor` bytes.
    pub(super) fn search(&mut self, offset: usize, floor: usize) -> Option<Match> {
        let at = self.start + offset;
        let lookahead = self.lookahead - offset;
        let is_gnu = self.settings.is_gnu;
        let first = if self.entered > at {
            usize::from(self.previous[at & (self.size() - 1)])
        } else if is_gnu || lookahead >= self.string_size() {
            self.enter(at)
        } else {
            0
        };
        let is_near_end = is_gnu && at > self.size() * 2 - MIN_LOOKAHEAD;
        if first == 0 || at - first > self.max_distance() || is_near_end {
            return None;
        }
        let (found, searched) = self.longest(at, lookahead, first, floor);
        self.work += searched * STRING_WORK;
        let found = found?;
        let is_short = self.settings.effort.is_lazy
            && found.size <= 5
            && (self.settings.strategy == Strategy::Filtered
                || (found.size == MIN_MATCH && found.distance > TOO_FAR));
        self.was_short = is_short;
        (!is_short).then_some(found)
    }

    /// zlib's `longest_match`: the first of the longest in the chain, within the effort. Gives also the
    /// work that it was, in strings.
    fn longest(&self, at: usize, lookahead: usize, first: usize, floor: usize) -> (Option<Match>, u64) {
        let effort = &self.settings.effort;
        let mut chain = if floor >= usize::from(effort.good) { effort.chain >> 2 } else { effort.chain };
        let mut nice = usize::from(effort.nice);
        if !self.settings.is_gnu {
            nice = nice.min(lookahead);
        }
        let limit = at.saturating_sub(self.max_distance());
        let mask = self.previous.len() - 1;
        let (mut best, mut best_place) = (floor, None);
        let (mut place, mut searched) = (first, 0);
        let Some(scan) = self.window[at..].first_chunk::<MAX_MATCH>() else { return (None, 0) };
        while let Some(other) = self.window[place..].first_chunk::<MAX_MATCH>() {
            searched += 1;
            if other[best - 1..=best] == scan[best - 1..=best] && other[..2] == scan[..2] {
                searched += COMPARE_WORK;
                let size = common(scan, other);
                if size > best {
                    (best, best_place) = (size, Some(place));
                    if size >= nice {
                        break;
                    }
                }
            }
            place = usize::from(self.previous[place & mask]);
            chain -= 1;
            if place <= limit || chain == 0 {
                break;
            }
        }
        let size = best.min(lookahead);
        let found = best_place.filter(|_| size > floor).map(|place| Match { size, distance: at - place });
        (found, searched)
    }
}
