//! The report of what was published.

use layer::{DiffId, Digest};
use serde::Serialize;

use super::PublishedRecipe;
use crate::delta::Merged;
use crate::discover::Published;
use crate::image::Platform;

/// The deltas and artifacts that were published.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PublishReport {
    /// The deltas that were made, and those that were there.
    pub deltas: Vec<PublishedDelta>,
    /// Digests of the oci-delta artifacts.
    pub artifacts: Vec<Digest>,
    /// Digests of the oci-delta artifacts that are listed under the index of their image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub index_artifacts: Vec<Digest>,
    /// Digests of the artifacts with tardf3 deltas.
    pub tardf3_artifacts: Vec<Digest>,
    /// The recipes of the blobs of layers that an old image lacks.
    pub recipes: Vec<PublishedRecipe>,
    /// Digests of the artifacts with recipes of blobs.
    pub recipe_artifacts: Vec<Digest>,
    /// Digests of the delta manifests in `_deltaindex`.
    pub delta_manifests: Vec<Digest>,
    /// Digests of the old images that have too many layers for deltas in `_deltaindex`.
    pub not_in_delta_index: Vec<Digest>,
    /// The reasons why some could not be published, although others were.
    pub failures: Vec<String>,
}

impl PublishReport {
    /// Adds what was published to the same images after this, from other old images. A recipe is of the new image
    /// alone, so that the second time it is there, and says nothing new.
    pub(crate) fn append(&mut self, other: Self) {
        self.deltas.extend(other.deltas);
        self.artifacts.extend(other.artifacts);
        self.index_artifacts.extend(other.index_artifacts);
        self.tardf3_artifacts.extend(other.tardf3_artifacts);
        let is_known = |known: &PublishedRecipe, of: &PublishedRecipe| {
            (known.new, known.diff_id) == (of.new, of.diff_id)
        };
        extend_by_new(&mut self.recipes, other.recipes, is_known);
        extend_by_new(&mut self.recipe_artifacts, other.recipe_artifacts, PartialEq::eq);
        extend_by_new(&mut self.delta_manifests, other.delta_manifests, PartialEq::eq);
        extend_by_new(&mut self.not_in_delta_index, other.not_in_delta_index, PartialEq::eq);
        extend_by_new(&mut self.failures, other.failures, PartialEq::eq);
    }
}

/// Adds those of `others` that are not known.
fn extend_by_new<T>(all: &mut Vec<T>, others: Vec<T>, is_known: impl Fn(&T, &T) -> bool) {
    for other in others {
        if !all.iter().any(|known| is_known(known, &other)) {
            all.push(other);
        }
    }
}

/// A delta of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedDelta {
    /// Platform of the image.
    pub platform: Platform,
    /// Digest of the old image's manifest.
    pub old: Digest,
    /// Digest of the new image's manifest.
    pub new: Digest,
    /// The layer that it rebuilds.
    pub diff_id: DiffId,
    /// The place where it is published.
    pub layout: Published,
    /// Size of the layer's blob in bytes.
    pub blob_size: u64,
    /// Size of the delta in bytes; `None` if there was one already.
    pub delta_size: Option<u64>,
    /// Seconds that it took to make and to apply it; `None` if there was one already.
    pub seconds: Option<f64>,
    /// The published deltas that it was merged of, if it was not made of the layers.
    pub merged: Option<Merged>,
    /// The reason why it was not merged of published deltas, if that was asked for.
    pub not_merged: Option<String>,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome for a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was published.
    Published,
    /// One was published before.
    AlreadyThere,
    /// It is not smaller than the layer's blob, so nobody needs it.
    NotSmaller,
    /// It could not be made: a layer is no tar that can be read, as a warning says. Who pulls gets the layer
    /// itself.
    Failed,
    /// It sees through nothing, or not enough: another delta is little larger, and every client reads it.
    NoGain,
    /// The repository refused to list it.
    Refused,
    /// `_deltaindex` has no room for it: other deltas save more.
    NoRoom,
}
