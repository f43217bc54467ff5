//! The places that fields refer to, each with its number: a set of bits for those in the file, which is made without
//! sorting, and a sorted list for the few outside of it.

/// Words of the set whose bits are counted together: those of a line of a cache.
const WORDS: usize = 8;

/// Places, numbered in their order.
#[derive(Debug)]
pub(crate) struct Places {
    /// A bit for each place in the file.
    words: Vec<u64>,
    /// For every [`WORDS`] words, the number of places before them.
    before: Vec<u32>,
    /// The number of places in the file.
    count: usize,
    /// Those from the end of the file on, sorted.
    beyond: Vec<u32>,
    /// The bytes of the file.
    end: u32,
}

impl Places {
    /// Takes in places of a file of `end` bytes, in any order. There are fewer than 2^32.
    pub(crate) fn new(places: impl Iterator<Item = u32>, end: u32) -> Self {
        let mut words = vec![0u64; (end as usize).div_ceil(64)];
        let mut beyond = Vec::new();
        for place in places {
            if place < end {
                words[place as usize / 64] |= 1 << (place % 64);
            } else {
                beyond.push(place);
            }
        }
        beyond.sort_unstable();
        beyond.dedup();
        let mut count = 0;
        let before = words.chunks(WORDS).map(|words| {
            let before = count;
            count += words.iter().map(|word| word.count_ones()).sum::<u32>();
            before
        });
        let before = before.collect();
        Self { words, before, count: count as usize, beyond, end }
    }

    /// The places in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let in_file =
            (0u32..).zip(&self.words).flat_map(|(index, word)| Bits(*word).map(move |bit| 64 * index + bit));
        in_file.chain(self.beyond.iter().copied())
    }

    /// The number of places.
    pub(crate) fn len(&self) -> usize {
        self.count + self.beyond.len()
    }

    /// Returns true for a place outside the file, which has no bytes.
    pub(crate) const fn is_beyond(&self, place: u32) -> bool {
        place >= self.end
    }

    /// The number of a place, if it is one of these.
    pub(crate) fn index(&self, place: u32) -> Option<usize> {
        if self.is_beyond(place) {
            return self.beyond.binary_search(&place).ok().map(|index| self.count + index);
        }
        let (word, bit) = (place as usize / 64, place % 64);
        let own = self.words[word];
        if own >> bit & 1 == 0 {
            return None;
        }
        let group = word / WORDS;
        let earlier = self.words[group * WORDS..word].iter().map(|word| word.count_ones()).sum::<u32>();
        let lower = (own & ((1 << bit) - 1)).count_ones();
        Some((self.before[group] + earlier + lower) as usize)
    }
}

/// The bits of a word that are set, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = self.0.trailing_zeros();
        // Clears the lowest bit that is set.
        self.0 &= self.0.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_the_numbers_of_a_sorted_list() {
        let mut random = fastrand::Rng::with_seed(3);
        for (size, end) in
            [(0, 0), (0, 70), (1, 1), (3, 0), (40, 64), (300, 513), (900, 70_000), (900, 1 << 20)]
        {
            let places: Vec<u32> = (0..size).map(|_| random.u32(..end + end / 3 + 9)).collect();
            let found = Places::new(places.iter().copied(), end);
            let mut sorted = places;
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!((found.iter().collect(), found.len()), (sorted.clone(), sorted.len()));
            let asked =
                (0..2000).map(|_| random.u32(..end + 1000)).chain(sorted.clone()).chain([0, u32::MAX]);
            for place in asked {
                assert_eq!(found.index(place), sorted.binary_search(&place).ok(), "{place} of {end}");
            }
        }
    }
}
