//! The names on disk while layers are extracted, and what is certain about each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::{MAX_NAME_SIZE, WHITEOUT, slashes, split_path};
use crate::{Dispute, Entry, EntryKind};

/// Most bytes of names that are looked up on the way to entries: seconds. A million files ten
/// directories deep take a gigabyte, thousands of names through chains of symlinks of greatest length
/// would take hours.
const MAX_LOOKED_UP: u64 = 1 << 33;
/// Targets that are told apart of the links that one name may be. Names with more are hardly found outside
/// of archives that are made for it.
const MAX_LINKS_AT: usize = 16;
/// The target of a link that may lead anywhere. No system makes a link to nothing.
pub(super) const ANYWHERE: &[u8] = b"";
/// Start of the names, in the root, of what aufs kept there. vfs leaves it out, overlay does not.
const OF_AUFS: &[u8] = b".wh..wh.";

/// A name in the tree. `layer` is the last one that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory, or nothing.
    Directory { layer: usize },
    /// This file, whatever the tool.
    File { index: usize, layer: usize },
    /// No source. If there are `links`, it may be a symlink to any of these; else it is none.
    Unusable { links: Vec<Box<[u8]>>, layer: usize },
}

impl Node {
    pub(super) const fn layer(&self) -> usize {
        match self {
            Self::Directory { layer } | Self::File { layer, .. } | Self::Unusable { layer, .. } => *layer,
        }
    }

    fn into_links(self) -> Vec<Box<[u8]>> {
        match self {
            Self::Unusable { links, .. } => links,
            Self::Directory { .. } | Self::File { .. } => Vec::new(),
        }
    }
}

/// An extracted regular file, whatever becomes of its names.
#[derive(Debug)]
struct Extracted {
    names: Vec<Arc<[u8]>>,
    layer: usize,
    data: Range<u64>,
    usable: bool,
}

/// The links that one layer makes.
///
/// GNU tar makes some symlinks at its end, and an empty file in the place of each meanwhile, which it
/// knows by its inode's number. Once the name is written again, the number may be that of any file: what
/// has the name, and what is hard-linked then, may become the symlink.
#[derive(Debug, Default)]
struct LinksOfLayer {
    layer: usize,
    /// The targets of the links that each name was.
    targets: HashMap<Arc<[u8]>, Vec<Box<[u8]>>>,
    /// The targets of those whose name was written again.
    replaced: BTreeSet<Box<[u8]>>,
}

/// See the [module](super) for what is kept.
///
/// A name is written for certain if no directory of its path may be a link, and then it is what was
/// written. Otherwise each name where the entry may land becomes [unusable](Node::Unusable), and keeps
/// all links that it may be, since later entries may lead through them. No file lies below a name that
/// may be a link.
#[derive(Debug)]
pub(super) struct Tree {
    apply_whiteouts: bool,
    /// True if the layers would be merged in another way if whiteouts were applied.
    depends_on_whiteouts: bool,
    /// Names of files that may still be directories: GNU tar replaces empty ones only.
    may_be_directories: HashSet<Box<[u8]>>,
    pub(super) nodes: BTreeMap<Arc<[u8]>, Node>,
    /// The names that may be links.
    pub(super) links: HashSet<Arc<[u8]>>,
    files: Vec<Extracted>,
    of_layer: LinksOfLayer,
    /// A directory that no link and no file stands in the way of.
    pub(super) clear_parent: Vec<u8>,
    /// Bytes of the names that were looked up on the way to entries.
    looked_up: u64,
}

/// The place where an entry lands: a cleaned path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Landings {
    /// At its own path, since there is no link on the way.
    Certain(Vec<u8>),
    /// At one of these, at several in turn, or nowhere.
    Possible(BTreeSet<Vec<u8>>),
}

impl Tree {
    pub(super) fn new(apply_whiteouts: bool) -> Self {
        Self {
            apply_whiteouts,
            depends_on_whiteouts: false,
            may_be_directories: HashSet::new(),
            nodes: BTreeMap::new(),
            links: HashSet::new(),
            files: Vec::new(),
            of_layer: LinksOfLayer::default(),
            clear_parent: Vec::new(),
            looked_up: 0,
        }
    }

