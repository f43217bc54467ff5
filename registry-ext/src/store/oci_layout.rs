//! An OCI image layout directory (OCI image specification, "Image Layout").
//!
//! Blobs and `index.json` appear by renaming finished files, `index.json` last, so that a reader
//! never sees an image that is not whole. Writers take turns by a lock on the file `oci-layout`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use layer::{Digest, open_regular};
use oci_spec::image::{Descriptor, ImageIndex};

use super::layout_blobs::read_bounded;
use super::lock::lock_within;
use crate::artifact;
use crate::oci::{
    Manifest, Name, annotated, annotation, digest_of, index, is_index, parse_index, parse_manifest,
    referrers_tag, to_json,
};
use crate::registry::MAX_MANIFEST_SIZE;
use crate::scratch::ScratchDir;
use crate::{Error, Result};

/// Annotation of an entry of `index.json`: its tag.
pub(crate) const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The time that another writer may take: it only writes the index anew.
const WRITER_PATIENCE: Duration = Duration::from_secs(60);
const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT_JSON: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An OCI image layout directory. A clone is the same directory.
#[derive(Debug, Clone)]
pub struct OciLayout {
    dir: PathBuf,
    name: String,
    /// Keeps the directory of an unpacked archive.
    _unpacked: Option<Arc<ScratchDir>>,
    /// For blobs in the making. There from the first one on.
    scratch: Arc<OnceLock<ScratchDir>>,
}

impl OciLayout {
    /// Opens a layout that exists.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the directory is no layout.
    pub fn open(dir: &Path) -> Result<Self> {
        if !dir.join(LAYOUT_FILE).is_file() {
            return Err(Error::NotFound { what: format!("OCI image layout {}", dir.display()) });
        }
        Ok(Self::at(dir))
    }

    fn at(dir: &Path) -> Self {
        let name = format!("oci:{}", dir.display());
        Self { dir: dir.to_owned(), name, _unpacked: None, scratch: Arc::default() }
    }

