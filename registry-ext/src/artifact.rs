#![doc = include_str!("../ARTIFACT.md")]

pub mod blob_recipes;
pub mod delta_index;
pub mod oci_delta;

use delta_format::Version;
use layer::Digest;
use oci_spec::image::Descriptor;

use crate::oci::{annotated, annotation, hex};

/// Media type of a delta, tardf1 or tardf2.
pub const TAR_DIFF: &str = "application/vnd.tar-diff";
/// Media type of a tardf3 delta. It is another one, since clients take what has the media type of a
/// delta for one that they can read.
pub const TAR_DIFF_V3: &str = "application/vnd.tar-diff.v3";
/// Media type of a delta as flatpak-indexer writes it; it is read, never written.
pub const TAR_DIFF_REDHAT: &str = "application/vnd.redhat.tar-diff";
/// Media type of the config `{}` of a delta manifest in a `_deltaindex`.
pub const DELTA_CONFIG: &str = "application/vnd.redhat.delta.config.v1+json";

/// artifactType of an oci-delta artifact.
pub const ARTIFACT_TYPE: &str = "application/vnd.io.github.containers.oci-delta.v1";
/// artifactType that early versions of oci-delta wrote; it is read, never written.
pub const ARTIFACT_TYPE_REDHAT: &str = "application/vnd.redhat.oci-delta.v1";
/// artifactType of an artifact with tardf3 deltas. It is another one, since clients of oci-delta take
/// the first artifact from their image.
pub const ARTIFACT_TYPE_TARDF3: &str = "application/vnd.tar-diff.artifact.v3";
/// Media type of the recipe of a layer's blob.
pub const BLOB_RECIPE: &str = "application/vnd.tar-diff.blob-recipe.v1";
/// artifactType of an artifact with the recipes of an image's blobs.
pub const ARTIFACT_TYPE_BLOB_RECIPES: &str = "application/vnd.tar-diff.blob-recipes.v1";

/// Tag of the index of delta manifests.
pub const DELTA_INDEX_TAG: &str = "_deltaindex";

/// Annotation: digest of the target image's manifest.
pub const ANNOTATION_TARGET: &str = "io.github.containers.delta.target";
/// Annotation: digest of the source image's manifest.
pub const ANNOTATION_SOURCE: &str = "io.github.containers.delta.source";
/// Annotation: digest of the source image's config.
pub const ANNOTATION_SOURCE_CONFIG: &str = "io.github.containers.delta.source-config";
/// Annotation: blob digests of the target's layers that the source has, a JSON array.
pub const ANNOTATION_REUSED: &str = "io.github.containers.delta.reused";
/// Annotation: their diff_ids, in the same order.
pub const ANNOTATION_REUSED_DIFF_ID: &str = "io.github.containers.delta.reused-diff-id";
/// Annotation of a tardf3 delta and of a recipe: the work that it takes, in units of about a nanosecond of a core.
pub const ANNOTATION_WORK: &str = "registry-ext.work";
/// Annotation of an oci-delta artifact: the result of making tardf3 deltas for the same images.
pub const ANNOTATION_TARDF3: &str = "registry-ext.tardf3";
/// Its value where they save too little to be published.
pub(crate) const TARDF3_SAVES_NOTHING: &str = "no-gain";
/// Annotation of a layer: the diff_id of its source (`_deltaindex` only).
pub const ANNOTATION_FROM: &str = "io.github.containers.delta.from";
/// Annotation of a layer: what it rebuilds; a diff_id in a `_deltaindex`, a blob digest in an
/// oci-delta artifact.
pub const ANNOTATION_TO: &str = "io.github.containers.delta.to";
/// Annotation of a layer of an oci-delta artifact: what it holds.
pub const ANNOTATION_CONTENT: &str = "io.github.containers.delta.content";
/// Content of a layer of an oci-delta artifact: the manifest of a signature by cosign, verbatim.
pub const CONTENT_SIGNATURE: &str = "cosign-signature";
/// Content of a layer of an oci-delta artifact: a blob that the manifest of a signature names.
pub const CONTENT_SIGNATURE_BLOB: &str = "cosign-signature-content";

/// The tag of an older draft under which the deltas of one target stood:
/// `deltas-<first 12 hex digits of the target>`.
pub fn deltas_tag(target: Digest) -> String {
    format!("deltas-{}", &hex(target)[..12])
}

/// Returns the work that a delta or a recipe takes, if its publisher wrote it down.
pub fn work_of(blob: &Descriptor) -> Option<u64> {
    annotation(blob, ANNOTATION_WORK)?.parse().ok()
}

/// Writes down the work that a delta or a recipe takes.
pub(crate) fn with_work(mut blob: Descriptor, units: u64) -> Descriptor {
    let mut annotations = blob.annotations().clone().unwrap_or_default();
    annotations.insert(ANNOTATION_WORK.into(), units.to_string());
    blob.set_annotations(Some(annotations));
    blob
}

/// Returns media type, digest and size of a blob, and the work that it takes. Nothing else is passed on.
fn priced(full: &Descriptor) -> Descriptor {
    let plain = Descriptor::new(full.media_type().clone(), full.size(), full.digest().clone());
    match work_of(full) {
        Some(units) => with_work(plain, units),
        None => plain,
    }
}

/// Adds annotations to a blob with its work.
fn also_annotated<const N: usize>(blob: &Descriptor, annotations: [(&str, String); N]) -> Descriptor {
    let work = work_of(blob);
    let annotated = annotated(blob.clone(), annotations);
    work.map_or(annotated.clone(), |units| with_work(annotated, units))
}

/// Returns true if a descriptor is of a delta that other clients read: tardf1 or tardf2.
pub fn is_tar_diff(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type().as_ref(), TAR_DIFF | TAR_DIFF_REDHAT)
}

/// Returns true if a descriptor is of a tardf3 delta.
pub fn is_tardf3(descriptor: &Descriptor) -> bool {
    descriptor.media_type().as_ref() == TAR_DIFF_V3
}

/// The media type of a delta of this version.
pub const fn media_type_of(version: Version) -> &'static str {
    match version {
        Version::V1 | Version::V2 => TAR_DIFF,
        Version::V3 => TAR_DIFF_V3,
    }
}

#[cfg(test)]
mod tests;
