//! The table of level 1: the last two places of each hash.

use super::super::history::{WINDOW_SIZE, common, entry, near};
use super::{MIN_AHEAD, four, hash, shift};

const BITS: u32 = 15;

pub(super) struct Table {
    places: Vec<[u32; 2]>,
    /// The hash of the next string. That of the first of the stream is 0.
    next: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { places: vec![[0; 2]; 1 << BITS], next: 0 }
    }

    pub(super) fn shift(&mut self, gone: usize) {
        shift(self.places.as_flattened_mut(), gone);
    }

    /// Enters the string at a place, and returns the size of the longer match of it, or 0, and its source.
    pub(super) fn longest(&mut self, bytes: &[u8], at: usize, max: usize, nice: usize) -> (usize, usize) {
        let next = hash(four(bytes, at + 1), BITS);
        let places = &mut self.places[std::mem::replace(&mut self.next, next)];
        let [last, before] = *places;
        places[0] = entry(at);
        let Some(last) = near(last, at, WINDOW_SIZE) else { return (0, at) };
        places[1] = entry(last);
        let value = four(bytes, at);
        let size = |source: usize| {
            if four(bytes, source) == value { common(bytes, source, at, max) } else { 0 }
        };
        let of_last = size(last);
        if of_last >= nice {
            return (of_last, last);
        }
        let Some(before) = near(before, at, WINDOW_SIZE) else { return (of_last, last) };
        let of_before = size(before);
        if of_before > of_last { (of_before, before) } else { (of_last, last) }
    }

    /// Enters so many strings, unless the last of them are too near to the end.
    pub(super) fn enter(&mut self, bytes: &[u8], at: usize, count: usize) {
        if count + MIN_AHEAD > bytes.len() - at {
            return;
        }
        for at in at..at + count {
            let next = hash(four(bytes, at + 1), BITS);
            let places = &mut self.places[std::mem::replace(&mut self.next, next)];
            *places = [entry(at), places[0]];
        }
    }
}
