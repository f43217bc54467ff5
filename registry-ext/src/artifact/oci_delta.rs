//! The layout of oci-delta: one self-contained artifact per old and new image.

use layer::{BlobDigest, DiffId, Digest};
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};

use super::{
    ANNOTATION_CONTENT, ANNOTATION_REUSED, ANNOTATION_REUSED_DIFF_ID, ANNOTATION_SOURCE,
    ANNOTATION_SOURCE_CONFIG, ANNOTATION_TARDF3, ANNOTATION_TARGET, ANNOTATION_TO, ARTIFACT_TYPE,
    ARTIFACT_TYPE_REDHAT, ARTIFACT_TYPE_TARDF3, CONTENT_SIGNATURE, CONTENT_SIGNATURE_BLOB,
    TARDF3_SAVES_NOTHING, also_annotated, is_tar_diff, is_tardf3, priced,
};
use crate::oci::{
    Annotations, EMPTY_CONFIG, EMPTY_JSON, annotated, annotation, artifact_type_of, descriptor,
    descriptor_of, digest_annotation, digest_of, to_annotations, to_json,
};
use crate::{Error, Result};

/// The kind of an artifact, by its artifactType: it decides which clients read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All clients of oci-delta.
    OciDelta,
    /// Some: the artifactType is the one of early producers, which the crate `oci-delta` and cfsctl
    /// pass over. It is read, never written.
    Older,
    /// registry-ext alone: its deltas may be tardf3. The rest is as in an oci-delta artifact.
    Tardf3,
}

impl Kind {
    /// The kind of an artifactType; `None` if it is no artifact with deltas.
    pub fn of(artifact_type: Option<&MediaType>) -> Option<Self> {
        let kinds = [Self::OciDelta, Self::Older, Self::Tardf3].into_iter();
        kinds.into_iter().find(|kind| artifact_type.is_some_and(|of| of.as_ref() == kind.artifact_type()))
    }

    /// Its artifactType.
    pub const fn artifact_type(self) -> &'static str {
        match self {
            Self::OciDelta => ARTIFACT_TYPE,
            Self::Older => ARTIFACT_TYPE_REDHAT,
            Self::Tardf3 => ARTIFACT_TYPE_TARDF3,
        }
    }
}

/// The content of one artifact: an oci-delta artifact, or one with tardf3 deltas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciDelta {
    /// Its kind.
    pub kind: Kind,
    /// Descriptor of the target image's manifest.
    pub target: Descriptor,
    /// Descriptor of the target image's config.
    pub target_config: Descriptor,
    /// Digest of the source image's manifest, if the artifact says so.
    pub source: Option<Digest>,
    /// Digest of the source image's config.
    pub source_config: Digest,
    /// The target's layers that the source has.
    pub reused: Vec<(BlobDigest, DiffId)>,
    /// The target's other layers.
    pub layers: Vec<ArtifactLayer>,
    /// The signatures that it carries.
    pub signatures: Vec<ArtifactSignature>,
    /// True if tardf3 deltas were made too, and do not save enough to be published. They need not be made again.
    pub tardf3_saves_nothing: bool,
}

/// A layer of the target that the source lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactLayer {
    /// The target's layer as the target's manifest names it.
    pub to: BlobDigest,
    /// A delta, or the layer itself.
    pub blob: Descriptor,
}

/// A signature by cosign in an artifact. Annotations of its descriptors are not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactSignature {
    /// Its manifest, as cosign stored it.
    pub manifest: Descriptor,
    /// The config and the payloads that the manifest names.
    pub blobs: Vec<Descriptor>,
}

impl ArtifactLayer {
    /// The layer itself: a delta of it would not be smaller.
    ///
    /// # Errors
    /// [`Error::Malformed`] if its digest is no sha256.
    pub fn original(layer: &Descriptor) -> Result<Self> {
        let digest = digest_of(layer)?;
        let blob = descriptor(layer.media_type().as_ref(), digest, layer.size());
        Ok(Self { to: BlobDigest(digest), blob })
    }

    /// Returns true if the blob is a delta.
    pub fn is_delta(&self) -> bool {
        is_tar_diff(&self.blob) || is_tardf3(&self.blob)
    }
}

