//! Removes trees that others filled.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// Directories that are open at once, one below the other. What is deeper is moved up first: a process may
/// have 1024 files open, and whoever filled the tree need not have stopped there. Trees that are unpacked are
/// less deep ([`MAX_DEPTH`](super::root::MAX_DEPTH)).
const MAX_OPEN: usize = 300;
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the file or directory at a path, and all below it. A path that does not exist is no error.
///
/// # Errors
/// Those of the system.
pub fn remove_path(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = sys::open(parent, how, Mode::empty())?;
    remove(parent, name.as_encoded_bytes())
}

/// Removes a name and all below it, also where permission bits of its owner forbid that. A name that
/// does not exist is no error.
///
/// No symlink is followed, and no other file system is entered.
///
/// # Errors
/// `XDEV` if something is mounted below; those of the system.
pub(super) fn remove(parent: impl AsFd, name: &[u8]) -> Result<()> {
    let parent = parent.as_fd();
    let mut moved = Moved { to: parent, names: Vec::new(), made: 0 };
    remove_at(parent, name, 0, &mut moved)?;
    while let Some(name) = moved.names.pop() {
        remove_at(parent, &name, 0, &mut moved)?;
    }
    Ok(())
}

/// Directories from deep below, beside what is removed.
struct Moved<'p> {
    to: BorrowedFd<'p>,
    names: Vec<Vec<u8>>,
    made: u64,
}

impl Moved<'_> {
    /// Moves a directory up.
    fn take(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        // Its entry `..` changes, which an owner may have forbidden.
        drop(open(parent, name)?);
        loop {
            let new = format!(".removed-{}-{}", std::process::id(), self.made).into_bytes();
            self.made += 1;
            match sys::renameat_with(parent, name, self.to, new.as_slice(), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.names.push(new);
                    return Ok(());
                }
            }
        }
    }
}

/// Removes a name, `depth` directories below what is removed.
fn remove_at(parent: BorrowedFd<'_>, name: &[u8], depth: usize, moved: &mut Moved<'_>) -> Result<()> {
    match sys::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    }
    if depth == MAX_OPEN {
        return moved.take(parent, name);
    }
    let dir = open(parent, name)?;
    names(&dir)?
        .iter()
        .try_for_each(|(name, _)| remove_at(dir.as_fd(), name.as_bytes(), depth + 1, moved))?;
    sys::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Opens a directory for reading.
///
/// # Errors
/// `XDEV` if it is a mount point; those of the system.
pub(super) fn open(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let opened = match open_here(&parent, name) {
        Err(Errno::ACCESS) => {
            // It is no symlink: it was found to be a directory, which an owner may open up.
            sys::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            open_here(&parent, name)
        }
        opened => opened,
    }?;
    if !rustix::process::geteuid().is_root() {
        sys::fchmod(&opened, Mode::RWXU)?;
    }
    Ok(opened)
}

fn open_here(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match sys::openat2(&parent, name, FLAGS, Mode::empty(), resolve) {
        // Before Linux 5.6, or forbidden by a seccomp filter: bind mounts cannot be told then.
        Err(Errno::NOSYS | Errno::PERM) => {
            let opened = sys::openat(&parent, name, FLAGS, Mode::empty())?;
            let is_here = sys::fstat(&opened)?.st_dev == sys::fstat(&parent)?.st_dev;
            if is_here { Ok(opened) } else { Err(Errno::XDEV) }
        }
        opened => opened,
    }
}

/// The names in a directory, without `.` and `..`, and whether each may be a directory.
pub(super) fn names(dir: &OwnedFd) -> Result<Vec<(CString, bool)>> {
    let mut names = Vec::new();
    for entry in sys::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            let may_be = matches!(entry.file_type(), sys::FileType::Directory | sys::FileType::Unknown);
            names.push((name.to_owned(), may_be));
        }
    }
    Ok(names)
}
