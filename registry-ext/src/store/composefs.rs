//! A composefs repository, where cfsctl and bootc keep images (github.com/composefs/composefs-rs).
//!
//! ```text
//! ROOT/streams/oci-config-sha256:HEX -> ../objects/XX/REST    the split stream of an image's config
//! ROOT/streams/oci-layer-sha256:HEX  -> ../objects/XX/REST    that of a layer's tar, by its diff_id
//! ROOT/objects/XX/REST                                        any file, by its fs-verity digest
//! ```
//!
//! A split stream has the headers and the small files of a tar, and names the objects that have the others. It is only
//! read, and nothing of it is mounted. A repository may be written at any time, so each call looks anew.

mod files;
mod split_stream;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use delta_format::{Budget, SourceFiles};
use layer::{DiffId, Digest, SpoolOptions};
use tar_patch::{DirFile, DirSource};

use super::layer_dirs::{is_readable_dir, of_store};
use super::{Base, LayerStore, Sources};
use crate::image::ConfigFields;
use crate::registry::MAX_MANIFEST_SIZE;
use crate::{Error, Result};
pub use files::ComposefsFiles;
use split_stream::{Chunk, MAX_OBJECTS, ObjectId, SplitStream};

/// Most chunks of a config: those of cfsctl have one or two.
const MAX_CONFIG_CHUNKS: u32 = 1 << 10;

/// A composefs repository, to read from.
#[derive(Debug, Clone)]
pub struct ComposefsStore {
    root: PathBuf,
}

impl ComposefsStore {
    /// The repository of the system, unless it is told another (`cfsctl --repo`).
    pub const DEFAULT_ROOT: &'static str = "/sysroot/composefs";

    /// Opens a repository.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::StoreOfOthers`] if this user may not read it; [`Error::Io`].
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        let is_there = is_readable_dir(&root.join("objects"))
            .and_then(|has_objects| Ok(has_objects && is_readable_dir(&root.join("streams"))?));
        if !is_there.map_err(of_store(&store))? {
            let what = format!("a composefs repository with images in {}", root.display());
            return Err(Error::NotFound { what });
        }
        Ok(store)
    }

    /// The object that has the split stream of this name; `None` if there is no such stream.
    fn stream(&self, name: &str) -> Result<Option<ObjectId>> {
        let path = self.root.join("streams").join(name);
        match fs::read_link(&path) {
            Ok(link) => ObjectId::of_link(&link)
                .map(Some)
                .ok_or_else(|| Error::malformed(path.display().to_string(), "it leads to no object")),
            // A file of another kind is no stream, either.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                Ok(None)
            }
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    fn objects(&self) -> Result<DirSource> {
        Ok(DirSource::open(&self.root)?)
    }

    /// The split stream of this name; `None` if it is not there.
    fn open_stream(&self, objects: &mut DirSource, name: &str) -> Result<Option<SplitStream<DirFile>>> {
        let Some(id) = self.stream(name)? else { return Ok(None) };
        let what = format!("{name} in {self}");
        let file = open_object(objects, &id).map_err(|error| Error::malformed(what.as_str(), error))?;
        SplitStream::open(what, file).map(Some)
    }

    /// The diff_ids of the image with this config, lowest first; `None` if it is not there.
    fn diff_ids(&self, objects: &mut DirSource, config: Digest) -> Result<Option<Vec<DiffId>>> {
        let name = format!("oci-config-{config}");
        let Some(stream) = self.open_stream(objects, &name)? else { return Ok(None) };
        let what = format!("config {config} in {self}");
        let mut bytes = Vec::new();
        stream.read(MAX_CONFIG_CHUNKS, |chunk| {
            match chunk {
                Chunk::Inline(inline) => bytes.extend_from_slice(inline),
                Chunk::Object(id) => bytes.extend(read_object(objects, &id, &what)?),
            }
            let size = bytes.len() as u64;
            if size > MAX_MANIFEST_SIZE {
                return Err(Error::TooLarge { what: what.clone(), size, max: MAX_MANIFEST_SIZE });
            }
            Ok(())
        })?;
        let actual = Digest::of(&bytes);
        if actual != config {
            return Err(Error::DigestMismatch { what, expected: config, actual });
        }
        ConfigFields::parse(&what, &bytes)?.diff_ids().map(Some)
    }

    /// The layers of `base`, lowest first; `None` if they are not all there.
    fn layers(&self, base: Base) -> Result<Option<Vec<DiffId>>> {
        let diff_ids = match base {
            Base::Layer(diff_id) => vec![diff_id],
            Base::Image(config) => match self.diff_ids(&mut self.objects()?, config)? {
                Some(diff_ids) if !diff_ids.is_empty() => diff_ids,
                _ => return Ok(None),
            },
        };
        for &diff_id in &diff_ids {
            if self.stream(&layer_name(diff_id))?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(diff_ids))
    }
}

/// The name of the stream that has a layer.
fn layer_name(diff_id: DiffId) -> String {
    format!("oci-layer-{diff_id}")
}

/// Opens an object, which is a regular file within the repository, whatever leads there.
fn open_object(objects: &mut DirSource, id: &ObjectId) -> delta_format::Result<DirFile> {
    objects.open(&id.path(), &Budget::unlimited())
}

/// Reads a whole object, or so much of it as a config may have and one byte more.
fn read_object(objects: &mut DirSource, id: &ObjectId, what: &str) -> Result<Vec<u8>> {
    use delta_format::SourceFile;
    let broken = |error: &dyn fmt::Display| Error::malformed(what, error);
    let file = open_object(objects, id).map_err(|error| broken(&error))?;
    let size = file.size().min(MAX_MANIFEST_SIZE + 1);
    let mut bytes = vec![0; usize::try_from(size).map_err(|error| broken(&error))?];
    file.read_exact_at(&mut bytes, 0).map_err(|error| broken(&error))?;
    Ok(bytes)
}

impl fmt::Display for ComposefsStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "composefs:{}", self.root.display())
    }
}

impl LayerStore for ComposefsStore {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(self.layers(base).map_err(of_store(self))?.is_some())
    }

    fn sources(&self, base: Base, options: &SpoolOptions) -> Result<Sources> {
        let not_found = || Error::NotFound { what: format!("{base} in {self}") };
        let diff_ids = self.layers(base).map_err(of_store(self))?.ok_or_else(not_found)?;
        let mut objects = self.objects()?;
        let (mut streams, mut named) = (Vec::new(), 0);
        for diff_id in diff_ids {
            let stream = self.open_stream(&mut objects, &layer_name(diff_id))?.ok_or_else(not_found)?;
            named += stream.ids().len() as u64;
            if named > MAX_OBJECTS {
                return Err(Error::malformed(
                    format!("{base} in {self}"),
                    "its layers name too many objects",
                ));
            }
            streams.push(stream);
        }
        Ok(Sources::Composefs(Box::new(ComposefsFiles::open(objects, streams, options)?)))
    }
}
