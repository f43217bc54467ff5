//! The deltas and images that a search knows, and the cheapest way through them.
//!
//! Layers and images are the nodes. A delta leads from the layer or the image that it reads to the layer that it makes,
//! and weighs the bytes of its blob; an image takes all its layers. The cheapest ways are found in rounds,
//! each of which adds one delta (Bellman and Ford), so that a way has at most so many deltas and cycles do no
//! harm.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use layer::{DiffId, Digest};

use super::{MAX_MADE, MAX_STEPS};
use crate::discover::Candidate;
use crate::image::ImageLayer;
use crate::store::Base;

/// The largest number of last deltas that are tried, from the cheapest one on: a publisher may list very many.
const MAX_LAST: usize = 64;

/// The deltas and images that are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The layers of images that were read, by the digest of their config.
    pub(super) images: BTreeMap<Digest, Vec<DiffId>>,
    /// These layers.
    pub(super) layers: HashMap<DiffId, ImageLayer>,
    /// The deltas.
    pub(super) deltas: Vec<Candidate>,
    /// The bases that are here.
    pub(super) here: HashSet<Base>,
    /// The images that may be read, by the digest of their config.
    pub(super) unread: BTreeSet<Digest>,
}

/// The way to have a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Here,
    Blob,
    /// The delta of this number.
    Delta(usize),
}

/// Bytes to be fetched, and the way that takes them, for each layer that can be had.
type Costs = HashMap<DiffId, (u64, Choice)>;

/// The cheapest way to a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'k> {
    /// The bytes that it fetches at least.
    pub(super) size: u64,
    /// The last delta.
    pub(super) delta: &'k Candidate,
    /// The layers that are made before, with the delta of each, or with none for its blob.
    pub(super) before: Vec<(DiffId, Option<&'k Candidate>)>,
    /// The images on the way that were not read.
    pub(super) unread: BTreeSet<Digest>,
}

/// The costs of layers by ways of no delta, of one at most, and so on, as far as the deltas before the last one go.
pub(super) struct Rounds<'k> {
    known: &'k Known,
    /// True if an image that may be read counts as one that is here: no way over it takes less.
    hoping: bool,
    rounds: Vec<Costs>,
    /// The costs of bases by the last round.
    bases: HashMap<Base, Option<u64>>,
    /// The numbers of the deltas that make a layer.
    to: HashMap<DiffId, Vec<usize>>,
}

impl<'k> Rounds<'k> {
    pub(super) fn new(known: &'k Known, hoping: bool) -> Self {
        let blobs = known.layers.iter().map(|(id, layer)| (*id, (layer.blob.size(), Choice::Blob)));
        let mut first: Costs = blobs.collect();
        first.extend(known.here.iter().filter_map(|base| match base {
            Base::Layer(layer) => Some((*layer, (0, Choice::Here))),
            Base::Image(_) => None,
        }));
        let mut to = HashMap::<DiffId, Vec<usize>>::new();
        for (index, delta) in known.deltas.iter().enumerate() {
            to.entry(delta.to).or_default().push(index);
        }
        let mut rounds = Self { known, hoping, bases: HashMap::new(), rounds: vec![first], to };
        rounds.bases = rounds.base_costs();
        while rounds.rounds.len() < MAX_STEPS {
            rounds.add();
        }
        rounds
    }

    /// Adds a round: ways of one delta more.
    fn add(&mut self) {
        let Some(mut next) = self.rounds.last().cloned() else { return };
        for (index, delta) in self.known.deltas.iter().enumerate() {
            let Some(cost) = self.cost(delta) else { continue };
            if next.get(&delta.to).is_none_or(|(known, _)| cost < *known) {
                next.insert(delta.to, (cost, Choice::Delta(index)));
            }
        }
        self.rounds.push(next);
        self.bases = self.base_costs();
    }

    /// The bytes of a delta and of the cheapest way to what it reads.
    fn cost(&self, delta: &Candidate) -> Option<u64> {
        let base = self.bases.get(&delta.base).copied().flatten()?;
        Some(base.saturating_add(delta.blob.size()))
    }

    fn base_costs(&self) -> HashMap<Base, Option<u64>> {
        let bases: HashSet<Base> = self.known.deltas.iter().map(|delta| delta.base).collect();
        let Some(last) = self.rounds.last() else { return HashMap::new() };
        bases.into_iter().map(|base| (base, self.known.base_cost(base, last, self.hoping))).collect()
    }

