//! `registry-ext publish`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cli::Text;
use registry_ext::discover::Published;
use registry_ext::image::Images;
use registry_ext::publish::{Outcome, PublishReport, PublishedDelta, RecipeOutcome, Recipes};
use registry_ext::reference::ImageRef;
use registry_ext::repository::Repository;
use registry_ext::scratch::ScratchDir;
use registry_ext::signature::CarriedSignature;
use registry_ext::store::OciLayout;
use registry_ext::{Error, Publisher};

use super::args::{PublishArgs, short};
use super::context::Context;
use super::measure::no_delta_index;
use super::print_json;
use super::table::{Table, percent};

pub(super) async fn run(context: &Context, args: &PublishArgs) -> Result<()> {
    let Some(name) = &args.new else { anyhow::bail!("there is no new image") };
    let target = args.to.as_ref().unwrap_or(name);
    check_target(name, target)?;
    let new = context.images(name, args.platform.as_ref()).await?;
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

/// Checks that the deltas to an image can be published at `target`. Hosts look for deltas by the manifest of the image,
/// which an archive of `docker save` does not have.
fn check_target(new: &ImageRef, target: &ImageRef) -> registry_ext::Result<()> {
    let reason = match (new, target) {
        (_, ImageRef::DockerArchive(_)) => {
            "an archive of docker save takes no deltas: give another place with --to, such as oci:DIR"
        }
        (ImageRef::DockerArchive(_), ImageRef::Registry(_)) => {
            "hosts would not find deltas to an image in an archive of docker save, since its manifest in the registry is \
             another one: push the image, and name it by its place in the registry"
        }
        _ => return Ok(()),
    };
    Err(Error::Reference { text: new.to_string(), reason: reason.into() })
}

async fn publish(
    context: &Context,
    args: &PublishArgs,
    old: &[Images],
    new: &Images,
    to: &Repository,
) -> registry_ext::Result<PublishReport> {
    let mut options = args.make.options(&context.temp_dir);
    // cfsctl reads a layout of a single artifact alone.
    options.sees_through &= matches!(to, Repository::Registry(_)) || args.make.readers.names_registry_ext();
    let mut publisher = configured(args, to, Publisher::new(to, new)).options(context.make_options(options));
    for name in args.artifacts.named_signatures() {
        let repository = context.open(name)?;
        let signature = CarriedSignature::read(&repository, name.name().as_ref(), &context.temp_dir).await?;
        if !new.images.iter().any(|image| signature.is_of(image.manifest.digest)) {
            let reason =
                "it is a signature of another manifest; cosign sign --recursive signs each image of an index";
            return Err(Error::Reference { text: name.to_string(), reason: reason.into() });
        }
        publisher = publisher.signature(signature);
    }
    old.iter().fold(publisher.watch(&context.watch), Publisher::old).publish().await
}

/// Sets the options that the arguments have, but not those for making deltas.
pub(super) fn configured<'p>(args: &PublishArgs, to: &Repository, publisher: Publisher<'p>) -> Publisher<'p> {
    let publisher = args.artifacts.configured(publisher);
    publisher
        .delta_index(args.make.readers.max_layers() > 0)
        .delta_index_max_layers(args.make.readers.max_layers())
        .artifact(args.make.readers.artifact())
        .recipes(recipes(args, to))
        .max_recipe_share(args.max_recipe)
        .force(args.force)
        .merge(args.merge)
}

/// Returns the layers of which recipes are published. A layout, which may hold a single artifact for clients that
/// read no other (cfsctl), gets them only if that is asked for.
fn recipes(args: &PublishArgs, to: &Repository) -> Recipes {
    match (args.exact, args.no_exact, to) {
        (true, ..) => Recipes::All,
        (false, false, Repository::Registry(_)) if args.make.readers.registry_ext() => Recipes::WithDeltas,
        (false, false, _) if args.make.readers.names_registry_ext() => Recipes::WithDeltas,
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
                Outcome::Published if delta.merged.is_some() => "published, merged",
                Outcome::Published => "published",
                Outcome::AlreadyThere => "already there",
                Outcome::NotSmaller => "not smaller than the blob",
                Outcome::Failed => "cannot be made",
                Outcome::NoGain => "not smaller than the other delta",
                Outcome::Refused => "refused by the registry",
                Outcome::NoRoom => "no room in _deltaindex",
                _ => "?",
            }
            .into(),
        ]);
    }
    let merged = merged(report);
    let mut text = if report.deltas.is_empty() { Text::of("no deltas were made") } else { table.text() };
    if !report.recipes.is_empty() {
        text.append(&recipes_table(report).text());
    }
    if !report.deltas.is_empty() {
        text.append(&readers(report).text());
    }
    if !report.not_in_delta_index.is_empty() {
        text.line(no_delta_index());
    }
    if let Some(merged) = merged {
        text.line(merged);
    }
    for (layer, reason) in not_merged(report) {
        text.line(format_args!("the delta of layer {layer} is not merged: {reason}"));
    }
    Ok(text.print()?)
}

