//! What fits in the budget of memory: sparser indexes, fewer threads and, last, a lower level.
//!
//! A budget never makes a diff fail. It changes the delta only where one file or one compressing
//! thread alone would be over it.

use std::num::NonZeroUsize;

use crate::DiffOptions;
use crate::gram_index::{Effort, GramIndex};

/// Largest distance of indexed strings in bytes: farther apart, matches of code are rarely found.
const MAX_STRIDE: usize = 64;

/// Memory in bytes that one thread needs to compress the op stream at a level: its tables and its
/// share of the stream, measured with windows of 2^25 bytes.
const fn compressor_memory(level: i32) -> u64 {
    let mebibytes = match level {
        ..=9 => 48,
        10..=15 => 96,
        16..=19 => 144,
        20 => 256,
        21 => 448,
        _ => 768,
    };
    mebibytes << 20
}

/// How the op stream is compressed: zstd's level, and on how many threads.
pub(crate) fn compression(options: &DiffOptions) -> (i32, NonZeroUsize) {
    let mut level = options.level;
    while level > 1 && compressor_memory(level) > options.memory {
        level -= 1;
    }
    let threads = usize::try_from(options.memory / compressor_memory(level)).unwrap_or(usize::MAX);
    (level, NonZeroUsize::new(threads).map_or(NonZeroUsize::MIN, |threads| threads.min(options.jobs)))
}

/// How a source is indexed for a target, both sizes in bytes, and the memory that the pair takes.
/// `None` if the pair is over the size that the options allow or does not fit in the budget.
pub(crate) fn effort(source: u64, target: u64, options: &DiffOptions) -> Option<(Effort, u64)> {
    if source.max(target) > options.max_bsdiff_size.min(GramIndex::MAX_SIZE) {
        return None;
    }
    let room = options.memory.checked_sub(source + target)?;
    let apart = source.div_ceil(options.max_grams.get() as u64).next_power_of_two();
    let mut stride = usize::try_from(apart).ok()?.max(options.stride.get());
    while GramIndex::memory(source, stride) > room {
        stride *= 2;
        if stride > MAX_STRIDE {
            return None;
        }
    }
    let effort = Effort { stride, candidates: options.candidates.get(), skims: options.skims };
    Some((effort, source + target + GramIndex::memory(source, stride)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    const MIB: u64 = 1 << 20;

    fn options(preset: Preset, memory: u64) -> DiffOptions {
        DiffOptions { memory, jobs: NonZeroUsize::new(8).unwrap(), ..DiffOptions::preset(preset) }
    }

    #[test]
    fn pairs_stay_within_the_budget() {
        for preset in [Preset::Fast, Preset::Default, Preset::Max] {
            for budget in [16 * MIB, 200 * MIB, 1024 * MIB] {
                for size in [0, 1, 1000, MIB, 30 * MIB, 192 * MIB] {
                    match effort(size, size, &options(preset, budget)) {
                        Some((effort, memory)) => {
                            assert!(memory <= budget);
                            assert!((1..=MAX_STRIDE).contains(&effort.stride));
                        }
                        None => assert!(2 * size + size / 4 > budget, "{size} {budget}"),
                    }
                }
            }
        }
        assert!(effort(193 * MIB, 1, &options(Preset::Max, u64::MAX)).is_none());
    }

    #[test]
    fn large_sources_are_indexed_sparsely() {
        let stride = |size| effort(size, size, &options(Preset::Default, u64::MAX)).unwrap().0.stride;
        assert_eq!([1, 16 * MIB, 17 * MIB, 100 * MIB].map(stride), [1, 1, 2, 8]);
    }

    #[test]
    fn compression_gives_up_threads_before_the_level() {
        let compression = |preset, memory| {
            let (level, threads) = compression(&options(preset, memory));
            (level, threads.get())
        };
        assert_eq!(compression(Preset::Default, u64::MAX), (19, 8));
        assert_eq!(compression(Preset::Default, 300 * MIB), (19, 2));
        assert_eq!(compression(Preset::Default, 144 * MIB), (19, 1));
        assert_eq!(compression(Preset::Default, 100 * MIB), (15, 1));
        assert_eq!(compression(Preset::Max, 500 * MIB), (21, 1));
        assert_eq!(compression(Preset::Fast, 0), (1, 1));
    }
}
