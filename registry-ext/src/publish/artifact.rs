//! The artifacts from one old image to the target: one for all clients of oci-delta, and one with
//! tardf3 deltas.

use delta_format::Version;
use layer::Digest;

use super::Outcome;
use super::image::ImagePublisher;
use crate::Result;
use crate::artifact::oci_delta::{ArtifactLayer, Kind, OciDelta};
use crate::discover::{Published, discover};
use crate::image::{Image, ImageIn, ImageLayer};
use crate::oci::{EMPTY_CONFIG, EMPTY_JSON, Manifest};

impl ImagePublisher<'_> {
    /// Publishes the artifacts from `source`, unless they would save nothing or are there.
    pub(super) async fn artifacts(&mut self, source: &ImageIn<'_>) -> Result<()> {
        let sees_through = self.publisher.options.diff.sees_through;
        if sees_through && self.artifact_from(source.image, Kind::Tardf3).is_none() {
            // First, since most of them see through nothing and serve the other artifact too.
            for layer in self.target.layers_not_in(source.image) {
                self.delta_of_image(source, layer, Version::V3).await?;
            }
        }
        let others = match self.publisher.artifact {
            true => self.oci_delta(source).await?,
            false => Vec::new(),
        };
        match sees_through {
            true => self.tardf3(source, &others).await,
            false => Ok(()),
        }
    }

    /// Publishes what all clients of oci-delta read. Gives its layers.
    async fn oci_delta(&mut self, source: &ImageIn<'_>) -> Result<Vec<ArtifactLayer>> {
        let lacking = self.target.layers_not_in(source.image);
        if let Some(artifact) = self.artifact_from(source.image, Kind::OciDelta) {
            let layers = artifact.layers.clone();
            for layer in lacking {
                self.note(source.image, layer, Published::Artifact, None, Outcome::AlreadyThere);
            }
            return Ok(layers);
        }
        let mut layers = Vec::new();
        for layer in lacking {
            let Some(delta) = self.delta_of_image(source, layer, Version::V2).await? else {
                self.note(source.image, layer, Published::Artifact, None, Outcome::Failed);
                layers.push(ArtifactLayer::original(&layer.blob)?);
                continue;
            };
            let is_smaller = delta.size < layer.blob.size();
            let outcome = if is_smaller { Outcome::Published } else { Outcome::NotSmaller };
            self.note(source.image, layer, Published::Artifact, Some(delta.size), outcome);
            layers.push(match is_smaller {
                true => {
                    self.put_delta(&delta).await?;
                    ArtifactLayer { to: layer.digest, blob: delta.descriptor() }
                }
                false => ArtifactLayer::original(&layer.blob)?,
            });
        }
        if layers.iter().any(ArtifactLayer::is_delta) {
            let put = self.put_artifact(source.image, Kind::OciDelta, layers.clone()).await;
            let digest = put.inspect_err(|_| self.note_refusal(source.image, Published::Artifact))?;
            self.report.artifacts.push(digest);
        }
        Ok(layers)
    }

    /// Publishes an artifact with tardf3 deltas where they are smaller than what the layer has in
    /// `others`, and with that where they are not: like any artifact, it needs no other.
    async fn tardf3(&mut self, source: &ImageIn<'_>, others: &[ArtifactLayer]) -> Result<()> {
        let lacking = self.target.layers_not_in(source.image);
        if self.artifact_from(source.image, Kind::Tardf3).is_some() {
            for layer in lacking {
                self.note(source.image, layer, Published::Tardf3, None, Outcome::AlreadyThere);
            }
            return Ok(());
        }
        let (mut layers, mut is_worth_it) = (Vec::new(), false);
        for layer in lacking {
            let delta = self.delta_of_image(source, layer, Version::V3).await?;
            let other = others.iter().find(|other| other.to == layer.digest && other.is_delta());
            let Some(delta) = delta else {
                self.note(source.image, layer, Published::Tardf3, None, Outcome::Failed);
                layers.push(match other {
                    Some(other) => other.clone(),
                    None => ArtifactLayer::original(&layer.blob)?,
                });
                continue;
            };
            let other = other.filter(|other| other.blob.size() <= delta.size);
            let (blob, outcome) = match other {
                Some(other) => (other.clone(), Outcome::NoGain),
                None if delta.size < layer.blob.size() => {
                    self.put_delta(&delta).await?;
                    (ArtifactLayer { to: layer.digest, blob: delta.descriptor() }, Outcome::Published)
                }
                None => (ArtifactLayer::original(&layer.blob)?, Outcome::NotSmaller),
            };
            is_worth_it |= outcome == Outcome::Published && delta.version == Version::V3;
            self.note(source.image, layer, Published::Tardf3, Some(delta.size), outcome);
            layers.push(blob);
        }
        if is_worth_it {
            let put = self.put_artifact(source.image, Kind::Tardf3, layers).await;
            let digest = put.inspect_err(|_| self.note_refusal(source.image, Published::Tardf3))?;
            self.report.tardf3_artifacts.push(digest);
        }
        Ok(())
    }

    /// The artifact from `source` that is published already, for the same readers.
    fn artifact_from(&self, source: &Image, kind: Kind) -> Option<&OciDelta> {
        let artifacts = self.found.artifacts.iter().map(|(_, artifact)| artifact);
        artifacts
            .into_iter()
            .find(|artifact| artifact.source_config == source.config_digest && is_alike(artifact.kind, kind))
    }

    /// Publishes an artifact whose deltas are uploaded. Gives its digest.
    async fn put_artifact(&self, source: &Image, kind: Kind, layers: Vec<ArtifactLayer>) -> Result<Digest> {
        let target = self.target;
        for layer in layers.iter().filter(|layer| !layer.is_delta()) {
            self.put_original(layer).await?;
        }
        let reused = target.layers.iter().filter(|layer| source.layer(layer.diff_id).is_some());
        let artifact = OciDelta {
            kind,
            target: target.manifest.descriptor(),
            target_config: target.parsed.config().clone(),
            source: Some(source.manifest.digest),
            source_config: source.config_digest,
            reused: reused.map(|layer: &ImageLayer| (layer.digest, layer.diff_id)).collect(),
            layers,
        };
        for (media_type, bytes) in [
            (EMPTY_CONFIG, EMPTY_JSON),
            (target.manifest.media_type.as_str(), target.manifest.bytes.as_slice()),
            (target.parsed.config().media_type().as_ref(), target.config.as_slice()),
        ] {
            self.put_bytes(media_type, bytes).await?;
        }
        let manifest = Manifest::new(artifact.build(), None);
        self.publisher.to.put_manifest(&manifest, None).await?;
        if self.publisher.force {
            self.remove_older(&artifact, &manifest).await?;
        }
        Ok(manifest.digest)
    }

    /// Removes other artifacts for the same pair of images and the same readers.
    async fn remove_older(&self, artifact: &OciDelta, manifest: &Manifest) -> Result<()> {
        let found = discover(self.publisher.to, self.target).await;
        let older: Vec<_> = found
            .artifacts
            .iter()
            .filter(|(digest, other)| {
                *digest != manifest.digest
                    && other.source_config == artifact.source_config
                    && is_alike(other.kind, artifact.kind)
            })
            .map(|(digest, _)| *digest)
            .collect();
        crate::prune::remove_artifacts(self.publisher.to, self.target.manifest.digest, &older)
            .await
            .map(|_| ())
    }
}

/// Returns true if one artifact takes the place of the other.
fn is_alike(kind: Kind, other: Kind) -> bool {
    (kind == Kind::Tardf3) == (other == Kind::Tardf3)
}
