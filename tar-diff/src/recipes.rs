//! Makes the recipes of a plan, in parallel.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use delta_format::{Encoding, OpWriter, Version};
use layer::Spool;

use crate::emit::{Layers, write_steps};
use crate::options::{DiffOptions, Method};
use crate::plan::{Plan, Segment, SegmentKind, Source};
use crate::recipe::{Pair, Recipe, Step, Viewed};
use crate::views::{self, Refusals};
use crate::{Error, Result, Stats, bsdiff, budget, rollsum, workers, zstd_dict};

/// zstd level for the trial that decides between two recipes.
const TRIAL_LEVEL: i32 = 3;
/// Memory in bytes of a recipe that is made of chunks, beside 1/64 of the source.
const CHUNKS_MEMORY: u64 = 256 << 10;

/// The recipes of a plan, by segment, and what they need to be written.
pub(crate) struct Recipes {
    pub(crate) by_segment: Vec<Option<Recipe>>,
    /// The files that recipes through views lie in, if any was looked for.
    pub(crate) decoded: Option<Spool>,
    /// The compressed streams that cannot be made again.
    pub(crate) refusals: Refusals,
}

/// Makes the recipe of each segment that is made of a source, on `options.jobs` threads, largest first. Segments
/// of other kinds have none. `progress` is told the bytes of target that are done.
///
/// # Errors
/// If a layer cannot be read, or decoded files cannot be kept.
pub(crate) fn recipes(
    plan: &Plan,
    layers: Layers<'_>,
    options: &DiffOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Recipes> {
    let store = options.sees_through.then(|| views::Store::new(&options.temp_dir)).transpose()?;
    let mut maker = Maker { layers, options, store: store.as_ref(), viewed: 0, refusals: Mutex::default() };
    let mut made_of_source = Vec::new();
    for (index, segment) in plan.segments.iter().enumerate() {
        if matches!(segment.kind, SegmentKind::Similar(_) | SegmentKind::Compressed) {
            maker.viewed += u64::from(maker.may_be_viewed(segment)?);
            made_of_source.push((maker.memory(segment)?, index));
        }
    }
    // The largest take longest; started last they would keep one thread busy alone.
    made_of_source.sort_by_key(|(memory, _)| std::cmp::Reverse(*memory));
    let share = options.memory / options.jobs.get() as u64;
    let huge = made_of_source.partition_point(|(memory, _)| *memory > share);
    let make = |index: usize, jobs: NonZeroUsize| {
        let segment = &plan.segments[index];
        let recipe = maker.recipe(segment, jobs)?;
        progress(segment.target.end - segment.target.start);
        Ok::<_, Error>(recipe)
    };
    // So large that there is no memory for as many of them as there are jobs: one after the other,
    // with all jobs on each.
    let mut made = Vec::with_capacity(made_of_source.len());
    for (_, index) in &made_of_source[..huge] {
        made.push(make(*index, options.jobs)?);
    }
    made.extend(workers::map(options.jobs, made_of_source.len() - huge, |rank| {
        make(made_of_source[huge + rank].1, NonZeroUsize::MIN)
    })?);
    let refusals = maker.refusals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut by_segment: Vec<Option<Recipe>> = vec![None; plan.segments.len()];
    for ((_, index), recipe) in made_of_source.into_iter().zip(made) {
        by_segment[index] = recipe;
    }
    Ok(Recipes { by_segment, decoded: store.map(views::Store::into_spool), refusals })
}

/// What recipes are made with.
struct Maker<'m> {
    layers: Layers<'m>,
    options: &'m DiffOptions,
    /// Where decoded files go; `None` if no file is seen through.
    store: Option<&'m views::Store>,
    /// The targets that may be made through views, which share what that may cost.
    viewed: u64,
    refusals: Mutex<Refusals>,
}

