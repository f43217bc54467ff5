//! What a caller can choose.

use std::num::NonZeroUsize;

use layer::MergeOptions;

/// How deltas of similar files are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// bsdiff for files up to the size cap, content-defined chunks above it. Writes tardf1.
    #[default]
    Bsdiff,
    /// One zstd frame with the source as its prefix, for sources within the format's limit.
    /// Much faster, larger. Writes tardf2.
    Zstd,
    /// Per file, the smaller of both. Writes tardf2.
    Auto,
}

/// Options of [`diff`](crate::diff()).
#[derive(Debug, Clone)]
pub struct DiffOptions {
    /// Which old files may be sources, and under which names. The default is all that an applier
    /// can read, without whiteouts, as the Go tool has it.
    pub merge: MergeOptions,
    /// How deltas of similar files are made. The default is bsdiff, which every applier reads.
    pub method: Method,
    /// Largest source or target that bsdiff takes, in bytes: it needs about 5 bytes of memory for
    /// each byte of source. The default is 192 MiB, as in the Go tool; `u64::MAX` is no limit.
    pub max_bsdiff_size: u64,
    /// zstd level of the op stream, 1 to 22. Sizes fall slowly with it and time rises fast.
    pub level: i32,
    /// Threads that work. The delta is the same for every number. The default is all cores.
    pub jobs: NonZeroUsize,
    /// Memory in bytes for the indexes of the files that are being compared at one time. One file
    /// pair is always admitted, so a pair over the budget runs alone. The default is 1 GiB.
    pub memory: u64,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self {
            merge: MergeOptions::default(),
            method: Method::default(),
            max_bsdiff_size: 192 << 20,
            level: 9,
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            memory: 1 << 30,
        }
    }
}