impl OciDelta {
    /// Writes the manifest of the artifact.
    pub fn build(&self) -> Vec<u8> {
        let content =
            |blob: Descriptor, content: &str| annotated(blob, [(ANNOTATION_CONTENT, content.into())]);
        let mut layers = vec![
            content(plain(&self.target), "image-manifest"),
            content(plain(&self.target_config), "image-config"),
        ];
        layers.extend(self.layers.iter().map(|layer| {
            let annotations =
                [(ANNOTATION_CONTENT, "image-layer".into()), (ANNOTATION_TO, layer.to.to_string())];
            also_annotated(&layer.blob, annotations)
        }));
        for signature in &self.signatures {
            layers.push(content(plain(&signature.manifest), CONTENT_SIGNATURE));
            layers.extend(signature.blobs.iter().map(|blob| content(plain(blob), CONTENT_SIGNATURE_BLOB)));
        }
        let manifest = ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(MediaType::from(self.kind.artifact_type()))
            .config(descriptor_of(EMPTY_CONFIG, EMPTY_JSON))
            .layers(layers)
            .subject(plain(&self.target))
            .annotations(self.annotations())
            .build()
            .expect("every mandatory field is set");
        to_json(&manifest)
    }

    /// The annotations of the manifest. An index that lists the artifact repeats them (OCI
    /// distribution specification, "Listing Referrers").
    pub fn annotations(&self) -> Annotations {
        let json = |texts: Vec<String>| serde_json::Value::from(texts).to_string();
        let (blobs, diff_ids) =
            self.reused.iter().map(|(blob, diff_id)| (blob.to_string(), diff_id.to_string())).unzip();
        let mut annotations = to_annotations([
            (ANNOTATION_TARGET, self.target.digest().to_string()),
            (ANNOTATION_SOURCE_CONFIG, self.source_config.to_string()),
            (ANNOTATION_REUSED, json(blobs)),
            (ANNOTATION_REUSED_DIFF_ID, json(diff_ids)),
        ]);
        if let Some(source) = self.source {
            annotations.insert(ANNOTATION_SOURCE.into(), source.to_string());
        }
        if self.tardf3_saves_nothing {
            annotations.insert(ANNOTATION_TARDF3.into(), TARDF3_SAVES_NOTHING.into());
        }
        annotations
    }

    /// Reads the manifest of an artifact of any kind. Layers with other contents are left out.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the artifactType is another, or a mandatory part is missing.
    pub fn parse(manifest: &ImageManifest) -> Result<Self> {
        let broken = |reason: &str| Error::malformed("delta artifact", reason);
        let kind = Kind::of(artifact_type_of(manifest));
        let content = |wanted: &'static str| {
            let layers = manifest.layers().iter();
            layers.filter(move |layer| annotation(layer, ANNOTATION_CONTENT) == Some(wanted))
        };
        let one = |wanted| content(wanted).next().map(plain);
        let empty = Annotations::new();
        let annotations = manifest.annotations().as_ref().unwrap_or(&empty);
        let digest = |key: &str| annotations.get(key).and_then(|text| text.parse::<Digest>().ok());
        let list = |key: &str| -> Vec<Digest> {
            let texts: Vec<String> =
                annotations.get(key).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
            texts.iter().filter_map(|text| text.parse().ok()).collect()
        };
        let (reused, reused_diff_ids) = (list(ANNOTATION_REUSED), list(ANNOTATION_REUSED_DIFF_ID));
        let layers = content("image-layer").filter_map(|layer| {
            let to = BlobDigest(digest_annotation(layer, ANNOTATION_TO)?);
            Some(ArtifactLayer { to, blob: priced(layer) })
        });
        Ok(Self {
            kind: kind.ok_or_else(|| broken("its artifactType is another"))?,
            target: one("image-manifest").ok_or_else(|| broken("it holds no image-manifest"))?,
            target_config: one("image-config").ok_or_else(|| broken("it holds no image-config"))?,
            source: digest(ANNOTATION_SOURCE),
            source_config: digest(ANNOTATION_SOURCE_CONFIG)
                .ok_or_else(|| broken("the digest of the source's config is missing"))?,
            reused: reused.into_iter().map(BlobDigest).zip(reused_diff_ids.into_iter().map(DiffId)).collect(),
            layers: layers.collect(),
            signatures: signatures_of(manifest),
            tardf3_saves_nothing: annotations
                .get(ANNOTATION_TARDF3)
                .is_some_and(|of| of == TARDF3_SAVES_NOTHING),
        })
    }
}

/// The signatures that an artifact carries: each manifest, and the blobs after it.
fn signatures_of(manifest: &ImageManifest) -> Vec<ArtifactSignature> {
    let mut signatures: Vec<ArtifactSignature> = Vec::new();
    for layer in manifest.layers() {
        match (annotation(layer, ANNOTATION_CONTENT), signatures.last_mut()) {
            (Some(CONTENT_SIGNATURE), _) => {
                signatures.push(ArtifactSignature { manifest: plain(layer), blobs: Vec::new() });
            }
            (Some(CONTENT_SIGNATURE_BLOB), Some(last)) => last.blobs.push(plain(layer)),
            _ => {}
        }
    }
    signatures
}

/// Media type, digest and size alone.
fn plain(full: &Descriptor) -> Descriptor {
    Descriptor::new(full.media_type().clone(), full.size(), full.digest().clone())
}
