//! Blobs of layers under their own digests, made of what was rebuilt or of what is here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufWriter, Write};

use layer::{BlobDigest, DiffId, Spool};
use oci_spec::image::Descriptor;

use super::fetcher::{BlobSources, Fetcher};
use crate::blob_recipe::BlobRecipe;
use crate::chain::UsableDelta;
use crate::error::blocking;
use crate::image::{Image, ImageLayer};
use crate::oci::{check_diff_id, digest_of, short};
use crate::watch::Watch;
use crate::{Error, Result};

/// The recipes of an image's blobs.
pub(crate) type Recipes = BTreeMap<BlobDigest, Descriptor>;

/// Takes the blobs out of `local` that are not those of the image's manifest.
pub(super) fn other_blobs(
    image: &Image,
    local: &mut HashMap<DiffId, Descriptor>,
) -> HashMap<DiffId, Descriptor> {
    let mut others = HashMap::new();
    for layer in &image.layers {
        let is_other = local.get(&layer.diff_id).is_some_and(|blob| blob.digest() != layer.blob.digest());
        if is_other {
            others.extend(local.remove_entry(&layer.diff_id));
        }
    }
    others
}

/// Returns those of a layer's deltas that save something although its recipe is fetched too, and that recipe;
/// `None` if the blob cannot be made of the tar.
pub(crate) fn exact_sources(
    layer: &ImageLayer,
    mut deltas: VecDeque<UsableDelta>,
    recipes: &Recipes,
) -> Option<(VecDeque<UsableDelta>, Option<Descriptor>)> {
    if layer.is_plain_tar() {
        return Some((deltas, None));
    }
    let recipe = recipes.get(&layer.digest)?;
    deltas.retain(|delta| delta.size().saturating_add(recipe.size()) < layer.blob.size());
    Some((deltas, Some(recipe.clone())))
}

/// Returns those of the sources of a layer of which its blob comes out as the manifest has it.
pub(super) fn exact(
    layer: &ImageLayer,
    sources: BlobSources,
    recipes: &Recipes,
    watch: &Watch,
) -> BlobSources {
    let has_sources = sources.here.is_some() || !sources.deltas.is_empty();
    match exact_sources(layer, sources.deltas, recipes) {
        // The tar is the blob: what is here is another one.
        Some((deltas, None)) => BlobSources { deltas, recipe: None, here: None },
        Some((deltas, recipe)) => BlobSources { deltas, recipe, here: sources.here },
        None => {
            if has_sources {
                let name = short(layer.diff_id);
                watch.warn(&format!("the blob of layer {name} has no recipe, so it is fetched whole"));
            }
            BlobSources::default()
        }
    }
}

impl Fetcher<'_> {
    /// Makes a layer's blob of its tar and stores it.
    pub(super) async fn remake(
        &self,
        layer: &ImageLayer,
        recipe: &Descriptor,
        tar: Spool,
    ) -> Result<Descriptor> {
        let recipe = BlobRecipe::fetch(self.rebuilder.repository, recipe, &self.rebuilder.dir).await?;
        let (layout, layer) = (self.layout.clone(), layer.clone());
        blocking(move || {
            let mut blob = layout.temporary()?;
            let mut output = BufWriter::with_capacity(256 << 10, blob.as_file_mut());
            recipe.make(&tar, layer.digest.0, layer.blob.size(), &mut output)?;
            output.flush().map_err(Error::io("write a blob in", layout.dir()))?;
            drop(output);
            layout.add_blob(layer.digest.0, blob)?;
            Ok(layer.blob)
        })
        .await
    }

    /// Makes a layer's blob of another blob of the same layer.
    pub(super) async fn remake_local(
        &self,
        layer: &ImageLayer,
        here: &Descriptor,
        recipe: &Descriptor,
    ) -> Result<Descriptor> {
        let (path, expected, options) =
            (self.layout.blob_path(digest_of(here)?), layer.diff_id, self.rebuilder.spool.clone());
        let tar = blocking(move || {
            let tar = Spool::open_blob(&path, &options)?;
            check_diff_id(tar.diff_id()?, expected)?;
            Ok(tar)
        });
        self.remake(layer, recipe, tar.await?).await
    }
}
