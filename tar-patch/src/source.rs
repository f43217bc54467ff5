//! A directory as the old tree, resolved as if it were the root of the file system.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use delta_format::{Budget, Error as DeltaError, Exhausted, SourceFile, SourceFiles, SourcePath, Work};
use rustix::fs::{self as sys, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Symlinks that are followed in one path: the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Times that the kernel is asked again when the tree changes under it (openat2(2), `EAGAIN`).
const MAX_RETRIES: usize = 16;
/// Work to go to the next directory in this process: three system calls.
const STEP_WORK: u64 = 2 << 10;
/// How a directory on the way is opened: to look names up in it, not to read it.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The files below a directory.
///
/// Symlinks among the directories of a path are followed as after a `chroot` into the root:
/// absolute ones start at the root again, and `..` never climbs above it. The file itself must be a
/// regular file and no symlink. No device or fifo is ever opened for reading.
#[derive(Debug)]
pub struct DirSource {
    root: OwnedFd,
    resolution: PathResolution,
}

/// Who resolves the directories of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathResolution {
    /// The kernel: openat2(2) with `RESOLVE_IN_ROOT`, Linux 5.6 or newer.
    Kernel,
    /// This process, component by component. Slower, everywhere, and to the same effect.
    Walk,
}

/// An open file of a [`DirSource`].
#[derive(Debug)]
pub struct DirFile {
    file: File,
    size: u64,
}

impl DirSource {
    /// Opens the directory `root`. The kernel resolves paths if it can and may: a seccomp filter can
    /// forbid openat2.
    ///
    /// # Errors
    /// [`Error::OpenRoot`].
    pub fn open(root: &Path) -> Result<Self> {
        let source = Self::open_with(root, PathResolution::Kernel)?;
        match resolve_in_kernel(&source.root, b".") {
            Ok(_) => Ok(source),
            Err(_) => Ok(Self { resolution: PathResolution::Walk, ..source }),
        }
    }

    /// Opens the directory `root` and has its paths resolved in the given way.
    ///
    /// # Errors
    /// [`Error::OpenRoot`].
    pub fn open_with(root: &Path, resolution: PathResolution) -> Result<Self> {
        let root_error = |error: Errno| Error::OpenRoot { path: root.to_owned(), source: error.into() };
        let root = sys::openat(sys::CWD, root, DIRECTORY, Mode::empty()).map_err(root_error)?;
        Ok(Self { root, resolution })
    }

    fn resolve(&self, directory: &[u8], budget: &Budget) -> Result<OwnedFd, Unresolved> {
        match self.resolution {
            PathResolution::Kernel => match resolve_in_kernel(&self.root, directory) {
                // Somebody keeps renaming things; the walk holds every directory that it passed. Or there
                // are symlinks on the way: forty of them can make it a thousand times longer, which the
                // kernel does not tell, and the walk counts its steps.
                Err(Errno::AGAIN | Errno::LOOP) => walk(&self.root, directory, budget),
                resolved => Ok(resolved?),
            },
            PathResolution::Walk => walk(&self.root, directory, budget),
        }
    }
}

impl SourceFiles for DirSource {
    type File = DirFile;

    fn open(&mut self, path: &SourcePath, budget: &Budget) -> delta_format::Result<DirFile> {
        let failed = |error: Errno| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG => {
                DeltaError::SourceMissing { path: path.clone(), source: error.into() }
            }
            other => DeltaError::SourceUnreadable { path: path.clone(), source: other.into() },
        };
        let bytes = path.as_bytes();
        let (directory, name) = match bytes.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
            None => (&b"."[..], bytes),
        };
        let directory = self.resolve(directory, budget).map_err(|unresolved| match unresolved {
            Unresolved::System(error) => failed(error),
            Unresolved::OverBudget(exhausted) => exhausted.into(),
        })?;
        // Opening a device or a fifo can have effects, so the file's kind is seen before it is opened
        // for reading, and again in case the name was given to another file in between.
        let seen = open_in(&directory, name, OFlags::PATH).map_err(failed)?;
        let regular = |file: &OwnedFd| match sys::fstat(file) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(u64::try_from(stat.st_size).unwrap_or(0))
            }
            Ok(_) => Err(DeltaError::SourceNotRegular { path: path.clone() }),
            Err(error) => Err(failed(error)),
        };
        regular(&seen)?;
        let file = match open_in(&directory, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Err(Errno::LOOP | Errno::NXIO) => Err(DeltaError::SourceNotRegular { path: path.clone() }),
            opened => opened.map_err(failed),
        }?;
        let size = regular(&file)?;
        Ok(DirFile { file: file.into(), size })
    }
}

impl SourceFile for DirFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Why a directory is not reached.
#[derive(Debug)]
enum Unresolved {
    System(Errno),
    OverBudget(Exhausted),
}

impl From<Errno> for Unresolved {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

impl From<Exhausted> for Unresolved {
    fn from(exhausted: Exhausted) -> Self {
        Self::OverBudget(exhausted)
    }
}

/// Opens `name`, one component, without following it.
fn open_in(directory: &OwnedFd, name: &[u8], how: OFlags) -> rustix::io::Result<OwnedFd> {
    sys::openat(directory, name, how | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Resolves a directory without symlinks on the way: with one it is `ELOOP`.
fn resolve_in_kernel(root: &OwnedFd, directory: &[u8]) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    for _ in 0..MAX_RETRIES {
        match sys::openat2(root, directory, DIRECTORY, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            resolved => return resolved,
        }
    }
    Err(Errno::AGAIN)
}

/// Resolves a directory component by component.
///
/// `passed` holds the directories between the root and the one that is reached, so `..` is the end
/// of that list and never a name that the file system resolves.
fn walk(root: &OwnedFd, directory: &[u8], budget: &Budget) -> Result<OwnedFd, Unresolved> {
    let mut passed: Vec<OwnedFd> = Vec::new();
    // Components still to go, the next one last.
    let mut ahead: Vec<Vec<u8>> = Vec::new();
    push_components(&mut ahead, directory);
    let mut links = 0;
    while let Some(component) = ahead.pop() {
        budget.charge(Work::reading(STEP_WORK))?;
        if component == b".." {
            passed.pop();
            continue;
        }
        let here = passed.last().unwrap_or(root);
        let next = open_in(here, &component, OFlags::PATH)?;
        match FileType::from_raw_mode(sys::fstat(&next)?.st_mode) {
            FileType::Directory => passed.push(next),
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                // readlinkat(2): an empty path means the link that the descriptor holds.
                let target = sys::readlinkat(&next, "", Vec::new())?;
                if target.as_bytes().starts_with(b"/") {
                    passed.clear();
                }
                push_components(&mut ahead, target.as_bytes());
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    match passed.pop() {
        Some(reached) => Ok(reached),
        None => Ok(sys::openat(root, ".", DIRECTORY, Mode::empty())?),
    }
}

fn push_components(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let components = path.split(|&byte| byte == b'/').rev();
    ahead.extend(components.filter(|component| !matches!(*component, b"" | b".")).map(<[u8]>::to_vec));
}

#[cfg(test)]
mod tests;
