//! The deltas of one target.

use super::{Images, Outcome, PublishOptions, PublishReport, PublishedDelta};
use crate::artifact::delta_index::{self, LayerDelta};
use crate::artifact::oci_delta::{ArtifactLayer, OciDelta};
use crate::artifact::{
    DELTA_CONFIG, DELTA_INDEX_TAG, EMPTY_CONFIG, EMPTY_JSON, TAR_DIFF, descriptor, descriptor_of, digest_of,
    hex, parse_manifest,
};
use crate::delta::{Delta, Workshop};
use crate::discover::{Found, Layout, discover};
use crate::image::{Image, ImageLayer};
use crate::repository::{Manifest, Repository};
use crate::{Error, Result, shared_index};

/// The deltas of one target.
pub(super) struct Job<'p> {
    pub(super) new: &'p Images,
    pub(super) target: &'p Image,
    pub(super) to: &'p Repository,
    pub(super) options: &'p PublishOptions,
    pub(super) workshop: &'p Workshop,
    /// What is published already.
    pub(super) found: Found,
    pub(super) report: &'p mut PublishReport,
}

impl Job<'_> {
    fn note(
        &mut self,
        source: &Image,
        layer: &ImageLayer,
        layout: Layout,
        delta_size: Option<u64>,
        outcome: Outcome,
    ) {
        self.report.deltas.push(PublishedDelta {
            platform: self.target.platform.to_string(),
            old: source.manifest.digest.to_string(),
            new: self.target.manifest.digest.to_string(),
            diff_id: layer.diff_id.to_string(),
            layout,
            blob_size: layer.blob.size(),
            delta_size,
            outcome,
        });
    }

    /// Makes the delta of `layer` and notes what becomes of it.
    async fn make(
        &mut self,
        repository: &Repository,
        source: &Image,
        old: &[&ImageLayer],
        layer: &ImageLayer,
        layout: Layout,
    ) -> Result<Option<Delta>> {
        let spools = self.workshop.spools(repository, old).await?;
        let new = self.workshop.spools(&self.new.repository, &[layer]).await?;
        let new = new.into_iter().next().ok_or(Error::Panicked)?;
        let is_bsdiff = layout == Layout::DeltaIndex;
        let delta = self.workshop.delta((old, spools), (layer, new), is_bsdiff).await?;
        let is_smaller = delta.size < layer.blob.size();
        let outcome = if is_smaller { Outcome::Published } else { Outcome::NotSmaller };
        self.note(source, layer, layout, Some(delta.size), outcome);
        Ok(is_smaller.then_some(delta))
    }

    /// Publishes the artifact from `source`, unless it would save nothing or is there.
    pub(super) async fn artifact(&mut self, repository: &Repository, source: &Image) -> Result<()> {
        let target = self.target;
        let lacking = target.layers_not_in(source);
        let is_there = |artifact: &OciDelta| artifact.source_config == source.config_digest;
        if self.found.artifacts.iter().any(|(_, artifact)| is_there(artifact)) {
            for layer in lacking {
                self.note(source, layer, Layout::Artifact, None, Outcome::AlreadyThere);
            }
            return Ok(());
        }
        let old: Vec<&ImageLayer> = source.layers.iter().collect();
        let mut layers = Vec::new();
        for layer in lacking {
            match self.make(repository, source, &old, layer, Layout::Artifact).await? {
                Some(delta) => {
                    self.put_delta(&delta).await?;
                    layers.push(ArtifactLayer::delta(layer.digest, delta.digest, delta.size));
                }
                None => layers.push(ArtifactLayer::original(&layer.blob)?),
            }
        }
        if !layers.iter().any(ArtifactLayer::is_delta) {
            return Ok(());
        }
        for layer in layers.iter().filter(|layer| !layer.is_delta()) {
            self.put_original(layer).await?;
        }
        let reused = target.layers.iter().filter(|layer| source.layer(layer.diff_id).is_some());
        let artifact = OciDelta {
            target: target.manifest.descriptor(),
            target_config: target.parsed.config().clone(),
            source: Some(source.manifest.digest),
            source_config: source.config_digest,
            reused: reused.map(|layer| (layer.digest, layer.diff_id)).collect(),
            layers,
            has_older_type: false,
        };
        for (media_type, bytes) in [
            (EMPTY_CONFIG, EMPTY_JSON),
            (target.manifest.media_type.as_str(), target.manifest.bytes.as_slice()),
            (target.parsed.config().media_type().as_ref(), target.config.as_slice()),
        ] {
            self.put_bytes(media_type, bytes).await?;
        }
        let manifest = Manifest::new(artifact.build(), None);
        self.to.put_manifest(&manifest, None).await?;
        self.report.artifacts.push(manifest.digest.to_string());
        if self.options.force {
            self.remove_older(&artifact, &manifest).await?;
        }
        Ok(())
    }

    /// Removes other artifacts for the same pair of images.
    async fn remove_older(&self, artifact: &OciDelta, manifest: &Manifest) -> Result<()> {
        let found = discover(self.to, self.target).await;
        let older: Vec<_> = found
            .artifacts
            .iter()
            .filter(|(digest, other)| {
                *digest != manifest.digest && other.source_config == artifact.source_config
            })
            .map(|(digest, _)| *digest)
            .collect();
        crate::prune::remove_artifacts(self.to, self.target.manifest.digest, &older).await.map(|_| ())
    }

    /// Makes the deltas from the last layer of `source`, and uploads them. They are listed by
    /// [`delta_index`](Self::delta_index).
    ///
    /// flatpak compares `from` with the last layer of what is installed, and no other.
    pub(super) async fn layer_deltas(
        &mut self,
        repository: &Repository,
        source: &Image,
    ) -> Result<Vec<LayerDelta>> {
        let Some(last) = source.layers.last() else { return Ok(Vec::new()) };
        let mut deltas = Vec::new();
        for layer in self.target.layers_not_in(source) {
            let pair = (last.diff_id, layer.diff_id);
            let is_there = |known: &LayerDelta| (known.from, known.to) == pair;
            if self.found.delta_manifests.iter().any(|(_, known)| known.iter().any(is_there)) {
                self.note(source, layer, Layout::DeltaIndex, None, Outcome::AlreadyThere);
                continue;
            }
            if let Some(delta) = self.make(repository, source, &[last], layer, Layout::DeltaIndex).await? {
                self.put_delta(&delta).await?;
                deltas.push(LayerDelta::new(pair.0, pair.1, delta.digest, delta.size));
            }
        }
        Ok(deltas)
    }

    /// Lists deltas in `_deltaindex`, together with what is there.
    pub(super) async fn delta_index(&mut self, deltas: &[LayerDelta]) -> Result<()> {
        if deltas.is_empty() {
            return Ok(());
        }
        let (target, to) = (self.target.manifest.digest, self.to);
        self.put_bytes(DELTA_CONFIG, EMPTY_JSON).await?;
        let mut listed = None;
        shared_index::update(to, DELTA_INDEX_TAG, async |current| {
            let entries = delta_index::entries_for(current, target);
            let mut all = Vec::new();
            for entry in &entries {
                let manifest = to.manifest_of(entry).await?;
                all.extend(delta_index::deltas_of(&parse_manifest("delta manifest", &manifest.bytes)?));
            }
            if self.options.force {
                let is_replaced = |known: &LayerDelta| {
                    let pair = (known.from, known.to);
                    deltas.iter().any(|delta| {
                        (delta.from, delta.to) == pair && delta.blob.digest() != known.blob.digest()
                    })
                };
                all.retain(|known| !is_replaced(known));
            }
            // Layers that old and new share must not be listed: some clients would rebuild them.
            all.extend_from_slice(deltas);
            let manifest = Manifest::new(delta_index::build(target, &all), None);
            listed = Some(manifest.digest);
            match entries.as_slice() {
                [only] if digest_of(only)? == manifest.digest => Ok(None),
                _ => {
                    to.put_manifest(&manifest, None).await?;
                    Ok(Some(delta_index::with_entry(current, target, Some(&manifest.bytes))))
                }
            }
        })
        .await?;
        self.report.delta_manifests.extend(listed.map(|digest| digest.to_string()));
        Ok(())
    }

    async fn put_delta(&self, delta: &Delta) -> Result<()> {
        self.to.put_blob(&descriptor(TAR_DIFF, delta.digest, delta.size), delta.file.path()).await
    }

    async fn put_bytes(&self, media_type: &str, bytes: &[u8]) -> Result<()> {
        let blob = descriptor_of(media_type, bytes);
        let path = self.workshop.dir().join(format!("put-{}", hex(digest_of(&blob)?)));
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        self.to.put_blob(&blob, &path).await
    }

    /// Has the repository hold a layer itself, which it does if the new image is in it.
    async fn put_original(&self, layer: &ArtifactLayer) -> Result<()> {
        if let Repository::Registry(to) = self.to {
            if to.has_blob(layer.to).await? {
                return Ok(());
            }
            if let Repository::Registry(from) = &self.new.repository
                && to.mount_blob(layer.to, from).await
            {
                return Ok(());
            }
        }
        let path = self.new.repository.blob(&layer.blob, self.workshop.dir(), &|_| ()).await?;
        self.to.put_blob(&layer.blob, &path).await
    }
}
