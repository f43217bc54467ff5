//! `registry-ext pull`

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use registry_ext::Error;
use registry_ext::image::Platform;
use registry_ext::pull::{Origin, PullReport, Puller};
use registry_ext::signature::{self, PublicKey};
use registry_ext::store::{PullTarget, StorageWriter, StoreRef};

use super::args::{BYTES_OF_MBIT, PullArgs, short};
use super::context::Context;
use super::print_json;
use super::table::{Table, percent};

pub(super) async fn run(context: &Context, args: &PullArgs) -> Result<()> {
    if args.exact && !matches!(args.into, StoreRef::Layout(..) | StoreRef::Archive(..)) {
        bail!("--exact is for oci: and oci-archive:, other stores keep no compressed layers");
    }
    if let StoreRef::Storage(storage) = &args.into {
        // Before anything is fetched.
        StorageWriter::find(storage)?;
    }
    let store = resolved(&args.into)?;
    let repository = context.open(&args.image)?;
    let repository = match args.rate {
        Some(mbit) => repository.at_rate(mbit * BYTES_OF_MBIT),
        None => repository,
    };
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let image = context.image(&repository, &args.image, &platform).await?;
    if !image.platform.satisfies(&platform) {
        let (of, wanted) = (&image.platform, &platform);
        if args.platform.is_some() {
            let what = args.image.to_string();
            return Err(
                Error::NoPlatform { what, wanted: wanted.to_string(), available: of.to_string() }.into()
            );
        }
        context.warn(&format!("{} is for {of}, this machine is {wanted}", args.image));
    }
    if let Some(path) = &args.verify_key {
        // Before anything is written.
        let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        signature::verify(&repository, &image, &PublicKey::from_pem(&pem)?, &context.temp_dir).await?;
    }

    let mut puller = Puller::new(&repository, &image)
        .named(&args.image)
        .deltas(!args.no_deltas)
        .exact(args.exact)
        .prefer(args.line.prefer())
        .line(args.line.rate())
        .concurrency(context.concurrency)
        .temp_dir(&context.temp_dir)
        .watch(&context.watch);
    for source in &args.source {
        puller = puller.source(source)?;
    }
    let target = PullTarget::open(&store, &context.temp_dir, &context.watch)?;
    show(context, &puller.into(target).await?)
}

/// The store with the path that its path leads to: through no link that another user left where everybody
/// can write.
fn resolved(store: &StoreRef) -> Result<StoreRef> {
    let resolve = |path: &Path| {
        cli::destination::resolve(path).with_context(|| format!("cannot write to {}", path.display()))
    };
    Ok(match store {
        StoreRef::Layout(dir, tag) => StoreRef::Layout(resolve(dir)?, tag.clone()),
        StoreRef::Archive(file, tag) => StoreRef::Archive(resolve(file)?, tag.clone()),
        StoreRef::Tree(dir, digest) => StoreRef::Tree(resolve(dir)?, *digest),
        other => other.clone(),
    })
}

fn show(context: &Context, report: &PullReport) -> Result<()> {
    if context.json {
        return print_json(report);
    }
    if context.quiet {
        return Ok(());
    }
    let mut table = Table::new(&["layer", "from", ">fetched", ">blob"]);
    for layer in &report.layers {
        let from = match layer.from {
            Origin::Local => "here".into(),
            Origin::Delta(layout) if layer.steps.len() > 1 => {
                format!("{}, {} steps", layout.name(), layer.steps.len())
            }
            Origin::Delta(layout) => layout.name().into(),
            Origin::Blob if layer.slower.is_some() => "blob, sooner".into(),
            Origin::Blob => "blob".into(),
            _ => "?".into(),
        };
        table.row(vec![short(layer.diff_id), from, layer.fetched.to_string(), layer.blob_size.to_string()]);
    }
    let mut text = table.text();
    text.line(format_args!(
        "{} bytes fetched, a plain pull fetches {} ({})",
        report.fetched,
        report.plain,
        percent(report.fetched, report.plain),
    ));
    Ok(text.print()?)
}
