//! The updates of images that hosts run: those that the policy names, and those that mirrors counted.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use layer::Digest;

use super::select::{in_use, pulled};
use super::survey::{CONCURRENCY, Looked, Planner, Seen, want};
use crate::Result;
use crate::image::Image;
use crate::oci::Name;
use crate::repository::Repository;

/// Most images that were pulled of which a repository gets deltas, the most pulled first.
const MAX_PULLED: usize = 64;

impl Planner<'_> {
    /// Wants the updates of images in use that have none yet: those that the policy names by a digest, and by
    /// a tag of no series. They lead to the newest image that has most of their bytes.
    pub(super) async fn in_use(
        &self,
        repository: &Repository,
        tags: &[String],
        newest: &[Digest],
        looked: &mut Looked,
    ) -> Result<()> {
        for of in &self.policy.in_use {
            let (name, tag) = match of.image.parse::<Digest>() {
                Ok(digest) => (Name::Digest(digest), None),
                // A policy may be for several repositories.
                Err(_) if !tags.contains(&of.image) => continue,
                Err(_) => (Name::Tag(of.image.clone()), Some(of.image.clone())),
            };
            let is_known = |seen: &Seen| {
                tag.as_ref().is_some_and(|tag| seen.tags.values().any(|tags| tags.contains(tag)))
            };
            if is_known(&looked.seen) {
                continue;
            }
            let found = self.resolve(repository, name).await?;
            let Some(digest) = self.see(found, &mut looked.seen) else { continue };
            if let Some(tag) = tag {
                looked.seen.tags.entry(digest).or_default().insert(tag);
            }
            let images = &looked.seen.images;
            if let Some(to) = nearest(&images[&digest], newest, images) {
                want(&mut looked.wanted, (digest, to), 1, vec![in_use(of.hosts)]);
            }
        }
        Ok(())
    }

    /// Wants the updates of images that clients of mirrors pulled. Those that are gone from the registry, or cannot be
    /// read, are left out: nobody named them.
    pub(super) async fn pulled(
        &self,
        repository: &Repository,
        newest: &[Digest],
        looked: &mut Looked,
    ) -> Result<()> {
        let counted = self.policy.pulls.of(&repository.name());
        let is_new = |digest: &Digest| !looked.seen.images.contains_key(digest);
        let names = counted.iter().map(|(digest, _)| *digest).filter(is_new).take(MAX_PULLED);
        let looks: Vec<_> = names.map(|digest| self.resolve(repository, Name::Digest(digest))).collect();
        let found: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
        let mut found: BTreeMap<Digest, Vec<Image>> =
            found.into_iter().flatten().map(|found| (found.digest, found.images)).collect();
        // A client that pulls an index goes on with the manifest of its platform.
        let images = looked.seen.images.values().chain(found.values()).flatten();
        let parts: BTreeSet<Digest> =
            images.filter(|image| image.index.is_some()).map(|image| image.manifest.digest).collect();
        for (digest, count) in counted.into_iter().filter(|(digest, _)| !parts.contains(digest)) {
            let seen = &mut looked.seen.images;
            if let Some(images) = found.remove(&digest) {
                seen.insert(digest, images);
            }
            let Some(images) = seen.get(&digest) else { continue };
            if let Some(to) = nearest(images, newest, seen) {
                want(&mut looked.wanted, (digest, to), 1, vec![pulled(count)]);
            }
        }
        Ok(())
    }
}

/// Returns the newest image that has most bytes of an old one.
fn nearest(old: &[Image], newest: &[Digest], images: &BTreeMap<Digest, Vec<Image>>) -> Option<Digest> {
    let newest = newest.iter().filter_map(|digest| Some((*digest, images.get(digest)?)));
    newest.max_by_key(|(_, new)| shared_bytes(old, new)).map(|(digest, _)| digest)
}

/// Bytes of the layers that images have in common.
fn shared_bytes(old: &[Image], new: &[Image]) -> u64 {
    let is_old = |diff_id| old.iter().any(|image| image.layer(diff_id).is_some());
    let layers = new.iter().flat_map(|image| &image.layers).filter(|layer| is_old(layer.diff_id));
    layers.map(|layer| layer.blob.size()).fold(0, u64::saturating_add)
}
