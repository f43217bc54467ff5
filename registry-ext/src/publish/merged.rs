//! Deltas that are merged of published ones, in place of comparing the layers.
//!
//! With deltas from v1 to v2 and from v2 to v3 published, the ones from v1 to v3 are made of both, layer by layer: each
//! layer that v1 lacks has a delta that reads layers of v2, and those of them that v1 lacks have deltas that read v1.
//! That takes less CPU: most of what is left compresses the result. A merged delta may be larger than one
//! that is made of the layers, and it is applied before it is published, like any other.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delta_format::Version;
use layer::{DiffId, Digest, SpoolOptions};

use super::image::ImagePublisher;
use crate::artifact::is_tardf3;
use crate::artifact::oci_delta::Kind;
use crate::chain::{BaseFiles, LayerFiles, Places, Step, UsableDelta, plain_chains};
use crate::delta::{ImageMerger, LayersOf, MergeOutcome, MergeStep, PublishedPart, reason_not_merged};
use crate::discover::{Candidate, Published};
use crate::image::{ImageIn, ImageLayer};
use crate::store::{Base, LayerStore, Sources};
use crate::{Error, Result};

/// The longest time that the search for deltas to be merged takes, for each old image and layout.
const MAX_TIME: Duration = Duration::from_secs(30);

/// The old layers that merged deltas read, as a place of which only that is asked.
#[derive(Debug)]
struct OldLayers {
    layers: Vec<DiffId>,
    /// The config of the image whose layers they are, if they are all.
    config: Option<Digest>,
}

impl fmt::Display for OldLayers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} old layers", self.layers.len())
    }
}

impl OldLayers {
    /// Returns true if a delta reads them, and no others on the way.
    fn are_read_by(&self, delta: &Candidate) -> bool {
        match delta.base {
            Base::Layer(layer) => self.layers == [layer],
            Base::Image(config) => self.config == Some(config),
        }
    }

    /// Returns the layers that a delta of a chain reads, the lowest first.
    fn reads(&self, files: &BaseFiles) -> Vec<DiffId> {
        match files {
            BaseFiles::Here(Base::Layer(layer), _) => vec![*layer],
            BaseFiles::Here(Base::Image(_), _) => self.layers.clone(),
            BaseFiles::Layers(layers) => {
                let ids = layers.iter().map(|(LayerFiles::Here(id, _) | LayerFiles::Made(id))| *id);
                ids.collect()
            }
        }
    }

    /// Returns the steps of a chain to a layer.
    fn steps(&self, layer: &ImageLayer, chain: &UsableDelta) -> Vec<MergeStep> {
        let part = |(delta, files): &(Candidate, BaseFiles)| PublishedPart {
            blob: delta.blob.clone(),
            reads: self.reads(files),
        };
        let before = chain
            .before
            .iter()
            .map(|Step { layer, delta }| MergeStep { layer: layer.clone(), delta: delta.as_ref().map(part) });
        let mut steps: Vec<MergeStep> = before.collect();
        let last = part(&(chain.delta.clone(), chain.files.clone()));
        steps.push(MergeStep { layer: layer.clone(), delta: Some(last) });
        steps
    }
}

impl LayerStore for OldLayers {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(match base {
            Base::Layer(layer) => self.layers.contains(&layer),
            Base::Image(config) => self.config == Some(config),
        })
    }

    fn sources(&self, base: Base, _: &SpoolOptions) -> Result<Sources> {
        Err(Error::NotFound { what: format!("{base} in {self}") })
    }
}

/// A layer whose delta could not be merged.
#[derive(Debug)]
pub(super) struct NotMerged {
    layout: Published,
    layer: DiffId,
    reason: String,
}

