//! Gives a file its owner, permission bits, extended attributes and time.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{self as sys, AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use super::header::Metadata;
use super::remove;
use super::root::Root;

/// An attribute that the host sets by its own policy; containers-storage leaves it out as well.
const OF_THE_HOST: &[u8] = b"security.selinux";

impl Metadata {
    /// Applies all of it to an open file, which may be open as a path only. Without `is_root` the
    /// owner stays. Gives whether all attributes could be set.
    ///
    /// # Errors
    /// Those of the system, except for attributes that the file system or the kernel refuses.
    pub(super) fn apply(&self, file: impl AsFd, is_symlink: bool, is_root: bool) -> Result<bool> {
        // A path that leads to the file itself, whatever it is: no system call sets attributes, mode
        // or times of a file that is open as a path.
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        if is_root {
            let owner = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            sys::chownat(&file, "", Some(owner.0), Some(owner.1), AtFlags::EMPTY_PATH)?;
        }
        // After the owner, whose change takes capabilities and setuid away.
        let mut has_all = true;
        for (name, value) in self.xattrs.iter().filter(|(name, _)| name != OF_THE_HOST) {
            match sys::setxattr(&path, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => has_all = false,
                Err(error) => return Err(error),
            }
        }
        if !is_symlink {
            sys::chmod(&path, Mode::from_raw_mode(self.mode))?;
        }
        if let Some(time) = self.mtime {
            let access = Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT };
            let times = Timestamps { last_access: access, last_modification: time };
            sys::utimensat(CWD, &path, &times, AtFlags::empty())?;
        }
        Ok(has_all)
    }
}

/// Gives all directories of a tree what they shall have, the deepest first: none may be written to
/// afterwards. Gives how many lack attributes.
///
/// # Errors
/// Those of the system.
pub(super) fn finish_directories(root: &Root, is_root: bool) -> Result<u64> {
    let top = remove::open(root.fd(), b".")?;
    finish(root, &top, is_root)
}

fn finish(root: &Root, dir: &OwnedFd, is_root: bool) -> Result<u64> {
    let mut lacking = 0;
    for (name, may_be_directory) in remove::names(dir)? {
        if !may_be_directory {
            continue;
        }
        match remove::open(dir, name.as_bytes()) {
            Ok(below) => lacking += finish(root, &below, is_root)?,
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error),
        }
    }
    let inode = sys::fstat(dir)?.st_ino;
    let Some(metadata) = root.directories.get(&inode) else { return Ok(lacking) };
    Ok(lacking + u64::from(!metadata.apply(dir, false, is_root)?))
}
