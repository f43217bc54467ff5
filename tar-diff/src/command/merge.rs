//! `tar-diff merge FIRST SECOND OUT`

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use cli::{Misuse, Output, Text};
use layer::{DigestWriter, MergeOptions};
use serde::Serialize;
use tar_diff::{DeltaMergeOptions, DiffArgs, MergeStats};

use super::check;

pub(super) const AFTER_HELP: &str = "\
FIRST makes the layer v2 of the files of v1, and SECOND makes v3 of the files of v2. OUT makes v3 of the files of v1. It is
larger than a delta that is made of v1 and v3. It takes no layers, and with --preset fast a tenth of the time.

Both have to be tardf1, each from the one layer that the other makes. What the deltas say is not compared with a layer:
tar-patch --diff-id does that when OUT is applied.";

const ORDER: &str = "tar-diff merge takes FIRST SECOND OUT, in this order";

#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    /// The delta from v1 to v2
    first: PathBuf,
    /// The delta from v2 to v3
    second: PathBuf,
    /// The delta from v1 to v3; `-` is stdout
    out: PathBuf,
    /// Let whiteouts of v2 hide files of its own, as in the layers of an image
    #[arg(long)]
    apply_whiteouts: bool,
    #[command(flatten)]
    effort: DiffArgs,
    /// Most bytes of v2, and of v3 [default: 64 GiB]
    #[arg(long, value_name = "BYTES")]
    max_size: Option<u64>,
    /// Directory for the parts of v2 that FIRST carries
    #[arg(long, value_name = "DIR")]
    tmp_dir: Option<PathBuf>,
    /// Write OUT even if it replaces a file that is no delta
    #[arg(long)]
    force: bool,
    /// Print no summary
    #[arg(long, short)]
    quiet: bool,
    /// Print figures as JSON (to stderr if OUT is -)
    #[arg(long)]
    json: bool,
}

impl MergeArgs {
    /// The directory for temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.tmp_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    stats: MergeStats,
    first_size: u64,
    second_size: u64,
    delta_size: u64,
    seconds: f64,
}

pub(super) fn run(args: &MergeArgs) -> Result<()> {
    let started = Instant::now();
    for delta in [&args.first, &args.second] {
        check::delta(delta, ORDER)?;
        if cli::destination::is_same_file(delta, &args.out) {
            let text = format!("OUT would replace `{}`: choose another name", delta.display());
            return Err(Misuse(text).into());
        }
    }
    if !args.force {
        check::output(&args.out, [].iter(), ORDER)?;
    }
    let made = args.effort.options(cli::resources::memory_budget());
    let options = DeltaMergeOptions::default();
    let max_size = args.max_size.unwrap_or(options.max_size);
    let options = options
        .level(made.level)
        .jobs(made.jobs)
        .memory(made.memory)
        .merge(MergeOptions::default().apply_whiteouts(args.apply_whiteouts))
        .temp_dir(args.temp_dir())
        .max_size(max_size);
    let (first, second) = (open(&args.first)?, open(&args.second)?);
    let output = Output::create(&args.out)?;
    let to_stdout = output.is_stdout();
    let sizes = [&first, &second].map(|file| file.metadata().map_or(0, |metadata| metadata.len()));
    let (written, stats) = tar_diff::merge(first, second, &options, DigestWriter::new(output))?;
    let (output, _, delta_size) = written.finish();
    output.commit()?;
    let seconds = started.elapsed().as_secs_f64();
    let figures = Figures { stats, first_size: sizes[0], second_size: sizes[1], delta_size, seconds };
    if args.json {
        let json = Text::json(&figures)?;
        if to_stdout { json.print_to_stderr() } else { json.print()? }
    } else if !args.quiet {
        summary(&figures).print_to_stderr();
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open the delta {}", path.display()))
}

fn summary(figures: &Figures) -> Text {
    Text::of(format_args!(
        "{} bytes, of two deltas of {} and {} bytes, for a layer of {} bytes, of which {} are copied, {} changed and {} \
         new ({:.1} s)",
        figures.delta_size,
        figures.first_size,
        figures.second_size,
        figures.stats.target_size,
        figures.stats.copied,
        figures.stats.added,
        figures.stats.literal,
        figures.seconds,
    ))
}
