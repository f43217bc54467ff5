//! The table of level 1: the last two places of each hash.

use super::super::history::common;
use super::window::{Base, slide};
use super::{MIN_AHEAD, four, hash};

const BITS: u32 = 15;

pub(super) struct Table {
    places: Vec<[u16; 2]>,
    base: Base,
    /// The hash of the next string. That of the first of the stream is 0.
    next: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { places: vec![[0; 2]; 1 << BITS], base: Base::default(), next: 0 }
    }

    pub(super) const fn shift(&mut self, gone: usize) {
        self.base.shift(gone);
    }

    fn reach(&mut self, at: usize) {
        if self.base.reach(at) {
            slide(self.places.as_flattened_mut());
        }
    }

    /// Enters the string at a place, and returns the size of the longer match of it, or 0, and its source.
    pub(super) fn longest(&mut self, bytes: &[u8], at: usize, max: usize, nice: usize) -> (usize, usize) {
        self.reach(at);
        let base = &self.base;
        let next = hash(four(bytes, at + 1), BITS);
        let places = &mut self.places[std::mem::replace(&mut self.next, next)];
        let [last, before] = *places;
        places[0] = base.entry(at);
        let of_last = last;
        let Some(last) = base.near(last, at) else { return (0, at) };
        places[1] = of_last;
        let value = four(bytes, at);
        let size = |source: usize| {
            if four(bytes, source) == value { common(bytes, source, at, max) } else { 0 }
        };
        let of_last = size(last);
        if of_last >= nice {
            return (of_last, last);
        }
        let Some(before) = base.near(before, at) else { return (of_last, last) };
        let of_before = size(before);
        if of_before > of_last { (of_before, before) } else { (of_last, last) }
    }

    /// Enters so many strings, unless the last of them are too near to the end.
    pub(super) fn enter(&mut self, bytes: &[u8], at: usize, count: usize) {
        if count + MIN_AHEAD > bytes.len() - at {
            return;
        }
        for at in at..at + count {
            self.reach(at);
            let next = hash(four(bytes, at + 1), BITS);
            let places = &mut self.places[std::mem::replace(&mut self.next, next)];
            *places = [self.base.entry(at), places[0]];
        }
    }
}
