//! bsdiff: aligns a target with a source so that most bytes differ little.
//!
//! The algorithm is Colin Percival's ("Naive differences of executable code", 2003). It goes
//! through the target with an *alignment*, the difference of source and target offset, and leaves it
//! where some other alignment matches at least 8 bytes more:
//!
//! ```text
//! source  ----[======= A ========]---------[====== B ======]----
//!              \                  \         \               \
//! target        [======= A' ======][literal][====== B' =====]     B' matches better than A goes on
//!               add                          add
//! ```
//!
//! A' is extended forward and B' backward for as long as most bytes match, so the small changes
//! inside code (addresses, offsets) become differences, which compress well, and not literals.

mod scan;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::ops::Range;

use scan::{Indexed, Scan};

use crate::anchors::Anchors;
use crate::edit::Step;
use crate::gram_index::{Effort, GramIndex, common_prefix};
use crate::sketch::{shared_samples, sorted_samples};
use crate::workers;

/// Bytes of target that are scanned in one go. Larger targets are scanned in pieces side by side;
/// the size is fixed, so that the steps do not depend on the number of jobs.
const PIECE_SIZE: usize = 16 << 20;
/// Samples of the changed part of a target that say enough: about 8 KiB of it.
const MIN_SAMPLES: usize = 256;
/// Bytes of the common end that are scanned with the changed part.
const INTO_SUFFIX: usize = 4096;
/// Least bytes of source beyond the changed part of a file that are indexed with it.
const MIN_MARGIN: usize = 256 << 10;

/// The steps that make `target` of `source`. Pieces of a large target are scanned on `jobs` threads.
pub(crate) fn edit(source: &[u8], target: &[u8], effort: Effort, jobs: NonZeroUsize) -> Vec<Step> {
    let ends = Ends::of(source, target);
    let of_source = sorted_samples(&source[ends.old_middle(source)]);
    if are_unlike(&of_source, &target[ends.new_middle(target)]) {
        return ends.steps(source, target);
    }
    drop(of_source);
    let index = GramIndex::new(source, ends.indexed(source, target), effort);
    let anchors = index.is_crowded().then(|| Anchors::new(source));
    let indexed = Indexed { source, index: &index, anchors: anchors.as_ref(), skims: effort.skims };
    scanned(indexed, target, ends, jobs)
}

/// Bytes of the source that [`edit`] reads and indexes for a target.
pub(crate) fn indexed_size(source: &[u8], target: &[u8]) -> usize {
    Ends::of(source, target).indexed(source, target).len()
}

/// A source that is indexed once, whole, for all the targets that are made of it.
#[derive(Debug)]
pub(crate) struct SharedSource<'s> {
    source: &'s [u8],
    samples: Vec<u64>,
    index: GramIndex<'s>,
    anchors: Option<Anchors>,
    skims: bool,
}

impl<'s> SharedSource<'s> {
    pub(crate) fn new(source: &'s [u8], effort: Effort) -> Self {
        let index = GramIndex::new(source, 0..source.len(), effort);
        let anchors = index.is_crowded().then(|| Anchors::new(source));
        Self { source, samples: sorted_samples(source), index, anchors, skims: effort.skims }
    }

    /// The steps that make `target`, in a time that its own size sets.
    pub(crate) fn edit(&self, target: &[u8], jobs: NonZeroUsize) -> Vec<Step> {
        let Self { source, samples, index, anchors, skims } = self;
        let ends = Ends::of(source, target);
        if are_unlike(samples, &target[ends.new_middle(target)]) {
            return ends.steps(source, target);
        }
        scanned(Indexed { source, index, anchors: anchors.as_ref(), skims: *skims }, target, ends, jobs)
    }
}

/// The steps of a target that is like its source: between the common ends, it is scanned.
fn scanned(indexed: Indexed<'_, '_>, target: &[u8], ends: Ends, jobs: NonZeroUsize) -> Vec<Step> {
    let Ends { prefix, suffix } = ends;
    // The scan goes a little into the common end, whose alignment then reaches back.
    let middle = &target[prefix..target.len() - suffix + suffix.min(INTO_SUFFIX)];
    let Ok(pieces) = workers::map(jobs, middle.len().div_ceil(PIECE_SIZE), |piece| {
        let start = piece * PIECE_SIZE;
        let bytes = &middle[start..middle.len().min(start + PIECE_SIZE)];
        Ok::<_, Infallible>(Scan::new(indexed, bytes, prefix + start, piece == 0).collect::<Vec<_>>())
    });
    let rest = suffix - suffix.min(INTO_SUFFIX);
    let first = Step { source: 0, add: prefix as u64, literal: 0 };
    let last = Step { source: (indexed.source.len() - rest) as u64, add: rest as u64, literal: 0 };
    joined([first].into_iter().chain(pieces.concat()).chain([last]))
}

