//! Pulls an image: layers that are here are not fetched, others as a delta if one saves bytes.
//!
//! A delta is never trusted and never needed. Whatever goes wrong with one costs a warning and another
//! delta or the layer's own blob, and each layer is compared with its diff_id, however it came.

mod budget;
mod exact;
mod fetcher;

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use layer::DiffId;
use oci_spec::image::{Descriptor, MediaType};
use serde::Serialize;

use exact::{exact, other_blobs};
use fetcher::{BlobSources, Fetched, Fetcher};

use crate::discover::{Candidate, Discovery, Published, choose, discover};
use crate::image::{Image, ImageLayer};
use crate::oci::{Manifest, descriptor, digest_of, to_json};
use crate::repository::Repository;
use crate::scratch::ScratchDir;
use crate::store::{Base, LayerStore, OciLayout};
use crate::watch::Watch;
use crate::{Error, Result};

/// Annotation of a manifest that was rewritten because a layer was rebuilt from a delta: the digest
/// of the manifest that was pulled.
pub const ANNOTATION_ORIGINAL: &str = "registry-ext.original-manifest";

/// How an image is pulled.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Whether deltas are used.
    pub deltas: bool,
    /// Whether each layer is stored as the manifest has it: its blob is made again of what a delta
    /// rebuilt, or fetched. The manifest keeps its digest then, and no layer may be elsewhere.
    pub exact: bool,
    /// Layers at one time.
    pub concurrency: usize,
    /// Most bytes of one unpacked layer.
    pub max_layer_size: u64,
    /// Where old layers are unpacked to.
    pub temp_dir: std::path::PathBuf,
}

impl Default for PullOptions {
    fn default() -> Self {
        let max_layer_size = crate::delta::MAX_LAYER_SIZE;
        Self { deltas: true, exact: false, concurrency: 4, max_layer_size, temp_dir: std::env::temp_dir() }
    }
}

/// Where an image is pulled to.
#[derive(Debug)]
pub struct Destination<'d> {
    /// The layout that takes it.
    pub layout: &'d OciLayout,
    /// Its tag there.
    pub tag: Option<&'d str>,
    /// Layers that need not be in the layout, with the sizes of their tars in bytes: the store that
    /// gets the image from the layout has them.
    pub elsewhere: HashMap<DiffId, u64>,
}

/// What was pulled.
#[derive(Debug, Clone, Serialize)]
pub struct PullReport {
    /// Digest of the manifest that was asked for.
    pub manifest: String,
    /// Digest of the manifest in the layout: another one if a layer was rebuilt from a delta. A tree
    /// keeps the one that was asked for.
    pub stored_manifest: String,
    /// Digest of the config: the image's id, the same in both.
    pub config: String,
    /// Bytes fetched for layers and deltas, and to find them.
    pub fetched: u64,
    /// Bytes that a pull without deltas would have fetched.
    pub plain: u64,
    /// The layers, lowest first.
    pub layers: Vec<PulledLayer>,
}

impl PullReport {
    /// What is to say if the image was there.
    pub fn of_local(image: &Image) -> Self {
        let manifest = image.manifest.digest.to_string();
        Self {
            stored_manifest: manifest.clone(),
            manifest,
            config: image.config_digest.to_string(),
            fetched: 0,
            plain: 0,
            layers: image.layers.iter().map(|layer| report(layer, None)).collect(),
        }
    }
}

/// How a layer came.
#[derive(Debug, Clone, Serialize)]
pub struct PulledLayer {
    /// The layer.
    pub diff_id: String,
    /// Where it came from.
    pub from: Origin,
    /// Bytes fetched for it; with deltas that failed, those of the deltas too.
    pub fetched: u64,
    /// Size of its blob in bytes.
    pub blob_size: u64,
    /// Why it was not rebuilt from the smallest delta, and from others that were tried.
    pub delta_failed: Option<String>,
}

/// Where a layer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// It was here.
    Local,
    /// It was rebuilt from a delta.
    Delta(Published),
    /// It was fetched.
    Blob,
}

