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
use crate::image::{Image, ImageIn, ImageLayer, Images, resolve_all};
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

/// The check of the deltas to an image, with its options. [`verify`](Self::verify) does it.
#[derive(Debug, Clone)]
pub struct Verifier<'v> {
    repository: &'v Repository,
    image: &'v Image,
    old: Vec<&'v Images>,
    options: MakeOptions,
    watch: Watch,
}

impl<'v> Verifier<'v> {
    /// Prepares to check the deltas to `image` that are published in `repository`.
    pub fn new(repository: &'v Repository, image: &'v Image) -> Self {
        let (options, watch) = (MakeOptions::default(), Watch::nothing());
        Self { repository, image, old: Vec::new(), options, watch }
    }

    /// Adds an old image that deltas may read. Those that artifacts name are looked for in the repository
    /// itself.
    #[must_use]
    pub fn old(mut self, images: &'v Images) -> Self {
        self.old.push(images);
        self
    }

    /// Sets the directory and the bounds of the downloads. No delta is made.
    #[must_use]
    pub fn options(mut self, options: MakeOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the receiver of warnings and of progress.
    #[must_use]
    pub fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// Checks all deltas to the image, and the recipes of its blobs.
    ///
    /// # Errors
    /// Those of the repositories, where they concern more than one delta; [`Error::Malformed`] for what
    /// is published and cannot be read.
    pub async fn verify(self) -> Result<Vec<Checked>> {
        let cache = DeltaCache::new(&self.options, &self.watch)?;
        let found = discover(self.repository, self.image).await;
        if let Some(warning) = found.warnings.first() {
            return Err(Error::malformed(format!("deltas of {}", self.image.manifest.digest), warning));
        }
        let named = self.named_sources(&found, &cache).await;
        let old = self.old.iter().flat_map(|images| {
            images.images.iter().map(|image| ImageIn { repository: &images.repository, image })
        });
        let named = named.iter().map(|image| ImageIn { repository: self.repository, image });
        let sources: Vec<ImageIn<'_>> = old.chain(named).collect();
        let mut checked = Vec::new();
        for candidate in &found.candidates {
            let verdict = self.verdict(candidate, &found, &sources, &cache).await;
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
            let layer = self.image.layers.iter().find(|layer| layer.digest == *digest);
            if let Some(layer) = layer {
                checked.push(self.check_recipe(layer, recipe, &cache).await?);
            }
        }
        Ok(checked)
    }

    /// Returns the images that artifacts name as their sources, as far as the repository has them.
    async fn named_sources(&self, found: &Discovery, cache: &DeltaCache) -> Vec<Image> {
        let named: BTreeSet<Digest> =
            found.artifacts.iter().filter_map(|(_, artifact)| artifact.source).collect();
        let mut sources = Vec::new();
        for source in named {
            let name = Name::Digest(source);
            let images = resolve_all(self.repository, Some(&name), cache.dir(), &self.watch).await;
            // An artifact may name an image that the repository does not have any more.
            sources.extend(images.unwrap_or_default());
        }
        sources
    }

    async fn verdict(
        &self,
        candidate: &Candidate,
        found: &Discovery,
        sources: &[ImageIn<'_>],
        cache: &DeltaCache,
    ) -> Verdict {
        if let Some(rule) = broken_rule(candidate, self.image, found) {
            return Verdict::Wrong(rule);
        }
        let checked = self.check(candidate, sources, cache).await;
        checked.unwrap_or_else(|error| Verdict::Wrong(error.one_line()))
    }

    /// Fetches a delta, applies it, and compares.
    async fn check(
        &self,
        candidate: &Candidate,
        sources: &[ImageIn<'_>],
        cache: &DeltaCache,
    ) -> Result<Verdict> {
        let blob = &candidate.blob;
        let task = self.watch.start(format!("check {}", crate::oci::short(candidate.to)), blob.size());
        let path = self.repository.blob(blob, cache.dir(), &|bytes| task.advance(bytes)).await?;
        let file = open_regular(&path).map_err(Error::io("open", &path))?;
        let version = version_of(&file).map_err(Error::io("read", &path))?;
        if let Some(rule) = broken_rule_of_format(candidate, version) {
            return Ok(Verdict::Wrong(rule.into()));
        }
        let Some(target) = self.image.layer(candidate.to) else { return Ok(Verdict::NoSource) };
        let Some((repository, layers)) = layers_of(candidate.base, sources) else {
            return Ok(Verdict::NoSource);
        };
        let spools = cache.spools(repository, &layers).await?;
        let open = move || Ok(Sources::Layers(tar_patch::LayerSource::new(spools)?));
        let budget = Budget::of_size(cache.max_layer_size());
        apply(path, open, target.diff_id, budget.allowance(), || Ok(std::io::sink())).await?;
        Ok(Verdict::Right)
    }

    /// Makes the blob of a layer of its tar, and compares.
    async fn check_recipe(
        &self,
        layer: &ImageLayer,
        recipe: &Descriptor,
        cache: &DeltaCache,
    ) -> Result<Checked> {
        let made = async {
            let recipe = BlobRecipe::fetch(self.repository, recipe, cache.dir()).await?;
            let tar = cache.spool(self.repository, layer).await?;
            let (digest, size) = (layer.digest.0, layer.blob.size());
            blocking(move || recipe.make(&tar, digest, size, &mut std::io::sink())).await
        };
        let verdict = match made.await {
            Ok(()) => Verdict::Right,
            Err(error) => Verdict::Wrong(error.one_line()),
        };
        Ok(Checked {
            layout: Published::BlobRecipes,
            from_kind: "tar",
            from: layer.diff_id.0,
            diff_id: layer.diff_id,
            blob: digest_of(recipe)?,
            size: recipe.size(),
            verdict,
        })
    }
}

/// Returns the layers of a base, and the repository that has them.
fn layers_of<'s>(base: Base, sources: &[ImageIn<'s>]) -> Option<(&'s Repository, Vec<&'s ImageLayer>)> {
    sources.iter().find_map(|source| {
        let layers: Vec<&ImageLayer> = match base {
            Base::Image(config) if config == source.image.config_digest => {
                source.image.layers.iter().collect()
            }
            Base::Image(_) => return None,
            Base::Layer(diff_id) => source.image.layer(diff_id).into_iter().collect(),
        };
        (!layers.is_empty()).then_some((source.repository, layers))
    })
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
