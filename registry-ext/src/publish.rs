//! Publishes deltas: makes them, proves them, keeps those that save something, and pushes them.

mod artifact;
mod exact;
mod image;
mod listed;
mod merged;
mod report;
mod room;

use std::collections::BTreeSet;

use crate::Result;
use crate::blob_recipe::MAX_SHARE;
use crate::chain::ChainStep;
use crate::delta::{DeltaCache, MakeOptions};
use crate::discover::{Discovery, discover};
use crate::image::{Image, ImageIn, Images, no_shared_platform};
use crate::repository::Repository;
use crate::signature::CarriedSignature;
use crate::watch::Watch;

pub use crate::delta::Merged;
pub use exact::{PublishedRecipe, RecipeOutcome, Recipes};
use image::ImagePublisher;
pub use report::{Outcome, PublishReport, PublishedDelta};

/// The most layers of an old image that has deltas in `_deltaindex` without being asked for.
///
/// flatpak, the client that reads nothing else, has images of one layer. It compares the source of a delta
/// with the last layer of what is installed, so a delta there reads that layer alone. In an image of many
/// layers this is a small part of the old files: such deltas are many times larger and slower to make than
/// those of the artifact, which read the whole image.
pub const FEW_LAYERS: usize = 2;

/// The publishing of the deltas to images, with its options. [`publish`](Self::publish) does it.
///
/// ```no_run
/// use registry_ext::image::{Images, resolve_all};
/// use registry_ext::publish::{Publisher, Recipes};
/// use registry_ext::reference::ImageRef;
/// use registry_ext::{registry::RegistryOptions, repository::Repository, watch::Watch};
///
/// async fn images(name: &str) -> registry_ext::Result<Images> {
///     let (name, temp) = (name.parse::<ImageRef>()?, std::env::temp_dir());
///     let repository = Repository::open(&name, &RegistryOptions::default(), &temp)?;
///     let images = resolve_all(&repository, name.name().as_ref(), &temp, &Watch::nothing()).await?;
///     Ok(Images { repository, images })
/// }
/// # async fn example() -> registry_ext::Result<()> {
/// let (old, new) = (images("127.0.0.1:5000/app:v1").await?, images("127.0.0.1:5000/app:v2").await?);
/// let report = Publisher::new(&new.repository, &new).old(&old).recipes(Recipes::All).publish().await?;
/// println!("{} artifacts", report.artifacts.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Publisher<'p> {
    to: &'p Repository,
    new: &'p Images,
    old: Vec<&'p Images>,
    options: MakeOptions,
    delta_index: bool,
    delta_index_max_layers: usize,
    artifact: bool,
    recipes: Recipes,
    max_recipe_share: u64,
    force: bool,
    merge: bool,
    /// The steps over which deltas are merged; any if there is no such list.
    merge_over: Option<BTreeSet<ChainStep>>,
    signatures: Vec<CarriedSignature>,
    carries_found: bool,
    tags_always: bool,
    lists_under_index: bool,
    watch: Watch,
}

impl<'p> Publisher<'p> {
    /// Prepares to publish deltas to the `new` images in the repository `to`: as oci-delta artifacts, and in
    /// `_deltaindex` those from old images of [few layers](FEW_LAYERS).
    pub fn new(to: &'p Repository, new: &'p Images) -> Self {
        Self {
            to,
            new,
            old: Vec::new(),
            options: MakeOptions::default(),
            delta_index: true,
            delta_index_max_layers: FEW_LAYERS,
            artifact: true,
            recipes: Recipes::None,
            max_recipe_share: MAX_SHARE,
            force: false,
            merge: false,
            merge_over: None,
            signatures: Vec::new(),
            carries_found: false,
            tags_always: false,
            lists_under_index: false,
            watch: Watch::nothing(),
        }
    }

