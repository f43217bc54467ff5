//! Writes the ops of a plan in target order.

mod framing;
mod relocations;
mod segments;
mod xz;

use std::cell::Cell;
use std::io::Write;
use std::num::NonZeroUsize;

use delta_format::{Encoding, LesserEffort, OpWriter, Version};
use framing::Framing;
use layer::Entry;
use relocations::{Form, Relocations, TRIAL_LEVEL, Trials};
use segments::Made;

use crate::edit::{Edit, Viewed};
use crate::edits::Edits;
use crate::meter::{COMMON_IN_STREAM, Meter, WRITE_COST, compression_cost};
use crate::options::{DiffOptions, Method};
use crate::plan::{Plan, SegmentKind};
use crate::sides::Layers;
use crate::{Result, Stats, budget};

/// Bytes of the op stream that a thread compresses at a time: little memory, and enough that what
/// is lost at the seams does not show.
const COMPRESSION_JOB_SIZE: u32 = 8 << 20;
/// Jobs of the compressor that wait or are under way when the last op is written, about.
const QUEUED_JOBS: u64 = 3;
/// An eighth of the window: seams of jobs this small show no more, and cost a tenth less time.
const COMPRESSION_OVERLAP_LOG: u32 = 6;
/// Levels from here on use a window of [`LONG_WINDOW_LOG`] and find long repeats all over it.
const MIN_LONG_LEVEL: i32 = 16;
/// The effort for the rest of a long stream that has little in common with its sources: tables of 4 million links
/// instead of 16 million miss the processor's caches less, which saves up to a quarter of the time for 0.5 to 1.5%
/// in size.
const LESSER_EFFORT: LesserEffort = LesserEffort { after: 8 << 20, level: 18, table_log: 22 };
/// A stream that is over a third as large as the layer: the sources give little. An ordinary update has a seventh,
/// and all of its stream is worth all the effort.
const LESSENED_SHARE: u64 = 3;
/// Levels above have all the time that there is.
const MAX_LESSENED_LEVEL: i32 = 19;
/// Base-2 logarithm of that window in bytes: files that a layer has twice are this near, most often,
/// and an applier can afford the memory.
const LONG_WINDOW_LOG: u32 = 25;
/// The least window that zstd takes at these levels for small inputs.
const MIN_WINDOW_LOG: u32 = 17;
/// Trials of a delta that may be a tardf3, most often.
const EXPECTED_TRIALS: u64 = 2;
/// The op stream has each byte of the layer once at most, and less than that again of ops and paths.
const MAX_STREAM_RATIO: u64 = 2;

/// Writes the delta: every segment in order, made by its edit. The entries are those of the new tar.
pub(crate) fn write<W: Write>(
    (plan, entries): (&Plan, &[Entry]),
    edits: Edits,
    layers: Layers<'_>,
    options: &DiffOptions,
    output: W,
    meter: &Meter<'_>,
) -> Result<(W, Stats)> {
    let Edits { by_segment, decoded, refusals, reduced } = edits;
    let framing = match options.sees_through {
        true => Framing::new(plan, &by_segment, entries, layers.new)?,
        false => Framing::default(),
    };
    let made = Made {
        plan,
        edits: &by_segment,
        decoded: decoded.as_ref(),
        framing: &framing,
        layers,
        skims: options.skims,
    };
    let (level, threads) = budget::compression(options);
    let per_byte = compression_cost(level);
    let cost_of = |relocations, per_byte| {
        layers.new.size() * WRITE_COST + expected_stream(plan, &by_segment, relocations) * per_byte
    };
    let trials = Trials {
        level: level.min(TRIAL_LEVEL),
        window_log: window_log(layers.new.size()),
        cost: cost_of(Relocations::None, compression_cost(level.min(TRIAL_LEVEL))),
        later: cost_of(Relocations::All, per_byte),
        meter,
        are_sizes_used: level >= MIN_LONG_LEVEL,
    };
    let chosen = trials.choose(&made)?;
    let form = chosen.form;
    // The oldest version that has all ops: more clients read it.
    let version = match options.method {
        _ if form.is_tardf3 => Version::V3,
        Method::Bsdiff => Version::V1,
        Method::Zstd | Method::Auto => Version::V2,
    };
    let stream = expected_stream(plan, &by_segment, form.relocations);
    let is_lessened = (LESSER_EFFORT.level..=MAX_LESSENED_LEVEL).contains(&level);
    let lesser = (is_lessened && stream * LESSENED_SHARE > layers.new.size()).then_some(LESSER_EFFORT);
    let encoding = Encoding { lesser, ..encoding(level, threads, layers.new.size()) };
    let stats = Stats {
        target_size: layers.new.size(),
        compared_sources: plan.compared,
        refused_streams: refusals,
        reduced,
        ..Stats::default()
    };
    let compression = Compression { encoding, version, form, stream, per_byte };
    let Some(dictionary) = xz::dictionary(&chosen, level, layers.new.size(), options) else {
        let written = compression.write(&made, stats, output, (meter, 0))?;
        meter.finish();
        return Ok(written);
    };
    let with_lzma =
        Compression { encoding: Encoding { xz_dictionary: Some(dictionary), ..encoding }, ..compression };
    let later = layers.new.size() * WRITE_COST + stream * per_byte;
    let mut smallest = with_lzma.write(&made, stats.clone(), Vec::new(), (meter, later))?;
    if !xz::is_surely_smaller(smallest.0.len(), &chosen) {
        smallest.0.shrink_to_fit();
        let with_zstd = compression.write(&made, stats, Vec::new(), (meter, 0))?;
        if with_zstd.0.len() <= smallest.0.len() {
            smallest = with_zstd;
        }
    }
    meter.finish();
    let (bytes, stats) = smallest;
    let mut output = output;
    output.write_all(&bytes).map_err(delta_format::Error::Output)?;
    Ok((output, stats))
}

