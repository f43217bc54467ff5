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

use std::convert::Infallible;
use std::num::NonZeroUsize;

use crate::gram_index::{Effort, GRAM_SIZE, GramIndex, Lookup, common_prefix};
use crate::recipe::Step;
use crate::sketch::shared_samples;
use crate::workers;

/// Bytes that another alignment must match more than the current one. Percival's value; twice and
/// half of it give larger deltas.
const MIN_GAIN: usize = 8;
/// Exact bytes along the current alignment after which no other is looked for.
const FOLLOW_SIZE: usize = 32;

/// When skimming: lookups in vain after which the scan goes on in strides of one byte more, and the
/// longest stride. A match is extended backward, so of a long one nothing is lost.
const PATIENCE: usize = 128;
/// Exact bytes along the current alignment that show that it is one.
const PROMISING_SIZE: usize = 6;
const MAX_STRIDE: usize = 8;

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
pub(crate) fn recipe(source: &[u8], target: &[u8], effort: Effort, jobs: NonZeroUsize) -> Vec<Step> {
    let (prefix, suffix) = common_ends(source, target);
    let old_middle = prefix..source.len() - suffix;
    let new_middle = prefix..target.len() - suffix;
    if are_unlike(&source[old_middle.clone()], &target[new_middle.clone()]) {
        return ends(source, target, prefix, suffix);
    }
    // Around the changed part, as much again is indexed as the target holds there.
    let margin = new_middle.len().max(MIN_MARGIN);
    let indexed = old_middle.start.saturating_sub(margin)..source.len().min(old_middle.end + margin);
    let index = GramIndex::new(source, indexed, effort);
    // The scan goes a little into the common end, whose alignment then reaches back.
    let scanned = &target[new_middle.start..new_middle.end + suffix.min(INTO_SUFFIX)];
    let Ok(pieces) = workers::map(jobs, scanned.len().div_ceil(PIECE_SIZE), |piece| {
        let start = piece * PIECE_SIZE;
        let piece = &scanned[start..scanned.len().min(start + PIECE_SIZE)];
        Ok::<_, Infallible>(
            Scan::new(&index, source, piece, prefix + start, effort.skims).collect::<Vec<_>>(),
        )
    });
    let rest = suffix - suffix.min(INTO_SUFFIX);
    let first = Step { source: 0, add: prefix as u64, literal: 0 };
    let last = Step { source: (source.len() - rest) as u64, add: rest as u64, literal: 0 };
    joined([first].into_iter().chain(pieces.concat()).chain([last]))
}

/// Bytes that both sides share at their start and, beyond those, at their end.
fn common_ends(source: &[u8], target: &[u8]) -> (usize, usize) {
    let prefix = common_prefix(source, target);
    let ends = source[prefix..].iter().rev().zip(target[prefix..].iter().rev());
    (prefix, ends.take_while(|(left, right)| left == right).count())
}

/// Whether a search would find next to nothing: compressed content, most often. Recompiled code
/// shares a tenth of its strings and more.
fn are_unlike(source: &[u8], target: &[u8]) -> bool {
    let (shared, samples) = shared_samples(source, target);
    samples >= MIN_SAMPLES && shared < samples / 256
}

