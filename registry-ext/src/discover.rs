//! Finds the deltas that are published for an image, and chooses among them.
//!
//! [`discover`] gathers them from all places where they are published; what is broken there costs a
//! warning, since a delta is never needed. [`choose`] is pure.

mod gather;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use layer::{BlobDigest, DiffId, Digest};
use oci_spec::image::{Descriptor, ImageIndex};
use serde::Serialize;
use tokio::time::timeout;

use crate::Result;
use crate::artifact::delta_index::LayerDelta;
use crate::artifact::oci_delta::{Kind, OciDelta};
use crate::image::{Image, ImageLayer};
use crate::repository::Repository;
use crate::store::Base;
pub(crate) use gather::Limits;
use gather::Referrers;

/// The longest time that a search for deltas takes: no pull needs them.
pub const MAX_TIME: Duration = Duration::from_secs(30);
/// Most warnings about what cannot be read.
const MAX_WARNINGS: usize = 16;

/// The place where a delta is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Published {
    /// In the index tagged `_deltaindex`.
    DeltaIndex,
    /// In an oci-delta artifact that refers to the image.
    Artifact,
    /// In an artifact with tardf3 deltas that refers to the image.
    Tardf3,
    /// In an artifact that refers to the image: no delta, but the recipe that makes a blob of its tar.
    BlobRecipes,
    /// Under a tag `deltas-<12 hex digits>`, as an older draft had it.
    DeltasTag,
}

impl Published {
    /// The programs that read what is published there.
    pub const fn clients(self) -> &'static [&'static str] {
        match self {
            Self::DeltaIndex => &["flatpak", "registry-ext"],
            Self::Artifact => &["oci-delta", "cfsctl", "bootc", "registry-ext"],
            Self::Tardf3 | Self::BlobRecipes | Self::DeltasTag => &["registry-ext"],
        }
    }

    /// A sentence that says for which programs the deltas are that are published there.
    pub fn readers(self) -> String {
        let clients = self.clients().join(", ");
        match self {
            Self::DeltaIndex => {
                "_deltaindex: for flatpak, which reads no other layout; registry-ext reads it too".to_owned()
            }
            Self::Artifact => format!("{}: for the programs {clients}", self.name()),
            Self::Tardf3 | Self::BlobRecipes | Self::DeltasTag => {
                format!("{}: for {clients} alone", self.name())
            }
        }
    }

    /// A short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeltaIndex => "_deltaindex",
            Self::Artifact => "oci-delta",
            Self::Tardf3 => "tardf3",
            Self::BlobRecipes => "blob-recipes",
            Self::DeltasTag => "deltas-tag",
        }
    }
}

/// A published delta of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The place where it is published.
    pub layout: Published,
    /// The files that it reads.
    pub base: Base,
    /// The layer that it rebuilds.
    pub to: DiffId,
    /// Its blob.
    pub blob: Descriptor,
    /// The manifest that lists it.
    pub manifest: Digest,
}

/// The deltas and recipes that [`discover`] found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The deltas of the image's layers.
    pub candidates: Vec<Candidate>,
    /// The artifacts, by the digest of their manifest. Those with tardf3 deltas come last.
    pub artifacts: Vec<(Digest, OciDelta)>,
    /// The recipes of the image's blobs.
    pub blob_recipes: BTreeMap<BlobDigest, Descriptor>,
    /// The artifacts that list them.
    pub recipe_artifacts: Vec<Digest>,
    /// The delta manifests of `_deltaindex`, in its order.
    pub delta_manifests: Vec<(Digest, Vec<LayerDelta>)>,
    /// The reasons why some could not be read.
    pub warnings: Vec<String>,
}

/// Gathers the deltas that rebuild layers of `image`.
///
/// No error is fatal: what cannot be read, or does not come within [`MAX_TIME`], is a warning.
pub async fn discover(repository: &Repository, image: &Image) -> Discovery {
    let (mut found, mut referrers, mut tag) =
        (Discovery::default(), Referrers::default(), Discovery::default());
    let mut limits = Limits::default();
    // At once, so that one that stalls does not take the time of the others.
    let (of_index, of_referrers, of_tag) = tokio::join!(
        timeout(MAX_TIME, gather::from_delta_index(repository, image, &mut found)),
        timeout(MAX_TIME, gather::from_referrers(repository, image, &mut referrers, &mut limits)),
        timeout(MAX_TIME, gather::from_deltas_tag(repository, image, &mut tag)),
    );
    for part in [referrers.finish(image), tag] {
        found.candidates.extend(part.candidates);
        found.artifacts.extend(part.artifacts);
        found.blob_recipes.extend(part.blob_recipes);
        found.recipe_artifacts.extend(part.recipe_artifacts);
        part.warnings.into_iter().for_each(|warning| found.warn(warning));
    }
    for (what, outcome) in [
        ("_deltaindex", of_index),
        ("the list of referrers", of_referrers),
        ("the older tag of deltas", of_tag),
    ] {
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => found.warn(error.one_line()),
            Err(_) => {
                found.warn(format!("{what} took over {} seconds and is not read on", MAX_TIME.as_secs()))
            }
        }
    }
    found
}

/// Reads `_deltaindex`; `None` if there is none.
///
/// # Errors
/// Those of the repository; [`Error::Malformed`](crate::Error::Malformed).
pub(crate) async fn delta_index(repository: &Repository) -> Result<Option<ImageIndex>> {
    gather::delta_index_of(repository).await
}

