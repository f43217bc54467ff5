//! The command line: the Go tool's flags, then our own.

use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};
use layer::MergeOptions;
use tar_diff::{DiffArgs, DiffOptions, Method};

const EXAMPLES: &str = "\
Examples:
  tar-diff old.tar.gz new.tar.gz delta.tardiff
      The delta of two layers. It is applied and compared before it appears.
  tar-diff base.tar app-1.tar app-2.tar delta.tardiff
      Sources are the files of base.tar and app-1.tar, extracted in that order.
  tar-diff --apply-whiteouts lower.tar.gz upper.tar.gz new.tar.gz delta.tardiff
      The old layers are those of an image, so whiteouts hide files.
  zstd -dc new.tar.zst | tar-diff old.tar - - > delta.tardiff
      NEW from stdin, the delta to stdout.
  tar-diff --preset max old.tar.gz new.tar.gz delta.tardiff
      For a delta that many hosts fetch; --preset fast for a build that waits.
  tar-diff --format tardf3 old.tar.gz new.tar.gz delta.tardiff
      Sees through .gz, .xz, .zst, .bz2, .zip and .jar files: much smaller, for tar-patch alone.
  tar-diff --json old.tar new.tar delta.tardiff | jq .ratio
      Figures for machines.
  tar-diff explain delta.tardiff new.tar.gz old.tar.gz
      Which files cost most, and why.
  tar-diff merge v1-v2.tardiff v2-v3.tardiff v1-v3.tardiff
      One delta of two, without the layers.

Layers may be plain tars or compressed with gzip, bzip2, xz or zstd; the names do not matter.
Flags may be spelled as in the Go tool: -compression-level 9, -source-prefix=usr/.

Exit status: 0 done; 1 failed; 2 wrong usage; also an OUT that is one of the
layers, or exists and is no delta.";

/// Makes a small delta of container layers
///
/// The delta rebuilds the uncompressed NEW, bit for bit, from itself and the files of the OLD
/// layers as they lie on disk once extracted. tar-patch applies it.
#[derive(Debug, Parser)]
#[command(
    name = "tar-diff",
    version = concat!("v", env!("CARGO_PKG_VERSION")),
    long_version = cli::version::long(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    override_usage = "tar-diff [OPTIONS] <OLD>... <NEW> <OUT>\n       tar-diff explain [OPTIONS] <DELTA> <NEW> [OLD]...\n       tar-diff merge [OPTIONS] <FIRST> <SECOND> <OUT>",
    after_long_help = EXAMPLES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Subcommand>,
    /// Old layers from the lowest up, the new layer, and the delta
    #[arg(value_names = ["OLD", "NEW", "OUT"], num_args = 3.., required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Directory for decompressed layers and files
    #[arg(long, value_name = "DIR")]
    pub(crate) tmp_dir: Option<PathBuf>,
    /// Use only source files whose path starts with PREFIX; may be given several times
    #[arg(long, value_name = "PREFIX")]
    source_prefix: Vec<String>,
    /// Use no source files whose path starts with PREFIX; may be given several times
    #[arg(long, value_name = "PREFIX")]
    ignore_source_prefix: Vec<String>,
    /// Let whiteouts of an old layer hide files of lower ones
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", value_name = "BOOL")]
    apply_whiteouts: bool,
    /// How deltas of files are made: bsdiff writes tardf1, the others tardf2
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    binary_diff: Method,
    /// Newest format that the delta may have; tardf3 sees through compression, and tar-patch alone
    /// reads it [default: what the method needs]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    effort: DiffArgs,
    /// Write the diff_id of NEW to FILE, or to OUT.diff-id if no FILE is named, where tar-patch finds
    /// it by itself. An OUT.diff-id of an earlier run is written anew in any case
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "FILE")]
    pub(crate) diff_id_file: Option<Option<PathBuf>>,
    /// Write OUT even if it replaces one of the layers or a file that is no delta
    #[arg(long)]
    pub(crate) force: bool,
    /// Skip the verification, which applies the delta and compares the result before OUT appears
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Print no progress bar and no summary
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print figures as JSON (to stderr if OUT is -)
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) generate: cli::generate::GenerateArgs,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Show which files cost most in a delta, and why
    #[command(after_help = super::explain::AFTER_HELP)]
    Explain(super::explain::ExplainArgs),
    /// Make one delta of two that follow each other, without the layers
    #[command(after_help = super::merge::AFTER_HELP)]
    Merge(super::merge::MergeArgs),
}

impl Subcommand {
    /// The directory for temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        match self {
            Self::Explain(args) => args.temp_dir(),
            Self::Merge(args) => args.temp_dir(),
        }
    }
}

/// A version of the delta format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Read by every client
    Tardf1,
    /// With frames of zstd, for --binary-diff zstd and auto
    Tardf2,
    /// Compressed files are compared by what they hold
    Tardf3,
}

impl Args {
    /// Refuses a method that needs a newer format than the delta may have.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.format == Some(Format::Tardf1) && self.binary_diff != Method::Bsdiff {
            anyhow::bail!("--binary-diff zstd and auto write tardf2: leave --format out, or take bsdiff");
        }
        Ok(())
    }

    /// The directory for temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        match &self.command {
            Some(command) => command.temp_dir(),
            None => self.tmp_dir.clone().unwrap_or_else(std::env::temp_dir),
        }
    }

    /// The options of the diff.
    pub(crate) fn diff_options(&self) -> DiffOptions {
        let prefixes =
            |prefixes: &[String]| prefixes.iter().map(|prefix| prefix.clone().into_bytes()).collect();
        let merge = MergeOptions::default()
            .apply_whiteouts(self.apply_whiteouts)
            .source_prefixes(prefixes(&self.source_prefix))
            .ignored_prefixes(prefixes(&self.ignore_source_prefix));
        let options = self.effort.options(cli::resources::memory_budget());
        let sees_through = self.format == Some(Format::Tardf3);
        options.merge(merge).method(self.binary_diff).sees_through(sees_through).temp_dir(self.temp_dir())
    }
}