/// The steps that take from `source` only the common ends.
fn ends(source: &[u8], target: &[u8], prefix: usize, suffix: usize) -> Vec<Step> {
    let middle = target.len() - prefix - suffix;
    let first = Step { source: 0, add: prefix as u64, literal: middle as u64 };
    let last = Step { source: (source.len() - suffix) as u64, add: suffix as u64, literal: 0 };
    joined([first, last].into_iter())
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

/// A stretch of the target that matches the source at some offset.
#[derive(Debug, Clone, Copy)]
struct Seed {
    target: usize,
    source: usize,
}

/// Goes through the target; each item ends where the alignment changes.
struct Scan<'i, 's> {
    lookup: Lookup<'i, 's>,
    source: &'s [u8],
    target: &'i [u8],
    /// Where the current alignment was found.
    current: Seed,
    /// Next byte of the target that is looked at.
    position: usize,
    skims: bool,
}

impl<'i, 's> Scan<'i, 's> {
    /// Starts along byte `start` of the source, where the target would lie if nothing had moved.
    fn new(index: &'i GramIndex<'s>, source: &'s [u8], target: &'i [u8], start: usize, skims: bool) -> Self {
        let current = Seed { target: 0, source: start.min(source.len()) };
        Self { lookup: Lookup::new(index, target), source, target, current, position: 0, skims }
    }

    /// The byte of the source that lies along `position` in the current alignment.
    fn along(&self, position: usize) -> Option<&u8> {
        self.source.get((position - self.current.target).checked_add(self.current.source)?)
    }

    fn agrees(&self, position: usize) -> bool {
        self.along(position) == Some(&self.target[position])
    }

    /// Bytes from `position` on that match exactly along the current alignment.
    fn exact_along(&self, position: usize) -> usize {
        let offset = position - self.current.target + self.current.source;
        self.source.get(offset..).map_or(0, |source| common_prefix(source, &self.target[position..]))
    }

    /// The next seed of a better alignment, or `None` if the current one is the last.
    fn next_seed(&mut self) -> Option<Seed> {
        // Of the bytes in `position..counted`, `agreeing` match along the current alignment.
        let mut counted = self.position;
        let mut agreeing = 0;
        let mut in_vain = 0;
        while self.target.len() - self.position >= GRAM_SIZE {
            let exact = self.exact_along(self.position);
            if exact >= FOLLOW_SIZE {
                self.position += exact;
                (counted, agreeing, in_vain) = (self.position, 0, 0);
                continue;
            }
            let expected = self.position - self.current.target + self.current.source;
            if let Some((offset, size)) = self.lookup.longest_match(self.position, expected) {
                while counted < self.position + size {
                    agreeing += usize::from(self.agrees(counted));
                    counted += 1;
                }
                if size > agreeing + MIN_GAIN {
                    let seed = Seed { target: self.position, source: offset };
                    self.position += size;
                    return Some(seed);
                }
                if size == agreeing {
                    self.position += size;
                    (counted, agreeing) = (self.position, 0);
                    continue;
                }
            }
            in_vain = if exact >= PROMISING_SIZE { 0 } else { in_vain + 1 };
            let stride = if self.skims { (1 + in_vain / PATIENCE).min(MAX_STRIDE) } else { 1 };
            for _ in 0..stride {
                if self.position < counted {
                    agreeing -= usize::from(self.agrees(self.position));
                } else {
                    counted += 1;
                }
                self.position += 1;
            }
        }
        self.position = self.target.len();
        None
    }

    /// Bytes of `gap`, the target between two seeds, that go to the current alignment.
    fn extend_forward(&self, gap: usize) -> usize {
        let mut score = Best::default();
        for size in 0..gap {
            if self.along(self.current.target + size).is_none() {
                break;
            }
            score.count(self.agrees(self.current.target + size));
        }
        score.best_size
    }

    /// Bytes before `seed`, at most `gap`, that go to its alignment.
    fn extend_backward(&self, seed: Seed, gap: usize) -> usize {
        let mut score = Best::default();
        for back in 1..=gap.min(seed.source) {
            score.count(self.source[seed.source - back] == self.target[seed.target - back]);
        }
        score.best_size
    }

    /// Where to cut the `overlap` bytes that end at `end` of the current alignment and start
    /// `seed`'s extension: bytes that stay with the current one.
    fn cut_overlap(&self, end: usize, overlap: usize, seed: Seed) -> usize {
        let start = end - overlap;
        let (mut score, mut best, mut cut) = (0i64, 0i64, 0);
        for index in 0..overlap {
            let position = start + index;
            let before = seed.target - position;
            let along_seed = self.source[seed.source - before] == self.target[position];
            score += i64::from(self.agrees(position)) - i64::from(along_seed);
            if score > best {
                (best, cut) = (score, index + 1);
            }
        }
        cut
    }
}

impl Iterator for Scan<'_, '_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if self.current.target == self.target.len() {
                return None;
            }
            let seed = self.next_seed();
            let start = self.current;
            let end = seed.map_or(self.target.len(), |seed| seed.target);
            let gap = end - start.target;
            let mut add = self.extend_forward(gap);
            let mut back = seed.map_or(0, |seed| self.extend_backward(seed, gap));
            if let Some(seed) = seed.filter(|_| add + back > gap) {
                let overlap = add + back - gap;
                let kept = self.cut_overlap(start.target + add, overlap, seed);
                add -= overlap - kept;
                back -= kept;
            }
            self.current = match seed {
                Some(seed) => Seed { target: seed.target - back, source: seed.source - back },
                None => Seed { target: self.target.len(), source: 0 },
            };
            let step = Step {
                source: start.source as u64,
                add: add as u64,
                literal: (self.current.target - start.target - add) as u64,
            };
            if step.add + step.literal > 0 {
                return Some(step);
            }
        }
    }
}

