//! The decision how each layer of an image is had: made of a delta, or fetched from the registry.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer::{BlobDigest, Digest};
use oci_spec::image::Descriptor;
use tokio::sync::OnceCell;

use super::rewrite::{Record, Tar};
use crate::chain::UsableDelta;
use crate::cost::Way;
use crate::image::{Image, ImageLayer};
use crate::oci::Manifest;

/// The time after which the decision is made anew for a client that asks for the manifest again: deltas are
/// published, and images are installed.
const MAX_AGE: Duration = Duration::from_secs(30);

/// An image whose manifest was served.
#[derive(Debug)]
pub(super) struct ImageEntry {
    /// Its manifest.
    pub(super) manifest: Manifest,
    /// The verdict by which it is given in place of another one.
    pub(super) rewritten: Option<Arc<Record>>,
    /// The decision, once it is made.
    pub(super) decision: OnceCell<Arc<Decision>>,
    began: Instant,
}

impl ImageEntry {
    pub(super) fn new(manifest: Manifest) -> Self {
        Self { manifest, rewritten: None, decision: OnceCell::new(), began: Instant::now() }
    }

    /// An image that is given in place of another one.
    pub(super) fn rewritten(manifest: Manifest, record: &Arc<Record>) -> Self {
        Self { rewritten: Some(Arc::clone(record)), ..Self::new(manifest) }
    }

    /// The manifest that the registry has of it, for which deltas are published.
    pub(super) fn original(&self) -> &Manifest {
        let rewrite = self.rewritten.as_ref().and_then(|record| record.rewrite.as_ref());
        rewrite.map_or(&self.manifest, |rewrite| &rewrite.original_image)
    }

    /// The tar of a layer that is given uncompressed.
    pub(super) fn tar(&self, digest: Digest) -> Option<&Tar> {
        self.rewritten.as_ref()?.tar(digest)
    }

    /// True if the decision is young, or not made yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.began.elapsed() < MAX_AGE
    }
}

/// A layer that is made of a delta.
#[derive(Debug, Clone)]
pub(super) struct RebuildPlan {
    /// The layer.
    pub(super) layer: ImageLayer,
    /// The deltas that may make its tar, the best first.
    pub(super) deltas: VecDeque<UsableDelta>,
    /// The recipe that makes its blob of the tar; `None` if the tar is the blob.
    pub(super) recipe: Option<Descriptor>,
}

/// The way in which each layer of an image is had.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// The image; `None` if it could not be read.
    pub(super) image: Option<Image>,
    /// The layers that are made of deltas. All others are fetched.
    pub(super) rebuilt: HashMap<BlobDigest, RebuildPlan>,
    /// The layers whose tars could be made of deltas, but not their blobs, since those have no recipe.
    pub(super) unrecorded: HashMap<BlobDigest, RebuildPlan>,
    /// The reasons why others are not, for people.
    pub(super) reasons: HashMap<BlobDigest, String>,
}

impl RebuildPlan {
    /// The best of its deltas with the recipe; `None` if there is no delta.
    pub(super) fn way(&self) -> Option<Way<'_>> {
        Some(self.deltas.front()?.way(&self.layer, self.recipe.as_ref()))
    }
}
