//! Which deltas there are for an image, and which of them to use.
//!
//! [`discover`] gathers them from all places where they are published; what is broken there costs a
//! warning, since a delta is never needed. [`choose`] is pure.

use std::collections::{BTreeMap, HashSet};

use layer::{BlobDigest, DiffId, Digest};
use oci_spec::image::{Descriptor, MediaType};
use serde::Serialize;

use crate::artifact::blob_recipes::{BlobRecipes, is_blob_recipes};
use crate::artifact::delta_index::{self, LayerDelta};
use crate::artifact::oci_delta::{Kind, OciDelta};
use crate::artifact::{DELTA_INDEX_TAG, deltas_tag, digest_of, parse_index, parse_manifest};
use crate::image::{Image, ImageLayer};
use crate::repository::{Manifest, Name, Repository};
use crate::store::Base;
use crate::{Error, Result};

/// Where a delta is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
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

impl Layout {
    /// The programs that read what is published there.
    pub const fn clients(self) -> &'static [&'static str] {
        match self {
            Self::DeltaIndex => &["flatpak", "registry-ext"],
            Self::Artifact => &["oci-delta", "cfsctl", "bootc", "registry-ext"],
            Self::Tardf3 | Self::BlobRecipes | Self::DeltasTag => &["registry-ext"],
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
    /// Where it is published.
    pub layout: Layout,
    /// What it reads.
    pub base: Base,
    /// The layer that it rebuilds.
    pub to: DiffId,
    /// Its blob.
    pub blob: Descriptor,
    /// The manifest that lists it.
    pub manifest: Digest,
}

/// What [`discover`] found.
#[derive(Debug, Default)]
pub struct Found {
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
    /// Why some could not be read.
    pub warnings: Vec<String>,
}

/// Gathers the deltas that rebuild layers of `image`.
///
/// No error is fatal: what cannot be read is a warning.
pub async fn discover(repository: &Repository, image: &Image) -> Found {
    let mut found = Found::default();
    let steps = [
        from_delta_index(repository, image, &mut found).await,
        from_referrers(repository, image, &mut found).await,
        from_deltas_tag(repository, image, &mut found).await,
    ];
    found.warnings.extend(steps.into_iter().filter_map(Result::err).map(|error| one_line(&error)));
    found
}

/// An error and its causes on one line.
pub(crate) fn one_line(error: &Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    let mut lines: Vec<String> = causes.map(ToString::to_string).collect();
    lines.dedup();
    lines.join(": ")
}

async fn from_delta_index(repository: &Repository, image: &Image, found: &mut Found) -> Result<()> {
    let Some(index) = repository.manifest(&Name::Tag(DELTA_INDEX_TAG.into())).await? else { return Ok(()) };
    let index = parse_index(DELTA_INDEX_TAG, &index.bytes)?;
    for entry in delta_index::entries_for(&index, image.manifest.digest) {
        match repository.manifest_of(&entry).await {
            Ok(manifest) => found.add_delta_manifest(Layout::DeltaIndex, image, &manifest)?,
            Err(error) => found.warnings.push(one_line(&error)),
        }
    }
    Ok(())
}

async fn from_referrers(repository: &Repository, image: &Image, found: &mut Found) -> Result<()> {
    let mut artifacts = Vec::new();
    // Registries may ignore the filter, so there is none in the request.
    for entry in repository.referrers(image.manifest.digest).await? {
        // Entries that others wrote into the stand-in tag may lack the artifactType.
        if entry.artifact_type().is_some() && !is_known(entry.artifact_type().as_ref()) {
            continue;
        }
        match read_artifact(repository, image, &entry).await {
            Ok(Some(Artifact::Deltas(digest, deltas))) => artifacts.push((digest, *deltas)),
            Ok(Some(Artifact::BlobRecipes(digest, recipes))) => {
                found.recipe_artifacts.push(digest);
                found.blob_recipes.extend(recipes.recipes);
            }
            Ok(None) => {}
            Err(error) => found.warnings.push(one_line(&error)),
        }
    }
    artifacts.sort_by_key(|(_, artifact)| artifact.kind == Kind::Tardf3);
    artifacts.into_iter().for_each(|(digest, artifact)| found.add_artifact(image, digest, artifact));
    Ok(())
}

/// An artifact that refers to an image, and its digest.
enum Artifact {
    Deltas(Digest, Box<OciDelta>),
    BlobRecipes(Digest, Box<BlobRecipes>),
}

fn is_known(artifact_type: Option<&MediaType>) -> bool {
    Kind::of(artifact_type).is_some() || is_blob_recipes(artifact_type)
}

async fn read_artifact(
    repository: &Repository,
    image: &Image,
    entry: &Descriptor,
) -> Result<Option<Artifact>> {
    let manifest = repository.manifest_of(entry).await?;
    let parsed = parse_manifest("referrer", &manifest.bytes)?;
    let artifact_type = parsed.artifact_type().as_ref();
    if !is_known(artifact_type) {
        return Ok(None);
    }
    let (artifact, target) = if is_blob_recipes(artifact_type) {
        let recipes = BlobRecipes::parse(&parsed)?;
        let target = digest_of(&recipes.target)?;
        (Artifact::BlobRecipes(manifest.digest, Box::new(recipes)), target)
    } else {
        let deltas = OciDelta::parse(&parsed)?;
        let target = digest_of(&deltas.target)?;
        (Artifact::Deltas(manifest.digest, Box::new(deltas)), target)
    };
    Ok((target == image.manifest.digest).then_some(artifact))
}

async fn from_deltas_tag(repository: &Repository, image: &Image, found: &mut Found) -> Result<()> {
    let tag = deltas_tag(image.manifest.digest);
    let Some(top) = repository.manifest(&Name::Tag(tag.clone())).await? else { return Ok(()) };
    if !top.is_index() {
        return found.add_delta_manifest(Layout::DeltasTag, image, &top);
    }
    for entry in parse_index(&tag, &top.bytes)?.manifests() {
        let manifest = repository.manifest_of(entry).await?;
        found.add_delta_manifest(Layout::DeltasTag, image, &manifest)?;
    }
    Ok(())
}

impl Found {
    fn add_delta_manifest(&mut self, layout: Layout, image: &Image, manifest: &Manifest) -> Result<()> {
        let parsed = parse_manifest("delta manifest", &manifest.bytes)?;
        let deltas = delta_index::deltas_of(&parsed);
        let of_image = deltas.iter().filter(|delta| image.layer(delta.to).is_some());
        self.candidates.extend(of_image.map(|delta| Candidate {
            layout,
            base: Base::Layer(delta.from),
            to: delta.to,
            blob: delta.blob.clone(),
            manifest: manifest.digest,
        }));
        if layout == Layout::DeltaIndex {
            self.delta_manifests.push((manifest.digest, deltas));
        }
        Ok(())
    }

    fn add_artifact(&mut self, image: &Image, digest: Digest, artifact: OciDelta) {
        for layer in artifact.layers.iter().filter(|layer| layer.is_delta()) {
            let Some(target) = image.layers.iter().find(|target| target.digest == layer.to) else { continue };
            let layout = if artifact.kind == Kind::Tardf3 { Layout::Tardf3 } else { Layout::Artifact };
            let (base, to, blob) = (Base::Image(artifact.source_config), target.diff_id, layer.blob.clone());
            // What both artifacts share is the same delta.
            let is_same = |known: &Candidate| {
                (known.base, known.to) == (base, to)
                    && (known.blob.digest(), known.blob.media_type()) == (blob.digest(), blob.media_type())
            };
            if layout == Layout::Tardf3 && self.candidates.iter().any(is_same) {
                continue;
            }
            self.candidates.push(Candidate { layout, base, to, blob, manifest: digest });
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
    use crate::artifact::{TAR_DIFF, descriptor};

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    fn candidate(to: u8, base: Base, size: u64, blob: u8) -> Candidate {
        Candidate {
            layout: Layout::DeltaIndex,
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
