//! The chains of the levels 2 to 9: all strings of four bytes by their hash, and the last place of each hash of three.

use super::super::history::{WINDOW_SIZE, common, entry, near};
use super::{MIN_AHEAD, four, hash, shift};

const BITS_OF_THREE: u32 = 15;
const BITS_OF_FOUR: u32 = 16;
const MASK: usize = WINDOW_SIZE - 1;
/// Work to look at a string of a chain, and to compare it, in units of about a nanosecond.
const STRING_WORK: u64 = 3;
const COMPARE_WORK: u64 = 12;

pub(super) struct Chains {
    /// The last place of each hash of three bytes, and of four.
    threes: Vec<u32>,
    fours: Vec<u32>,
    /// The place before, of each place.
    previous: Vec<u32>,
    /// The hashes of the next string, of three bytes and of four. Those of the first of the stream are 0.
    next: (usize, usize),
    pub(super) work: u64,
}

impl Chains {
    pub(super) fn new() -> Self {
        Self {
            threes: vec![0; 1 << BITS_OF_THREE],
            fours: vec![0; 1 << BITS_OF_FOUR],
            previous: vec![0; WINDOW_SIZE],
            next: (0, 0),
            work: 0,
        }
    }

    /// Moves the places, by a multiple of the size of the window.
    pub(super) fn shift(&mut self, gone: usize) {
        for places in [&mut self.threes, &mut self.fours, &mut self.previous] {
            shift(places, gone);
        }
    }

    /// Enters the string at a place; gives the entries that were there, of three bytes and of four.
    fn push(&mut self, bytes: &[u8], at: usize) -> (u32, u32) {
        let value = four(bytes, at + 1);
        let next = (hash(value & 0x00ff_ffff, BITS_OF_THREE), hash(value, BITS_OF_FOUR));
        let (of_three, of_four) = std::mem::replace(&mut self.next, next);
        let place = entry(at);
        let three = std::mem::replace(&mut self.threes[of_three], place);
        let four = std::mem::replace(&mut self.fours[of_four], place);
        self.previous[at & MASK] = four;
        (three, four)
    }

    /// Enters the string at a place, and returns the size of the longest match of it of more than `size` bytes, or
    /// `size`, and its source.
    pub(super) fn longest(
        &mut self,
        bytes: &[u8],
        at: usize,
        size: usize,
        (max, nice): (usize, usize),
        depth: usize,
    ) -> (usize, usize) {
        let mut best = (size, at);
        if max < MIN_AHEAD {
            return best;
        }
        let (three, mut next) = self.push(bytes, at);
        if size < 4 {
            let Some(three) = near(three, at, WINDOW_SIZE) else { return best };
            if size < 3 && (four(bytes, three) ^ four(bytes, at)) << 8 == 0 {
                best = (3, three);
            }
        } else if size >= nice {
            return best;
        }
        let value = four(bytes, at);
        for count in 1..=depth {
            let Some(source) = near(next, at, WINDOW_SIZE) else { break };
            self.work += STRING_WORK;
            // A match of three bytes is no reason to look at the next byte first.
            let at_best = if best.0 < 4 { 0 } else { best.0 };
            if bytes[source + at_best] == bytes[at + at_best] && four(bytes, source) == value {
                self.work += COMPARE_WORK;
                let size = common(bytes, source, at, max);
                if size > best.0 {
                    best = (size, source);
                    if size >= nice {
                        break;
                    }
                }
            }
            if count < depth {
                next = self.previous[source & MASK];
            }
        }
        best
    }

    /// Enters so many strings, unless the last of them are too near to the end.
    pub(super) fn enter(&mut self, bytes: &[u8], at: usize, count: usize) {
        if count + MIN_AHEAD > bytes.len().saturating_sub(at) {
            return;
        }
        for at in at..at + count {
            self.push(bytes, at);
        }
    }
}
