//! The search for images and deltas on the way to the one that is wanted.
//!
//! The search is optimistic: an image that was not read counts as one that is here. While the cheapest way to
//! a layer leads over such an image and would save something, that image is read, with the deltas to it. So
//! no image is read over which nothing can be saved, and where the deltas from what is here are the smallest,
//! none is. The search ends once it has cost half of what may still be saved, as it does on a host that has
//! no release of the image.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use layer::{DiffId, Digest};
use oci_spec::image::ImageIndex;
use tokio::time::timeout_at;

use super::known::{Known, Path, Rounds};
use super::listed::{self, ListedDeltas};
use super::{BaseFiles, ChainStep, LayerFiles, Places, Step, UsableDelta};
use crate::artifact::is_tardf3;
use crate::discover::{Candidate, Discovery, Limits, delta_index, discover_within};
use crate::image::{Image, ImageLayer};
use crate::oci::Name;
use crate::store::{Base, LayerStore, bases};
use crate::{Error, Result};

/// Most images that are read on the way.
const MAX_IMAGES: usize = 16;
/// Most that are read for a layer that has a delta from what is here: the deltas of a chain are seldom
/// smaller together.
const MAX_IMAGES_BESIDE_DELTAS: usize = 4;
/// Bytes of documents after which no other image is read.
const MAX_BYTES: u64 = 16 << 20;
/// Most layers of such an image.
const MAX_LAYERS: usize = 1024;
/// Most deltas that are kept.
const MAX_DELTAS: usize = 16_384;
/// Bytes that a way over an image that was not read saves at least: to read it takes a few kilobytes.
const MIN_SAVING: u64 = 4096;

/// A layer that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal<'g> {
    pub(super) layer: &'g ImageLayer,
    /// The bytes that the best other way to it takes.
    pub(super) best: u64,
    /// True if that is a delta.
    pub(super) has_delta: bool,
}

/// An image over which something may be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hope {
    /// The bytes that it may save at most.
    saving: u64,
    /// The digest of its config.
    config: Digest,
    /// True if the layer has a delta from what is here.
    has_delta: bool,
}

/// The search for chains to the layers of one image.
pub(super) struct Search<'s> {
    places: &'s Places<'s>,
    known: Known,
    /// The stores that have the bases that are here.
    stores: BTreeMap<Base, Arc<dyn LayerStore>>,
    /// The digests of the manifests of images, by those of their configs.
    names: BTreeMap<Digest, Digest>,
    /// `_deltaindex`, if it has deltas to the image; `None` in it if it is gone.
    index: Option<Option<ImageIndex>>,
    has_index: bool,
    is_plain: bool,
    /// The steps that may be on the way; any if there is no such list.
    over: Option<&'s BTreeSet<ChainStep>>,
    /// The deltas to the image that is wanted.
    found: &'s Discovery,
    until: Instant,
}

impl<'s> Search<'s> {
    pub(super) fn new(
        places: &'s Places<'s>,
        found: &'s Discovery,
        here: BTreeMap<Base, Arc<dyn LayerStore>>,
        until: Instant,
    ) -> Self {
        let known = Known { here: here.keys().copied().collect(), ..Known::default() };
        let has_index = !found.delta_manifests.is_empty();
        let names = BTreeMap::new();
        Self {
            places,
            known,
            stores: here,
            names,
            index: None,
            has_index,
            is_plain: false,
            over: None,
            found,
            until,
        }
    }

    /// Leaves out deltas that take other steps than those of a list, if there is one.
    pub(super) const fn only_over(mut self, over: Option<&'s BTreeSet<ChainStep>>) -> Self {
        self.over = over;
        self
    }

    /// Leaves tardf3 deltas out.
    pub(super) const fn plain(mut self) -> Self {
        self.is_plain = true;
        self
    }

