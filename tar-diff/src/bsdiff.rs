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

use crate::Result;
use crate::recipe::Step;
use crate::suffix_array::{MIN_MATCH, SuffixIndex, common_prefix};

/// Bytes that another alignment must match more than the current one. Percival's value; twice and
/// half of it give larger deltas.
const MIN_GAIN: usize = 8;
/// Exact bytes along the current alignment after which no other is looked for.
const FOLLOW_SIZE: usize = 32;

/// The steps that make `target` of `source`.
pub(crate) fn recipe(source: &[u8], target: &[u8]) -> Result<Vec<Step>> {
    let index = SuffixIndex::new(source)?;
    Ok(Scan::new(&index, source, target).collect())
}

/// A stretch of the target that matches the source at some offset.
#[derive(Debug, Clone, Copy)]
struct Seed {
    target: usize,
    source: usize,
}

/// Goes through the target; each item ends where the alignment changes.
struct Scan<'i, 's> {
    index: &'i SuffixIndex<'s>,
    source: &'s [u8],
    target: &'s [u8],
    /// Where the current alignment was found.
    current: Seed,
    /// Next byte of the target that is looked at.
    position: usize,
}

impl<'i, 's> Scan<'i, 's> {
    fn new(index: &'i SuffixIndex<'s>, source: &'s [u8], target: &'s [u8]) -> Self {
        Self { index, source, target, current: Seed { target: 0, source: 0 }, position: 0 }
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
        while self.target.len() - self.position >= MIN_MATCH {
            let exact = self.exact_along(self.position);
            if exact >= FOLLOW_SIZE {
                self.position += exact;
                (counted, agreeing) = (self.position, 0);
                continue;
            }
            if let Some((offset, size)) = self.index.longest_match(&self.target[self.position..]) {
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
            if self.position < counted {
                agreeing -= usize::from(self.agrees(self.position));
            } else {
                counted += 1;
            }
            self.position += 1;
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

    use super::*;
    use crate::recipe::covered;

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
        let steps = recipe(&source, &target).unwrap();
        assert_eq!(steps, [Step { source: 0, add: 20_000, literal: 0 }]);
    }

    #[test]
    fn insertion_removal_and_move_are_found() {
        let source = noise(30_000, 2);
        let inserted = noise(500, 3);
        let target =
            [&source[..5_000], &inserted, &source[5_000..9_000], &source[20_000..], &source[10_000..19_000]]
                .concat();
        let steps = recipe(&source, &target).unwrap();
        covered(&steps, &source, &target);
        assert!(steps.len() <= 5, "{steps:?}");
        assert!(matching(&steps, &source, &target) >= target.len() - inserted.len());
    }

    #[test]
    fn empty_sides_are_covered() {
        assert_eq!(recipe(b"", b"").unwrap(), []);
        assert_eq!(recipe(b"abc", b"").unwrap(), []);
        assert_eq!(recipe(b"", b"abc").unwrap(), [Step { source: 0, add: 0, literal: 3 }]);
    }

    proptest! {
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
            let steps = recipe(&source, &target).unwrap();
            prop_assert_eq!(covered(&steps, &source, &target), target.len());
        }
    }
}
