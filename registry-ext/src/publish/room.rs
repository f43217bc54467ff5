//! The room in `_deltaindex`: registries and clients take a document of 4 MiB, so what saves least is left out.
//!
//! Other deltas of the same images stand in artifacts, one for each pair of images, of which there may be any number.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use layer::{DiffId, Digest};
use oci_spec::image::{Descriptor, ImageIndex};

use super::image::ImagePublisher;
use crate::Result;
use crate::artifact::delta_index::{self, LayerDelta};
use crate::image::Image;
use crate::oci::{Manifest, Name, parse_manifest, to_json};
use crate::registry::MAX_MANIFEST_SIZE;

/// Most entries of an index that are looked into.
const MAX_LOOKS: usize = 1024;
/// Entries that are looked into at one time.
const CONCURRENCY: usize = 8;

impl ImagePublisher<'_> {
    /// Leaves the deltas out of a delta manifest that save least, if it is too large with all of them.
    pub(super) fn fitting(&self, deltas: Vec<LayerDelta>) -> Vec<LayerDelta> {
        let target = self.target.manifest.digest;
        let blob_size = |to| self.target.layer(to).map_or(0, |layer| layer.blob.size());
        let count = deltas.len();
        let kept = best_of(target, deltas, blob_size, MAX_MANIFEST_SIZE);
        if kept.len() < count {
            self.publisher.watch.warn_once(&format!(
                "_deltaindex has no room for {} deltas to {target}, those that save least: flatpak fetches these layers \
                 whole. Run prune with a policy, to remove deltas that nobody needs",
                count - kept.len()
            ));
        }
        kept
    }

    /// Leaves the images out of an index whose deltas save least, if it is too large with all of them.
    /// Returns the images that it left out.
    pub(super) async fn make_room(&self, index: ImageIndex) -> Result<(ImageIndex, Vec<Digest>)> {
        if Manifest::from(&index).bytes.len() as u64 <= MAX_MANIFEST_SIZE {
            return Ok((index, Vec::new()));
        }
        let own = self.target.manifest.digest;
        let mut targets: Vec<_> =
            delta_index::targets(&index).into_iter().filter(|(to, _)| *to != own).collect();
        targets.truncate(MAX_LOOKS);
        let looks = targets.into_iter().map(async |(target, manifest)| {
            // What cannot be read saves nobody anything.
            (target, self.saving(target, manifest).await.unwrap_or(0))
        });
        let mut savings: HashMap<Digest, u64> =
            stream::iter(looks).buffer_unordered(CONCURRENCY).collect().await;
        if let Some((_, manifest)) = delta_index::targets(&index).iter().find(|(target, _)| *target == own) {
            savings.insert(own, self.saving(own, *manifest).await.unwrap_or(0));
        }
        let (index, left_out) = without_least(&index, &savings, MAX_MANIFEST_SIZE);
        self.publisher.watch.warn_once(&format!(
            "_deltaindex of {} is full: the deltas to {} images that save least are left out of it, and flatpak fetches \
             their layers whole. Run prune with a policy, to remove deltas that nobody needs",
            self.publisher.to.name(),
            left_out.len()
        ));
        Ok((index, left_out))
    }

    /// Returns the bytes that the best deltas to an image save.
    async fn saving(&self, target: Digest, manifest: Digest) -> Result<u64> {
        let to = self.publisher.to;
        let Some(manifest) = to.manifest(&Name::Digest(manifest)).await? else { return Ok(0) };
        let mut best = HashMap::<DiffId, u64>::new();
        for delta in delta_index::deltas_of(&parse_manifest("delta manifest", &manifest.bytes)?) {
            let size = best.entry(delta.to).or_insert(u64::MAX);
            *size = (*size).min(delta.blob.size());
        }
        let Some(image) = to.manifest(&Name::Digest(target)).await? else { return Ok(0) };
        let image = Image::load(to, image, self.cache.dir()).await?;
        let saved = image.layers.iter().filter_map(|layer| {
            let size = best.remove(&layer.diff_id)?;
            Some(layer.blob.size().saturating_sub(size))
        });
        Ok(saved.fold(0, u64::saturating_add))
    }
}

/// Returns the deltas that save most, as many as there is room for in a delta manifest of so many bytes.
fn best_of(
    target: Digest,
    mut deltas: Vec<LayerDelta>,
    blob_size: impl Fn(DiffId) -> u64,
    max_size: u64,
) -> Vec<LayerDelta> {
    let size = delta_index::build(target, &deltas).len() as u64;
    if size > max_size {
        let saving = |delta: &LayerDelta| blob_size(delta.to).saturating_sub(delta.blob.size());
        deltas.sort_by_key(|delta| Reverse((saving(delta), delta.from)));
        // Each has about the same size, and some room is left for the next ones.
        let count = deltas.len() as u64 * (max_size - (max_size >> 4)) / size;
        deltas.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    }
    deltas
}

