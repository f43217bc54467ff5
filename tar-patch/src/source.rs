//! A directory as the old tree, resolved as if it were the root of the file system.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use delta_format::{Budget, Error as DeltaError, Exhausted, SourceFile, SourceFiles, SourcePath, Work};
use rootfs::{DIRECTORY, Visitor, open_in, walk};
use rustix::fs::{self as sys, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Times that the kernel is asked again when the tree changes under it (openat2(2), `EAGAIN`).
const MAX_RETRIES: usize = 16;
/// Work to go to the next directory in this process: three system calls.
const STEP_WORK: u64 = 2 << 10;
/// File systems that hold interfaces of the kernel (linux/magic.h): proc, sysfs, debugfs, tracefs, configfs,
/// securityfs, selinuxfs, smackfs, apparmor, cgroup, cgroup2, bpf, pstore, efivarfs, binfmt_misc, mqueue, nsfs,
/// fusectl, resctrl, nfsd and rpc_pipefs.
const KERNEL_FILE_SYSTEMS: [u32; 21] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x6265_6570,
    0x7363_6673,
    0xf97c_ff8c,
    0x4341_5d53,
    0x5a3c_69f0,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0x6165_676c,
    0xde5e_81e4,
    0x4249_4e4d,
    0x1980_0202,
    0x6e73_6673,
    0x6573_5543,
    0x0765_5821,
    0x6e66_7364,
    0x6759_6969,
];

/// The files below a directory.
///
/// Symlinks among the directories of a path are followed as after a `chroot` into the root:
/// absolute ones start at the root again, and `..` never climbs above it. The file itself must be a
/// regular file and no symlink. No device or fifo is ever opened for reading.
///
/// File systems mounted in the tree are part of it, as for every program that reads it: a root file system may have
/// `/usr` elsewhere. Where something else is mounted over a file, the digest of the result tells. Files of proc,
/// sysfs and the like are not opened.
#[derive(Debug)]
pub struct DirSource {
    root: OwnedFd,
    /// The file system of the root.
    device: u64,
    resolution: PathResolution,
}

/// The part of the system that resolves the directories of a path.
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
        let device = sys::fstat(&root).map_err(root_error)?.st_dev;
        Ok(Self { root, device, resolution })
    }

    fn resolve(&self, directory: &[u8], budget: &Budget) -> Result<OwnedFd, Unresolved> {
        match self.resolution {
            PathResolution::Kernel => match resolve_in_kernel(&self.root, directory) {
                // Somebody keeps renaming things; the walk holds every directory that it passed. Or there
                // are symlinks on the way: forty of them can make it a thousand times longer, which the
                // kernel does not tell, and the walk counts its steps.
                Err(Errno::AGAIN | Errno::LOOP) => walk(&self.root, directory, &mut Charged(budget)),
                resolved => Ok(resolved?),
            },
            PathResolution::Walk => walk(&self.root, directory, &mut Charged(budget)),
        }
    }

    /// Opens the directory that has a file, and returns it with the name that the file has in it.
    fn parent<'p>(&self, path: &'p SourcePath, budget: &Budget) -> delta_format::Result<(OwnedFd, &'p [u8])> {
        let bytes = path.as_bytes();
        let (directory, name) = match bytes.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
            None => (&b"."[..], bytes),
        };
        let directory = self.resolve(directory, budget).map_err(|unresolved| match unresolved {
            Unresolved::System(error) => failed(path, error),
            Unresolved::OverBudget(exhausted) => exhausted.into(),
        })?;
        Ok((directory, name))
    }

    /// Returns the target of a symlink, to which the directories of its path lead as for [`open`](SourceFiles::open).
    ///
    /// # Errors
    /// As for [`open`](SourceFiles::open); [`SourceNotRegular`](DeltaError::SourceNotRegular) if it is no symlink.
    pub fn read_link(&self, path: &SourcePath, budget: &Budget) -> delta_format::Result<Vec<u8>> {
        let failed = |error: Errno| failed(path, error);
        let (directory, name) = self.parent(path, budget)?;
        let seen = open_in(&directory, name, OFlags::PATH).map_err(failed)?;
        if FileType::from_raw_mode(sys::fstat(&seen).map_err(failed)?.st_mode) != FileType::Symlink {
            return Err(DeltaError::SourceNotRegular { path: path.clone() });
        }
        // readlinkat(2): an empty path means the link that the descriptor holds.
        Ok(sys::readlinkat(&seen, "", Vec::new()).map_err(failed)?.into_bytes())
    }
}

/// The error of the system for a path.
fn failed(path: &SourcePath, error: Errno) -> DeltaError {
    let (path, source) = (path.clone(), error.into());
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG => {
            DeltaError::SourceMissing { path, source }
        }
        _ => DeltaError::SourceUnreadable { path, source },
    }
}

impl SourceFiles for DirSource {
    type File = DirFile;

    fn open(&mut self, path: &SourcePath, budget: &Budget) -> delta_format::Result<DirFile> {
        let failed = |error: Errno| failed(path, error);
        let (directory, name) = self.parent(path, budget)?;
        // Opening a device or a fifo can have effects, so the file's kind is seen before it is opened
        // for reading, and again in case the name was given to another file in between.
        let seen = open_in(&directory, name, OFlags::PATH).map_err(failed)?;
        let regular = |file: &OwnedFd| {
            let stat = sys::fstat(file).map_err(failed)?;
            let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if !is_regular || (stat.st_dev != self.device && is_of_kernel(file).map_err(failed)?) {
                return Err(DeltaError::SourceNotRegular { path: path.clone() });
            }
            Ok(u64::try_from(stat.st_size).unwrap_or(0))
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

impl DirFile {
    /// Reads an extended attribute of the file. Returns its size.
    ///
    /// # Errors
    /// Those of the system: `ENODATA` if it has none of this name.
    pub fn attribute(&self, name: &str, value: &mut [u8]) -> io::Result<usize> {
        Ok(sys::fgetxattr(&self.file, name, value)?)
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

/// Tells whether a file is none that is stored, but an interface of the kernel that looks like one: to read
/// it may wait for ever (`/proc/kmsg`), have no end (`/proc/kcore`), or do something.
fn is_of_kernel(file: &OwnedFd) -> rustix::io::Result<bool> {
    let kind = sys::fstatfs(file)?.f_type;
    Ok(u32::try_from(kind).is_ok_and(|kind| KERNEL_FILE_SYSTEMS.contains(&kind)))
}

/// The reason why a directory is not reached.
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

/// Charges the steps of a walk.
struct Charged<'b>(&'b Budget);

impl Visitor for Charged<'_> {
    type Error = Unresolved;

    fn step(&mut self, _: usize) -> Result<(), Unresolved> {
        Ok(self.0.charge(Work::reading(STEP_WORK))?)
    }

    fn not_a_directory(&mut self, _: &OwnedFd, _: &[u8], error: Errno) -> Result<(), Unresolved> {
        Err(error.into())
    }
}

#[cfg(test)]
mod tests;
