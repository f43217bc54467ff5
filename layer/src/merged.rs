//! Several old layers as they lie on disk once all are extracted in order, and which of their files
//! a delta may read.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::{Entry, EntryKind};

/// How layers are merged and which names of files may be used.
#[derive(Debug, Clone, Default)]
pub struct MergeOptions {
    /// Whether whiteouts of a layer hide what lower layers have (OCI image specification, "layer",
    /// Whiteouts). Without it, layers are extracted over each other as plain tars.
    pub apply_whiteouts: bool,
    /// If not empty: only names that start with one of these may be used.
    pub source_prefixes: Vec<Vec<u8>>,
    /// Names that start with one of these may not be used.
    pub ignored_prefixes: Vec<Vec<u8>>,
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
}

impl MergedTree {
    /// Merges the entries of `layers`, lowest first.
    ///
    /// A later entry hides an earlier one of the same path, and all below it unless both are
    /// directories. A file is left out where the tools that extract tars disagree about what would
    /// be on disk: entries whose path leads through a symlink, and hard-linked files one name of
    /// which is written again.
    pub fn merge(layers: &[Vec<Entry>], options: &MergeOptions) -> Self {
        let mut tree = Tree::default();
        for (layer, entries) in layers.iter().enumerate() {
            if options.apply_whiteouts {
                // An opaque whiteout hides lower layers only, wherever it stands in its own.
                entries.iter().for_each(|entry| tree.apply_whiteout(entry));
            }
            entries.iter().for_each(|entry| tree.extract(entry, layer));
        }
        tree.into_merged(options)
    }

    /// The files, in the order of their entries.
    pub fn files(&self) -> &[MergedFile] {
        &self.files
    }

    /// The file that has this name, cleaned and relative, among its surviving names.
    pub fn find(&self, path: &[u8]) -> Option<&MergedFile> {
        self.by_name.get(path).map(|&index| &self.files[index])
    }
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

/// A name in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    Symlink(Box<[u8]>),
    File(usize),
    Other,
}

/// An extracted regular file, whatever becomes of its names.
#[derive(Debug)]
struct Extracted {
    names: Vec<Arc<[u8]>>,
    layer: usize,
    data: Range<u64>,
    usable: bool,
}

#[derive(Debug, Default)]
struct Tree {
    nodes: BTreeMap<Arc<[u8]>, Node>,
    symlinks: HashSet<Arc<[u8]>>,
    files: Vec<Extracted>,
    /// A directory that no symlink and no file stands in the way of.
    clear_parent: Vec<u8>,
    /// Bytes of the names that were looked up on the way to entries.
    looked_up: u64,
}

impl Tree {
    fn apply_whiteout(&mut self, entry: &Entry) {
        let Some(path) = clean_path(&entry.path) else { return };
        let (parent, name) = split_path(&path);
        let Some(hidden) = name.strip_prefix(b".wh.") else { return };
        if hidden == b".wh..opq" {
            self.remove_below(parent);
        } else if !hidden.starts_with(b".wh.") {
            self.remove(&join_path(parent, hidden));
        }
    }

    fn extract(&mut self, entry: &Entry, layer: usize) {
        let Some(path) = clean_path(&entry.path).filter(|path| path.len() <= MAX_NAME_SIZE) else { return };
        if self.looked_up > MAX_LOOKED_UP {
            return;
        }
        if let Some(real) = self.clear_the_way(&path) {
            // Which of the two names the extracting tool writes is not known: neither is used.
            self.remove(&real);
            self.remove(&path);
            return;
        }
        let node = match &entry.kind {
            EntryKind::Directory => Node::Directory,
            // The system makes no longer one.
            EntryKind::Symlink(target) if target.len() > MAX_NAME_SIZE => Node::Other,
            EntryKind::Symlink(target) => Node::Symlink(target.clone()),
            EntryKind::File | EntryKind::Sparse => Node::File(self.files.len()),
            EntryKind::HardLink(target) => clean_path(target)
                .and_then(|target| self.nodes.get(target.as_slice()))
                .filter(|node| matches!(node, Node::File(_)))
                .map_or(Node::Other, Node::clone),
            EntryKind::Other => Node::Other,
        };
        if node == Node::Directory && self.nodes.get(path.as_slice()) == Some(&node) {
            return;
        }
        self.remove(&path);
        let path: Arc<[u8]> = path.into();
        match &node {
            Node::File(index) if *index == self.files.len() => self.files.push(Extracted {
                names: vec![path.clone()],
                layer,
                data: entry.data.clone(),
                usable: entry.kind == EntryKind::File && entry.mode & 0o004 != 0 && !entry.data.is_empty(),
            }),
            Node::File(index) => self.files[*index].names.push(path.clone()),
            Node::Symlink(_) => {
                self.symlinks.insert(path.clone());
            }
            Node::Directory | Node::Other => {}
        }
        self.nodes.insert(path, node);
    }

