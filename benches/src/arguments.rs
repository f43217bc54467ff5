//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use benches::Pair;
use benches::fleet::Assumptions;
use clap::{Args, Parser};

/// What layer deltas cost, beside the tools of others
#[derive(Debug, Parser)]
#[command(name = "benches", disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Subcommand,
}

const EXAMPLES: &str = "\
Examples:
  cargo run --release -p benches -- measure --html page.html
      All tools that are installed, on a generated pair of layers.
  cargo run --release -p benches -- growth
      Whether time per byte stays the same for layers of growing size.
  cargo run -p benches -- guard
      Writes the figures that the tests compare with.";

const MEASURE_EXAMPLES: &str = "\
Examples (after cargo run --release -p benches --):
  measure
      A generated pair of 20 MB; the results as Markdown.
  measure pairs/ --json report.json --html page.html
      Each directory in pairs/ holds old.tar.gz and new.tar.gz, and perhaps tree/, which is old.tar.gz
      extracted. Any compression, or none.
  measure --pair app,v1.tar.gz,v2.tar.gz --timeout 300 --skip bsdiff
      One pair; tools that take over 5 minutes are left out.
  measure pairs/ --peer-figures go.json --baseline 'Go tar-diff'
      With figures of a tool that is not installed here, and means as ratios to it.
  measure pairs/ --only tar-diff --with 'level 15=--level 15' --repeat 3
      Only tar-diff, with one more set of options; the best of three runs.

