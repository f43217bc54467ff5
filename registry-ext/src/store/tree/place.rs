//! The place of a tree: the things that are there, and the answer whether they may be replaced.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::TreeRecord;
use crate::{Error, Result};

/// The things that are in the place of a tree.
pub(super) enum There {
    Nothing,
    Empty,
    /// A tree that this crate made.
    Ours(TreeRecord),
}

/// The directory beside the tree in `dir`, whose path has no symlinks. `None` for the root of the file
/// system.
pub(super) fn beside(dir: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(dir.file_name()?);
    name.push(".registry-ext");
    Some(dir.with_file_name(name))
}

/// The path without symlinks. The directory itself need not exist; those above it are made.
pub(super) fn real_path(dir: &Path) -> Result<PathBuf> {
    if fs::symlink_metadata(dir).is_ok() {
        return fs::canonicalize(dir).map_err(Error::io("resolve", dir));
    }
    let name = dir.file_name().ok_or_else(|| refused(dir, "it names no directory"))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    Ok(fs::canonicalize(parent).map_err(Error::io("resolve", parent))?.join(name))
}

/// Makes a directory that nobody else can enter, or sees that it is one.
pub(super) fn make_private(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(Error::io("create", dir)),
    }
    let metadata = fs::symlink_metadata(dir).map_err(Error::io("look at", dir))?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    if metadata.is_dir() && is_own && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(refused(dir, "others can enter it, or it is not a directory of yours; remove it"))
}

/// Sees what is in the place of a tree, and refuses what must not be replaced.
pub(super) fn look(dir: &Path) -> Result<There> {
    let metadata = match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(There::Nothing),
        looked => looked.map_err(Error::io("look at", dir))?,
    };
    if !metadata.is_dir() {
        return Err(refused(dir, "it is not a directory"));
    }
    if let Some(mount) = mount_in(dir) {
        let reason =
            format!("{} is a mount point: unmount it, or name a directory below it", mount.display());
        return Err(refused(dir, &reason));
    }
    match TreeRecord::find(dir) {
        Ok(Some(record)) => return Ok(There::Ours(record)),
        Ok(None) => {}
        Err(error) => {
            let state = beside(dir).unwrap_or_default();
            let reason = format!(
                "the record of it in {} cannot be read ({}): move both away, or name another directory",
                state.display(),
                error.one_line()
            );
            return Err(refused(dir, &reason));
        }
    }
    let mut listed = fs::read_dir(dir).map_err(Error::io("list", dir))?;
    if listed.next().is_none() {
        return Ok(There::Empty);
    }
    let reason = "it is not empty, and no tree that an earlier pull made: move it away, or name another \
                  directory (it can still be a source: --source tree:DIR)";
    Err(refused(dir, reason))
}

/// A mount point at or below `dir` (proc_pid_mountinfo(5)). Where there is no such list, removing the
/// old tree stops at what is mounted there.
fn mount_in(dir: &Path) -> Option<PathBuf> {
    let list = fs::read("/proc/self/mountinfo").ok()?;
    let points = list.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&b| b == b' ').nth(4));
    points.map(unescape).find(|point| point.starts_with(dir))
}

/// Undoes the escapes of that list: `\` and three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let (mut path, mut rest) = (Vec::new(), text);
    while let [first, after @ ..] = rest {
        let digits =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(path).into()
}

pub(super) fn refused(dir: &Path, reason: &str) -> Error {
    Error::Reference { text: format!("tree:{}", dir.display()), reason: reason.to_owned() }
}
