//! Pulls an image: layers that are here are not fetched, others as a delta if one saves bytes.
//!
//! A delta is never trusted and never needed. Whatever goes wrong with one costs a warning and another
//! delta or the layer's own blob, and each layer is compared with its diff_id, however it came.

mod budget;
mod exact;
mod fetcher;
mod rebuild;
mod report;
mod steps;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use layer::{DiffId, SpoolOptions};
use oci_spec::image::{Descriptor, MediaType};
use tokio::sync::OnceCell;

pub(crate) use exact::exact_sources;
use exact::{exact, other_blobs};
use fetcher::{BlobSources, Fetched, Fetcher};

use crate::chain::{Places, usable_deltas};
use crate::cost::Prefer;
use crate::discover::{Discovery, MAX_TIME, discover};
use crate::error::blocking;
use crate::image::{Image, ImageLayer};
use crate::oci::{Manifest, Name, descriptor, to_json};
use crate::repository::Repository;
use crate::scratch::ScratchDir;
use crate::store::{LayerStore, OciLayout, PullTarget, StoreRef};
use crate::watch::Watch;
use crate::{Error, Result};

pub(crate) use budget::{Budget, USUAL_LINE};
pub(crate) use rebuild::{Rebuilder, Rebuilt, Spent, apply};
pub use report::{Origin, PullReport, PulledLayer, PulledStep};

/// Annotation of a manifest that was rewritten because a layer was rebuilt from a delta: the digest
/// of the manifest that was pulled.
pub const ANNOTATION_ORIGINAL: &str = "registry-ext.original-manifest";

/// A pull of an image, with its options. [`into`](Self::into) does it.
#[derive(Debug, Clone)]
pub struct Puller<'p> {
    repository: &'p Repository,
    image: &'p Image,
    name: Option<Name>,
    reference: String,
    /// Layouts with old images: their layers are taken as they are, and read by deltas.
    layouts: Vec<OciLayout>,
    /// Other stores with old images.
    others: Vec<Arc<dyn LayerStore>>,
    deltas: bool,
    exact: bool,
    prefer: Prefer,
    line: Option<u64>,
    concurrency: usize,
    max_layer_size: u64,
    temp_dir: PathBuf,
    watch: Watch,
}

impl<'p> Puller<'p> {
    /// Prepares to pull `image` from `repository`: with deltas, four layers at one time.
    pub fn new(repository: &'p Repository, image: &'p Image) -> Self {
        Self {
            repository,
            image,
            name: None,
            reference: format!("{}@{}", repository.name(), image.manifest.digest),
            layouts: Vec::new(),
            others: Vec::new(),
            deltas: true,
            exact: false,
            prefer: Prefer::default(),
            line: None,
            concurrency: 4,
            max_layer_size: crate::delta::MAX_LAYER_SIZE,
            temp_dir: std::env::temp_dir(),
            watch: Watch::nothing(),
        }
    }

    /// Says by which name the image was asked for. A layout that names no tag takes the tag of it, and a tree
    /// notes it.
    #[must_use]
    pub fn named(mut self, reference: &crate::reference::ImageRef) -> Self {
        self.name = reference.name();
        self.reference = reference.to_string();
        self
    }

    /// Adds a store with old images, beside the one that takes the new image. Blocks while an archive is
    /// unpacked to the directory for temporary files.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`] if it cannot be opened.
    pub fn source(mut self, store: &StoreRef) -> Result<Self> {
        match store {
            StoreRef::Layout(dir, _) => self.layouts.push(OciLayout::open(dir)?),
            StoreRef::Archive(file, _) => self.layouts.push(OciLayout::unpack(file, &self.temp_dir)?),
            StoreRef::DockerArchive(file) => {
                self.layouts.push(OciLayout::unpack_docker(file, &self.temp_dir)?);
            }
            other => self.others.push(other.open(&self.temp_dir)?),
        }
        Ok(self)
    }

    /// Says whether deltas are used.
    #[must_use]
    pub const fn deltas(mut self, deltas: bool) -> Self {
        self.deltas = deltas;
        self
    }

    /// Says whether each layer is stored as the manifest has it: its blob is made again from what a delta
    /// rebuilt, or fetched. The manifest keeps its digest then. Only layouts and archives store blobs.
    #[must_use]
    pub const fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Sets the resource that is saved first. For time, the rate of the line has to be known.
    #[must_use]
    pub const fn prefer(mut self, prefer: Prefer) -> Self {
        self.prefer = prefer;
        self
    }

    /// Sets the rate at which the registry sends, in bytes a second. Without it, the rate is the one that the first
    /// layers are seen to have; a registry on this machine says nothing about a network.
    #[must_use]
    pub const fn line(mut self, rate: Option<u64>) -> Self {
        self.line = rate;
        self
    }

