//! Runs a plan: makes the recipes in parallel, then writes the ops in target order.

use std::io::Write;
use std::num::NonZeroUsize;

use delta_format::{Encoding, OpWriter, Version};
use layer::Spool;

use crate::fingerprint::for_each_chunk;
use crate::options::{DiffOptions, Method};
use crate::plan::{Plan, Segment, SegmentKind, Source};
use crate::recipe::{Recipe, Step};
use crate::weigh::{self, Weigher};
use crate::workers;
use crate::{Error, Result, Stats, bsdiff, budget, rollsum, zstd_dict};

/// Equal bytes in a row from which on they are copied and not added: shorter runs cost more as ops
/// than as zeros.
const MIN_COPY: usize = 256;
/// Bytes of source and target that are compared at once.
const CHUNK_SIZE: usize = 256 << 10;
/// Bytes of the op stream that a thread compresses at a time: little memory, and enough that what
/// is lost at the seams does not show.
const COMPRESSION_JOB_SIZE: u32 = 8 << 20;
/// An eighth of the window: seams of jobs this small show no more, and cost a tenth less time.
const COMPRESSION_OVERLAP_LOG: u32 = 6;
/// Levels from here on use a window of [`LONG_WINDOW_LOG`] and find long repeats all over it.
const MIN_LONG_LEVEL: i32 = 16;
/// Base-2 logarithm of that window in bytes: files that a layer has twice are this near, most often,
/// and an applier can afford the memory.
const LONG_WINDOW_LOG: u32 = 25;
/// What zstd takes at least at these levels for small inputs.
const MIN_WINDOW_LOG: u32 = 17;
/// zstd level for the trial that decides between two recipes.
const TRIAL_LEVEL: i32 = 3;

/// Both sides of a diff.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers<'l> {
    pub(crate) old: &'l [Spool],
    pub(crate) new: &'l Spool,
}