/// Returns an index without the entries that save least, so that it has at most so many bytes, and their
/// targets. Room for a few more is made at once, since it takes long to find out. Entries of which nothing is
/// known stay.
fn without_least(
    index: &ImageIndex,
    savings: &HashMap<Digest, u64>,
    max_size: u64,
) -> (ImageIndex, Vec<Digest>) {
    let mut sizes = HashMap::<Digest, u64>::new();
    for entry in index.manifests() {
        if let Some(target) = delta_index::target_of(entry).filter(|target| savings.contains_key(target)) {
            *sizes.entry(target).or_default() += to_json(entry).len() as u64 + 1;
        }
    }
    let mut known: Vec<(u64, Digest)> = sizes.keys().map(|target| (savings[target], *target)).collect();
    known.sort_unstable();
    let (mut size, room) = (Manifest::from(index).bytes.len() as u64, max_size - (max_size >> 6));
    let mut left_out = Vec::new();
    for (_, target) in known {
        if size <= room {
            break;
        }
        size = size.saturating_sub(sizes[&target]);
        left_out.push(target);
    }
    let gone: HashSet<Digest> = left_out.iter().copied().collect();
    let is_kept = |entry: &&Descriptor| delta_index::target_of(entry).is_none_or(|of| !gone.contains(&of));
    let mut kept = index.clone();
    kept.set_manifests(index.manifests().iter().filter(is_kept).cloned().collect());
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::index;

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    #[test]
    fn of_the_deltas_to_an_image_those_that_save_least_are_left_out() {
        // Two layers, of which one is much larger.
        let blob_size = |to: DiffId| if to.0 == digest(1) { 1000 } else { 100_000 };
        let delta = |name: u8| {
            let (to, size) = (digest(1 + name % 2), 900 - u64::from(name));
            LayerDelta::new(DiffId(digest(name)), DiffId(to), digest(name), size)
        };
        let deltas: Vec<LayerDelta> = (10..110).map(delta).collect();
        let size = delta_index::build(digest(0), &deltas).len() as u64;
        assert_eq!(best_of(digest(0), deltas.clone(), blob_size, size), deltas);
        let kept = best_of(digest(0), deltas.clone(), blob_size, size * 3 / 4);
        let kept_size = delta_index::build(digest(0), &kept).len() as u64;
        assert!(kept_size <= size * 3 / 4 && kept_size > size / 2, "{kept_size} of {size}");
        let of_large = deltas.iter().filter(|delta| delta.to.0 == digest(2));
        assert!(of_large.clone().all(|delta| kept.contains(delta)), "these save most");
        let small: Vec<u64> =
            kept.iter().filter(|delta| delta.to.0 == digest(1)).map(|delta| delta.blob.size()).collect();
        let all: Vec<u64> =
            deltas.iter().filter(|delta| delta.to.0 == digest(1)).map(|delta| delta.blob.size()).collect();
        let left_out = all.iter().filter(|size| !small.contains(size));
        assert!(left_out.min() > small.iter().max(), "of the others, the smaller ones stay");
    }

    #[test]
    fn what_saves_least_is_left_out() {
        let mut all = index(Vec::new());
        for name in 0..100 {
            all = delta_index::with_entry(&all, digest(name), Some(&[name]));
        }
        let size = Manifest::from(&all).bytes.len() as u64;
        // The odd ones save most; of two nothing is known.
        let mut savings: HashMap<Digest, u64> =
            (0..100).map(|name| (digest(name), u64::from(name) + 1000 * u64::from(name % 2))).collect();
        savings.remove(&digest(0));
        savings.remove(&digest(4));
        let (kept, left_out) = without_least(&all, &savings, size - 1);
        assert!(Manifest::from(&kept).bytes.len() as u64 <= (size - 1) / 64 * 63);
        assert_eq!(left_out, [2, 6].map(digest), "and a few bytes more than have to go");
        assert_eq!(kept.manifests().len(), 98);
        let (kept, left_out) = without_least(&all, &savings, size / 2);
        assert!(Manifest::from(&kept).bytes.len() as u64 <= size / 2);
        assert!(left_out.iter().filter(|target| target.as_bytes()[0] % 2 == 1).count() < 5);
        assert!(left_out.iter().all(|target| ![digest(0), digest(4)].contains(target)));
        let (kept, left_out) = without_least(&all, &HashMap::new(), 64);
        assert_eq!((kept, left_out), (all, Vec::new()));
    }
}
