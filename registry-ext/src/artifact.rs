#![doc = include_str!("../ARTIFACT.md")]

pub mod blob_recipes;
pub mod delta_index;
pub mod oci_delta;
pub(crate) mod reading;

use std::collections::HashMap;

use delta_format::Version;
use layer::Digest;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Media type of a delta, tardf1 or tardf2.
pub const TAR_DIFF: &str = "application/vnd.tar-diff";
/// Media type of a tardf3 delta. It is another one, since clients take what has the media type of a
/// delta for one that they can read.
pub const TAR_DIFF_V3: &str = "application/vnd.tar-diff.v3";
/// Media type of a delta as flatpak-indexer writes it; it is read, never written.
pub const TAR_DIFF_REDHAT: &str = "application/vnd.redhat.tar-diff";
/// Media type of the config `{}` of a delta manifest in a `_deltaindex`.
pub const DELTA_CONFIG: &str = "application/vnd.redhat.delta.config.v1+json";
/// Media type of the empty config of an artifact (OCI image specification, "Guidance for an Empty
/// Descriptor").
pub const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
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
/// The bytes of both configs.
pub const EMPTY_JSON: &[u8] = b"{}";

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
/// Annotation of a layer: the diff_id of its source (`_deltaindex` only).
pub const ANNOTATION_FROM: &str = "io.github.containers.delta.from";
/// Annotation of a layer: what it rebuilds; a diff_id in a `_deltaindex`, a blob digest in an
/// oci-delta artifact.
pub const ANNOTATION_TO: &str = "io.github.containers.delta.to";
/// Annotation of a layer of an oci-delta artifact: what it holds.
pub const ANNOTATION_CONTENT: &str = "io.github.containers.delta.content";

/// Annotation: when something was made (OCI image specification, "Pre-Defined Annotation Keys").
pub(crate) const ANNOTATION_CREATED: &str = "org.opencontainers.image.created";

/// Annotations of a manifest or a descriptor.
pub type Annotations = HashMap<String, String>;

/// The tag of an older draft under which the deltas of one target stood:
/// `deltas-<first 12 hex digits of the target>`.
pub fn deltas_tag(target: Digest) -> String {
    format!("deltas-{}", &hex(target)[..12])
}

/// The tag that stands in for the referrers API: `sha256-<hex of the subject>` (OCI distribution
/// specification, "Referrers Tag Schema").
pub fn referrers_tag(subject: Digest) -> String {
    format!("sha256-{}", hex(subject))
}

/// The hex digits of a digest.
pub(crate) fn hex(digest: Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}

/// The digest of a descriptor.
///
/// # Errors
/// [`Error::Malformed`] if it is no sha256.
pub fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|error| Error::malformed(format!("descriptor of {text}"), error))
}

/// A descriptor of `size` bytes.
pub fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let digest: oci_spec::image::Digest =
        digest.to_string().parse().expect("a sha256 digest is a digest of the specification");
    Descriptor::new(MediaType::from(media_type), size, digest)
}

/// A descriptor of these bytes.
pub fn descriptor_of(media_type: &str, bytes: &[u8]) -> Descriptor {
    descriptor(media_type, Digest::of(bytes), bytes.len() as u64)
}

/// The same descriptor with these annotations.
pub(crate) fn annotated<const N: usize>(
    mut descriptor: Descriptor,
    annotations: [(&str, String); N],
) -> Descriptor {
    descriptor.set_annotations(Some(to_annotations(annotations)));
    descriptor
}

pub(crate) fn to_annotations<const N: usize>(annotations: [(&str, String); N]) -> Annotations {
    annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// An annotation of a descriptor.
pub(crate) fn annotation<'d>(descriptor: &'d Descriptor, key: &str) -> Option<&'d str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

/// A digest in an annotation of a descriptor; what is no digest is as if it were absent.
pub(crate) fn digest_annotation(descriptor: &Descriptor, key: &str) -> Option<Digest> {
    annotation(descriptor, key)?.parse().ok()
}

/// Whether a descriptor is of a delta that other clients read: tardf1 or tardf2.
pub fn is_tar_diff(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type().as_ref(), TAR_DIFF | TAR_DIFF_REDHAT)
}

/// Whether a descriptor is of a tardf3 delta.
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

/// Reads an image manifest, in any spelling that is in use; `what` names it in errors.
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse_manifest(what: &str, bytes: &[u8]) -> Result<ImageManifest> {
    reading::manifest(what, bytes)
}

/// Reads an image index, in any spelling that is in use, without the entries that name nothing; `what`
/// names it in errors.
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse_index(what: &str, bytes: &[u8]) -> Result<ImageIndex> {
    reading::index(what, bytes)
}

/// As [`parse_index`], with the versions of the systems that images are for.
pub(crate) fn parse_image_index(what: &str, bytes: &[u8]) -> Result<ImageIndex> {
    reading::image_index(what, bytes)
}

/// The type of an artifact as an entry of a list or a manifest states it. Some registries and clients
/// have the type of the config in its place, which says nothing: whoever wants to know reads the manifest.
pub(crate) fn stated_type(artifact_type: Option<&MediaType>) -> Option<&MediaType> {
    artifact_type.filter(|stated| {
        !matches!(
            stated.as_ref(),
            EMPTY_CONFIG
                | "application/vnd.oci.image.config.v1+json"
                | "application/vnd.docker.container.image.v1+json"
                | "application/vnd.unknown.artifact.v1"
                | "application/vnd.unknown.config.v1+json"
                | "application/json"
                | "application/octet-stream"
                | "text/plain"
                | ""
        )
    })
}

/// The type of the artifact that a manifest is: its artifactType, or, as before there was one, the type of
/// its config (OCI image specification, "Guidelines for Artifact Usage").
pub(crate) fn artifact_type_of(manifest: &ImageManifest) -> Option<&MediaType> {
    stated_type(manifest.artifact_type().as_ref())
        .or_else(|| stated_type(Some(manifest.config().media_type())))
}

/// An index of `manifests`.
pub fn index(manifests: Vec<Descriptor>) -> ImageIndex {
    let mut index = ImageIndex::default();
    index.set_schema_version(2);
    index.set_media_type(Some(MediaType::ImageIndex));
    index.set_manifests(manifests);
    index
}

pub(crate) fn parse_json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::malformed(what, error))
}

/// The JSON of a document, with the keys of each object sorted where their order is not fixed:
/// annotations are a hash map, and the digest of a manifest should depend on what it says alone.
pub fn to_json(document: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(document).expect("documents of the specification have text keys");
    serde_json::to_vec(&value).expect("a JSON value can be written")
}

#[cfg(test)]
mod tests;
