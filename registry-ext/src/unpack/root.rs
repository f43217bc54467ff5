//! The tree that is unpacked to, with paths resolved as after a `chroot` into it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

use super::header::Metadata;
use super::remove::remove;

/// Symlinks that are followed in one path: the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Directories below each other. Each is an open file while its tree is removed, and most systems
/// allow a process 1024; no image of a distribution is deeper than 40.
pub(super) const MAX_DEPTH: usize = 256;
/// The flags with which a directory on the way is opened: to look names up in it, not to read it.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
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
        walk(&self.fd, path, |_, _| Err(Errno::NOENT))
    }

    /// Opens the directory at a cleaned path, and makes what is missing of it. What is no directory
    /// makes way for one.
    ///
    /// # Errors
    /// `NAMETOOLONG` if it is over [`MAX_DEPTH`] deep; those of the system.
    pub(super) fn find_or_make(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let Self { fd, directories, own } = self;
        walk(fd, path, |parent, name| {
            remove(parent, name)?;
            note(own, parent, name)?;
            make_directory(directories, parent, name, implied())
        })
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

/// Resolves a directory component by component. `make` is called for a name that is no directory.
///
/// `passed` holds the directories between the root and the one that is reached, so `..` is the end of
/// that list and never a name that the file system resolves.
fn walk(root: &OwnedFd, path: &[u8], mut make: impl FnMut(&OwnedFd, &[u8]) -> Result<()>) -> Result<OwnedFd> {
    let mut passed: Vec<OwnedFd> = Vec::new();
    // Components still to go, the next one last.
    let mut ahead: Vec<Vec<u8>> = Vec::new();
    push_components(&mut ahead, path);
    let mut links = 0;
    while let Some(component) = ahead.pop() {
        if component == b".." {
            passed.pop();
            continue;
        }
        if passed.len() == MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        let here = passed.last().unwrap_or(root);
        match open_directory(here, &component) {
            Ok(next) => passed.push(next),
            Err(Errno::NOTDIR | Errno::LOOP) => match link_target(here, &component)? {
                Some(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.as_bytes().starts_with(b"/") {
                        passed.clear();
                    }
                    push_components(&mut ahead, target.as_bytes());
                }
                None => {
                    make(here, &component)?;
                    ahead.push(component);
                }
            },
            Err(Errno::NOENT) => {
                make(here, &component)?;
                ahead.push(component);
            }
            Err(error) => return Err(error),
        }
    }
    passed.pop().map_or_else(|| open_directory(root, b"."), Ok)
}

fn open_directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    sys::openat(parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// Returns the target of a symlink; `None` if the name is something else.
pub(super) fn link_target(parent: &OwnedFd, name: &[u8]) -> Result<Option<CString>> {
    match sys::readlinkat(parent, name, Vec::new()) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

fn push_components(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let components = path.split(|&byte| byte == b'/').rev();
    ahead.extend(components.filter(|component| !matches!(*component, b"" | b".")).map(<[u8]>::to_vec));
}
