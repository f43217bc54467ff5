//! Publishes deltas: makes them, proves them, keeps those that save something, and pushes them.

mod artifact;
mod exact;
mod job;

use layer::{DiffId, Digest};
use serde::Serialize;

use crate::delta::{DeltaCache, MakeOptions};
use crate::discover::{Discovery, Published, discover};
use crate::image::{Image, Images, Platform};
use crate::repository::Repository;
use crate::watch::Watch;
use crate::{Error, Result};

pub use exact::{PublishedRecipe, RecipeOutcome};
use job::Job;

/// The most layers of an old image that has deltas in `_deltaindex` without being asked for.
///
/// flatpak, the client that reads nothing else, has images of one layer. It compares the source of a delta
/// with the last layer of what is installed, so a delta there reads that layer alone. In an image of many
/// layers this is a small part of the old files: such deltas are many times larger and slower to make than
/// those of the artifact, which read the whole image.
pub const FEW_LAYERS: usize = 2;

/// The options of [`publish()`].
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// The options for making deltas. With [`sees_through`](tar_diff::DiffOptions::sees_through), artifacts with
    /// tardf3 deltas are written beside the others.
    pub make: MakeOptions,
    /// True if `_deltaindex` is written.
    pub delta_index: bool,
    /// Most layers of an old image for which `_deltaindex` is written.
    pub delta_index_max_layers: usize,
    /// True if oci-delta artifacts are written.
    pub artifact: bool,
    /// True if it is published how the blobs of the layers are made of their tars, so that
    /// [`pull`](crate::pull::Puller) can store them under their own digests.
    pub exact: bool,
    /// True if deltas that are there are made again, and replaced.
    pub force: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            make: MakeOptions::default(),
            delta_index: true,
            delta_index_max_layers: FEW_LAYERS,
            artifact: true,
            exact: false,
            force: false,
        }
    }
}

/// The deltas and artifacts that were published.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PublishReport {
    /// The deltas that were made, and those that were there.
    pub deltas: Vec<PublishedDelta>,
    /// Digests of the oci-delta artifacts.
    pub artifacts: Vec<Digest>,
    /// Digests of the artifacts with tardf3 deltas.
    pub tardf3_artifacts: Vec<Digest>,
    /// The recipes of the blobs of layers that an old image lacks.
    pub recipes: Vec<PublishedRecipe>,
    /// Digests of the artifacts with recipes of blobs.
    pub recipe_artifacts: Vec<Digest>,
    /// Digests of the delta manifests in `_deltaindex`.
    pub delta_manifests: Vec<Digest>,
    /// Digests of the old images that have too many layers for deltas in `_deltaindex`.
    pub not_in_delta_index: Vec<Digest>,
    /// Why some could not be published, although others were.
    pub failures: Vec<String>,
}

/// A delta of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedDelta {
    /// Platform of the image.
    pub platform: Platform,
    /// Digest of the old image's manifest.
    pub old: Digest,
    /// Digest of the new image's manifest.
    pub new: Digest,
    /// The layer that it rebuilds.
    pub diff_id: DiffId,
    /// The place where it is published.
    pub layout: Published,
    /// Size of the layer's blob in bytes.
    pub blob_size: u64,
    /// Size of the delta in bytes; `None` if there was one already.
    pub delta_size: Option<u64>,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome for a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was published.
    Published,
    /// One was published before.
    AlreadyThere,
    /// It is not smaller than the layer's blob, so nobody needs it.
    NotSmaller,
    /// It could not be made: a layer is no tar that can be read, as a warning says. Who pulls gets the layer
    /// itself.
    Failed,
    /// It sees through nothing, or not enough: another delta is not larger, and every client reads it.
    NoGain,
    /// The repository refused to list it.
    Refused,
}

/// Publishes the deltas from the `old` images to the `new` ones in the repository `to`, each
/// platform from the same platform. Without an old image nothing is published.
///
/// A repository that refuses what refers to an image still gets `_deltaindex`, with a warning. Where there is
/// nothing to write in it, the refusal is an error.
///
/// # Errors
/// Those of the repositories and of the machine. A layer that cannot be read as a tar, or whose delta is
/// wrong, costs a warning and that delta. [`Error::NoPlatform`] if no old image is for the platform of a new one.
pub async fn publish(
    new: &Images,
    old: &[Images],
    to: &Repository,
    options: &PublishOptions,
    watch: &Watch,
) -> Result<PublishReport> {
    let cache = DeltaCache::new(&options.make, watch)?;
    let mut report = PublishReport::default();
    let mut pairs = 0;
    for target in &new.images {
        let found = if options.force { Discovery::default() } else { discover(to, target).await };
        found.warnings.iter().for_each(|warning| watch.warn(warning));
        let mut job = Job { new, target, to, options, cache: &cache, watch, found, report: &mut report };
        let (mut deltas, mut lacking, mut refused) = (Vec::new(), Vec::new(), None);
        for images in old {
            let same = target.platform.counterpart(&images.images, |source| &source.platform);
            let Some(source) = same else { continue };
            pairs += 1;
            if source.manifest.digest == target.manifest.digest {
                watch.warn(&format!("{} is both old and new", source.manifest.digest));
                continue;
            }
            if options.exact {
                for layer in target.layers_not_in(source) {
                    if !lacking.contains(&layer) {
                        lacking.push(layer);
                    }
                }
                cache.keep(lacking.iter().copied());
            }
            let is_indexed = options.delta_index && source.layers.len() <= options.delta_index_max_layers;
            match refusal(job.artifacts(&images.repository, source).await)? {
                Some(error) if is_indexed => job.note_failure(&error),
                other => refused = refused.or(other),
            }
            if options.delta_index {
                if is_indexed {
                    deltas.extend(job.layer_deltas(&images.repository, source).await?);
                } else {
                    job.report.not_in_delta_index.push(source.manifest.digest);
                }
            }
        }
        job.delta_index(&deltas).await?;
        match refusal(job.blob_recipes(&lacking).await)? {
            Some(error) if !deltas.is_empty() => job.note_failure(&error),
            other => refused = refused.or(other),
        }
        // Not before what can be published is.
        if let Some(error) = refused {
            return Err(error);
        }
    }
    if pairs == 0 && !new.images.is_empty() && !old.is_empty() {
        let names = |images: &[Image]| {
            images.iter().map(|image| image.platform.to_string()).collect::<Vec<_>>().join(", ")
        };
        return Err(Error::NoPlatform {
            what: "the old image".into(),
            wanted: names(&new.images),
            available: old.iter().map(|images| names(&images.images)).collect::<Vec<_>>().join(", "),
        });
    }
    Ok(report)
}

/// The error of a repository that does not take what refers to an image. Other errors are errors.
fn refusal(published: Result<()>) -> Result<Option<Error>> {
    match published {
        Ok(()) => Ok(None),
        Err(error @ (Error::Registry(_) | Error::Contended { .. } | Error::Malformed { .. })) => {
            Ok(Some(error))
        }
        Err(error) => Err(error),
    }
}
