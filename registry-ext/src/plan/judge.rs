//! The verdict on each update, by what is published, and its costs as expected.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt, stream};
use layer::Digest;

use super::survey::{CONCURRENCY, Looked};
use super::{Pair, PlannedImage, Planner, RepositoryPlan, Verdict};
use crate::discover::{Discovery, discover};
use crate::image::Image;
use crate::repository::Repository;
use crate::store::Base;

/// Seconds of CPU for a byte of the blobs that a delta stands for: the mean over the pairs of `benches/pairs.json`, for a
/// tardf1 and a tardf3 together.
const CPU_PER_BYTE: f64 = 0.3e-6;

impl Planner<'_> {
    /// Judges the updates by what is published, and estimates their costs.
    pub(super) async fn judge(&self, repository: &Repository, looked: Looked) -> RepositoryPlan {
        let Looked { tags, floating, seen, wanted } = looked;
        let targets: BTreeSet<Digest> = wanted.keys().map(|(_, to)| *to).collect();
        let images = targets.iter().flat_map(|to| &seen.images[to]);
        let looks = images.map(async |image| (image.manifest.digest, discover(repository, image).await));
        let published: HashMap<Digest, Discovery> = stream::iter(looks).buffered(CONCURRENCY).collect().await;
        let measured = ratio(targets.iter().flat_map(|to| &seen.images[to]), &published);
        let expected_ratio = measured.unwrap_or(self.policy.expected_ratio);
        let planned = |digest: Digest| PlannedImage {
            tags: seen.tags.get(&digest).into_iter().flatten().cloned().collect(),
            digest,
        };
        let pairs = wanted.into_iter().map(|((from, to), wanted)| {
            let (verdict, blob_bytes) = verdict(&seen.images[&from], &seen.images[&to], &published);
            let is_large = expected_ratio > self.policy.max_ratio;
            let (from, to) = (planned(from), planned(to));
            Pair {
                verdict: if verdict == Verdict::Make && is_large { Verdict::NotSmaller } else { verdict },
                blob_bytes,
                delta_bytes: share(blob_bytes, expected_ratio),
                cpu_seconds: blob_bytes as f64 * CPU_PER_BYTE,
                behind: wanted.behind,
                hosts: self.policy.hosts(&from.tags, from.digest),
                reasons: wanted.reasons,
                from,
                to,
            }
        });
        let mut pairs: Vec<Pair> = pairs.collect();
        pairs.sort_by(|one, other| (&one.to.tags, one.behind).cmp(&(&other.to.tags, other.behind)));
        RepositoryPlan {
            repository: repository.name(),
            tags,
            floating,
            expected_ratio,
            ratio_is_measured: measured.is_some(),
            pairs,
            warnings: seen.warnings,
        }
    }
}

/// Returns the verdict on an update, and the bytes of the blobs that a host with the old image fetches.
///
/// An update is done once it has an artifact, where artifacts are published: they are written last, and an update that has
/// deltas in `_deltaindex` alone was left by a job that was killed.
fn verdict(old: &[Image], new: &[Image], published: &HashMap<Digest, Discovery>) -> (Verdict, u64) {
    let has_artifacts =
        published.values().any(|found| !found.artifacts.is_empty() || !found.recipe_artifacts.is_empty());
    let (mut bytes, mut has_platform, mut is_published) = (0_u64, false, true);
    for target in new {
        let Some(source) = target.platform.counterpart(old, |image| &image.platform) else { continue };
        has_platform = true;
        let lacking = target.layers_not_in(source);
        if lacking.is_empty() {
            continue;
        }
        bytes = lacking.iter().map(|layer| layer.blob.size()).fold(bytes, u64::saturating_add);
        is_published &= published.get(&target.manifest.digest).is_some_and(|found| {
            let last = source.layers.last().map(|layer| Base::Layer(layer.diff_id));
            let is_indexed = |layer: &crate::image::ImageLayer| {
                let is_delta =
                    |of: &crate::discover::Candidate| of.to == layer.diff_id && Some(of.base) == last;
                found.candidates.iter().any(is_delta)
            };
            let has_artifact =
                found.artifacts.iter().any(|(_, artifact)| artifact.source_config == source.config_digest);
            has_artifact || (!has_artifacts && lacking.iter().all(|layer| is_indexed(layer)))
        });
    }
    let verdict = match () {
        () if !has_platform => Verdict::NoPlatform,
        () if bytes == 0 => Verdict::Shared,
        () if is_published => Verdict::Published,
        () => Verdict::Make,
    };
    (verdict, bytes)
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
