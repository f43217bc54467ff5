//! The places where an entry may land, given the links that may be among the directories of its path.

use std::collections::BTreeSet;

use super::tree::{ANYWHERE, Node, Tree};
use super::{MAX_NAME_SIZE, clean_path, join_path, slashes, split_path};

/// Symlinks that are followed in one path: the system's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Components that are resolved for one path. No real one comes near it; paths through many links with
/// many possible targets each would take forever.
const MAX_STEPS: usize = 1 << 16;

/// The place where an entry lands: a cleaned path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Landings {
    /// At its own path, since there is no link on the way.
    Certain(Vec<u8>),
    /// At one of these, at several in turn, or nowhere.
    Possible(BTreeSet<Vec<u8>>),
}

/// A path that is resolved halfway.
struct Resolving {
    /// The directory that is reached.
    here: Vec<u8>,
    /// Components still to go, the next one last.
    ahead: Vec<Vec<u8>>,
    followed: usize,
}

impl Tree {
    /// Returns where an entry of this path lands, whose last component is not followed.
    ///
    /// A link may also make way for a directory: the tools that unpack each layer by itself do not see
    /// the links of lower ones. So the path as it stands is always among the landings. A `..` is
    /// refused by some tools, taken as it is written by others, and left to the system by yet others.
    pub(super) fn landings(&mut self, path: &[u8]) -> Landings {
        if let Some(clean) = clean_path(path) {
            if clean.len() > MAX_NAME_SIZE {
                return Landings::Possible(BTreeSet::new());
            }
            if !self.leads_through_link(&clean) {
                return Landings::Certain(clean);
            }
            return Landings::Possible(self.resolve(&clean));
        }
        let mut landings = BTreeSet::new();
        for path in [Some(path.to_vec()), as_written(path)].into_iter().flatten() {
            if path.len() <= MAX_NAME_SIZE {
                landings.extend(self.resolve(&path));
            }
        }
        Landings::Possible(landings)
    }

    fn resolve(&mut self, path: &[u8]) -> BTreeSet<Vec<u8>> {
        let mut landings = BTreeSet::new();
        let mut steps = 0;
        let mut first = Resolving { here: Vec::new(), ahead: Vec::new(), followed: 0 };
        push_components(&mut first.ahead, path);
        let mut open = vec![first];
        while let Some(Resolving { mut here, mut ahead, followed }) = open.pop() {
            while let Some(component) = ahead.pop() {
                steps += 1;
                // It is copied, hashed and searched for.
                self.charge(8 * here.len());
                if steps > MAX_STEPS || self.is_lost() {
                    self.lose();
                    return BTreeSet::new();
                }
                if component == b".." {
                    here.truncate(split_path(&here).0.len());
                    continue;
                }
                let next = join_path(&here, &component);
                if ahead.is_empty() {
                    landings.insert(next);
                    break;
                }
                if self.links_at(&next).iter().any(|target| **target == *ANYWHERE) {
                    self.lose();
                    return BTreeSet::new();
                }
                // A directory may take its place, also where the target of a link goes up again from it.
                self.spoil(&next);
                if followed < MAX_LINKS {
                    for target in self.links_at(&next) {
                        let here = if target.starts_with(b"/") { Vec::new() } else { here.clone() };
                        let mut ahead = ahead.clone();
                        push_components(&mut ahead, target);
                        open.push(Resolving { here, ahead, followed: followed + 1 });
                    }
                }
                here = next;
            }
        }
        if landings.iter().any(|landing| landing.len() > MAX_NAME_SIZE) {
            // What lies there can be named through links only, and is not kept.
            self.lose();
        }
        landings
    }

    /// Returns whether a directory of a cleaned path may be a link.
    fn leads_through_link(&mut self, path: &[u8]) -> bool {
        if split_path(path).0 == self.clear_parent {
            return false;
        }
        self.charge(slashes(path).sum());
        !self.links.is_empty() && slashes(path).any(|end| self.links.contains(&path[..end]))
    }

    /// Returns the targets of the links that a cleaned path may be.
    pub(super) fn links_at(&self, path: &[u8]) -> &[Box<[u8]>] {
        match self.links.get(path).and_then(|path| self.nodes.get(path)) {
            Some(Node::Unusable { links, .. }) => links,
            _ => &[],
        }
    }
}

/// Cleans a path by its letters alone: `a/../b` is `b`. `None` if it leads out of the tree.
fn as_written(path: &[u8]) -> Option<Vec<u8>> {
    let mut written: Vec<&[u8]> = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(written.pop()?),
            name => written.push(name),
        }
    }
    Some(written.join(&b'/'))
}

/// Puts the components of a path before those that are ahead.
fn push_components(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let components = path.split(|&byte| byte == b'/').rev();
    ahead.extend(components.filter(|component| !matches!(*component, b"" | b".")).map(<[u8]>::to_vec));
}
