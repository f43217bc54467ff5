//! An image, resolved: its manifest, its config, and its layers under both their digests.

mod platform;
mod resolve;

use layer::{BlobDigest, DiffId, Digest};
use oci_spec::image::{Descriptor, ImageManifest};

use crate::Error;
use crate::oci::Manifest;
use crate::repository::Repository;

pub use platform::Platform;
pub(crate) use resolve::{ConfigFields, top};
pub use resolve::{resolve, resolve_all};

/// An image of one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its manifest, verbatim.
    pub manifest: Manifest,
    /// The index that it was chosen from.
    pub index: Option<Digest>,
    /// Its manifest, read.
    pub parsed: ImageManifest,
    /// Its config, verbatim.
    pub config: Vec<u8>,
    /// Digest of its config: the image's id.
    pub config_digest: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
    /// The platform that it is for.
    pub platform: Platform,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// The blob, as the manifest has it.
    pub blob: Descriptor,
    /// Digest of the blob.
    pub digest: BlobDigest,
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
}

impl ImageLayer {
    /// Returns true if the blob is the tar itself.
    pub fn is_plain_tar(&self) -> bool {
        self.digest.0 == self.diff_id.0
    }
}

impl Image {
    /// The layer with this diff_id.
    pub fn layer(&self, diff_id: DiffId) -> Option<&ImageLayer> {
        self.layers.iter().find(|layer| layer.diff_id == diff_id)
    }

    /// The layers that `old` lacks, each once.
    pub fn layers_not_in(&self, old: &Self) -> Vec<&ImageLayer> {
        let mut lacking: Vec<&ImageLayer> = Vec::new();
        for layer in self.layers.iter().filter(|layer| old.layer(layer.diff_id).is_none()) {
            if lacking.iter().all(|known| known.diff_id != layer.diff_id) {
                lacking.push(layer);
            }
        }
        lacking
    }

    /// Size of the blobs in bytes, config and manifest included: what a first pull costs.
    pub fn size(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(|layer| layer.blob.size()).sum();
        layers + (self.config.len() + self.manifest.bytes.len()) as u64
    }
}

/// Images of a repository, one for each platform.
#[derive(Debug)]
pub struct Images {
    /// The repository that has them.
    pub repository: Repository,
    /// The images.
    pub images: Vec<Image>,
}

impl Images {
    /// The image of the platform that comes nearest to `platform`, if one is for it.
    pub(crate) fn counterpart(&self, platform: &Platform) -> Option<ImageIn<'_>> {
        let image = platform.counterpart(&self.images, |image| &image.platform)?;
        Some(ImageIn { repository: &self.repository, image })
    }

    fn platforms(&self) -> String {
        self.images.iter().map(|image| image.platform.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// An image, and the repository that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageIn<'i> {
    pub(crate) repository: &'i Repository,
    pub(crate) image: &'i Image,
}

/// The error if none of the `old` images is for a platform of the `new` ones.
pub(crate) fn no_shared_platform(old: &[&Images], new: &Images) -> Error {
    Error::NoPlatform {
        what: "the old image".into(),
        wanted: new.platforms(),
        available: old.iter().map(|images| images.platforms()).collect::<Vec<_>>().join(", "),
    }
}
