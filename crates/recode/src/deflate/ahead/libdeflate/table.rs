//! The table of level 1: the last two places of each hash.

use super::window::{Base, View, slide, too_far};
use super::{MIN_AHEAD, hash};

const BITS: u32 = 15;

pub(super) struct Table {
    places: Box<[[u16; 2]; 1 << BITS]>,
    base: Base,
    /// The hash of the next string. That of the first of the stream is 0.
    next: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { places: Box::new([[0; 2]; 1 << BITS]), base: Base::new(), next: 0 }
    }

    pub(super) const fn shift(&mut self, gone: usize) {
        self.base.shift(gone);
    }

    #[inline]
    fn reach(&mut self, at: usize) {
        if self.base.reach(at) {
            slide(self.places.as_flattened_mut());
        }
    }

    /// The places of the string of an entry. Goes on to the next string.
    #[inline]
    fn places(&mut self, view: View<'_>, entry: u16) -> &mut [u16; 2] {
        let next = hash(view.four(usize::from(entry) + 1), BITS);
        &mut self.places[std::mem::replace(&mut self.next, next) % (1 << BITS)]
    }

    /// Enters the string at a place, and returns the size of the longer match of it, or 0, and its source.
    #[inline]
    pub(super) fn longest(&mut self, padded: &[u8], at: usize, max: usize, nice: usize) -> (usize, usize) {
        self.reach(at);
        let Some(view) = self.base.view(padded) else { return (0, at) };
        let entry = self.base.entry(at);
        let too_far = too_far(entry);
        let places = self.places(view, entry);
        let [last, before] = *places;
        places[0] = entry;
        if last <= too_far {
            return (0, at);
        }
        places[1] = last;
        let value = view.four(usize::from(entry));
        let size = |source: u16| {
            if view.four(usize::from(source)) == value { view.common(source, entry, max) } else { 0 }
        };
        let source = |source: u16| at - usize::from(entry - source);
        let of_last = size(last);
        if of_last >= nice || before <= too_far {
            return (of_last, source(last));
        }
        let of_before = size(before);
        if of_before > of_last { (of_before, source(before)) } else { (of_last, source(last)) }
    }

    /// Enters so many strings, unless the last of them are too near to the end.
    pub(super) fn enter(&mut self, padded: &[u8], mut at: usize, mut count: usize, end: usize) {
        if count + MIN_AHEAD > end - at {
            return;
        }
        while count > 0 {
            self.reach(at);
            let now = count.min(self.base.left(at));
            let Some(view) = self.base.view(padded) else { return };
            let entry = self.base.entry(at);
            for entry in (entry..=u16::MAX).take(now) {
                let places = self.places(view, entry);
                *places = [entry, places[0]];
            }
            at += now;
            count -= now;
        }
    }
}
