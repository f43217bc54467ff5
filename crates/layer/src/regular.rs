//! Regular files, opened so that nothing else in their place can do harm.
//!
//! A fifo would make the process wait for a writer, and a device can do something because it is opened. So
//! the kind of a file is looked at before it is opened, and again once it is open: the name may have been
//! given to another file in between.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens the regular file at `path` for reading. A symlink is followed.
///
/// # Errors
/// If it is no regular file, which the text says; those of the system.
pub fn open_regular(path: &Path) -> io::Result<File> {
    checked(&fs::metadata(path)?)?;
    open_with(path, OpenOptions::new().read(true), OFlags::empty())
}

/// Opens the regular file at `path` as `options` say. Its last component is no symlink, and a file that is
/// not there is made if `options` allow that.
///
/// # Errors
/// As [`open_regular`].
pub fn open_regular_here(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        looked => checked(&looked?)?,
    }
    open_with(path, options, OFlags::NOFOLLOW)
}

fn open_with(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    // The bits of the flags have this type in every system call of the platform.
    let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    checked(&file.metadata()?)?;
    Ok(file)
}

fn checked(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}
