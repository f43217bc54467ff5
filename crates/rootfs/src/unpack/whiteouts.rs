//! The entries of a layer that stand for something else: whiteouts, and what aufs left.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use layer::{Entry, EntryKind, clean_path};
use rustix::fs::{self as sys, AtFlags, FileType};
use rustix::io::{Errno, Result};

use super::header::Details;
use super::remove::{self, names, remove};
use super::root::{Root, implied, link_target};
use super::split_path;

/// The start of a whiteout's name.
const WHITEOUT: &[u8] = b".wh.";
/// The name of the whiteout that hides all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..opq";
/// Start of the names, in the root, of files of aufs' own. containers-storage makes none of them.
const OF_AUFS: &[u8] = b".wh..wh.";
/// The directory where aufs kept files that have several names.
const AUFS_LINKS: &[u8] = b".wh..wh.plnk/";

/// Returns the name that the entry of a cleaned path hides beside itself; `None` if it is no whiteout.
pub(super) fn hidden(path: &[u8]) -> Option<&[u8]> {
    let hidden = split_path(path).1.strip_prefix(WHITEOUT)?;
    (hidden == OPAQUE || !hidden.starts_with(WHITEOUT)).then_some(hidden)
}

/// Returns whether the entry of a cleaned path, which is no whiteout, is a file of aufs' own.
pub(super) fn is_of_aufs(path: &[u8]) -> bool {
    path.starts_with(OF_AUFS) || split_path(path).1.starts_with(OF_AUFS)
}

/// The files of a layer that aufs kept in a directory of its own. They have only the names that are
/// hard-linked to them.
#[derive(Debug, Default)]
pub(super) struct AufsLinks(HashMap<Vec<u8>, (Entry, Details)>);

impl AufsLinks {
    pub(super) fn keep(&mut self, path: &[u8], entry: &Entry, details: Details) {
        if path.starts_with(AUFS_LINKS) && matches!(entry.kind, EntryKind::File | EntryKind::Sparse) {
            self.0.insert(path.to_vec(), (entry.clone(), details));
        }
    }

    /// Returns the file that `entry` is one more name of, if it is a hard link to one of these. The error
    /// is that of a link to none.
    #[allow(clippy::type_complexity, reason = "an entry as the tar has it, and its details")]
    pub(super) fn file(&self, entry: &Entry) -> std::result::Result<Option<(Entry, &Details)>, ()> {
        let EntryKind::HardLink(target) = &entry.kind else { return Ok(None) };
        let Some(target) = clean_path(target).filter(|target| target.starts_with(AUFS_LINKS)) else {
            return Ok(None);
        };
        let (file, details) = self.0.get(&target).ok_or(())?;
        Ok(Some((file.clone(), details)))
    }
}

/// The index of the last entry of each path of a layer. Empty if the layer has no whiteouts.
#[derive(Debug, Default)]
pub(super) struct LastEntries(HashMap<Vec<u8>, usize>);

impl LastEntries {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let paths = || {
            let numbered = entries.iter().enumerate();
            numbered.filter_map(|(index, entry)| clean_path(&entry.path).map(|path| (path, index)))
        };
        if !paths().any(|(path, _)| hidden(&path).is_some()) {
            return Self::default();
        }
        Self(paths().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the path has an entry after the one of this index.
    pub(super) fn is_after(&self, path: &[u8], index: usize) -> bool {
        self.0.get(path).is_some_and(|last| *last > index)
    }
}

impl Root {
    /// Returns whether a directory of a cleaned path is a link that is going to be `replaced`.
    pub(super) fn leads_through_replaced_link(&self, path: &[u8], replaced: impl Fn(&[u8]) -> bool) -> bool {
        let is_link = |path: &[u8]| {
            let (parent, name) = split_path(path);
            let target = self.find(parent).and_then(|parent| link_target(&parent, name));
            target.is_ok_and(|target| target.is_some())
        };
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        slashes.chain([path.len()]).any(|end| replaced(&path[..end]) && is_link(&path[..end]))
    }

    /// Hides what lower layers have in the directory `parent` as `hidden`, or all of it.
    ///
    /// An opaque whiteout in a symlink hides nothing, as in containers-storage: its driver vfs looks into
    /// directories only, and overlay puts a directory in the place of the link.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn hide(&mut self, parent: &[u8], hidden: &[u8]) -> Result<()> {
        let found = |found: Result<OwnedFd>| match found {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => found.map(Some),
        };
        if hidden != OPAQUE {
            let Some(parent) = found(self.find(parent))? else { return Ok(()) };
            return self.hide_name(&parent, hidden);
        }
        let (above, name) = split_path(parent);
        let Some(above) = found(self.find(above))? else { return Ok(()) };
        let name = if name.is_empty() { b"." } else { name };
        if is_directory(&above, name)? {
            self.clear(&remove::open(&above, name)?)?;
        }
        Ok(())
    }

    /// Removes a name and what is below it, but for what the present layer wrote.
    fn hide_name(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<()> {
        let inode = sys::fstat(parent)?.st_ino;
        let is_own = self.own.as_ref().is_some_and(|own| own.contains(&(inode, name.to_vec())));
        if !is_directory(parent, name)? {
            return if is_own { Ok(()) } else { remove(parent, name) };
        }
        let directory = remove::open(parent, name)?;
        self.clear(&directory)?;
        if is_own {
            return Ok(());
        }
        match sys::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            // The directory of what the layer itself has there: another one than the hidden one.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                self.directories.insert(sys::fstat(&directory)?.st_ino, implied());
                Ok(())
            }
            removed => removed,
        }
    }

    fn clear(&mut self, directory: &OwnedFd) -> Result<()> {
        names(directory)?.iter().try_for_each(|(name, _)| self.hide_name(directory, name.to_bytes()))
    }
}

/// Returns whether a name is a directory, and no link to one; it need not exist.
fn is_directory(parent: &OwnedFd, name: &[u8]) -> Result<bool> {
    match sys::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error),
    }
}
