//! The report of a pull.

use layer::{DiffId, Digest};
use serde::Serialize;

use super::fetcher::Fetched;
use crate::discover::{Candidate, Published};
use crate::image::{Image, ImageLayer};

/// The report of a pull.
#[derive(Debug, Clone, Serialize)]
pub struct PullReport {
    /// Digest of the manifest that was asked for.
    pub manifest: Digest,
    /// Digest of the manifest in the layout: another one if a layer was rebuilt from a delta. A tree
    /// keeps the one that was asked for.
    pub stored_manifest: Digest,
    /// Digest of the config: the image's id, the same in both.
    pub config: Digest,
    /// Bytes fetched for layers and deltas, and to find them.
    pub fetched: u64,
    /// Bytes that a pull without deltas would have fetched.
    pub plain: u64,
    /// The layers, lowest first.
    pub layers: Vec<PulledLayer>,
}

impl PullReport {
    /// Returns the report for an image that was there.
    pub fn of_local(image: &Image) -> Self {
        Self {
            manifest: image.manifest.digest,
            stored_manifest: image.manifest.digest,
            config: image.config_digest,
            fetched: 0,
            plain: 0,
            layers: image.layers.iter().map(|layer| PulledLayer::of(layer, None)).collect(),
        }
    }
}

/// A layer that was pulled.
#[derive(Debug, Clone, Serialize)]
pub struct PulledLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// The place from which it came.
    pub from: Origin,
    /// The layers that were made of deltas to make it, in their order: it is the last one, and the only one where its
    /// delta reads what is here.
    pub steps: Vec<PulledStep>,
    /// Bytes fetched for it; with deltas that failed, those of the deltas too.
    pub fetched: u64,
    /// Size of its blob in bytes.
    pub blob_size: u64,
    /// The reason why it was not rebuilt from the smallest delta, and from others that were tried.
    pub delta_failed: Option<String>,
    /// The reason why no delta was used, if the registry sends the layer sooner.
    pub slower: Option<String>,
}

/// A layer that was made, to make another one of it or for its own sake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PulledStep {
    /// The layer.
    pub diff_id: DiffId,
    /// The place from which it came.
    pub from: Origin,
    /// The digest of what its delta reads: of an image's config, or the diff_id of a layer.
    pub source: Option<Digest>,
    /// Bytes fetched for it.
    pub fetched: u64,
}

impl PulledStep {
    /// A layer that was made of a delta.
    pub(super) fn of_delta(layer: &ImageLayer, delta: &Candidate) -> Self {
        let (diff_id, from) = (layer.diff_id, Origin::Delta(delta.layout));
        Self { diff_id, from, source: Some(delta.base.digest()), fetched: delta.blob.size() }
    }

    /// A layer of another image whose blob was fetched.
    pub(super) fn of_blob(layer: &ImageLayer) -> Self {
        let fetched = layer.blob.size();
        Self { diff_id: layer.diff_id, from: Origin::Blob, source: None, fetched }
    }
}

/// The place from which a layer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// It was here.
    Local,
    /// It was rebuilt from a delta.
    Delta(Published),
    /// It was fetched.
    Blob,
}

impl PulledLayer {
    /// Makes the report of a layer, which was there if it was not fetched.
    pub(super) fn of(layer: &ImageLayer, fetched: Option<&Fetched>) -> Self {
        Self {
            diff_id: layer.diff_id,
            from: fetched.map_or(Origin::Local, |fetched| fetched.origin),
            steps: fetched.map(|fetched| fetched.steps.clone()).unwrap_or_default(),
            fetched: fetched.map_or(0, |fetched| fetched.size),
            blob_size: layer.blob.size(),
            delta_failed: fetched.and_then(|fetched| fetched.delta_failed.clone()),
            slower: fetched.and_then(|fetched| fetched.slower.clone()),
        }
    }
}
