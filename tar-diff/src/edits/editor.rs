//! Makes the edits of one source's targets.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::PoisonError;

use delta_format::{Encoding, OpWriter, Version};

use crate::bsdiff::{self, SharedSource};
use crate::budget::{MAX_WHOLE_RATIO, MIN_WHOLE_SOURCE};
use crate::counter::Counter;
use crate::edit::{Edit, Step, Viewed};
use crate::gram_index::Effort;
use crate::options::{DiffOptions, Method};
use crate::plan::{Plan, Segment, SegmentKind, Source};
use crate::rollsum::Chunks;
use crate::sides::Layers;
use crate::sides::Pair;
use crate::steps::write_steps;
use crate::views::{self, Refusals};
use crate::{Error, Result, Stats, budget, realign, relocate, workers};

/// zstd level for the trial that decides between two edits.
const TRIAL_LEVEL: i32 = 3;
/// Memory in bytes of an edit that is made of chunks, beside 1/64 of the source.
const CHUNKS_MEMORY: u64 = 256 << 10;

/// Makes the edits of one source after the other.
pub(super) struct Editor<'m> {
    plan: &'m Plan,
    layers: Layers<'m>,
    options: &'m DiffOptions,
    /// The store of decoded files; `None` if no file is seen through.
    store: Option<&'m views::Store>,
    /// The targets that may be made through views, which share what that may cost.
    viewed: u64,
    refusals: Mutex<Refusals>,
}

/// A source, and what of it is made once for all of its targets.
#[derive(Debug, Clone, Copy)]
struct Prepared<'s> {
    source: &'s Source,
    bytes: &'s [u8],
    index: Option<&'s SharedSource<'s>>,
    chunks: Option<&'s Chunks>,
}

/// Sizes of a source and a target in bytes, and how the target is made of it.
#[derive(Debug, Clone, Copy)]
struct Choice {
    target: u64,
    effort: Option<Effort>,
    wants_dict: bool,
}

impl Choice {
    /// Returns true if there is nothing for it but chunks.
    const fn is_chunks(self) -> bool {
        self.effort.is_none() && !self.wants_dict
    }
}

impl<'m> Editor<'m> {
    pub(super) fn new(
        plan: &'m Plan,
        layers: Layers<'m>,
        options: &'m DiffOptions,
        store: Option<&'m views::Store>,
    ) -> Result<Self> {
        let mut editor = Self { plan, layers, options, store, viewed: 0, refusals: Mutex::default() };
        for segment in &plan.segments {
            let is_made = matches!(segment.kind, SegmentKind::Similar(_) | SegmentKind::Compressed);
            editor.viewed += u64::from(is_made && editor.may_be_viewed(segment)?);
        }
        Ok(editor)
    }

    /// Returns whether the target of a segment may hold streams that are to be seen through.
    fn may_be_viewed(&self, segment: &Segment) -> Result<bool> {
        Ok(self.store.is_some() && views::may_hold_streams(self.layers.new, &segment.target)?)
    }

    pub(super) fn into_refusals(self) -> Mutex<Refusals> {
        self.refusals
    }