/// Gathers the deltas that rebuild layers of an image that nobody asked for: those of its artifacts, within
/// `limits`, and those that the `_deltaindex` has for it. The caller bounds the time.
pub(crate) async fn discover_within(
    repository: &Repository,
    image: &Image,
    index: Option<&ImageIndex>,
    limits: &mut Limits,
) -> Discovery {
    let (mut found, mut referrers) = (Discovery::default(), Referrers::default());
    if let Err(error) = gather::from_referrers(repository, image, &mut referrers, limits).await {
        found.warn(error.one_line());
    }
    if let Some(index) = index {
        gather::from_first_entry(repository, image, index, &mut found).await;
    }
    let Discovery { candidates, artifacts, .. } = referrers.finish(image);
    found.candidates.extend(candidates);
    found.artifacts = artifacts;
    found
}

/// The identity of a delta: source, target, blob and its media type.
type Identity = (Base, DiffId, String, String);

impl Discovery {
    fn warn(&mut self, warning: String) {
        match self.warnings.len() {
            0..MAX_WARNINGS => self.warnings.push(warning),
            MAX_WARNINGS => self.warnings.push("more of what is published cannot be read".into()),
            _ => {}
        }
    }

    fn add_deltas(&mut self, layout: Published, manifest: Digest, deltas: Vec<LayerDelta>) {
        self.candidates.extend(deltas.iter().map(|delta| Candidate {
            layout,
            base: Base::Layer(delta.from),
            to: delta.to,
            blob: delta.blob.clone(),
            manifest,
        }));
        if layout == Published::DeltaIndex {
            self.delta_manifests.push((manifest, deltas));
        }
    }

    fn add_artifact(
        &mut self,
        image: &Image,
        digest: Digest,
        artifact: OciDelta,
        known: &mut HashSet<Identity>,
    ) {
        for layer in artifact.layers.iter().filter(|layer| layer.is_delta()) {
            let Some(target) = image.layers.iter().find(|target| target.digest == layer.to) else { continue };
            let layout = if artifact.kind == Kind::Tardf3 { Published::Tardf3 } else { Published::Artifact };
            let (base, to, blob) = (Base::Image(artifact.source_config), target.diff_id, layer.blob.clone());
            // What both artifacts share is the same delta.
            let is_new = known.insert((base, to, blob.digest().to_string(), blob.media_type().to_string()));
            if is_new || layout != Published::Tardf3 {
                self.candidates.push(Candidate { layout, base, to, blob, manifest: digest });
            }
        }
        self.artifacts.push((digest, artifact));
    }
}

/// For each of the `missing` layers the deltas whose base is at hand, if they are smaller than the
/// layer's own blob: smallest first. The others are for the case that it fails.
///
/// Of equal sizes, and so for any order of the candidates, the one with the smaller digest comes first.
pub fn choose<'c>(
    missing: &[&ImageLayer],
    candidates: &'c [Candidate],
    has: impl Fn(Base) -> bool,
) -> BTreeMap<DiffId, Vec<&'c Candidate>> {
    let mut chosen = BTreeMap::new();
    for layer in missing {
        let usable = candidates.iter().filter(|candidate| {
            candidate.to == layer.diff_id && candidate.blob.size() < layer.blob.size() && has(candidate.base)
        });
        let mut usable: Vec<&Candidate> = usable.collect();
        usable.sort_by_cached_key(|candidate| {
            (candidate.blob.size(), candidate.blob.digest().to_string(), candidate.layout, candidate.base)
        });
        let mut seen = HashSet::new();
        usable.retain(|candidate| seen.insert((candidate.blob.digest(), candidate.base)));
        if !usable.is_empty() {
            chosen.insert(layer.diff_id, usable);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::TAR_DIFF;
    use crate::oci::{descriptor, digest_of};

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    fn candidate(to: u8, base: Base, size: u64, blob: u8) -> Candidate {
        Candidate {
            layout: Published::DeltaIndex,
            base,
            to: DiffId(digest(to)),
            blob: descriptor(TAR_DIFF, digest(blob), size),
            manifest: digest(0),
        }
    }

    #[test]
    fn the_smallest_usable_delta_comes_first() {
        let layer = |name: u8, size| ImageLayer {
            blob: descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest(name), size),
            digest: BlobDigest(digest(name)),
            diff_id: DiffId(digest(name)),
        };
        let layers = [layer(1, 100), layer(2, 100), layer(3, 100)];
        let missing: Vec<&ImageLayer> = layers.iter().collect();
        let here = Base::Image(digest(9));
        let elsewhere = Base::Layer(DiffId(digest(9)));
        let mut candidates = vec![
            candidate(1, elsewhere, 1, 11),
            candidate(1, here, 50, 12),
            candidate(1, here, 40, 14),
            candidate(1, here, 40, 13),
            candidate(2, here, 100, 15),
            candidate(4, here, 1, 16),
        ];
        for _ in 0..candidates.len() {
            candidates.rotate_left(1);
            let chosen = choose(&missing, &candidates, |base| base == here);
            let blobs = |deltas: &[&Candidate]| {
                deltas.iter().map(|delta| digest_of(&delta.blob).unwrap()).collect::<Vec<_>>()
            };
            let blobs: Vec<_> = chosen.iter().map(|(to, deltas)| (*to, blobs(deltas))).collect();
            assert_eq!(blobs, [(DiffId(digest(1)), [13, 14, 12].map(digest).to_vec())]);
        }
    }
}
