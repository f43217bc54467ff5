//! The command and its subcommand, by their arguments.

mod apply;
mod args;
mod check;
mod inspect;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use tar_patch::{Error, Fault};

pub(crate) use args::{Args, Subcommand};

/// Runs what the arguments ask for.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.generate.run(Args::command())? {
        return Ok(());
    }
    cli::on_interrupt(|| ()).context("cannot watch for signals")?;
    match &args.command {
        Some(Subcommand::Inspect(inspect)) => inspect::run(inspect),
        None => apply::run(args),
    }
}

/// The exit code for an error, as the help lists them.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>().map(Error::fault) {
        Some(Fault::Mismatch) => 3,
        Some(Fault::Base) => 4,
        Some(Fault::Delta) => 5,
        _ => 1,
    }
}

/// An opened delta, and its size in bytes if that is known.
fn open_delta(path: &Path) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path).with_context(|| format!("cannot open the delta {}", path.display()))?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file);
    Ok((Box::new(file), metadata.map(|metadata| metadata.len())))
}
