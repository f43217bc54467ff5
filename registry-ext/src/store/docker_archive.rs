//! A tar of images as `docker save` writes it, as `docker-archive:` names it in other tools.
//!
//! It has the configs and the layers of its images, and no manifests: these are made here, so that the images can be
//! read as those of an OCI image layout. Their digests are not those that the images have in a registry.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use layer::{Compression, Digest, DigestWriter, Entry, EntryKind, Spool, SpoolOptions, clean_path, entries};
use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};
use serde::Deserialize;

use super::OciLayout;
use super::oci_layout::ANNOTATION_REF_NAME;
use crate::delta::MAX_LAYER_SIZE;
use crate::oci::{Manifest, annotated, descriptor, parse_json, to_json};
use crate::registry::MAX_MANIFEST_SIZE;
use crate::scratch::ScratchDir;
use crate::{Error, Result};

/// The most layers that the images of an archive may list. An image of docker has at most 127.
const MAX_LISTED_LAYERS: usize = 1 << 14;
/// Bytes that are copied at once.
const STEP: usize = 1 << 20;

/// An image in `manifest.json`: paths in the archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl OciLayout {
    /// Unpacks an archive of `docker save`, of any compression, below `temp_dir`. The files go away with the last
    /// clone of the layout. Its images have the names that the archive gives them, whole: `app` is
    /// `docker.io/library/app:latest`.
    ///
    /// # Errors
    /// [`Error::Layer`] if it is no tar, [`Error::Reference`] if it is another one, [`Error::Malformed`] if it is
    /// broken, [`Error::TooLarge`], [`Error::Io`].
    pub fn unpack_docker(archive: &Path, temp_dir: &Path) -> Result<Self> {
        let options = SpoolOptions::default().temp_dir(temp_dir.to_owned()).max_size(MAX_LAYER_SIZE);
        let spool = Spool::open(archive, &options)?;
        let dir = ScratchDir::new_in(temp_dir)?;
        let name = format!("docker-archive:{}", archive.display());
        let saved = SavedFiles::of(&name, &spool)?;
        let layout = Self::create(dir.path())?;
        let mut unpacked = Unpacked { saved: &saved, layout: &layout, blobs: HashMap::new() };
        let (mut named, mut unnamed) = (BTreeMap::new(), Vec::new());
        for image in saved.images()? {
            let manifest = Manifest::new(to_json(&unpacked.image(&image)?), None);
            layout.write_file(&layout.blob_path(manifest.digest), &manifest.bytes)?;
            let names: Vec<_> = image.repo_tags.iter().flatten().filter_map(|tag| full_name(tag)).collect();
            if names.is_empty() {
                unnamed.push(manifest.descriptor());
            }
            let entry = |name: String| {
                (name.clone(), annotated(manifest.descriptor(), [(ANNOTATION_REF_NAME, name)]))
            };
            named.extend(names.into_iter().map(entry));
        }
        layout.change_index(|entries| entries.extend(named.into_values().chain(unnamed)))?;
        Self::unpacked(dir, name)
    }
}

/// Returns the name of an image with its registry and its tag, as docker means it: `app` is
/// `docker.io/library/app:latest`. `None` if it is no name.
pub(crate) fn full_name(name: &str) -> Option<String> {
    name.parse::<Reference>().ok().map(|reference| reference.whole())
}

/// The files of an archive.
struct SavedFiles<'s> {
    name: &'s str,
    spool: &'s Spool,
    entries: HashMap<Vec<u8>, Entry>,
}

impl<'s> SavedFiles<'s> {
    fn of(name: &'s str, spool: &'s Spool) -> Result<Self> {
        // Of two entries with one name, the later one is what is unpacked.
        let entries = entries(spool)?.into_iter().filter_map(|entry| Some((clean_path(&entry.path)?, entry)));
        Ok(Self { name, spool, entries: entries.collect() })
    }

