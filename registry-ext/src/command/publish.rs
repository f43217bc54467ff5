//! `registry-ext publish`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cli::Text;
use registry_ext::discover::Published;
use registry_ext::image::Images;
use registry_ext::publish::{Outcome, PublishReport, RecipeOutcome, Recipes};
use registry_ext::reference::ImageRef;
use registry_ext::repository::Repository;
use registry_ext::scratch::ScratchDir;
use registry_ext::store::OciLayout;
use registry_ext::{Error, Publisher};

use super::args::{PublishArgs, short};
use super::context::Context;
use super::measure::no_delta_index;
use super::print_json;
use super::table::{Table, percent};

pub(super) async fn run(context: &Context, args: &PublishArgs) -> Result<()> {
    let new = context.images(&args.new, args.platform.as_ref()).await?;
    let mut old = Vec::new();
    for from in &args.from {
        match context.images(from, args.platform.as_ref()).await {
            Ok(images) => old.push(images),
            Err(error @ (Error::NotFound { .. } | Error::NoPlatform { .. })) if !args.strict => {
                context.warn(&format!("old image {from}: {error}; there will be no deltas from it"));
            }
            Err(error) => return Err(with_name(error, from)),
        }
    }
    if old.is_empty() {
        context.warn(
            "there is no old image, so nothing is published: name the images that hosts run with --from",
        );
    }
    let target = args.to.as_ref().unwrap_or(&args.new);
    let report = match target {
        ImageRef::Registry(_) => publish(context, args, &old, &new, &context.open(target)?).await?,
        ImageRef::Layout(layout) => {
            let to = Repository::Layout(OciLayout::create(&resolved(target, &layout.path)?)?);
            publish(context, args, &old, &new, &to).await?
        }
        ImageRef::Archive(archive) => {
            let path = resolved(target, &archive.path)?;
            // What a layout in an archive has stays in it.
            let dir = ScratchDir::new_in(&context.temp_dir)?;
            let layout = if path.exists() {
                OciLayout::unpack(&path, &context.temp_dir)?
            } else {
                OciLayout::create(dir.path())?
            };
            let to = Repository::Layout(layout.clone());
            let report = publish(context, args, &old, &new, &to).await?;
            layout.pack(&path)?;
            report
        }
        _ => anyhow::bail!("cannot publish to {target}"),
    };
    show(context, &report)
}

async fn publish(
    context: &Context,
    args: &PublishArgs,
    old: &[Images],
    new: &Images,
    to: &Repository,
) -> registry_ext::Result<PublishReport> {
    let publisher = Publisher::new(to, new)
        .options(context.make_options(args.make.options(&context.temp_dir)))
        .delta_index(args.layout.delta_index())
        .delta_index_max_layers(args.layout.max_layers())
        .artifact(args.layout.artifact())
        .recipes(recipes(args, to))
        .force(args.force)
        .watch(&context.watch);
    old.iter().fold(publisher, Publisher::old).publish().await
}

/// Returns the layers of which recipes are published. A layout, which may hold a single artifact for clients that
/// read no other (cfsctl), gets them only if that is asked for.
fn recipes(args: &PublishArgs, to: &Repository) -> Recipes {
    match (args.exact, args.no_exact, to) {
        (true, ..) => Recipes::All,
        (false, false, Repository::Registry(_)) => Recipes::WithDeltas,
        _ => Recipes::None,
    }
}

/// The path that a path leads to: through no link that another user left where everybody can write.
fn resolved(target: &ImageRef, path: &Path) -> Result<PathBuf> {
    cli::destination::resolve(path).with_context(|| format!("cannot write to {target}"))
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
            short(delta.old),
            short(delta.diff_id),
            delta.blob_size.to_string(),
            delta.delta_size.map_or_else(|| "-".into(), |size| size.to_string()),
            delta.delta_size.map_or_else(|| "-".into(), |size| percent(size, delta.blob_size)),
            match delta.outcome {
                Outcome::Published => "published",
                Outcome::AlreadyThere => "already there",
                Outcome::NotSmaller => "not smaller than the blob",
                Outcome::Failed => "cannot be made",
                Outcome::NoGain => "not smaller than the other delta",
                Outcome::Refused => "refused by the registry",
                _ => "?",
            }
            .into(),
        ]);
    }
    let mut text = if report.deltas.is_empty() { Text::of("no deltas were made") } else { table.text() };
    text.append(&readers(report));
    if report.recipes.is_empty() {
        return Ok(text.print()?);
    }
    let mut table = Table::new(&["layer", ">blob", ">recipe", "mirror, pull --exact"]);
    for recipe in &report.recipes {
        table.row(vec![
            short(recipe.diff_id),
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
    text.append(&table.text());
    Ok(text.print()?)
}

/// The programs that read what was published, and what was left out.
fn readers(report: &PublishReport) -> Text {
    let mut text = Text::new();
    for layout in [Published::Artifact, Published::DeltaIndex, Published::Tardf3] {
        let is_there = |outcome| matches!(outcome, Outcome::Published | Outcome::AlreadyThere);
        if report.deltas.iter().any(|delta| delta.layout == layout && is_there(delta.outcome)) {
            text.line(layout.readers());
        }
    }
    if !report.not_in_delta_index.is_empty() {
        text.line(no_delta_index());
    }
    text
}
