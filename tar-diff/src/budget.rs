//! Measures that make the work fit in the budget of memory: sparser indexes, fewer threads and, last, a lower level.
//!
//! A budget never makes a diff fail. It changes the delta only where one file or one compressing
//! thread alone would be over it.

use std::num::NonZeroUsize;

use crate::gram_index::{Effort, GramIndex};
use crate::{DiffOptions, Reduced, realign};

/// Largest distance of indexed strings in bytes: farther apart, matches of code are rarely found.
const MAX_STRIDE: usize = 64;

/// Memory in bytes that one thread needs to compress the op stream at a level: its tables and its
/// share of the stream, measured with windows of 2^25 bytes.
const fn compressor_memory(level: i32) -> u64 {
    let mebibytes = match level {
        ..=9 => 48,
        10..=15 => 96,
        16..=19 => 144,
        20 => 224,
        21 => 288,
        _ => 352,
    };
    mebibytes << 20
}

/// Memory in bytes that liblzma needs to compress with a dictionary, and that the compressed delta of about `delta`
/// bytes takes until it is written: the hashes and trees of its match finder have ten bytes for each one of the
/// dictionary.
pub(crate) const fn xz_memory(dictionary_log: u32, delta: u64) -> u64 {
    (12 << dictionary_log) + (4 << 20) + 2 * delta
}

/// Returns the level and the number of threads with which zstd compresses the op stream.
pub(crate) fn compression(options: &DiffOptions) -> (i32, NonZeroUsize) {
    let mut level = options.level;
    while level > 1 && compressor_memory(level) > options.memory {
        level -= 1;
    }
    let threads = usize::try_from(options.memory / compressor_memory(level)).unwrap_or(usize::MAX);
    (level, NonZeroUsize::new(threads).map_or(NonZeroUsize::MIN, |threads| threads.min(options.jobs)))
}

/// Least memory for files, indexes and compression, however much the names of the layers take.
const MIN_MEMORY: u64 = 16 << 20;

/// The options with what is left of the memory beside the entries of the layers and their names.
pub(crate) fn beside(options: &DiffOptions, listing: u64) -> DiffOptions {
    let least = MIN_MEMORY.min(options.memory);
    options.clone().memory(options.memory.saturating_sub(listing).max(least))
}

/// Bytes of a source that are indexed in full for a target, for each byte of the target: of a source that
/// is larger, strings lie farther apart.
const MAX_RATIO: u64 = 64;
/// Strings of a source that are indexed for any target, however small.
const MIN_GRAMS: u64 = 1 << 20;

/// A source is decoded or read whole anew for each of its targets. So it is for those alone that are no
/// smaller than this part of it, or if it is small.
pub(crate) const MAX_WHOLE_RATIO: u64 = 8;
pub(crate) const MIN_WHOLE_SOURCE: u64 = 64 << 10;

/// Samples of files take this part of their size.
const SAMPLES_SHARE: u64 = 4;
/// Memory in bytes that a thread must have, as its own heap does not shrink at once.
const THREAD_MEMORY: u64 = 64 << 20;

/// On how many threads edits are made.
pub(crate) fn threads(options: &DiffOptions) -> NonZeroUsize {
    let most = usize::try_from(options.memory / THREAD_MEMORY).unwrap_or(usize::MAX);
    NonZeroUsize::new(most).map_or(NonZeroUsize::MIN, |most| most.min(options.jobs))
}

/// Returns true if a source is so much larger than its target, by more than `ratio`, that nothing but reading it
/// would cost more than the target is worth. A source of up to `always` bytes never is.
pub(crate) const fn is_lopsided(source: u64, target: u64, ratio: u64, always: u64) -> bool {
    source > always && source / ratio > target
}

/// Returns the effort with which a source is indexed for a target, both sizes in bytes, and the memory that
/// the pair takes. `None` if the pair is over the size that the options allow or does not fit in the budget.
pub(crate) fn effort(source: u64, target: u64, options: &DiffOptions) -> Option<(Effort, u64)> {
    shared_effort(source, target, target, options)
}

/// Returns the effort with which a source is indexed for several targets, of which the largest has `largest`
/// bytes and all have `total`, and the memory that it takes with one of them.
pub(crate) fn shared_effort(
    source: u64,
    largest: u64,
    total: u64,
    options: &DiffOptions,
) -> Option<(Effort, u64)> {
    if source.max(largest) > options.max_bsdiff_size.min(GramIndex::MAX_SIZE) {
        return None;
    }
    let room = options.memory.checked_sub(source + largest)?;
    // Before anything is indexed, both are sampled to tell whether it pays.
    let samples = (source + largest) / SAMPLES_SHARE;
    if samples > room {
        return None;
    }
    let stride = full_stride(source, total, options);
    let mut fitting = stride;
    while GramIndex::memory(source, fitting) > room {
        fitting *= 2;
        if fitting > MAX_STRIDE {
            return None;
        }
    }
    let effort = Effort { stride: fitting, candidates: options.candidates.get(), skims: options.skims };
    Some((effort, source + largest + GramIndex::memory(source, fitting).max(samples)))
}

