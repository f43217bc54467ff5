//! An image, resolved: its manifest, its config, and its layers under both their digests.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use layer::{BlobDigest, DiffId, Digest};
use oci_spec::image::{Descriptor, ImageManifest};
use serde::Deserialize;

use crate::artifact::{digest_of, parse_index, parse_json, parse_manifest};
use crate::registry::MAX_MANIFEST_SIZE;
use crate::repository::{Manifest, Name, Repository};
use crate::{Error, Result};

/// An image of one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its manifest, verbatim.
    pub manifest: Manifest,
    /// The index that it was chosen from.
    pub index: Option<Digest>,
    /// Its manifest, read.
    pub parsed: ImageManifest,
    /// Its config, verbatim.
    pub config: Vec<u8>,
    /// Digest of its config: the image's id.
    pub config_digest: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
    /// What it runs on.
    pub platform: Platform,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// The blob, as the manifest has it.
    pub blob: Descriptor,
    /// Digest of the blob.
    pub digest: BlobDigest,
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
}

impl ImageLayer {
    /// Whether the blob is the tar itself.
    pub fn is_plain_tar(&self) -> bool {
        self.digest.0 == self.diff_id.0
    }
}

impl Image {
    /// The layer with this diff_id.
    pub fn layer(&self, diff_id: DiffId) -> Option<&ImageLayer> {
        self.layers.iter().find(|layer| layer.diff_id == diff_id)
    }

    /// The layers that `old` lacks, each once.
    pub fn layers_not_in(&self, old: &Self) -> Vec<&ImageLayer> {
        let mut lacking: Vec<&ImageLayer> = Vec::new();
        for layer in self.layers.iter().filter(|layer| old.layer(layer.diff_id).is_none()) {
            if lacking.iter().all(|known| known.diff_id != layer.diff_id) {
                lacking.push(layer);
            }
        }
        lacking
    }

    /// Size of the blobs in bytes, config and manifest included: what a first pull costs.
    pub fn size(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(|layer| layer.blob.size()).sum();
        layers + (self.config.len() + self.manifest.bytes.len()) as u64
    }
}

/// Operating system, architecture and variant, as in `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// As Go names it.
    pub os: String,
    /// As Go names it.
    pub architecture: String,
    /// Of the architecture; `None` matches any.
    pub variant: Option<String>,
}

impl Platform {
    /// The platform that this program runs on.
    pub fn host() -> Self {
        // What Rust and Go call differently (Go, internal/syslist).
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "loongarch64" => "loong64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            other => other,
        };
        Self { os: std::env::consts::OS.into(), architecture: architecture.into(), variant: None }
    }

    /// Whether something for `self` is what somebody gets who asks for `wanted`.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let variants = wanted.variant.is_none() || self.variant.is_none() || self.variant == wanted.variant;
        self.os == wanted.os && self.architecture == wanted.architecture && variants
    }

    fn of(entry: &Descriptor) -> Option<Self> {
        let platform = entry.platform().as_ref()?;
        Some(Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone(),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(out, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => {
                let reason = "a platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT".into();
                return Err(Error::Reference { text: text.into(), reason });
            }
        };
        Ok(Self { os: os.into(), architecture: architecture.into(), variant })
    }
}

/// What we read of a config. Its other fields are passed on verbatim.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConfigFields {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    rootfs: RootFs,
}

#[derive(Debug, Clone, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

impl ConfigFields {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        parse_json(what, bytes)
    }

    pub(crate) fn diff_ids(&self) -> Result<Vec<DiffId>> {
        let parse =
            |text: &String| text.parse().map_err(|error| Error::malformed("diff_ids of a config", error));
        self.rootfs.diff_ids.iter().map(parse).collect()
    }
}

/// Resolves a name to the images behind it: one, or one for each platform of an index. Entries that
/// are no images (attestations, deltas) are left out. `temp_dir` is for the configs.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Malformed`] if a manifest or a config is broken; those of the
/// repository.
pub async fn resolve_all(
    repository: &Repository,
    name: Option<&Name>,
    temp_dir: &Path,
) -> Result<Vec<Image>> {
    let (what, top) = top(repository, name).await?;
    if !top.is_index() {
        return Ok(vec![load(repository, top, temp_dir).await?]);
    }
    let index = parse_index(&what, &top.bytes)?;
    let mut images = Vec::new();
    for entry in index.manifests().iter().filter(|entry| is_image(entry)) {
        let manifest = repository.manifest_of(entry).await?;
        let image = load(repository, manifest, temp_dir).await?;
        images.push(Image { index: Some(top.digest), ..image });
    }
    Ok(images)
}

