//! Finds long matches of a target in a source: a hash table of the source's grams.
//!
//! Of the strings of [`GRAM_SIZE`] bytes of the source, every `stride`-th is in the table, so each
//! match of `GRAM_SIZE + stride - 1` bytes is found, and most shorter ones; the scan then extends it
//! to both sides. A suffix array finds the longest match always, and takes three times the time
//! and twice the memory for deltas that are no smaller once ops are weighed.
//!
//! ```text
//! hash of the next 12 bytes
//!        |
//! heads  [ 0 | 2 | 2 | 5 | ... ]         one place for each hash
//!              \       \
//! positions  [ 8 40 | 16 96 128 | ... ]  offsets with that hash, rising
//! ```
//!
//! The table is filled one partition of hashes after the other, so that the part being written
//! stays in the processor's cache (radix partitioning; Manegold et al., "Optimizing main-memory join
//! on modern hardware", 2002).

use std::ops::Range;

use crate::anchors::Anchors;

/// Bytes of a gram: the shortest match that is found. Shorter ones are mostly chance.
pub(crate) const GRAM_SIZE: usize = 12;
/// Base-2 logarithm of the most places that a partition has: they fit the first cache.
const PARTITION_LOG: u32 = 14;
/// Base-2 logarithm of the most partitions: as many streams are written side by side.
const MAX_PARTITIONS_LOG: u32 = 10;

/// The effort with which matches are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Every how many bytes of the source a gram is indexed.
    pub(crate) stride: usize,
    /// Offsets with one hash that are compared; of more, those nearest to where the match is
    /// expected.
    pub(crate) candidates: usize,
    /// True if stretches of the target in which nothing is found are passed in larger strides.
    pub(crate) skims: bool,
}

/// Of so many indexed offsets, more than one with a hash that more offsets have than are compared make
/// an index crowded. Code and text stay far below it.
const MOST_CROWDED: usize = 2;

/// An index of the grams of a part of a source.
#[derive(Debug)]
pub(crate) struct GramIndex<'s> {
    /// The part.
    text: &'s [u8],
    /// Offset of the part in the source.
    start: usize,
    candidates: usize,
    /// For each hash, the index in `positions` where its offsets begin; one more for the end.
    heads: Vec<u32>,
    positions: Vec<u32>,
    shift: u32,
}

/// A stretch of [`GramIndex::positions`].
type Slot = (u32, u32);

impl<'s> GramIndex<'s> {
    /// Largest source in bytes: offsets are 32-bit.
    pub(crate) const MAX_SIZE: u64 = u32::MAX as u64;

    /// Memory that the index of a source of `size` bytes needs while it is made, in bytes.
    pub(crate) fn memory(size: u64, stride: usize) -> u64 {
        let grams = size / stride as u64 + 1;
        // Heads, positions, and the low bits of the hashes.
        4 * grams.next_power_of_two() + (4 + 4) * grams + Anchors::memory(size)
    }

    pub(crate) fn new(source: &'s [u8], part: Range<usize>, effort: Effort) -> Self {
        let (start, text) = (part.start, &source[part]);
        let count = text.len().checked_sub(GRAM_SIZE).map_or(0, |last| last / effort.stride + 1);
        let log = count.next_power_of_two().trailing_zeros().max(4);
        let mut index = Self {
            text,
            start,
            candidates: effort.candidates,
            heads: vec![0; (1 << log) + 1],
            positions: vec![0; count],
            shift: u32::BITS - log,
        };
        index.fill(effort.stride, log);
        index
    }

