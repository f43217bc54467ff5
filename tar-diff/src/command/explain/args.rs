//! The arguments of `tar-diff explain`.

use std::path::PathBuf;

/// Files that are shown unless told otherwise.
const DEFAULT_TOP: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The delta; `-` is stdin
    pub(crate) delta: PathBuf,
    /// The new layer, which the delta makes
    pub(crate) new: PathBuf,
    /// The old layers from the lowest up. With them it can say more: whether a path is new, what
    /// changed inside compressed files, and what to do about it
    pub(crate) old: Vec<PathBuf>,
    /// Files to list, the costliest first [default: 20; with --json all]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Print JSON; sizes are in bytes, of files and layers without compression unless they are called blob sizes; costs
    /// are bytes of the delta
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page for a browser instead; `-` is stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Directory for decompressed layers
    #[arg(long, value_name = "DIR")]
    pub(crate) tmp_dir: Option<PathBuf>,
}

impl ExplainArgs {
    /// The layers that were given.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.new].into_iter().chain(&self.old)
    }

    /// The directory for temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.tmp_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Files to list for people.
    pub(crate) fn top(&self) -> usize {
        self.top.unwrap_or(DEFAULT_TOP)
    }

    /// Files to list for machines.
    pub(crate) fn json_top(&self) -> usize {
        self.top.unwrap_or(usize::MAX)
    }
}

pub(crate) const AFTER_HELP: &str = "\
Examples:
  tar-diff explain delta.tardiff new.tar.gz old.tar.gz
  tar-diff explain --html page.html --top 100 delta.tardiff new.tar.gz old.tar.gz
  tar-diff explain --json delta.tardiff new.tar.gz | jq '.reasons'

The costs of all files, of the tar headers and of the framing add up to the size of the delta.
An old layer called explain is given as ./explain to tar-diff itself.";
