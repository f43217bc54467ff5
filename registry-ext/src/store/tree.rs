//! A plain tree: the root file system of an image, as an appliance or a chroot has it.
//!
//! - [`TreeStore`] reads from one, whoever made it.
//! - [`TreeTarget`] puts an image into one, and replaces it by the next image.
//! - [`TreeRecord`] is what is known of a tree that this crate made. It lies beside the tree.

mod place;
mod record;
mod target;

use std::fmt;
use std::path::{Path, PathBuf};

use layer::{Digest, Spool, SpoolOptions};
use tar_patch::{DirSource, LayerSource};

use super::{Base, LayerStore, Sources};
use crate::{Error, Result};

pub use record::{TreeLayer, TreeRecord};
pub use target::TreeTarget;

/// A directory that an image, or a single layer, was extracted to.
#[derive(Debug, Clone)]
pub struct TreeStore {
    dir: PathBuf,
    content: Option<Digest>,
    record: Option<TreeRecord>,
}

impl TreeStore {
    /// The tree in `dir`. `content` is the digest of the image's config, or the diff_id of the
    /// layer. Without it, the record beside the tree says what is in it; without a record, any delta
    /// is tried, and the digest of the result tells.
    pub fn new(dir: &Path, content: Option<Digest>) -> Self {
        // A record that cannot be read is as good as none.
        let record = content.is_none().then(|| TreeRecord::find(dir).ok().flatten()).flatten();
        Self { dir: dir.to_owned(), content, record }
    }
}

impl fmt::Display for TreeStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "tree:{}", self.dir.display())
    }
}

impl LayerStore for TreeStore {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(match (&self.record, base) {
            (Some(record), Base::Layer(diff_id)) => record.layer(diff_id).is_some(),
            (Some(record), Base::Image(config)) => record.config == config,
            (None, Base::Layer(layer::DiffId(digest)) | Base::Image(digest)) => {
                self.content.is_none_or(|content| content == digest)
            }
        })
    }

    fn sources(&self, base: Base, options: &SpoolOptions) -> Result<Sources> {
        let dir = DirSource::open(&self.dir)?;
        let (Some(record), Base::Layer(diff_id)) = (&self.record, base) else {
            return Ok(Sources::Dir(dir));
        };
        // Files of the layer may be hidden by those of higher ones, so the layer itself is read.
        let failed = Error::io("make a file in", &options.temp_dir);
        let mut file = tempfile::tempfile_in(&options.temp_dir).map_err(failed)?;
        record.rebuild(diff_id, dir, options.max_size, &mut file)?;
        let size = file.metadata().map_err(Error::io("read a file in", &options.temp_dir))?.len();
        let spool = Spool::of_file(self.to_string(), file, size);
        Ok(Sources::Layers(LayerSource::new(vec![spool])?))
    }
}
