//! The tarballs of the old layers as the old tree: nothing has to be extracted.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use delta_format::{Budget, Error as DeltaError, SourceFile, SourceFiles, SourcePath};
use layer::{Listing, MergeOptions, MergedTree, Spool, SpoolOptions, check_is_layer};

use crate::Result;

/// The files of old layers, merged in order.
///
/// A delta does not say whether it was made for layers whose whiteouts are applied. So a name that the
/// layers do not have without whiteouts is looked for with them: a hard link may be all that is left of
/// a file that a whiteout hides. Both never have different files under one name ([`MergedTree`]), so that
/// a delta finds the very files that it was made of, whichever it was made for.
#[derive(Debug)]
pub struct LayerSource {
    spools: Vec<Arc<Spool>>,
    /// One, or the one without whiteouts and the one with them.
    trees: Vec<MergedTree>,
    /// The options that say which names may be read, if not all may.
    allowed: Option<MergeOptions>,
}

/// A file of a [`LayerSource`]: a range of one layer's uncompressed tar.
#[derive(Debug, Clone)]
pub struct LayerFile {
    spool: Arc<Spool>,
    layer: usize,
    data: Range<u64>,
}

impl LayerSource {
    /// Opens the layers at `paths`, lowest first, whatever their compression.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer).
    pub fn open<P: AsRef<Path>>(paths: &[P], options: &SpoolOptions) -> Result<Self> {
        let open = |path: &P| {
            let spool = Spool::open(path.as_ref(), options)?;
            check_is_layer(&spool).map(|()| spool)
        };
        Self::new(paths.iter().map(open).collect::<Result<_, _>>()?)
    }

    /// Merges `spools`, lowest first, both without whiteouts and with them.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) if one is no tar.
    pub fn new(spools: Vec<Spool>) -> Result<Self> {
        Self::merge(spools, &[false, true], None)
    }

    /// Merges `spools`, lowest first, with the options that a delta is made with. Files that such a delta never reads
    /// are left out, so that a delta which names one of them fails.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) if one is no tar.
    pub fn with_options(spools: Vec<Spool>, options: &MergeOptions) -> Result<Self> {
        Self::merge(spools, &[options.apply_whiteouts], Some(options.clone()))
    }

    fn merge(spools: Vec<Spool>, ways: &[bool], allowed: Option<MergeOptions>) -> Result<Self> {
        let mut listing = Listing::of(&spools);
        let layers = spools.iter().map(|spool| listing.entries(spool)).collect::<Result<Vec<_>, _>>()?;
        let mut trees: Vec<MergedTree> = Vec::new();
        for &apply_whiteouts in ways {
            if trees.first().is_none_or(MergedTree::depends_on_whiteouts) {
                let options = MergeOptions::default().apply_whiteouts(apply_whiteouts);
                trees.push(MergedTree::merge(&layers, &options));
            }
        }
        Ok(Self { spools: spools.into_iter().map(Arc::new).collect(), trees, allowed })
    }
}

impl SourceFiles for LayerSource {
    type File = LayerFile;

    fn open(&mut self, path: &SourcePath, _: &Budget) -> delta_format::Result<LayerFile> {
        let is_allowed = self.allowed.as_ref().is_none_or(|allowed| allowed.allow(path.as_bytes()));
        let trees = if is_allowed { self.trees.as_slice() } else { &[] };
        let file = trees.iter().find_map(|tree| tree.find(path.as_bytes()));
        let file = file.ok_or_else(|| DeltaError::SourceMissing {
            path: path.clone(),
            source: io::Error::new(
                io::ErrorKind::NotFound,
                "no old layer has it as a regular file that is the same however the layers are extracted",
            ),
        })?;
        Ok(LayerFile {
            spool: Arc::clone(&self.spools[file.layer]),
            layer: file.layer,
            data: file.data.clone(),
        })
    }
}

impl LayerFile {
    /// The index of the layer that has the file, where 0 is the lowest.
    pub const fn layer(&self) -> usize {
        self.layer
    }

    /// The range of the layer's uncompressed tar that is the file, in bytes.
    pub const fn data(&self) -> &Range<u64> {
        &self.data
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
