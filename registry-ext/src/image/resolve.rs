//! Names of images, resolved: the index, the entry of the platform, the manifest, the config.
//!
//! An index holds more than images: artifacts, other indexes, entries of platforms that were not mirrored.
//! None of them stands in the way of an image beside it.

use std::path::Path;

use layer::{BlobDigest, DiffId, Digest};
use oci_spec::image::Descriptor;
use serde::Deserialize;

use super::platform::Platform;
use super::{Image, ImageLayer};
use crate::oci::{
    EMPTY_CONFIG, Manifest, Name, artifact_type_of, digest_of, is_index, parse_image_index, parse_json,
    parse_manifest, stated_type,
};
use crate::registry::MAX_MANIFEST_SIZE;
use crate::repository::Repository;
use crate::watch::Watch;
use crate::{Error, Result};

/// The most levels of indexes in indexes that are read.
const MAX_DEPTH: usize = 3;
/// Most indexes in indexes that are read, and most images without a platform that are looked into for one.
const MAX_LOOKS: usize = 32;

/// The fields of a config that this crate reads. Its other fields are passed on verbatim.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConfigFields {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Clone, Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

impl ConfigFields {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        parse_json(what, bytes)
    }

    pub(crate) fn diff_ids(&self) -> Result<Vec<DiffId>> {
        let parse =
            |text: &String| text.parse().map_err(|error| Error::malformed("diff_ids of a config", error));
        self.rootfs.iter().flat_map(|rootfs| rootfs.diff_ids.iter().flatten()).map(parse).collect()
    }

    fn platform(&self) -> Platform {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (os, architecture) = (text(&self.os), text(&self.architecture));
        Platform::new(&os, &architecture, self.variant.as_deref(), self.os_version.as_deref())
    }
}

