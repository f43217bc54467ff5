//! One pass through a target: where its alignment with the source changes.

use crate::anchors::{Anchors, Hint};
use crate::edit::Step;
use crate::gram_index::{GRAM_SIZE, GramIndex, Lookup, common_prefix};

/// Bytes that another alignment must match more than the current one. Percival's value; twice and
/// half of it give larger deltas.
const MIN_GAIN: usize = 8;
/// Exact bytes along the current alignment after which no other is looked for.
const FOLLOW_SIZE: usize = 32;

/// When skimming: lookups in vain after which the scan goes on in strides of one byte more, and the
/// longest stride. A match is extended backward, so of a long one nothing is lost.
const PATIENCE: usize = 128;
const MAX_STRIDE: usize = 8;
/// Exact bytes along the current alignment that show that it is one.
const PROMISING_SIZE: usize = 6;

/// A source that is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Indexed<'i, 's> {
    pub(super) source: &'s [u8],
    pub(super) index: &'i GramIndex<'s>,
    /// Only of a source whose index is crowded.
    pub(super) anchors: Option<&'i Anchors>,
    pub(super) skims: bool,
}

/// A stretch of the target that matches the source at some offset.
#[derive(Debug, Clone, Copy)]
struct Seed {
    target: usize,
    source: usize,
}

/// Goes through the target; each item ends where the alignment changes.
pub(super) struct Scan<'i, 's> {
    lookup: Lookup<'i, 's>,
    source: &'s [u8],
    target: &'i [u8],
    /// The match by which the current alignment was found.
    current: Seed,
    /// Next byte of the target that is looked at.
    position: usize,
    /// The alignments that rare strings tell, where the index is crowded.
    hints: Vec<Hint>,
    /// The number of hints that begin at or before the position.
    passed: usize,
    skims: bool,
}

impl<'i, 's> Scan<'i, 's> {
    /// Starts along byte `start` of the source, where the target would lie if nothing had moved. A later
    /// piece of a target starts where the first hint says, as there is none before it that it goes on from.
    pub(super) fn new(indexed: Indexed<'i, 's>, target: &'i [u8], start: usize, is_first: bool) -> Self {
        let Indexed { source, index, anchors, skims } = indexed;
        let hints = anchors.map(|anchors| anchors.hints(target)).unwrap_or_default();
        let hinted = hints.first().filter(|_| !is_first).and_then(|hint| hint.along(0));
        let current = Seed { target: 0, source: hinted.unwrap_or(start).min(source.len()) };
        let lookup = Lookup::new(index, target);
        Self { lookup, source, target, current, position: 0, hints, passed: 0, skims }
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

    /// Offset in the source and size of the longest match of the target from the position on.
    fn longest_match(&mut self, expected: usize) -> Option<(usize, usize)> {
        let mut best = self.lookup.longest_match(self.position, expected);
        while self.hints.get(self.passed).is_some_and(|hint| hint.target <= self.position) {
            self.passed += 1;
        }
        let near = &self.hints[self.passed.saturating_sub(1)..self.hints.len().min(self.passed + 1)];
        for offset in near.iter().filter_map(|hint| hint.along(self.position)) {
            let along = self.source.get(offset..).unwrap_or(&[]);
            let size = common_prefix(along, &self.target[self.position..]);
            if size >= best.map_or(GRAM_SIZE, |(_, longest)| longest + 1) {
                best = Some((offset, size));
            }
        }
        best
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
            if let Some((offset, size)) = self.longest_match(expected) {
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

    /// Returns the place at which to cut the `overlap` bytes that end at `end` of the current alignment and start
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