    /// Sorts the offsets by hash: by its high bits, then each partition by the others.
    fn fill(&mut self, stride: usize, log: u32) {
        let partition_log = log.saturating_sub(PARTITION_LOG).min(MAX_PARTITIONS_LOG);
        let low_log = log - partition_log;
        let places = || {
            let grams = self.text.windows(GRAM_SIZE).step_by(stride);
            grams.map(|window| window.first_chunk().map_or(0, hash) >> self.shift)
        };
        let mut ends = vec![0u32; 1 << partition_log];
        for place in places() {
            ends[(place >> low_log) as usize] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += std::mem::replace(end, sum);
        }
        let mut low_bits = vec![0u32; self.positions.len()];
        for (offset, place) in (0u32..).step_by(stride).zip(places()) {
            let end = &mut ends[(place >> low_log) as usize];
            self.positions[*end as usize] = offset;
            low_bits[*end as usize] = place & ((1 << low_log) - 1);
            *end += 1;
        }
        let mut first = 0u32;
        let mut unsorted = Vec::new();
        for (heads, end) in self.heads.chunks_exact_mut(1 << low_log).zip(ends) {
            let partition = first as usize..end as usize;
            let low_bits = &low_bits[partition.clone()];
            unsorted.clear();
            unsorted.extend_from_slice(&self.positions[partition]);
            for low in low_bits {
                heads[*low as usize] += 1;
            }
            let mut sum = first;
            for head in heads.iter_mut() {
                sum += *head;
                *head = sum;
            }
            // From the last: offsets of one hash stay in order, and the heads end at their starts.
            for (low, position) in low_bits.iter().zip(&unsorted).rev() {
                let head = &mut heads[*low as usize];
                *head -= 1;
                self.positions[*head as usize] = *position;
            }
            first = end;
        }
        if let Some(end) = self.heads.last_mut() {
            *end = first;
        }
    }

    /// Returns true if most grams stand in more places than are compared, so that a match that lies far from
    /// where it is expected is not found.
    pub(crate) fn is_crowded(&self) -> bool {
        let sizes = self.heads.windows(2).map(|slot| (slot[1] - slot[0]) as usize);
        let crowded: usize = sizes.filter(|size| *size > self.candidates).sum();
        crowded > self.positions.len() / MOST_CROWDED
    }

    /// Returns the slot of the offsets that have the hash of the next gram.
    fn slot(&self, query: &[u8]) -> Slot {
        let Some(gram) = query.first_chunk() else { return (0, 0) };
        let place = (hash(gram) >> self.shift) as usize;
        (self.heads[place], self.heads[place + 1])
    }

    /// Offset in the source and size of the longest match of a prefix of `query` among those in
    /// `slot`, if there is one of at least [`GRAM_SIZE`] bytes. `expected` is an offset in the
    /// source: where there are too many to compare, those near it are.
    fn longest_of(&self, slot: Slot, query: &[u8], expected: usize) -> Option<(usize, usize)> {
        let mut offsets = &self.positions[slot.0 as usize..slot.1 as usize];
        if offsets.len() > self.candidates {
            let expected = expected.saturating_sub(self.start);
            let above = offsets.partition_point(|offset| (*offset as usize) < expected);
            let first = above.saturating_sub(self.candidates / 2).min(offsets.len() - self.candidates);
            offsets = &offsets[first..first + self.candidates];
        }
        let mut best = (0, 0);
        for offset in offsets {
            let offset = *offset as usize;
            let text = &self.text[offset..];
            // A match that is longer has the byte after the best one.
            if best.1 == 0 || text.get(best.1).is_some_and(|byte| Some(byte) == query.get(best.1)) {
                let common = common_prefix(text, query);
                if common > best.1 {
                    best = (self.start + offset, common);
                }
            }
        }
        (best.1 >= GRAM_SIZE).then_some(best)
    }
}

/// Positions that are looked up together.
const BATCH: usize = 8;

/// Looks up neighbouring positions of a target together: their cache misses overlap.
#[derive(Debug)]
pub(crate) struct Lookup<'i, 's> {
    index: &'i GramIndex<'s>,
    target: &'i [u8],
    /// Position in the target of the first slot.
    start: usize,
    slots: [Slot; BATCH],
}

impl<'i, 's> Lookup<'i, 's> {
    pub(crate) fn new(index: &'i GramIndex<'s>, target: &'i [u8]) -> Self {
        let mut lookup = Self { index, target, start: 0, slots: [(0, 0); BATCH] };
        lookup.look_up_from(0);
        lookup
    }

    fn look_up_from(&mut self, position: usize) {
        self.start = position;
        for (ahead, slot) in self.slots.iter_mut().enumerate() {
            *slot = self.index.slot(self.target.get(position + ahead..).unwrap_or(&[]));
        }
    }

    /// Offset in the source and size of a long match of the target from `position` on. Of many, one
    /// near offset `expected` is taken.
    pub(crate) fn longest_match(&mut self, position: usize, expected: usize) -> Option<(usize, usize)> {
        if position.wrapping_sub(self.start) >= BATCH {
            self.look_up_from(position);
        }
        let slot = self.slots[position - self.start];
        if slot.0 == slot.1 {
            return None;
        }
        self.index.longest_of(slot, &self.target[position..], expected)
    }
}

