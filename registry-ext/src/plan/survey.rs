//! Reads what a repository has of the images that a policy is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};
use layer::Digest;

use super::policy::Policy;
use super::select::{WantedPair, newest, select};
use super::{Pair, Plan, RepositoryPlan, Verdict};
use crate::image::{Image, resolve_all};
use crate::oci::Name;
use crate::repository::Repository;
use crate::source_tags::is_of_image;
use crate::watch::Watch;
use crate::{Error, Result};

/// Images that are read at one time.
pub(super) const CONCURRENCY: usize = 8;

/// The planning of repositories, with its options. [`survey`](Self::survey) reads one of them.
#[derive(Debug, Clone)]
pub struct Planner<'p> {
    pub(super) policy: &'p Policy,
    previous: Option<&'p Plan>,
    temp_dir: PathBuf,
    pub(super) watch: Watch,
}

/// The images behind a tag or a digest, and the digest of the manifest or index.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) digest: Digest,
    pub(super) images: Vec<Image>,
}

/// The reasons for an update.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) reasons: Vec<String>,
    pub(super) behind: usize,
}

/// The updates that a policy wants, by the digests of the old and the new image.
pub(super) type WantedUpdates = BTreeMap<(Digest, Digest), Wanted>;
/// The images that each tag that moves named, the newest first.
pub(super) type Floating = BTreeMap<String, Vec<Digest>>;

/// The updates that a policy wants of a repository.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// The number of tags that count.
    pub(super) tags: usize,
    pub(super) floating: Floating,
    pub(super) seen: Seen,
    pub(super) wanted: WantedUpdates,
}

