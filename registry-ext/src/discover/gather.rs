//! Reads each place where deltas are published, within bounds.
//!
//! Whoever may push to a repository can list any number of documents there. So few are read at once, so
//! many in all, and nothing is kept of them but what is about the image.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use layer::{BlobDigest, DiffId, Digest};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};

use super::{Discovery, Published};
use crate::artifact::blob_recipes::{BlobRecipes, is_blob_recipes};
use crate::artifact::delta_index::{self, LayerDelta};
use crate::artifact::oci_delta::{Kind, OciDelta};
use crate::artifact::{DELTA_INDEX_TAG, deltas_tag};
use crate::image::Image;
use crate::oci::{Manifest, Name, artifact_type_of, digest_of, parse_index, parse_manifest, stated_type};
use crate::repository::Repository;
use crate::{Error, Result};

/// Most artifacts of one search that are read. Each is from another old image.
const MAX_ARTIFACTS: usize = 256;
/// Most bytes of all of them: four of the largest that there may be, or 256 of 64 KiB.
const MAX_ARTIFACTS_SIZE: u64 = 16 << 20;
/// Most delta manifests of one image. Clients read the first.
const MAX_DELTA_MANIFESTS: usize = 16;
/// Most deltas of one delta manifest.
const MAX_DELTAS: usize = 4096;
/// Documents that are read at once.
const AT_ONCE: usize = 4;

/// The artifacts that one search may still read, of one image or of several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    artifacts: usize,
    size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { artifacts: MAX_ARTIFACTS, size: MAX_ARTIFACTS_SIZE }
    }
}

/// The artifacts that refer to an image.
#[derive(Default)]
pub(super) struct Referrers {
    pub(super) artifacts: Vec<(Digest, OciDelta)>,
    pub(super) found: Discovery,
}

impl Referrers {
    /// Adds the candidates, those that all clients read first.
    pub(super) fn finish(mut self, image: &Image) -> Discovery {
        self.artifacts.sort_by_key(|(_, artifact)| artifact.kind == Kind::Tardf3);
        let mut known = HashSet::new();
        for (digest, artifact) in self.artifacts {
            self.found.add_artifact(image, digest, artifact, &mut known);
        }
        self.found
    }
}

/// An artifact that refers to an image.
enum Artifact {
    Deltas(Digest, Box<OciDelta>),
    BlobRecipes(Digest, Box<BlobRecipes>),
}

pub(super) async fn from_delta_index(
    repository: &Repository,
    image: &Image,
    found: &mut Discovery,
) -> Result<()> {
    let Some(index) = delta_index_of(repository).await? else { return Ok(()) };
    let entries = delta_index::entries_for(&index, image.manifest.digest);
    drop(index);
    add_delta_manifests(repository, image, Published::DeltaIndex, &entries, found).await;
    Ok(())
}

/// Reads `_deltaindex`; `None` if there is none.
pub(super) async fn delta_index_of(repository: &Repository) -> Result<Option<ImageIndex>> {
    let index = repository.manifest(&Name::Tag(DELTA_INDEX_TAG.into())).await?;
    index.map(|index| parse_index(DELTA_INDEX_TAG, &index.bytes)).transpose()
}

/// Adds the deltas of the first entry for an image, which is the one that clients read.
pub(super) async fn from_first_entry(
    repository: &Repository,
    image: &Image,
    index: &ImageIndex,
    found: &mut Discovery,
) {
    let mut entries = delta_index::entries_for(index, image.manifest.digest);
    entries.truncate(1);
    add_delta_manifests(repository, image, Published::DeltaIndex, &entries, found).await;
}

pub(super) async fn from_deltas_tag(
    repository: &Repository,
    image: &Image,
    found: &mut Discovery,
) -> Result<()> {
    let tag = deltas_tag(image.manifest.digest);
    let Some(top) = repository.manifest(&Name::Tag(tag.clone())).await? else { return Ok(()) };
    if !top.is_index() {
        return found.add_delta_manifest(Published::DeltasTag, image, &top);
    }
    let index = parse_index(&tag, &top.bytes)?;
    drop(top);
    add_delta_manifests(repository, image, Published::DeltasTag, index.manifests(), found).await;
    Ok(())
}

async fn add_delta_manifests(
    repository: &Repository,
    image: &Image,
    layout: Published,
    entries: &[Descriptor],
    found: &mut Discovery,
) {
    let mut seen = HashSet::new();
    let once = entries.iter().filter(|entry| seen.insert(entry.digest()));
    for entry in once.take(MAX_DELTA_MANIFESTS) {
        let added = match repository.manifest_of(entry).await {
            Ok(manifest) => found.add_delta_manifest(layout, image, &manifest),
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            found.warn(error.one_line());
        }
    }
}

