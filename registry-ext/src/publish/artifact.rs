//! The artifacts from one old image to the target: one for all clients of oci-delta, and one with
//! tardf3 deltas.

use delta_format::Version;
use layer::Digest;

use super::Outcome;
use super::image::ImagePublisher;
use crate::Result;
use crate::artifact::oci_delta::{ArtifactLayer, Kind, OciDelta};
use crate::cost::deserves_artifact;
use crate::delta::Delta;
use crate::discover::{Published, discover};
use crate::image::{Image, ImageIn, ImageLayer};
use crate::oci::{EMPTY_CONFIG, EMPTY_JSON, Manifest};
use crate::signature::CarriedSignature;

/// The layer of an artifact that is about to be published.
struct PlannedLayer<'p> {
    layer: &'p ImageLayer,
    /// Its delta, the delta of another artifact, or the layer itself.
    blob: ArtifactLayer,
    /// The delta that was made for it.
    delta: Option<Delta>,
    outcome: Outcome,
}

impl PlannedLayer<'_> {
    /// Returns true if the delta that was made is what the artifact has.
    fn has_own_delta(&self) -> bool {
        self.outcome == Outcome::Published
    }

    /// Returns true if the delta that was made is another one than that for all clients.
    fn sees_through(&self) -> bool {
        self.delta.as_ref().is_some_and(|delta| delta.version == Version::V3)
    }
}

/// An artifact whose deltas are uploaded.
///
/// Its manifest is written after all else that is published for its images: who sees it knows that nothing is missing.
pub(super) struct PreparedArtifact<'p> {
    source: &'p Image,
    kind: Kind,
    layers: Vec<ArtifactLayer>,
    tardf3_saves_nothing: bool,
}

impl<'p> ImagePublisher<'p> {
    /// Makes and uploads the deltas of the artifacts from `source`, unless they would save nothing or are there.
    ///
    /// The one with tardf3 deltas is published where it saves enough. Its reader reads the other one too.
    pub(super) async fn prepare_artifacts(
        &mut self,
        source: &ImageIn<'p>,
    ) -> Result<Vec<PreparedArtifact<'p>>> {
        let mut prepared = Vec::new();
        let known = self.artifact_from(source.image, Kind::OciDelta).cloned();
        let known_tardf3 = self.artifact_from(source.image, Kind::Tardf3).is_some();
        let is_tried = known_tardf3 || known.as_ref().is_some_and(|known| known.tardf3_saves_nothing);
        // Where deltas are merged, all clients get them, and none is made to see through compression.
        let is_for_all = self.publisher.artifact || (self.is_merged && self.has_artifacts());
        let sees_through = self.publisher.options.diff.sees_through && !self.is_merged;
        if !is_for_all && !sees_through {
            return Ok(prepared);
        }
        let mut tardf3 = Vec::new();
        if sees_through && !is_tried {
            // First, since most of them see through nothing and serve the other artifact too.
            for layer in self.target.layers_not_in(source.image) {
                tardf3.push((layer, self.delta_of_image(source, layer, Version::V3).await?));
            }
        }
        let (planned, others) = match &known {
            Some(known) => (None, known.layers.clone()),
            // Its reader has the other one.
            None if !is_for_all && known_tardf3 => (None, Vec::new()),
            None => {
                let planned = self.plan(source).await?;
                let others = planned.iter().map(|layer| layer.blob.clone()).collect();
                (Some(planned), others)
            }
        };
        let tardf3 = tardf3.into_iter().map(|(layer, delta)| plan_tardf3(layer, delta, &others));
        let mut tardf3 = tardf3.collect::<Result<Vec<_>>>()?;
        let has_tardf3 = are_worth_it(&tardf3, &others);
        if is_for_all || !(has_tardf3 || known_tardf3) {
            match planned {
                Some(planned) => {
                    let saves_nothing = sees_through && !is_tried && !has_tardf3;
                    prepared.extend(self.prepare(source, Kind::OciDelta, planned, saves_nothing).await?);
                }
                None => self.note_known(source.image, Published::Artifact),
            }
        }
        if known_tardf3 && sees_through {
            self.note_known(source.image, Published::Tardf3);
        } else if has_tardf3 {
            prepared.extend(self.prepare(source, Kind::Tardf3, tardf3, false).await?);
        } else if tardf3.iter().any(PlannedLayer::sees_through) {
            let no_gain = tardf3.iter_mut().filter(|layer| layer.has_own_delta());
            no_gain.for_each(|layer| layer.outcome = Outcome::NoGain);
            tardf3.iter().for_each(|layer| self.note_planned(source.image, layer, Published::Tardf3));
        }
        Ok(prepared)
    }

    /// Returns true if artifacts of any kind are asked for.
    pub(super) const fn has_artifacts(&self) -> bool {
        self.publisher.artifact || self.publisher.options.diff.sees_through
    }

    /// Makes the deltas of the artifact that all clients of oci-delta read.
    async fn plan(&self, source: &ImageIn<'p>) -> Result<Vec<PlannedLayer<'p>>> {
        let mut planned = Vec::new();
        for layer in self.target.layers_not_in(source.image) {
            let delta = self.delta_of_image(source, layer, Version::V2).await?;
            let (blob, outcome) = match &delta {
                None => (ArtifactLayer::original(&layer.blob)?, Outcome::Failed),
                Some(delta) if delta.size < layer.blob.size() => (of_delta(layer, delta), Outcome::Published),
                Some(_) => (ArtifactLayer::original(&layer.blob)?, Outcome::NotSmaller),
            };
            planned.push(PlannedLayer { layer, blob, delta, outcome });
        }
        Ok(planned)
    }

    /// Uploads the deltas of an artifact; `None` if it has none.
    async fn prepare(
        &mut self,
        source: &ImageIn<'p>,
        kind: Kind,
        planned: Vec<PlannedLayer<'p>>,
        tardf3_saves_nothing: bool,
    ) -> Result<Option<PreparedArtifact<'p>>> {
        for planned in &planned {
            self.note_planned(source.image, planned, layout_of(kind));
            if let Some(delta) = planned.delta.as_ref().filter(|_| planned.has_own_delta()) {
                self.put_delta(delta).await?;
            }
        }
        let layers: Vec<ArtifactLayer> = planned.into_iter().map(|layer| layer.blob).collect();
        let prepared = PreparedArtifact { source: source.image, kind, layers, tardf3_saves_nothing };
        Ok(Some(prepared).filter(|prepared| prepared.layers.iter().any(ArtifactLayer::is_delta)))
    }

    /// Publishes an artifact.
    pub(super) async fn publish_artifact(&mut self, prepared: PreparedArtifact<'p>) -> Result<()> {
        let PreparedArtifact { source, kind, layers, tardf3_saves_nothing } = prepared;
        let put = self.put_artifact(source, kind, layers, tardf3_saves_nothing).await;
        let digest = put.inspect_err(|_| self.note_refusal(source, layout_of(kind)))?;
        match kind {
            Kind::Tardf3 => self.report.tardf3_artifacts.push(digest),
            Kind::OciDelta | Kind::Older => {
                self.report.artifacts.push(digest);
                self.published.push(digest);
            }
        }
        Ok(())
    }

    fn note_planned(&mut self, source: &Image, planned: &PlannedLayer<'_>, layout: Published) {
        let PlannedLayer { layer, delta, outcome, .. } = planned;
        self.note(source, layer, layout, delta.as_ref(), *outcome);
    }

    /// Notes that the deltas of an artifact are there.
    fn note_known(&mut self, source: &Image, layout: Published) {
        for layer in self.target.layers_not_in(source) {
            self.note(source, layer, layout, None, Outcome::AlreadyThere);
        }
    }

    /// The artifact from `source` that is published already, for the same readers.
    pub(super) fn artifact_from(&self, source: &Image, kind: Kind) -> Option<&OciDelta> {
        let artifacts = self.found.artifacts.iter().map(|(_, artifact)| artifact);
        artifacts
            .into_iter()
            .find(|artifact| artifact.source_config == source.config_digest && is_alike(artifact.kind, kind))
    }

    /// Publishes an artifact whose deltas are uploaded. Gives its digest.
    async fn put_artifact(
        &self,
        source: &Image,
        kind: Kind,
        layers: Vec<ArtifactLayer>,
        tardf3_saves_nothing: bool,
    ) -> Result<Digest> {
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
            signatures: self.signatures.iter().map(CarriedSignature::part).collect(),
            tardf3_saves_nothing,
        };
        for (media_type, bytes) in self.signatures.iter().flat_map(CarriedSignature::contents) {
            self.put_bytes(media_type, bytes).await?;
        }
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