The file of figures holds, for each pair, one object or a list:
  {\"app\": {\"name\": \"Go tar-diff\", \"delta_size\": 4280000, \"cpu_over_gzip\": 2.3, \"peak_mb\": 184}}

Exit status: 0 also if a tool failed, which the results say; 1 if nothing could be measured.";

const GROWTH_EXAMPLES: &str = "\
Examples (after cargo run --release -p benches --):
  growth
      Up to 64000 small files, then one file of up to 1 GiB; half a minute.
  growth --preset fast --files 1000000 --file-size 0
      Up to a million files; room for 6 GB and some minutes.
  growth --files 0 --file-size 5120 --json growth.json
      One file of up to 5 GiB; room for 16 GB.

Exit status: 1 if CPU per byte grew too much from one step to the next, or a command failed.";

const APPLY_EXAMPLES: &str = "\
Examples (after cargo run --release -p benches --):
  apply pairs/ --repeat 5
      Each directory in pairs/ holds old.tar and new.tar, of any compression.
  apply pairs/ --repeat 5 --most 0.65
      As above; fails if a pair takes more than 0.65 times the CPU of sha256sum.

Exit status: 1 if a pair took more than --most, or a command failed.";

const MERGE_EXAMPLES: &str = "\
Examples (after cargo run --release -p benches --):
  merge pairs/
      Each directory in pairs/ holds old.tar and new.tar, of any compression, and perhaps middle.tar. Without a
      middle version, one is derived: every second file that changed is the old one.";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Make deltas with every tool that is installed, apply them, compare
    #[command(after_help = MEASURE_EXAMPLES)]
    Measure(Measure),
    /// Make and apply deltas of layers of growing size; fail if CPU per byte grows with them
    #[command(after_help = GROWTH_EXAMPLES)]
    Growth(Growth),
    /// Apply deltas; show the CPU beside that of the parts, in multiples of sha256sum
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(Apply),
    /// Merge deltas over a middle version; show their size and CPU beside those of deltas that are made of the layers
    #[command(after_help = MERGE_EXAMPLES)]
    Merge(Merge),
    /// Make table and page again of a report that `measure --json` wrote
    #[command(after_help = "Example:\n  benches show report.json --html page.html --baseline 'Go tar-diff'")]
    Show {
        /// The report
        report: PathBuf,
        /// The tool that the means are ratios to
        #[arg(long, value_name = "TOOL")]
        baseline: Option<String>,
        #[command(flatten)]
        files: Files,
    },
    /// Show the times of pulls that registry-ext/interop/pull-times.sh measured
    #[command(after_help = "Example:\n  benches pull-times benches/pulls.json --picture docs/pull-times.svg")]
    PullTimes {
        /// The figures, a line of JSON for each pull
        figures: PathBuf,
        /// Write the picture here
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
    },
    /// Calculate, on paper, the cost of deltas for an organisation by the number of releases that they lead from
    #[command(after_help = "Example:\n  benches fleet --hosts 20 --prompt 0.3 --picture fleet.svg")]
    Fleet {
        #[command(flatten)]
        assumptions: Assumptions,
        /// Write the picture here
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
    },
    /// Write the sizes and instruction counts that the tests compare with
    #[command(after_help = "Example:\n  cargo run -p benches -- guard && git diff benches")]
    Guard,
    /// Run one command and write what it took
    #[command(hide = true)]
    Launch {
        #[arg(long)]
        timeout: u64,
        #[arg(long)]
        report: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// qbsdiff as a command
    #[command(hide = true, subcommand)]
    Reference(Reference),
    /// Do one part of applying
    #[command(hide = true)]
    ApplyPart { part: String, file: PathBuf },
    /// Make one delta, for its instructions to be counted
    #[command(hide = true)]
    DiffOnce { preset: String, old: PathBuf, new: PathBuf },
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Reference {
    /// Make a delta
    Make { old: PathBuf, new: PathBuf, delta: PathBuf },
    /// Apply it
    Apply { old: PathBuf, delta: PathBuf, new: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct Measure {
    /// Directories of a pair each, or of such directories [default: a generated pair]
    #[arg(value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// A pair: its name, the layers, and perhaps the old one extracted
    #[arg(long, value_name = "NAME,OLD,NEW[,TREE]", value_parser = parse_pair)]
    pub(crate) pair: Vec<Pair>,
    /// The generated pair too
    #[arg(long)]
    pub(crate) generated: bool,
    /// Only tools whose name contains this; may be given several times
    #[arg(long, value_name = "TOOL")]
    pub(crate) only: Vec<String>,
    /// No tools whose name contains this; may be given several times
    #[arg(long, value_name = "TOOL")]
    pub(crate) skip: Vec<String>,
    /// tar-diff with these options too, under this name; may be given several times
    #[arg(long, value_name = "NAME=OPTIONS", value_parser = parse_options)]
    pub(crate) with: Vec<(String, String)>,
    /// Kill a command after this many seconds; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub(crate) timeout: u64,
    /// Run each command this often and take the best; deltas are applied at least three times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: u32,
    /// The tool that the means are ratios to [default: the new layer as gzip]
    #[arg(long, value_name = "TOOL")]
    pub(crate) baseline: Option<String>,
    /// Figures of tools that are not installed here, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) peer_figures: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(flatten)]
    pub(crate) files: Files,
}

#[derive(Debug, Args)]
pub(crate) struct Growth {
    /// Small files of the largest layer; 0 leaves this series out
    #[arg(long, value_name = "N", default_value_t = 64_000)]
    pub(crate) files: u64,
    /// MiB of the largest single file; 0 leaves this series out
    #[arg(long, value_name = "MB", default_value_t = 1024)]
    pub(crate) file_size: u64,
    /// Layers of each series, each four times as large as the one before
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) steps: u32,
    /// How many times the CPU per byte may be that of the layer before; what is quadratic has 4
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0)]
    pub(crate) most: f64,
    /// The preset of tar-diff
    #[arg(long, value_name = "PRESET", default_value = "fast")]
    pub(crate) preset: String,
    /// Run each command this often and take the best
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: u32,
    #[command(flatten)]
    pub(crate) places: Places,
    /// Write the figures there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) pairs: Pairs,
    /// Fail if applying takes more than so many times the CPU of sha256sum
    #[arg(long, value_name = "FACTOR")]
    pub(crate) most: Option<f64>,
    /// Run each command but tar-diff this often and take the best
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) repeat: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    #[command(flatten)]
    pub(crate) pairs: Pairs,
    /// Run the commands that are compared this often and take the best
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: u32,
}

/// The pairs that are measured one by one, and what they are measured with.
#[derive(Debug, Args)]
pub(crate) struct Pairs {
    /// Directories of a pair each, or of such directories [default: a generated pair]
    #[arg(value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// The preset of tar-diff
    #[arg(long, value_name = "PRESET", default_value = "default")]
    pub(crate) preset: String,
    #[command(flatten)]
    pub(crate) places: Places,
    /// Write the figures there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// The directories that each measurement uses.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// Directory of tar-diff and tar-patch [default: built by cargo]
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// Directory for layers, trees and deltas [default: $TMPDIR]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
}

/// The files that results go to, beside the table on stdout.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Write the table there too
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write the report there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with plots there
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write a picture (SVG) of the bytes with and without deltas there
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
}

fn parse_pair(text: &str) -> Result<Pair, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let (name, old, new, tree) = match parts[..] {
        [name, old, new] => (name, old, new, None),
        [name, old, new, tree] => (name, old, new, Some(tree.into())),
        _ => return Err("give NAME,OLD,NEW or NAME,OLD,NEW,TREE".into()),
    };
    Ok(Pair { name: name.into(), about: None, old: old.into(), new: new.into(), tree })
}

fn parse_options(text: &str) -> Result<(String, String), String> {
    let (name, options) = text.split_once('=').ok_or("give NAME=OPTIONS")?;
    Ok((name.into(), options.into()))
}
