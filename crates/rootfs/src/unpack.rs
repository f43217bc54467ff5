//! Unpacks the layers of an image over each other, as its root file system (OCI image specification,
//! "layer", Applying Changesets).
//!
//! Whatever the layers are, nothing outside the directory changes: names are resolved as after a
//! `chroot`, and the last component of a path is never followed. Crate `tar` unpacks tars too, but
//! knows no whiteouts, refuses what leads through a link of a lower layer, and cuts attributes at
//! line ends.
//!
//! Where the specification leaves a choice, this does as containers-storage (podman, buildah) does:
//! directories that no layer has an entry for are root's, with mode 0755; an entry replaces what has
//! its name, unless both are directories; `security.selinux` is left to the host. Unlike its driver
//! vfs, this keeps the owner, mode and time of the file that a hard link names, keeps the time of a
//! directory that only files are added to, drops the attributes of a directory that a later entry
//! has not, and lets a whiteout hide nothing of its own layer, as the specification has it.

mod content;
mod header;
mod metadata;
mod remove;
mod root;
mod whiteouts;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use layer::{Entry, EntryKind, Spool, clean_path};
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use header::{Details, DetailsReader};
use root::Root;

use remove::remove;
pub use remove::remove_path;
use whiteouts::{AufsLinks, LastEntries};

use crate::{Error, Result};

/// Longest path in bytes: the system opens no longer one (PATH_MAX counts a NUL).
const MAX_PATH_SIZE: usize = 4095;
/// The fault in a layer whose paths lead too far.
const TOO_FAR: &str = "its paths lead through so many directories and links that no tool made them for their content; \
                       pull the image into an OCI layout or podman's storage to look at it";
/// The flags with which a file is opened to get its owner, mode and time, whatever it is.
const SEEN: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A root file system in the making.
#[derive(Debug)]
pub struct Unpacker {
    dir: PathBuf,
    root: Root,
    is_root: bool,
    left_out: LeftOut,
}

/// The entries that could not be unpacked, which is no reason to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Devices, which only root may make.
    pub devices: u64,
    /// Files that lack extended attributes, since the file system has none or only root may set them.
    pub attributes: u64,
    /// Entries of a type that this crate does not know.
    pub unknown: u64,
}

impl Unpacker {
    /// Starts with the empty directory `dir`, which nobody else may reach: files in it have their
    /// final permissions before their neighbours are there. Owners are set, and devices made, if the
    /// process runs as root.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(dir: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = sys::open(dir, flags, Mode::empty()).and_then(Root::new);
        Ok(Self {
            dir: dir.to_owned(),
            root: opened.map_err(|error| Error::io("open", dir)(error.into()))?,
            is_root: rustix::process::geteuid().is_root(),
            left_out: LeftOut::default(),
        })
    }

    /// Unpacks a layer over those before it. `progress` is told of each piece of it that is done, in bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] if an entry leads out of the tree, hides nothing that has a name, is
    /// linked to nothing or makes no sense otherwise, or if the paths lead through more directories than honest
    /// ones; [`Error::Io`], [`Error::Layer`].
    pub fn layer(&mut self, spool: &Spool, progress: &dyn Fn(u64)) -> Result<()> {
        let unpacked = self.unpack(spool, progress);
        if unpacked.is_err() && self.root.is_spent() {
            return Err(Error::malformed(spool.name(), TOO_FAR));
        }
        unpacked
    }

    fn unpack(&mut self, spool: &Spool, progress: &dyn Fn(u64)) -> Result<()> {
        let entries = header::entries(spool)?;
        let last = LastEntries::of(&entries);
        self.root.start_layer(entries.len() as u64, !last.is_empty());
        let mut aufs = AufsLinks::default();
        let mut details = DetailsReader::new(spool);
        let mut done = 0;
        for (index, entry) in entries.iter().enumerate() {
            let details = details.next(entry)?;
            if entry.kind == EntryKind::Nothing {
                self.left_out.unknown += 1;
                continue;
            }
            let path = place(spool, entry)?;
            if let Some(hidden) = whiteouts::hidden(&path) {
                // A link that a later entry of this layer replaces leads nowhere any more.
                if !self
                    .root
                    .leads_through_replaced_link(split_path(&path).0, |path| last.is_after(path, index))
                {
                    let hide = self.root.hide(split_path(&path).0, hidden);
                    hide.map_err(|error| self.failed("hide what is below", &path, error))?;
                }
            } else if whiteouts::is_of_aufs(&path) {
                aufs.keep(&path, entry, details);
            } else if let Some((file, details)) =
                aufs.file(entry).map_err(|()| nothing_linked(spool, entry))?
            {
                self.entry(spool, &file, &path, details)?;
            } else {
                self.entry(spool, entry, &path, &details)?;
            }
            progress(entry.data.end - done);
            done = entry.data.end;
        }
        Ok(())
    }

    /// Gives the directories their owners, modes and times, and tells what was left out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<LeftOut> {
        let finished = metadata::finish_directories(&self.root, self.is_root);
        let lacking = finished.map_err(|error| self.failed("finish the directories of", b"", error))?;
        self.left_out.attributes += lacking;
        Ok(self.left_out)
    }

    fn entry(&mut self, spool: &Spool, entry: &Entry, path: &[u8], details: &Details) -> Result<()> {
        let (parent, name) = split_path(path);
        let failed = |action, error: Errno| Error::io(action, join(&self.dir, path))(error.into());
        if path.is_empty() {
            let root = sys::fstat(self.root.fd()).map_err(|error| failed("look at", error))?.st_ino;
            self.root.directories.insert(root, details.metadata.clone());
            return Ok(());
        }
        let dir = self.root.find_or_make(parent).map_err(|error| failed("make the directory of", error))?;
        self.root.own(&dir, name).map_err(|error| failed("look at the directory of", error))?;
        let made = match &entry.kind {
            EntryKind::Directory => {
                let made = self.root.directory(&dir, name, details.metadata.clone());
                return made.map_err(|error| failed("make the directory", error));
            }
            EntryKind::HardLink(target) => {
                let linked = self.link(&dir, name, target);
                return linked.map_err(|error| match error {
                    Errno::NOENT => nothing_linked(spool, entry),
                    error => failed("link", error),
                });
            }
            EntryKind::File | EntryKind::Sparse => {
                let how = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let open = || sys::openat(&dir, name, how, Mode::RUSR | Mode::WUSR);
                let file: File = fresh(&dir, name, open).map_err(|error| failed("create", error))?.into();
                let failed = |error| Error::io("write", join(&self.dir, path))(error);
                content::copy(spool, entry, details, &file, &failed)?;
                Ok(Some(OwnedFd::from(file)))
            }
            EntryKind::Symlink(target) => fresh(&dir, name, || sys::symlinkat(&**target, &dir, name))
                .and_then(|()| sys::openat(&dir, name, SEEN, Mode::empty()).map(Some)),
            EntryKind::Other | EntryKind::Nothing | EntryKind::Disputed(_) => {
                special(&dir, name, details, &mut self.left_out)
            }
        };
        let Some(file) = made.map_err(|error| failed("create", error))? else { return Ok(()) };
        let is_symlink = matches!(entry.kind, EntryKind::Symlink(_));
        let applied = details.metadata.apply(&file, is_symlink, self.is_root);
        let has_all = applied.map_err(|error| failed("set the owner, mode, attributes or time of", error))?;
        self.left_out.attributes += u64::from(!has_all);
        Ok(())
    }

    /// Gives the file at `target` one more name.
    fn link(&self, dir: &OwnedFd, name: &[u8], target: &[u8]) -> rustix::io::Result<()> {
        let target = clean_path(target).ok_or(Errno::NOENT)?;
        let (parent, target) = split_path(&target);
        let parent = self.root.find(parent)?;
        let look = |dir, name| sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let wanted = look(&parent, target)?.st_ino;
        // It may be there already, or be a link to itself, and must not be removed then.
        if look(dir, name).is_ok_and(|there| there.st_ino == wanted) {
            return Ok(());
        }
        fresh(dir, name, || sys::linkat(&parent, target, dir, name, AtFlags::empty()))
    }

    fn failed(&self, action: &'static str, path: &[u8], error: Errno) -> Error {
        Error::io(action, join(&self.dir, path))(error.into())
    }
}