pub(super) async fn from_referrers(
    repository: &Repository,
    image: &Image,
    into: &mut Referrers,
    limits: &mut Limits,
) -> Result<()> {
    // Registries may ignore the filter, so there is none in the request.
    let mut entries = repository.referrers(image.manifest.digest).await?;
    entries.retain(|entry| stated_type(entry.artifact_type().as_ref()).is_none_or(|of| is_known(Some(of))));
    // Those that say what they are come first.
    entries.sort_by_key(|entry| !is_known(entry.artifact_type().as_ref()));
    let max = limits.artifacts;
    if entries.len() > max {
        into.found.warn(format!("of {} artifacts that refer to the image, {max} are read", entries.len()));
        entries.truncate(max);
    }
    let count = entries.len();
    limits.artifacts -= count;
    let reads = entries.into_iter().map(|entry| async move {
        let says_so = is_known(entry.artifact_type().as_ref());
        (says_so, read_artifact(repository, image, &entry).await)
    });
    let mut reads = stream::iter(reads).buffered(AT_ONCE);
    let (before, mut size, mut index) = (repository.received(), 0, 0);
    while let Some((says_so, read)) = reads.next().await {
        index += 1;
        match read {
            Ok((read, artifact)) => {
                size += read;
                match artifact {
                    Some(Artifact::Deltas(digest, deltas)) => into.artifacts.push((digest, *deltas)),
                    Some(Artifact::BlobRecipes(digest, recipes)) => {
                        into.found.recipe_artifacts.push(digest);
                        into.found.blob_recipes.extend(recipes.recipes);
                    }
                    None => {}
                }
            }
            // What does not say that it is ours may be anything.
            Err(Error::NotFound { .. } | Error::Malformed { .. }) if !says_so => {}
            Err(error) => into.found.warn(error.one_line()),
        }
        // Those that are refused by their digests have come, too.
        let size = size.max(repository.received() - before);
        if size > limits.size && index < count {
            let max = limits.size >> 20;
            into.found
                .warn(format!("the artifacts that refer to the image have over {max} MiB: {index} are read"));
            break;
        }
    }
    limits.size = limits.size.saturating_sub(size.max(repository.received() - before));
    Ok(())
}

fn is_known(artifact_type: Option<&MediaType>) -> bool {
    Kind::of(artifact_type).is_some() || is_blob_recipes(artifact_type)
}

/// Reads an artifact. Gives the size of its manifest, and what it says about the image.
async fn read_artifact(
    repository: &Repository,
    image: &Image,
    entry: &Descriptor,
) -> Result<(u64, Option<Artifact>)> {
    let manifest = repository.manifest_of(entry).await?;
    let size = manifest.bytes.len() as u64;
    let parsed = parse_manifest("referrer", &manifest.bytes)?;
    let artifact_type = artifact_type_of(&parsed);
    if !is_known(artifact_type) {
        return Ok((size, None));
    }
    let (artifact, target) = if is_blob_recipes(artifact_type) {
        read_recipes(&parsed, image, manifest.digest)?
    } else {
        read_deltas(&parsed, image, manifest.digest)?
    };
    Ok((size, (target == image.manifest.digest).then_some(artifact)))
}

fn read_recipes(parsed: &ImageManifest, image: &Image, digest: Digest) -> Result<(Artifact, Digest)> {
    let mut recipes = BlobRecipes::parse(parsed)?;
    let target = digest_of(&recipes.target)?;
    recipes.recipes.retain(|(to, _)| image.layers.iter().any(|layer| layer.digest == *to));
    Ok((Artifact::BlobRecipes(digest, Box::new(recipes)), target))
}

fn read_deltas(parsed: &ImageManifest, image: &Image, digest: Digest) -> Result<(Artifact, Digest)> {
    let mut deltas = OciDelta::parse(parsed)?;
    let target = digest_of(&deltas.target)?;
    // Each layer of the image stands there once.
    let mut lacking: HashSet<BlobDigest> = image.layers.iter().map(|layer| layer.digest).collect();
    deltas.layers.retain(|layer| lacking.remove(&layer.to));
    Ok((Artifact::Deltas(digest, Box::new(deltas)), target))
}

/// The deltas of a delta manifest that are about an image: the first of each pair, which is the one that
/// clients take.
pub(super) fn of_image(image: &Image, mut deltas: Vec<LayerDelta>) -> Vec<LayerDelta> {
    let layers: HashSet<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let mut seen = HashSet::new();
    deltas.retain(|delta| layers.contains(&delta.to) && seen.insert((delta.from, delta.to)));
    deltas.truncate(MAX_DELTAS);
    deltas
}

impl Discovery {
    fn add_delta_manifest(&mut self, layout: Published, image: &Image, manifest: &Manifest) -> Result<()> {
        let parsed = parse_manifest("delta manifest", &manifest.bytes)?;
        self.add_deltas(layout, manifest.digest, of_image(image, delta_index::deltas_of(&parsed)));
        Ok(())
    }
}
