//! A file that appears under its name whole or not at all.
//!
//! The bytes go to a file without a name (`O_TMPFILE`, open(2)) in the directory of the output;
//! [`commit`](Output::commit) links it and renames it over the output. However the process ends
//! before that, nothing is left behind. Where the file system has no such files, a file with a
//! temporary name is used, which is removed on drop and by [`on_interrupt`](crate::on_interrupt).
//!
//! Nothing is synced unless it is asked for: after a power failure a file that was renamed but not
//! synced may be empty, and most outputs can be made again. The crate `atomic-write-file` does the
//! same but always syncs.

mod temporary;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs as sys;
use rustix::io::Errno;
use temporary::Temporary;
pub(crate) use temporary::remove_all;

/// An output that is written first and gets its name last.
///
/// Writes are not buffered. Dropped without a commit, it leaves nothing behind, unless it is
/// stdout or a file that is written in place.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Stdout,
    /// A device, a pipe, or what is behind a descriptor: nothing to rename.
    InPlace,
    Temporary(Temporary),
}

/// Stdout has no reader any more: the cause inside the [`io::Error`] of a write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdoutClosed;

impl fmt::Display for StdoutClosed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("nobody reads stdout any more")
    }
}

impl std::error::Error for StdoutClosed {}

impl Output {
    /// Prepares the output `path`.
    ///
    /// `-` is stdout. A symlink means what it points at. A path that exists and is no regular file
    /// (`/dev/null`, a fifo), or that names an open descriptor (`/dev/stdout`, `/dev/fd/3`), is
    /// written in place. A file that is replaced hands down its permission bits.
    ///
    /// # Errors
    /// If the file cannot be created; the text says which.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::create_with(path, Temporary::create)
    }

    /// Stdout.
    ///
    /// # Errors
    /// If it is closed.
    #[expect(clippy::disallowed_methods, reason = "this is the way by which all output gets there")]
    pub fn stdout() -> io::Result<Self> {
        let path = PathBuf::from("-");
        // A duplicate of the descriptor, since `io::Stdout` looks for line ends in all it is given.
        let descriptor =
            io::stdout().as_fd().try_clone_to_owned().map_err(|error| failed("use", &path, error))?;
        Ok(Self { path, file: File::from(descriptor), kind: Kind::Stdout })
    }

    fn create_with(path: &Path, create: fn(&Path) -> io::Result<(File, Temporary)>) -> io::Result<Self> {
        if path == Path::new("-") || path == Path::new("/dev/stdout") {
            return Self::stdout();
        }
        let (file, kind) = match destination(path).map_err(|error| failed("find", path, error))? {
            Destination::InPlace => {
                let file = OpenOptions::new().write(true).truncate(true).open(path);
                (file.map_err(|error| failed("open", path, error))?, Kind::InPlace)
            }
            Destination::Replace(destination) => {
                let (file, temporary) =
                    create(&destination).map_err(|error| failed("create", path, error))?;
                (file, Kind::Temporary(temporary))
            }
        };
        Ok(Self { path: path.to_owned(), file, kind })
    }

    /// Tells whether the bytes go to stdout, so that nothing else may be printed there.
    pub const fn is_stdout(&self) -> bool {
        matches!(self.kind, Kind::Stdout)
    }

    /// Lets the file appear under its name, in place of what had that name.
    ///
    /// # Errors
    /// If it cannot be linked or renamed.
    pub fn commit(self) -> io::Result<()> {
        let Self { path, file, kind } = self;
        match kind {
            Kind::Temporary(temporary) => {
                temporary
                    .publish(&file)
                    .map_err(|error| failed("rename the finished file to", &path, error))?;
            }
            Kind::Stdout | Kind::InPlace => {}
        }
        Ok(())
    }

    /// As [`commit`](Self::commit); returns once the bytes and the name are on the disk.
    ///
    /// # Errors
    /// Also if the file or its directory cannot be synced.
    pub fn commit_synced(self) -> io::Result<()> {
        let Self { path, file, kind } = self;
        let sync_failed = |error| failed("sync", &path, error);
        match file.sync_all() {
            // fsync(2): the descriptor is a pipe, a socket or a terminal, which cannot be synced.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput) => {}
            synced => synced.map_err(sync_failed)?,
        }
        let Kind::Temporary(temporary) = kind else { return Ok(()) };
        let directory = temporary.directory();
        temporary.publish(&file).map_err(|error| failed("rename the finished file to", &path, error))?;
        // btrfs ignores a sync of a file without a name, so the file is synced under its name too.
        file.sync_all().map_err(sync_failed)?;
        sys::fsync(directory).map_err(|error| sync_failed(error.into()))
    }

    fn write_failed(&self, error: io::Error) -> io::Error {
        match error.kind() {
            // `write_all` tries again.
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::BrokenPipe if self.is_stdout() => io::Error::new(error.kind(), StdoutClosed),
            _ => failed("write", &self.path, error),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| self.write_failed(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error with what was tried and where in its text; its kind stays.
fn failed(action: &str, path: &Path, error: io::Error) -> io::Error {
    let name = if path == Path::new("-") { "stdout".into() } else { path.display().to_string() };
    io::Error::new(error.kind(), format!("cannot {action} {name}: {error}"))
}

enum Destination {
    InPlace,
    Replace(PathBuf),
}

/// Follows symlinks to the file that `path` means, which need not exist.
fn destination(path: &Path) -> io::Result<Destination> {
    let path = crate::destination::resolve(path)?;
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Destination::Replace(path)),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    // A link is only left in /proc: an open file, whatever name it shows.
    Ok(if metadata.is_file() { Destination::Replace(path) } else { Destination::InPlace })
}

#[cfg(test)]
mod tests;