impl Maker<'_> {
    /// Memory in bytes that the recipe of a segment takes while it is made.
    fn memory(&self, segment: &Segment) -> Result<u64> {
        let target = segment.target.end - segment.target.start;
        let (source, plain) = match &segment.kind {
            SegmentKind::Similar(source) => {
                let source = source.data.end - source.data.start;
                let effort = budget::effort(source, target, self.options);
                (source, effort.map_or(source / 64 + CHUNKS_MEMORY, |(_, memory)| memory))
            }
            _ => (0, 0),
        };
        let viewed =
            if self.may_be_viewed(segment)? { views::memory(source, target, self.options) } else { 0 };
        Ok(plain.max(viewed))
    }

    /// Returns whether the target of a segment may hold streams that are to be seen through.
    fn may_be_viewed(&self, segment: &Segment) -> Result<bool> {
        Ok(self.store.is_some() && views::may_hold_streams(self.layers.new, &segment.target)?)
    }

    fn recipe(&self, segment: &Segment, jobs: NonZeroUsize) -> Result<Option<Recipe>> {
        let SegmentKind::Similar(source) = &segment.kind else {
            let target = self.layers.new.read_range(segment.target.clone())?;
            return Ok(self.viewed(&[], &target, jobs)?.map(Recipe::Viewed));
        };
        let (layers, options) = (self.layers, self.options);
        let old = &layers.old[source.layer];
        let source_size = source.data.end - source.data.start;
        let target_size = segment.target.end - segment.target.start;
        let effort = budget::effort(source_size, target_size, options);
        let dict_fits = source_size.max(target_size) <= delta_format::wire::MAX_DICT_SIZE;
        let dict_wanted = dict_fits && options.method != Method::Bsdiff;
        if effort.is_none() && !dict_wanted {
            let steps = rollsum::recipe((old, source.data.clone()), (layers.new, segment.target.clone()))?;
            return Ok(Some(Recipe::Steps(steps)));
        }
        let source_bytes = old.read_range(source.data.clone())?;
        let target = layers.new.read_range(segment.target.clone())?;
        if let Some(viewed) = self.viewed(&source_bytes, &target, jobs)? {
            return Ok(Some(Recipe::Viewed(viewed)));
        }
        let frame = if dict_wanted {
            let frame = zstd_dict::frame(&source_bytes, &target, options.level)
                .map_err(|error| Error::ZstdDict { path: source.path.to_string(), source: error })?;
            Some(frame)
        } else {
            None
        };
        let steps = match (effort, frame) {
            (Some((effort, _)), frame) if frame.is_none() || options.method != Method::Zstd => {
                let steps = bsdiff::recipe(&source_bytes, &target, effort, jobs);
                match frame {
                    Some(frame) if (frame.len() as u64) < trial_size(&steps, source, segment, layers)? => {
                        return Ok(Some(Recipe::ZstdFrame(frame)));
                    }
                    _ => steps,
                }
            }
            (_, frame) => return Ok(frame.map(Recipe::ZstdFrame)),
        };
        Ok(Some(Recipe::Steps(steps)))
    }

    /// The recipe through views, if there is one and it pays.
    fn viewed(&self, source: &[u8], target: &[u8], jobs: NonZeroUsize) -> Result<Option<Viewed>> {
        let Some(store) = self.store.filter(|_| recode::is_compressed(target)) else { return Ok(None) };
        let mut refusals = Refusals::new();
        let mut work = views::budget_of((source.len() + target.len()) as u64, self.viewed);
        let viewed = views::recipe((source, target), self.options, jobs, store, &mut work, &mut refusals)?;
        let mut all = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.into_iter().for_each(|(reason, count)| *all.entry(reason).or_default() += count);
        Ok(viewed)
    }
}

/// Size in bytes of a delta of these steps alone.
fn trial_size(steps: &[Step], source: &Source, segment: &Segment, layers: Layers<'_>) -> Result<u64> {
    let encoding = Encoding { level: TRIAL_LEVEL, ..Encoding::default() };
    let mut writer = OpWriter::new(Vec::new(), Version::V2, encoding)?;
    write_steps(&mut writer, steps, Pair::of(segment, source, layers), &mut Stats::default())?;
    Ok(writer.finish()?.0.len() as u64)
}
