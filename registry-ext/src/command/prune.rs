//! `registry-ext prune`

use anyhow::Result;
use registry_ext::prune::{Keep, PruneReport, prune, targets};
use serde::Serialize;

use super::args::{PruneArgs, short};
use super::context::Context;
use super::{print, print_json};

#[derive(Debug, Serialize)]
struct Pruned {
    target: String,
    dry_run: bool,
    #[serde(flatten)]
    report: PruneReport,
}

pub(super) async fn run(context: &Context, args: &PruneArgs) -> Result<()> {
    let mut kept = Vec::new();
    for keep in &args.keep {
        kept.extend(context.images(keep, None).await?.images);
    }
    let keep = Keep::new(&kept);
    let repository = context.open(&args.image)?;
    let targets = if args.all {
        targets(&repository).await?
    } else {
        let images = context.images(&args.image, None).await?;
        images.images.iter().map(|image| image.manifest.digest).collect()
    };
    let mut pruned = Vec::new();
    for target in targets {
        let report = prune(&repository, target, &keep, args.dry_run).await?;
        pruned.push(Pruned { target: target.to_string(), dry_run: args.dry_run, report });
    }
    if context.json {
        return print_json(&pruned);
    }
    if context.quiet {
        return Ok(());
    }
    for Pruned { target, report, .. } in &pruned {
        let verb = if args.dry_run { "would remove" } else { "removed" };
        print(&format!(
            "{}: {verb} {} artifacts and {} entries of _deltaindex, {} stay\n",
            short(target),
            report.artifacts.len(),
            report.deltas.len(),
            report.kept,
        ))?;
        if !report.deleted {
            context.warn("the registry does not delete manifests; they are not listed any more");
        }
    }
    Ok(())
}
