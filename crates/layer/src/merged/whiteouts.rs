//! The files that the whiteouts of a layer hide (OCI image specification, "layer", Whiteouts).

use std::collections::BTreeMap;

use super::tree::Landings;
use super::tree::{Node, Tree};
use super::{WHITEOUT, join_path, slashes, split_path};

/// The text after [`WHITEOUT`] in the name of the file that hides all that lower layers have in its
/// directory.
const OPAQUE: &[u8] = b".wh..opq";

impl Tree {
    /// Hides what a whiteout does: `hidden`, beside the whiteout.
    pub(super) fn hide(&mut self, landings: &Landings, hidden: &[u8], layer: usize) {
        if hidden.starts_with(WHITEOUT) && hidden != OPAQUE {
            return;
        }
        if matches!(hidden, b"" | b"." | b"..") {
            // Some tools remove the directory itself, or its parent.
            self.lose();
            return;
        }
        match landings {
            Landings::Certain(path) if hidden == OPAQUE => self.hide_lower(split_path(path).0, true, layer),
            Landings::Certain(path) => self.hide_lower(&join_path(split_path(path).0, hidden), false, layer),
            Landings::Possible(paths) => {
                for parent in paths.iter().map(|path| split_path(path).0) {
                    if hidden == OPAQUE {
                        self.spoil_below(parent);
                    } else {
                        let path = join_path(parent, hidden);
                        self.spoil(&path);
                        self.spoil_below(&path);
                    }
                }
            }
        }
    }

    /// Removes what lower layers have at `path`, unless only what is below it is hidden, and below it.
    ///
    /// A file that the layer itself has there already stays by the specification, but containers-storage
    /// removes it as well. Only from an opaque directory it does not remove what has an entry, if all
    /// directories on the way have one.
    fn hide_lower(&mut self, path: &[u8], is_opaque: bool, layer: usize) {
        let own_directory =
            |nodes: &BTreeMap<_, _>, path: &[u8]| nodes.get(path) == Some(&Node::Directory { layer });
        let mut names = self.below(path);
        if !is_opaque {
            names.push(path.into());
        }
        let top = if path.is_empty() { 0 } else { path.len() + 1 };
        for name in names {
            let Some(node) = self.nodes.get(&name) else { continue };
            if node.layer() < layer {
                self.links.remove(&name);
                self.nodes.remove(&name);
                continue;
            }
            let mut ways = slashes(&name).filter(|&end| end > top);
            if !(is_opaque && ways.all(|end| own_directory(&self.nodes, &name[..end]))) {
                self.spoil(&name);
            }
        }
    }
}