/// The size at which twice the matching bytes exceed the size by most (Percival's score).
#[derive(Default)]
struct Best {
    size: usize,
    matching: usize,
    best_size: usize,
    best_score: usize,
}

impl Best {
    fn count(&mut self, matches: bool) {
        self.size += 1;
        self.matching += usize::from(matches);
        // score = 2 * matching - size, kept non-negative by comparing sums.
        if 2 * self.matching > self.size + self.best_score {
            self.best_score = 2 * self.matching - self.size;
            self.best_size = self.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::recipe::covered;

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
        let steps = recipe(&source, &target, EFFORT, JOBS);
        assert_eq!(steps, [Step { source: 0, add: 20_000, literal: 0 }]);
    }

    #[test]
    fn insertion_removal_and_move_are_found() {
        let source = noise(30_000, 2);
        let inserted = noise(500, 3);
        let target =
            [&source[..5_000], &inserted, &source[5_000..9_000], &source[20_000..], &source[10_000..19_000]]
                .concat();
        let steps = recipe(&source, &target, EFFORT, JOBS);
        covered(&steps, &source, &target);
        assert!(steps.len() <= 5, "{steps:?}");
        assert!(matching(&steps, &source, &target) >= target.len() - inserted.len());
    }

    #[test]
    fn pieces_of_a_large_target_go_on_where_the_one_before_ended() {
        let source = noise(PIECE_SIZE + 100_000, 4);
        let target = [&source[..1_000_000], b"inserted", &source[1_000_000..]].concat();
        let steps = recipe(&source, &target, EFFORT, JOBS);
        covered(&steps, &source, &target);
        assert!(steps.len() <= 4, "{steps:?}");
        assert!(matching(&steps, &source, &target) >= source.len() - 100);
    }

    #[test]
    fn unlike_files_share_their_ends() {
        let common = noise(5_000, 5);
        let source = [&common[..], &noise(100_000, 6), &common].concat();
        let target = [&common[..], &noise(90_000, 7), &common].concat();
        let steps = recipe(&source, &target, EFFORT, JOBS);
        let first = Step { source: 0, add: 5_000, literal: 90_000 };
        assert_eq!(steps, [first, Step { source: 105_000, add: 5_000, literal: 0 }]);
    }

    #[test]
    fn empty_sides_are_covered() {
        assert_eq!(recipe(b"", b"", EFFORT, JOBS), []);
        assert_eq!(recipe(b"abc", b"", EFFORT, JOBS), []);
        assert_eq!(recipe(b"", b"abc", EFFORT, JOBS), [Step { source: 0, add: 0, literal: 3 }]);
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
            let steps = recipe(&source, &target, EFFORT, JOBS);
            prop_assert_eq!(covered(&steps, &source, &target), target.len());
        }
    }
}
