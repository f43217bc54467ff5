//! The names below a directory of the merged tree.

use std::ops::Bound;
use std::sync::Arc;

use super::tree::{Node, Tree, unusable};

impl Tree {
    /// Has no file lie at a path.
    pub(super) fn spoil(&mut self, path: &[u8]) {
        if let Some(node @ Node::File { .. }) = self.nodes.get_mut(path) {
            *node = unusable(node.layer());
        }
    }

    /// Has no file lie below a directory. Returns true if something is there.
    pub(super) fn spoil_below(&mut self, directory: &[u8]) -> bool {
        let below = self.below(directory);
        below.iter().for_each(|path| self.spoil(path));
        !below.is_empty()
    }

    pub(super) fn remove_below(&mut self, directory: &[u8]) {
        for path in self.below(directory) {
            self.links.remove(&path);
            self.nodes.remove(&path);
        }
    }

    /// The names below a directory.
    pub(super) fn below(&mut self, directory: &[u8]) -> Vec<Arc<[u8]>> {
        let mut start = directory.to_vec();
        if !directory.is_empty() {
            start.push(b'/');
        }
        let range = (Bound::Included(start.as_slice()), Bound::Unbounded);
        let names = self.nodes.range::<[u8], _>(range).map(|(path, _)| path.clone());
        let names: Vec<_> = names.take_while(|path| path.starts_with(&start)).collect();
        self.charge(names.iter().map(|name| name.len()).sum());
        names
    }
}
