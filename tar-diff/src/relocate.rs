//! Makes the payloads of relocated ops (tardf3): what moved in a program is predicted, and what the ops of a
//! file are alike in stands together.
//!
//! Better steps make better predictions, and those better steps (`realign.rs`): that goes on for as long as it pays.

use std::num::NonZeroUsize;

use delta_format::Work;
use delta_format::wire::MAX_RELOCATED_SIZE;
use program::Prepared;

use crate::edit::{Payload, Step};
use crate::gram_index::Effort;
use crate::realign::{self, Change, Programs};
use crate::weigh;

/// Rounds in which blocks are looked for once more: another one gives less than 1%.
const MAX_ROUNDS: usize = 2;
/// A round that makes the payload smaller by less than this part of it is the last.
const MIN_GAIN: u64 = 64;
/// zstd level that tells which of two payloads is smaller.
const QUICK_LEVEL: i32 = 3;
/// The part of its size, and the bytes, by which a payload must be smaller than steps in a trial.
const MARGIN: u64 = 64;
const LEAST_MARGIN: u64 = 48;
/// Percent of the size of steps below which a payload is smaller by far: what steps gain in a delta of many
/// files is less.
const MUCH_SMALLER: u64 = 70;
/// zstd level of trials.
pub(crate) const TRIAL_LEVEL: i32 = 9;
/// Fewer new bytes are not packed: among those of other files they take no more, and less time.
const LEAST_PACKED: usize = 64 << 10;
/// Edits of fewer steps have nothing that could stand together.
const MIN_STEPS: usize = 4;

/// The payload and the steps that were made of a source and a target.
#[derive(Debug)]
pub(crate) struct Relocated {
    /// The payload of a relocated op. `None` if an applier would have to do too much for it.
    pub(crate) payload: Option<Vec<u8>>,
    /// The steps of the first round, if both files are programs. They may be better than those before it also
    /// where nothing is relocated.
    pub(crate) realigned: Option<Vec<Step>>,
}

/// Makes a relocated op for a target whose edit has these steps, if one may be smaller than they are. The target has
/// `encoded_size` bytes in the layer, which bound the time that an applier may take for the op.
pub(crate) fn payload(
    source: &[u8],
    target: &[u8],
    steps: &[Step],
    effort: Effort,
    jobs: NonZeroUsize,
    encoded_size: u64,
) -> Option<Relocated> {
    let (payload, realigned) = smallest(source, target, steps, effort, jobs)?;
    let is_cheap = |payload: &Vec<u8>| {
        Prepared::new(payload, source).is_ok_and(|it| it.work() <= Work::relocating(encoded_size))
    };
    let packed = program::pack(&payload, source, LEAST_PACKED).filter(is_cheap);
    Some(Relocated { payload: packed.or_else(|| Some(payload).filter(is_cheap)), realigned })
}

/// The smallest payload of all rounds, and the steps of the first.
fn smallest(
    source: &[u8],
    target: &[u8],
    steps: &[Step],
    effort: Effort,
    jobs: NonZeroUsize,
) -> Option<(Vec<u8>, Option<Vec<Step>>)> {
    if source.len().max(target.len()) as u64 > MAX_RELOCATED_SIZE || steps.is_empty() {
        return None;
    }
    if Change::of(source, target, steps).is_small() {
        return None;
    }
    let Some(programs) = Programs::of(source, target, effort, jobs) else {
        if steps.len() < MIN_STEPS {
            return None;
        }
        let settled = weigh::settled(steps, (source, target), target, realign::literals(effort));
        let encoded = program::encode(source, target, &realign::blocks(&settled), None).ok()?;
        return Some((encoded.payload, None));
    };
    let mut last = programs.draft(steps)?;
    let mut last_size = compressed_size(&last.encoded.payload, QUICK_LEVEL)?;
    let mut realigned = None;
    for _ in 0..MAX_ROUNDS {
        let Some((steps, draft)) = programs.round(&last) else { break };
        realigned.get_or_insert(steps);
        let size = compressed_size(&draft.encoded.payload, QUICK_LEVEL)?;
        if size >= last_size {
            break;
        }
        let gain = last_size - size;
        (last, last_size) = (draft, size);
        if gain < size / MIN_GAIN {
            break;
        }
    }
    Some((last.encoded.payload, realigned))
}

/// Bytes of a payload, compressed alone at a zstd level.
fn compressed_size(payload: &[u8], level: i32) -> Option<u64> {
    zstd::bulk::compress(payload, level).ok().map(|compressed| compressed.len() as u64)
}

/// Returns the payload if it is smaller than a delta of `plain` bytes that makes the same of steps, both
/// compressed alone. In a delta of many files steps cost a little less than alone, as their ops are like
/// those before.
pub(crate) fn smaller(bytes: Vec<u8>, plain: u64) -> Option<Payload> {
    let size = compressed_size(&bytes, TRIAL_LEVEL)?;
    let saves_much = size.saturating_mul(100) < plain.saturating_mul(MUCH_SMALLER);
    let payload = Payload { bytes, compressed_size: size, saves_much };
    (size + size / MARGIN + LEAST_MARGIN < plain).then_some(payload)
}
