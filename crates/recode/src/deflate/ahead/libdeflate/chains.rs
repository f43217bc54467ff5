//! The chains of the levels 2 to 9: all strings of four bytes by their hash, and the last place of each hash of three.

use super::super::history::{WINDOW_SIZE, common};
use super::window::{Base, slide};
use super::{MIN_AHEAD, four, hash};

const BITS_OF_THREE: u32 = 15;
const BITS_OF_FOUR: u32 = 16;
const MASK: usize = WINDOW_SIZE - 1;
/// Work to look at a string of a chain, and to compare it, in units of about a nanosecond.
const STRING_WORK: u64 = 3;
const COMPARE_WORK: u64 = 12;

pub(super) struct Chains {
    /// The last place of each hash of three bytes, and of four.
    threes: Vec<u16>,
    fours: Vec<u16>,
    /// The place before, of each place.
    previous: Vec<u16>,
    base: Base,
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
            base: Base::default(),
            next: (0, 0),
            work: 0,
        }
    }

    /// Moves the places, by a multiple of the size of the window.
    pub(super) const fn shift(&mut self, gone: usize) {
        self.base.shift(gone);
    }

    /// Enters the string at a place; gives the entries that were there, of three bytes and of four.
    fn push(&mut self, bytes: &[u8], at: usize) -> (u16, u16) {
        if self.base.reach(at) {
            for entries in [&mut self.threes, &mut self.fours, &mut self.previous] {
                slide(entries);
            }
        }
        let value = four(bytes, at + 1);
        let next = (hash(value & 0x00ff_ffff, BITS_OF_THREE), hash(value, BITS_OF_FOUR));
        let (of_three, of_four) = std::mem::replace(&mut self.next, next);
        let place = self.base.entry(at);
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
            let Some(three) = self.base.near(three, at) else { return best };
            if size < 3 && (four(bytes, three) ^ four(bytes, at)) << 8 == 0 {
                best = (3, three);
            }
        } else if size >= nice {
            return best;
        }
        let Some(previous) = self.previous.first_chunk::<WINDOW_SIZE>() else { return best };
        let value = four(bytes, at);
        // The last bytes of a longer match. One of three bytes is no reason to look at more than the first.
        let last_four = |at: usize, size: usize| four(bytes, at + size.max(3) - 3);
        let mut wanted = last_four(at, best.0);
        let mut work = 0;
        for count in 1..=depth {
            let Some(source) = self.base.near(next, at) else { break };
            work += STRING_WORK;
            if last_four(source, best.0) == wanted && four(bytes, source) == value {
                work += COMPARE_WORK;
                let size = common(bytes, source, at, max);
                if size > best.0 {
                    best = (size, source);
                    if size >= nice {
                        break;
                    }
                    wanted = last_four(at, size);
                }
            }
            if count < depth {
                next = previous[source & MASK];
            }
        }
        self.work += work;
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
