//! The words of the OCI specifications: names, digests, descriptors, manifests, their JSON.
//!
//! This is the ground floor of the crate. It is pure, and knows no network and no store.

mod reading;

use std::collections::HashMap;
use std::fmt;

use layer::{DiffId, Digest};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

pub(crate) use reading::is_index;

/// Media type of the empty config of an artifact (OCI image specification, "Guidance for an Empty
/// Descriptor").
pub const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
/// The bytes of both configs.
pub const EMPTY_JSON: &[u8] = b"{}";
/// Annotation: when something was made (OCI image specification, "Pre-Defined Annotation Keys").
pub(crate) const ANNOTATION_CREATED: &str = "org.opencontainers.image.created";
/// Annotations of a manifest or a descriptor.
pub type Annotations = HashMap<String, String>;

/// The name of a manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// By a tag, which can be moved.
    Tag(String),
    /// By its digest.
    Digest(Digest),
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => out.write_str(tag),
            Self::Digest(digest) => digest.fmt(out),
        }
    }
}

/// A manifest or an index, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes, which its digest is of.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
}

impl Manifest {
    /// A manifest of these bytes. The media type that it states itself wins over the given one.
    pub fn new(bytes: Vec<u8>, media_type: Option<&str>) -> Self {
        let media_type = reading::media_type_of(&bytes, media_type);
        Self { digest: Digest::of(&bytes), bytes, media_type }
    }

    /// Returns true if it is an index.
    pub fn is_index(&self) -> bool {
        reading::is_index(&self.media_type)
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> Descriptor {
        descriptor(&self.media_type, self.digest, self.bytes.len() as u64)
    }
}

impl From<&ImageIndex> for Manifest {
    fn from(index: &ImageIndex) -> Self {
        Self::new(to_json(index), Some(MediaType::ImageIndex.as_ref()))
    }
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

/// Returns the first digits of a layer's diff_id, for people.
pub(crate) fn short(diff_id: DiffId) -> String {
    hex(diff_id.0)[..12].to_owned()
}

/// Compares the diff_id of a layer with the one in the config of its image.
pub(crate) fn check_diff_id(actual: DiffId, expected: DiffId) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    Err(Error::DigestMismatch {
        what: format!("layer {} unpacked", short(expected)),
        expected: expected.0,
        actual: actual.0,
    })
}