/// The way in which a delta is written, and what that costs.
#[derive(Debug, Clone, Copy)]
struct Compression {
    encoding: Encoding,
    version: Version,
    form: Form,
    /// Bytes of the op stream, about, and the cost of each.
    stream: u64,
    per_byte: u64,
}

impl Compression {
    /// Writes the ops. The meter is told that so much may come later.
    fn write<W: Write>(
        &self,
        made: &Made<'_>,
        mut stats: Stats,
        output: W,
        (meter, later): (&Meter<'_>, u64),
    ) -> Result<(W, Stats)> {
        let Self { encoding, version, form, stream, per_byte } = *self;
        let layer_size = made.layers.new.size();
        let mut writer = OpWriter::new(output, version, encoding)?;
        let queued = if encoding.xz_dictionary.is_some() { 0 } else { QUEUED_JOBS };
        let tail = stream.min(queued * u64::from(COMPRESSION_JOB_SIZE)) * per_byte;
        meter.start(layer_size * WRITE_COST + stream * per_byte - tail, tail + later);
        let mut compressed = 0;
        segments::write(&mut writer, made, form, &mut stats, |writer, size| {
            let (_, now) = writer.progress();
            meter.advance(size * WRITE_COST + now.saturating_sub(compressed) * per_byte);
            compressed = now;
        })?;
        // The threads still have most of a small stream before them.
        let (given, _) = writer.progress();
        meter.start(given.saturating_sub(compressed) * per_byte, later);
        let last = Cell::new(compressed);
        let (output, written) = writer.finish_watched(&|now| {
            meter.advance(now.saturating_sub(last.replace(now)) * per_byte);
        })?;
        Ok((output, Stats { written, ..stats }))
    }
}

/// Returns the cost of writing the delta of a plan whose edits are not made yet, as the meter counts it.
pub(crate) fn expected_cost(plan: &Plan, options: &DiffOptions) -> u64 {
    let level = budget::compression(options).0;
    let trials = if options.sees_through { EXPECTED_TRIALS } else { 0 };
    let per_byte = compression_cost(level) + trials * compression_cost(level.min(TRIAL_LEVEL));
    let costs = plan.segments.iter().map(|segment| {
        let size = segment.target.end - segment.target.start;
        (1 + trials) * size * WRITE_COST
            + match segment.kind {
                SegmentKind::Same(_) => 0,
                SegmentKind::Similar(_) => size / COMMON_IN_STREAM * per_byte,
                SegmentKind::Literal | SegmentKind::Compressed => size * per_byte,
            }
    });
    costs.sum()
}

/// Bytes of the op stream, about.
fn expected_stream(plan: &Plan, edits: &[Option<Edit>], relocations: Relocations) -> u64 {
    let sizes = plan.segments.iter().zip(edits).map(|(segment, edit)| {
        let Some(edit) = edit else {
            let is_same = matches!(segment.kind, SegmentKind::Same(_));
            return if is_same { 0 } else { segment.target.end - segment.target.start };
        };
        if let Some(payload) = relocations.of(edit) {
            return payload.len() as u64;
        }
        match edit {
            Edit::ZstdFrame(frame) => frame.len() as u64,
            Edit::Steps(steps) | Edit::Relocated(steps, _) | Edit::Viewed(Viewed { steps, .. }) => {
                steps.iter().map(|step| step.literal + step.add / COMMON_IN_STREAM).sum()
            }
        }
    });
    sizes.sum()
}

/// Returns the compression of the op stream of a delta to a layer of about this size.
pub(crate) fn encoding(level: i32, threads: NonZeroUsize, size: u64) -> Encoding {
    Encoding {
        level,
        // Also for one: more than none changes the bytes, their number does not.
        workers: u32::try_from(threads.get()).unwrap_or(u32::MAX),
        job_size: Some(COMPRESSION_JOB_SIZE),
        overlap_log: Some(COMPRESSION_OVERLAP_LOG),
        stream_size: Some(size.saturating_mul(MAX_STREAM_RATIO)),
        skip_incompressible: true,
        window_log: (level >= MIN_LONG_LEVEL).then(|| window_log(size)),
        long_distance: level >= MIN_LONG_LEVEL,
        ..Encoding::default()
    }
}

/// Base-2 logarithm of the window for an op stream of a layer of `size` bytes, which is rarely longer:
/// an applier takes memory for all of it.
fn window_log(size: u64) -> u32 {
    size.next_power_of_two().trailing_zeros().clamp(MIN_WINDOW_LOG, LONG_WINDOW_LOG)
}
