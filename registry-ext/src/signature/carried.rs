//! Signatures that a delta artifact carries, so that a host can check them without the registry of the image.

use std::path::Path;

use layer::Digest;
use oci_spec::image::Descriptor;

use super::search::MAX_PAYLOAD_SIZE;
use super::{ANNOTATION_SIGNATURE, Payload, tag_of};
use crate::artifact::oci_delta::ArtifactSignature;
use crate::image::top;
use crate::oci::{Manifest, Name, annotation, parse_manifest};
use crate::repository::Repository;
use crate::{Error, Result};

/// Most blobs of a signature: a payload for each signer, and a config.
const MAX_BLOBS: usize = 64;

/// A signature of cosign with all that belongs to it.
#[derive(Debug, Clone)]
pub struct CarriedSignature {
    manifest: Manifest,
    blobs: Vec<(Descriptor, Vec<u8>)>,
    signed: Vec<Digest>,
}

impl CarriedSignature {
    /// Reads the signature of this name, or the only one that a layout has. Its blobs are fetched to a directory in
    /// `temp_dir`. It is not checked: no key is known.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Malformed`] if it is no signature of cosign; [`Error::TooLarge`]; those of the
    /// repository.
    pub async fn read(repository: &Repository, name: Option<&Name>, temp_dir: &Path) -> Result<Self> {
        let (what, manifest) = top(repository, name).await?;
        Self::of_manifest(repository, &what, manifest, temp_dir).await
    }

    /// Reads the signature that cosign put beside an image; `None` if there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn of_image(repository: &Repository, image: Digest, temp_dir: &Path) -> Result<Option<Self>> {
        let tag = tag_of(image);
        let Some(manifest) = repository.manifest(&Name::Tag(tag.clone())).await? else { return Ok(None) };
        let what = format!("{tag} in {}", repository.name());
        Self::of_manifest(repository, &what, manifest, temp_dir).await.map(Some)
    }

    async fn of_manifest(
        repository: &Repository,
        what: &str,
        manifest: Manifest,
        temp_dir: &Path,
    ) -> Result<Self> {
        let parsed = parse_manifest(what, &manifest.bytes)?;
        if parsed.layers().len() >= MAX_BLOBS {
            return Err(Error::malformed(what, format!("it has {MAX_BLOBS} layers or more")));
        }
        let is_none = |layer: &Descriptor| annotation(layer, ANNOTATION_SIGNATURE).is_none();
        if parsed.layers().iter().all(is_none) {
            return Err(Error::malformed(what, "it is no signature by cosign"));
        }
        let (mut blobs, mut signed) = (Vec::new(), Vec::new());
        for (index, blob) in std::iter::once(parsed.config()).chain(parsed.layers()).enumerate() {
            let bytes = repository.small_blob(blob, MAX_PAYLOAD_SIZE, temp_dir).await?;
            if index > 0
                && let Ok(payload) = serde_json::from_slice::<Payload>(&bytes)
                && let Ok(digest) = payload.critical.image.digest.parse()
            {
                signed.push(digest);
            }
            blobs.push((blob.clone(), bytes));
        }
        if signed.is_empty() {
            return Err(Error::malformed(what, "it is no signature of an image by cosign"));
        }
        Ok(Self { manifest, blobs, signed })
    }

    /// Returns true if it says that it is of the manifest with this digest.
    pub fn is_of(&self, manifest: Digest) -> bool {
        self.signed.contains(&manifest)
    }

    /// Returns the part of an artifact that carries it.
    pub(crate) fn part(&self) -> ArtifactSignature {
        ArtifactSignature {
            manifest: self.manifest.descriptor(),
            blobs: self.blobs.iter().map(|(blob, _)| blob.clone()).collect(),
        }
    }

    /// Returns the bytes that the artifact needs, with their media types.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let blobs = self.blobs.iter().map(|(blob, bytes)| (blob.media_type().as_ref(), bytes.as_slice()));
        std::iter::once((self.manifest.media_type.as_str(), self.manifest.bytes.as_slice())).chain(blobs)
    }
}
