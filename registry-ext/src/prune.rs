//! Removes deltas whose source nobody runs any more.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use layer::{DiffId, Digest};
use oci_spec::image::{Descriptor, MediaType};
use serde::Serialize;

use crate::artifact::blob_recipes::is_blob_recipes;
use crate::artifact::delta_index::{self, LayerDelta};
use crate::artifact::oci_delta::{Kind, OciDelta};
use crate::artifact::{DELTA_INDEX_TAG, deltas_tag};
use crate::image::Image;
use crate::oci::{Manifest, Name, artifact_type_of, digest_of, parse_index, parse_manifest, stated_type};
use crate::repository::Repository;
use crate::source_tags::is_of_image;
use crate::{Error, Result, shared_index};

/// Most artifacts of one image that are read: four times as many as pulls read.
const MAX_ARTIFACTS: usize = 1024;
/// Most bytes of the manifests of all of them, and of the images that are looked for.
const MAX_READ: u64 = 256 << 20;

/// A delta that `_deltaindex` lists no more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PrunedDelta {
    /// The diff_id of the layer that it reads.
    pub from: DiffId,
    /// The diff_id of the layer that it makes.
    pub to: DiffId,
}

/// The deltas and artifacts that were removed, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PruneReport {
    /// Digests of the artifacts.
    pub artifacts: Vec<Digest>,
    /// Digests of the artifacts with recipes of blobs: they go with the last delta.
    pub recipe_artifacts: Vec<Digest>,
    /// Deltas taken out of `_deltaindex`.
    pub deltas: Vec<PrunedDelta>,
    /// Tags that are gone.
    pub tags: Vec<String>,
    /// Deltas and artifacts that stay.
    pub kept: usize,
    /// Bytes of the deltas that stay, each blob counted once.
    pub kept_bytes: u64,
    /// Bytes of the deltas that are listed no more, without those that something else lists that stays.
    pub freed_bytes: u64,
    /// Artifacts that refer to the image and were not read, as there are too many: they stay.
    pub unread: usize,
    /// True if the registry deleted the manifests. If not, nothing lists them any more, and the
    /// registry's own garbage collection has to find them.
    pub deleted: bool,
}

impl PruneReport {
    /// Tells whether something was removed, or would be.
    pub fn removes(&self) -> bool {
        !(self.artifacts.is_empty()
            && self.recipe_artifacts.is_empty()
            && self.deltas.is_empty()
            && self.tags.is_empty())
    }
}

/// The images of a repository that may have deltas: those in `_deltaindex`, those with a tag that stands in
/// for a list of referrers, and all that have a tag of their own. A registry that keeps the lists itself does
/// not say for which images it has one: there, images that lost their tag cannot be enumerated.
///
/// # Errors
/// Those of the repository; [`Error::TooLarge`] where the manifests of the tags have over 256 MiB.
pub async fn targets(repository: &Repository) -> Result<Vec<Digest>> {
    let mut targets = BTreeSet::new();
    if let Some(index) = repository.manifest(&Name::Tag(DELTA_INDEX_TAG.into())).await? {
        let index = parse_index(DELTA_INDEX_TAG, &index.bytes)?;
        targets.extend(delta_index::targets(&index).into_iter().map(|(target, _)| target));
    }
    let hex = |tag: &String| tag.strip_prefix("sha256-").map(|hex| format!("sha256:{hex}"));
    let tags = repository.tags().await?;
    targets.extend(tags.iter().filter_map(hex).filter_map(|digest| digest.parse::<Digest>().ok()));
    let mut size = 0;
    for tag in tags.iter().filter(|tag| is_of_image(tag)) {
        // It may be gone by now.
        let Some(manifest) = repository.manifest(&Name::Tag(tag.clone())).await? else { continue };
        size += manifest.bytes.len() as u64;
        if size > MAX_READ {
            let what = "all that the tags of the repository name, which prune --all reads (give it the images to \
                        prune instead)";
            return Err(Error::TooLarge { what: what.into(), size, max: MAX_READ });
        }
        targets.insert(manifest.digest);
        if manifest.is_index() {
            let index = parse_index(tag, &manifest.bytes)?;
            targets.extend(index.manifests().iter().filter_map(|entry| digest_of(entry).ok()));
        }
    }
    Ok(targets.into_iter().collect())
}

/// The removal of deltas from a repository, with its options. [`prune`](Self::prune) does it.
#[derive(Debug, Clone)]
pub struct Pruner<'p> {
    repository: &'p Repository,
    keep: Keep,
    dry_run: bool,
}

/// The images that may still be installed somewhere.
#[derive(Debug, Clone, Default)]
struct Keep {
    configs: HashSet<Digest>,
    layers: HashSet<DiffId>,
}

impl<'p> Pruner<'p> {
    /// Prepares to remove deltas from `repository`: all of them, unless images are [kept](Self::keep).
    pub fn new(repository: &'p Repository) -> Self {
        Self { repository, keep: Keep::default(), dry_run: false }
    }

