//! Directories that are there for the time of a run: for downloads, and for blobs in the making.
//!
//! What is in them has names, since it is passed on by its path. A directory goes away when it is
//! dropped; when the process is told to end ([`remove_all`]); and, if the process was killed, when a
//! later one makes such a directory in the same place. A process that lives is known by its locks
//! (flock(2)), one on each of its directories.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;

use crate::{Error, Result};

/// The start of the names, before [`RANDOM`] letters and digits.
const PREFIX: &str = ".registry-ext-tmp-";
const RANDOM: usize = 6;
/// The end of the name of a directory that is being removed.
const GONE: &str = ".gone";
/// Most attempts to remove a directory.
const ATTEMPTS: usize = 5;
/// A directory that is younger and has no lock may be just in the making.
const MIN_AGE: Duration = Duration::from_secs(60);

/// The directories that this process has to remove; `None` once it ends.
static LISTED: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));

fn listed() -> MutexGuard<'static, Option<BTreeSet<PathBuf>>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory that nobody else can enter, removed on drop.
#[derive(Debug)]
pub struct ScratchDir {
    dir: TempDir,
    _listed: Listed,
    /// `None` where the file system has no locks: then nothing is removed there later, either.
    lock: Mutex<Option<File>>,
}

impl ScratchDir {
    /// Makes a directory in `parent`, and removes those there whose processes are gone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new_in(parent: &Path) -> Result<Self> {
        remove_stale(parent, MIN_AGE);
        let private = Permissions::from_mode(0o700);
        let make = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX).rand_bytes(RANDOM).permissions(private).tempdir_in(parent)
        };
        let (dir, listed) = Listed::make(make).map_err(Error::io("make a directory in", parent))?;
        let lock = Mutex::new(lock(dir.path()));
        Ok(Self { dir, _listed: listed, lock })
    }

    /// Makes the directory again, under its name, if somebody has removed it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn restore(&self) -> Result<()> {
        if self.path().is_dir() {
            return Ok(());
        }
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Not while the process ends, which has removed it itself.
        let listed = listed();
        if listed.is_none() {
            return Err(Error::io("create", self.path())(io::ErrorKind::Interrupted.into()));
        }
        match DirBuilder::new().mode(0o700).create(self.path()) {
            Ok(()) => *held = lock(self.path()),
            // By another thread, meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("create", self.path())(error)),
        }
        Ok(())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        remove(self.path());
    }
}

/// Locks a directory, for as long as the file is open.
fn lock(dir: &Path) -> Option<File> {
    open_directory(dir).ok().filter(|dir| dir.try_lock().is_ok())
}

/// A directory that [`remove_all`] removes, as long as this lives.
#[derive(Debug)]
pub(crate) struct Listed(PathBuf);

impl Listed {
    /// Makes a directory and lists it, in one step as [`remove_all`] sees it.
    pub(crate) fn make<D: AsRef<Path>>(make: impl FnOnce() -> io::Result<D>) -> io::Result<(D, Self)> {
        let mut listed = listed();
        let listed = listed.as_mut().ok_or(io::ErrorKind::Interrupted)?;
        let made = make()?;
        let path = made.as_ref().to_owned();
        listed.insert(path.clone());
        Ok((made, Self(path)))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(listed) = listed().as_mut() {
            listed.remove(&self.0);
        }
    }
}

/// Removes the directories of this process, which is about to end, and lets none be made any more.
pub fn remove_all() {
    listed().take().into_iter().flatten().for_each(|path| remove(&path));
}

/// Removes a directory. Threads that still work in it find no path any more to make files in, which would be left.
/// Another thread may be removing it already, which a process that ends does not wait for: so what bears the new name
/// is removed whoever has renamed it.
fn remove(path: &Path) {
    let mut gone = path.to_owned().into_os_string();
    gone.push(GONE);
    // Nobody is left to tell of a failure.
    drop(fs::rename(path, &gone));
    for path in [Path::new(&gone), path] {
        // Two threads can get in each other's way.
        (0..ATTEMPTS).find(|_| fs::remove_dir_all(path).is_ok() || !path.exists());
    }
}

/// Makes a directory within a scratch directory, unless it is there. A scratch directory that
/// [`remove_all`] has removed stays away, which it would not if parents were made too.
///
/// # Errors
/// [`Error::Io`], also where the scratch directory is gone.
pub(crate) fn make_within(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("create", path)(error)),
        _ => Ok(()),
    }
}

/// Removes the directories of processes that are gone, however young they are, where only this process makes any.
pub(crate) fn remove_left(parent: &Path) {
    remove_stale(parent, Duration::ZERO);
}

