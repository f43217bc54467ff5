//! One layer into a layout: from what is there, from a delta, or whole.

use std::collections::VecDeque;

use layer::{DiffId, Spool, open_regular};
use oci_spec::image::Descriptor;
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::OnceCell;

use super::budget::Budget;
use super::rebuild::{Rebuilder, Rebuilt, Spent};
use super::report::PulledStep;
use super::{Origin, tar_blob};
use crate::chain::UsableDelta;
use crate::cost::{Known, Pace, Prefer, keep_faster};
use crate::error::blocking;
use crate::image::ImageLayer;
use crate::oci::{check_diff_id, hex, short};
use crate::store::OciLayout;
use crate::{Error, Result};

/// A layer that was fetched.
pub(super) struct Fetched {
    pub(super) diff_id: DiffId,
    pub(super) blob: Descriptor,
    pub(super) origin: Origin,
    pub(super) steps: Vec<PulledStep>,
    pub(super) size: u64,
    pub(super) delta_failed: Option<String>,
    /// The reason why no delta was used, if the registry sends the layer sooner.
    pub(super) slower: Option<String>,
}

/// The sources that a layer can be made of without its blob.
#[derive(Default)]
pub(super) struct BlobSources {
    /// Deltas, the best first.
    pub(super) deltas: VecDeque<UsableDelta>,
    /// The recipe that makes the blob of the tar, if the tar alone is not enough.
    pub(super) recipe: Option<Descriptor>,
    /// A blob of the layer that is in the layout, but is another one than the manifest's.
    pub(super) here: Option<Descriptor>,
}

/// Fetches layers into a layout, each in the cheapest way that works.
pub(super) struct Fetcher<'p> {
    pub(super) rebuilder: Rebuilder<'p>,
    pub(super) layout: &'p OciLayout,
    /// The resource that is saved first.
    pub(super) prefer: Prefer,
    /// The pace of this host, measured once it is needed.
    pub(super) pace: OnceCell<Pace>,
    /// The rate of the line in bytes a second, where that is given.
    pub(super) line: Option<u64>,
}

impl Fetcher<'_> {
    /// Fetches a layer in the first way that works: from what is in the layout, from its deltas in their
    /// order, whole.
    pub(super) async fn layer(&self, layer: &ImageLayer, sources: BlobSources) -> Result<Fetched> {
        let BlobSources { mut deltas, recipe, here } = sources;
        let mut spent = Spent::default();
        let (line, max_size) = (self.rebuilder.repository.line_rate(), self.rebuilder.spool.max_size);
        let budget = Budget::new(layer, line, max_size);
        if let (Some(here), Some(recipe)) = (&here, &recipe) {
            spent.bytes += recipe.size();
            match self.remake_local(layer, here, recipe).await {
                Ok(blob) => return Ok(fetched(layer, blob, Origin::Local, spent)),
                // Its tar would be the same if a delta made it.
                Err(error) => {
                    deltas.clear();
                    self.rebuilder.failed(layer, "what is here of", false, &error, &mut spent);
                }
            }
        }
        let slower = self.drop_slower(layer, &mut deltas, recipe.as_ref()).await?;
        if let Some(mut rebuilt) = self.rebuilder.rebuild(layer, deltas, budget, &mut spent).await {
            let (origin, steps) = (Origin::Delta(rebuilt.published), std::mem::take(&mut rebuilt.steps));
            match self.store(layer, rebuilt, recipe.as_ref(), &mut spent).await {
                Ok(blob) => return Ok(Fetched { steps, ..fetched(layer, blob, origin, spent) }),
                Err(error) if recipe.is_none() => return Err(error),
                Err(error) => {
                    self.rebuilder.failed(layer, "the recipe of the blob of", false, &error, &mut spent);
                }
            }
        }
        self.whole(layer).await?;
        spent.bytes += layer.blob.size();
        Ok(Fetched { slower, ..fetched(layer, layer.blob.clone(), Origin::Blob, spent) })
    }

    /// Drops the deltas by which a layer would come later than from the registry, as far as the line is known by now.
    async fn drop_slower(
        &self,
        layer: &ImageLayer,
        deltas: &mut VecDeque<UsableDelta>,
        recipe: Option<&Descriptor>,
    ) -> Result<Option<String>> {
        let line = self.line.or_else(|| self.rebuilder.repository.network_rate());
        let Some(line) = line.filter(|_| self.prefer == Prefer::Time && !deltas.is_empty()) else {
            return Ok(None);
        };
        let pace = self.pace.get_or_try_init(|| blocking(|| Ok(Pace::measured()))).await?;
        let known = Known { pace, line, checks_blobs: true };
        Ok(keep_faster(layer, deltas, |delta| delta.way(layer, recipe), known))
    }

    /// Stores a rebuilt layer: as the blob that its recipe makes of it, or else as its tar.
    async fn store(
        &self,
        layer: &ImageLayer,
        rebuilt: Rebuilt,
        recipe: Option<&Descriptor>,
        spent: &mut Spent,
    ) -> Result<Descriptor> {
        let Rebuilt { tar, size, .. } = rebuilt;
        let Some(recipe) = recipe else {
            let (layout, digest) = (self.layout.clone(), layer.diff_id.0);
            blocking(move || layout.add_blob(digest, tar)).await?;
            return Ok(tar_blob(layer.diff_id, size));
        };
        spent.bytes += recipe.size();
        let name = tar.path().display().to_string();
        let file = tar.reopen().map_err(Error::io("open", tar.path()))?;
        self.remake(layer, recipe, Spool::of_file(name, file, size)).await
    }

    /// Fetches the layer's own blob, and stores it if it unpacks to the layer.
    async fn whole(&self, layer: &ImageLayer) -> Result<()> {
        let Rebuilder { repository, dir, spool, watch } = &self.rebuilder;
        let task = watch.start(format!("layer {}", short(layer.diff_id)), layer.blob.size());
        // A directory for this layer alone: another one may claim the same blob, and writes to none that is stored.
        let dir = dir.join(hex(layer.diff_id.0));
        std::fs::create_dir(&dir).map_err(Error::io("create", &dir))?;
        let path = repository.blob(&layer.blob, &dir, &|bytes| task.advance(bytes)).await?;
        let (layout, layer, options) = (self.layout.clone(), layer.clone(), spool.clone());
        blocking(move || {
            check_diff_id(Spool::open_blob(&path, &options)?.diff_id()?, layer.diff_id)?;
            if !path.starts_with(&dir) {
                // It belongs to the layout that the image is pulled from.
                return layout.put_blob(layer.digest.0, &path);
            }
            let file = open_regular(&path).map_err(Error::io("open", &path))?;
            // Its digest was compared while it was downloaded.
            let place = TempPath::try_from_path(&path).map_err(Error::io("find", &path))?;
            layout.add_blob(layer.digest.0, NamedTempFile::from_parts(file, place))
        })
        .await
    }
}

fn fetched(layer: &ImageLayer, blob: Descriptor, origin: Origin, spent: Spent) -> Fetched {
    let delta_failed = Some(spent.failures.join("; ")).filter(|_| !spent.failures.is_empty());
    let (diff_id, size) = (layer.diff_id, spent.bytes);
    Fetched { diff_id, blob, origin, steps: Vec::new(), size, delta_failed, slower: None }
}
