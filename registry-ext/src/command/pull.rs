//! `registry-ext pull`

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use registry_ext::image::Platform;
use registry_ext::pull::{Destination, Origin, PullOptions, PullReport, pull};
use registry_ext::reference::ImageRef;
use registry_ext::repository::Name;
use registry_ext::store::{
    ContainersStorage, LayerStore, OciLayout, StorageRef, StoreRef, TreeStore, copy_to_storage,
};
use tempfile::TempDir;

use super::args::{PullArgs, short};
use super::context::{Context, default_storage_root};
use super::table::{Table, percent};
use super::{print, print_json};

/// The tag in a layout that only lives until another store has the image.
const PASSING_TAG: &str = "image";

pub(super) async fn run(context: &Context, args: &PullArgs) -> Result<()> {
    let repository = context.open(&args.image)?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let image = context.image(&repository, &args.image, &platform).await?;

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
    let into = Into::open(context, &args.into)?;
    if let Some(storage) = &into.storage {
        others.insert(0, Box::new(storage.clone()));
    }
    let sources: Vec<&dyn LayerStore> = std::iter::once(&into.layout as &dyn LayerStore)
        .chain(layouts.iter().map(|layout| layout as &dyn LayerStore))
        .chain(others.iter().map(AsRef::as_ref))
        .collect();
    let copies: Vec<&OciLayout> = layouts.iter().collect();
    let tag = into.tag(&args.image);
    let elsewhere = into.storage.as_ref().map_or_else(|| Ok(HashMap::new()), ContainersStorage::layers)?;
    let to = Destination { layout: &into.layout, tag: tag.as_deref(), elsewhere };
    let options = PullOptions {
        deltas: !args.no_deltas,
        concurrency: context.concurrency,
        temp_dir: context.temp_dir.clone(),
        ..PullOptions::default()
    };
    let report = pull(&repository, &image, to, (&sources, &copies), &options, &context.watch).await?;
    into.finish(&args.into).await?;
    show(context, &report)
}

/// The store that takes the image, and the layout that it goes through.
struct Into {
    layout: OciLayout,
    storage: Option<ContainersStorage>,
    tag: Option<String>,
    passes: bool,
    _dir: Option<TempDir>,
}

impl Into {
    fn open(context: &Context, store: &StoreRef) -> Result<Self> {
        let passing = || -> Result<(TempDir, OciLayout)> {
            let dir = TempDir::with_prefix_in("registry-ext-", &context.temp_dir)
                .with_context(|| format!("cannot make a directory in {}", context.temp_dir.display()))?;
            let layout = OciLayout::create(dir.path())?;
            Ok((dir, layout))
        };
        Ok(match store {
            StoreRef::Layout(dir, tag) => Self {
                layout: OciLayout::create(dir)?,
                storage: None,
                tag: tag.clone(),
                passes: false,
                _dir: None,
            },
            StoreRef::Archive(file, tag) => {
                let (dir, empty) = passing()?;
                let layout = if file.exists() { OciLayout::unpack(file, &context.temp_dir)? } else { empty };
                Self { layout, storage: None, tag: tag.clone(), passes: false, _dir: Some(dir) }
            }
            StoreRef::Storage(storage) => {
                if storage.name.is_none() {
                    bail!("say which name the image gets: --into containers-storage:NAME");
                }
                let (dir, layout) = passing()?;
                // Before the first image there is nothing to open.
                let storage = open_storage(storage).ok();
                Self { layout, storage, tag: None, passes: true, _dir: Some(dir) }
            }
            StoreRef::Tree(..) => {
                bail!("a tree is a source only; images go into oci:DIR or containers-storage:NAME")
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

    async fn finish(&self, store: &StoreRef) -> Result<()> {
        match store {
            StoreRef::Archive(file, _) => Ok(self.layout.pack(file)?),
            StoreRef::Storage(storage) => Ok(copy_to_storage(&self.layout, PASSING_TAG, storage).await?),
            _ => Ok(()),
        }
    }
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
    print(&format!(
        "{table}{} bytes fetched, a plain pull fetches {} ({})\n",
        report.fetched,
        report.plain,
        percent(report.fetched, report.plain),
    ))
}
