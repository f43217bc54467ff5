//! Deltas that follow each other: from an image that is here, over images that are not, to the one that is wanted.
//!
//! With deltas from v1 to v2 and from v2 to v3 published and v1 here, v3 is made of both. [`usable_deltas`] gives the
//! deltas by which each layer of an image can be made: those whose sources are here, and the cheapest chain where it
//! fetches fewer bytes than they do. The artifacts of an image name the images that their deltas are from, so the
//! search reads those in turn, the most promising first, and ends where no other can save anything
//! ([`search`](self::search)). The deltas that it knows are the edges of a graph, and layers and images its nodes
//! ([`known`](self::known)). Deltas that stand in `_deltaindex` alone name no image, so what it lists for other images
//! is read first ([`listed`](self::listed)). [`files`](self::files) opens the files of an image of which some
//! layers are here and others were made.
//!
//! A chain is no more trusted than a delta: each layer on the way is compared with its diff_id, and whatever goes wrong
//! ends with another delta or with the blob.

mod files;
mod known;
mod listed;
mod search;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use layer::{DiffId, Digest};
use oci_spec::image::Descriptor;

pub(crate) use files::{BaseFiles, LayerFiles, Made};

use crate::Result;
use crate::cost::{Way, check_work, delta_work};
use crate::discover::{Candidate, Discovery, choose};
use crate::error::blocking;
use crate::image::{Image, ImageLayer};
use crate::repository::Repository;
use crate::store::{Base, LayerStore, bases};
use crate::watch::Watch;
use search::{Goal, Search};

/// Most deltas that follow each other.
pub(crate) const MAX_STEPS: usize = 8;
/// Most layers that are made on the way to one.
pub(crate) const MAX_MADE: usize = 32;

/// A delta by which a layer can be made, with all that it takes.
#[derive(Debug, Clone)]
pub(crate) struct UsableDelta {
    /// The delta.
    pub(crate) delta: Candidate,
    /// The files that it reads.
    pub(crate) files: BaseFiles,
    /// The layers that are made before, in their order, since it reads them and they are not here.
    pub(crate) before: Vec<Step>,
}

/// A layer that is made on the way to another one.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The layer.
    pub(crate) layer: ImageLayer,
    /// The delta that makes it, and the files that it reads; without one its blob is fetched.
    pub(crate) delta: Option<(Candidate, BaseFiles)>,
}

impl Step {
    /// The bytes that it fetches.
    pub(crate) fn size(&self) -> u64 {
        self.delta.as_ref().map_or(self.layer.blob.size(), |(delta, _)| delta.blob.size())
    }

    fn work(&self) -> u64 {
        match &self.delta {
            Some((delta, _)) => delta_work(&self.layer, &delta.blob),
            None => check_work(&self.layer),
        }
    }
}

impl UsableDelta {
    /// The bytes that it fetches, with those of the layers that are made before.
    pub(crate) fn size(&self) -> u64 {
        self.before.iter().map(Step::size).fold(self.delta.blob.size(), u64::saturating_add)
    }

    /// The way to the layer that it makes.
    pub(crate) fn way<'w>(&self, layer: &'w ImageLayer, recipe: Option<&'w Descriptor>) -> Way<'w> {
        let own = delta_work(layer, &self.delta.blob);
        let delta_work = self.before.iter().map(Step::work).fold(own, u64::saturating_add);
        Way { layer, size: self.size(), delta_work, recipe }
    }
}

/// The places that a search for chains reads and writes.
#[derive(Debug)]
pub(crate) struct Places<'p> {
    /// The repository that has the image.
    pub(crate) repository: &'p Repository,
    /// The stores with old images, in their order.
    pub(crate) stores: &'p [Arc<dyn LayerStore>],
    /// The directory for configs that are read.
    pub(crate) temp_dir: &'p Path,
    /// Is told of stores that cannot be read.
    pub(crate) watch: &'p Watch,
}

/// A step from one image to another: what its deltas read, and the manifest of the image that they are to.
pub(crate) type ChainStep = (Base, Digest);

impl Places<'_> {
    /// Returns the stores that have what deltas read, of those bases that are here.
    async fn bases_of(&self, found: &Discovery) -> Result<BTreeMap<Base, Arc<dyn LayerStore>>> {
        let wanted: BTreeSet<Base> = found.candidates.iter().map(|candidate| candidate.base).collect();
        bases(self.stores, wanted, self.watch, None).await
    }
}

/// Returns the deltas by which each of the `missing` layers of an image can be made, those that fetch least
/// first. Those that fetch as much as the blob are left out. No image is read on the way to a chain after
/// `until`.
pub(crate) async fn usable_deltas(
    places: &Places<'_>,
    image: &Image,
    missing: &[&ImageLayer],
    found: &Discovery,
    until: Instant,
) -> Result<BTreeMap<DiffId, VecDeque<UsableDelta>>> {
    let here = places.bases_of(found).await?;
    let chosen = choose(missing, &found.candidates, |base| here.contains_key(&base));
    let mut usable: BTreeMap<DiffId, VecDeque<UsableDelta>> = BTreeMap::new();
    for (layer, deltas) in chosen {
        let direct = deltas.into_iter().filter_map(|delta| {
            let files = BaseFiles::Here(delta.base, Arc::clone(here.get(&delta.base)?));
            Some(UsableDelta { delta: delta.clone(), files, before: Vec::new() })
        });
        usable.insert(layer, direct.collect());
    }
    let stores = places.stores.to_vec();
    let is_empty = blocking(move || Ok(stores.iter().all(|store| store.is_empty())));
    if (found.artifacts.is_empty() && found.delta_manifests.is_empty()) || is_empty.await? {
        return Ok(usable);
    }
    let goals = missing.iter().map(|layer| {
        let direct = usable.get(&layer.diff_id).and_then(|deltas| deltas.front()).map(UsableDelta::size);
        Goal { layer, best: direct.unwrap_or(layer.blob.size()), has_delta: direct.is_some() }
    });
    let goals: Vec<Goal<'_>> = goals.collect();
    let chains: HashMap<DiffId, UsableDelta> =
        Search::new(places, found, here, until).chains(image, &goals).await?;
    for (layer, chain) in chains {
        usable.entry(layer).or_default().push_front(chain);
    }
    Ok(usable)
}

/// Returns the cheapest chain of deltas that are no tardf3 to each of the `missing` layers that fetches fewer
/// bytes than the blob, whatever other deltas there are. With a list of steps, it takes these alone.
pub(crate) async fn plain_chains(
    places: &Places<'_>,
    image: &Image,
    missing: &[&ImageLayer],
    found: &Discovery,
    over: Option<&BTreeSet<ChainStep>>,
    until: Instant,
) -> Result<HashMap<DiffId, UsableDelta>> {
    let here = places.bases_of(found).await?;
    let goals = missing.iter().map(|layer| Goal { layer, best: layer.blob.size(), has_delta: false });
    let goals: Vec<Goal<'_>> = goals.collect();
    Search::new(places, found, here, until).plain().only_over(over).chains(image, &goals).await
}
