//! One layer: from a delta, or whole.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;

use layer::{DiffId, Spool, SpoolOptions};
use oci_spec::image::Descriptor;
use tar_patch::Fault;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use super::budget::{Budget, MAX_FAILURES};
use super::{Origin, PullOptions, tar_blob};
use crate::artifact::is_tardf3;
use crate::discover::Candidate;
use crate::error::blocking;
use crate::image::ImageLayer;
use crate::oci::{check_diff_id, short};
use crate::repository::Repository;
use crate::store::{LayerStore, OciLayout};
use crate::watch::Watch;
use crate::{Error, Result};

/// A layer that was fetched.
pub(super) struct Fetched {
    pub(super) diff_id: DiffId,
    pub(super) blob: Descriptor,
    pub(super) origin: Origin,
    pub(super) size: u64,
    pub(super) delta_failed: Option<String>,
}

/// The ways to get a layer without its blob.
#[derive(Default)]
pub(super) struct BlobSources<'p> {
    /// Deltas, and where their sources are: best first.
    pub(super) deltas: VecDeque<(&'p Candidate, &'p dyn LayerStore)>,
    /// How the blob is made of the tar, if the tar alone is not enough.
    pub(super) recipe: Option<Descriptor>,
    /// A blob of the layer that is here, but is another one than the manifest's.
    pub(super) here: Option<Descriptor>,
}

/// Fetches layers, each in the cheapest way that works.
pub(super) struct Fetcher<'p> {
    pub(super) repository: &'p Repository,
    pub(super) layout: &'p OciLayout,
    pub(super) downloads: &'p Path,
    pub(super) options: &'p PullOptions,
    pub(super) watch: &'p Watch,
}

