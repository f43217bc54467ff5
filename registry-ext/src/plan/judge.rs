//! The verdict on each update, by what is published, and its costs as expected.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, stream};
use layer::{DiffId, Digest};

use super::survey::{CONCURRENCY, Looked};
use super::ways::{self, Known, KnownDeltas};
use super::{Pair, PlannedImage, Planner, RepositoryPlan, Verdict, Way};
use crate::chain::MAX_MADE;
use crate::discover::{Discovery, discover};
use crate::image::{Image, ImageLayer};
use crate::repository::Repository;
use crate::store::Base;

/// Seconds of CPU for a byte of the blobs that a delta stands for: the mean over the pairs of
/// `benches/pairs.json`, for a tardf1 and a tardf3 together.
const CPU_PER_BYTE: f64 = 0.3e-6;

impl Planner<'_> {
    /// Judges the updates by what is published, and estimates their costs.
    pub(super) async fn judge(&self, repository: &Repository, looked: Looked) -> RepositoryPlan {
        let Looked { tags, floating, seen, wanted } = looked;
        let targets: BTreeSet<Digest> = wanted.keys().map(|(_, to)| *to).collect();
        // Deltas to the images between make chains.
        let follows_chains = self.policy.follows_chains();
        let looked_at: BTreeSet<Digest> =
            if follows_chains { seen.images.keys().copied().collect() } else { targets.clone() };
        let images = looked_at.iter().flat_map(|to| &seen.images[to]);
        let looks = images.map(async |image| (image.manifest.digest, discover(repository, image).await));
        let published: HashMap<Digest, Discovery> = stream::iter(looks).buffered(CONCURRENCY).collect().await;
        // What is published counts as missing where it cannot be read.
        let unread: BTreeSet<String> =
            published.values().flat_map(|found| found.warnings.iter().cloned()).collect();
        for warning in &unread {
            self.watch.warn(warning);
        }
        let measured = ratio(targets.iter().flat_map(|to| &seen.images[to]), &published);
        let expected_ratio = measured.unwrap_or(self.policy.expected_ratio);
        let name = repository.name();
        let planned = |digest: Digest| PlannedImage {
            tags: seen.tags.get(&digest).into_iter().flatten().cloned().collect(),
            digest,
        };
        let pairs = wanted.into_iter().map(|((from, to), wanted)| {
            let state = State::of(&seen.images[&from], &seen.images[&to], &published);
            let (verdict, blob_bytes) = (state.verdict(), state.blob_bytes);
            let is_large = expected_ratio > self.policy.max_ratio;
            let (from, to) = (planned(from), planned(to));
            Pair {
                verdict: if verdict == Verdict::Make && is_large { Verdict::NotSmaller } else { verdict },
                blob_bytes,
                delta_bytes: share(blob_bytes, expected_ratio),
                cpu_seconds: blob_bytes as f64 * CPU_PER_BYTE,
                behind: wanted.behind,
                hosts: self.policy.hosts(&name, &from.tags, from.digest),
                reasons: wanted.reasons,
                from,
                to,
                way: Way::Direct,
                between: Vec::new(),
                chain_bytes: None,
                chain_is_published: false,
            }
        });
        let mut pairs: Vec<Pair> = pairs.collect();
        if follows_chains {
            let is_way = |from: Digest, between: &[Digest]| is_way(&seen.images, from, between);
            ways::mark(&mut pairs, known_deltas(&seen.images, &published), self.policy, planned, is_way);
        }
        pairs.sort_by(|one, other| (&one.to.tags, one.behind).cmp(&(&other.to.tags, other.behind)));
        RepositoryPlan {
            repository: name,
            tags,
            floating,
            expected_ratio,
            ratio_is_measured: measured.is_some(),
            pairs,
            warnings: seen.warnings.into_iter().chain(unread).collect(),
        }
    }
}

/// The state of an update.
#[derive(Debug, Clone, Copy)]
struct State {
    has_platform: bool,
    /// Bytes of the blobs that a host with the old image fetches.
    blob_bytes: u64,
    /// Bytes that it fetches with the deltas; `None` if not all are published.
    fetched: Option<u64>,
}

