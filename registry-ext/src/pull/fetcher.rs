//! One layer: from a delta, or whole.

use std::fs::File;
use std::path::Path;

use layer::{DiffId, Spool, SpoolOptions};
use oci_spec::image::Descriptor;

use super::{Origin, PullOptions, tar_blob};
use crate::delta::{check_diff_id, short};
use crate::discover::{Candidate, one_line};
use crate::error::blocking;
use crate::image::ImageLayer;
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

/// Fetches layers, each in the cheapest way that works.
pub(super) struct Fetcher<'p> {
    pub(super) repository: &'p Repository,
    pub(super) layout: &'p OciLayout,
    pub(super) downloads: &'p Path,
    pub(super) options: &'p PullOptions,
    pub(super) watch: &'p Watch,
}

impl Fetcher<'_> {
    pub(super) async fn layer(
        &self,
        layer: &ImageLayer,
        delta: Option<(&Candidate, &dyn LayerStore)>,
    ) -> Result<Fetched> {
        let (mut size, mut delta_failed) = (0, None);
        if let Some((delta, source)) = delta {
            match self.rebuild(layer, delta, source).await {
                Ok(blob) => {
                    let origin = Origin::Delta(delta.layout);
                    let size = delta.blob.size();
                    return Ok(Fetched { diff_id: layer.diff_id, blob, origin, size, delta_failed });
                }
                Err(error) => {
                    let reason = one_line(&error);
                    self.watch.warn(&format!(
                        "the delta of layer {} cannot be used, its blob is fetched: {reason}",
                        short(layer.diff_id)
                    ));
                    size += delta.blob.size();
                    delta_failed = Some(reason);
                }
            }
        }
        self.whole(layer).await?;
        size += layer.blob.size();
        Ok(Fetched {
            diff_id: layer.diff_id,
            blob: layer.blob.clone(),
            origin: Origin::Blob,
            size,
            delta_failed,
        })
    }

    async fn rebuild(
        &self,
        layer: &ImageLayer,
        delta: &Candidate,
        source: &dyn LayerStore,
    ) -> Result<Descriptor> {
        let task = self.watch.start(format!("delta {}", short(layer.diff_id)), delta.blob.size());
        let path = self.repository.blob(&delta.blob, self.downloads, &|bytes| task.advance(bytes)).await?;
        let spool = self.spool_options();
        let mut files = tokio::task::block_in_place(|| source.sources(delta.base, &spool))?;
        let (layout, expected, max_output) =
            (self.layout.clone(), layer.diff_id, self.options.max_layer_size);
        blocking(move || {
            let delta = File::open(&path).map_err(Error::io("open", &path))?;
            let mut output = layout.temporary()?;
            let options =
                tar_patch::ApplyOptions { expected: Some(expected), max_output, ..Default::default() };
            let applied = tar_patch::apply(delta, &mut files, options, output.as_file_mut())?;
            layout.add_blob(expected.0, output)?;
            Ok(tar_blob(expected, applied.size))
        })
        .await
    }

    /// Fetches the layer's own blob, and stores it if it unpacks to the layer.
    async fn whole(&self, layer: &ImageLayer) -> Result<()> {
        let task = self.watch.start(format!("layer {}", short(layer.diff_id)), layer.blob.size());
        let path = self.repository.blob(&layer.blob, self.downloads, &|bytes| task.advance(bytes)).await?;
        let (layout, layer, options) = (self.layout.clone(), layer.clone(), self.spool_options());
        blocking(move || {
            check_diff_id(Spool::open(&path, &options)?.diff_id()?, layer.diff_id)?;
            layout.put_blob(layer.digest.0, &path)
        })
        .await
    }

    fn spool_options(&self) -> SpoolOptions {
        SpoolOptions { temp_dir: self.options.temp_dir.clone(), max_size: self.options.max_layer_size }
    }
}
