//! Makes the payloads of relocated ops (tardf3): what moved in a program is predicted, and what the ops of a
//! file are alike in stands together.
//!
//! The blocks that bsdiff finds say where things went, and so what the addresses in a program become. With
//! those written alike on both sides, bsdiff finds better blocks, and with them addresses are predicted
//! better: that goes on for as long as it pays.

use std::num::NonZeroUsize;

use delta_format::Work;
use delta_format::wire::MAX_RELOCATED_SIZE;
use program::{Block, Layouts, Prepared};

use crate::bsdiff;
use crate::edit::{Payload, Step};
use crate::gram_index::Effort;
use crate::weigh;

/// Rounds in which blocks are looked for once more: another one gives less than 1%.
const MAX_ROUNDS: usize = 2;
/// A round that makes the payload smaller by less than this part of it is the last.
const MIN_GAIN: u64 = 64;
/// Most bytes of memory for each byte of both files: copies of them, and their fields.
const MEMORY_RATIO: u64 = 3;
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
/// Bytes that an edit carries from which on it is worth a try, and of one in which everything stays where it is.
const LEAST_CARRIED: usize = 192;
const LEAST_CARRIED_IN_PLACE: usize = 4096;
/// Edits of fewer steps have nothing that could stand together.
const MIN_STEPS: usize = 4;

/// Memory in bytes that it takes to make a payload, beside the files and the index of the source.
pub(crate) const fn memory(source: u64, target: u64) -> u64 {
    (source + target) * MEMORY_RATIO
}

/// Returns the payload of a relocated op for a target whose edit has these steps, if there is one that may be
/// smaller than they are, and that does not take an applier long for the `encoded_size` bytes that the target
/// has in the layer.
pub(crate) fn payload(
    source: &[u8],
    target: &[u8],
    steps: &[Step],
    effort: Effort,
    jobs: NonZeroUsize,
    encoded_size: u64,
) -> Option<Vec<u8>> {
    let payload = smallest(source, target, steps, effort, jobs)?;
    let work = Prepared::new(&payload, source).ok()?.work();
    (work <= Work::relocating(encoded_size)).then_some(payload)
}

fn smallest(
    source: &[u8],
    target: &[u8],
    steps: &[Step],
    effort: Effort,
    jobs: NonZeroUsize,
) -> Option<Vec<u8>> {
    if source.len().max(target.len()) as u64 > MAX_RELOCATED_SIZE || steps.is_empty() {
        return None;
    }
    if is_small(source, target, steps) {
        return None;
    }
    let stride = if effort.skims { weigh::SKIMMED_LITERALS } else { NonZeroUsize::MIN };
    let settled = weigh::settled(steps, (source, target), target, stride);
    let Some(layouts) = Layouts::of(source, target) else {
        if steps.len() < MIN_STEPS {
            return None;
        }
        return program::encode(source, target, &blocks(&settled), None).ok().map(|made| made.payload);
    };
    let mut last = layouts.encode(source, target, &blocks(&settled)).ok()?;
    let normal_target = layouts.normalised_new(target);
    let mut last_size = compressed_size(&last.encoded.payload, QUICK_LEVEL)?;
    for _ in 0..MAX_ROUNDS {
        let normal_source = layouts.normalised_old(source, &last);
        let steps = bsdiff::edit(&normal_source, &normal_target, effort, jobs);
        let steps = weigh::settled(&steps, (&normal_source, &normal_target), target, stride);
        let draft = layouts.encode(source, target, &blocks(&steps)).ok()?;
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
    Some(last.encoded.payload)
}

/// Returns true if there is nothing to gain: little is carried, and nothing moved or hardly anything is new.
fn is_small(source: &[u8], target: &[u8], steps: &[Step]) -> bool {
    let index = |size: u64| usize::try_from(size).expect("files in memory");
    let (mut position, mut carried, mut has_moved) = (0, 0, false);
    for step in steps {
        let (start, add) = (index(step.source), index(step.add));
        has_moved |= add > 0 && start != position;
        let pairs = source[start..start + add].iter().zip(&target[position..position + add]);
        carried += pairs.filter(|(old, new)| old != new).count() + index(step.literal);
        position += add + index(step.literal);
    }
    carried < if has_moved { LEAST_CARRIED } else { LEAST_CARRIED_IN_PLACE }
}

fn blocks(steps: &[Step]) -> Vec<Block> {
    let narrow = |size: u64| u32::try_from(size).expect("files of relocated ops have less than 2^32 bytes");
    let block = |step: &Step| Block {
        source: narrow(step.source),
        add: narrow(step.add),
        literal: narrow(step.literal),
    };
    steps.iter().map(block).collect()
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
