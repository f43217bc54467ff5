//! The tags of the images that deltas are from, for people: a digest says little.

use std::collections::HashMap;
use std::path::Path;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::artifact::DELTA_INDEX_TAG;
use crate::discover::MAX_TIME;
use crate::image::resolve_all;
use crate::oci::Name;
use crate::repository::Repository;
use crate::store::Base;
use crate::watch::Watch;

/// Most tags that are looked at: each takes two or three requests.
const MAX_TAGS: usize = 100;
/// Tags that are looked at at one time.
const CONCURRENCY: usize = 8;

/// The tags of a repository, by what a delta from their images reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceTags(HashMap<Base, Vec<String>>);

impl SourceTags {
    /// Looks for the tags of images that are one of the `wanted`, or whose last layer is: in the repository
    /// itself, the last 100 tags by name. What cannot be read, or not in [`MAX_TIME`], is left out, as tags are
    /// only shown.
    pub async fn find(repository: &Repository, wanted: &[Base], temp_dir: &Path) -> Self {
        if wanted.is_empty() {
            return Self::default();
        }
        let mut found = HashMap::new();
        // What was found by then is shown.
        let _ = timeout(MAX_TIME, look(repository, wanted, temp_dir, &mut found)).await;
        Self(found)
    }

    /// The tags of the images that have this, sorted; none if no tag was found.
    pub fn of(&self, base: Base) -> &[String] {
        self.0.get(&base).map_or(&[], Vec::as_slice)
    }
}

async fn look(
    repository: &Repository,
    wanted: &[Base],
    temp_dir: &Path,
    found: &mut HashMap<Base, Vec<String>>,
) {
    let mut tags = repository.tags().await.unwrap_or_default();
    tags.retain(|tag| is_of_image(tag));
    tags.sort();
    tags.dedup();
    let last = tags.split_off(tags.len().saturating_sub(MAX_TAGS));
    let looks = last.into_iter().map(async |tag| {
        let images =
            resolve_all(repository, Some(&Name::Tag(tag.clone())), temp_dir, &Watch::nothing()).await;
        (tag, images.unwrap_or_default())
    });
    let mut looks = stream::iter(looks).buffered(CONCURRENCY);
    while let Some((tag, images)) = looks.next().await {
        for image in images {
            let last = image.layers.last().map(|layer| Base::Layer(layer.diff_id));
            for base in [Some(Base::Image(image.config_digest)), last].into_iter().flatten() {
                let tags = found.entry(base).or_default();
                if wanted.contains(&base) && !tags.contains(&tag) {
                    tags.push(tag.clone());
                }
            }
        }
    }
}

/// Tells whether a tag is one that people give, and none that stands for a list of referrers, a signature
/// or deltas.
pub(crate) fn is_of_image(tag: &str) -> bool {
    tag != DELTA_INDEX_TAG && !tag.starts_with("sha256-") && !tag.starts_with("deltas-")
}
