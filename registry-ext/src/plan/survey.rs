//! Reads what a repository has, and judges the updates that a policy wants.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};
use layer::Digest;

use super::policy::Policy;
use super::select::{in_use, select};
use super::{Pair, Plan, PlannedImage, RepositoryPlan, Verdict};
use crate::discover::{Discovery, discover};
use crate::image::{Image, resolve_all};
use crate::oci::Name;
use crate::repository::Repository;
use crate::source_tags::is_of_image;
use crate::store::Base;
use crate::watch::Watch;
use crate::{Error, Result};

/// Images that are read at one time.
const CONCURRENCY: usize = 8;
/// Seconds of CPU for a byte of the blobs that a delta stands for: the mean over the pairs of `benches/pairs.json`, for a
/// tardf1 and a tardf3 together.
const CPU_PER_BYTE: f64 = 0.3e-6;

/// The planning of repositories, with its options. [`survey`](Self::survey) reads one of them.
#[derive(Debug, Clone)]
pub struct Planner<'p> {
    policy: &'p Policy,
    previous: Option<&'p Plan>,
    temp_dir: PathBuf,
    watch: Watch,
}

/// The images behind a tag or a digest, and the digest of the manifest or index.
#[derive(Debug)]
struct Resolved {
    digest: Digest,
    images: Vec<Image>,
}

/// The reasons for an update.
#[derive(Debug, Default)]
struct Wanted {
    reasons: Vec<String>,
    behind: usize,
}

/// The updates that a policy wants, by the digests of the old and the new image.
type WantedUpdates = BTreeMap<(Digest, Digest), Wanted>;
/// The images that each tag that moves named, the newest first.
type Floating = BTreeMap<String, Vec<Digest>>;

/// The images of a repository that were looked at.
#[derive(Debug, Default)]
struct Seen {
    images: BTreeMap<Digest, Vec<Image>>,
    tags: BTreeMap<Digest, BTreeSet<String>>,
    warnings: Vec<String>,
}

impl<'p> Planner<'p> {
    /// Prepares to plan by a policy.
    pub fn new(policy: &'p Policy) -> Self {
        Self { policy, previous: None, temp_dir: std::env::temp_dir(), watch: Watch::nothing() }
    }

    /// Sets the plan that was made before: it says what the tags that move named then.
    #[must_use]
    pub const fn previous(mut self, plan: &'p Plan) -> Self {
        self.previous = Some(plan);
        self
    }

    /// Sets the directory for configs that are read.
    #[must_use]
    pub fn temp_dir(mut self, dir: &Path) -> Self {
        dir.clone_into(&mut self.temp_dir);
        self
    }

    /// Sets the receiver of warnings.
    #[must_use]
    pub fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// Reads the tags, the images and the published deltas of a repository, and judges each update that the policy
    /// wants. A tag that is gone by then, or an image that cannot be read, costs a warning and its updates.
    ///
    /// # Errors
    /// Those of the repository. [`Error::NotFound`] if the policy takes none of its tags.
    pub async fn survey(&self, repository: &Repository) -> Result<RepositoryPlan> {
        let (floating, seen, wanted) = self.look(repository).await?;
        self.judge(repository, floating, seen, wanted).await
    }

    /// Returns the images from which the policy wants deltas, by the digest of the image that those are to: the manifest
    /// of one platform. Deltas to other images, and from other images, are out of the policy.
    ///
    /// # Errors
    /// As [`survey`](Self::survey).
    pub async fn retention(&self, repository: &Repository) -> Result<BTreeMap<Digest, Vec<Image>>> {
        let (_, seen, wanted) = self.look(repository).await?;
        let mut kept = BTreeMap::<Digest, Vec<Image>>::new();
        for (from, to) in wanted.keys() {
            for target in &seen.images[to] {
                let source = target.platform.counterpart(&seen.images[from], |image| &image.platform);
                kept.entry(target.manifest.digest).or_default().extend(source.cloned());
            }
        }
        Ok(kept)
    }

    /// Reads what the policy is about.
    async fn look(&self, repository: &Repository) -> Result<(Floating, Seen, WantedUpdates)> {
        let name = repository.name();
        let mut tags = repository.tags().await?;
        tags.retain(|tag| is_of_image(tag));
        let counts = |tag: &String| self.policy.takes(tag) || self.policy.floating.contains(tag);
        if !tags.iter().any(counts) {
            let what = format!("a tag that the policy takes, among the {} of {name},", tags.len());
            return Err(Error::NotFound { what });
        }
        let (mut seen, mut wanted, mut newest) = (Seen::default(), WantedUpdates::new(), Vec::new());
        let selected = select(&tags, self.policy);
        let names: BTreeSet<&String> = selected.iter().flat_map(|pair| [&pair.from, &pair.to]).collect();
        let by_tag = self.resolve_tags(repository, names, &mut seen).await?;
        for pair in selected {
            let (Some(from), Some(to)) = (by_tag.get(&pair.from), by_tag.get(&pair.to)) else { continue };
            if pair.behind == 1 {
                newest.push(*to);
            }
            want(&mut wanted, (*from, *to), pair.behind, pair.reasons);
        }
        let floating = self.floating(repository, &tags, &mut seen, &mut wanted).await?;
        newest.extend(floating.values().filter_map(|digests| digests.first().copied()));
        self.digests_in_use(repository, &newest, &mut seen, &mut wanted).await?;
        Ok((floating, seen, wanted))
    }