/// A hash whose high bits depend on all bits of the gram.
fn hash(gram: &[u8; GRAM_SIZE]) -> u32 {
    let low = word(&gram[..8]);
    let high = word(&gram[GRAM_SIZE - 8..]);
    // Odd constants of high entropy.
    let mixed =
        low.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Bytes that two strings share at their starts.
pub(crate) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let words = left.chunks_exact(8).zip(right.chunks_exact(8));
    let mut common = 0;
    for (left, right) in words {
        let differing = word(left) ^ word(right);
        if differing != 0 {
            return common + differing.trailing_zeros() as usize / 8;
        }
        common += 8;
    }
    common + left[common..].iter().zip(&right[common..]).take_while(|(left, right)| left == right).count()
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// The size of the longest match by looking everywhere.
    fn longest_anywhere(source: &[u8], query: &[u8]) -> usize {
        (0..source.len()).map(|offset| common_prefix(&source[offset..], query)).max().unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(256) })]

        #[test]
        fn every_candidate_finds_the_longest_match(
            source in prop::collection::vec(0u8..3, 0..400),
            query in prop::collection::vec(0u8..3, 0..60),
            start in 0usize..40,
        ) {
            let start = start.min(source.len());
            let effort = Effort { stride: 1, candidates: usize::MAX, skims: false };
            let index = GramIndex::new(&source, start..source.len(), effort);
            let longest = longest_anywhere(&source[start..], &query);
            match Lookup::new(&index, &query).longest_match(0, 0) {
                Some((offset, size)) => {
                    prop_assert_eq!(size, longest);
                    prop_assert_eq!(&source[offset..offset + size], &query[..size]);
                }
                None => prop_assert!(longest < GRAM_SIZE),
            }
        }

        #[test]
        fn common_prefix_is_that_of_bytes(
            left in prop::collection::vec(0u8..2, 0..40),
            right in prop::collection::vec(0u8..2, 0..40),
        ) {
            let expected = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
            prop_assert_eq!(common_prefix(&left, &right), expected);
        }
    }

    fn noise(size: usize) -> Vec<u8> {
        (0..size as u64).map(|index| crate::gear::mix(index).to_be_bytes()[0]).collect()
    }

    #[test]
    fn a_match_is_found_within_a_stride() {
        let source = noise(3 << 20);
        for stride in [1, 3, 8] {
            let index =
                GramIndex::new(&source, 5..source.len(), Effort { stride, candidates: 16, skims: false });
            for offset in [5, source.len() / 2, source.len() - 40] {
                let query = &source[offset..offset + 40];
                let mut lookup = Lookup::new(&index, query);
                let found =
                    (0..stride).find_map(|position| Some((position, lookup.longest_match(position, 0)?)));
                let (position, (at, size)) = found.unwrap();
                assert_eq!((at, size), (offset + position, 40 - position), "{stride}");
            }
        }
    }

    #[test]
    fn few_letters_crowd_the_index() {
        let effort = Effort { stride: 1, candidates: 32, skims: false };
        let is_crowded = |bytes: &[u8]| GramIndex::new(bytes, 0..bytes.len(), effort).is_crowded();
        let two_letters: Vec<u8> = noise(1 << 20).iter().map(|byte| byte & 1).collect();
        assert!(is_crowded(&two_letters));
        assert!(is_crowded(&[0; 10_000]));
        assert!(!is_crowded(&noise(1 << 20)));
        assert!(!is_crowded(&[noise(100_000), vec![0; 50_000]].concat()));
        assert!(!is_crowded(b""));
    }

    #[test]
    fn of_many_the_expected_one_is_taken() {
        let source = vec![7; 100_000];
        let index =
            GramIndex::new(&source, 0..source.len(), Effort { stride: 4, candidates: 2, skims: false });
        let query = [7; 20];
        for expected in [0, 50_000, 99_960] {
            let (offset, size) = Lookup::new(&index, &query).longest_match(0, expected).unwrap();
            assert_eq!(size, 20);
            assert!(offset.abs_diff(expected) <= 8, "{offset} {expected}");
        }
    }
}