    /// Extracts the next entry of a layer.
    pub(super) fn extract(&mut self, entry: &Entry, layer: usize) {
        if self.is_lost() {
            return;
        }
        if self.of_layer.layer != layer {
            self.of_layer = LinksOfLayer { layer, ..LinksOfLayer::default() };
        }
        match &entry.kind {
            EntryKind::Disputed(Dispute::Everything) => return self.lose(),
            EntryKind::Disputed(Dispute::Names(other)) => {
                self.extract_unknown(&entry.path, layer);
                self.extract_unknown(other, layer);
                return;
            }
            EntryKind::Nothing => return,
            _ => {}
        }
        let landings = self.landings(&entry.path);
        if let Some(hidden) = self.hidden_by(&entry.path) {
            self.hide(&landings, hidden, layer);
            return;
        }
        let node = match &entry.kind {
            EntryKind::Directory => Node::Directory { layer },
            // The system makes no longer one.
            EntryKind::Symlink(target) if target.len() > MAX_NAME_SIZE => unusable(layer),
            EntryKind::Symlink(target) => Node::Unusable { links: vec![target.clone()], layer },
            EntryKind::File | EntryKind::Sparse => Node::File { index: self.files.len(), layer },
            EntryKind::HardLink(target) => match self.hard_link(target, layer) {
                node if self.of_layer.replaced.is_empty() => node,
                node => {
                    let mut links = node.into_links();
                    links.extend(self.of_layer.replaced.iter().cloned());
                    Node::Unusable { links, layer }
                }
            },
            EntryKind::Other | EntryKind::Nothing | EntryKind::Disputed(_) => unusable(layer),
        };
        match landings {
            Landings::Certain(path) => self.write(&path, node, entry),
            Landings::Possible(paths) => {
                for path in paths {
                    self.may_write(&path, &node);
                }
            }
        }
    }

    /// Extracts something that may have this path, and of which it depends on the tool what it is.
    fn extract_unknown(&mut self, path: &[u8], layer: usize) {
        if self.hidden_by(path).is_some() {
            // What it would hide may be there, also a link, or may not.
            self.lose();
            return;
        }
        let node = Node::Unusable { links: vec![ANYWHERE.into()], layer };
        match self.landings(path) {
            Landings::Certain(path) => self.may_write(&path, &node),
            Landings::Possible(paths) => paths.iter().for_each(|path| self.may_write(path, &node)),
        }
    }

