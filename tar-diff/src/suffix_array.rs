//! Finds the longest match of a string in a source.
//!
//! Three structures, each answering what the one before it cannot:
//!
//! ```text
//! gram filter    does the source hold these 12 bytes at all?       one cache miss
//!      |  yes
//! buckets        which suffixes start with these 2 or 3 bytes?     one cache miss
//!      |  a range of the suffix array
//! suffix array   binary search for the longest match in the range  two misses a halving
//! ```
//!
//! Around a mismatch nearly every string is new, so most lookups end at the filter.

use std::ops::Range;

use crate::{Error, Result};

/// Shortest match that [`SuffixIndex::longest_match`] finds, in bytes: the size of the grams in
/// the filter.
pub(crate) const MIN_MATCH: usize = 12;

/// An index of the suffixes of a part of a source.
#[derive(Debug)]
pub(crate) struct SuffixIndex<'s> {
    /// The part.
    text: &'s [u8],
    /// Offset of the part in the source.
    start: usize,
    /// Offsets of all suffixes in lexicographic order.
    suffixes: Vec<i32>,
    buckets: Buckets,
    filter: GramFilter,
}

impl<'s> SuffixIndex<'s> {
    /// Largest source in bytes: offsets are 32-bit and signed.
    pub(crate) const MAX_SIZE: u64 = i32::MAX as u64 - 1;

    /// Memory that the index of a source of `size` bytes needs, in bytes.
    pub(crate) fn memory(size: u64) -> u64 {
        4 * size + GramFilter::memory(size) + Buckets::memory(size)
    }

    pub(crate) fn new(source: &'s [u8], part: Range<usize>) -> Result<Self> {
        let (start, text) = (part.start, &source[part]);
        let suffixes = libsais::SuffixArrayConstruction::for_text(text)
            .in_owned_buffer32()
            .single_threaded()
            .run()
            .map_err(|error| Error::SuffixArray { size: text.len(), source: error })?
            .into_vec();
        Ok(Self { text, start, suffixes, buckets: Buckets::new(text), filter: GramFilter::new(text) })
    }

    /// Offset in the source and size of the longest match of a prefix of `query`, if there is one
    /// of at least [`MIN_MATCH`] bytes.
    pub(crate) fn longest_match(&self, query: &[u8]) -> Option<(usize, usize)> {
        if !self.filter.may_hold(query.first_chunk()?) {
            return None;
        }
        let range = self.buckets.range(query);
        let (mut low, mut high) = (range.start, range.end);
        if low == high {
            return None;
        }
        // Invariant: the suffixes before `low` sort before the query and the one just before it
        // shares `low_common` bytes with it; likewise after `high`. All between share the smaller.
        let (mut low_common, mut high_common) = (0, 0);
        let mut best = (0, 0);
        while low < high {
            let middle = low + (high - low) / 2;
            let offset = self.suffix(middle);
            let known = low_common.min(high_common);
            let common = known + common_prefix(&self.text[offset + known..], &query[known..]);
            if common > best.1 {
                best = (self.start + offset, common);
            }
            if common == query.len() {
                break;
            }
            if self.text.get(offset + common).is_none_or(|byte| *byte < query[common]) {
                low = middle + 1;
                low_common = common;
            } else {
                high = middle;
                high_common = common;
            }
        }
        (best.1 >= MIN_MATCH).then_some(best)
    }

    fn suffix(&self, rank: usize) -> usize {
        self.suffixes[rank].cast_unsigned() as usize
    }
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

/// Where in the suffix array the suffixes with each prefix of a few bytes begin.
#[derive(Debug)]
struct Buckets {
    prefix_size: usize,
    starts: Vec<u32>,
}

impl Buckets {
    /// Bytes of prefix: the table should not be larger than the source by much.
    const fn prefix_size(size: u64) -> usize {
        match size {
            0..0x1000 => 1,
            0x1000..0x200_0000 => 2,
            _ => 3,
        }
    }

    const fn memory(size: u64) -> u64 {
        4 << (8 * Self::prefix_size(size))
    }

    fn new(source: &[u8]) -> Self {
        let prefix_size = Self::prefix_size(source.len() as u64);
        let mut starts = vec![0u32; (1 << (8 * prefix_size)) + 1];
        let mut prefix = 0;
        // A suffix shorter than the prefix counts as padded with zeros: it sorts first there.
        for offset in (0..source.len()).rev() {
            prefix = prefix >> 8 | (source[offset] as usize) << (8 * (prefix_size - 1));
            starts[prefix + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { prefix_size, starts }
    }

    /// Ranks of the suffixes that share the first bytes of `query`, which has at least
    /// [`MIN_MATCH`] bytes.
    fn range(&self, query: &[u8]) -> Range<usize> {
        let prefix = query[..self.prefix_size].iter().fold(0, |prefix, byte| prefix << 8 | *byte as usize);
        self.starts[prefix] as usize..self.starts[prefix + 1] as usize
    }
}

/// Which strings of [`MIN_MATCH`] bytes the source may hold: a Bloom filter with one hash.
#[derive(Debug)]
struct GramFilter {
    bits: Vec<u64>,
    shift: u32,
}

impl GramFilter {
    /// Bits of the filter: 8 to 16 for each byte of source, so that at most an eighth is set.
    fn log_bits(size: u64) -> u32 {
        (8 * size).next_power_of_two().trailing_zeros().max(6)
    }

    fn memory(size: u64) -> u64 {
        (1 << Self::log_bits(size)) / 8
    }

    fn new(source: &[u8]) -> Self {
        let log_bits = Self::log_bits(source.len() as u64);
        let mut filter = Self { bits: vec![0; 1 << (log_bits - 6)], shift: u64::BITS - log_bits };
        for gram in source.windows(MIN_MATCH).filter_map(|window| window.first_chunk()) {
            let (word, bit) = filter.place(gram);
            filter.bits[word] |= bit;
        }
        filter
    }

    fn may_hold(&self, gram: &[u8; MIN_MATCH]) -> bool {
        let (word, bit) = self.place(gram);
        self.bits[word] & bit != 0
    }

    fn place(&self, gram: &[u8; MIN_MATCH]) -> (usize, u64) {
        let low = word(&gram[..8]);
        let high = word(&gram[MIN_MATCH - 8..]);
        // Two odd constants of high entropy; the product's high bits depend on all input bits.
        let mixed = low.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ high.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31);
        let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        (usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The size of the longest match by looking everywhere.
    fn longest_anywhere(source: &[u8], query: &[u8]) -> usize {
        (0..source.len()).map(|offset| common_prefix(&source[offset..], query)).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn finds_the_longest_match(
            source in prop::collection::vec(0u8..3, 0..400),
            query in prop::collection::vec(0u8..3, 0..60),
        ) {
            let index = SuffixIndex::new(&source, 0..source.len()).unwrap();
            let longest = longest_anywhere(&source, &query);
            match index.longest_match(&query) {
                Some((offset, size)) => {
                    prop_assert_eq!(size, longest);
                    prop_assert_eq!(&source[offset..offset + size], &query[..size]);
                }
                None => prop_assert!(longest < MIN_MATCH),
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

    #[test]
    fn larger_sources_use_longer_prefixes() {
        for size in [100usize, 0x1000, 0x200_0000] {
            let mut state = 1u32;
            let source: Vec<u8> = (0..size)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                })
                .collect();
            let index = SuffixIndex::new(&source, 0..source.len()).unwrap();
            for offset in [0, size / 2, size - 20] {
                assert_eq!(index.longest_match(&source[offset..offset + 20]), Some((offset, 20)), "{size}");
            }
        }
    }
}
