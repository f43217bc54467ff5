//! Seeing through compression (tardf3): compares what compressed files hold, not their bytes.
//!
//! ```text
//! source file   [head][= stream =][gap][= stream =][tail]
//!                         | decode          | decode
//! as it is read [head][ plain ........ ][gap][ plain ... ][tail]     Op::OpenView
//!
//! as it is made [head][ plain ........ ][gap][ plain ... ][tail]     steps of bsdiff
//!                         | encode          | encode
//! target file   [head][= stream =][gap][= stream =][tail]            Op::Reencode
//! ```
//!
//! A stream of the target is opened only if a recipe makes it again, bit for bit; one that the
//! source has, too, stays closed on both sides and is copied as it is.

mod expand;
mod store;
mod trial;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use delta_format::wire::{MAX_ENCODER_MEMORY, MAX_VIEW_SIZE};
use delta_format::{View, Work};
use layer::Spool;
use recode::Budget;

use crate::edit::Viewed;
use crate::options::DiffOptions;
use crate::{Result, bsdiff, budget, relocate};

pub(crate) use store::Store;

/// Share of the memory budget that what one file decodes to may take: source and target, what they
/// are decoded to and what is made of that are held at once, by several threads.
const MEMORY_SHARE: u64 = 16;

/// Bytes that a byte of a compressed file holds, most often.
const TYPICAL_RATIO: u64 = 6;

/// Units of work of a [`Budget`] that comparing a decoded byte costs.
const COMPARE_WORK: u64 = 80;

/// The limits of seeing through one pair of a source and a target. The share of a pair does not depend on the
/// other pairs, so that the delta is the same however many threads make it.
#[derive(Debug)]
pub(crate) struct Limits {
    /// The search for streams and for what makes them.
    search: Budget,
    /// Units of work that an applier does to encode, beside what the streams are granted by their sizes.
    encoding: u64,
    /// Units of work that an applier does to read the source through its view.
    reading: u64,
}

impl Limits {
    /// The limits of one of `files` pairs, by the sizes of its source and target in bytes.
    pub(crate) fn of_pair(source: u64, target: u64, files: u64) -> Self {
        Self {
            search: Budget::of_share(source.saturating_add(target), files).with_memory(MAX_ENCODER_MEMORY),
            encoding: Work::encoding_share(files),
            reading: Work::reading_of_file(target, files),
        }
    }
}

/// The reasons why streams were not opened, each with the number of the streams.
pub(crate) type Refusals = BTreeMap<&'static str, u64>;

/// Returns true if the file in a range of a layer may hold streams: a look at its first bytes.
///
/// # Errors
/// If the layer cannot be read.
pub(crate) fn may_hold_streams(layer: &Spool, file: &Range<u64>) -> Result<bool> {
    let end = file.end.min(file.start + recode::HEAD_SIZE as u64);
    Ok(recode::is_compressed(&layer.read_range(file.start..end)?))
}

/// Most bytes that one file may decode to.
fn max_plain(options: &DiffOptions) -> u64 {
    MAX_VIEW_SIZE.min(options.memory / MEMORY_SHARE)
}

/// Memory in bytes that a recipe through views takes, about: what files decode to is known only
/// once they are decoded.
pub(crate) fn memory(source: u64, target: u64, options: &DiffOptions) -> u64 {
    let decoded = |size: u64| (size * TYPICAL_RATIO).min(max_plain(options));
    let (source, target) = (decoded(source), decoded(target));
    // Streams, and the files that are made of them.
    let held = 2 * (source + target);
    held + budget::effort(source, target, options).map_or(0, |(_, memory)| memory)
        + budget::realignment(source, target, options).map_or(0, |(_, memory)| memory)
}

/// The recipe of a target through views, if that is smaller than one of its bytes as they are and the
/// limits are wide enough to see it. Counts in `refusals` the streams that cannot be made again.
///
/// # Errors
/// If the store cannot be written.
pub(crate) fn edit(
    (source, target): (&[u8], &[u8]),
    options: &DiffOptions,
    jobs: NonZeroUsize,
    store: &Store,
    limits: &Limits,
    refusals: &mut Refusals,
) -> Result<Option<Viewed>> {
    let max_plain = usize::try_from(max_plain(options)).unwrap_or(usize::MAX);
    let Some(expanded) = expand::expand(source, target, max_plain, limits, refusals) else { return Ok(None) };
    let sizes = [&expanded.source, &expanded.target].map(|bytes| bytes.len() as u64);
    if !limits.search.charge((sizes[0] + sizes[1]) * COMPARE_WORK) {
        *refusals.entry(recode::Refused::OverBudget.name()).or_default() += 1;
        return Ok(None);
    }
    let Some((effort, _)) = budget::effort(sizes[0], sizes[1], options) else { return Ok(None) };
    let steps = bsdiff::edit(&expanded.source, &expanded.target, effort, jobs);
    let payload = if let Some((effort, _)) = budget::realignment(sizes[0], sizes[1], options) {
        let encoded_size = target.len() as u64;
        relocate::payload(&expanded.source, &expanded.target, &steps, effort, jobs, encoded_size)
    } else {
        None
    };
    let Some(payload) = trial::best(&expanded, &steps, payload.and_then(|made| made.payload)) else {
        return Ok(None);
    };
    let view = (!expanded.view.is_empty()).then(|| Arc::<View>::new(expanded.view));
    Ok(Some(Viewed {
        steps,
        payload,
        source: store.append(&expanded.source)?,
        view,
        target: store.append(&expanded.target)?,
        stretches: expanded.stretches,
    }))
}
