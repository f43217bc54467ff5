//! The tree that is unpacked to, with paths resolved as after a `chroot` into it.

use std::cell::Cell;
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
/// Directories that the paths of a layer may lead through, links on the way counted, for each of its entries;
/// in images of distributions it is five to eight on average.
const STEPS_PER_ENTRY: u64 = 64;
/// The same for a layer of any number of entries: some seconds.
const MIN_STEPS: u64 = 1 << 20;
/// Directories that a layer may have without an entry of their own, for each of its entries. Each takes 240 bytes
/// of memory until the tree is done.
const IMPLIED_PER_ENTRY: u64 = 2;
/// The same for a layer of any number of entries.
const MIN_IMPLIED: u64 = 1 << 16;
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
    allowance: Allowance,
}

/// The steps and the directories that are left for the present layer: some kilobytes can hold paths that lead
/// through billions of them.
#[derive(Debug)]
struct Allowance {
    steps: Cell<u64>,
    implied: Cell<u64>,
    /// True once something was refused.
    is_spent: Cell<bool>,
}

impl Allowance {
    fn of_layer(entries: u64) -> Self {
        Self {
            steps: Cell::new(entries.saturating_mul(STEPS_PER_ENTRY).max(MIN_STEPS)),
            implied: Cell::new(entries.saturating_mul(IMPLIED_PER_ENTRY).max(MIN_IMPLIED)),
            is_spent: Cell::new(false),
        }
    }

    /// Takes a step, `depth` directories below the root.
    fn step(&self, depth: usize) -> Result<()> {
        if depth >= MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        self.take(&self.steps)
    }

    /// Takes a directory that no layer has an entry for.
    fn implied(&self) -> Result<()> {
        self.take(&self.implied)
    }

    /// Takes one of what is left.
    fn take(&self, left: &Cell<u64>) -> Result<()> {
        let Some(less) = left.get().checked_sub(1) else {
            self.is_spent.set(true);
            return Err(Errno::LOOP);
        };
        left.set(less);
        Ok(())
    }
}

impl Root {
    pub(super) fn new(fd: OwnedFd) -> Result<Self> {
        let root = sys::fstat(&fd)?.st_ino;
        let (directories, allowance) = (HashMap::from([(root, implied())]), Allowance::of_layer(0));
        Ok(Self { fd, directories, own: None, allowance })
    }

    /// Forgets what earlier layers wrote and took.
    pub(super) fn start_layer(&mut self, entries: u64, has_whiteouts: bool) {
        self.own = has_whiteouts.then(HashSet::new);
        self.allowance = Allowance::of_layer(entries);
    }

    /// Returns true if the paths of the present layer lead through more directories than it is granted.
    pub(super) fn is_spent(&self) -> bool {
        self.allowance.is_spent.get()
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
    /// `NOENT` or `NOTDIR` if it does not exist; `NAMETOOLONG` if it is over [`MAX_DEPTH`] deep; `LOOP` if
    /// the layer [has used up](Self::is_spent) its directories.
    pub(super) fn find(&self, path: &[u8]) -> Result<OwnedFd> {
        walk(&self.fd, path, &mut Finding(&self.allowance))
    }

    /// Opens the directory at a cleaned path, and makes what is missing of it. What is no directory
    /// makes way for one.
    ///
    /// # Errors
    /// `NAMETOOLONG` if it is over [`MAX_DEPTH`] deep; `LOOP` if the layer [has used up](Self::is_spent) its
    /// directories; those of the system.
    pub(super) fn find_or_make(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let Self { fd, directories, own, allowance } = self;
        walk(fd, path, &mut Making { directories, own, allowance })
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
struct Finding<'r>(&'r Allowance);

impl Visitor for Finding<'_> {
    type Error = Errno;

    fn step(&mut self, depth: usize) -> Result<()> {
        self.0.step(depth)
    }

    fn not_a_directory(&mut self, _: &OwnedFd, _: &[u8], _: Errno) -> Result<()> {
        Err(Errno::NOENT)
    }
}

/// Makes the directories that are missing.
struct Making<'r> {
    directories: &'r mut HashMap<u64, Metadata>,
    own: &'r mut Option<HashSet<(u64, Vec<u8>)>>,
    allowance: &'r Allowance,
}

impl Visitor for Making<'_> {
    type Error = Errno;

    fn step(&mut self, depth: usize) -> Result<()> {
        self.allowance.step(depth)
    }

    fn not_a_directory(&mut self, parent: &OwnedFd, name: &[u8], _: Errno) -> Result<()> {
        self.allowance.implied()?;
        remove(parent, name)?;
        note(self.own, parent, name)?;
        make_directory(self.directories, parent, name, implied())
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

/// Returns the target of a symlink; `None` if the name is something else.
pub(super) fn link_target(parent: &OwnedFd, name: &[u8]) -> Result<Option<CString>> {
    match sys::readlinkat(parent, name, Vec::new()) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}