/// Returns the effort with which a source is indexed once more for a target, both sizes in bytes, if they are
/// programs, and the memory that it takes beside that of [`effort`]. `None` if that is not done.
pub(crate) fn realignment(source: u64, target: u64, options: &DiffOptions) -> Option<(Effort, u64)> {
    let is_wanted = options.sees_through || !options.skims;
    if !is_wanted || is_lopsided(source, target, MAX_WHOLE_RATIO, MIN_WHOLE_SOURCE) {
        return None;
    }
    let (first, memory) = effort(source, target, options)?;
    // In files in which what moved looks the same, more is found by more strings.
    let finer = Effort { stride: (first.stride / 2).max(options.stride.get()), ..first };
    [finer, first].into_iter().find_map(|effort| {
        let [index, of_first] = [effort, first].map(|effort| GramIndex::memory(source, effort.stride));
        let more = realign::memory(source, target) + index.saturating_sub(of_first);
        (memory.saturating_add(more) <= options.memory).then_some((effort, more))
    })
}

/// Memory in bytes that it takes to index a source once more for a target, beside an index that stays.
pub(crate) fn realigning(source: u64, target: u64, options: &DiffOptions) -> u64 {
    let effort = realignment(source, target, options);
    effort.map_or(0, |(effort, _)| realign::memory(source, target) + GramIndex::memory(source, effort.stride))
}

/// The distance of indexed strings where memory does not matter.
fn full_stride(source: u64, total: u64, options: &DiffOptions) -> usize {
    let wanted = total.saturating_mul(MAX_RATIO).max(MIN_GRAMS);
    let most = wanted.min(options.max_grams.get() as u64);
    let apart = source.div_ceil(most).next_power_of_two();
    usize::try_from(apart).unwrap_or(MAX_STRIDE).min(MAX_STRIDE).max(options.stride.get())
}

/// Returns the effects of the budget, for pairs of a source and a target, both sizes in bytes.
pub(crate) fn reduced(pairs: impl Iterator<Item = (u64, u64)>, options: &DiffOptions) -> Reduced {
    let unlimited = options.clone().memory(u64::MAX);
    let mut reduced = Reduced::default();
    for (source, target) in pairs {
        // What is over the size that the options allow is matched in chunks whatever the memory.
        let Some((full, memory)) = effort(source, target, &unlimited) else { continue };
        match effort(source, target, options) {
            Some((fitting, _)) if fitting == full => continue,
            Some(_) => reduced.sparse.count(target),
            None => reduced.in_chunks.count(target),
        }
        reduced.wanted_memory = reduced.wanted_memory.max(memory);
    }
    let (level, _) = compression(options);
    if level < options.level {
        reduced.level = Some(level);
        reduced.wanted_memory = reduced.wanted_memory.max(compressor_memory(options.level));
    }
    reduced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    const MIB: u64 = 1 << 20;

    fn options(preset: Preset, memory: u64) -> DiffOptions {
        DiffOptions::preset(preset).memory(memory).jobs(NonZeroUsize::new(8).unwrap())
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
                        None => assert!(2 * size + size / 2 > budget, "{size} {budget}"),
                    }
                }
            }
        }
        assert!(effort(193 * MIB, 1, &options(Preset::Max, u64::MAX)).is_none());
    }

    #[test]
    fn a_small_target_indexes_a_large_source_sparsely() {
        let options = options(Preset::Default, u64::MAX);
        let stride = |source, target| effort(source, target, &options).unwrap().0.stride;
        assert_eq!(stride(64 * MIB, 64 * MIB), 4);
        assert_eq!(stride(64 * MIB, 4 << 10), 64);
        assert_eq!(stride(MIB, 1), 1);
        let (shared, _) = shared_effort(64 * MIB, 4 << 10, 64 * MIB, &options).unwrap();
        assert_eq!(shared.stride, 4, "all targets together are worth a full index");
        assert!(is_lopsided(64 * MIB, 4 << 10, 64, MIB) && !is_lopsided(MIB, 1, 64, MIB));
        assert!(!is_lopsided(64 * MIB, MIB, 64, MIB));
    }

    #[test]
    fn large_sources_are_indexed_sparsely() {
        let stride = |size| effort(size, size, &options(Preset::Default, u64::MAX)).unwrap().0.stride;
        assert_eq!([1, 16 * MIB, 17 * MIB, 100 * MIB].map(stride), [1, 1, 2, 8]);
    }

    #[test]
    fn a_small_budget_tells_what_it_costs() {
        let pairs = [(10 * MIB, 10 * MIB), (MIB, MIB), (200 * MIB, 200 * MIB)];
        let reduced = |preset, memory| reduced(pairs.into_iter(), &options(preset, memory));
        assert_eq!(reduced(Preset::Default, 1024 * MIB), Reduced::default());
        let small = reduced(Preset::Default, 20 * MIB);
        assert_eq!((small.in_chunks.count, small.in_chunks.size), (1, 10 * MIB));
        assert_eq!(small.sparse.count, 0);
        assert!(small.level.is_some_and(|level| level < 19) && small.is_any());
        let enough = small.wanted_memory;
        assert_eq!(reduced(Preset::Default, enough), Reduced::default());
        assert!(reduced(Preset::Default, enough - 1).is_any());
        let sparse = reduced(Preset::Fast, 64 * MIB);
        assert_eq!((sparse.sparse.count, sparse.in_chunks.count, sparse.level), (0, 0, None));
        let pair = reduced(Preset::Default, 150 * MIB);
        assert_eq!((pair.sparse.count, pair.in_chunks.count, pair.level), (1, 0, None));
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
        assert_eq!(compression(Preset::Max, 1024 * MIB), (22, 2));
        assert_eq!(compression(Preset::Max, 300 * MIB), (21, 1));
        assert_eq!(compression(Preset::Fast, 0), (1, 1));
    }
}