    /// Returns the chain for each layer to which one fetches fewer bytes than the best other way.
    pub(super) async fn chains(
        mut self,
        image: &Image,
        goals: &[Goal<'_>],
    ) -> Result<HashMap<DiffId, UsableDelta>> {
        self.add(image.manifest.digest, self.found);
        // The image itself is on no way to it.
        self.names.insert(image.config_digest, image.manifest.digest);
        self.known.unread.remove(&image.config_digest);
        self.follow_index(image, goals).await?;
        let (before, mut limits) = (self.places.repository.received(), Limits::default());
        for count in 0..MAX_IMAGES {
            let Some(Hope { saving, config, has_delta }) = self.most_promising(goals) else { break };
            let received = self.places.repository.received() - before;
            if received > MAX_BYTES
                || received.saturating_mul(2) > saving
                || (has_delta && count >= MAX_IMAGES_BESIDE_DELTAS)
                || self.known.deltas.len() >= MAX_DELTAS
            {
                break;
            }
            let until = self.until.into();
            let read = self.read(config, &mut limits);
            // Who does not answer in time ends the search, and what is known by then counts.
            let Ok(read) = timeout_at(until, read).await else { break };
            self.known.unread.remove(&config);
            // An image that is gone, or cannot be read, is on no way. Nobody asked for it, so nobody is told.
            if let Ok((image, found)) = read {
                self.add_image(&image, &found).await?;
            }
        }
        let rounds = Rounds::new(&self.known, false);
        let mut chains = HashMap::new();
        for goal in goals {
            let path = rounds.cheapest(goal.layer.diff_id).filter(|path| path.size < goal.best);
            chains.extend(path.and_then(|path| Some((goal.layer.diff_id, self.usable(&path)?))));
        }
        Ok(chains)
    }

    /// Returns the image over which the most may be saved, of those that were not read.
    fn most_promising(&self, goals: &[Goal<'_>]) -> Option<Hope> {
        if self.known.unread.is_empty() {
            return None;
        }
        let rounds = Rounds::new(&self.known, true);
        let hope = |goal: &Goal<'_>| {
            let path = rounds.cheapest(goal.layer.diff_id)?;
            let saving = goal.best.checked_sub(path.size.saturating_add(MIN_SAVING))?;
            Some(Hope { saving, config: *path.unread.first()?, has_delta: goal.has_delta })
        };
        goals.iter().filter_map(hope).max()
    }

    /// Reads an image, and the deltas to it.
    async fn read(&mut self, config: Digest, limits: &mut Limits) -> Result<(Image, Discovery)> {
        let repository = self.places.repository;
        let manifest = self.names.get(&config).copied().unwrap_or(config);
        let what = || format!("the image {manifest} in {}", repository.name());
        let found = repository.manifest(&Name::Digest(manifest)).await?;
        let found = found.ok_or_else(|| Error::NotFound { what: what() })?;
        let image = Image::load(repository, found, self.places.temp_dir).await?;
        if image.config_digest != config || image.layers.len() > MAX_LAYERS {
            return Err(Error::malformed(what(), "it is another one than an artifact says"));
        }
        let index = self.index().await;
        let found = discover_within(repository, &image, index, limits).await;
        Ok((image, found))
    }

    /// Returns `_deltaindex`, if it has deltas to the image. It is read once.
    async fn index(&mut self) -> Option<&ImageIndex> {
        if self.has_index && self.index.is_none() {
            self.index = Some(delta_index(self.places.repository).await.unwrap_or_default());
        }
        self.index.as_ref().and_then(Option::as_ref)
    }

    /// Adds the images on the way to layers that deltas of `_deltaindex` read, as far as that way is one of its deltas
    /// alone: no artifact names these images.
    async fn follow_index(&mut self, image: &Image, goals: &[Goal<'_>]) -> Result<()> {
        let saving =
            goals.iter().flat_map(|goal| self.known.sources(goal.layer.diff_id).map(move |of| (goal, of)));
        let saving = saving
            .filter_map(|(goal, (_, size))| goal.best.checked_sub(size.saturating_add(MIN_SAVING)))
            .max();
        let (places, until) = (self.places, self.until);
        // Half of what may be saved is the most that the search costs.
        let (Some(saving), Ok(Some(index))) = (saving, timeout_at(until.into(), self.index()).await) else {
            return Ok(());
        };
        let max = (saving / 2).min(MAX_BYTES);
        let listed = ListedDeltas::read(places.repository, index, image.manifest.digest, max, until).await;
        let wanted = listed.sources().into_iter().map(Base::Layer);
        let wanted = wanted.filter(|base| !self.stores.contains_key(base)).collect();
        self.stores.extend(bases(places.stores, wanted, places.watch, Some(until)).await?);
        let here = self.stores.keys().filter_map(|base| match base {
            Base::Layer(layer) => Some(*layer),
            Base::Image(_) => None,
        });
        let ways = listed.ways(&here.collect());
        let mut steps = Vec::new();
        for goal in goals {
            let sources = self.known.sources(goal.layer.diff_id);
            let ways_to =
                sources.filter_map(|(from, size)| Some((ways.get(&from)?.0.saturating_add(size), from)));
            if let Some((_, from)) =
                ways_to.min().filter(|(size, _)| size.saturating_add(MIN_SAVING) < goal.best)
            {
                steps.extend(listed::steps(&ways, from));
            }
        }
        for (image, candidates) in listed::images_of(places.repository, &steps, places.temp_dir, until).await
        {
            self.add_image(&image, &Discovery { candidates, ..Discovery::default() }).await?;
        }
        Ok(())
    }

    async fn add_image(&mut self, image: &Image, found: &Discovery) -> Result<()> {
        let layers: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let read = found.candidates.iter().map(|delta| delta.base);
        let wanted: BTreeSet<Base> = layers
            .iter()
            .map(|layer| Base::Layer(*layer))
            .chain(read)
            .filter(|base| !self.stores.contains_key(base))
            .collect();
        self.stores.extend(bases(self.places.stores, wanted, self.places.watch, Some(self.until)).await?);
        self.known.here = self.stores.keys().copied().collect();
        for layer in &image.layers {
            self.known.layers.entry(layer.diff_id).or_insert_with(|| layer.clone());
        }
        self.known.images.insert(image.config_digest, layers);
        self.add(image.manifest.digest, found);
        Ok(())
    }

    /// Adds the deltas to the image of a manifest, and the images that they are from.
    fn add(&mut self, to: Digest, found: &Discovery) {
        let over = self.over;
        let is_on_way = |base: Base| over.is_none_or(|over| over.contains(&(base, to)));
        let left = MAX_DELTAS.saturating_sub(self.known.deltas.len());
        let taken = found.candidates.iter().filter(|delta| !self.is_plain || !is_tardf3(&delta.blob));
        let taken = taken.filter(|delta| is_on_way(delta.base));
        self.known.deltas.extend(taken.take(left).cloned());
        for (_, artifact) in &found.artifacts {
            let config = artifact.source_config;
            let is_known =
                self.known.images.contains_key(&config) || self.known.here.contains(&Base::Image(config));
            if let (Some(manifest), false) = (artifact.source, is_known)
                && is_on_way(Base::Image(config))
                && self.names.insert(config, manifest).is_none()
            {
                self.known.unread.insert(config);
            }
        }
    }

    fn usable(&self, path: &Path<'_>) -> Option<UsableDelta> {
        let before = path.before.iter().map(|(layer, delta)| {
            let layer = self.known.layers.get(layer)?.clone();
            let delta = match delta {
                Some(delta) => Some(((*delta).clone(), self.files(delta)?)),
                None => None,
            };
            Some(Step { layer, delta })
        });
        let before = before.collect::<Option<Vec<_>>>()?;
        Some(UsableDelta { delta: path.delta.clone(), files: self.files(path.delta)?, before })
    }

    /// Returns the files that a delta reads.
    fn files(&self, delta: &Candidate) -> Option<BaseFiles> {
        if let Some(store) = self.stores.get(&delta.base) {
            return Some(BaseFiles::Here(delta.base, Arc::clone(store)));
        }
        let layers = self.known.layers_of(delta.base).into_iter().map(|layer| {
            match self.stores.get(&Base::Layer(layer)) {
                Some(store) => LayerFiles::Here(layer, Arc::clone(store)),
                None => LayerFiles::Made(layer),
            }
        });
        let layers: Vec<LayerFiles> = layers.collect();
        (!layers.is_empty()).then_some(BaseFiles::Layers(layers))
    }
}
