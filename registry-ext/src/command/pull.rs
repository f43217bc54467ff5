//! `registry-ext pull`

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use layer::SpoolOptions;
use registry_ext::Error;
use registry_ext::image::{Image, Platform};
use registry_ext::oci::Name;
use registry_ext::pull::{Destination, Origin, PullOptions, PullReport, pull};
use registry_ext::reference::ImageRef;
use registry_ext::scratch::ScratchDir;
use registry_ext::signature::{self, PublicKey};
use registry_ext::store::{
    ContainersStorage, LayerStore, OciLayout, StorageRef, StoreRef, TreeStore, TreeTarget, copy_to_storage,
};

use super::args::{PullArgs, short};
use super::context::{Context, default_storage_root};
use super::print_json;
use super::table::{Table, percent};

/// The tag in a layout that only lives until another store has the image.
const PASSING_TAG: &str = "image";

pub(super) async fn run(context: &Context, args: &PullArgs) -> Result<()> {
    if args.exact && !matches!(args.into, StoreRef::Layout(..) | StoreRef::Archive(..)) {
        bail!("--exact is for oci: and oci-archive:, other stores keep no compressed layers");
    }
    let store = resolved(&args.into)?;
    let repository = context.open(&args.image)?;
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

    let mut layouts = Vec::new();
    let mut others: Vec<Box<dyn LayerStore>> = Vec::new();
    for source in &args.source {
        match source {
            StoreRef::Layout(dir, _) => layouts.push(OciLayout::open(dir)?),
            StoreRef::Archive(file, _) => layouts.push(OciLayout::unpack(file, &context.temp_dir)?),
            StoreRef::Storage(storage) => others.push(Box::new(open_storage(storage)?)),
            StoreRef::Tree(dir, content) => others.push(Box::new(TreeStore::new(dir, *content))),
            _ => bail!("cannot read from {source:?}"),
        }
    }
    let into = Into::open(context, &store)?;
    if into
        .tree
        .as_ref()
        .and_then(TreeTarget::record)
        .is_some_and(|tree| tree.manifest == image.manifest.digest)
    {
        return show(context, &PullReport::of_local(&image));
    }
    if let Some(storage) = &into.storage {
        others.insert(0, Box::new(storage.clone()));
    }
    if let Some(tree) = into.tree.as_ref().and_then(TreeTarget::source) {
        others.insert(0, Box::new(tree));
    }
    let sources: Vec<&dyn LayerStore> = std::iter::once(&into.layout as &dyn LayerStore)
        .chain(layouts.iter().map(|layout| layout as &dyn LayerStore))
        .chain(others.iter().map(AsRef::as_ref))
        .collect();
    let copies: Vec<&OciLayout> = layouts.iter().collect();
    let tag = into.tag(&args.image);
    let options = PullOptions {
        deltas: !args.no_deltas,
        exact: args.exact,
        concurrency: context.concurrency,
        temp_dir: context.temp_dir.clone(),
        ..PullOptions::default()
    };
    let elsewhere = match (&into.storage, &into.tree) {
        (Some(storage), _) => storage.layers()?,
        (_, Some(tree)) => tree.rebuild(&image, &into.layout, options.max_layer_size, &context.watch)?,
        _ => HashMap::new(),
    };
    let to = Destination { layout: &into.layout, tag: tag.as_deref(), elsewhere };
    let mut report = pull(&repository, &image, to, (&sources, &copies), &options, &context.watch).await?;
    if into.tree.is_some() {
        report.stored_manifest.clone_from(&report.manifest);
    }
    into.finish(context, &store, args, &image).await?;
    show(context, &report)
}

/// The store that takes the image, and the layout that it goes through.
struct Into {
    layout: OciLayout,
    storage: Option<ContainersStorage>,
    tree: Option<TreeTarget>,
    tag: Option<String>,
    passes: bool,
    _dir: Option<ScratchDir>,
}

impl Into {
    fn open(context: &Context, store: &StoreRef) -> Result<Self> {
        let passing = || -> Result<(ScratchDir, OciLayout)> {
            let dir = ScratchDir::new_in(&context.temp_dir)?;
            let layout = OciLayout::create(dir.path())?;
            Ok((dir, layout))
        };
        Ok(match store {
            StoreRef::Layout(dir, tag) => Self {
                layout: OciLayout::create(dir)?,
                storage: None,
                tree: None,
                tag: tag.clone(),
                passes: false,
                _dir: None,
            },
            StoreRef::Archive(file, tag) => {
                let (dir, empty) = passing()?;
                let layout = if file.exists() { OciLayout::unpack(file, &context.temp_dir)? } else { empty };
                Self { layout, storage: None, tree: None, tag: tag.clone(), passes: false, _dir: Some(dir) }
            }
            StoreRef::Storage(storage) => {
                if storage.name.is_none() {
                    bail!("say which name the image gets: --into containers-storage:NAME");
                }
                let (dir, layout) = passing()?;
                // Before the first image there is nothing to open.
                let storage = open_storage(storage).ok();
                Self { layout, storage, tree: None, tag: None, passes: true, _dir: Some(dir) }
            }
            StoreRef::Tree(_, Some(_)) => bail!("a digest is for a tree that is a source: --into tree:DIR"),
            StoreRef::Tree(dir, None) => {
                let tree = TreeTarget::open(dir, &context.watch)?;
                // Beside the tree, since an image that fits there need not fit elsewhere.
                let layout = tree.layout()?;
                Self { layout, storage: None, tree: Some(tree), tag: None, passes: true, _dir: None }
            }
            _ => bail!("cannot write to {store:?}"),
        })
    }

    fn tag(&self, image: &ImageRef) -> Option<String> {
        if self.passes {
            return Some(PASSING_TAG.into());
        }
        let of_image = || match image.name() {
            Some(Name::Tag(tag)) => Some(tag),
            _ => None,
        };
        self.tag.clone().or_else(of_image)
    }

    async fn finish(self, context: &Context, store: &StoreRef, args: &PullArgs, image: &Image) -> Result<()> {
        match (store, self.tree) {
            (StoreRef::Archive(file, _), _) => Ok(self.layout.pack(file)?),
            (StoreRef::Storage(storage), _) => Ok(copy_to_storage(&self.layout, PASSING_TAG, storage).await?),
            (_, Some(tree)) => {
                let image = (image, args.image.to_string());
                let options = SpoolOptions {
                    temp_dir: context.temp_dir.clone(),
                    max_size: PullOptions::default().max_layer_size,
                };
                Ok(tree.put((&self.layout, PASSING_TAG), (image.0, &image.1), &options, &context.watch)?)
            }
            _ => Ok(()),
        }
    }
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

fn open_storage(storage: &StorageRef) -> Result<ContainersStorage> {
    let default = default_storage_root();
    let root: &Path = storage.root.as_deref().unwrap_or(&default);
    Ok(ContainersStorage::open(root, storage.driver.as_deref())?)
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
            Origin::Local => "here",
            Origin::Delta(layout) => layout.name(),
            Origin::Blob => "blob",
            _ => "?",
        };
        table.row(vec![
            short(&layer.diff_id).into(),
            from.into(),
            layer.fetched.to_string(),
            layer.blob_size.to_string(),
        ]);
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
