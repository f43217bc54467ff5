//! `registry-ext publish`

use anyhow::Result;
use registry_ext::publish::{Outcome, PublishOptions, PublishReport, RecipeOutcome, publish};
use registry_ext::reference::ImageRef;
use registry_ext::repository::Repository;
use registry_ext::scratch::ScratchDir;
use registry_ext::store::OciLayout;

use super::args::{LayoutArg, PublishArgs, short};
use super::context::Context;
use super::table::{Table, percent};
use super::{print, print_json};

pub(super) async fn run(context: &Context, args: &PublishArgs) -> Result<()> {
    let new = context.images(&args.new, args.platform.as_ref()).await?;
    let mut old = Vec::new();
    for from in &args.from {
        let images = context.images(from, args.platform.as_ref()).await;
        old.push(images.map_err(|error| with_name(error, from))?);
    }
    let options = PublishOptions {
        make: context.make_options(args.diff.options()),
        delta_index: args.layout != LayoutArg::Artifact,
        artifact: args.layout != LayoutArg::Deltaindex,
        exact: args.exact,
        force: args.force,
    };
    let target = args.to.as_ref().unwrap_or(&args.new);
    let report = match target {
        ImageRef::Registry(_) => {
            let to = context.open(target)?;
            publish(&new, &old, &to, &options, &context.watch).await?
        }
        ImageRef::Layout(layout) => {
            let to = Repository::Layout(OciLayout::create(&layout.path)?);
            publish(&new, &old, &to, &options, &context.watch).await?
        }
        ImageRef::Archive(archive) => {
            // What a layout in an archive has stays in it.
            let dir = ScratchDir::new_in(&context.temp_dir)?;
            let layout = match archive.path.exists() {
                true => OciLayout::unpack(&archive.path, &context.temp_dir)?,
                false => OciLayout::create(dir.path())?,
            };
            let to = Repository::Layout(layout.clone());
            let report = publish(&new, &old, &to, &options, &context.watch).await?;
            layout.pack(&archive.path)?;
            report
        }
        _ => anyhow::bail!("cannot publish to {target}"),
    };
    show(context, &report)
}

/// Says which of several images an error is about, and keeps what it is.
fn with_name(error: registry_ext::Error, name: &ImageRef) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("old image {name}"))
}

fn show(context: &Context, report: &PublishReport) -> Result<()> {
    if context.json {
        return print_json(report);
    }
    if context.quiet {
        return Ok(());
    }
    let mut table = Table::new(&["layout", "from image", "layer", ">blob", ">delta", ">ratio", "outcome"]);
    for delta in &report.deltas {
        table.row(vec![
            delta.layout.name().into(),
            short(&delta.old).into(),
            short(&delta.diff_id).into(),
            delta.blob_size.to_string(),
            delta.delta_size.map_or_else(|| "-".into(), |size| size.to_string()),
            delta.delta_size.map_or_else(|| "-".into(), |size| percent(size, delta.blob_size)),
            match delta.outcome {
                Outcome::Published => "published",
                Outcome::AlreadyThere => "already there",
                Outcome::NotSmaller => "not smaller than the blob",
                Outcome::NoGain => "not smaller than the other delta",
                _ => "?",
            }
            .into(),
        ]);
    }
    print(&table.to_string())?;
    if report.recipes.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["layer", ">blob", ">recipe", "pull --exact"]);
    for recipe in &report.recipes {
        table.row(vec![
            short(&recipe.diff_id).into(),
            recipe.blob_size.to_string(),
            recipe.recipe_size.map_or_else(|| "-".into(), |size| size.to_string()),
            match &recipe.outcome {
                RecipeOutcome::Published => "makes the blob again".into(),
                RecipeOutcome::AlreadyThere => "makes the blob again; already there".into(),
                RecipeOutcome::NotNeeded => "needs nothing: the blob is a plain tar".into(),
                RecipeOutcome::Refused(reason) => format!("fetches the blob: {reason}"),
                _ => "?".into(),
            },
        ]);
    }
    print(&table.to_string())
}