/// Resolves a name to the images behind it: one, or one for each platform of an index. Entries that
/// are no images (attestations, deltas) are left out, and so are those that are not there or cannot be
/// read, with a warning. `temp_dir` is for the configs.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Malformed`] if the manifest, the index or all that it lists is broken;
/// those of the repository.
pub async fn resolve_all(
    repository: &Repository,
    name: Option<&Name>,
    temp_dir: &Path,
    watch: &Watch,
) -> Result<Vec<Image>> {
    let (what, top) = top(repository, name).await?;
    if !top.is_index() {
        return Ok(vec![Image::load(repository, top, temp_dir).await?]);
    }
    let (mut images, mut first_error) = (Vec::<Image>::new(), None);
    for entry in entries(repository, &what, &top).await? {
        match load_entry(repository, &entry, top.digest, temp_dir).await {
            Ok(Some(image)) if images.iter().all(|known| known.manifest.digest != image.manifest.digest) => {
                images.push(image);
            }
            Ok(_) => {}
            Err(error) if is_of_entry(&error) => {
                let of = Platform::of(&entry).map_or_else(String::new, |of| format!(" for {of}"));
                watch.warn(&format!("the image{of} in {what} is left out: {}", error.one_line()));
                first_error = first_error.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    match first_error {
        Some(error) if images.is_empty() => Err(error),
        _ => Ok(images),
    }
}

/// Resolves a name to the image for one platform: the one that is exactly for it, or else the best of those
/// that run on it. An image that is no index is taken as it is.
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
        return Image::load(repository, top, temp_dir).await;
    }
    let entries = entries(repository, &what, &top).await?;
    let mut fitting: Vec<_> = entries
        .iter()
        .filter_map(|entry| Platform::of(entry)?.fit(platform).map(|fit| (fit, entry)))
        .collect();
    // Of equals the first, as everywhere.
    fitting.sort_by_key(|(fit, _)| *fit);
    let silent = || entries.iter().filter(|entry| Platform::of(entry).is_none()).take(MAX_LOOKS);
    let is_alone = entries.len() == 1;
    let mut first_error = None;
    for (entry, is_known) in
        fitting.into_iter().map(|(_, entry)| (entry, true)).chain(silent().map(|entry| (entry, false)))
    {
        match load_entry(repository, entry, top.digest, temp_dir).await {
            Ok(Some(image)) if is_known || is_alone || image.platform.satisfies(platform) => {
                return Ok(image);
            }
            Ok(_) => {}
            Err(error) if is_of_entry(&error) => first_error = first_error.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let available: Vec<String> = entries.iter().filter_map(Platform::of).map(|of| of.to_string()).collect();
    let available = available.join(", ");
    Err(first_error.unwrap_or(Error::NoPlatform { what, wanted: platform.to_string(), available }))
}

/// Returns true if an error is about one entry of an index alone.
fn is_of_entry(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound { .. }
            | Error::Malformed { .. }
            | Error::TooLarge { .. }
            | Error::DigestMismatch { .. }
            | Error::SizeMismatch { .. }
    )
}

pub(crate) async fn top(repository: &Repository, name: Option<&Name>) -> Result<(String, Manifest)> {
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

/// The entries of an index that may be images, in order, those of the indexes in it included.
async fn entries(repository: &Repository, what: &str, top: &Manifest) -> Result<Vec<Descriptor>> {
    let mut waiting = Vec::new();
    let push = |index: &Manifest, depth: usize, waiting: &mut Vec<(Descriptor, usize)>| {
        let parsed = parse_image_index(what, &index.bytes)?;
        waiting.extend(parsed.manifests().iter().rev().cloned().map(|entry| (entry, depth)));
        Ok::<_, Error>(())
    };
    push(top, 1, &mut waiting)?;
    let (mut entries, mut looks) = (Vec::new(), 0);
    while let Some((entry, depth)) = waiting.pop() {
        if !may_be_image(&entry) {
            continue;
        }
        let kind = entry.media_type().as_ref();
        // Others may be indexes that are not called so.
        if !is_index(kind) && kind.contains("manifest") {
            entries.push(entry);
            continue;
        }
        looks += 1;
        if depth == MAX_DEPTH || looks > MAX_LOOKS {
            continue;
        }
        match repository.manifest_of(&entry).await {
            Ok(manifest) if !manifest.is_index() => entries.push(entry),
            // One that cannot be read holds nothing that can be pulled.
            Ok(index) => drop(push(&index, depth + 1, &mut waiting)),
            Err(error) if is_of_entry(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

/// Entries of an index that are no images say so by their artifactType, or by a platform that does
/// not exist (BuildKit's attestations).
fn may_be_image(entry: &Descriptor) -> bool {
    let is_unknown = Platform::of(entry).is_some_and(|platform| platform.os == "unknown");
    stated_type(entry.artifact_type().as_ref()).is_none() && !is_unknown
}

/// Loads an entry of an index; `None` if it is no image.
async fn load_entry(
    repository: &Repository,
    entry: &Descriptor,
    index: Digest,
    temp_dir: &Path,
) -> Result<Option<Image>> {
    let manifest = repository.manifest_of(entry).await?;
    // An index that its entry calls a manifest.
    if manifest.is_index() {
        return Ok(None);
    }
    let parsed = parse_manifest("an entry of an index", &manifest.bytes)?;
    if artifact_type_of(&parsed).is_some() || parsed.config().media_type().as_ref() == EMPTY_CONFIG {
        return Ok(None);
    }
    let image = Image::load(repository, manifest, temp_dir).await?;
    // What clients choose by.
    let platform = match Platform::of(entry) {
        Some(of) => Platform {
            variant: of.variant.clone().or_else(|| image.platform.variant.clone()),
            os_version: of.os_version.clone().or_else(|| image.platform.os_version.clone()),
            ..of
        },
        None => image.platform.clone(),
    };
    Ok(Some(Image { index: Some(index), platform, ..image }))
}

impl Image {
    /// Reads the image of a manifest, with its config.
    ///
    /// # Errors
    /// Those of the repository; [`Error::Malformed`].
    pub(crate) async fn load(repository: &Repository, manifest: Manifest, temp_dir: &Path) -> Result<Self> {
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
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            config_digest: digest_of(parsed.config())?,
            platform: fields.platform(),
            manifest,
            index: None,
            parsed,
            config,
        })
    }
}
