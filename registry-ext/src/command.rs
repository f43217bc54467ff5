//! The work of the command, by its arguments.

mod args;
mod context;
mod list;
mod measure;
mod mirror;
mod plan;
mod prune;
mod publish;
mod pull;
mod table;
mod verify;

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use cli::{Misuse, Text};
use registry_ext::{Error, scratch};

pub(crate) use args::Args;
use args::Command;
use context::Context;

/// Exit code if a published delta is wrong.
const WRONG_DELTA: u8 = 3;
/// Exit code if what was named does not exist.
const NOT_FOUND: u8 = 4;
/// Exit code if the registry wants other credentials.
const UNAUTHORIZED: u8 = 5;

/// Runs what the arguments ask for, and gives the exit code.
pub(crate) fn run(args: Args) -> Result<u8> {
    if args.generate.run(Args::command())? {
        return Ok(0);
    }
    let Some(command) = args.command else {
        Args::command().print_help()?;
        return Ok(2);
    };
    let of_many = match &command {
        Command::Mirror(_) => Some("a mirror is for many registries"),
        Command::Publish(publish) if publish.job.plan.is_some() => Some("a plan is for many repositories"),
        _ => None,
    };
    if let Some(reason) = of_many.filter(|_| args.common.username.is_some()) {
        return Err(Misuse(format!("{reason}: give their credentials with --authfile")).into());
    }
    let context = Context::new(&args.common, command.first_image())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Two, since some steps block their thread while others go on.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // A mirror ends by itself what it has begun.
    if !matches!(command, Command::Mirror(_)) {
        cli::on_interrupt(scratch::remove_all).context("cannot watch for signals")?;
    }
    runtime.block_on(async {
        match &command {
            Command::Publish(args) => match &args.job.plan {
                Some(plan) => plan::publish(&context, args, plan).await,
                None => {
                    args.job.job()?;
                    publish::run(&context, args).await.map(|()| 0)
                }
            },
            Command::Plan(args) => plan::run(&context, args).await,
            Command::List(args) => list::run(&context, args).await.map(|()| 0),
            Command::Pull(args) => pull::run(&context, args).await.map(|()| 0),
            Command::Verify(args) => verify::run(&context, args).await,
            Command::Prune(args) => prune::run(&context, args).await.map(|()| 0),
            Command::Measure(args) => measure::run(&context, args).await.map(|()| 0),
            Command::Mirror(args) => mirror::run(&context, args).await.map(|()| 0),
        }
    })
}

/// The exit code for an error, as the help lists them.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(Error::NotFound { .. } | Error::NoPlatform { .. }) => NOT_FOUND,
        Some(Error::Registry(error)) if error.is_unauthorized() => UNAUTHORIZED,
        Some(Error::Registry(error)) if error.status() == Some(404) => NOT_FOUND,
        _ => 1,
    }
}

/// Prints a report as JSON to stdout.
fn print_json(report: &impl serde::Serialize) -> Result<()> {
    Ok(Text::json(report)?.print()?)
}
