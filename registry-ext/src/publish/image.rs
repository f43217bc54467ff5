//! Publishes the deltas to one image.

use delta_format::Version;
use layer::{DiffId, Digest};

use super::merged::NotMerged;
use super::{Outcome, PublishReport, PublishedDelta, Publisher, Recipes};
use crate::artifact::delta_index::{self, LayerDelta};
use crate::artifact::oci_delta::ArtifactLayer;
use crate::artifact::{DELTA_CONFIG, DELTA_INDEX_TAG};
use crate::delta::{Delta, DeltaCache, LayerOf, LayersOf};
use crate::discover::{Discovery, Published};
use crate::image::{Image, ImageIn, ImageLayer};
use crate::oci::{EMPTY_JSON, Manifest, descriptor_of, digest_of, hex, parse_manifest};
use crate::registry::MAX_MANIFEST_SIZE;
use crate::repository::Repository;
use crate::signature::CarriedSignature;
use crate::{Error, Result, shared_index};

/// The publishing of the deltas to one image.
pub(super) struct ImagePublisher<'p> {
    pub(super) publisher: &'p Publisher<'p>,
    pub(super) target: &'p Image,
    pub(super) cache: &'p DeltaCache,
    /// The deltas that are published already.
    pub(super) found: Discovery,
    pub(super) report: &'p mut PublishReport,
    /// The signatures that the artifacts carry.
    pub(super) signatures: Vec<CarriedSignature>,
    /// The oci-delta artifacts that were published.
    pub(super) published: Vec<Digest>,
    /// True if deltas from the old image that is looked at are merged of others: none is made to see through
    /// compression.
    pub(super) is_merged: bool,
    /// The layers whose deltas from that image could not be merged.
    pub(super) not_merged: Vec<NotMerged>,
}

