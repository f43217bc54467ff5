//! The arguments of the command.

use std::path::PathBuf;

use cli::generate::GenerateArgs;
use tar_patch::DiffId;

/// Rebuilds a container layer, bit for bit, from a delta and the files of an old layer
#[derive(Debug, clap::Parser)]
#[command(
    name = "tar-patch",
    version = concat!("v", env!("CARGO_PKG_VERSION")),
    long_version = cli::version::long(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = AFTER_HELP
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Subcommand>,
    /// The delta; `-` is stdin
    #[arg(required = true)]
    pub(crate) delta: Option<PathBuf>,
    /// The directory that the old layers were extracted to; or the old layers as tarballs, lowest
    /// first, of any compression (unpacked to files in --tmp-dir)
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<PathBuf>,
    /// The uncompressed tar to write. It appears when it is complete and verified, not before;
    /// `-` is stdout, where bytes go out before they are verified: the exit status is the verdict
    #[arg(required = true)]
    pub(crate) out: Option<PathBuf>,
    /// The diff_id that the result must have [default: what is in DELTA.diff-id, if that file is
    /// there]. Without it the diff_id is printed to stdout (to stderr if OUT is stdout)
    #[arg(long, value_name = "sha256:HEX")]
    pub(crate) diff_id: Option<DiffId>,
    /// Write OUT even if it is an input, lies in SOURCE, or replaces a file other than the result itself
    #[arg(long)]
    pub(crate) force: bool,
    /// Directory for old layers that are unpacked, and for what is made of compressed files [default:
    /// $TMPDIR or /tmp]
    #[arg(long, value_name = "DIR")]
    pub(crate) tmp_dir: Option<PathBuf>,
    /// Refuse to write more than BYTES
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_size: Option<u64>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print diff_id, size and what the run took, in seconds and bytes, as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Return only when the result is on the disk (fsync)
    #[arg(long)]
    pub(crate) sync: bool,
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,
}

impl Args {
    /// The directory for temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.tmp_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Show the ops, bytes and source files of a delta; needs no source
    Inspect(InspectArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The delta; `-` is stdin
    pub(crate) delta: PathBuf,
    /// Print JSON; all sizes are in bytes
    #[arg(long)]
    pub(crate) json: bool,
    /// Source files to list, those with most payload first
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
}

const AFTER_HELP: &str = "\
Examples:
  tar-patch layer.tardiff /srv/old-root layer.tar
  tar-patch --diff-id sha256:44136fa3... layer.tardiff old.tar.gz old2.tar.zst layer.tar
  curl -s URL | tar-patch - old.tar - | gzip > layer.tar.gz
  tar-patch inspect --top 20 layer.tardiff

The digest: tar-diff --diff-id-file writes the diff_id of the new layer to DELTA.diff-id. If that file
lies beside the delta, it counts like --diff-id; without either, nothing says which layer was meant, and
a warning says that.

Exit status:
  0    the layer is written, and has the diff_id that was asked for
  1    another failure: something cannot be read or written
  2    wrong usage: also an OUT that is an input or replaces what is no tar (--force)
  3    the result has another diff_id; no file was written
  4    the old files lack what the delta reads: another base
  5    the delta is broken, or its result is over --max-size
  141  stdout was closed

Long options may be written with a single dash, too: tar-patch -version.";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_last_path_is_the_output() {
        let args = Args::try_parse_from(["tar-patch", "d", "old.tar", "inspect", "-"]).unwrap();
        assert_eq!(args.sources, ["old.tar", "inspect"].map(PathBuf::from));
        assert_eq!(args.out, Some("-".into()));
        assert!(args.command.is_none());
        let inspect = Args::try_parse_from(["tar-patch", "inspect", "--top", "3", "d"]).unwrap();
        assert!(matches!(inspect.command, Some(Subcommand::Inspect(InspectArgs { top: 3, .. }))));
        assert!(Args::try_parse_from(["tar-patch", "d", "old.tar"]).is_err());
    }
}