    /// The name that an entry of this path hides, if it is a whiteout and whiteouts are applied.
    fn hidden_by<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let mut names = path.rsplit(|&byte| byte == b'/');
        let name = names.find(|name| !matches!(*name, b"" | b".")).filter(|_| self.apply_whiteouts);
        name.and_then(|name| name.strip_prefix(WHITEOUT))
    }

    /// Returns the node that a hard link to `target` is.
    fn hard_link(&mut self, target: &[u8], layer: usize) -> Node {
        let mut paths = match self.landings(target) {
            // If it fails, what the link would replace stays.
            Landings::Certain(target) if self.may_be_directories.contains(&*target) => {
                return unusable(layer);
            }
            Landings::Certain(target) => {
                return match self.nodes.get(target.as_slice()) {
                    Some(Node::File { index, .. }) => Node::File { index: *index, layer },
                    Some(Node::Unusable { links, .. }) => Node::Unusable { links: links.clone(), layer },
                    Some(Node::Directory { .. }) | None => unusable(layer),
                };
            }
            Landings::Possible(paths) => paths,
        };
        // GNU tar takes what follows the last `..`.
        let mut parts: Vec<&[u8]> = target.split(|&byte| byte == b'/').collect();
        if let Some(up) = parts.iter().rposition(|part| *part == b"..") {
            match self.landings(&parts.split_off(up + 1).join(&b'/')) {
                Landings::Certain(path) => drop(paths.insert(path)),
                Landings::Possible(more) => paths.extend(more),
            }
        }
        let links = paths.iter().flat_map(|path| self.links_at(path)).cloned().collect();
        Node::Unusable { links, layer }
    }

    /// Writes a name that leads through no link.
    fn write(&mut self, path: &[u8], node: Node, entry: &Entry) {
        if !self.is_way_clear(path) {
            // Some tools put a directory in the place of a file that is in the way, others fail.
            self.may_write(path, &node);
            return;
        }
        if let Some(targets) = self.of_layer.targets.get(path) {
            self.of_layer.replaced.extend(targets.iter().cloned());
            if !matches!(node, Node::Directory { .. }) {
                self.may_write(path, &node);
                return;
            }
        }
        match (self.nodes.get_mut(path), &node) {
            (Some(Node::Directory { layer: there }), Node::Directory { layer }) => {
                *there = *layer;
                return;
            }
            // A directory need not have an entry of its own, or not yet.
            (None, Node::Directory { .. }) => {}
            _ => self.replace(path),
        }
        let path: Arc<[u8]> = path.into();
        if let Node::File { index, layer } = node {
            if index == self.files.len() {
                self.files.push(Extracted {
                    names: vec![path.clone()],
                    layer,
                    data: entry.data.clone(),
                    usable: entry.kind == EntryKind::File
                        && entry.mode & 0o004 != 0
                        && !entry.data.is_empty(),
                });
            } else {
                self.files[index].names.push(path.clone());
            }
        }
        self.put(path, node);
    }

    /// Returns whether there are directories, or nothing, where `path` needs directories.
    fn is_way_clear(&mut self, path: &[u8]) -> bool {
        let (parent, _) = split_path(path);
        if parent == self.clear_parent {
            return true;
        }
        let is_clear = |end| matches!(self.nodes.get(&path[..end]), None | Some(Node::Directory { .. }));
        if !slashes(path).all(is_clear) {
            return false;
        }
        self.clear_parent = parent.to_vec();
        true
    }

    /// Writes a name that an entry may have, or that it may not.
    fn may_write(&mut self, path: &[u8], node: &Node) {
        for end in slashes(path) {
            // A directory may have taken its place.
            self.spoil(&path[..end]);
        }
        if let Node::Directory { .. } = node {
            self.spoil(path);
            return;
        }
        self.spoil_below(path);
        let (layer, mut links) = (node.layer(), node.clone().into_links());
        match self.nodes.get(path) {
            Some(Node::File { index, .. }) => self.written_over(*index),
            Some(Node::Unusable { links: before, .. }) => links.extend_from_slice(before),
            Some(Node::Directory { .. }) | None => {}
        }
        if let Some(targets) = self.of_layer.targets.get(path) {
            links.extend_from_slice(targets);
            self.of_layer.replaced.extend(targets.iter().cloned());
        }
        self.put(path.into(), Node::Unusable { links, layer });
    }

    /// Removes a name that is written again, and all below it.
    fn replace(&mut self, path: &[u8]) {
        match self.nodes.get(path) {
            // A directory need not have an entry of its own.
            None | Some(Node::Directory { .. }) if self.apply_whiteouts => self.remove_below(path),
            // GNU tar replaces empty directories only, and goes on.
            None | Some(Node::Directory { .. }) => {
                if self.spoil_below(path) {
                    self.depends_on_whiteouts = true;
                    self.may_be_directories.insert(path.into());
                }
            }
            Some(Node::File { index, .. }) => self.written_over(*index),
            Some(Node::Unusable { .. }) => {
                self.links.remove(path);
            }
        }
        self.nodes.remove(path);
    }

    /// Notes that a name of a file is written again. Whether its other names keep the old content
    /// depends on the tool.
    fn written_over(&mut self, index: usize) {
        let file = &mut self.files[index];
        file.usable &= file.names.len() == 1;
    }

    fn put(&mut self, path: Arc<[u8]>, mut node: Node) {
        if !matches!(node, Node::Directory { .. }) && self.clear_parent.starts_with(&path) {
            self.clear_parent.clear();
        }
        if let Node::Unusable { links, .. } = &mut node
            && !links.is_empty()
        {
            links.sort();
            links.dedup();
            if links.len() > MAX_LINKS_AT {
                *links = vec![ANYWHERE.into()];
            }
            self.links.insert(path.clone());
            self.of_layer.targets.insert(path.clone(), links.clone());
        }
        self.nodes.insert(path, node);
    }

    /// Counts bytes of names that are looked up.
    pub(super) fn charge(&mut self, size: usize) {
        self.looked_up = self.looked_up.saturating_add(size as u64);
    }

    /// Gives up: it is not followed to the end what overwrites what, so that nothing is a source.
    pub(super) const fn lose(&mut self) {
        self.looked_up = u64::MAX;
    }

    /// True if it is not sure that whiteouts make no difference, apart from entries that are whiteouts.
    pub(super) const fn depends_on_whiteouts(&self) -> bool {
        self.depends_on_whiteouts || self.is_lost()
    }

    pub(super) const fn is_lost(&self) -> bool {
        self.looked_up > MAX_LOOKED_UP
    }

    /// The files that may be used, in the order of their entries: their names, layer and data.
    pub(super) fn into_files(self) -> impl Iterator<Item = (Vec<Arc<[u8]>>, usize, Range<u64>)> {
        let kept = if self.is_lost() { Self::new(self.apply_whiteouts) } else { self };
        let Self { nodes, files, apply_whiteouts, .. } = kept;
        let of_aufs = move |name: &[u8]| apply_whiteouts && name.starts_with(OF_AUFS);
        files.into_iter().enumerate().filter(|(_, file)| file.usable).map(move |(index, file)| {
            let survives = |name: &Arc<[u8]>| {
                !of_aufs(name)
                    && matches!(nodes.get(name), Some(Node::File { index: there, .. }) if *there == index)
            };
            (file.names.into_iter().filter(survives).collect(), file.layer, file.data)
        })
    }
}

pub(super) const fn unusable(layer: usize) -> Node {
    Node::Unusable { links: Vec::new(), layer }
}
