//! The flags that say how much a delta is worth: of `tar-diff`, and of what else makes deltas.

use std::num::NonZeroUsize;

use crate::{DiffOptions, Preset};

/// The flags that say how much time and memory deltas are worth.
#[derive(Debug, Clone, clap::Args)]
pub struct DiffArgs {
    /// Choose between the time to make a delta and its size
    #[arg(long, value_enum, default_value_t, value_name = "PRESET")]
    preset: Preset,
    /// zstd level of a delta, 1 to 22; from 16 on, LZMA may take its place in a tardf3 [default: 4, 19 or 22,
    /// by preset]
    #[arg(long, visible_alias = "compression-level", value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..=22))]
    level: Option<i32>,
    /// Files over this many MiB are matched in chunks and not by bsdiff; 0 is no limit
    #[arg(long, value_name = "MIB", default_value_t = DiffOptions::MAX_BSDIFF_SIZE / MIB)]
    max_bsdiff_size: u64,
    /// Use so many threads; a delta has the same bytes for any number [default: all cores]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Bound the memory to so many MiB, and 96 MiB for the program itself. With less memory, fewer threads work and
    /// large files are matched less closely; a warning says so [default: a quarter of the machine's]
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
}

/// Bytes in a MiB.
const MIB: u64 = 1 << 20;

impl DiffArgs {
    /// Returns the options that the flags ask for. `memory` is the budget in bytes where `--memory` is not
    /// given; without it, that of the preset.
    pub fn options(&self, memory: Option<u64>) -> DiffOptions {
        let preset = DiffOptions::preset(self.preset);
        let mebibytes = |count: u64| count.saturating_mul(MIB);
        let (level, jobs) = (self.level.unwrap_or(preset.level), self.jobs.unwrap_or(preset.jobs));
        let memory = self.memory.map(mebibytes).or(memory).unwrap_or(preset.memory);
        let max_bsdiff_size =
            if self.max_bsdiff_size == 0 { u64::MAX } else { mebibytes(self.max_bsdiff_size) };
        preset.max_bsdiff_size(max_bsdiff_size).level(level).jobs(jobs).memory(memory)
    }
}
