//! The images in an OCI image layout, and so the layers that it has.

use std::collections::HashMap;

use layer::{DiffId, Digest};
use oci_spec::image::Descriptor;

use super::OciLayout;
use super::layout_blobs::read_bounded;
use crate::Result;
use crate::image::ConfigFields;
use crate::oci::{Manifest, digest_of, parse_index, parse_manifest};

/// An image in a layout.
#[derive(Debug, Clone)]
pub struct LayoutImage {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Digest of its config.
    pub config: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<(DiffId, Descriptor)>,
}

impl OciLayout {
    /// The layers of the images in the layout: the blob of each diff_id. An image that cannot be
    /// read is left out.
    ///
    /// # Errors
    /// As [`index`](Self::index).
    pub fn layers(&self) -> Result<HashMap<DiffId, Descriptor>> {
        let mut layers = HashMap::new();
        for image in self.images()? {
            for (diff_id, blob) in image.layers {
                layers.entry(diff_id).or_insert(blob);
            }
        }
        Ok(layers)
    }

    /// The images whose config and layers are all there.
    ///
    /// # Errors
    /// As [`index`](Self::index).
    pub fn images(&self) -> Result<Vec<LayoutImage>> {
        let mut waiting: Vec<Descriptor> = self.index()?.manifests().clone();
        let mut images = Vec::new();
        // An index may list indexes; deeper ones than this are no images.
        let mut budget = 10_000;
        while let (Some(entry), 1..) = (waiting.pop(), budget) {
            budget -= 1;
            let Ok(manifest) = self.manifest_of(&entry) else { continue };
            if manifest.is_index() {
                waiting
                    .extend(parse_index("index", &manifest.bytes).iter().flat_map(|i| i.manifests().clone()));
            } else if let Some(image) = self.image(&manifest) {
                images.push(image);
            }
        }
        Ok(images)
    }

    fn image(&self, manifest: &Manifest) -> Option<LayoutImage> {
        let parsed = parse_manifest("manifest", &manifest.bytes).ok()?;
        let config = digest_of(parsed.config()).ok()?;
        let fields = ConfigFields::parse("config", &read_bounded(&self.blob_path(config)).ok()?).ok()?;
        let diff_ids = fields.diff_ids().ok()?;
        let has = |blob: &Descriptor| digest_of(blob).is_ok_and(|digest| self.blob_path(digest).is_file());
        let is_whole = diff_ids.len() == parsed.layers().len() && parsed.layers().iter().all(has);
        let layers = diff_ids.into_iter().zip(parsed.layers().iter().cloned()).collect();
        is_whole.then_some(LayoutImage { manifest: manifest.digest, config, layers })
    }
}