/// Makes the recipe of each segment that is made of a source, on `options.jobs` threads, largest first. Segments
/// of other kinds have none. `progress` is told the bytes of target that are done.
pub(crate) fn recipes(
    plan: &Plan,
    layers: Layers<'_>,
    options: &DiffOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Option<Recipe>>> {
    let mut made_of_source: Vec<usize> =
        (0..plan.segments.len()).filter(|index| needs_recipe(&plan.segments[*index])).collect();
    // The largest take longest; started last they would keep one thread busy alone.
    made_of_source.sort_by_cached_key(|index| std::cmp::Reverse(memory(&plan.segments[*index], options)));
    let huge = made_of_source.partition_point(|index| {
        memory(&plan.segments[*index], options) > options.memory / options.jobs.get() as u64
    });
    let make = |index: usize, jobs: NonZeroUsize| {
        let segment = &plan.segments[index];
        let recipe = recipe(segment, layers, options, jobs)?;
        progress(segment.target.end - segment.target.start);
        Ok::<_, Error>(recipe)
    };
    // So large that there is no memory for as many of them as there are jobs: one after the other,
    // with all jobs on each.
    let mut made = Vec::with_capacity(made_of_source.len());
    for index in &made_of_source[..huge] {
        made.push(make(*index, options.jobs)?);
    }
    made.extend(workers::map(options.jobs, made_of_source.len() - huge, |rank| {
        make(made_of_source[huge + rank], NonZeroUsize::MIN)
    })?);
    let mut recipes: Vec<Option<Recipe>> = vec![None; plan.segments.len()];
    for (index, recipe) in made_of_source.into_iter().zip(made) {
        recipes[index] = recipe;
    }
    Ok(recipes)
}

const fn needs_recipe(segment: &Segment) -> bool {
    matches!(segment.kind, SegmentKind::Similar(_))
}

/// Memory in bytes that the recipe of a segment takes while it is made.
fn memory(segment: &Segment, options: &DiffOptions) -> u64 {
    let SegmentKind::Similar(source) = &segment.kind else { return 0 };
    let (source, target) = (source.data.end - source.data.start, segment.target.end - segment.target.start);
    match budget::effort(source, target, options) {
        Some((_, memory)) => memory,
        None => source / 64 + CHUNK_SIZE as u64,
    }
}

fn recipe(
    segment: &Segment,
    layers: Layers<'_>,
    options: &DiffOptions,
    jobs: NonZeroUsize,
) -> Result<Option<Recipe>> {
    let SegmentKind::Similar(source) = &segment.kind else {
        return Ok(None);
    };
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

/// Size in bytes of a delta of these steps alone.
fn trial_size(steps: &[Step], source: &Source, segment: &Segment, layers: Layers<'_>) -> Result<u64> {
    let encoding = Encoding { level: TRIAL_LEVEL, ..Encoding::default() };
    let mut writer = OpWriter::new(Vec::new(), Version::V2, encoding)?;
    write_steps(&mut writer, steps, source, segment, layers, &mut Stats::default())?;
    Ok(writer.finish()?.0.len() as u64)
}

/// Writes the delta: every segment in order, made by its recipe.
pub(crate) fn write<W: Write>(
    plan: &Plan,
    recipes: Vec<Option<Recipe>>,
    layers: Layers<'_>,
    options: &DiffOptions,
    output: W,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(W, Stats)> {
    let version = if options.method == Method::Bsdiff { Version::V1 } else { Version::V2 };
    let (level, threads) = budget::compression(options);
    let encoding = Encoding {
        level,
        // Also for one: more than none changes the bytes, their number does not.
        workers: u32::try_from(threads.get()).unwrap_or(u32::MAX),
        job_size: Some(COMPRESSION_JOB_SIZE),
        overlap_log: Some(COMPRESSION_OVERLAP_LOG),
        skip_incompressible: true,
        window_log: (level >= MIN_LONG_LEVEL).then(|| window_log(layers.new.size())),
        long_distance: level >= MIN_LONG_LEVEL,
    };
    let mut writer = OpWriter::new(output, version, encoding)?;
    let mut weigher = Weigher::new();
    let mut stats = Stats { target_size: layers.new.size(), ..Stats::default() };
    for (segment, recipe) in plan.segments.iter().zip(recipes) {
        let size = segment.target.end - segment.target.start;
        match (&segment.kind, recipe) {
            (SegmentKind::Similar(source), Some(Recipe::ZstdFrame(frame))) => {
                writer.zstd_dict(&source.path, &frame)?;
                stats.similar.count(size);
                stats.zstd_dict_files += 1;
            }
            (SegmentKind::Similar(source), Some(Recipe::Steps(steps))) => {
                let old = &layers.old[source.layer];
                let steps = weigher.cheapest(&steps, (old, source), (layers.new, &segment.target))?;
                write_steps(&mut writer, &steps, source, segment, layers, &mut stats)?;
                stats.similar.count(size);
            }
            (SegmentKind::Same(source), _) => {
                writer.copy(&source.path, 0, size)?;
                stats.same.count(size);
                progress(size);
            }
            (SegmentKind::Literal | SegmentKind::Similar(_), _) => {
                for_each_chunk(layers.new, segment.target.clone(), weigh::CHUNK_SIZE, |bytes| {
                    weigher.append(bytes);
                    Ok(writer.literal(bytes)?)
                })?;
                stats.literal.count(size);
                progress(size);
            }
        }
    }
    let (output, written) = writer.finish()?;
    stats.set_written(&written);
    Ok((output, stats))
}

/// Base-2 logarithm of the window for an op stream of a layer of `size` bytes, which is rarely longer:
/// an applier takes memory for all of it.
fn window_log(size: u64) -> u32 {
    size.next_power_of_two().trailing_zeros().clamp(MIN_WINDOW_LOG, LONG_WINDOW_LOG)
}

/// Writes the ops of one file.
fn write_steps<W: Write>(
    writer: &mut OpWriter<W>,
    steps: &[Step],
    source: &Source,
    segment: &Segment,
    layers: Layers<'_>,
    stats: &mut Stats,
) -> Result<()> {
    let mut target = segment.target.start;
    let mut along = vec![0; CHUNK_SIZE];
    for step in steps {
        let mut offset = step.source;
        for_each_chunk(layers.new, target..target + step.add, CHUNK_SIZE, |bytes| {
            let along = &mut along[..bytes.len()];
            layers.old[source.layer].read_exact_at(along, source.data.start + offset)?;
            write_difference(writer, source, offset, along, bytes)?;
            offset += bytes.len() as u64;
            Ok(())
        })?;
        target += step.add;
        for_each_chunk(layers.new, target..target + step.literal, CHUNK_SIZE, |bytes| {
            Ok(writer.literal(bytes)?)
        })?;
        target += step.literal;
        stats.steps += 1;
        stats.similar_literal_size += step.literal;
    }
    Ok(())
}

/// Writes a stretch of the target that lies along the source from `offset` on: long equal runs as
/// copies, the rest as differences. `along` holds the source's bytes and is overwritten.
fn write_difference<W: Write>(
    writer: &mut OpWriter<W>,
    source: &Source,
    offset: u64,
    along: &mut [u8],
    target: &[u8],
) -> Result<()> {
    for (along, target) in along.iter_mut().zip(target) {
        *along = target.wrapping_sub(*along);
    }
    let mut start = 0;
    let mut zeros = 0;
    let add = |writer: &mut OpWriter<W>, from: usize, to: usize, difference: &[u8]| {
        writer.add(&source.path, offset + from as u64, &difference[from..to])
    };
    for index in 0..=along.len() {
        if along.get(index) == Some(&0) {
            zeros += 1;
            continue;
        }
        // A run that fills the chunk may go on in the next one; the writer merges copies.
        if zeros >= MIN_COPY || zeros == along.len() && zeros > 0 {
            let run = index - zeros;
            add(writer, start, run, along)?;
            writer.copy(&source.path, offset + run as u64, zeros as u64)?;
            start = index;
        }
        zeros = 0;
    }
    Ok(add(writer, start, along.len(), along)?)
}
