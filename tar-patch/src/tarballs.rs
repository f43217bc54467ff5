//! The tarballs of the old layers as the old tree: nothing has to be extracted.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use delta_format::{Error as DeltaError, SourceFile, SourceFiles, SourcePath};
use layer::{MergeOptions, MergedTree, Spool, SpoolOptions, entries};

use crate::Result;

/// The files of old layers, merged in order.
///
/// Whiteouts are not applied: a delta made without them may read what they would hide, and one made
/// with them does not look for it.
#[derive(Debug)]
pub struct LayerSource {
    spools: Vec<Arc<Spool>>,
    tree: MergedTree,
}

/// A file of a [`LayerSource`]: a range of one layer's uncompressed tar.
#[derive(Debug, Clone)]
pub struct LayerFile {
    spool: Arc<Spool>,
    data: Range<u64>,
}

impl LayerSource {
    /// Opens the layers at `paths`, lowest first, whatever their compression.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer).
    pub fn open<P: AsRef<Path>>(paths: &[P], options: &SpoolOptions) -> Result<Self> {
        let spools =
            paths.iter().map(|path| Spool::open(path.as_ref(), options)).collect::<Result<_, _>>()?;
        Self::new(spools)
    }

    /// Merges `spools`, lowest first.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) if one is no tar.
    pub fn new(spools: Vec<Spool>) -> Result<Self> {
        let layers = spools.iter().map(entries).collect::<Result<Vec<_>, _>>()?;
        let tree = MergedTree::merge(&layers, &MergeOptions::default());
        Ok(Self { spools: spools.into_iter().map(Arc::new).collect(), tree })
    }
}

impl SourceFiles for LayerSource {
    type File = LayerFile;

    fn open(&mut self, path: &SourcePath) -> delta_format::Result<LayerFile> {
        let file = self.tree.find(path.as_bytes()).ok_or_else(|| DeltaError::SourceMissing {
            path: path.clone(),
            source: io::Error::new(io::ErrorKind::NotFound, "no old layer has it as a regular file"),
        })?;
        Ok(LayerFile { spool: Arc::clone(&self.spools[file.layer]), data: file.data.clone() })
    }
}

impl SourceFile for LayerFile {
    fn size(&self) -> u64 {
        self.data.end - self.data.start
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.spool.read_exact_at(buffer, self.data.start + offset).map_err(|error| match error {
            layer::Error::Io { source, .. } => source,
            other => io::Error::other(other),
        })
    }
}
