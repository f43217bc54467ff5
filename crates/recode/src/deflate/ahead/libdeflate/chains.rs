//! The chains of the levels 2 to 9: all strings of four bytes by their hash, and the last place of each hash of three.

use super::super::history::WINDOW_SIZE;
use super::window::{Base, View, slide, too_far};
use super::{MIN_AHEAD, hash};

const BITS_OF_THREE: u32 = 15;
const BITS_OF_FOUR: u32 = 16;
/// Work to look at a string of a chain, and to compare it, in units of about a nanosecond.
const STRING_WORK: u64 = 3;
const COMPARE_WORK: u64 = 12;

pub(super) struct Chains {
    tables: Tables,
    base: Base,
    next: Next,
    pub(super) work: u64,
}

/// The places of strings.
struct Tables {
    /// The last place of each hash of three bytes, and of four.
    threes: Box<[u16; 1 << BITS_OF_THREE]>,
    fours: Box<[u16; 1 << BITS_OF_FOUR]>,
    /// The place before, of each place.
    previous: Box<[u16; WINDOW_SIZE]>,
}

/// The next string, and what the tables have for it, each of three bytes and of four.
#[derive(Debug, Default, Clone, Copy)]
struct Next {
    /// The hashes. Those of the first string of the stream are 0.
    hashes: [usize; 2],
    /// The entries. They are read a string before they are of use, since they may be in no near cache.
    entries: [u16; 2],
}

impl Tables {
    /// Enters the string of an entry; gives the next one.
    #[inline]
    fn push(&mut self, view: View<'_>, entry: u16, next: Next) -> Next {
        let value = view.four(usize::from(entry) + 1);
        let hashes = [hash(value & 0x00ff_ffff, BITS_OF_THREE), hash(value, BITS_OF_FOUR)];
        self.threes[next.hashes[0] % (1 << BITS_OF_THREE)] = entry;
        self.fours[next.hashes[1] % (1 << BITS_OF_FOUR)] = entry;
        self.previous[usize::from(entry) % WINDOW_SIZE] = next.entries[1];
        Next { hashes, entries: [self.threes[hashes[0]], self.fours[hashes[1]]] }
    }
}

impl Chains {
    pub(super) fn new() -> Self {
        let tables = Tables {
            threes: Box::new([0; 1 << BITS_OF_THREE]),
            fours: Box::new([0; 1 << BITS_OF_FOUR]),
            previous: Box::new([0; WINDOW_SIZE]),
        };
        Self { tables, base: Base::new(), next: Next::default(), work: 0 }
    }

    /// Moves the places, by a multiple of the size of the window.
    pub(super) const fn shift(&mut self, gone: usize) {
        self.base.shift(gone);
    }

    /// Goes on to a place at which a string is entered.
    #[inline]
    fn reach(&mut self, at: usize) {
        if self.base.reach(at) {
            slide(&mut self.tables.threes[..]);
            slide(&mut self.tables.fours[..]);
            slide(&mut self.tables.previous[..]);
            slide(&mut self.next.entries);
        }
    }

    /// Enters the string at a place, and returns the size of the longest match of it of more than `size` bytes, or
    /// `size`, and its source.
    pub(super) fn longest(
        &mut self,
        padded: &[u8],
        at: usize,
        size: usize,
        (max, nice): (usize, usize),
        depth: usize,
    ) -> (usize, usize) {
        let none = (size, at);
        if max < MIN_AHEAD {
            return none;
        }
        self.reach(at);
        let Some(view) = self.base.view(padded) else { return none };
        let entry = self.base.entry(at);
        let [three, mut next] = self.next.entries;
        self.next = self.tables.push(view, entry, self.next);
        let (here, too_far) = (usize::from(entry), too_far(entry));
        let value = view.four(here);
        let mut best = (size, entry);
        if size < 4 {
            if three <= too_far {
                return none;
            }
            if size < 3 && (view.four(usize::from(three)) ^ value) << 8 == 0 {
                best = (3, three);
            }
        } else if size >= nice {
            return none;
        }
        // The last bytes of a longer match. One of three bytes is no reason to look at more than the first.
        let mut offset = best.0.max(3) - 3;
        let mut wanted = view.four(here + offset);
        let (mut left, mut compared) = (depth, 0);
        while next > too_far && left > 0 {
            left -= 1;
            let source = usize::from(next);
            if view.four(source + offset) == wanted && view.four(source) == value {
                compared += 1;
                let size = view.common(next, entry, max);
                if size > best.0 {
                    best = (size, next);
                    if size >= nice {
                        break;
                    }
                    offset = size - 3;
                    wanted = view.four(here + offset);
                }
            }
            next = self.tables.previous[source % WINDOW_SIZE];
        }
        self.work += STRING_WORK * (depth - left) as u64 + COMPARE_WORK * compared;
        (best.0, at - usize::from(entry - best.1))
    }

    /// Enters so many strings, unless the last of them are too near to the end.
    pub(super) fn enter(&mut self, padded: &[u8], mut at: usize, mut count: usize, end: usize) {
        if count + MIN_AHEAD > end.saturating_sub(at) {
            return;
        }
        while count > 0 {
            self.reach(at);
            let now = count.min(self.base.left(at));
            let Some(view) = self.base.view(padded) else { return };
            let entry = self.base.entry(at);
            let mut next = self.next;
            for count in 0..u16::try_from(now).unwrap_or(0) {
                next = self.tables.push(view, entry.wrapping_add(count), next);
            }
            self.next = next;
            at += now;
            count -= now;
        }
    }
}