/// The images of a repository that were looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) images: BTreeMap<Digest, Vec<Image>>,
    pub(super) tags: BTreeMap<Digest, BTreeSet<String>>,
    pub(super) warnings: Vec<String>,
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
    /// Those of the repository. [`Error::NotFound`] if it has no tags.
    pub async fn survey(&self, repository: &Repository) -> Result<RepositoryPlan> {
        let looked = self.look(repository).await?;
        Ok(self.judge(repository, looked).await)
    }

    /// Returns the images from which the policy wants deltas, by the digest of the image that those are to:
    /// the manifest of one platform. Deltas to other images, and from other images, are out of the policy.
    ///
    /// # Errors
    /// As [`survey`](Self::survey). [`Error::Malformed`] if the policy takes no tag, or something that it
    /// names cannot be read: deltas that are wanted may then look as if nobody wanted them.
    pub async fn retention(&self, repository: &Repository) -> Result<BTreeMap<Digest, Vec<Image>>> {
        let looked = self.look(repository).await?;
        let seen = &looked.seen;
        let refuse_if = |warning: Option<&String>| {
            let Some(warning) = warning else { return Ok(()) };
            let reason = format!(
                "{warning}. Nothing is removed: mend that, or change the policy so that it does not name it"
            );
            Err(Error::malformed(format!("the policy for {}", repository.name()), reason))
        };
        refuse_if(seen.warnings.first())?;
        let images = seen.images.clone();
        let mut wanted: BTreeSet<(Digest, Digest)> = looked.wanted.keys().copied().collect();
        if self.policy.follows_chains() {
            // Hosts use the deltas of a chain, and others are merged of them, until an update has deltas of its own,
            // whatever is decided for it now: the sizes that are expected change with each delta that is published.
            let judged = self.judge(repository, looked).await;
            refuse_if(judged.warnings.first())?;
            let is_open =
                |pair: &&Pair| matches!(pair.verdict, Verdict::Make | Verdict::Chain | Verdict::NotSmaller);
            for pair in judged.pairs.iter().filter(is_open).filter(|pair| !pair.between.is_empty()) {
                wanted.extend(pair.steps());
            }
        }
        let mut kept = BTreeMap::<Digest, Vec<Image>>::new();
        for (from, to) in &wanted {
            for target in &images[to] {
                let source = target.platform.counterpart(&images[from], |image| &image.platform);
                // Artifacts may be listed under the index of an image, too.
                for listed in [Some(target.manifest.digest), target.index].into_iter().flatten() {
                    kept.entry(listed).or_default().extend(source.cloned());
                }
            }
        }
        Ok(kept)
    }

    /// Reads what the policy is about.
    async fn look(&self, repository: &Repository) -> Result<Looked> {
        let mut tags = repository.tags().await?;
        tags.retain(|tag| is_of_image(tag) && is_tag(tag));
        if tags.is_empty() {
            return Err(Error::NotFound { what: format!("{} has no tags: it", repository.name()) });
        }
        let mut looked = Looked::default();
        let counts = |tag: &&String| self.policy.takes(tag) || self.policy.floating.contains(tag);
        looked.tags = tags.iter().filter(counts).count();
        if looked.tags == 0 {
            let count = tags.len();
            looked
                .seen
                .warnings
                .push(format!("the policy takes none of the {count} tags of {}", repository.name()));
        }
        let (selected, by_tag) = self.select(repository, &mut tags, &mut looked.seen).await?;
        for pair in selected {
            let (Some(from), Some(to)) = (by_tag.get(&pair.from), by_tag.get(&pair.to)) else { continue };
            want(&mut looked.wanted, (*from, *to), pair.behind, pair.reasons);
        }
        looked.floating = self.floating(repository, &tags, &mut looked).await?;
        let mut targets: Vec<Digest> =
            newest(&tags, self.policy).iter().filter_map(|tag| by_tag.get(tag)).copied().collect();
        targets.extend(looked.floating.values().filter_map(|digests| digests.first().copied()));
        self.in_use(repository, &tags, &targets, &mut looked).await?;
        self.pulled(repository, &targets, &mut looked).await?;
        Ok(looked)
    }

    /// Selects the updates that the policy wants, and resolves their tags. A tag that cannot be read does not take the
    /// place of a release: it is taken out of `tags`, and the others are selected anew.
    async fn select(
        &self,
        repository: &Repository,
        tags: &mut Vec<String>,
        seen: &mut Seen,
    ) -> Result<(Vec<WantedPair>, HashMap<String, Digest>)> {
        let mut by_tag = HashMap::new();
        loop {
            let selected = select(tags, self.policy);
            let newest = newest(tags, self.policy);
            let names = selected.iter().flat_map(|pair| [&pair.from, &pair.to]).chain(&newest);
            let names: BTreeSet<&String> = names.filter(|tag| !by_tag.contains_key(*tag)).collect();
            if names.is_empty() {
                return Ok((selected, by_tag));
            }
            let found = self.resolve_tags(repository, names.clone(), seen).await?;
            let lost: BTreeSet<String> =
                names.into_iter().filter(|tag| !found.contains_key(*tag)).cloned().collect();
            by_tag.extend(found);
            tags.retain(|tag| !lost.contains(tag));
        }
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
    pub(super) fn see(&self, found: Result<Resolved, String>, seen: &mut Seen) -> Option<Digest> {
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
    pub(super) async fn resolve(
        &self,
        repository: &Repository,
        name: Name,
    ) -> Result<Result<Resolved, String>> {
        match resolve_all(repository, Some(&name), &self.temp_dir, &self.watch).await {
            Ok(images) => {
                let first = images.first().map(|image| image.index.unwrap_or(image.manifest.digest));
                Ok(first.map_or_else(
                    || Err(format!("{name} of {} has no image, and is left out", repository.name())),
                    |digest| Ok(Resolved { digest, images }),
                ))
            }
            Err(error) if is_of_one_image(&error) => {
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
        looked: &mut Looked,
    ) -> Result<Floating> {
        let Looked { seen, wanted, .. } = looked;
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
        // A tag that is missing for once is not forgotten.
        for (tag, named) in previous.iter().flat_map(|plan| &plan.floating) {
            if self.policy.floating.contains(tag) {
                floating.entry(tag.clone()).or_insert_with(|| named.clone());
            }
        }
        Ok(floating)
    }
}

/// Returns true if an error is about one image alone, so that others can be read.
pub(super) const fn is_of_one_image(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. } | Error::Malformed { .. } | Error::TooLarge { .. })
}

/// Notes that an update is wanted. One of an image to itself is not: two tags name it.
pub(super) fn want(
    wanted: &mut WantedUpdates,
    (from, to): (Digest, Digest),
    behind: usize,
    reasons: Vec<String>,
) {
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

/// Returns true if a registry may take a text for a tag (OCI distribution specification, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().enumerate().all(|(at, byte)| is_word(byte) || at > 0 && matches!(byte, b'.' | b'-'))
}
