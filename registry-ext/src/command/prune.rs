//! `registry-ext prune`

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context as _, Result};
use cli::{Misuse, Text};
use layer::Digest;
use registry_ext::prune::{PruneReport, targets};
use registry_ext::repository::Repository;
use registry_ext::{Planner, Pruner};
use serde::Serialize;

use super::args::{PruneArgs, short};
use super::context::Context;
use super::print_json;

#[derive(Debug, Serialize)]
pub(super) struct Pruned {
    pub(super) target: String,
    dry_run: bool,
    #[serde(flatten)]
    pub(super) report: PruneReport,
}

pub(super) async fn run(context: &Context, args: &PruneArgs) -> Result<()> {
    let repository = context.open(&args.image)?;
    if let Some(policy) = &args.policy {
        let policy = super::plan::policy(Some(policy), &args.pulls)?;
        let previous = args.previous.as_ref().map(|path| super::plan::read_plan(path)).transpose()?;
        if previous.is_none() && !policy.floating.is_empty() {
            let text = "the policy has tags that move: give the plan that was made last with --previous, which says \
                        what they named before, so that the deltas from there stay";
            return Err(Misuse(text.into()).into());
        }
        let planner = super::plan::planner(context, &policy);
        let planner = previous.iter().fold(planner, Planner::previous);
        let pruned = by_policy(&planner, &repository, args.dry_run).await?;
        return finish(context, args, pruned);
    }
    let mut pruner = Pruner::new(&repository).dry_run(args.dry_run);
    for keep in &args.keep {
        pruner = context.images(keep, None).await?.images.iter().fold(pruner, Pruner::keep);
    }
    let mut indexes = BTreeSet::new();
    let targets = if args.all {
        targets(&repository).await?
    } else {
        let images = context.images(&args.image, None).await?;
        // Artifacts may be listed under the index of the images, too.
        indexes.extend(images.images.iter().filter_map(|image| image.index));
        images.images.iter().map(|image| image.manifest.digest).chain(indexes.iter().copied()).collect()
    };
    if args.keep.is_empty() && !args.dry_run && !args.yes && !confirm(&repository, &targets, args).await? {
        return Ok(Text::of("nothing was removed").print()?);
    }
    let mut pruned = Vec::new();
    for target in targets {
        let report = pruner.prune(target).await?;
        if !indexes.contains(&target) || report.removes() || report.kept > 0 {
            pruned.push(Pruned { target: target.to_string(), dry_run: args.dry_run, report });
        }
    }
    finish(context, args, pruned)
}

/// Removes the deltas of a repository that a policy does not want, or tells of them.
pub(super) async fn by_policy(
    planner: &Planner<'_>,
    repository: &Repository,
    dry_run: bool,
) -> Result<Vec<Pruned>> {
    // First, so that deltas that are published meanwhile to new images stay.
    let targets = targets(repository).await?;
    let wanted = planner.retention(repository).await?;
    let mut pruned = Vec::new();
    for target in targets {
        let kept = wanted.get(&target).into_iter().flatten();
        let pruner = kept.fold(Pruner::new(repository).dry_run(dry_run), Pruner::keep);
        let report = pruner.prune(target).await?;
        pruned.push(Pruned { target: target.to_string(), dry_run, report });
    }
    Ok(pruned)
}

/// Tells of what was removed.
fn finish(context: &Context, args: &PruneArgs, mut pruned: Vec<Pruned>) -> Result<()> {
    let unread: usize = pruned.iter().map(|pruned| pruned.report.unread).sum();
    if unread > 0 {
        context.warn(&format!(
            "{} not read and not removed, since too many refer to the image or they are too large: remove those \
             that are no deltas with another tool, and prune again",
            counted(unread, "artifact was", "artifacts were"),
        ));
    }
    let looked_at = pruned.len();
    if args.all || args.policy.is_some() {
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
        "without --keep, prune removes all deltas of {of}{}: {} and {} of _deltaindex",
        args.image,
        counted(artifacts, "artifact", "artifacts"),
        counted(entries, "entry", "entries"),
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

/// A number with its noun.
fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn show(context: &Context, args: &PruneArgs, pruned: &[Pruned], looked_at: usize) -> Result<()> {
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let mut text = Text::new();
    for Pruned { target, report, .. } in pruned {
        text.line(format_args!(
            "{}: {verb} {} and {} of _deltaindex ({} bytes); {} {} ({} bytes)",
            short(target),
            counted(report.artifacts.len() + report.recipe_artifacts.len(), "artifact", "artifacts"),
            counted(report.deltas.len(), "entry", "entries"),
            report.freed_bytes,
            counted(report.kept, "delta", "deltas"),
            if report.kept == 1 { "stays" } else { "stay" },
            report.kept_bytes,
        ));
    }
    if pruned.is_empty() {
        text.line(format_args!(
            "no deltas in the repository of {}: {} looked at, by the tags and by _deltaindex; an image that is in \
             neither is pruned by its digest",
            args.image,
            counted(looked_at, "image was", "images were"),
        ));
    }
    text.print()?;
    if pruned.iter().any(|pruned| !pruned.report.deleted) {
        context.warn("the registry does not delete manifests; they are not listed any more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let entries = [0, 1, 2].map(|number| counted(number, "entry", "entries"));
        assert_eq!(entries, ["0 entries", "1 entry", "2 entries"]);
    }
}