    /// Sets how many layers are pulled at one time; at least one is.
    #[must_use]
    pub const fn concurrency(mut self, layers: usize) -> Self {
        self.concurrency = layers;
        self
    }

    /// Sets the most bytes that one unpacked layer may have.
    #[must_use]
    pub const fn max_layer_size(mut self, bytes: u64) -> Self {
        self.max_layer_size = bytes;
        self
    }

    /// Sets the directory where old layers are unpacked to.
    #[must_use]
    pub fn temp_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.temp_dir = dir.into();
        self
    }

    /// Sets who is told of what goes on.
    #[must_use]
    pub fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// Pulls the image into a store. It appears there once all of it is there.
    ///
    /// # Errors
    /// Those of the repository and of the store; [`Error::DigestMismatch`] if a layer's own blob is
    /// not the layer of the config; [`Error::Reference`] for an exact pull into a store that keeps no blobs.
    pub async fn into(self, target: PullTarget) -> Result<PullReport> {
        if self.exact && !target.keeps_blobs() {
            let reason = "an exact pull is for oci: and oci-archive:, other stores keep no compressed layers";
            return Err(Error::Reference { text: self.reference, reason: reason.into() });
        }
        if target.has(self.image) {
            return Ok(PullReport::of_local(self.image));
        }
        let (image, max_layer_size, watch) = (self.image.clone(), self.max_layer_size, self.watch.clone());
        let (target, elsewhere) = blocking(move || {
            let layers = target.present_layers(&image, max_layer_size, &watch)?;
            Ok((target, layers))
        })
        .await?;
        let mut report = self.fetch(&target, elsewhere).await?;
        if target.notes_manifest() {
            report.stored_manifest = report.manifest;
        }
        target.finish(self.image, &self.reference, self.spool_options(), &self.watch).await?;
        Ok(report)
    }

    fn spool_options(&self) -> SpoolOptions {
        SpoolOptions::default().temp_dir(self.temp_dir.clone()).max_size(self.max_layer_size)
    }

    /// Fetches the layers that are neither in the layout of the target nor `elsewhere`, and tags the image there.
    async fn fetch(&self, target: &PullTarget, elsewhere: HashMap<DiffId, u64>) -> Result<PullReport> {
        let Self { repository, image, watch, .. } = self;
        let (layout, received) = (target.blobs(), repository.received());
        let mut local = self.take_local(layout).await?;
        let here = if self.exact { other_blobs(image, &mut local) } else { HashMap::new() };
        let mut seen = HashSet::new();
        let missing: Vec<&ImageLayer> = image
            .layers
            .iter()
            .filter(|layer| !local.contains_key(&layer.diff_id) && !elsewhere.contains_key(&layer.diff_id))
            .filter(|layer| seen.insert(layer.diff_id))
            .collect();
        let until = Instant::now() + MAX_TIME;
        let found = if self.deltas && !missing.is_empty() {
            discover(repository, image).await
        } else {
            Discovery::default()
        };
        found.warnings.iter().for_each(|warning| watch.warn(warning));
        let (stores, temp_dir) = (self.stores(target), &self.temp_dir);
        let mut usable = if found.candidates.is_empty() {
            BTreeMap::new()
        } else {
            let places = Places { repository, stores: &stores, temp_dir, watch };
            usable_deltas(&places, image, &missing, &found, until).await?
        };

        // In the layout's own directory, so that what is downloaded can be renamed to its place.
        let downloads = ScratchDir::new_in(layout.dir())?;
        let (dir, spool) = (downloads.path().to_owned(), self.spool_options());
        let rebuilder = Rebuilder { repository, dir, spool, watch };
        let fetcher =
            Fetcher { rebuilder, layout, prefer: self.prefer, pace: OnceCell::new(), line: self.line };
        let fetches = missing.iter().map(|layer| {
            let deltas = usable.remove(&layer.diff_id).unwrap_or_default();
            let sources = BlobSources { deltas, recipe: None, here: here.get(&layer.diff_id).cloned() };
            fetcher.layer(
                layer,
                if self.exact { exact(layer, sources, &found.blob_recipes, watch) } else { sources },
            )
        });
        let fetched: Vec<Fetched> =
            stream::iter(fetches).buffer_unordered(self.concurrency.max(1)).try_collect().await?;
        let fetched: HashMap<DiffId, Fetched> =
            fetched.into_iter().map(|layer| (layer.diff_id, layer)).collect();

        let mut blobs = Vec::new();
        for layer in &image.layers {
            let id = layer.diff_id;
            blobs.push(match (fetched.get(&id), local.get(&id), elsewhere.get(&id)) {
                (Some(fetched), ..) => fetched.blob.clone(),
                (_, Some(blob), _) => blob.clone(),
                (_, _, size) => tar_blob(id, size.copied().unwrap_or_default()),
            });
        }
        let stored = stored_manifest(image, &blobs);
        let stored_digest = stored.digest;
        self.store_image(layout, stored, target.tag(self.name.as_ref()), downloads).await?;

        let layers: Vec<PulledLayer> =
            image.layers.iter().map(|layer| PulledLayer::of(layer, fetched.get(&layer.diff_id))).collect();
        let of_layers: u64 = layers.iter().map(|layer| layer.fetched).sum();
        let documents = match repository {
            // Broken downloads count too, so this is what came over the network.
            Repository::Registry(_) => (repository.received() - received).saturating_sub(of_layers),
            Repository::Layout(_) => 0,
        };
        Ok(PullReport {
            manifest: image.manifest.digest,
            stored_manifest: stored_digest,
            config: image.config_digest,
            fetched: documents + of_layers,
            plain: missing.iter().map(|layer| layer.blob.size()).sum(),
            layers,
        })
    }

    /// Returns the layers that the layout has, after it was given those that the source layouts have.
    async fn take_local(&self, layout: &OciLayout) -> Result<HashMap<DiffId, Descriptor>> {
        let (layout, copies, image) = (layout.clone(), self.layouts.clone(), self.image.clone());
        blocking(move || {
            let mut local = layout.layers()?;
            for copy in copies {
                for (diff_id, blob) in copy.layers()? {
                    if image.layer(diff_id).is_some() && !local.contains_key(&diff_id) {
                        layout.copy_blob(&copy, &blob)?;
                        local.insert(diff_id, blob);
                    }
                }
            }
            Ok(local)
        })
        .await
    }

    /// Returns the stores that may have old images, in their order.
    fn stores(&self, target: &PullTarget) -> Vec<Arc<dyn LayerStore>> {
        let mut stores: Vec<Arc<dyn LayerStore>> = vec![Arc::new(target.blobs().clone())];
        stores.extend(self.layouts.iter().map(|layout| Arc::new(layout.clone()) as Arc<dyn LayerStore>));
        stores.extend(target.store());
        stores.extend(self.others.iter().cloned());
        stores
    }

    /// Puts the config and the manifest into the layout, whose blobs are there.
    async fn store_image(
        &self,
        layout: &OciLayout,
        manifest: Manifest,
        tag: Option<String>,
        downloads: ScratchDir,
    ) -> Result<()> {
        let (layout, config, digest) = (layout.clone(), self.image.config.clone(), self.image.config_digest);
        blocking(move || {
            if !layout.blob_path(digest).exists() {
                let path = downloads.path().join("config");
                std::fs::write(&path, &config).map_err(Error::io("write", &path))?;
                layout.put_blob(digest, &path)?;
            }
            layout.put_manifest(&manifest, tag.as_deref())
        })
        .await
    }
}