    /// Removes files that stand where `path` needs a directory. Gives the real path if a symlink
    /// stands there.
    fn clear_the_way(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let (parent, _) = split_path(path);
        if parent == self.clear_parent {
            return None;
        }
        self.looked_up += lookup_size(path);
        let ancestors = || slashes(path).map(|end| &path[..end]);
        if ancestors().any(|ancestor| self.symlinks.contains(ancestor)) {
            return Some(self.resolve(path));
        }
        for ancestor in ancestors() {
            if self.nodes.get(ancestor).is_some_and(|node| *node != Node::Directory) {
                self.remove(ancestor);
            }
        }
        self.clear_parent = parent.to_vec();
        None
    }

    /// Where `path` leads once the symlinks among its directories are followed; the path as far as
    /// it was resolved if they are over 40, the system's own limit.
    fn resolve(&mut self, path: &[u8]) -> Vec<u8> {
        let mut path = path.to_vec();
        for _ in 0..40 {
            self.looked_up += lookup_size(&path);
            let link = slashes(&path).find_map(|end| match self.nodes.get(&path[..end]) {
                Some(Node::Symlink(target)) => Some((end, target)),
                _ => None,
            });
            let Some((end, target)) = link else { break };
            let base = if target.starts_with(b"/") { &[][..] } else { split_path(&path[..end]).0 };
            let mut resolved: Vec<&[u8]> = Vec::new();
            for component in
                [base, target, &path[end..]].into_iter().flat_map(|part| part.split(|&b| b == b'/'))
            {
                match component {
                    b"" | b"." => {}
                    b".." => drop(resolved.pop()),
                    name => resolved.push(name),
                }
            }
            path = resolved.join(&b'/');
        }
        path
    }

    /// Removes a name and all below it.
    fn remove(&mut self, path: &[u8]) {
        match self.nodes.remove(path) {
            // A directory need not have an entry of its own.
            None | Some(Node::Directory) => self.remove_below(path),
            Some(Node::Symlink(_)) => {
                self.symlinks.remove(path);
            }
            Some(Node::File(index)) => {
                // Whether the other names keep the old content depends on the extracting tool.
                let file = &mut self.files[index];
                file.usable &= file.names.len() == 1;
            }
            Some(Node::Other) => {}
        }
        if self.clear_parent.starts_with(path) {
            self.clear_parent.clear();
        }
    }

    fn remove_below(&mut self, directory: &[u8]) {
        let mut start = directory.to_vec();
        if !directory.is_empty() {
            start.push(b'/');
        }
        let below: Vec<Arc<[u8]>> = self
            .nodes
            .range::<[u8], _>((std::ops::Bound::Included(start.as_slice()), std::ops::Bound::Unbounded))
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(&start))
            .collect();
        for path in below {
            match self.nodes.remove(&path) {
                Some(Node::Symlink(_)) => {
                    self.symlinks.remove(&path);
                }
                Some(Node::Directory | Node::File(_) | Node::Other) | None => {}
            }
        }
        self.clear_parent.clear();
    }

    fn into_merged(self, options: &MergeOptions) -> MergedTree {
        let allowed = |name: &[u8]| {
            let has = |prefixes: &[Vec<u8>]| prefixes.iter().any(|prefix| name.starts_with(prefix));
            name.len() <= MAX_NAME_SIZE
                && (options.source_prefixes.is_empty() || has(&options.source_prefixes))
                && !has(&options.ignored_prefixes)
        };
        let mut files = Vec::new();
        let mut by_name = BTreeMap::new();
        if self.looked_up > MAX_LOOKED_UP {
            // It was not followed to the end what overwrites what.
            return MergedTree { files, by_name };
        }
        for (index, extracted) in self.files.iter().enumerate().filter(|(_, file)| file.usable) {
            let mut surviving = extracted
                .names
                .iter()
                .filter(|name| self.nodes.get(*name) == Some(&Node::File(index)))
                .peekable();
            let Some(path) = surviving.clone().find(|name| allowed(name)) else { continue };
            by_name.extend(surviving.by_ref().map(|name| (name.clone(), files.len())));
            files.push(MergedFile {
                path: path.clone(),
                layer: extracted.layer,
                data: extracted.data.clone(),
            });
        }
        MergedTree { files, by_name }
    }
}

/// Longest name of a file in bytes: the system opens no longer path (PATH_MAX counts a NUL).
const MAX_NAME_SIZE: usize = 4095;
/// Most bytes of names that are looked up on the way to entries: seconds. A million files ten
/// directories deep take a gigabyte, thousands of names through chains of symlinks of greatest length
/// would take hours.
const MAX_LOOKED_UP: u64 = 1 << 33;

/// Bytes of the names of all directories on a path.
fn lookup_size(path: &[u8]) -> u64 {
    slashes(path).map(|end| end as u64).sum()
}

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
