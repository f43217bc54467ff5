//! Rare strings that tell how a target lies along its source, where short strings do not.
//!
//! In content of two letters, or of records that are nearly alike, each string of a dozen bytes stands in
//! thousands of places, and of those the index compares only the ones near to where the match is
//! expected. Once that is wrong by more than these reach, as at the start of a piece or after a
//! large insertion, no lookup leads back. A string of 64 bytes is rare even there: one in
//! some hundred is sampled by its hash, so that both sides sample the same ones (as in `gear.rs`), and those
//! that the source has once are kept.

use crate::gear::Gear;

/// Base-2 logarithm of how many bytes lie between two samples, on average.
const SAMPLE_LOG: u32 = 8;
/// Bytes that the rolling hash depends on.
const WINDOW: usize = 64;

/// The sampled strings that a source has once: their hashes and ends, sorted by hash.
#[derive(Debug)]
pub(crate) struct Anchors(Vec<(u64, u32)>);

/// From this byte of a target on, it lies along the source at this distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hint {
    /// End of the anchor in the target.
    pub(crate) target: usize,
    /// The offset in the source that lies along it.
    pub(crate) source: usize,
}

impl Hint {
    /// The offset in the source that lies along `position` of the target, if that is not before it.
    pub(crate) fn along(self, position: usize) -> Option<usize> {
        (self.source + position).checked_sub(self.target)
    }
}

/// The hashes and ends of the sampled strings.
fn samples(bytes: &[u8]) -> impl Iterator<Item = (u64, usize)> + '_ {
    let mut gear = Gear::<1>::default();
    let hashes = bytes.iter().map(move |&byte| gear.roll(byte)).zip(1..).skip(WINDOW - 1);
    hashes.filter(|(hash, _)| hash >> (u64::BITS - SAMPLE_LOG) == 0)
}

impl Anchors {
    /// Memory in bytes that the anchors of a source of `size` bytes take, about.
    pub(crate) const fn memory(size: u64) -> u64 {
        (size >> SAMPLE_LOG) * 2 * size_of::<(u64, u32)>() as u64
    }

    /// The anchors of a source whose offsets are 32-bit.
    pub(crate) fn new(source: &[u8]) -> Self {
        let sampled = samples(source).filter_map(|(hash, end)| Some((hash, u32::try_from(end).ok()?)));
        let mut all: Vec<(u64, u32)> = sampled.collect();
        all.sort_unstable();
        let runs = all.chunk_by(|left, right| left.0 == right.0);
        Self(runs.filter(|run| run.len() == 1).map(|run| run[0]).collect())
    }

    /// Returns the alignments of a target along the source, in rising order; one for each place where they change.
    pub(crate) fn hints(&self, target: &[u8]) -> Vec<Hint> {
        let mut hints: Vec<Hint> = Vec::new();
        for (hash, end) in samples(target) {
            let Ok(place) = self.0.binary_search_by_key(&hash, |(hash, _)| *hash) else { continue };
            let hint = Hint { target: end, source: self.0[place].1 as usize };
            if hints.last().is_none_or(|last| last.along(end) != Some(hint.source)) {
                hints.push(hint);
            }
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gear::mix;

    #[test]
    fn two_letters_tell_where_a_target_lies() {
        let source: Vec<u8> = (0..100_000).map(|index| b'a' + (mix(index) & 1) as u8).collect();
        let target = [&source[40_000..70_000], b"abab", &source[10_000..40_000]].concat();
        let anchors = Anchors::new(&source);
        let hints = anchors.hints(&target);
        let along: Vec<_> = hints.iter().map(|hint| hint.source as i64 - hint.target as i64).collect();
        assert_eq!(along, [40_000, 10_000 - 30_004]);
        assert!(hints[0].target < 3000 && hints[1].target < 33_000, "{hints:?}");
        assert_eq!(hints[0].along(0), Some(40_000));
        assert_eq!(hints[1].along(0), None);
    }

    #[test]
    fn what_the_source_has_twice_is_no_anchor() {
        let once: Vec<u8> = (0..50_000).map(|index| b'a' + (mix(index) & 1) as u8).collect();
        let twice = [&once[..], &once].concat();
        assert!(Anchors::new(&twice).hints(&once).len() <= 1);
    }
}
