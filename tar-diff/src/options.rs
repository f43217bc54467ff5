//! The options of a diff.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use derive_setters::Setters;
use layer::MergeOptions;

/// The method by which deltas of similar files are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Method {
    /// Changed stretches (bsdiff), chunks for huge files: tardf1, read by every client.
    #[default]
    Bsdiff,
    /// One zstd frame for each file, with its source as dictionary: tardf2, fast, larger.
    Zstd,
    /// The smaller of both for each file: tardf2.
    Auto,
}

/// Options of [`diff`](crate::diff()).
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct DiffOptions {
    /// The old files that may be sources, and their names. The default is all that an applier
    /// can read, without whiteouts, as the Go tool has it.
    pub merge: MergeOptions,
    /// The method by which deltas of similar files are made. The default is bsdiff, which every applier reads.
    pub method: Method,
    /// True if compressed files are compared by what they hold: the delta is tardf3 then, if that
    /// helps any file, and this project alone reads it. The default is no.
    pub sees_through: bool,
    /// The directory for what compressed files hold. The default is the system's.
    #[setters(into)]
    pub temp_dir: PathBuf,
    /// Largest source or target that bsdiff takes, in bytes: it is read whole, as
    /// its target is. The default is 192 MiB, as in the Go tool; `u64::MAX` is no limit.
    pub max_bsdiff_size: u64,
    /// zstd level of the op stream, 1 to 22. Sizes fall slowly with it and time rises fast. From 16 on, a tardf3 that
    /// is small beside its layer is compressed by LZMA.
    pub level: i32,
    /// Every how many bytes of a source a string is indexed at the densest, at least 1. Matches that
    /// are shorter than this and 11 bytes can be missed; time and memory fall with it.
    pub stride: NonZeroUsize,
    /// Strings of a source that are indexed at most: in larger sources they lie farther apart. Each
    /// takes about 14 bytes of memory.
    pub max_grams: NonZeroUsize,
    /// Places in a source that are compared for each match, at least 1.
    pub candidates: NonZeroUsize,
    /// True if stretches of a file in which no match is found are passed in larger strides: compressed
    /// content costs half the time then, and some short matches are missed.
    pub skims: bool,
    /// Threads that work. The delta is the same for every number. The default is all cores.
    pub jobs: NonZeroUsize,
    /// Memory in bytes for files and their indexes, and for compression. Where it is short, fewer
    /// threads work; where one file is over it, the file is indexed more sparsely or matched in
    /// chunks, and only then does the delta depend on it ([`Stats::reduced`](crate::Stats::reduced) tells).
    /// The process takes up to 96 MiB more. The default is 1 GiB.
    pub memory: u64,
}

/// A point on the curve of size against time; what each costs stands in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Preset {
    /// Little more time than reading the layers takes.
    Fast,
    /// Small, in moderate time.
    #[default]
    Default,
    /// The last percents, in several times the time: for deltas that many fetch.
    Max,
}

impl DiffOptions {
    /// The default of [`max_bsdiff_size`](Self::max_bsdiff_size): 192 MiB, as in the Go tool.
    pub const MAX_BSDIFF_SIZE: u64 = 192 << 20;

    /// The options of a preset.
    pub fn preset(preset: Preset) -> Self {
        let (level, stride, max_grams, candidates) = match preset {
            Preset::Fast => (4, 8, 16 << 20, 4),
            Preset::Default => (19, 1, 16 << 20, 32),
            Preset::Max => (22, 1, 128 << 20, 32),
        };
        let at_least_one = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            merge: MergeOptions::default(),
            method: Method::default(),
            sees_through: false,
            temp_dir: std::env::temp_dir(),
            max_bsdiff_size: Self::MAX_BSDIFF_SIZE,
            level,
            stride: at_least_one(stride),
            max_grams: at_least_one(max_grams),
            candidates: at_least_one(candidates),
            skims: preset == Preset::Fast,
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            memory: 1 << 30,
        }
    }
}

impl Default for DiffOptions {
    /// [`Preset::Default`].
    fn default() -> Self {
        Self::preset(Preset::Default)
    }
}