/// Removes the directories of processes that are gone, if they are old enough to be no new ones.
fn remove_stale(parent: &Path, min_age: Duration) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        let is_old_and_own = entry.metadata().is_ok_and(|found| {
            let age = found.modified().ok().and_then(|modified| modified.elapsed().ok());
            let is_own = found.uid() == rustix::process::geteuid().as_raw();
            found.is_dir() && is_own && age.is_some_and(|age| age >= min_age)
        });
        if is_old_and_own && open_directory(&entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
            // Another process may remove it at the same moment.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// Opens a directory, and neither a link nor a fifo that has taken its place.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Returns true if a name is one of those that are given here, and no other that somebody else may have chosen.
fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(GONE).unwrap_or(name);
    name.strip_prefix(PREFIX).is_some_and(|random| {
        random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::SystemTime;

    use super::*;

    fn age(dir: &Path) {
        let past = SystemTime::now() - 2 * MIN_AGE;
        File::open(dir).unwrap().set_modified(past).unwrap();
    }

    #[test]
    fn a_directory_that_was_removed_is_made_again_and_is_in_use() {
        let parent = tempfile::tempdir().unwrap();
        let dir = ScratchDir::new_in(parent.path()).unwrap();
        fs::remove_dir(dir.path()).unwrap();
        dir.restore().unwrap();
        dir.restore().unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
        age(dir.path());
        remove_stale(parent.path(), MIN_AGE);
        assert!(dir.path().is_dir());
    }

    /// A thread whose pull has failed may still make files there.
    #[test]
    fn nothing_is_left_of_a_directory_in_which_a_thread_goes_on() {
        let parent = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let dir = ScratchDir::new_in(parent.path()).unwrap();
            let path = dir.path().to_owned();
            fs::write(path.join("first"), "").unwrap();
            let thread = std::thread::spawn(move || {
                (0..).take_while(|number| fs::write(path.join(format!("{number}")), "").is_ok()).count()
            });
            while fs::read_dir(dir.path()).unwrap().count() < 20 {
                std::thread::yield_now();
            }
            drop(dir);
            assert!(thread.join().unwrap() >= 19);
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        }
    }

    /// The process may end behind either of them.
    #[test]
    fn nothing_is_left_behind_either_of_two_threads_that_remove_a_directory() {
        let parent = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let path = parent.path().join("directory");
            fs::create_dir_all(path.join("within")).unwrap();
            for number in 0..100 {
                fs::write(path.join("within").join(format!("{number}")), "").unwrap();
            }
            let other = path.clone();
            let thread = std::thread::spawn(move || remove(&other));
            remove(&path);
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
            thread.join().unwrap();
        }
    }

    #[test]
    fn what_is_made_within_a_directory_does_not_bring_it_back() {
        let parent = tempfile::tempdir().unwrap();
        let dir = ScratchDir::new_in(parent.path()).unwrap();
        let within = dir.path().join("making");
        make_within(&within).unwrap();
        make_within(&within).unwrap();
        assert!(within.is_dir());
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(matches!(make_within(&within), Err(Error::Io { .. })));
        assert!(!dir.path().exists());
    }

    #[test]
    fn what_killed_processes_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let in_use = ScratchDir::new_in(parent.path()).unwrap();
        assert_eq!(fs::metadata(in_use.path()).unwrap().mode() & 0o777, 0o700);
        age(in_use.path());
        let path = |name: &str| parent.path().join(format!("{PREFIX}{name}"));
        let kept = ["newnew", "others", "kepttoo", "a.kept"];
        for name in ["stale1", "stale2.gone"].into_iter().chain(kept) {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("blob"), "half").unwrap();
            if name != "newnew" {
                age(&path(name));
            }
        }
        let other = parent.path().join("other");
        fs::rename(path("others"), &other).unwrap();
        std::os::unix::fs::symlink(&other, path("others")).unwrap();

        let another = ScratchDir::new_in(parent.path()).unwrap();
        assert!(!path("stale1").exists() && !path("stale2.gone").exists());
        assert!(kept.iter().all(|name| path(name).join("blob").exists()));
        assert!(in_use.path().exists());
        remove_left(parent.path());
        assert!(!path("newnew").exists() && in_use.path().exists());
        let paths = [in_use.path().to_owned(), another.path().to_owned()];
        assert!(paths.iter().all(|path| listed().as_ref().unwrap().contains(path)));
        drop((in_use, another));
        assert!(paths.iter().all(|path| !path.exists() && !listed().as_ref().unwrap().contains(path)));
    }
}
