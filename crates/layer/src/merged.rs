//! Several old layers as they lie on disk once all are extracted in order, and which of their files
//! a delta may read.
//!
//! # One model
//! The tools that put layers on disk disagree about some archives. GNU tar and the driver vfs of
//! containers-storage unpack layers over each other and follow the symlinks of lower ones; the driver
//! overlay unpacks each by itself. Some write into a file that is there, which changes its other hard
//! links, and some replace it. The tree here keeps a name only if all of them have the same content
//! under it: every name for which they may differ is no source.
//!
//! So a file that is kept has the content of the last entry of its name, and whoever finds a regular
//! file there finds that content. It follows that the tree with whiteouts and the tree without them
//! never have different files under one name. Each lacks some that the other has.

mod below;
mod landings;
mod tree;
mod whiteouts;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use derive_setters::Setters;

use crate::Entry;
use tree::Tree;

/// The way in which layers are merged, and the names of files that may be used.
#[derive(Debug, Clone, Default, Setters)]
#[non_exhaustive]
pub struct MergeOptions {
    /// True if whiteouts of a layer hide what lower layers have (OCI image specification, "layer",
    /// Whiteouts). Without it, layers are extracted over each other as plain tars.
    pub apply_whiteouts: bool,
    /// If not empty: only names that start with one of these may be used.
    pub source_prefixes: Vec<Vec<u8>>,
    /// Names that start with one of these may not be used.
    pub ignored_prefixes: Vec<Vec<u8>>,
}

impl MergeOptions {
    /// Returns true if a file may be read under a name.
    pub fn allow(&self, name: &[u8]) -> bool {
        let has = |prefixes: &[Vec<u8>]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        name.len() <= MAX_NAME_SIZE
            // No file system has such a name, so extraction gave it another.
            && !name.contains(&0)
            && (self.source_prefixes.is_empty() || has(&self.source_prefixes))
            && !has(&self.ignored_prefixes)
    }
}

/// A file of the merged tree that a delta may read: regular, not empty, not sparse, world-readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedFile {
    /// Its first surviving name that may be used: cleaned and relative.
    pub path: Arc<[u8]>,
    /// Index of the layer that holds the data.
    pub layer: usize,
    /// The content: byte offsets in that layer's uncompressed tar.
    pub data: Range<u64>,
}

/// The files of the merged tree.
#[derive(Debug, Clone)]
pub struct MergedTree {
    files: Vec<MergedFile>,
    by_name: BTreeMap<Arc<[u8]>, usize>,
    depends_on_whiteouts: bool,
}

impl MergedTree {
    /// Merges the entries of `layers`, lowest first.
    ///
    /// A later entry hides an earlier one of the same path, and all below it unless both are
    /// directories. Files are left out where the tools that extract tars may disagree about what is on
    /// disk: what an entry changes whose path leads through a link, by its own path and by those that
    /// the link leads to; hard-linked files one name of which is written again; what a layer brings and
    /// hides itself.
    pub fn merge<E: AsRef<[Entry]>>(layers: &[E], options: &MergeOptions) -> Self {
        let mut tree = Tree::new(options.apply_whiteouts);
        for (layer, entries) in layers.iter().enumerate() {
            entries.as_ref().iter().for_each(|entry| tree.extract(entry, layer));
        }
        let mut entries = layers.iter().flat_map(|entries| entries.as_ref());
        let depends_on_whiteouts =
            tree.depends_on_whiteouts() || entries.any(|entry| is_whiteout(&entry.path));
        let mut files = Vec::new();
        let mut by_name = BTreeMap::new();
        for (names, layer, data) in tree.into_files() {
            let Some(path) = names.iter().find(|name| options.allow(name)).cloned() else { continue };
            by_name.extend(names.into_iter().map(|name| (name, files.len())));
            files.push(MergedFile { path, layer, data });
        }
        Self { files, by_name, depends_on_whiteouts }
    }

    /// Returns true if the layers may be merged in another way with whiteouts than without. It is told by a merge
    /// without: there are whiteouts, or something replaces a directory that is not empty, which GNU tar does not do
    /// and readers of images do.
    pub const fn depends_on_whiteouts(&self) -> bool {
        self.depends_on_whiteouts
    }

    /// The files, in the order of their entries.
    pub fn files(&self) -> &[MergedFile] {
        &self.files
    }

    /// The file that has this name, cleaned and relative, among its surviving names.
    pub fn find(&self, path: &[u8]) -> Option<&MergedFile> {
        self.by_name.get(path).map(|&index| &self.files[index])
    }

    /// All names under which files lie, each with its file.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], &MergedFile)> {
        self.by_name.iter().map(|(name, &index)| (&**name, &self.files[index]))
    }
}

/// Returns true if a path is that of a whiteout, or of another file that readers of image layers do not show.
fn is_whiteout(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|component| component.starts_with(WHITEOUT))
}

/// Cleans the path of an entry as extraction does: without a leading `/`, without `.` and empty
/// components. `None` if nothing is left or a component is `..`.
pub fn clean_path(path: &[u8]) -> Option<Vec<u8>> {
    let mut clean = Vec::with_capacity(path.len());
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return None,
            _ => {}
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(component);
    }
    (!clean.is_empty()).then_some(clean)
}

/// Start of the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";
/// Longest name of a file in bytes: the system opens no longer path (PATH_MAX counts a NUL).
const MAX_NAME_SIZE: usize = 4095;

/// Offsets of the slashes in a path.
fn slashes(path: &[u8]) -> impl Iterator<Item = usize> + '_ {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index)
}

/// The directory (empty for the root) and the last component of a cleaned path.
fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or((&[][..], path), |slash| (&path[..slash], &path[slash + 1..]))
}

fn join_path(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, name].join(&b'/') }
}

#[cfg(test)]
mod tests;
