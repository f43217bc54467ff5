//! Checks the deltas that are published for an image: fetches each, applies it, compares.

use std::collections::BTreeSet;

use delta_format::Version;
use layer::{DiffId, Digest, open_regular};
use oci_spec::image::Descriptor;
use serde::Serialize;

use crate::artifact::is_tardf3;
use crate::blob_recipe::BlobRecipe;
use crate::delta::{DeltaCache, MakeOptions, version_of};
use crate::discover::{Candidate, Discovery, Published, discover};
use crate::error::blocking;
use crate::image::{Image, ImageLayer, Images, resolve_all};
use crate::oci::{Name, digest_of};
use crate::pull::{Budget, apply};
use crate::repository::Repository;
use crate::store::{Base, Sources};
use crate::watch::Watch;
use crate::{Error, Result};

/// The result of the check of one delta.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The place where it is published.
    pub layout: Published,
    /// The kind of what it reads: `image`, `layer`, or `tar` for the recipe of a blob.
    pub from_kind: &'static str,
    /// The digest of what it reads: of an image's config, or the diff_id of a layer.
    pub from: Digest,
    /// The layer that it rebuilds.
    pub diff_id: DiffId,
    /// Digest of its blob.
    pub blob: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The verdict.
    pub verdict: Verdict,
}

/// True if a delta is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// It rebuilds its layer, or makes its blob.
    Right,
    /// It does not, or breaks a rule of its layout.
    Wrong(String),
    /// Its source is in none of the images at hand, so that only its digest and its size were
    /// compared.
    NoSource,
}

/// Checks all deltas for `image`, and the recipes of its blobs. The deltas' sources are looked for in
/// `old`, and in the repository itself by the digests that artifacts name.
///
/// # Errors
/// Those of the repositories, where they concern more than one delta; [`Error::Malformed`] for what
/// is published and cannot be read.
pub async fn verify(
    repository: &Repository,
    image: &Image,
    old: &[Images],
    options: &MakeOptions,
    watch: &Watch,
) -> Result<Vec<Checked>> {
    let cache = DeltaCache::new(options, watch)?;
    let found = discover(repository, image).await;
    if let Some(warning) = found.warnings.first() {
        return Err(Error::malformed(format!("deltas of {}", image.manifest.digest), warning));
    }
    let mut sources: Vec<(&Repository, Image)> = Vec::new();
    for images in old {
        sources.extend(images.images.iter().map(|image| (&images.repository, image.clone())));
    }
    let named: BTreeSet<Digest> =
        found.artifacts.iter().filter_map(|(_, artifact)| artifact.source).collect();
    for source in named {
        let images = resolve_all(repository, Some(&Name::Digest(source)), cache.dir(), watch).await;
        // An artifact may name an image that the repository does not have any more.
        sources.extend(images.unwrap_or_default().into_iter().map(|image| (repository, image)));
    }
    let mut checked = Vec::new();
    for candidate in &found.candidates {
        let rule = broken_rule(candidate, image, &found);
        let verdict = match rule {
            Some(rule) => Verdict::Wrong(rule),
            None => match check(repository, image, candidate, &sources, &cache, watch).await {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Wrong(error.one_line()),
            },
        };
        checked.push(Checked {
            layout: candidate.layout,
            from_kind: candidate.base.kind(),
            from: candidate.base.digest(),
            diff_id: candidate.to,
            blob: digest_of(&candidate.blob)?,
            size: candidate.blob.size(),
            verdict,
        });
    }
    for (digest, recipe) in &found.blob_recipes {
        let Some(layer) = image.layers.iter().find(|layer| layer.digest == *digest) else { continue };
        let verdict = check_recipe(repository, layer, recipe, &cache).await;
        checked.push(Checked {
            layout: Published::BlobRecipes,
            from_kind: "tar",
            from: layer.diff_id.0,
            diff_id: layer.diff_id,
            blob: digest_of(recipe)?,
            size: recipe.size(),
            verdict: verdict.unwrap_or_else(|error| Verdict::Wrong(error.one_line())),
        });
    }
    Ok(checked)
}