/// Makes a fifo or a device, and opens it as a path. `None` if it was left out.
fn special(
    dir: &OwnedFd,
    name: &[u8],
    details: &Details,
    left_out: &mut LeftOut,
) -> rustix::io::Result<Option<OwnedFd>> {
    let (kind, device) = match details.kind {
        b'6' => (FileType::Fifo, 0),
        b'3' => (FileType::CharacterDevice, sys::makedev(details.device.0, details.device.1)),
        b'4' => (FileType::BlockDevice, sys::makedev(details.device.0, details.device.1)),
        _ => {
            left_out.unknown += 1;
            return Ok(None);
        }
    };
    match fresh(dir, name, || sys::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device)) {
        Err(Errno::PERM) if kind != FileType::Fifo => {
            left_out.devices += 1;
            Ok(None)
        }
        made => made.and_then(|()| sys::openat(dir, name, SEEN, Mode::empty()).map(Some)),
    }
}

/// Makes something under a name that may be taken.
fn fresh<T>(dir: impl AsFd, name: &[u8], make: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            remove(dir, name)?;
            make()
        }
        made => made,
    }
}

/// Returns the path that an entry goes to: cleaned; empty for the root itself.
fn place(spool: &Spool, entry: &Entry) -> Result<Vec<u8>> {
    let mut components = entry.path.split(|&byte| byte == b'/');
    let is_root = components.all(|component| matches!(component, b"" | b"."));
    if is_root && entry.kind == EntryKind::Directory {
        return Ok(Vec::new());
    }
    let path =
        clean_path(&entry.path).ok_or_else(|| malformed(spool, entry, "its path leads out of the tree"))?;
    if path.len() > MAX_PATH_SIZE || path.contains(&0) {
        return Err(malformed(spool, entry, "its path is over 4095 bytes or holds a NUL"));
    }
    let name = split_path(&path).1;
    // They would hide the directory itself, or its parent.
    if matches!(name, b".wh." | b".wh.." | b".wh...") {
        return Err(malformed(spool, entry, "its name is that of a whiteout of nothing"));
    }
    Ok(path)
}

/// The directory (empty for the root) and the last component of a cleaned path.
fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or((&[][..], path), |slash| (&path[..slash], &path[slash + 1..]))
}

/// The path of a file in the tree, for errors.
fn join(dir: &Path, path: &[u8]) -> PathBuf {
    dir.join(std::ffi::OsStr::from_bytes(path))
}

fn nothing_linked(spool: &Spool, entry: &Entry) -> Error {
    malformed(spool, entry, "its hard link leads to nothing")
}

fn malformed(spool: &Spool, entry: &Entry, reason: &str) -> Error {
    Error::malformed(format!("{}: {}", spool.name(), entry.path.escape_ascii()), reason)
}