    /// Returns the repository that deltas are published in.
    pub const fn repository(&self) -> &'p Repository {
        self.to
    }

    /// Adds an old image. There are deltas from each platform of it to the same platform of the new one.
    #[must_use]
    pub fn old(mut self, images: &'p Images) -> Self {
        self.old.push(images);
        self
    }

    /// Sets the options for making deltas. With [`sees_through`](tar_diff::DiffOptions::sees_through), registry-ext is
    /// one of the readers: an artifact with tardf3 deltas is written where it is at least 10%, and 4 kB,
    /// smaller than the oci-delta artifact, beside that one if it is [asked for](Self::artifact), and in its
    /// place otherwise.
    #[must_use]
    pub fn options(mut self, options: MakeOptions) -> Self {
        self.options = options;
        self
    }

    /// Says whether `_deltaindex` is written.
    #[must_use]
    pub const fn delta_index(mut self, delta_index: bool) -> Self {
        self.delta_index = delta_index;
        self
    }

    /// Sets the most layers of an old image for which `_deltaindex` is written.
    #[must_use]
    pub const fn delta_index_max_layers(mut self, layers: usize) -> Self {
        self.delta_index_max_layers = layers;
        self
    }

    /// Says whether oci-delta artifacts are written, for the clients that read no other.
    #[must_use]
    pub const fn artifact(mut self, artifact: bool) -> Self {
        self.artifact = artifact;
        self
    }

    /// Says which recipes of the layers' blobs are published too. With them a [pull](crate::pull::Puller) can store
    /// the blobs under their own digests, and a mirror can serve them.
    #[must_use]
    pub const fn recipes(mut self, recipes: Recipes) -> Self {
        self.recipes = recipes;
        self
    }

    /// Sets the most bytes of a blob's recipe, in percent of the blob.
    #[must_use]
    pub const fn max_recipe_share(mut self, percent: u64) -> Self {
        self.max_recipe_share = percent;
        self
    }

    /// Says whether deltas that are there are made again, and replaced.
    #[must_use]
    pub const fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Says whether deltas are merged of published ones that follow each other, where that is possible: with less CPU,
    /// and without the new layers. They may be larger than those that are made of the layers. It is possible for tardf1
    /// deltas; where it is not, the report has the reason, and the delta is made of the layers.
    #[must_use]
    pub const fn merge(mut self, merge: bool) -> Self {
        self.merge = merge;
        self
    }

    /// Merges deltas, as far as those between the old and the new image take these steps alone.
    #[must_use]
    pub(crate) fn merge_over(mut self, steps: &BTreeSet<ChainStep>) -> Self {
        self.merge = true;
        self.merge_over = Some(steps.clone());
        self
    }

    /// Adds a signature that the artifacts of its image carry, for hosts that check it without the registry.
    #[must_use]
    pub fn signature(mut self, signature: CarriedSignature) -> Self {
        self.signatures.push(signature);
        self
    }

    /// Says whether artifacts carry the signature that cosign put beside their image, where there is one.
    #[must_use]
    pub const fn carry_found_signatures(mut self, carry: bool) -> Self {
        self.carries_found = carry;
        self
    }

    /// Says whether oci-delta artifacts are listed by the tag that stands in for a list of referrers also where the
    /// registry keeps that list itself: some clients ask for the tag alone.
    #[must_use]
    pub const fn stand_in_tag_always(mut self, always: bool) -> Self {
        self.tags_always = always;
        self
    }

    /// Says whether the oci-delta artifacts of an image in an index are listed under the index, too: some clients
    /// know no other digest. Such an artifact is a manifest of its own, with the same blobs.
    #[must_use]
    pub const fn list_under_index(mut self, list: bool) -> Self {
        self.lists_under_index = list;
        self
    }

    /// Sets the receiver of warnings and of progress.
    #[must_use]
    pub fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// Publishes the deltas. Without an old image nothing is published.
    ///
    /// A repository that refuses what refers to an image still gets `_deltaindex`, with a warning. Where there
    /// is nothing to write in it, the refusal is an error.
    ///
    /// # Errors
    /// Those of the repositories and of the machine. A layer that cannot be read as a tar, or whose delta is
    /// wrong, costs a warning and that delta. [`Error::NoPlatform`](crate::Error::NoPlatform) if no old image is
    /// for the platform of a new one.
    pub async fn publish(self) -> Result<PublishReport> {
        let cache = DeltaCache::new(&self.options, &self.watch)?;
        self.publish_from(&cache).await
    }

    /// The same as [`publish`](Self::publish), with layers and deltas that may be there from other updates.
    pub(crate) async fn publish_from(self, cache: &DeltaCache) -> Result<PublishReport> {
        let mut report = PublishReport::default();
        let mut has_pair = false;
        for target in &self.new.images {
            let old: Vec<_> =
                self.old.iter().filter_map(|images| images.counterpart(&target.platform)).collect();
            has_pair |= !old.is_empty();
            let found = if self.force { Discovery::default() } else { discover(self.to, target).await };
            found.warnings.iter().for_each(|warning| self.watch.warn_once(warning));
            let report = &mut report;
            let signatures = self.signatures_of(target).await?;
            let mut of_image = ImagePublisher {
                publisher: &self,
                target,
                cache,
                found,
                report,
                signatures,
                published: Vec::new(),
                is_merged: false,
                not_merged: Vec::new(),
            };
            of_image.publish(&self.without_target(old, target)).await?;
        }
        if !has_pair && !self.new.images.is_empty() && !self.old.is_empty() {
            return Err(no_shared_platform(&self.old, self.new));
        }
        Ok(report)
    }

    /// Leaves out old images that are the target itself, with a warning.
    fn without_target<'i>(&self, mut old: Vec<ImageIn<'i>>, target: &Image) -> Vec<ImageIn<'i>> {
        old.retain(|source| {
            let is_same = source.image.manifest.digest == target.manifest.digest;
            if is_same {
                self.watch.warn(&format!("{} is both old and new", target.manifest.digest));
            }
            !is_same
        });
        old
    }
}
