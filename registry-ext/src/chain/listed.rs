//! Deltas that `_deltaindex` lists for other images than the wanted one.
//!
//! A delta there reads a layer, and nothing says which image had that layer. Only another delta in the index that makes
//! it tells, and with it the image that the index lists it for. So the lists of the other images are read, within
//! bounds, and then those images that are on the cheapest way from what is here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use layer::{DiffId, Digest};
use oci_spec::image::ImageIndex;
use tokio::time::timeout_at;

use super::MAX_STEPS;
use crate::Result;
use crate::artifact::delta_index::{LayerDelta, deltas_of, targets};
use crate::discover::{Candidate, Published};
use crate::image::Image;
use crate::oci::{Name, parse_manifest};
use crate::repository::Repository;

/// Most images whose lists are read.
const MAX_LISTS: usize = 64;
/// Lists that are read at once.
const AT_ONCE: usize = 4;
/// Most deltas that are looked at.
const MAX_DELTAS: usize = 16_384;

/// A delta of `_deltaindex`, and the manifest of the image that it is listed for.
#[derive(Debug, Clone)]
pub(super) struct ListedDelta {
    pub(super) delta: LayerDelta,
    target: Digest,
    list: Digest,
}

impl ListedDelta {
    fn candidate(&self) -> Candidate {
        Candidate {
            layout: Published::DeltaIndex,
            base: crate::store::Base::Layer(self.delta.from),
            to: self.delta.to,
            blob: self.delta.blob.clone(),
            manifest: self.list,
        }
    }
}

/// The deltas that an index lists for other images.
#[derive(Debug, Default)]
pub(super) struct ListedDeltas(Vec<ListedDelta>);

impl ListedDeltas {
    /// Reads the lists of images other than `image`, until they have cost `max_bytes`. What cannot be read is left out.
    pub(super) async fn read(
        repository: &Repository,
        index: &ImageIndex,
        image: Digest,
        max_bytes: u64,
        until: Instant,
    ) -> Self {
        // Readers take the first list of an image.
        let mut seen = HashSet::from([image]);
        let lists: Vec<_> = targets(index).into_iter().filter(|(target, _)| seen.insert(*target)).collect();
        let before = repository.received();
        let reads = lists.into_iter().take(MAX_LISTS).map(async |(target, list)| {
            let name = Name::Digest(list);
            (target, list, timeout_at(until.into(), repository.manifest(&name)).await)
        });
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        let mut deltas = Vec::new();
        while let Some((target, list, read)) = reads.next().await {
            if let Ok(Ok(Some(manifest))) = read
                && let Ok(parsed) = parse_manifest("delta manifest", &manifest.bytes)
            {
                let listed = deltas_of(&parsed).into_iter().map(|delta| ListedDelta { delta, target, list });
                deltas.extend(listed.take(MAX_DELTAS - deltas.len()));
            }
            if repository.received() - before > max_bytes || deltas.len() == MAX_DELTAS {
                break;
            }
        }
        Self(deltas)
    }

    /// The layers that the deltas read.
    pub(super) fn sources(&self) -> BTreeSet<DiffId> {
        self.0.iter().map(|listed| listed.delta.from).collect()
    }

    /// Returns the cheapest ways from the layers that are `here` to all that can be made: the bytes, and the
    /// last delta. They are found in rounds of one delta more, so that cycles do no harm.
    pub(super) fn ways(&self, here: &HashSet<DiffId>) -> BTreeMap<DiffId, (u64, &ListedDelta)> {
        let mut ways: BTreeMap<DiffId, (u64, &ListedDelta)> = BTreeMap::new();
        for _ in 1..MAX_STEPS {
            let known = ways.clone();
            for listed in &self.0 {
                let LayerDelta { from, to, blob } = &listed.delta;
                let before =
                    if here.contains(from) { Some(0) } else { known.get(from).map(|(size, _)| *size) };
                let Some(size) = before.map(|before| before.saturating_add(blob.size())) else { continue };
                if !here.contains(to) && ways.get(to).is_none_or(|(best, _)| size < *best) {
                    ways.insert(*to, (size, listed));
                }
            }
        }
        ways
    }
}

/// Returns the deltas on the way to a layer, the last one first.
pub(super) fn steps<'l>(ways: &BTreeMap<DiffId, (u64, &'l ListedDelta)>, to: DiffId) -> Vec<&'l ListedDelta> {
    let mut steps = Vec::new();
    let mut next = to;
    while let Some((_, listed)) = ways.get(&next)
        && steps.len() < MAX_STEPS
    {
        steps.push(*listed);
        next = listed.delta.from;
    }
    steps
}

/// Reads the images on the way, each with the deltas of its layers.
pub(super) async fn images_of(
    repository: &Repository,
    steps: &[&ListedDelta],
    temp_dir: &std::path::Path,
    until: Instant,
) -> Vec<(Image, Vec<Candidate>)> {
    let mut of_target: HashMap<Digest, Vec<Candidate>> = HashMap::new();
    for listed in steps {
        of_target.entry(listed.target).or_default().push(listed.candidate());
    }
    let mut images = Vec::new();
    for (target, deltas) in of_target {
        let read = async {
            let found = repository.manifest(&Name::Digest(target)).await?;
            match found {
                Some(manifest) => Image::load(repository, manifest, temp_dir).await.map(Some),
                None => Ok(None),
            }
        };
        // An image that is gone is on no way, and nobody asked for it.
        let read: std::result::Result<Result<Option<Image>>, _> = timeout_at(until.into(), read).await;
        if let Ok(Ok(Some(image))) = read {
            images.push((image, deltas));
        }
    }
    images
}