    /// Adds an image that may still be installed somewhere: deltas from it stay.
    #[must_use]
    pub fn keep(mut self, image: &Image) -> Self {
        self.keep.configs.insert(image.config_digest);
        self.keep.layers.extend(image.layers.iter().map(|layer| layer.diff_id));
        self
    }

    /// Says whether nothing is changed, and only the report is made.
    #[must_use]
    pub const fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Removes the deltas to `target` (the digest of an image's manifest) that are not from an image that is
    /// kept. If the target itself is gone from the repository, all of them.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn prune(&self, target: Digest) -> Result<PruneReport> {
        let repository = self.repository;
        let is_gone = repository.manifest(&Name::Digest(target)).await?.is_none();
        let nothing = Keep::default();
        let keep = if is_gone { &nothing } else { &self.keep };
        let report = PruneReport { deleted: true, ..PruneReport::default() };
        let mut of_target = TargetPruner {
            repository,
            target,
            keep,
            dry_run: self.dry_run,
            report,
            kept: HashMap::new(),
            gone: HashMap::new(),
        };
        let recipes = of_target.prune_artifacts().await?;
        of_target.prune_index().await?;
        of_target.prune_tag().await?;
        of_target.prune_recipes(recipes).await?;
        of_target.weigh();
        Ok(of_target.report)
    }
}

/// The removal of the deltas to one image, a place after the other.
struct TargetPruner<'p> {
    repository: &'p Repository,
    target: Digest,
    keep: &'p Keep,
    dry_run: bool,
    report: PruneReport,
    /// The sizes of the blobs of deltas that stay, by their digests.
    kept: HashMap<String, u64>,
    /// The same of those that go.
    gone: HashMap<String, u64>,
}

impl TargetPruner<'_> {
    /// Sums up the bytes of deltas.
    fn weigh(&mut self) {
        self.report.kept_bytes = self.kept.values().sum();
        let gone = self.gone.iter().filter(|(digest, _)| !self.kept.contains_key(*digest));
        self.report.freed_bytes = gone.map(|(_, size)| size).sum();
    }

    /// Removes artifacts with deltas. Returns those with recipes.
    async fn prune_artifacts(&mut self) -> Result<Vec<Digest>> {
        let mut entries = self.repository.referrers(self.target).await?;
        let mut seen = HashSet::new();
        entries.retain(|entry| {
            let stated = stated_type(entry.artifact_type().as_ref());
            (stated.is_none() || is_ours(stated)) && seen.insert(entry.digest().clone())
        });
        // Those that say that they are ours come first, so that junk hides none of them.
        entries.sort_by_key(|entry| Reverse(is_ours(entry.artifact_type().as_ref())));
        let (mut recipes, mut size, count) = (Vec::new(), 0, entries.len());
        for (index, entry) in entries.iter().enumerate() {
            if index >= MAX_ARTIFACTS || size > MAX_READ {
                self.report.unread = count - index;
                break;
            }
            let (read, kind) = kind_of(self.repository, entry).await?;
            size += read;
            match kind {
                Some(Referrer::Recipes) => recipes.push(digest_of(entry)?),
                Some(Referrer::Deltas { from, blobs }) if self.keep.configs.contains(&from) => {
                    self.report.kept += 1;
                    self.kept.extend(blobs);
                }
                Some(Referrer::Deltas { blobs, .. }) => {
                    self.report.artifacts.push(digest_of(entry)?);
                    self.gone.extend(blobs);
                }
                None => {}
            }
        }
        if !self.dry_run {
            self.report.deleted &=
                remove_artifacts(self.repository, self.target, &self.report.artifacts).await?;
        }
        Ok(recipes)
    }

    /// Removes the artifacts with recipes if no delta is left: without a delta nobody makes a blob.
    async fn prune_recipes(&mut self, recipes: Vec<Digest>) -> Result<()> {
        if self.report.kept + self.report.unread > 0 {
            return Ok(());
        }
        if !self.dry_run {
            self.report.deleted &= remove_artifacts(self.repository, self.target, &recipes).await?;
        }
        self.report.recipe_artifacts = recipes;
        Ok(())
    }

    /// Takes deltas out of `_deltaindex`.
    async fn prune_index(&mut self) -> Result<()> {
        let (repository, target, dry_run) = (self.repository, self.target, self.dry_run);
        let (mut unlisted, mut pruned, mut kept_count) = (BTreeSet::new(), BTreeSet::new(), 0);
        let (mut kept_blobs, mut gone_blobs) = (HashMap::new(), HashMap::new());
        shared_index::update(repository, DELTA_INDEX_TAG, async |current| {
            let mut deltas = Vec::new();
            let entries = delta_index::entries_for(current, target);
            for entry in &entries {
                let manifest = repository.manifest(&Name::Digest(digest_of(entry)?)).await?;
                let Some(manifest) = manifest else { continue };
                deltas.extend(delta_index::deltas_of(&parse_manifest("delta manifest", &manifest.bytes)?));
            }
            let (kept, gone) = self.split(deltas);
            pruned.extend(gone.iter().map(|delta| PrunedDelta { from: delta.from, to: delta.to }));
            kept_count = kept.len();
            let blob = |delta: &LayerDelta| (delta.blob.digest().to_string(), delta.blob.size());
            kept_blobs.extend(kept.iter().map(blob));
            gone_blobs.extend(gone.iter().map(blob));
            // An entry without any delta is of no use to anybody.
            if dry_run || (gone.is_empty() && (entries.is_empty() || !kept.is_empty())) {
                return Ok(None);
            }
            for entry in &entries {
                unlisted.insert(digest_of(entry)?);
            }
            if kept.is_empty() {
                return Ok(Some(delta_index::with_entry(current, target, None)));
            }
            let manifest = Manifest::new(delta_index::build(target, &kept), None);
            unlisted.remove(&manifest.digest);
            repository.put_manifest(&manifest, None).await?;
            Ok(Some(delta_index::with_entry(current, target, Some(&manifest.bytes))))
        })
        .await?;
        for manifest in unlisted {
            self.report.deleted &= repository.delete_manifest(manifest).await?;
        }
        self.report.deltas.extend(pruned);
        self.report.kept += kept_count;
        self.kept.extend(kept_blobs);
        self.gone.extend(gone_blobs);
        Ok(())
    }

    /// The tag of the older draft goes once none of its deltas is wanted.
    async fn prune_tag(&mut self) -> Result<()> {
        let tag = deltas_tag(self.target);
        let Some(manifest) = self.repository.manifest(&Name::Tag(tag.clone())).await? else { return Ok(()) };
        let deltas = match parse_manifest(&tag, &manifest.bytes) {
            Ok(parsed) => delta_index::deltas_of(&parsed),
            Err(_) => return Ok(()),
        };
        if !self.split(deltas).0.is_empty() {
            return Ok(());
        }
        self.report.tags.push(tag.clone());
        if !self.dry_run {
            self.report.deleted &= self.repository.delete_tagged(&tag, manifest.digest).await?;
        }
        Ok(())
    }

    /// Splits deltas into those that stay and those that go.
    fn split(&self, deltas: Vec<LayerDelta>) -> (Vec<LayerDelta>, Vec<LayerDelta>) {
        deltas.into_iter().partition(|delta| self.keep.layers.contains(&delta.from))
    }
}