/// The blob of a layer that is stored as a plain tar.
fn tar_blob(diff_id: DiffId, size: u64) -> Descriptor {
    descriptor(MediaType::ImageLayer.as_ref(), diff_id.0, size)
}

/// The manifest as it was pulled, if its blobs are all here; otherwise one with the blobs that are,
/// and the same config: the image has the same id, and its layers the same diff_ids.
fn stored_manifest(image: &Image, blobs: &[Descriptor]) -> Manifest {
    let same = image.layers.iter().zip(blobs).all(|(layer, blob)| layer.blob.digest() == blob.digest());
    if same {
        return image.manifest.clone();
    }
    let mut manifest = image.parsed.clone();
    manifest.set_schema_version(2);
    manifest.set_media_type(Some(MediaType::ImageManifest));
    let mut config = manifest.config().clone();
    config.set_media_type(oci_type(config.media_type()));
    manifest.set_config(config);
    let plain =
        |blob: &Descriptor| Descriptor::new(oci_type(blob.media_type()), blob.size(), blob.digest().clone());
    manifest.set_layers(blobs.iter().map(plain).collect());
    let mut annotations = manifest.annotations().clone().unwrap_or_default();
    annotations.insert(ANNOTATION_ORIGINAL.into(), image.manifest.digest.to_string());
    manifest.set_annotations(Some(annotations));
    Manifest::new(to_json(&manifest), None)
}

/// A manifest mixes no types of docker and OCI.
fn oci_type(media_type: &MediaType) -> MediaType {
    match media_type.as_ref() {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => MediaType::ImageLayerGzip,
        "application/vnd.docker.image.rootfs.diff.tar" => MediaType::ImageLayer,
        "application/vnd.docker.container.image.v1+json" => MediaType::ImageConfig,
        _ => media_type.clone(),
    }
}