    /// Returns the cheapest way to make a layer of deltas, among those of [`MAX_MADE`] layers at most.
    pub(super) fn cheapest(&self, to: DiffId) -> Option<Path<'k>> {
        let deltas = self.to.get(&to)?.iter().filter_map(|index| self.known.deltas.get(*index));
        let mut ways: Vec<_> = deltas.filter_map(|delta| Some((self.cost(delta)?, delta))).collect();
        ways.sort_by_cached_key(|(size, delta)| (*size, delta.blob.digest().to_string(), delta.base));
        ways.truncate(MAX_LAST);
        ways.into_iter().map(|(_, delta)| self.path(delta)).find(|path| path.before.len() <= MAX_MADE)
    }

    /// Returns the cheapest way whose last delta is given.
    fn path(&self, delta: &'k Candidate) -> Path<'k> {
        let mut path = Path { size: 0, delta, before: Vec::new(), unread: BTreeSet::new() };
        self.known.collect(delta.base, &self.rounds, &mut path, &mut HashSet::new());
        let sizes = path.before.iter().map(|(layer, delta)| self.known.step_size(*layer, *delta));
        path.size = sizes.fold(delta.blob.size(), u64::saturating_add);
        path
    }
}

impl Known {
    /// Returns the bytes that it takes to have the files of a base; `None` if nothing that is known gives them, or more
    /// of its layers would have to be made than a pull makes.
    fn base_cost(&self, base: Base, layers: &Costs, hoping: bool) -> Option<u64> {
        if self.here.contains(&base) {
            return Some(0);
        }
        if self.lacking(base) > MAX_MADE {
            return None;
        }
        match base {
            Base::Layer(layer) => {
                self.layers.get(&layer).and_then(|_| layers.get(&layer)).map(|(cost, _)| *cost)
            }
            Base::Image(config) => match self.images.get(&config) {
                Some(image) => image.iter().try_fold(0_u64, |sum, layer| {
                    layers.get(layer).map(|(cost, _)| sum.saturating_add(*cost))
                }),
                None => (hoping && self.unread.contains(&config)).then_some(0),
            },
        }
    }

    /// Adds the layers that have to be made for a base, those that they need first. The last of the `rounds` says how.
    fn collect<'k>(&'k self, base: Base, rounds: &[Costs], path: &mut Path<'k>, made: &mut HashSet<DiffId>) {
        let (Some((last, before)), false) = (rounds.split_last(), self.here.contains(&base)) else { return };
        for layer in self.layers_of(base) {
            if path.before.len() > MAX_MADE || made.contains(&layer) {
                continue;
            }
            let delta = match last.get(&layer) {
                Some((_, Choice::Here)) => continue,
                Some((_, Choice::Delta(index))) => self.deltas.get(*index),
                Some((_, Choice::Blob)) | None => None,
            };
            if let Some(delta) = delta {
                // A choice that an earlier round has made reads what that round had.
                let made_in = rounds.iter().position(|round| round.get(&layer) == last.get(&layer));
                self.collect(delta.base, &before[..made_in.unwrap_or(before.len())], path, made);
            }
            if made.insert(layer) {
                path.before.push((layer, delta));
            }
        }
        if let Base::Image(config) = base
            && !self.images.contains_key(&config)
        {
            path.unread.insert(config);
        }
    }

    /// The layers of a base, lowest first. Those of an image that was not read are not known.
    pub(super) fn layers_of(&self, base: Base) -> Vec<DiffId> {
        match base {
            Base::Layer(layer) => vec![layer],
            Base::Image(config) => self.images.get(&config).cloned().unwrap_or_default(),
        }
    }

    /// Returns the number of layers of a base that are not here.
    fn lacking(&self, base: Base) -> usize {
        let layers: HashSet<DiffId> = self.layers_of(base).into_iter().collect();
        layers.into_iter().filter(|layer| !self.here.contains(&Base::Layer(*layer))).count()
    }

    /// The layers that deltas to a layer read and that are not here, with the sizes of these deltas.
    pub(super) fn sources(&self, to: DiffId) -> impl Iterator<Item = (DiffId, u64)> {
        self.deltas.iter().filter_map(move |delta| match delta.base {
            Base::Layer(from) if delta.to == to && !self.here.contains(&delta.base) => {
                Some((from, delta.blob.size()))
            }
            _ => None,
        })
    }

    fn step_size(&self, layer: DiffId, delta: Option<&Candidate>) -> u64 {
        let blob = || self.layers.get(&layer).map_or(0, |layer| layer.blob.size());
        delta.map_or_else(blob, |delta| delta.blob.size())
    }
}

#[cfg(test)]
mod tests;