fn is_ours(artifact_type: Option<&MediaType>) -> bool {
    Kind::of(artifact_type).is_some() || is_blob_recipes(artifact_type)
}

/// An artifact that refers to an image.
enum Referrer {
    /// Deltas from the image with this config, and the sizes of their blobs.
    Deltas {
        from: Digest,
        blobs: Vec<(String, u64)>,
    },
    Recipes,
}

/// Returns the bytes that were read of an artifact, and what it is; `None` if it is none of ours.
async fn kind_of(repository: &Repository, entry: &Descriptor) -> Result<(u64, Option<Referrer>)> {
    let stated = stated_type(entry.artifact_type().as_ref());
    if is_blob_recipes(stated) {
        return Ok((0, Some(Referrer::Recipes)));
    }
    if (stated.is_some() && Kind::of(stated).is_none()) || digest_of(entry).is_err() {
        return Ok((0, None));
    }
    // A list may name what is gone.
    let Some(manifest) = repository.manifest(&Name::Digest(digest_of(entry)?)).await? else {
        return Ok((0, None));
    };
    let size = manifest.bytes.len() as u64;
    let Ok(parsed) = parse_manifest("referrer", &manifest.bytes) else { return Ok((size, None)) };
    if is_blob_recipes(artifact_type_of(&parsed)) {
        return Ok((size, Some(Referrer::Recipes)));
    }
    let deltas = OciDelta::parse(&parsed).ok().map(|artifact| {
        let deltas = artifact.layers.iter().filter(|layer| layer.is_delta());
        let blobs = deltas.map(|layer| (layer.blob.digest().to_string(), layer.blob.size())).collect();
        Referrer::Deltas { from: artifact.source_config, blobs }
    });
    Ok((size, deltas))
}

/// Removes artifacts that refer to `target`, from the tag that stands in for a list of referrers
/// first. Gives false if the registry does not delete.
///
/// # Errors
/// Those of the repository.
pub(crate) async fn remove_artifacts(
    repository: &Repository,
    target: Digest,
    gone: &[Digest],
) -> Result<bool> {
    if gone.is_empty() {
        return Ok(true);
    }
    shared_index::remove_referrers(repository, target, gone).await?;
    let mut deleted = true;
    for artifact in gone {
        deleted &= repository.delete_manifest(*artifact).await?;
    }
    Ok(deleted)
}
