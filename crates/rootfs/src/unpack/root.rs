//! The tree that is unpacked to, with paths resolved as after a `chroot` into it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{self as sys, AtFlags, FileType, Mode};
use rustix::io::{Errno, Result};

use super::header::Metadata;
use super::remove::remove;
use crate::walk::{Visitor, walk};

/// Directories below each other. Each is an open file while its tree is removed, and most systems
/// allow a process 1024; no image of a distribution is deeper than 40.
pub(super) const MAX_DEPTH: usize = 256;
/// Permission bits of a directory while the tree is made; its own are set at the end, since they may
/// forbid to write.
const BUILDING: Mode = Mode::RWXU;

/// A tree that is being made.
///
/// A symlink among the directories of a path is followed within the root: an absolute one starts at
/// the root again, and `..` never climbs above it. So `lib/x` goes to `usr/lib/x` where a lower layer
/// made `lib` a link to it, as with umoci and with the driver vfs of containers-storage, which unpacks
/// in a chroot. (The driver overlay unpacks each layer by itself: such an entry hides the link there.
/// Tools that make layers write the resolved path, so images do not differ by this.) An entry `lib/`
/// that is a directory replaces the link, in all of them.
///
/// openat2(2) does the same for paths that exist. Here components have to be made on the way, links
/// into the void included, so each is opened by itself and never followed by the kernel.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    /// The metadata that each directory gets at the end, by its inode.
    pub(super) directories: HashMap<u64, Metadata>,
    /// The names that the present layer wrote, each with the inode of its directory, if the layer has
    /// whiteouts: they hide none of these.
    pub(super) own: Option<HashSet<(u64, Vec<u8>)>>,
}

impl Root {
    pub(super) fn new(fd: OwnedFd) -> Result<Self> {
        let root = sys::fstat(&fd)?.st_ino;
        Ok(Self { fd, directories: HashMap::from([(root, implied())]), own: None })
    }

    /// Forgets what earlier layers wrote.
    pub(super) fn start_layer(&mut self, has_whiteouts: bool) {
        self.own = has_whiteouts.then(HashSet::new);
    }

    /// Notes a name that the present layer writes.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn own(&mut self, directory: &OwnedFd, name: &[u8]) -> Result<()> {
        note(&mut self.own, directory, name)
    }

    pub(super) const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens the directory at a cleaned path.
    ///
    /// # Errors
    /// `NOENT` or `NOTDIR` if it does not exist; `NAMETOOLONG` if it is over [`MAX_DEPTH`] deep.
    pub(super) fn find(&self, path: &[u8]) -> Result<OwnedFd> {
        walk(&self.fd, path, &mut Finding)
    }

    /// Opens the directory at a cleaned path, and makes what is missing of it. What is no directory
    /// makes way for one.
    ///
    /// # Errors
    /// `NAMETOOLONG` if it is over [`MAX_DEPTH`] deep; those of the system.
    pub(super) fn find_or_make(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let Self { fd, directories, own } = self;
        walk(fd, path, &mut Making { directories, own })
    }

    /// Makes a directory, or takes the one that is there, and has it get `metadata` at the end.
    pub(super) fn directory(&mut self, parent: &OwnedFd, name: &[u8], metadata: Metadata) -> Result<()> {
        match make_directory(&mut self.directories, parent, name, metadata.clone()) {
            Err(Errno::EXIST) => {}
            made => return made,
        }
        let stat = sys::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            self.directories.insert(stat.st_ino, metadata);
            return Ok(());
        }
        remove(parent, name)?;
        make_directory(&mut self.directories, parent, name, metadata)
    }
}

/// Takes the directories that are there.
struct Finding;

impl Visitor for Finding {
    type Error = Errno;

    fn step(&mut self, depth: usize) -> Result<()> {
        check_depth(depth)
    }

    fn not_a_directory(&mut self, _: &OwnedFd, _: &[u8], _: Errno) -> Result<()> {
        Err(Errno::NOENT)
    }
}

/// Makes the directories that are missing.
struct Making<'r> {
    directories: &'r mut HashMap<u64, Metadata>,
    own: &'r mut Option<HashSet<(u64, Vec<u8>)>>,
}

impl Visitor for Making<'_> {
    type Error = Errno;

    fn step(&mut self, depth: usize) -> Result<()> {
        check_depth(depth)
    }

    fn not_a_directory(&mut self, parent: &OwnedFd, name: &[u8], _: Errno) -> Result<()> {
        remove(parent, name)?;
        note(self.own, parent, name)?;
        make_directory(self.directories, parent, name, implied())
    }
}

fn check_depth(depth: usize) -> Result<()> {
    if depth >= MAX_DEPTH { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}

fn note(own: &mut Option<HashSet<(u64, Vec<u8>)>>, directory: &OwnedFd, name: &[u8]) -> Result<()> {
    if let Some(own) = own {
        own.insert((sys::fstat(directory)?.st_ino, name.to_vec()));
    }
    Ok(())
}

/// Returns the metadata of a directory that no layer has an entry for.
pub(super) fn implied() -> Metadata {
    Metadata { mode: 0o755, uid: 0, gid: 0, mtime: None, xattrs: Vec::new() }
}

fn make_directory(
    directories: &mut HashMap<u64, Metadata>,
    parent: &OwnedFd,
    name: &[u8],
    metadata: Metadata,
) -> Result<()> {
    sys::mkdirat(parent, name, BUILDING)?;
    let inode = sys::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
    // The number may be that of a directory that was removed.
    directories.insert(inode, metadata);
    Ok(())
}

/// Returns the target of a symlink; `None` if the name is something else.
pub(super) fn link_target(parent: &OwnedFd, name: &[u8]) -> Result<Option<CString>> {
    match sys::readlinkat(parent, name, Vec::new()) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}
