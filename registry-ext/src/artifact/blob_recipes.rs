//! The artifact with the recipes of the blobs of one image.

use layer::BlobDigest;
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};

use super::{
    ANNOTATION_TARGET, ANNOTATION_TO, ARTIFACT_TYPE_BLOB_RECIPES, BLOB_RECIPE, also_annotated, priced,
};
use crate::oci::{
    Annotations, EMPTY_CONFIG, EMPTY_JSON, artifact_type_of, descriptor_of, digest_annotation,
    to_annotations, to_json,
};
use crate::{Error, Result};

/// The content of one artifact with blob recipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecipes {
    /// Descriptor of the image's manifest.
    pub target: Descriptor,
    /// The recipes, and the blobs that they make.
    pub recipes: Vec<(BlobDigest, Descriptor)>,
}

/// Returns true if an artifactType is that of such an artifact.
pub fn is_blob_recipes(artifact_type: Option<&MediaType>) -> bool {
    artifact_type.is_some_and(|kind| kind.as_ref() == ARTIFACT_TYPE_BLOB_RECIPES)
}

impl BlobRecipes {
    /// Writes the manifest of the artifact.
    pub fn build(&self) -> Vec<u8> {
        let layers =
            self.recipes.iter().map(|(to, recipe)| also_annotated(recipe, [(ANNOTATION_TO, to.to_string())]));
        let manifest = ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(MediaType::from(ARTIFACT_TYPE_BLOB_RECIPES))
            .config(descriptor_of(EMPTY_CONFIG, EMPTY_JSON))
            .layers(layers.collect::<Vec<_>>())
            .subject(self.target.clone())
            .annotations(self.annotations())
            .build()
            .expect("every mandatory field is set");
        to_json(&manifest)
    }

    fn annotations(&self) -> Annotations {
        to_annotations([(ANNOTATION_TARGET, self.target.digest().to_string())])
    }

    /// Reads the manifest of an artifact. Layers that are no recipes are left out.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the artifactType is another, or there is no subject.
    pub fn parse(manifest: &ImageManifest) -> Result<Self> {
        let broken = |reason: &str| Error::malformed("artifact with blob recipes", reason);
        if !is_blob_recipes(artifact_type_of(manifest)) {
            return Err(broken("its artifactType is another"));
        }
        let recipes = manifest.layers().iter().filter(|layer| layer.media_type().as_ref() == BLOB_RECIPE);
        let recipe = |layer: &Descriptor| {
            let to = BlobDigest(digest_annotation(layer, ANNOTATION_TO)?);
            Some((to, priced(layer)))
        };
        Ok(Self {
            target: manifest.subject().clone().ok_or_else(|| broken("it has no subject"))?,
            recipes: recipes.filter_map(recipe).collect(),
        })
    }
}