/// Pulls `image` from a repository. Deltas read the files in `sources`, and layers are taken from
/// `copies` where one has them.
///
/// The image appears in the layout once all of it is there.
///
/// # Errors
/// Those of the repository and of the layout; [`Error::DigestMismatch`] if a layer's own blob is
/// not the layer of the config.
pub async fn pull(
    repository: &Repository,
    image: &Image,
    to: Destination<'_>,
    (sources, copies): (&[&dyn LayerStore], &[&OciLayout]),
    options: &PullOptions,
    watch: &Watch,
) -> Result<PullReport> {
    let received = repository.received();
    let mut local = to.layout.layers()?;
    for copy in copies {
        for (diff_id, blob) in copy.layers()? {
            if image.layer(diff_id).is_some() && !local.contains_key(&diff_id) {
                to.layout.put_blob(digest_of(&blob)?, &copy.checked_blob(&blob)?)?;
                local.insert(diff_id, blob);
            }
        }
    }
    let here = match options.exact {
        true => other_blobs(image, &mut local),
        false => HashMap::new(),
    };
    let mut seen = HashSet::new();
    let missing: Vec<&ImageLayer> = image
        .layers
        .iter()
        .filter(|layer| !local.contains_key(&layer.diff_id) && !to.elsewhere.contains_key(&layer.diff_id))
        .filter(|layer| seen.insert(layer.diff_id))
        .collect();
    let found = match (options.deltas, missing.as_slice()) {
        (false, _) | (_, []) => Discovery::default(),
        _ => discover(repository, image).await,
    };
    found.warnings.iter().for_each(|warning| watch.warn(warning));
    let bases = bases(&found.candidates, sources, watch);
    let chosen = choose(&missing, &found.candidates, |base| bases.contains_key(&base));

    // In the layout's own directory, so that what is downloaded can be renamed to its place.
    let downloads = ScratchDir::new_in(to.layout.dir())?;
    let fetcher = Fetcher { repository, layout: to.layout, downloads: downloads.path(), options, watch };
    let fetches = missing.iter().map(|layer| {
        let deltas = chosen.get(&layer.diff_id).into_iter().flatten();
        let deltas = deltas.map(|delta| (*delta, sources[bases[&delta.base]])).collect();
        let ways = BlobSources { deltas, recipe: None, here: here.get(&layer.diff_id).cloned() };
        fetcher.layer(
            layer,
            match options.exact {
                true => exact(layer, ways, &found.blob_recipes, watch),
                false => ways,
            },
        )
    });
    let fetched: Vec<Fetched> =
        stream::iter(fetches).buffer_unordered(options.concurrency.max(1)).try_collect().await?;
    let fetched: HashMap<DiffId, Fetched> = fetched.into_iter().map(|layer| (layer.diff_id, layer)).collect();

    let mut blobs = Vec::new();
    for layer in &image.layers {
        let id = layer.diff_id;
        blobs.push(match (fetched.get(&id), local.get(&id), to.elsewhere.get(&id)) {
            (Some(fetched), ..) => fetched.blob.clone(),
            (_, Some(blob), _) => blob.clone(),
            (_, _, size) => tar_blob(id, size.copied().unwrap_or_default()),
        });
    }
    let stored = stored_manifest(image, &blobs);
    let config = to.layout.blob_path(image.config_digest);
    if !config.exists() {
        let path = downloads.path().join("config");
        std::fs::write(&path, &image.config).map_err(Error::io("write", &path))?;
        to.layout.put_blob(image.config_digest, &path)?;
    }
    to.layout.put_manifest(&stored, to.tag)?;

    let layers: Vec<PulledLayer> =
        image.layers.iter().map(|layer| report(layer, fetched.get(&layer.diff_id))).collect();
    let documents = match repository {
        Repository::Registry(_) => {
            let blobs: u64 = layers.iter().map(|layer| layer.fetched).sum();
            // Broken downloads count too, so this is what came over the network.
            (repository.received() - received).saturating_sub(blobs)
        }
        Repository::Layout(_) => 0,
    };
    Ok(PullReport {
        manifest: image.manifest.digest.to_string(),
        stored_manifest: stored.digest.to_string(),
        config: image.config_digest.to_string(),
        fetched: documents + layers.iter().map(|layer| layer.fetched).sum::<u64>(),
        plain: missing.iter().map(|layer| layer.blob.size()).sum(),
        layers,
    })
}

fn report(layer: &ImageLayer, fetched: Option<&Fetched>) -> PulledLayer {
    PulledLayer {
        diff_id: layer.diff_id.to_string(),
        from: fetched.map_or(Origin::Local, |fetched| fetched.origin),
        fetched: fetched.map_or(0, |fetched| fetched.size),
        blob_size: layer.blob.size(),
        delta_failed: fetched.and_then(|fetched| fetched.delta_failed.clone()),
    }
}

/// The first source for each base of a candidate. A source that cannot be read has none.
fn bases(candidates: &[Candidate], sources: &[&dyn LayerStore], watch: &Watch) -> BTreeMap<Base, usize> {
    let mut bases = BTreeMap::new();
    for candidate in candidates {
        for (index, source) in sources.iter().enumerate() {
            if bases.contains_key(&candidate.base) {
                break;
            }
            match source.has(candidate.base) {
                Ok(true) => drop(bases.insert(candidate.base, index)),
                Ok(false) => {}
                Err(error) => watch.warn(&format!("{source} is not used: {}", error.one_line())),
            }
        }
    }
    bases
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
