//! Deltas that are merged of published ones, in place of comparing the layers.
//!
//! With deltas from v1 to v2 and from v2 to v3 published, the one from v1 to v3 is made of both, with
//! less CPU: most of what is left compresses it. It may be larger than one that is made of the layers, and it is applied
//! before it is published, like any other.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer::{DiffId, Digest, SpoolOptions};
use oci_spec::image::Descriptor;

use super::image::ImagePublisher;
use crate::chain::{BaseFiles, LayerFiles, Places, UsableDelta, plain_chains};
use crate::delta::{LayerOf, MergedParts};
use crate::discover::Candidate;
use crate::image::{ImageIn, ImageLayer};
use crate::store::{Base, LayerStore, Sources};
use crate::{Error, Result};

/// The longest time that the search for deltas to be merged takes, for each old image.
const MAX_TIME: Duration = Duration::from_secs(30);

/// The old layer that merged deltas read, as a place of which only that is asked.
#[derive(Debug)]
struct OldLayer {
    layer: DiffId,
    /// The config of its image, of which it is the only layer.
    config: Digest,
}

impl fmt::Display for OldLayer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "layer {}", self.layer)
    }
}

impl LayerStore for OldLayer {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(match base {
            Base::Layer(layer) => layer == self.layer,
            Base::Image(config) => config == self.config,
        })
    }

    fn sources(&self, base: Base, _: &SpoolOptions) -> Result<Sources> {
        Err(Error::NotFound { what: format!("{base} in {self}") })
    }
}

impl ImagePublisher<'_> {
    /// Merges the published deltas that lead from the only layer of an old image to layers that it lacks, where they can
    /// be. Whoever asks the cache for such a delta gets the merged one. Returns true if there is one.
    pub(super) async fn merge_deltas(&self, source: &ImageIn<'_>) -> Result<bool> {
        let [only] = source.image.layers.as_slice() else { return Ok(false) };
        let old = OldLayer { layer: only.diff_id, config: source.image.config_digest };
        let mut lacking = self.target.layers_not_in(source.image);
        // What has a delta of its own needs none that is merged.
        let candidates = &self.found.candidates;
        let is_direct =
            |delta: &Candidate| [Base::Layer(old.layer), Base::Image(old.config)].contains(&delta.base);
        lacking.retain(|layer| !candidates.iter().any(|delta| delta.to == layer.diff_id && is_direct(delta)));
        let stores: [Arc<dyn LayerStore>; 1] = [Arc::new(old)];
        let places = Places {
            repository: self.publisher.to,
            stores: &stores,
            temp_dir: self.cache.dir(),
            watch: &self.publisher.watch,
        };
        let until = Instant::now() + MAX_TIME;
        let chains = plain_chains(&places, self.target, &lacking, &self.found, until).await?;
        let mut is_merged = false;
        for layer in lacking {
            let Some(parts) = chains.get(&layer.diff_id).and_then(parts) else { continue };
            let old = LayerOf { repository: source.repository, layer: only };
            is_merged |= self.merge_into_cache(old, layer, &parts).await?;
        }
        Ok(is_merged)
    }

    async fn merge_into_cache(
        &self,
        old: LayerOf<'_>,
        layer: &ImageLayer,
        parts: &[Descriptor],
    ) -> Result<bool> {
        let parts = MergedParts { repository: self.publisher.to, deltas: parts };
        match self.cache.merge(old, layer, parts).await {
            Ok(is_merged) => Ok(is_merged),
            // What cannot be merged, or makes something else, is made of the layers.
            Err(
                Error::Diff(tar_diff::Error::CannotMerge { .. } | tar_diff::Error::Delta(_))
                | Error::Patch(_),
            ) => Ok(false),
            Err(error) if error.is_of_one_layer() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Returns the deltas of a chain, each of which reads the one layer that the delta before makes; `None` if others do.
fn parts(chain: &UsableDelta) -> Option<Vec<Descriptor>> {
    let (mut parts, mut made) = (Vec::new(), None);
    let before = chain.before.iter().map(|step| (step.layer.diff_id, step.delta.as_ref()));
    let last = (chain.delta.to, &chain.delta, &chain.files);
    let steps = before.map(|(to, delta)| delta.map(|(delta, files)| (to, delta, files))).chain([Some(last)]);
    for step in steps {
        let (to, delta, files) = step?;
        let is_next = match (files, made) {
            (BaseFiles::Here(..), None) => true,
            (BaseFiles::Layers(layers), Some(made)) => {
                matches!(layers.as_slice(), [LayerFiles::Made(layer)] if *layer == made)
            }
            _ => false,
        };
        if !is_next {
            return None;
        }
        parts.push(delta.blob.clone());
        made = Some(to);
    }
    (parts.len() > 1).then_some(parts)
}