impl Fetcher<'_> {
    /// Fetches a layer in the first way that works: of what is here, by the `deltas` in their order, whole.
    /// Deltas that fail cost fewer bytes than the layer's blob, all together, and they are few, within a
    /// [`Budget`].
    pub(super) async fn layer(&self, layer: &ImageLayer, mut ways: BlobSources<'_>) -> Result<Fetched> {
        let (mut size, mut failures) = (0, Vec::new());
        let budget = Budget::new(layer, self.repository.line_rate(), self.options.max_layer_size);
        let recipe = ways.recipe.as_ref();
        if let (Some(here), Some(recipe)) = (&ways.here, recipe) {
            size += recipe.size();
            match self.remake_local(layer, here, recipe).await {
                Ok(blob) => {
                    let (diff_id, origin) = (layer.diff_id, Origin::Local);
                    return Ok(Fetched { diff_id, blob, origin, size, delta_failed: None });
                }
                // Its tar would be the same if a delta made it.
                Err(error) => {
                    ways.deltas.clear();
                    self.failed(layer, "what is here of", &mut failures, false, &error);
                }
            }
        }
        let (blob, origin) = loop {
            let Some((delta, source)) = ways.deltas.pop_front() else {
                self.whole(layer).await?;
                size += layer.blob.size();
                break (layer.blob.clone(), Origin::Blob);
            };
            size += delta.blob.size();
            let (tar, tar_size) = match self.rebuild(layer, delta, source, budget).await {
                Ok(rebuilt) => rebuilt,
                Err(error) => {
                    ways.deltas.retain(|(other, _)| {
                        may_work(other, delta, &error) && size + other.blob.size() < layer.blob.size()
                    });
                    if failures.len() + 1 == MAX_FAILURES || !budget.has_time() {
                        ways.deltas.clear();
                    }
                    self.failed(layer, "the delta of", &mut failures, !ways.deltas.is_empty(), &error);
                    continue;
                }
            };
            let stored = match recipe {
                Some(recipe) => {
                    size += recipe.size();
                    let name = tar.path().display().to_string();
                    let file = tar.reopen().map_err(Error::io("open", tar.path()))?;
                    self.remake(layer, recipe, Spool::of_file(name, file, tar_size)).await
                }
                None => {
                    self.layout.add_blob(layer.diff_id.0, tar)?;
                    Ok(tar_blob(layer.diff_id, tar_size))
                }
            };
            match stored {
                Ok(blob) => break (blob, Origin::Delta(delta.layout)),
                Err(error) => {
                    ways.deltas.clear();
                    self.failed(layer, "the recipe of the blob of", &mut failures, false, &error);
                }
            }
        };
        let delta_failed = Some(failures.join("; ")).filter(|_| !failures.is_empty());
        Ok(Fetched { diff_id: layer.diff_id, blob, origin, size, delta_failed })
    }

    /// Warns of a way that failed, and notes it.
    fn failed(
        &self,
        layer: &ImageLayer,
        what: &str,
        failures: &mut Vec<String>,
        is_another_tried: bool,
        error: &Error,
    ) {
        let reason = error.one_line();
        let next = if is_another_tried { "another is tried" } else { "its blob is fetched" };
        self.watch.warn(&format!("{what} layer {} cannot be used, {next}: {reason}", short(layer.diff_id)));
        failures.push(reason);
    }

    /// Rebuilds the tar of a layer. Gives its size in bytes too.
    async fn rebuild(
        &self,
        layer: &ImageLayer,
        delta: &Candidate,
        source: &dyn LayerStore,
        budget: Budget,
    ) -> Result<(NamedTempFile, u64)> {
        let task = self.watch.start(format!("delta {}", short(layer.diff_id)), delta.blob.size());
        let advance = |bytes| task.advance(bytes);
        let fetch = self.repository.blob(&delta.blob, self.downloads, &advance);
        let Ok(path) = timeout(budget.time_left(), fetch).await else {
            return Err(Error::malformed("delta", "it takes longer to fetch than the whole layer"));
        };
        let (path, spool) = (path?, self.spool_options());
        let mut files = tokio::task::block_in_place(|| source.sources(delta.base, &spool))?;
        let (layout, expected) = (self.layout.clone(), layer.diff_id);
        blocking(move || {
            let delta = File::open(&path).map_err(Error::io("open", &path))?;
            let mut output = layout.temporary()?;
            let work = budget.work();
            let options = tar_patch::ApplyOptions {
                expected: Some(expected),
                max_output: budget.max_output,
                budget: Some(&work),
                ..Default::default()
            };
            let applied = tar_patch::apply(delta, &mut files, options, output.as_file_mut())?;
            Ok((output, applied.size))
        })
        .await
    }

    /// Fetches the layer's own blob, and stores it if it unpacks to the layer.
    pub(super) async fn whole(&self, layer: &ImageLayer) -> Result<()> {
        let task = self.watch.start(format!("layer {}", short(layer.diff_id)), layer.blob.size());
        let path = self.repository.blob(&layer.blob, self.downloads, &|bytes| task.advance(bytes)).await?;
        let (layout, layer, options) = (self.layout.clone(), layer.clone(), self.spool_options());
        blocking(move || {
            check_diff_id(Spool::open(&path, &options)?.diff_id()?, layer.diff_id)?;
            layout.put_blob(layer.digest.0, &path)
        })
        .await
    }

    pub(super) fn spool_options(&self) -> SpoolOptions {
        SpoolOptions { temp_dir: self.options.temp_dir.clone(), max_size: self.options.max_layer_size }
    }
}

/// Whether a delta may rebuild a layer although another one `failed` to. Where the files that both read
/// are others than they should be, it will not; but only tardf3 has to decode them.
fn may_work(delta: &Candidate, failed: &Candidate, error: &Error) -> bool {
    match error {
        Error::Patch(error) => match error.fault() {
            Fault::Base => delta.base != failed.base || is_tardf3(&failed.blob),
            Fault::System => false,
            _ => true,
        },
        _ => true,
    }
}
