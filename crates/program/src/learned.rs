//! The new position of each place that fields refer to: the position that the map gives, and the one that
//! earlier fields of the same file gave.

use crate::map::Map;
use crate::places::Places;

/// The trust from which on the position that fields gave counts more than an exact one of the map.
const TRUSTED: u8 = 2;
/// The largest trust of a place.
const MOST: u8 = 6;
/// Bits of a word of [`Marks`].
const LOG: u32 = 6;

/// The places that fields refer to, each with its new position.
#[derive(Debug)]
pub(crate) struct Targets {
    places: Places,
    known: Vec<Known>,
    /// Of the places outside the file those that were learned.
    marks: Marks,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    place: u32,
    /// The new position that the map gives.
    mapped: u32,
    is_exact: bool,
    /// The new position that the last field gave.
    learned: u32,
    /// The trust in that position: it grows with each field that gives it again, and is 0 before the first.
    trust: u8,
}

impl Targets {
    /// Places are in any order; those from `end` on have no bytes and are not in the map.
    pub(crate) fn new(places: impl Iterator<Item = u32>, map: &Map, end: u32) -> Self {
        let places = Places::new(places, end);
        let of = |place: u32| {
            let (mapped, is_exact) = if places.is_beyond(place) { (place, false) } else { map.get(place) };
            Known { place, mapped, is_exact, learned: 0, trust: 0 }
        };
        let mut known = Vec::with_capacity(places.len());
        known.extend(places.iter().map(of));
        Self { marks: Marks::new(known.len()), places, known }
    }

    /// The index of a place.
    pub(crate) fn index(&self, place: u32) -> Option<usize> {
        self.places.index(place)
    }

    /// The place with an index.
    pub(crate) fn place(&self, index: usize) -> u32 {
        self.known[index].place
    }

    /// Returns the expected position of a place in the new file. The place is given by its index.
    pub(crate) fn expected(&self, index: usize) -> u32 {
        let known = &self.known[index];
        if known.trust >= TRUSTED || known.trust > 0 && !known.is_exact {
            return known.learned;
        }
        let place = known.place;
        if !self.places.is_beyond(place) {
            return known.mapped;
        }
        // Places outside the file move together.
        match self.marks.last(index) {
            Some(near) => place.wrapping_add(self.known[near].learned).wrapping_sub(self.known[near].place),
            None => place,
        }
    }

    /// Takes in where the place with an index was found. Fields of code tell more than those of tables.
    pub(crate) fn learn(&mut self, index: usize, place: u32, weight: u8) {
        let known = &mut self.known[index];
        if known.trust == 0 {
            (known.learned, known.trust) = (place, weight);
        } else if known.learned == place {
            known.trust = (known.trust + weight).min(MOST);
        } else if known.trust > weight {
            known.trust -= weight;
        } else {
            (known.learned, known.trust) = (place, weight);
        }
        if self.places.is_beyond(self.known[index].place) {
            self.marks.set(index);
        }
    }
}

/// A set of indices in which the last one up to some index is found at once, in levels of words.
#[derive(Debug)]
struct Marks {
    levels: Vec<Vec<u64>>,
}

impl Marks {
    fn new(size: usize) -> Self {
        let mut levels = Vec::new();
        // One more than are set, so that all that `last` looks at is there.
        let mut words = size / 64 + 1;
        loop {
            levels.push(vec![0; words]);
            if words == 1 {
                break;
            }
            words = words.div_ceil(64);
        }
        Self { levels }
    }

    fn set(&mut self, index: usize) {
        let mut index = index;
        for words in &mut self.levels {
            words[index >> LOG] |= 1 << (index & 63);
            index >>= LOG;
        }
    }

    /// The last index that was set, up to `index`.
    fn last(&self, index: usize) -> Option<usize> {
        // One beyond, so that a level looks at what lies before it.
        let mut before = index + 1;
        for (depth, words) in self.levels.iter().enumerate() {
            let (word, bit) = (before >> LOG, before & 63);
            let low = words.get(word).map_or(0, |word| word & ((1u64 << bit) - 1));
            if low != 0 {
                let mut found = word << LOG | low.ilog2() as usize;
                for words in self.levels[..depth].iter().rev() {
                    found = found << LOG | words[found].ilog2() as usize;
                }
                return Some(found);
            }
            before = word;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mark_is_that_of_a_plain_search() {
        let mut random = fastrand::Rng::with_seed(3);
        for size in [1, 63, 64, 65, 4096, 300_000] {
            let mut marks = Marks::new(size);
            let mut plain = std::collections::BTreeSet::new();
            for _ in 0..200 {
                let index = random.usize(..size);
                assert_eq!(marks.last(index), plain.range(..=index).next_back().copied());
                let index = random.usize(..size);
                marks.set(index);
                plain.insert(index);
                assert_eq!(marks.last(size - 1), plain.last().copied());
            }
        }
    }

    #[test]
    fn an_exact_map_is_overruled_by_what_is_seen_twice() {
        let map = Map::new(&[crate::Block { source: 0, add: 100, literal: 0 }]);
        let mut targets = Targets::new([1000, 10, 1010, 200, 10].into_iter(), &map, 500);
        let expected = |targets: &Targets| [0, 1, 2, 3].map(|index| targets.expected(index));
        assert_eq!(expected(&targets), [10, 200, 1000, 1010]);
        targets.learn(0, 20, 1);
        targets.learn(1, 300, 1);
        targets.learn(2, 1003, 1);
        assert_eq!(expected(&targets), [10, 300, 1003, 1013]);
        targets.learn(0, 20, 1);
        assert_eq!(targets.expected(0), 20);
    }
}