/// Makes the blob of a layer of its tar.
async fn check_recipe(
    repository: &Repository,
    layer: &ImageLayer,
    recipe: &Descriptor,
    cache: &DeltaCache,
) -> Result<Verdict> {
    let recipe = BlobRecipe::fetch(repository, recipe, cache.dir()).await?;
    let tar = cache.spool(repository, layer).await?;
    let (digest, size) = (layer.digest.0, layer.blob.size());
    blocking(move || recipe.make(&tar, digest, size, &mut std::io::sink()).map(|()| Verdict::Right)).await
}

/// Returns the rule of `_deltaindex` that a delta breaks, if it breaks one that clients rely on.
fn broken_rule(candidate: &Candidate, image: &Image, found: &Discovery) -> Option<String> {
    if candidate.layout != Published::DeltaIndex {
        return None;
    }
    if found.delta_manifests.first().is_some_and(|(first, _)| *first != candidate.manifest) {
        return Some("it is in a second delta manifest for this target, which clients do not read".into());
    }
    let from = |base| match base {
        Base::Layer(diff_id) => Some(diff_id),
        Base::Image(_) => None,
    };
    let from: DiffId = from(candidate.base)?;
    image.layer(from).filter(|_| from == candidate.to).map(|_| "it rebuilds its own source".into())
}

/// Returns the rule about formats that a delta breaks: clients must not find one that they cannot read.
fn broken_rule_of_format(candidate: &Candidate, version: Option<Version>) -> Option<&'static str> {
    match (candidate.layout, version) {
        (_, None) => Some("it is no delta"),
        (Published::DeltaIndex, Some(version)) if version != Version::V1 => {
            Some("it is no tardf1, which is all that clients of _deltaindex read")
        }
        (layout, Some(Version::V3)) if layout != Published::Tardf3 => {
            Some("it is a tardf3, which the clients of its layout do not read")
        }
        (_, Some(version)) if is_tardf3(&candidate.blob) != (version == Version::V3) => {
            Some("its media type is that of another format")
        }
        _ => None,
    }
}

async fn check(
    repository: &Repository,
    image: &Image,
    candidate: &Candidate,
    sources: &[(&Repository, Image)],
    cache: &DeltaCache,
    watch: &Watch,
) -> Result<Verdict> {
    let task = watch.start(format!("check {}", crate::oci::short(candidate.to)), candidate.blob.size());
    let path = repository.blob(&candidate.blob, cache.dir(), &|bytes| task.advance(bytes)).await?;
    let file = open_regular(&path).map_err(Error::io("open", &path))?;
    if let Some(rule) = broken_rule_of_format(candidate, version_of(&file).map_err(Error::io("read", &path))?)
    {
        return Ok(Verdict::Wrong(rule.into()));
    }
    let Some(target) = image.layer(candidate.to) else { return Ok(Verdict::NoSource) };
    let mut base: Option<(&Repository, Vec<&ImageLayer>)> = None;
    for (of, source) in sources {
        let layers: Vec<&ImageLayer> = match candidate.base {
            Base::Image(config) if config == source.config_digest => source.layers.iter().collect(),
            Base::Image(_) => continue,
            Base::Layer(diff_id) => source.layer(diff_id).into_iter().collect(),
        };
        if !layers.is_empty() {
            base = Some((of, layers));
            break;
        }
    }
    let Some((of, layers)) = base else { return Ok(Verdict::NoSource) };
    let spools = cache.spools(of, &layers).await?;
    let open = move || Ok(Sources::Layers(tar_patch::LayerSource::new(spools)?));
    let budget = Budget::of_size(cache.max_layer_size());
    apply(path, open, target.diff_id, budget, || Ok(std::io::sink())).await?;
    Ok(Verdict::Right)
}