    /// Opens a layout, and makes an empty one first if there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(dir: &Path) -> Result<Self> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        let layout = Self::at(dir);
        if !dir.join(LAYOUT_FILE).exists() {
            layout.write_file(&dir.join(LAYOUT_FILE), LAYOUT_JSON)?;
        }
        let _lock = layout.lock()?;
        if !dir.join("index.json").exists() {
            layout.write_index(&index(Vec::new()))?;
        }
        Ok(layout)
    }

    /// A layout that is unpacked from an archive, under the archive's name.
    pub(super) fn unpacked(dir: ScratchDir, name: String) -> Result<Self> {
        let layout = Self::open(dir.path())?;
        Ok(Self { name, _unpacked: Some(Arc::new(dir)), ..layout })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory for blobs in the making.
    pub(super) fn scratch(&self) -> Result<&Path> {
        if let Some(dir) = self.scratch.get() {
            // A process that runs for long may find it removed.
            dir.restore()?;
            return Ok(dir.path());
        }
        let made = ScratchDir::new_in(&self.dir)?;
        Ok(self.scratch.get_or_init(|| made).path())
    }

    /// The entries of `index.json`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`], [`Error::TooLarge`].
    pub fn index(&self) -> Result<ImageIndex> {
        let path = self.dir.join("index.json");
        parse_index(&path.display().to_string(), &read_bounded(&path)?)
    }

    /// The manifest of this name; `None` if there is none.
    ///
    /// # Errors
    /// As [`index`](Self::index); [`Error::DigestMismatch`].
    pub fn manifest(&self, name: &Name) -> Result<Option<Manifest>> {
        let entries = self.index()?;
        let is_wanted = |entry: &&Descriptor| match name {
            Name::Tag(tag) => annotation(entry, ANNOTATION_REF_NAME) == Some(tag),
            Name::Digest(digest) => digest_of(entry).is_ok_and(|found| found == *digest),
        };
        match (entries.manifests().iter().find(is_wanted), name) {
            (Some(entry), _) => self.manifest_of(entry).map(Some),
            (None, Name::Digest(digest)) if self.blob_path(*digest).exists() => {
                self.read_manifest(*digest, None).map(Some)
            }
            (None, _) => Ok(None),
        }
    }

    /// The name of the only image in the layout, for a reference without one.
    ///
    /// # Errors
    /// [`Error::Reference`] if there are several, or none.
    pub fn only_image(&self) -> Result<Name> {
        let index = self.index()?;
        let is_image = |entry: &&Descriptor| {
            let tag = annotation(entry, ANNOTATION_REF_NAME).unwrap_or_default();
            entry.artifact_type().is_none() && tag != artifact::DELTA_INDEX_TAG && !tag.starts_with("sha256-")
        };
        let mut images: Vec<Digest> = Vec::new();
        for entry in index.manifests().iter().filter(is_image) {
            let is_delta = |manifest: &Manifest| {
                parse_manifest("manifest", &manifest.bytes)
                    .is_ok_and(|parsed| parsed.config().media_type().as_ref() == artifact::DELTA_CONFIG)
            };
            if !self.manifest_of(entry).is_ok_and(|manifest| is_delta(&manifest)) {
                images.push(digest_of(entry)?);
            }
        }
        images.dedup();
        if images.is_empty() {
            images = self.targets(&index)?;
        }
        match images.as_slice() {
            [image] => Ok(Name::Digest(*image)),
            images => Err(Error::Reference {
                text: self.name.clone(),
                reason: format!(
                    "there are {} images; say which: {}:NAME or {}@sha256:HEX",
                    images.len(),
                    self.name,
                    self.name
                ),
            }),
        }
    }

    /// The images that the deltas in the layout make, if their manifests are there: what `publish --to`
    /// writes has the deltas of images, and none of them whole.
    fn targets(&self, index: &ImageIndex) -> Result<Vec<Digest>> {
        let mut targets = BTreeSet::new();
        for entry in index.manifests().iter().filter(|entry| entry.size() <= MAX_MANIFEST_SIZE) {
            let manifest = self.manifest_of(entry)?;
            if annotation(entry, ANNOTATION_REF_NAME) == Some(artifact::DELTA_INDEX_TAG) {
                let deltas = parse_index(artifact::DELTA_INDEX_TAG, &manifest.bytes)?;
                targets.extend(artifact::delta_index::targets(&deltas).into_iter().map(|(target, _)| target));
            } else if let Ok(parsed) = parse_manifest("manifest", &manifest.bytes) {
                targets.extend(parsed.subject().as_ref().and_then(|subject| digest_of(subject).ok()));
            }
        }
        Ok(targets.into_iter().filter(|target| self.blob_path(*target).exists()).collect())
    }

    pub(super) fn manifest_of(&self, entry: &Descriptor) -> Result<Manifest> {
        self.read_manifest(digest_of(entry)?, Some(entry.media_type().as_ref()))
    }

    fn read_manifest(&self, expected: Digest, media_type: Option<&str>) -> Result<Manifest> {
        let path = self.blob_path(expected);
        let manifest = Manifest::new(read_bounded(&path)?, media_type);
        if manifest.digest != expected {
            let what = path.display().to_string();
            return Err(Error::DigestMismatch { what, expected, actual: manifest.digest });
        }
        Ok(manifest)
    }

    /// Stores a manifest and lists it in `index.json`, under a tag if one is given. Another one that
    /// had the tag loses it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_manifest(&self, manifest: &Manifest, tag: Option<&str>) -> Result<()> {
        self.write_file(&self.blob_path(manifest.digest), &manifest.bytes)?;
        let mut entry = manifest.descriptor();
        if let Ok(parsed) = parse_manifest("manifest", &manifest.bytes) {
            entry.set_artifact_type(parsed.artifact_type().clone());
        }
        if let Some(tag) = tag {
            entry = annotated(entry, [(ANNOTATION_REF_NAME, tag.to_owned())]);
        }
        self.change_index(|entries| {
            let is_replaced = |known: &Descriptor| match tag {
                Some(tag) => annotation(known, ANNOTATION_REF_NAME) == Some(tag),
                None => known.digest() == entry.digest() && annotation(known, ANNOTATION_REF_NAME).is_none(),
            };
            entries.retain(|known| !is_replaced(known));
            entries.push(entry);
        })
    }

    /// Takes a manifest out of `index.json` and removes its bytes. Blobs stay.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn delete_manifest(&self, digest: Digest) -> Result<()> {
        self.change_index(|entries| {
            entries.retain(|known| !digest_of(known).is_ok_and(|found| found == digest));
        })?;
        match fs::remove_file(self.blob_path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", self.blob_path(digest))(error))
            }
            _ => Ok(()),
        }
    }

    /// The manifests in `index.json`, or in the index that stands in for a list of referrers, whose
    /// subject is `subject`.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub fn referrers(&self, subject: Digest) -> Result<Vec<Descriptor>> {
        let mut referrers = Vec::new();
        for entry in self.index()?.manifests() {
            if entry.size() > MAX_MANIFEST_SIZE || is_index(entry.media_type().as_ref()) {
                continue;
            }
            let manifest = self.manifest_of(entry)?;
            let Ok(parsed) = parse_manifest("manifest", &manifest.bytes) else { continue };
            let refers =
                parsed.subject().as_ref().is_some_and(|of| digest_of(of).is_ok_and(|of| of == subject));
            if refers {
                let mut referrer = manifest.descriptor();
                referrer.set_artifact_type(parsed.artifact_type().clone());
                referrer.set_annotations(parsed.annotations().clone());
                referrers.push(referrer);
            }
        }
        if let Some(index) = self.manifest(&Name::Tag(referrers_tag(subject)))? {
            for entry in parse_index("referrers index", &index.bytes)?.manifests() {
                if referrers.iter().all(|known: &Descriptor| known.digest() != entry.digest()) {
                    referrers.push(entry.clone());
                }
            }
        }
        Ok(referrers)
    }

    /// All tags.
    ///
    /// # Errors
    /// As [`index`](Self::index).
    pub fn tags(&self) -> Result<Vec<String>> {
        let index = self.index()?;
        let tags = index.manifests().iter().filter_map(|entry| annotation(entry, ANNOTATION_REF_NAME));
        Ok(tags.map(str::to_owned).collect())
    }

    pub(super) fn change_index(&self, change: impl FnOnce(&mut Vec<Descriptor>)) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let mut manifests = index.manifests().clone();
        change(&mut manifests);
        index.set_manifests(manifests);
        self.write_index(&index)
    }

    fn write_index(&self, index: &ImageIndex) -> Result<()> {
        self.write_file(&self.dir.join("index.json"), &to_json(index))
    }

    /// Waits for other writers. The lock ends with the file that is returned.
    fn lock(&self) -> Result<File> {
        self.lock_for(WRITER_PATIENCE)
    }

    fn lock_for(&self, patience: Duration) -> Result<File> {
        let path = self.dir.join(LAYOUT_FILE);
        let file = open_regular(&path).map_err(Error::io("open", &path))?;
        lock_within(&file, patience, || ()).map_err(Error::io("lock", path))?;
        Ok(file)
    }

    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.temporary()?;
        file.write_all(bytes).map_err(Error::io("write", path))?;
        self.persist(file, path)
    }
}

impl fmt::Display for OciLayout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}
