//! A file that has no name yet, or a temporary one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{self as sys, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// Temporary names that are tried.
const MAX_NAMES: u32 = 1000;

/// The temporary names of this process, with their directories. Nobody makes, renames or removes one
/// without this lock.
static NAMES: Mutex<Vec<(Arc<OwnedFd>, OsString)>> = Mutex::new(Vec::new());

fn names() -> MutexGuard<'static, Vec<(Arc<OwnedFd>, OsString)>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all files with temporary names, for a process that is about to end. Threads that want to make
/// or rename one wait for ever.
pub(crate) fn remove_all() {
    let names = names();
    for (directory, name) in names.iter() {
        // Nobody is left to tell.
        let _ = sys::unlinkat(directory, name, AtFlags::empty());
    }
    std::mem::forget(names);
}

#[derive(Debug)]
pub(super) struct Temporary {
    directory: Arc<OwnedFd>,
    /// The name to appear under.
    name: OsString,
    /// The name until then, if it has one.
    temporary_name: Option<OsString>,
}

impl Temporary {
    /// A file without a name where that is possible, else one with a temporary name.
    pub(super) fn create(destination: &Path) -> io::Result<(File, Self)> {
        // Whatever the reason for the refusal is, the error of the second way says it better.
        Self::create_unnamed(destination).or_else(|_| Self::create_named(destination))
    }

    pub(super) fn create_unnamed(destination: &Path) -> io::Result<(File, Self)> {
        let temporary = Self::prepare(destination)?;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(sys::openat(&temporary.directory, ".", flags, Mode::from_raw_mode(0o666))?);
        // Publishing needs this link: without /proc the file could never get a name.
        sys::statat(CWD, descriptor_path(&file), AtFlags::empty())?;
        temporary.keep_permissions(&file)?;
        Ok((file, temporary))
    }

    pub(super) fn create_named(destination: &Path) -> io::Result<(File, Self)> {
        let mut temporary = Self::prepare(destination)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut names = names();
        let (file, name) = with_free_name(|name| {
            sys::openat(&temporary.directory, name, flags, Mode::from_raw_mode(0o666)).map(File::from)
        })?;
        names.push((Arc::clone(&temporary.directory), name.clone()));
        temporary.temporary_name = Some(name);
        drop(names);
        temporary.keep_permissions(&file)?;
        Ok((file, temporary))
    }

    fn prepare(destination: &Path) -> io::Result<Self> {
        let name = destination.file_name().ok_or(Errno::ISDIR)?.to_owned();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = sys::openat(CWD, directory_of(destination), flags, Mode::empty())?;
        Ok(Self { directory: Arc::new(directory), name, temporary_name: None })
    }

    /// Gives `file` the permission bits of the file that it will replace.
    fn keep_permissions(&self, file: &File) -> io::Result<()> {
        match sys::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(replaced) => file.set_permissions(fs::Permissions::from_mode(replaced.st_mode & 0o777)),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the directory in which the file appears.
    pub(super) fn directory(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.directory)
    }

    /// Gives `file` its name.
    pub(super) fn publish(mut self, file: &File) -> io::Result<()> {
        let mut names = names();
        let temporary_name = match self.temporary_name.take() {
            Some(name) => name,
            None => {
                let from = descriptor_path(file);
                let link =
                    |name: &OsStr| sys::linkat(CWD, &from, &self.directory, name, AtFlags::SYMLINK_FOLLOW);
                // linkat(2) never replaces: a free name is taken at once, any other by way of a rename.
                match link(&self.name) {
                    Err(Errno::EXIST) => {}
                    linked => return Ok(linked?),
                }
                with_free_name(link)?.1
            }
        };
        let renamed = sys::renameat(&self.directory, &temporary_name, &self.directory, &self.name);
        if renamed.is_err() {
            // The first error says more.
            let _ = sys::unlinkat(&self.directory, &temporary_name, AtFlags::empty());
        }
        names.retain(|listed| !self.is(listed, &temporary_name));
        Ok(renamed?)
    }

    fn is(&self, (directory, listed): &(Arc<OwnedFd>, OsString), name: &OsStr) -> bool {
        Arc::ptr_eq(directory, &self.directory) && listed == name
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = self.temporary_name.take() {
            let mut names = names();
            // It may be gone already; there is nobody to tell.
            let _ = sys::unlinkat(&self.directory, &name, AtFlags::empty());
            names.retain(|listed| !self.is(listed, &name));
        }
    }
}

/// The path by which linkat(2) reaches an open file: `AT_EMPTY_PATH` would need a capability.
fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Calls `make` with names of this process until one is free.
fn with_free_name<T>(mut make: impl FnMut(&OsStr) -> rustix::io::Result<T>) -> io::Result<(T, OsString)> {
    for attempt in 0..MAX_NAMES {
        let name = OsString::from(format!(".{}.{attempt}.tmp", std::process::id()));
        match make(&name) {
            Err(Errno::EXIST) => {}
            made => return Ok((made?, name)),
        }
    }
    Err(Errno::EXIST.into())
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}