/// Bytes that both sides share at their start and, beyond those, at their end.
#[derive(Debug, Clone, Copy)]
struct Ends {
    prefix: usize,
    suffix: usize,
}

impl Ends {
    fn of(source: &[u8], target: &[u8]) -> Self {
        let prefix = common_prefix(source, target);
        let ends = source[prefix..].iter().rev().zip(target[prefix..].iter().rev());
        Self { prefix, suffix: ends.take_while(|(left, right)| left == right).count() }
    }

    fn old_middle(self, source: &[u8]) -> Range<usize> {
        self.prefix..source.len() - self.suffix
    }

    fn new_middle(self, target: &[u8]) -> Range<usize> {
        self.prefix..target.len() - self.suffix
    }

    /// The part of the source that is indexed: around the changed part as much again as the target
    /// holds there.
    fn indexed(self, source: &[u8], target: &[u8]) -> Range<usize> {
        let margin = self.new_middle(target).len().max(MIN_MARGIN);
        let middle = self.old_middle(source);
        middle.start.saturating_sub(margin)..source.len().min(middle.end + margin)
    }

    /// The steps that take from `source` only the common ends.
    fn steps(self, source: &[u8], target: &[u8]) -> Vec<Step> {
        let Self { prefix, suffix } = self;
        let middle = target.len() - prefix - suffix;
        let first = Step { source: 0, add: prefix as u64, literal: middle as u64 };
        let last = Step { source: (source.len() - suffix) as u64, add: suffix as u64, literal: 0 };
        joined([first, last].into_iter())
    }
}

/// Returns true if a search would find next to nothing: compressed content, most often. Recompiled code
/// shares a tenth of its strings and more.
fn are_unlike(of_source: &[u64], target: &[u8]) -> bool {
    let of_target = sorted_samples(target);
    of_target.len() >= MIN_SAMPLES && shared_samples(of_source, &of_target) < of_target.len() / 256
}