/// Says how large the merged deltas are beside what is known: those that they were merged of, which a delta
/// that is made of the layers is hardly larger than.
fn merged(report: &PublishReport) -> Option<String> {
    let merged = report.deltas.iter().filter(|delta| delta.outcome == Outcome::Published);
    let merged: Vec<_> = merged.filter_map(|delta| Some((delta.delta_size?, delta.merged?.bytes))).collect();
    let size: u64 = merged.iter().map(|(size, _)| size).sum();
    let parts: u64 = merged.iter().map(|(_, parts)| parts).sum();
    (!merged.is_empty()).then(|| {
        let share = percent(size, parts);
        format!(
            "merged deltas: {size} bytes, {share} of the {parts} bytes of those that they were merged of; without \
             --merge, and with --force, smaller ones are made of the layers"
        )
    })
}

/// The layers whose deltas could not be merged, and the reasons, each once.
fn not_merged(report: &PublishReport) -> BTreeSet<(String, &str)> {
    let reasons = report.deltas.iter().map(|delta| (delta, delta.not_merged.as_deref()));
    reasons.filter_map(|(delta, reason)| Some((short(delta.diff_id), reason?))).collect()
}

fn recipes_table(report: &PublishReport) -> Table {
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
    table
}

/// The cost and the saving of what was published, for the programs that read it.
fn readers(report: &PublishReport) -> Table {
    let mut table = Table::new(&["layout", "for", ">stored", ">fetched", ">blobs", ">ratio", ">seconds"]);
    for layout in [Published::Artifact, Published::Tardf3, Published::DeltaIndex] {
        let deltas: Vec<_> = report.deltas.iter().filter(|delta| delta.layout == layout).collect();
        let is_there = |outcome| matches!(outcome, Outcome::Published | Outcome::AlreadyThere);
        if !deltas.iter().any(|delta| is_there(delta.outcome)) {
            continue;
        }
        let made = deltas.iter().filter(|delta| delta.outcome == Outcome::Published);
        let stored: u64 = made.filter_map(|delta| delta.delta_size).sum();
        // Nothing is known of deltas that were there but that they are.
        let is_known = deltas.iter().all(|delta| delta.outcome != Outcome::AlreadyThere);
        let fetched: u64 = deltas.iter().map(|delta| fetched(report, delta)).sum();
        let blobs: u64 = deltas.iter().map(|delta| delta.blob_size).sum();
        // A sum of nothing is -0.
        let seconds = deltas.iter().filter_map(|delta| delta.seconds).fold(0.0, |sum, seconds| sum + seconds);
        let known = |text: String| if is_known { text } else { "-".into() };
        table.row(vec![
            layout.name().into(),
            layout.clients().join(", "),
            stored.to_string(),
            known(fetched.to_string()),
            blobs.to_string(),
            known(percent(fetched, blobs)),
            format!("{seconds:.1}"),
        ]);
    }
    let stored: u64 = report.recipes.iter().filter_map(|recipe| recipe.recipe_size).sum();
    if stored > 0 {
        let dash = || "-".to_owned();
        let clients = "podman, containerd, docker through a mirror; pull --exact".into();
        table.row(vec!["recipes".into(), clients, stored.to_string(), dash(), dash(), dash(), dash()]);
    }
    table
}

/// Bytes that a client fetches for a layer: the delta of its layout, the one of another that it is not smaller than,
/// or the blob.
fn fetched(report: &PublishReport, delta: &PublishedDelta) -> u64 {
    match (delta.outcome, delta.delta_size) {
        (Outcome::Published, Some(size)) => size,
        (Outcome::NoGain, Some(size)) => {
            let other = report.deltas.iter().find(|other| {
                let pair = (&other.old, &other.new, other.diff_id) == (&delta.old, &delta.new, delta.diff_id);
                pair && other.layout == Published::Artifact
            });
            other.and_then(|other| other.delta_size).unwrap_or(size)
        }
        _ => delta.blob_size,
    }
}