    fn images(&self) -> Result<Vec<SavedImage>> {
        let Some(entry) = self.entries.get(b"manifest.json".as_slice()) else {
            let is_layout = self.entries.contains_key(b"oci-layout".as_slice());
            let reason = match is_layout {
                true => "it has no manifest.json, but an OCI layout: write oci-archive:FILE",
                false => "it has no manifest.json, so `docker save` did not write it",
            };
            return Err(Error::Reference { text: self.name.into(), reason: reason.into() });
        };
        let (what, size) = (format!("manifest.json of {}", self.name), entry.data.end - entry.data.start);
        if size > MAX_MANIFEST_SIZE {
            return Err(Error::TooLarge { what, size, max: MAX_MANIFEST_SIZE });
        }
        let images: Vec<SavedImage> = parse_json(&what, &self.spool.read_range(entry.data.clone())?)?;
        let listed: usize = images.iter().flat_map(|image| &image.layers).map(Vec::len).sum();
        if listed > MAX_LISTED_LAYERS {
            return Err(Error::malformed(
                what,
                format!("it lists {listed} layers, over {MAX_LISTED_LAYERS}"),
            ));
        }
        Ok(images)
    }

    /// Returns the file at a path: docker writes a layer that it has written already as a symlink to it.
    fn file(&self, path: &str) -> Result<&Entry> {
        let missing = || Error::NotFound { what: format!("{path} in {}", self.name) };
        let clean = clean_path(path.as_bytes()).ok_or_else(missing)?;
        let entry = self.entries.get(&clean).ok_or_else(missing)?;
        let entry = match &entry.kind {
            EntryKind::Symlink(link) => {
                let dir_end = clean.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
                let path = joined(&clean[..dir_end], link).ok_or_else(missing)?;
                self.entries.get(&path).ok_or_else(missing)?
            }
            _ => entry,
        };
        if entry.kind == EntryKind::File { Ok(entry) } else { Err(missing()) }
    }
}

/// Returns the path to which a symlink in a directory leads; `None` if that is outside.
fn joined(dir: &[u8], link: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in dir.split(|&byte| byte == b'/').chain(link.split(|&byte| byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// The blobs of a layout that come from an archive, by the offsets of their bytes in it.
struct Unpacked<'u> {
    saved: &'u SavedFiles<'u>,
    layout: &'u OciLayout,
    blobs: HashMap<u64, (Digest, u64)>,
}

impl Unpacked<'_> {
    fn image(&mut self, image: &SavedImage) -> Result<ImageManifest> {
        let config = self.blob(self.saved.file(&image.config)?)?;
        let mut layers: Vec<Descriptor> = Vec::new();
        for path in image.layers.iter().flatten() {
            let entry = self.saved.file(path)?;
            let end = entry.data.end.min(entry.data.start + Compression::MAGIC_SIZE as u64);
            let media_type = match Compression::detect(&self.saved.spool.read_range(entry.data.start..end)?) {
                Compression::Gzip => MediaType::ImageLayerGzip,
                Compression::Zstd => MediaType::ImageLayerZstd,
                _ => MediaType::ImageLayer,
            };
            let (digest, size) = self.blob(entry)?;
            layers.push(descriptor(media_type.as_ref(), digest, size));
        }
        Ok(ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig.as_ref(), config.0, config.1))
            .layers(layers)
            .build()
            .expect("every mandatory field is set"))
    }

    /// Copies a file of the archive to the layout, once.
    fn blob(&mut self, entry: &Entry) -> Result<(Digest, u64)> {
        // An empty file starts where the next header does.
        if let Some(known) = self.blobs.get(&entry.data.start) {
            return Ok(*known);
        }
        let mut copy = DigestWriter::new(self.layout.temporary()?);
        self.saved.spool.for_each_chunk(entry.data.clone(), STEP, |bytes| {
            copy.write_all(bytes).map_err(Error::io("write a copy of a layer in", self.layout.dir()))
        })?;
        let (file, digest, size) = copy.finish();
        self.layout.add_blob_unsynced(digest, file)?;
        self.blobs.insert(entry.data.start, (digest, size));
        Ok((digest, size))
    }
}

#[cfg(test)]
mod tests;