impl State {
    /// Compares two images, platform by platform.
    ///
    /// An update is done once it has an artifact, where artifacts are published: they are written last, and
    /// an update that has deltas in `_deltaindex` alone was left by a job that was killed.
    fn of(old: &[Image], new: &[Image], published: &HashMap<Digest, Discovery>) -> Self {
        let has_artifacts =
            published.values().any(|found| !found.artifacts.is_empty() || !found.recipe_artifacts.is_empty());
        let mut state = Self { has_platform: false, blob_bytes: 0, fetched: Some(0) };
        for target in new {
            let Some(source) = target.platform.counterpart(old, |image| &image.platform) else { continue };
            state.has_platform = true;
            let lacking = target.layers_not_in(source);
            if lacking.is_empty() {
                continue;
            }
            let blobs = lacking.iter().map(|layer| layer.blob.size());
            state.blob_bytes = blobs.fold(state.blob_bytes, u64::saturating_add);
            let found = published.get(&target.manifest.digest);
            let fetched = found.and_then(|found| {
                let by_artifact = of_artifact(found, source);
                by_artifact.or_else(|| of_index(found, source, &lacking).filter(|_| !has_artifacts))
            });
            state.fetched = state.fetched.zip(fetched).map(|(sum, more)| sum.saturating_add(more));
        }
        state
    }

    const fn verdict(self) -> Verdict {
        match self {
            Self { has_platform: false, .. } => Verdict::NoPlatform,
            Self { blob_bytes: 0, .. } => Verdict::Shared,
            Self { fetched: Some(_), .. } => Verdict::Published,
            Self { .. } => Verdict::Make,
        }
    }
}

/// Returns the bytes of the smallest artifact from an image, and of the layers that have no delta in it.
fn of_artifact(found: &Discovery, source: &Image) -> Option<u64> {
    let artifacts = found.artifacts.iter().map(|(_, artifact)| artifact);
    let of_source = artifacts.filter(|artifact| artifact.source_config == source.config_digest);
    let sizes = of_source
        .map(|artifact| artifact.layers.iter().map(|layer| layer.blob.size()).fold(0, u64::saturating_add));
    sizes.min()
}

/// Returns the bytes of the deltas of all layers from the last layer of an image.
fn of_index(found: &Discovery, source: &Image, lacking: &[&ImageLayer]) -> Option<u64> {
    let last = source.layers.last().map(|layer| Base::Layer(layer.diff_id))?;
    let sizes = lacking.iter().map(|layer| {
        let deltas = found.candidates.iter().filter(|of| of.to == layer.diff_id && of.base == last);
        deltas.map(|of| of.blob.size()).min()
    });
    sizes.sum()
}

/// Returns the published deltas between images.
fn known_deltas(
    images: &BTreeMap<Digest, Vec<Image>>,
    published: &HashMap<Digest, Discovery>,
) -> KnownDeltas {
    let mut known = KnownDeltas::new();
    for (to, new) in images {
        for (from, old) in images.iter().filter(|(from, _)| *from != to) {
            if let State { has_platform: true, blob_bytes: 1.., fetched: Some(bytes) } =
                State::of(old, new, published)
            {
                known.insert((*from, *to), Known { bytes, is_published: true });
            }
        }
    }
    known
}

/// Returns true if a pull that has the image `from` can go over the images `between`. It has to make each of their
/// layers that `from` lacks, and makes [`MAX_MADE`] at most. The platforms of `from` are looked at one by one.
fn is_way(images: &BTreeMap<Digest, Vec<Image>>, from: Digest, between: &[Digest]) -> bool {
    let old = images.get(&from).map_or(&[][..], Vec::as_slice);
    let mut made: HashMap<Digest, HashSet<DiffId>> = HashMap::new();
    for image in between.iter().flat_map(|image| images.get(image)).flatten() {
        let Some(source) = image.platform.counterpart(old, |image| &image.platform) else { continue };
        let made = made.entry(source.manifest.digest).or_default();
        made.extend(image.layers_not_in(source).into_iter().map(|layer| layer.diff_id));
    }
    made.values().all(|made| made.len() <= MAX_MADE)
}

/// A share of a number of bytes.
#[expect(clippy::cast_possible_truncation, reason = "a cast from a float ends at the largest number")]
fn share(bytes: u64, ratio: f64) -> u64 {
    (bytes as f64 * ratio).round() as u64
}

/// Returns the share of the blobs that published deltas of these images have; `None` if there are none.
fn ratio<'i>(images: impl Iterator<Item = &'i Image>, published: &HashMap<Digest, Discovery>) -> Option<f64> {
    let mut best = HashMap::new();
    for image in images {
        let candidates =
            published.get(&image.manifest.digest).into_iter().flat_map(|found| &found.candidates);
        for candidate in candidates {
            let Some(layer) = image.layer(candidate.to) else { continue };
            let entry = best.entry((candidate.base, candidate.to)).or_insert((u64::MAX, layer.blob.size()));
            entry.0 = entry.0.min(candidate.blob.size());
        }
    }
    let (deltas, blobs) = best
        .values()
        .fold((0.0, 0.0), |(deltas, blobs), (delta, blob)| (deltas + *delta as f64, blobs + *blob as f64));
    (blobs > 0.0).then(|| deltas / blobs)
}

#[cfg(test)]
mod tests;
