//! The layout `_deltaindex`: an index of delta manifests under a tag of the image's repository.
//!
//! flatpak reads the first entry for a target and no other, so there is one delta manifest per
//! target, which holds the deltas from all sources. It never falls back: what stands here must be
//! right, and must be a tardf1.

use layer::{DiffId, Digest};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, ImageManifestBuilder, MediaType};

use super::{ANNOTATION_FROM, ANNOTATION_TARGET, ANNOTATION_TO, DELTA_CONFIG, TAR_DIFF, is_tar_diff};
use crate::oci::{
    EMPTY_JSON, annotated, descriptor, descriptor_of, digest_annotation, digest_of, to_annotations, to_json,
};
/// A delta of one layer from one other layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDelta {
    /// The layer that it reads.
    pub from: DiffId,
    /// The layer that it rebuilds.
    pub to: DiffId,
    /// The delta's blob. Its `urls` are kept: some producers use them in place of the repository.
    pub blob: Descriptor,
}

impl LayerDelta {
    /// A delta that is stored as a blob of the repository.
    pub fn new(from: DiffId, to: DiffId, digest: Digest, size: u64) -> Self {
        Self { from, to, blob: descriptor(TAR_DIFF, digest, size) }
    }

    fn pair(&self) -> (DiffId, DiffId) {
        (self.from, self.to)
    }
}

/// Writes the delta manifest of `target` (the digest of an image manifest).
///
/// The first delta of a (from, to) pair wins in every reader, so the smallest comes first and the
/// others are left out.
pub fn build(target: Digest, deltas: &[LayerDelta]) -> Vec<u8> {
    let layers = best(deltas).into_iter().map(|delta| {
        let from_to = [(ANNOTATION_FROM, delta.from.to_string()), (ANNOTATION_TO, delta.to.to_string())];
        annotated(delta.blob, from_to)
    });
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor_of(DELTA_CONFIG, EMPTY_JSON))
        .layers(layers.collect::<Vec<_>>())
        .annotations(to_annotations([(ANNOTATION_TARGET, target.to_string())]))
        .build()
        .expect("every mandatory field is set");
    to_json(&manifest)
}

/// The smallest delta of each pair, smallest first; of equal ones the one that came first.
fn best(deltas: &[LayerDelta]) -> Vec<LayerDelta> {
    let mut sorted = deltas.to_vec();
    sorted.sort_by_key(|delta| delta.blob.size());
    let mut best: Vec<LayerDelta> = Vec::with_capacity(sorted.len());
    for delta in sorted {
        if best.iter().all(|kept| kept.pair() != delta.pair()) {
            best.push(delta);
        }
    }
    best
}

/// The deltas of a delta manifest. `schemaVersion` 1 and the older media type are accepted; layers
/// that are no deltas, or do not say from what to what, are left out.
pub fn deltas_of(manifest: &ImageManifest) -> Vec<LayerDelta> {
    let delta = |layer: &Descriptor| {
        Some(LayerDelta {
            from: DiffId(digest_annotation(layer, ANNOTATION_FROM)?),
            to: DiffId(digest_annotation(layer, ANNOTATION_TO)?),
            blob: layer.clone(),
        })
    };
    manifest.layers().iter().filter(|layer| is_tar_diff(layer)).filter_map(delta).collect()
}

/// The target of an entry of an index.
pub(crate) fn target_of(entry: &Descriptor) -> Option<Digest> {
    digest_annotation(entry, ANNOTATION_TARGET)
}

/// The entries of an index for `target`, in order. Readers use the first.
pub fn entries_for(index: &ImageIndex, target: Digest) -> Vec<Descriptor> {
    let is_wanted = |entry: &&Descriptor| digest_annotation(entry, ANNOTATION_TARGET) == Some(target);
    index.manifests().iter().filter(is_wanted).cloned().collect()
}

/// The index with exactly one entry for `target`: the delta manifest with these bytes, in the place
/// of the first that was there, or else before the targets with larger digests, so that publishers who work at one time
/// write the same index in any order. `None` removes the target.
pub fn with_entry(index: &ImageIndex, target: Digest, manifest: Option<&[u8]>) -> ImageIndex {
    let entry = manifest.map(|bytes| {
        let entry = descriptor_of(MediaType::ImageManifest.as_ref(), bytes);
        annotated(entry, [(ANNOTATION_TARGET, target.to_string())])
    });
    let mut manifests = index.manifests().clone();
    let is_target = |entry: &Descriptor| digest_annotation(entry, ANNOTATION_TARGET) == Some(target);
    let is_after = |entry: &Descriptor| digest_annotation(entry, ANNOTATION_TARGET) > Some(target);
    let place = manifests.iter().position(is_target).or_else(|| manifests.iter().position(is_after));
    let place = place.unwrap_or(manifests.len());
    manifests.retain(|entry| !is_target(entry));
    if let Some(entry) = entry {
        manifests.insert(place, entry);
    }
    let mut changed = index.clone();
    changed.set_manifests(manifests);
    changed
}

/// The targets of an index: digest of the image manifest, digest of the delta manifest. Entries whose digest
/// is no sha256 are left out.
pub fn targets(index: &ImageIndex) -> Vec<(Digest, Digest)> {
    let target =
        |entry: &Descriptor| Some((digest_annotation(entry, ANNOTATION_TARGET)?, digest_of(entry).ok()?));
    index.manifests().iter().filter_map(target).collect()
}
