//! `registry-ext prune`

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context as _, Result};
use cli::{Misuse, Text};
use layer::Digest;
use registry_ext::Pruner;
use registry_ext::prune::{PruneReport, targets};
use registry_ext::repository::Repository;
use serde::Serialize;

use super::args::{PruneArgs, short};
use super::context::Context;
use super::print_json;

#[derive(Debug, Serialize)]
struct Pruned {
    target: String,
    dry_run: bool,
    #[serde(flatten)]
    report: PruneReport,
}

pub(super) async fn run(context: &Context, args: &PruneArgs) -> Result<()> {
    let repository = context.open(&args.image)?;
    let mut pruner = Pruner::new(&repository).dry_run(args.dry_run);
    for keep in &args.keep {
        pruner = context.images(keep, None).await?.images.iter().fold(pruner, Pruner::keep);
    }
    let targets = if args.all {
        targets(&repository).await?
    } else {
        let images = context.images(&args.image, None).await?;
        images.images.iter().map(|image| image.manifest.digest).collect()
    };
    if args.keep.is_empty() && !args.dry_run && !args.yes && !confirm(&repository, &targets, args).await? {
        return Ok(Text::of("nothing was removed").print()?);
    }
    let mut pruned = Vec::new();
    for target in targets {
        let report = pruner.prune(target).await?;
        pruned.push(Pruned { target: target.to_string(), dry_run: args.dry_run, report });
    }
    let unread: usize = pruned.iter().map(|pruned| pruned.report.unread).sum();
    if unread > 0 {
        context.warn(&format!(
            "{unread} artifacts stay and were not read, as too many refer to the image or they are too large: \
             remove those that are no deltas with another tool, and prune again"
        ));
    }
    let looked_at = pruned.len();
    if args.all {
        // Most images have no deltas.
        pruned.retain(|pruned| pruned.report.removes() || pruned.report.kept > 0);
    }
    if context.json {
        return print_json(&pruned);
    }
    if context.quiet {
        return Ok(());
    }
    show(context, args, &pruned, looked_at)
}

/// Asks somebody at a terminal whether all deltas shall go; elsewhere that has to be said by --yes.
async fn confirm(repository: &Repository, targets: &[Digest], args: &PruneArgs) -> Result<bool> {
    let pruner = Pruner::new(repository).dry_run(true);
    let (mut artifacts, mut entries) = (0, 0);
    for target in targets {
        let report = pruner.prune(*target).await?;
        artifacts += report.artifacts.len() + report.recipe_artifacts.len();
        entries += report.deltas.len() + report.tags.len();
    }
    if artifacts + entries == 0 {
        return Ok(true);
    }
    let of = if args.all { "the repository of " } else { "" };
    let what = format!(
        "without --keep, prune removes all deltas of {of}{}: {artifacts} artifacts and {entries} entries of \
         _deltaindex",
        args.image
    );
    if !io::stdin().is_terminal() {
        let text = format!(
            "{what}. Give --keep for each image that hosts still run, or --yes to remove them all; --dry-run \
             shows what would go"
        );
        return Err(Misuse(text).into());
    }
    Text::of(format_args!("{what}. Remove them? Type yes:")).print_to_stderr();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

fn show(context: &Context, args: &PruneArgs, pruned: &[Pruned], looked_at: usize) -> Result<()> {
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let mut text = Text::new();
    for Pruned { target, report, .. } in pruned {
        text.line(format_args!(
            "{}: {verb} {} artifacts and {} entries of _deltaindex, {} stay",
            short(target),
            report.artifacts.len() + report.recipe_artifacts.len(),
            report.deltas.len(),
            report.kept,
        ));
    }
    if pruned.is_empty() {
        text.line(format_args!(
            "no deltas in the repository of {}: {looked_at} images were looked at, those that have a tag and those \
             in _deltaindex; others are pruned by their digest",
            args.image
        ));
    }
    text.print()?;
    if pruned.iter().any(|pruned| !pruned.report.deleted) {
        context.warn("the registry does not delete manifests; they are not listed any more");
    }
    Ok(())
}
