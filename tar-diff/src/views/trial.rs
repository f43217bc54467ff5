//! Whether a view pays: compressed content that changed all over may cost less as it is.

use std::io::Write;

use crate::edit::Step;
use crate::views::expand::Expanded;

/// zstd level of the trial.
const TRIAL_LEVEL: i32 = 9;
/// The size that the delta's own level gives, which has all of the delta to find repeats in, in sixteenths of the
/// size in the trial.
const SIXTEENTHS: u64 = 15;

/// Returns true if the delta through views is smaller than the streams as they are.
pub(super) fn pays(expanded: &Expanded, steps: &[Step]) -> bool {
    let recipes = expanded.recipe_size();
    recipes < expanded.encoded_size
        && trial_size(expanded, steps)
            .is_some_and(|size| size * SIXTEENTHS / 16 + recipes < expanded.encoded_size)
}

/// Bytes that differences and literals take, compressed; `None` if zstd runs out of memory.
fn trial_size(expanded: &Expanded, steps: &[Step]) -> Option<u64> {
    let mut encoder = zstd::Encoder::new(Counter(0), TRIAL_LEVEL).ok()?;
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
    Some(encoder.finish().ok()?.0)
}

/// Counts what is written to it.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
