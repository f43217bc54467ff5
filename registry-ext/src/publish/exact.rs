//! The recipes of the target's blobs.

use std::collections::BTreeMap;

use layer::{BlobDigest, DiffId, Digest, Spool};
use oci_spec::image::Descriptor;
use serde::Serialize;

use super::image::ImagePublisher;
use crate::artifact::blob_recipes::BlobRecipes;
use crate::artifact::{BLOB_RECIPE, with_work};
use crate::blob_recipe::BlobRecipe;
use crate::discover::discover;
use crate::error::blocking;
use crate::image::{ImageLayer, Platform};
use crate::oci::{EMPTY_CONFIG, EMPTY_JSON, Manifest, descriptor_of};
use crate::{Error, Result};

/// The recipe of the blob of a layer.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedRecipe {
    /// Platform of the image.
    pub platform: Platform,
    /// Digest of the image's manifest.
    pub new: Digest,
    /// The layer.
    pub diff_id: DiffId,
    /// Size of its blob in bytes.
    pub blob_size: u64,
    /// Size of the recipe in bytes.
    pub recipe_size: Option<u64>,
    /// The outcome.
    pub outcome: RecipeOutcome,
}

/// The layers of which recipes are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recipes {
    /// None.
    #[default]
    None,
    /// Those that have a delta: nobody makes another blob.
    WithDeltas,
    /// All that an old image lacks, also where there is no delta yet.
    All,
}

/// The outcome for a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RecipeOutcome {
    /// It was published.
    Published,
    /// One was published before.
    AlreadyThere,
    /// The blob is the tar.
    NotNeeded,
    /// There is none, and so the blob cannot be made again.
    Refused(String),
}

impl ImagePublisher<'_> {
    /// Publishes the recipes of these layers' blobs, together with what is there.
    pub(super) async fn blob_recipes(&mut self, layers: &[&ImageLayer]) -> Result<()> {
        let mut made = BTreeMap::new();
        for layer in layers {
            let (recipe_size, outcome) = match self.found.blob_recipes.get(&layer.digest) {
                _ if layer.is_plain_tar() => (None, RecipeOutcome::NotNeeded),
                Some(known) => (Some(known.size()), RecipeOutcome::AlreadyThere),
                None => match self.find_recipe(layer).await {
                    Err(Error::NoRecipe(refusal)) => (None, RecipeOutcome::Refused(refusal.to_string())),
                    Err(error) if error.is_of_one_layer() => (None, RecipeOutcome::Refused(error.one_line())),
                    Err(error) => return Err(error),
                    Ok(recipe) => {
                        let bytes = recipe.to_bytes();
                        self.put_bytes(BLOB_RECIPE, &bytes).await?;
                        let blob = descriptor_of(BLOB_RECIPE, &bytes);
                        made.insert(layer.digest, with_work(blob, recipe.work(layer.blob.size())));
                        (Some(bytes.len() as u64), RecipeOutcome::Published)
                    }
                },
            };
            self.report.recipes.push(PublishedRecipe {
                platform: self.target.platform.clone(),
                new: self.target.manifest.digest,
                diff_id: layer.diff_id,
                blob_size: layer.blob.size(),
                recipe_size,
                outcome,
            });
        }
        if made.is_empty() { Ok(()) } else { self.put_recipes(made).await }
    }

    async fn find_recipe(&self, layer: &ImageLayer) -> Result<BlobRecipe> {
        let tar = self.cache.spool(&self.publisher.new.repository, layer).await?;
        let path = self.cache.blob(&self.publisher.new.repository, layer).await?;
        let (digest, size) = (layer.digest.0, layer.blob.size());
        let max_share = self.publisher.max_recipe_share;
        blocking(move || {
            let file = layer::open_regular(&path).map_err(Error::io("read", &path))?;
            let blob = Spool::of_file(path.display().to_string(), file, size);
            BlobRecipe::find_within(&blob, digest, &tar, max_share)
        })
        .await
    }

    /// Publishes one artifact in place of those that are there, with all that they have.
    async fn put_recipes(&mut self, made: BTreeMap<BlobDigest, Descriptor>) -> Result<()> {
        let found = discover(self.publisher.to, self.target).await;
        let mut recipes = found.blob_recipes;
        recipes.extend(made);
        let target = self.target.manifest.descriptor();
        let artifact = BlobRecipes { target, recipes: recipes.into_iter().collect() };
        self.put_bytes(EMPTY_CONFIG, EMPTY_JSON).await?;
        let manifest = Manifest::new(artifact.build(), None);
        self.publisher.to.put_manifest(&manifest, None).await?;
        self.report.recipe_artifacts.push(manifest.digest);
        let older: Vec<_> =
            found.recipe_artifacts.into_iter().filter(|digest| *digest != manifest.digest).collect();
        crate::prune::remove_artifacts(self.publisher.to, self.target.manifest.digest, &older)
            .await
            .map(|_| ())
    }
}
