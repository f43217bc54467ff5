//! A plain tree: the root file system of an image, as an appliance or a chroot has it.

use std::fmt;
use std::path::{Path, PathBuf};

use layer::{Digest, SpoolOptions};
use tar_patch::DirSource;

use super::{Base, LayerStore, Sources};
use crate::Result;

/// A directory that an image, or a single layer, was extracted to.
#[derive(Debug, Clone)]
pub struct TreeStore {
    dir: PathBuf,
    content: Option<Digest>,
}

impl TreeStore {
    /// The tree in `dir`. `content` is the digest of the image's config, or the diff_id of the
    /// layer; without it any delta is tried, and the digest of the result tells.
    pub fn new(dir: &Path, content: Option<Digest>) -> Self {
        Self { dir: dir.to_owned(), content }
    }
}

impl fmt::Display for TreeStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "tree:{}", self.dir.display())
    }
}

impl LayerStore for TreeStore {
    fn has(&self, base: Base) -> Result<bool> {
        let (Base::Layer(layer::DiffId(digest)) | Base::Image(digest)) = base;
        Ok(self.content.is_none_or(|content| content == digest))
    }

    fn sources(&self, _: Base, _: &SpoolOptions) -> Result<Sources> {
        Ok(Sources::Dir(DirSource::open(&self.dir)?))
    }
}