/// The same steps with empty ones left out and those joined that go on where the one before ended.
fn joined(steps: impl Iterator<Item = Step>) -> Vec<Step> {
    let mut joined: Vec<Step> = Vec::new();
    for step in steps.filter(|step| step.add + step.literal > 0) {
        match joined.last_mut() {
            Some(last) if last.literal == 0 && last.source + last.add == step.source => {
                last.add += step.add;
                last.literal = step.literal;
            }
            Some(last) if step.add == 0 => last.literal += step.literal,
            _ => joined.push(step),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::edit::covered;

    const JOBS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
    const EFFORT: Effort = Effort { stride: 4, candidates: 8, skims: false };

    /// Bytes of the target that the steps take from the source unchanged.
    fn matching(steps: &[Step], source: &[u8], target: &[u8]) -> usize {
        let (mut position, mut matching) = (0, 0);
        for step in steps {
            let [start, add, literal] =
                [step.source, step.add, step.literal].map(|n| usize::try_from(n).unwrap());
            let along = &source[start..start + add];
            matching += along.iter().zip(&target[position..]).filter(|(left, right)| left == right).count();
            position += add + literal;
        }
        matching
    }

    fn noise(size: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        (0..size)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect()
    }

    #[test]
    fn scattered_changes_stay_in_one_step() {
        let source = noise(20_000, 1);
        let mut target = source.clone();
        for position in (40..target.len()).step_by(97) {
            target[position] ^= 0x55;
        }
        let steps = edit(&source, &target, EFFORT, JOBS);
        assert_eq!(steps, [Step { source: 0, add: 20_000, literal: 0 }]);
    }

    #[test]
    fn insertion_removal_and_move_are_found() {
        let source = noise(30_000, 2);
        let inserted = noise(500, 3);
        let target =
            [&source[..5_000], &inserted, &source[5_000..9_000], &source[20_000..], &source[10_000..19_000]]
                .concat();
        let steps = edit(&source, &target, EFFORT, JOBS);
        covered(&steps, &source, &target);
        assert!(steps.len() <= 5, "{steps:?}");
        assert!(matching(&steps, &source, &target) >= target.len() - inserted.len());
    }

    #[test]
    fn pieces_of_a_large_target_go_on_where_the_one_before_ended() {
        let source = noise(PIECE_SIZE + 100_000, 4);
        let target = [&source[..1_000_000], b"inserted", &source[1_000_000..]].concat();
        let steps = edit(&source, &target, EFFORT, JOBS);
        covered(&steps, &source, &target);
        assert!(steps.len() <= 4, "{steps:?}");
        assert!(matching(&steps, &source, &target) >= source.len() - 100);
    }

    /// The bytes of the target that the steps carry as they are, or that differ from the source.
    fn carried(steps: &[Step], source: &[u8], target: &[u8]) -> usize {
        target.len() - matching(steps, source, target)
    }

    #[test]
    fn pieces_find_their_alignment_in_content_of_few_letters() {
        let letters = |letters: u8, size, seed| -> Vec<u8> {
            noise(size, seed).iter().map(|byte| b'a' + (byte >> 4) % letters).collect()
        };
        let records: Vec<u8> = (0..40_000)
            .flat_map(|index| format!("{index:09},{:<53}\n", "the same in every record").into_bytes())
            .collect();
        let zeros: Vec<u8> =
            noise(3000, 12).iter().flat_map(|byte| [&[*byte, byte ^ 0x5a][..], &[0; 998]].concat()).collect();
        for source in [letters(2, PIECE_SIZE + 500_000, 9), letters(4, 3_000_000, 10), records, zeros] {
            let inserted = &source[1_500_000..1_800_000];
            let rest = &source[1_000_000..source.len() - 5];
            let target = [&source[..1_000_000], inserted, rest, b"other"].concat();
            let steps = edit(&source, &target, EFFORT, JOBS);
            covered(&steps, &source, &target);
            let carried = carried(&steps, &source, &target);
            assert!(carried < 2000, "{carried} bytes are carried, in {} steps", steps.len());
        }
    }

    #[test]
    fn targets_of_a_shared_source_are_as_small() {
        let source = noise(3_000_000, 14);
        let shared = SharedSource::new(&source, EFFORT);
        for start in [0, 1_000_000, 2_950_000] {
            let target = [&source[start..start + 40_000], b"changed", &source[..1000]].concat();
            let steps = shared.edit(&target, JOBS);
            covered(&steps, &source, &target);
            assert!(carried(&steps, &source, &target) <= 7);
            assert!(indexed_size(&source, &target) > 2_000_000, "alone it would need most of the source");
        }
        let unlike = noise(20_000, 15);
        assert_eq!(shared.edit(&unlike, JOBS), [Step { source: 0, add: 0, literal: 20_000 }]);
        assert_eq!(shared.edit(&source, JOBS), [Step { source: 0, add: 3_000_000, literal: 0 }]);
    }

    #[test]
    fn unlike_files_share_their_ends() {
        let common = noise(5_000, 5);
        let source = [&common[..], &noise(100_000, 6), &common].concat();
        let target = [&common[..], &noise(90_000, 7), &common].concat();
        let steps = edit(&source, &target, EFFORT, JOBS);
        let first = Step { source: 0, add: 5_000, literal: 90_000 };
        assert_eq!(steps, [first, Step { source: 105_000, add: 5_000, literal: 0 }]);
    }

    #[test]
    fn empty_sides_are_covered() {
        assert_eq!(edit(b"", b"", EFFORT, JOBS), []);
        assert_eq!(edit(b"abc", b"", EFFORT, JOBS), []);
        assert_eq!(edit(b"", b"abc", EFFORT, JOBS), [Step { source: 0, add: 0, literal: 3 }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(256) })]

        #[test]
        fn every_target_is_covered(
            source in prop::collection::vec(0u8..4, 0..600),
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..60, prop::collection::vec(0u8..4, 0..30)), 0..6),
        ) {
            let mut target = source.clone();
            for (place, removed, inserted) in edits {
                let start = place.index(target.len() + 1);
                let end = (start + removed).min(target.len());
                target.splice(start..end, inserted);
            }
            let steps = edit(&source, &target, EFFORT, JOBS);
            prop_assert_eq!(covered(&steps, &source, &target), target.len());
        }
    }
}
