//! Decides if a view pays: compressed content that changed all over may cost less as it is.

use std::io::Write;

use crate::counter::Counter;
use crate::edit::{Payload, Step};
use crate::relocate;
use crate::views::expand::Expanded;

/// zstd level of the trial.
const TRIAL_LEVEL: i32 = 9;
/// The size that the delta's own level gives, which has all of the delta to find repeats in, in sixteenths of the
/// size in the trial.
const SIXTEENTHS: u64 = 15;

/// Returns the payload, if it is smaller than the steps, or that there is none; `None` if the delta through
/// views is not smaller than the streams as they are.
pub(super) fn best(expanded: &Expanded, steps: &[Step], payload: Option<Vec<u8>>) -> Option<Option<Payload>> {
    let recipes = expanded.recipe_size();
    if recipes >= expanded.encoded_size {
        return None;
    }
    let plain = trial_size(expanded, steps)?;
    let relocated = payload.and_then(|payload| relocate::smaller(payload, plain));
    let size = relocated.as_ref().map_or(plain, |payload| payload.compressed_size);
    (size * SIXTEENTHS / 16 + recipes < expanded.encoded_size).then_some(relocated)
}

/// Bytes that differences and literals take, compressed; `None` if zstd runs out of memory.
fn trial_size(expanded: &Expanded, steps: &[Step]) -> Option<u64> {
    let mut encoder = zstd::Encoder::new(Counter::default(), TRIAL_LEVEL).ok()?;
    let mut position = 0;
    let mut difference = Vec::new();
    for step in steps {
        let [start, add, literal] =
            [step.source, step.add, step.literal].map(|size| usize::try_from(size).expect("files in memory"));
        let along = &expanded.source[start..start + add];
        let (target, rest) = expanded.target[position..].split_at(add);
        if along != target {
            difference.clear();
            difference.extend(target.iter().zip(along).map(|(target, along)| target.wrapping_sub(*along)));
            encoder.write_all(&difference).ok()?;
        }
        encoder.write_all(&rest[..literal]).ok()?;
        position += add + literal;
    }
    Some(encoder.finish().ok()?.bytes())
}
