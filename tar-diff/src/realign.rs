//! Looks for better steps between two programs: bsdiff is run once more on copies of both in which what moved looks
//! the same.
//!
//! The steps that bsdiff finds first say where things went, and so what the addresses in a program become. A copy of
//! the old file has each address as the new file has it, as far as the steps tell, so that code which only moved is
//! found again whole. That helps every applier: the addresses that changed are differences within longer steps then.
//! An applier of relocated ops computes most of these differences, too (`relocate.rs`).

use std::num::NonZeroUsize;

use program::{Block, Draft, Layouts};

use crate::bsdiff;
use crate::edit::Step;
use crate::gram_index::Effort;
use crate::weigh;

/// Most bytes of memory for each byte of both files: copies of them, and their fields.
const MEMORY_RATIO: u64 = 3;
/// Bytes that steps carry from which on better ones are worth the search, and of steps in which everything stays
/// where it is those from which on a relocated op is.
const LEAST_CARRIED: usize = 192;
const LEAST_CARRIED_IN_PLACE: usize = 4096;

/// Memory in bytes that realigning takes, beside the files and the index of the source.
pub(crate) const fn memory(source: u64, target: u64) -> u64 {
    (source + target) * MEMORY_RATIO
}

/// Two programs whose steps may be found anew.
pub(crate) struct Programs<'p> {
    source: &'p [u8],
    target: &'p [u8],
    layouts: Layouts,
    /// The target with its addresses written as in the copies of the source.
    normal_target: Vec<u8>,
    effort: Effort,
    jobs: NonZeroUsize,
}

impl<'p> Programs<'p> {
    /// Returns the pair if both files are programs of one kind.
    pub(crate) fn of(source: &'p [u8], target: &'p [u8], effort: Effort, jobs: NonZeroUsize) -> Option<Self> {
        let layouts = Layouts::of(source, target)?;
        let normal_target = layouts.normalised_new(target);
        Some(Self { source, target, layouts, normal_target, effort, jobs })
    }

    /// Returns the draft of a relocated op with steps that bsdiff found between the files as they are.
    pub(crate) fn draft(&self, steps: &[Step]) -> Option<Draft<'p>> {
        self.draft_of(steps, self.source, self.target)
    }

    /// Returns the steps of one more round, and the draft of a relocated op with them.
    pub(crate) fn round(&self, last: &Draft<'_>) -> Option<(Vec<Step>, Draft<'p>)> {
        let (normal_source, steps) = self.found(last);
        let draft = self.draft_of(&steps, &normal_source, &self.normal_target)?;
        Some((steps, draft))
    }

    /// Returns the copy of the source with the addresses of a draft, and the steps that bsdiff finds in it.
    fn found(&self, last: &Draft<'_>) -> (Vec<u8>, Vec<Step>) {
        let normal_source = self.layouts.normalised_old(self.source, last);
        let steps = bsdiff::edit(&normal_source, &self.normal_target, self.effort, self.jobs);
        (normal_source, steps)
    }

    /// The draft with steps that are weighed by what they have in common in `source` and `target`.
    fn draft_of(&self, steps: &[Step], source: &[u8], target: &[u8]) -> Option<Draft<'p>> {
        let settled = weigh::settled(steps, (source, target), self.target, literals(self.effort));
        self.layouts.encode(self.source, self.target, &blocks(&settled)).ok()
    }
}

/// Returns the steps that one round finds, if both files are programs and there may be something to gain.
pub(crate) fn steps(
    source: &[u8],
    target: &[u8],
    steps: &[Step],
    effort: Effort,
    jobs: NonZeroUsize,
) -> Option<Vec<Step>> {
    let change = Change::of(source, target, steps);
    // Where everything stays in place, so do the addresses.
    if !change.has_moved || change.carried < LEAST_CARRIED {
        return None;
    }
    let programs = Programs::of(source, target, effort, jobs)?;
    Some(programs.found(&programs.draft(steps)?).1)
}

/// The difference between a source and a target that steps make of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// Bytes that are carried: those that differ, and literals.
    pub(crate) carried: usize,
    /// True if a stretch of the source is elsewhere in the target.
    pub(crate) has_moved: bool,
}

impl Change {
    pub(crate) fn of(source: &[u8], target: &[u8], steps: &[Step]) -> Self {
        let index = |size: u64| usize::try_from(size).expect("files in memory");
        let (mut position, mut carried, mut has_moved) = (0, 0, false);
        for step in steps {
            let (start, add) = (index(step.source), index(step.add));
            has_moved |= add > 0 && start != position;
            let pairs = source[start..start + add].iter().zip(&target[position..position + add]);
            carried += pairs.filter(|(old, new)| old != new).count() + index(step.literal);
            position += add + index(step.literal);
        }
        Self { carried, has_moved }
    }

    /// Returns true if a relocated op has nothing to gain: little is carried, or nothing moved and hardly anything is
    /// new.
    pub(crate) const fn is_small(self) -> bool {
        self.carried < if self.has_moved { LEAST_CARRIED } else { LEAST_CARRIED_IN_PLACE }
    }
}

/// The blocks of a relocated op that are steps.
pub(crate) fn blocks(steps: &[Step]) -> Vec<Block> {
    let narrow = |size: u64| u32::try_from(size).expect("files of relocated ops have less than 2^32 bytes");
    let block = |step: &Step| Block {
        source: narrow(step.source),
        add: narrow(step.add),
        literal: narrow(step.literal),
    };
    steps.iter().map(block).collect()
}

/// Returns the distance of the strings in literals that are remembered to weigh others.
pub(crate) const fn literals(effort: Effort) -> NonZeroUsize {
    if effort.skims { weigh::SKIMMED_LITERALS } else { NonZeroUsize::MIN }
}