    /// Resolves tags. Those that are gone or cannot be read are left out, with a warning.
    async fn resolve_tags(
        &self,
        repository: &Repository,
        tags: BTreeSet<&String>,
        seen: &mut Seen,
    ) -> Result<HashMap<String, Digest>> {
        let looks = tags.into_iter().map(async |tag| {
            let found = self.resolve(repository, Name::Tag(tag.clone())).await;
            Ok::<_, Error>((tag.clone(), found?))
        });
        let found: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
        let mut by_tag = HashMap::new();
        for (tag, found) in found {
            if let Some(digest) = self.see(found, seen) {
                seen.tags.entry(digest).or_default().insert(tag.clone());
                by_tag.insert(tag, digest);
            }
        }
        Ok(by_tag)
    }

    /// Notes an image that was resolved, or warns of the reason why it was not.
    fn see(&self, found: Result<Resolved, String>, seen: &mut Seen) -> Option<Digest> {
        match found {
            Ok(found) => {
                seen.images.insert(found.digest, found.images);
                Some(found.digest)
            }
            Err(warning) => {
                self.watch.warn(&warning);
                seen.warnings.push(warning);
                None
            }
        }
    }

    /// Resolves a name; gives the reason if that cannot be done and is of this image alone.
    async fn resolve(&self, repository: &Repository, name: Name) -> Result<Result<Resolved, String>> {
        match resolve_all(repository, Some(&name), &self.temp_dir, &self.watch).await {
            Ok(images) => {
                let first = images.first().map(|image| image.index.unwrap_or(image.manifest.digest));
                Ok(first.map_or_else(
                    || Err(format!("{name} of {} has no image, and is left out", repository.name())),
                    |digest| Ok(Resolved { digest, images }),
                ))
            }
            Err(error @ (Error::NotFound { .. } | Error::Malformed { .. } | Error::TooLarge { .. })) => {
                Ok(Err(format!("{name} of {} is left out: {}", repository.name(), error.one_line())))
            }
            Err(error) => Err(error),
        }
    }

    /// Wants the updates of tags that move, and returns the images that each named, the newest first.
    async fn floating(
        &self,
        repository: &Repository,
        tags: &[String],
        seen: &mut Seen,
        wanted: &mut WantedUpdates,
    ) -> Result<Floating> {
        let name = repository.name();
        let previous =
            self.previous.and_then(|plan| plan.repositories.iter().find(|of| of.repository == name));
        let there = self.policy.floating.iter().filter(|tag| tags.contains(tag)).collect();
        let now = self.resolve_tags(repository, there, seen).await?;
        let mut floating = BTreeMap::new();
        for (tag, digest) in now {
            let mut named = vec![digest];
            let before = previous.and_then(|plan| plan.floating.get(&tag)).into_iter().flatten();
            named.extend(before.filter(|before| **before != digest));
            named.truncate(self.policy.last.max(1) + 1);
            for (index, before) in named.iter().enumerate().skip(1) {
                let found = self.resolve(repository, Name::Digest(*before)).await?;
                if self.see(found, seen).is_some() {
                    want(wanted, (*before, digest), index, vec![format!("`{tag}` before")]);
                }
            }
            floating.insert(tag, named);
        }
        Ok(floating)
    }

    /// Wants the updates of images in use that the policy names by a digest: to the newest image that has most of their
    /// bytes, as their tags are not known.
    async fn digests_in_use(
        &self,
        repository: &Repository,
        newest: &[Digest],
        seen: &mut Seen,
        wanted: &mut WantedUpdates,
    ) -> Result<()> {
        for of in &self.policy.in_use {
            let Ok(digest) = of.image.parse::<Digest>() else { continue };
            if !seen.images.contains_key(&digest) {
                let found = self.resolve(repository, Name::Digest(digest)).await?;
                if self.see(found, seen).is_none() {
                    continue;
                }
            }
            let bytes = |to: &&Digest| shared_bytes(&seen.images[&digest], &seen.images[*to]);
            let nearest = newest.iter().filter(|to| seen.images.contains_key(*to)).max_by_key(bytes);
            if let Some(to) = nearest.copied().filter(|to| *to != digest) {
                want(wanted, (digest, to), 1, vec![in_use(of.hosts)]);
            }
        }
        Ok(())
    }

    /// Judges the updates by what is published, and estimates their costs.
    async fn judge(
        &self,
        repository: &Repository,
        floating: Floating,
        seen: Seen,
        wanted: WantedUpdates,
    ) -> Result<RepositoryPlan> {
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
        Ok(RepositoryPlan {
            repository: repository.name(),
            floating,
            expected_ratio,
            ratio_is_measured: measured.is_some(),
            pairs: pairs.collect(),
            warnings: seen.warnings,
        })
    }
}

/// Notes that an update is wanted. One of an image to itself is not: two tags name it.
fn want(wanted: &mut WantedUpdates, (from, to): (Digest, Digest), behind: usize, reasons: Vec<String>) {
    if from == to {
        return;
    }
    let entry = wanted.entry((from, to)).or_insert_with(|| Wanted { behind, ..Wanted::default() });
    entry.behind = entry.behind.min(behind);
    for reason in reasons {
        if !entry.reasons.contains(&reason) {
            entry.reasons.push(reason);
        }
    }
}

/// Bytes of the layers that images have in common.
fn shared_bytes(old: &[Image], new: &[Image]) -> u64 {
    let is_old = |diff_id| old.iter().any(|image| image.layer(diff_id).is_some());
    let layers = new.iter().flat_map(|image| &image.layers).filter(|layer| is_old(layer.diff_id));
    layers.map(|layer| layer.blob.size()).sum()
}

/// Returns the verdict on an update, and the bytes of the blobs that a host with the old image fetches.
fn verdict(old: &[Image], new: &[Image], published: &HashMap<Digest, Discovery>) -> (Verdict, u64) {
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
            has_artifact || lacking.iter().all(|layer| is_indexed(layer))
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