    fn segment(&self, index: usize) -> &'m Segment {
        &self.plan.segments[index]
    }

    fn choice(&self, source: &Source, segment: &Segment) -> Choice {
        let (source, target) = (size(&source.data), size(&segment.target));
        let fits = source.max(target) <= delta_format::wire::MAX_DICT_SIZE;
        let wants_dict = fits
            && self.options.method != Method::Bsdiff
            && !budget::is_lopsided(source, target, MAX_WHOLE_RATIO, MIN_WHOLE_SOURCE);
        let effort = budget::effort(source, target, self.options).map(|(effort, _)| effort);
        Choice { target, effort, wants_dict }
    }

    /// Memory in bytes that the edits of one source take while they are made, one after the other.
    pub(super) fn memory(&self, segments: &[usize]) -> Result<u64> {
        let mut most = 0;
        for index in segments {
            let segment = self.segment(*index);
            let target = size(&segment.target);
            let (source, plain) = match &segment.kind {
                SegmentKind::Similar(source) => {
                    let source = size(&source.data);
                    let effort = budget::effort(source, target, self.options);
                    let memory = effort.map_or(source / 64 + CHUNKS_MEMORY, |(_, memory)| memory);
                    let more = budget::realignment(source, target, self.options);
                    (source, memory + more.map_or(0, |(_, memory)| memory))
                }
                _ => (0, 0),
            };
            let viewed =
                if self.may_be_viewed(segment)? { views::memory(source, target, self.options) } else { 0 };
            most = most.max(plain.max(viewed));
        }
        if let ([_, _, ..], SegmentKind::Similar(source)) = (segments, &self.segment(segments[0]).kind)
            && let Some((_, shared)) = self.shared_effort(source, segments)
        {
            // The shared index is there while a target is realigned.
            most = most.max(shared + self.memory_of_each(segments));
        }
        Ok(most)
    }

    /// Memory in bytes that one more of the segments takes, beside what is made once of their source.
    pub(super) fn memory_of_each(&self, segments: &[usize]) -> u64 {
        let of_one = |index: &usize| {
            let segment = self.segment(*index);
            let target = size(&segment.target);
            match &segment.kind {
                SegmentKind::Similar(source) => {
                    target + budget::realigning(size(&source.data), target, self.options)
                }
                _ => target,
            }
        };
        segments.iter().map(of_one).max().unwrap_or(0)
    }

    /// Returns the effort with which a source is indexed for all of its targets that are searched for in it,
    /// and the memory of that.
    fn shared_effort(&self, source: &Source, segments: &[usize]) -> Option<(Effort, u64)> {
        let choices = segments.iter().map(|index| self.choice(source, self.segment(*index)));
        let sizes = choices.filter(|choice| choice.effort.is_some()).map(|choice| choice.target);
        let (largest, total) = (sizes.clone().max()?, sizes.sum());
        budget::shared_effort(size(&source.data), largest, total, self.options)
    }

    /// The edits of segments that have one source, `threads` of them at a time; of one alone, `jobs`
    /// threads work at its pieces.
    pub(super) fn edits(
        &self,
        segments: &[usize],
        jobs: NonZeroUsize,
        threads: NonZeroUsize,
    ) -> Result<Vec<Option<Edit>>> {
        let SegmentKind::Similar(source) = &self.segment(segments[0]).kind else {
            return segments.iter().map(|index| self.of_compressed(self.segment(*index), jobs)).collect();
        };
        let old = &self.layers.old[source.layer];
        let choices: Vec<Choice> =
            segments.iter().map(|index| self.choice(source, self.segment(*index))).collect();
        let chunks = if choices.iter().any(|choice| choice.is_chunks()) {
            Some(Chunks::of((old, source.data.clone()))?)
        } else {
            None
        };
        let reads_all = choices.iter().any(|choice| !choice.is_chunks());
        let bytes = if reads_all { old.read_range(source.data.clone())? } else { Vec::new() };
        let index = match self.shared_effort(source, segments) {
            Some((effort, _)) if segments.len() > 1 && self.shares(&bytes, segments, &choices)? => {
                Some(SharedSource::new(&bytes, effort))
            }
            _ => None,
        };
        let prepared = Prepared { source, bytes: &bytes, index: index.as_ref(), chunks: chunks.as_ref() };
        if let [only] = segments {
            return Ok(vec![self.edit(prepared, choices[0], self.segment(*only), jobs)?]);
        }
        workers::map(threads, segments.len(), |rank| {
            self.edit(prepared, choices[rank], self.segment(segments[rank]), NonZeroUsize::MIN)
        })
    }

    /// Returns true if the targets need so much of the source, each for itself, that one index of all of it costs
    /// less.
    fn shares(&self, source: &[u8], segments: &[usize], choices: &[Choice]) -> Result<bool> {
        let mut left = source.len();
        for (index, _) in segments.iter().zip(choices).filter(|(_, choice)| choice.effort.is_some()) {
            let target = self.layers.new.read_range(self.segment(*index).target.clone())?;
            match left.checked_sub(bsdiff::indexed_size(source, &target)) {
                Some(less) => left = less,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    fn of_compressed(&self, segment: &Segment, jobs: NonZeroUsize) -> Result<Option<Edit>> {
        let target = self.layers.new.read_range(segment.target.clone())?;
        Ok(self.viewed(&[], &target, jobs)?.map(Edit::Viewed))
    }

    fn edit(
        &self,
        prepared: Prepared<'_>,
        choice: Choice,
        segment: &Segment,
        jobs: NonZeroUsize,
    ) -> Result<Option<Edit>> {
        let (layers, options) = (self.layers, self.options);
        let Prepared { source, bytes, index, chunks } = prepared;
        if let Some(chunks) = chunks.filter(|_| choice.is_chunks()) {
            let steps = chunks.edit((layers.new, segment.target.clone()))?;
            return Ok(Some(Edit::Steps(steps)));
        }
        let target = layers.new.read_range(segment.target.clone())?;
        if let Some(viewed) = self.viewed(bytes, &target, jobs)? {
            return Ok(Some(Edit::Viewed(viewed)));
        }
        let frame = if choice.wants_dict {
            let frame = delta_format::zstd_dict_frame(bytes, &target, options.level)
                .map_err(|error| Error::ZstdDict { path: source.path.to_string(), source: error })?;
            Some(frame)
        } else {
            None
        };
        let steps = match (choice.effort, frame) {
            (Some(effort), frame) if frame.is_none() || options.method != Method::Zstd => {
                let steps = match index {
                    Some(index) => index.edit(&target, jobs),
                    None => bsdiff::edit(bytes, &target, effort, jobs),
                };
                match frame {
                    Some(frame)
                        if (frame.len() as u64)
                            < trial_size(&steps, source, segment, layers, TRIAL_LEVEL)? =>
                    {
                        return Ok(Some(Edit::ZstdFrame(frame)));
                    }
                    _ => steps,
                }
            }
            (_, frame) => return Ok(frame.map(Edit::ZstdFrame)),
        };
        let Some((effort, _)) = budget::realignment(bytes.len() as u64, target.len() as u64, options) else {
            return Ok(Some(Edit::Steps(steps)));
        };
        let trial = |steps: &[Step], level| trial_size(steps, source, segment, layers, level);
        if !options.sees_through {
            return Ok(Some(Edit::Steps(match realign::steps(bytes, &target, &steps, effort, jobs) {
                Some(other) if trial(&other, TRIAL_LEVEL)? < trial(&steps, TRIAL_LEVEL)? => other,
                _ => steps,
            })));
        }
        let Some(made) = relocate::payload(bytes, &target, &steps, effort, jobs, target.len() as u64) else {
            return Ok(Some(Edit::Steps(steps)));
        };
        let mut plain = (trial(&steps, relocate::TRIAL_LEVEL)?, steps);
        if let Some(other) = made.realigned {
            let size = trial(&other, relocate::TRIAL_LEVEL)?;
            plain = if size < plain.0 { (size, other) } else { plain };
        }
        let (size, steps) = plain;
        Ok(Some(match made.payload.and_then(|payload| relocate::smaller(payload, size)) {
            Some(payload) => Edit::Relocated(steps, payload),
            None => Edit::Steps(steps),
        }))
    }

    /// The edit through views, if there is one and it pays.
    fn viewed(&self, source: &[u8], target: &[u8], jobs: NonZeroUsize) -> Result<Option<Viewed>> {
        let Some(store) = self.store.filter(|_| recode::is_compressed(target)) else { return Ok(None) };
        let sizes = [source.len() as u64, target.len() as u64];
        let is_lopsided = budget::is_lopsided(sizes[0], sizes[1], MAX_WHOLE_RATIO, MIN_WHOLE_SOURCE);
        let source = if is_lopsided { &[] } else { source };
        let mut refusals = Refusals::new();
        let limits = views::Limits::of_pair(source.len() as u64, target.len() as u64, self.viewed);
        let viewed = views::edit((source, target), self.options, jobs, store, &limits, &mut refusals)?;
        let mut all = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.into_iter().for_each(|(reason, count)| *all.entry(reason).or_default() += count);
        Ok(viewed)
    }
}

fn size(range: &std::ops::Range<u64>) -> u64 {
    range.end - range.start
}

/// Size in bytes of a delta of these steps alone.
fn trial_size(
    steps: &[Step],
    source: &Source,
    segment: &Segment,
    layers: Layers<'_>,
    level: i32,
) -> Result<u64> {
    let encoding = Encoding { level, ..Encoding::default() };
    let mut writer = OpWriter::new(Counter::default(), Version::V2, encoding)?;
    write_steps(&mut writer, None, steps, Pair::of(segment, source, layers), &mut Stats::default())?;
    Ok(writer.finish()?.0.bytes())
}