/// Resolves a name to the image for one platform. An image that is no index is taken as it is.
///
/// # Errors
/// As [`resolve_all`]; [`Error::NoPlatform`].
pub async fn resolve(
    repository: &Repository,
    name: Option<&Name>,
    platform: &Platform,
    temp_dir: &Path,
) -> Result<Image> {
    let (what, top) = top(repository, name).await?;
    if !top.is_index() {
        return load(repository, top, temp_dir).await;
    }
    let index = parse_index(&what, &top.bytes)?;
    let entries: Vec<&Descriptor> = index.manifests().iter().filter(|entry| is_image(entry)).collect();
    let satisfies = |entry: &&&Descriptor| Platform::of(entry).is_some_and(|of| of.satisfies(platform));
    let only = || match entries.as_slice() {
        [entry] if entry.platform().is_none() => Some(entry),
        _ => None,
    };
    let Some(entry) = entries.iter().find(satisfies).or_else(only) else {
        let available: Vec<String> =
            entries.iter().filter_map(|entry| Platform::of(entry)).map(|of| of.to_string()).collect();
        let available = available.join(", ");
        return Err(Error::NoPlatform { what, wanted: platform.to_string(), available });
    };
    let manifest = repository.manifest_of(entry).await?;
    let image = load(repository, manifest, temp_dir).await?;
    Ok(Image { index: Some(top.digest), ..image })
}

async fn top(repository: &Repository, name: Option<&Name>) -> Result<(String, Manifest)> {
    let name = match (name, repository) {
        (Some(name), _) => name.clone(),
        (None, Repository::Layout(layout)) => layout.only_image()?,
        (None, Repository::Registry(_)) => Name::Tag("latest".into()),
    };
    let what = match &name {
        Name::Tag(tag) => format!("{}:{tag}", repository.name()),
        Name::Digest(digest) => format!("{}@{digest}", repository.name()),
    };
    let found = repository.manifest(&name).await?;
    found.map(|manifest| (what.clone(), manifest)).ok_or(Error::NotFound { what })
}

/// Entries of an index that are no images say so by their artifactType, or by a platform that does
/// not exist (BuildKit's attestations).
fn is_image(entry: &Descriptor) -> bool {
    let is_unknown = Platform::of(entry).is_some_and(|platform| platform.os == "unknown");
    entry.artifact_type().is_none() && !is_unknown
}

async fn load(repository: &Repository, manifest: Manifest, temp_dir: &Path) -> Result<Image> {
    let what = format!("{}@{}", repository.name(), manifest.digest);
    let parsed = parse_manifest(&what, &manifest.bytes)?;
    let config = repository.small_blob(parsed.config(), MAX_MANIFEST_SIZE, temp_dir).await?;
    let fields = ConfigFields::parse(&format!("config of {what}"), &config)?;
    let diff_ids = fields.diff_ids()?;
    if diff_ids.len() != parsed.layers().len() {
        let reason =
            format!("the config lists {} layers, the manifest {}", diff_ids.len(), parsed.layers().len());
        return Err(Error::malformed(what, reason));
    }
    let layers = parsed.layers().iter().zip(diff_ids).map(|(blob, diff_id)| {
        Ok(ImageLayer { blob: blob.clone(), digest: BlobDigest(digest_of(blob)?), diff_id })
    });
    Ok(Image {
        layers: layers.collect::<Result<_>>()?,
        config_digest: digest_of(parsed.config())?,
        platform: Platform { os: fields.os, architecture: fields.architecture, variant: fields.variant },
        manifest,
        index: None,
        parsed,
        config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_match_by_what_is_said() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
        assert!(!platform("linux/arm/v6").satisfies(&platform("linux/arm/v7")));
        assert!(!platform("linux/amd64").satisfies(&platform("linux/arm64")));
        assert_eq!(platform("linux/arm/v7").to_string(), "linux/arm/v7");
        assert!("linux".parse::<Platform>().is_err());
    }
}
