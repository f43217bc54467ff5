//! The work of the command, by its arguments.

mod args;
mod check;
mod diff;
mod explain;
mod figures;
mod merge;

use anyhow::{Context, Result};
use clap::CommandFactory;

pub(crate) use args::Args;
use args::Subcommand;

/// Runs what the arguments ask for.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.generate.run(Args::command())? {
        return Ok(());
    }
    cli::on_interrupt(|| ()).context("cannot watch for signals")?;
    match &args.command {
        Some(Subcommand::Explain(args)) => explain::run(args),
        Some(Subcommand::Merge(args)) => merge::run(args),
        None => diff::run(args),
    }
}