impl<'p> ImagePublisher<'p> {
    /// Publishes all that is asked for, from each of the `old` images.
    ///
    /// The artifacts come last. A plan takes an update that has one for done, so what a job that was killed
    /// before has not written is made by the next one.
    pub(super) async fn publish(&mut self, old: &[ImageIn<'p>]) -> Result<()> {
        let mut lacking = match self.publisher.recipes {
            Recipes::None => Vec::new(),
            Recipes::WithDeltas | Recipes::All => self.lacking_anywhere(old),
        };
        self.cache.keep(lacking.iter().copied());
        let (mut deltas, mut artifacts, mut refused) = (Vec::new(), Vec::new(), None);
        for source in old {
            let is_indexed = self.is_indexed(source);
            if self.publisher.merge {
                self.merge_deltas(source).await?;
            }
            match self.prepare_artifacts(source).await {
                Ok(prepared) => artifacts.extend(prepared.into_iter().map(|of| (of, is_indexed))),
                Err(error) => refused = refused.or(self.refusal(Err(error), is_indexed)?),
            }
            if is_indexed {
                deltas.extend(self.layer_deltas(source).await?);
            } else if self.publisher.delta_index {
                self.report.not_in_delta_index.push(source.image.manifest.digest);
            }
        }
        self.delta_index(&deltas).await?;
        if self.publisher.recipes == Recipes::WithDeltas {
            lacking.retain(|layer| self.has_delta(layer));
        }
        let recipes = self.blob_recipes(&lacking).await;
        refused = refused.or(self.refusal(recipes, !deltas.is_empty())?);
        for (artifact, is_indexed) in artifacts {
            let published = self.publish_artifact(artifact).await;
            refused = refused.or(self.refusal(published, is_indexed)?);
        }
        let listed = self.list_for_others(old).await;
        refused = refused.or(self.refusal(listed, !deltas.is_empty())?);
        // Not before what can be published is.
        refused.map_or(Ok(()), Err)
    }

    /// The layers that at least one of the `old` images lacks, each once.
    fn lacking_anywhere(&self, old: &[ImageIn<'_>]) -> Vec<&'p ImageLayer> {
        let target = self.target;
        let mut lacking: Vec<&ImageLayer> = Vec::new();
        for layer in old.iter().flat_map(|source| target.layers_not_in(source.image)) {
            if !lacking.contains(&layer) {
                lacking.push(layer);
            }
        }
        lacking
    }

    /// Returns true if a delta of the layer is published.
    fn has_delta(&self, layer: &ImageLayer) -> bool {
        self.report.deltas.iter().any(|delta| {
            delta.diff_id == layer.diff_id
                && delta.new == self.target.manifest.digest
                && matches!(delta.outcome, Outcome::Published | Outcome::AlreadyThere)
        })
    }

    /// Tells whether `_deltaindex` is written for deltas from an old image.
    pub(super) fn is_indexed(&self, source: &ImageIn<'_>) -> bool {
        self.publisher.delta_index && source.image.layers.len() <= self.publisher.delta_index_max_layers
    }

    /// Returns the error of a repository that does not take what refers to an image; other errors are errors.
    /// If `_deltaindex` is written, the refusal is noted and nothing is returned.
    fn refusal(&mut self, published: Result<()>, has_index: bool) -> Result<Option<Error>> {
        match published {
            Ok(()) => Ok(None),
            Err(error @ (Error::Registry(_) | Error::Contended { .. } | Error::Malformed { .. })) => {
                if !has_index {
                    return Ok(Some(error));
                }
                self.note_failure(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn note(
        &mut self,
        source: &Image,
        layer: &ImageLayer,
        layout: Published,
        delta: Option<&Delta>,
        outcome: Outcome,
    ) {
        let is_made = outcome != Outcome::AlreadyThere && delta.is_none_or(|delta| delta.merged.is_none());
        let not_merged = self.reason_not_merged(layout, layer, source.layers.len()).filter(|_| is_made);
        self.report.deltas.push(PublishedDelta {
            platform: self.target.platform.clone(),
            old: source.manifest.digest,
            new: self.target.manifest.digest,
            diff_id: layer.diff_id,
            layout,
            blob_size: layer.blob.size(),
            delta_size: delta.map(|delta| delta.size),
            seconds: delta.map(|delta| delta.seconds),
            merged: delta.and_then(|delta| delta.merged),
            not_merged,
            outcome,
        });
    }

    /// Notes that an artifact could not be published whose deltas were made.
    pub(super) fn note_refusal(&mut self, source: &Image, layout: Published) {
        let (old, new) = (source.manifest.digest, self.target.manifest.digest);
        for delta in &mut self.report.deltas {
            if (&delta.old, &delta.new, delta.layout) == (&old, &new, layout)
                && delta.outcome == Outcome::Published
            {
                delta.outcome = Outcome::Refused;
            }
        }
    }

    /// Notes that something that refers to the image could not be published, although `_deltaindex` is written:
    /// its readers need nothing else.
    fn note_failure(&mut self, error: &Error) {
        let (reason, target) = (error.one_line(), self.target.manifest.digest);
        self.publisher.watch.warn_once(&format!(
            "what refers to {target} cannot be published, only _deltaindex is written: {reason}",
        ));
        self.report.failures.push(reason);
    }

    /// The delta of `layer` from the `old` layers; `None`, and a warning, if one of them cannot be read as
    /// a tar, or the delta turns out to be wrong.
    async fn delta(
        &self,
        repository: &Repository,
        old: &[&ImageLayer],
        layer: &ImageLayer,
        newest: Version,
    ) -> Result<Option<Delta>> {
        let old = LayersOf { repository, layers: old };
        let new = LayerOf { repository: &self.publisher.new.repository, layer };
        self.cache.delta_unless_unreadable(old, new, newest).await
    }

    /// The delta of `layer` from all layers of an image.
    pub(super) async fn delta_of_image(
        &self,
        source: &ImageIn<'_>,
        layer: &ImageLayer,
        newest: Version,
    ) -> Result<Option<Delta>> {
        let old: Vec<&ImageLayer> = source.image.layers.iter().collect();
        self.delta(source.repository, &old, layer, newest).await
    }

    /// Makes the deltas from the last layer of `source`, and uploads them. They are listed by
    /// [`delta_index`](Self::delta_index).
    ///
    /// flatpak compares `from` with the last layer of what is installed, and no other.
    async fn layer_deltas(&mut self, source: &ImageIn<'_>) -> Result<Vec<LayerDelta>> {
        let Some(last) = source.image.layers.last() else { return Ok(Vec::new()) };
        let mut deltas = Vec::new();
        for layer in self.target.layers_not_in(source.image) {
            let pair = (last.diff_id, layer.diff_id);
            if self.is_listed(pair) {
                self.note(source.image, layer, Published::DeltaIndex, None, Outcome::AlreadyThere);
                continue;
            }
            let Some(delta) = self.delta(source.repository, &[last], layer, Version::V1).await? else {
                self.note(source.image, layer, Published::DeltaIndex, None, Outcome::Failed);
                continue;
            };
            let is_smaller = delta.size < layer.blob.size();
            let outcome = if is_smaller { Outcome::Published } else { Outcome::NotSmaller };
            self.note(source.image, layer, Published::DeltaIndex, Some(&delta), outcome);
            if is_smaller {
                self.put_delta(&delta).await?;
                deltas.push(LayerDelta::new(pair.0, pair.1, delta.digest, delta.size));
            }
        }
        Ok(deltas)
    }

    /// Tells whether `_deltaindex` has a delta from one layer to another.
    fn is_listed(&self, pair: (DiffId, DiffId)) -> bool {
        let mut known = self.found.delta_manifests.iter().flat_map(|(_, known)| known);
        known.any(|known| (known.from, known.to) == pair)
    }

    /// Tells whether `_deltaindex` has a delta from the last layer of an image to each layer that the image lacks.
    pub(super) fn lists_all(&self, source: &Image) -> bool {
        let mut lacking = self.target.layers_not_in(source).into_iter();
        source
            .layers
            .last()
            .is_some_and(|last| lacking.all(|layer| self.is_listed((last.diff_id, layer.diff_id))))
    }

    /// Lists deltas in `_deltaindex`, together with what is there.
    async fn delta_index(&mut self, deltas: &[LayerDelta]) -> Result<()> {
        if deltas.is_empty() {
            return Ok(());
        }
        let (target, to) = (self.target.manifest.digest, self.publisher.to);
        self.put_bytes(DELTA_CONFIG, EMPTY_JSON).await?;
        if let Repository::Layout(_) = to {
            // So that a layout of deltas alone still says what image they make.
            let image = self.target;
            self.put_bytes(&image.manifest.media_type, &image.manifest.bytes).await?;
            self.put_bytes(image.parsed.config().media_type().as_ref(), &image.config).await?;
        }
        let mut listed = None;
        shared_index::update(to, DELTA_INDEX_TAG, async |current| {
            let entries = delta_index::entries_for(current, target);
            let mut all = Vec::new();
            for entry in &entries {
                let manifest = to.manifest_of(entry).await?;
                all.extend(delta_index::deltas_of(&parse_manifest("delta manifest", &manifest.bytes)?));
            }
            if self.publisher.force {
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
            let manifest = Manifest::new(delta_index::build(target, &self.fitting(all)), None);
            if matches!(entries.as_slice(), [only] if digest_of(only)? == manifest.digest) {
                listed = Some(manifest.digest);
                return Ok(None);
            }
            to.put_manifest(&manifest, None).await?;
            let changed = delta_index::with_entry(current, target, Some(&manifest.bytes));
            let (changed, left_out) = self.make_room(changed).await?;
            let size = Manifest::from(&changed).bytes.len() as u64;
            listed =
                Some(manifest.digest).filter(|_| !left_out.contains(&target) && size <= MAX_MANIFEST_SIZE);
            // The same index is not written again, nor one that is too large although what is known is left out.
            Ok(Some(changed).filter(|changed| changed != current && size <= MAX_MANIFEST_SIZE))
        })
        .await?;
        if listed.is_none() {
            self.note_no_room();
        }
        self.report.delta_manifests.extend(listed);
        Ok(())
    }

    /// Notes that `_deltaindex` has no room for the deltas to the image.
    fn note_no_room(&mut self) {
        let new = self.target.manifest.digest;
        let of_index =
            |delta: &&mut PublishedDelta| delta.new == new && delta.layout == Published::DeltaIndex;
        for delta in self.report.deltas.iter_mut().filter(of_index) {
            if delta.outcome == Outcome::Published {
                delta.outcome = Outcome::NoRoom;
            }
        }
    }

    pub(super) async fn put_delta(&self, delta: &Delta) -> Result<()> {
        self.publisher.to.put_blob(&delta.descriptor(), delta.file.path()).await
    }

    pub(super) async fn put_bytes(&self, media_type: &str, bytes: &[u8]) -> Result<()> {
        let blob = descriptor_of(media_type, bytes);
        let path = self.cache.dir().join(format!("put-{}", hex(digest_of(&blob)?)));
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        self.publisher.to.put_blob(&blob, &path).await
    }

    /// Has the repository hold a layer itself, which it does if the new image is in it.
    pub(super) async fn put_original(&self, layer: &ArtifactLayer) -> Result<()> {
        if let Repository::Registry(to) = self.publisher.to {
            if to.has_blob(layer.to).await? {
                return Ok(());
            }
            if let Repository::Registry(from) = &self.publisher.new.repository
                && to.mount_blob(layer.to, from).await
            {
                return Ok(());
            }
        }
        let path = self.publisher.new.repository.blob(&layer.blob, self.cache.dir(), &|_| ()).await?;
        self.publisher.to.put_blob(&layer.blob, &path).await
    }
}
