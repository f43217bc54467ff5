//! The arguments by which time or bytes are saved.

use clap::ValueEnum;
use registry_ext::Prefer;

/// Bytes of a Mbit.
pub(crate) const BYTES_OF_MBIT: u64 = 125_000;

/// The resource that is saved first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum PreferArg {
    /// Time
    #[default]
    Time,
    /// Bytes, whatever they cost to make
    Size,
}

/// The flags that say if time or bytes are saved.
#[derive(Debug, clap::Args)]
pub(crate) struct LineArgs {
    /// The resource to save first: with time, a layer that its registry sends sooner than it is made of its
    /// delta is fetched
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    prefer: PreferArg,
    /// The rate at which registries send, in Mbit/s [default: as measured, over an unknown line every delta is used]
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    line: Option<u64>,
}

impl LineArgs {
    /// The resource to save first.
    pub(crate) fn prefer(&self) -> Prefer {
        match self.prefer {
            PreferArg::Time => Prefer::Time,
            PreferArg::Size => Prefer::Size,
        }
    }

    /// The rate at which registries send, in bytes a second.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.line.map(|mbit| mbit * BYTES_OF_MBIT)
    }
}