impl ImagePublisher<'_> {
    /// Merges the published deltas that lead from an old image to layers that it lacks, where they can be:
    /// for artifacts those that read all its layers, and for `_deltaindex` those that read its last one.
    /// Whoever asks the cache for such a delta gets the merged one.
    pub(super) async fn merge_deltas(&mut self, source: &ImageIn<'_>) -> Result<()> {
        let (all, config) = (source.image.layers.as_slice(), source.image.config_digest);
        (self.is_merged, self.not_merged) = (false, Vec::new());
        let Some(last) = all.last() else { return Ok(()) };
        // What is published is not made again. An artifact that is there also tells which of its deltas were no smaller
        // than their blobs. `_deltaindex` does not list such deltas, so that each run merges them again.
        let lacks_artifact =
            self.has_artifacts() && self.artifact_from(source.image, Kind::OciDelta).is_none();
        let is_unlisted = self.is_indexed(source) && !self.lists_all(source.image);
        // The last layer of one is all of them.
        if lacks_artifact || (is_unlisted && all.len() == 1) {
            let all: Vec<&ImageLayer> = all.iter().collect();
            self.is_merged = self.merge_from(source, &all, Some(config), Published::Artifact).await?;
        }
        if is_unlisted && all.len() > 1 {
            self.merge_from(source, &[last], None, Published::DeltaIndex).await?;
        }
        Ok(())
    }

    /// Returns true if one of the deltas is merged.
    async fn merge_from(
        &mut self,
        source: &ImageIn<'_>,
        layers: &[&ImageLayer],
        config: Option<Digest>,
        layout: Published,
    ) -> Result<bool> {
        let old = OldLayers { layers: layers.iter().map(|layer| layer.diff_id).collect(), config };
        let old = Arc::new(old);
        let mut lacking = self.target.layers_not_in(source.image);
        // What has a delta of its own needs none that is merged.
        let candidates = &self.found.candidates;
        lacking.retain(|layer| {
            // A tardf3 is for few clients: the others need a merged one all the same.
            let is_its = |delta: &Candidate| delta.to == layer.diff_id && !is_tardf3(&delta.blob);
            !candidates.iter().any(|delta| is_its(delta) && old.are_read_by(delta))
        });
        let stores: [Arc<dyn LayerStore>; 1] = [Arc::<OldLayers>::clone(&old)];
        let places = Places {
            repository: self.publisher.to,
            stores: &stores,
            temp_dir: self.cache.dir(),
            watch: &self.publisher.watch,
        };
        let (until, over) = (Instant::now() + MAX_TIME, self.publisher.merge_over.as_ref());
        let chains = plain_chains(&places, self.target, &lacking, &self.found, over, until).await?;
        let old_layers = LayersOf { repository: source.repository, layers };
        // The clients that follow `_deltaindex` read tardf1 alone.
        let newest = if layout == Published::DeltaIndex { Version::V1 } else { Version::V2 };
        let (mut merger, mut is_merged) = (None, false);
        for layer in lacking {
            let steps = chains.get(&layer.diff_id).map(|chain| old.steps(layer, chain));
            let outcome = match steps {
                None => {
                    let reason = match self.publisher.force {
                        // All that is published counts for nothing.
                        true => "with --force, it is made of the layers",
                        false => {
                            "no deltas are published that follow each other and are smaller than the blob"
                        }
                    };
                    Ok(MergeOutcome::NotMerged(reason.into()))
                }
                Some(steps) => self.merge_steps(&mut merger, old_layers, &steps, newest).await,
            };
            match outcome.or_else(|error| reason_not_merged(error).map(MergeOutcome::NotMerged))? {
                MergeOutcome::Merged => is_merged = true,
                MergeOutcome::NotMerged(reason) => {
                    self.not_merged.push(NotMerged { layout, layer: layer.diff_id, reason });
                }
            }
        }
        Ok(is_merged)
    }

    async fn merge_steps<'m>(
        &self,
        merger: &mut Option<ImageMerger<'m>>,
        old: LayersOf<'_>,
        steps: &[MergeStep],
        newest: Version,
    ) -> Result<MergeOutcome>
    where
        Self: 'm,
    {
        if merger.is_none() {
            *merger = Some(ImageMerger::new(self.cache, self.publisher.to, old).await?);
        }
        match merger {
            Some(merger) => merger.merge(steps, newest).await,
            None => Err(Error::Panicked),
        }
    }

    /// Returns the reason why a delta was not merged, where that was asked for.
    pub(super) fn reason_not_merged(
        &self,
        layout: Published,
        layer: &ImageLayer,
        old: usize,
    ) -> Option<String> {
        // The artifacts and, where the old image has one layer, `_deltaindex` have the same delta.
        let layout = if old == 1 || layout == Published::Tardf3 { Published::Artifact } else { layout };
        let of_layer = |of: &&NotMerged| (of.layout, of.layer) == (layout, layer.diff_id);
        self.not_merged.iter().find(of_layer).map(|of| of.reason.clone())
    }
}