/// The place where the deltas of an artifact are published.
const fn layout_of(kind: Kind) -> Published {
    match kind {
        Kind::Tardf3 => Published::Tardf3,
        Kind::OciDelta | Kind::Older => Published::Artifact,
    }
}

fn of_delta(layer: &ImageLayer, delta: &Delta) -> ArtifactLayer {
    ArtifactLayer { to: layer.digest, blob: delta.descriptor() }
}

/// Plans the layer of an artifact with tardf3 deltas: the smallest of its tardf3 delta, the blob of the `others`, and
/// the layer itself. Like any artifact, it needs no other.
fn plan_tardf3<'p>(
    layer: &'p ImageLayer,
    delta: Option<Delta>,
    others: &[ArtifactLayer],
) -> Result<PlannedLayer<'p>> {
    let other = others.iter().find(|other| other.to == layer.digest && other.is_delta());
    let (blob, outcome) = match (&delta, other) {
        (None, Some(other)) => (other.clone(), Outcome::Failed),
        (None, None) => (ArtifactLayer::original(&layer.blob)?, Outcome::Failed),
        (Some(delta), Some(other)) if other.blob.size() <= delta.size => (other.clone(), Outcome::NoGain),
        (Some(delta), _) if delta.size < layer.blob.size() => (of_delta(layer, delta), Outcome::Published),
        (Some(_), _) => (ArtifactLayer::original(&layer.blob)?, Outcome::NotSmaller),
    };
    Ok(PlannedLayer { layer, blob, delta, outcome })
}

/// Returns true if the planned layers are so much smaller than the others.
fn are_worth_it(planned: &[PlannedLayer<'_>], others: &[ArtifactLayer]) -> bool {
    let is_new = |layer: &PlannedLayer<'_>| layer.has_own_delta() && layer.sees_through();
    let size = planned.iter().map(|layer| layer.blob.blob.size()).sum();
    let other = others.iter().map(|layer| layer.blob.size()).sum();
    planned.iter().any(is_new) && deserves_artifact(size, other)
}

/// Returns true if one artifact takes the place of the other.
fn is_alike(kind: Kind, other: Kind) -> bool {
    (kind == Kind::Tardf3) == (other == Kind::Tardf3)
}
