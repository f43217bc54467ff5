//! The directories of an overlay file system as one tree, without mounting it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use delta_format::{Budget, Error as DeltaError, SourceFiles, SourcePath, Work};
use tar_patch::{DirFile, DirSource};

use crate::Result;

/// The upper directories of an overlay, merged as the kernel merges them (Linux kernel
/// documentation, "Overlay Filesystem"): a character device 0:0 hides what lower ones have, and so
/// does a directory with the attribute `trusted.overlay.opaque` or `user.overlay.opaque`.
///
/// A symlink among the directories of a path is followed within its own directory only. Deltas do
/// not read through symlinks, as a rule; one that does finds nothing here, or another file, and the
/// digest of the result tells.
#[derive(Debug)]
pub struct MergedDirs {
    /// The top one first.
    dirs: Vec<(PathBuf, DirSource)>,
}

/// Work to look a component of a path up in one directory: three system calls, each of which goes the way
/// from the start.
const COMPONENT_WORK: u64 = 4 << 10;

/// The state of one directory at a path.
enum Found {
    /// It has the file.
    Here,
    /// It has nothing: look below.
    Below,
    /// It hides what is below.
    Hidden,
}

impl MergedDirs {
    /// Merges directories, the lowest first.
    ///
    /// # Errors
    /// [`Error::Patch`](crate::Error::Patch) if one cannot be opened.
    pub fn open(dirs: &[PathBuf]) -> Result<Self> {
        let opened = dirs.iter().rev().map(|dir| Ok((dir.clone(), DirSource::open(dir)?)));
        Ok(Self { dirs: opened.collect::<Result<_>>()? })
    }
}

impl SourceFiles for MergedDirs {
    type File = DirFile;

    fn open(&mut self, path: &SourcePath, budget: &Budget) -> delta_format::Result<DirFile> {
        let components = path.as_bytes().split(|&byte| byte == b'/').count() as u64;
        for (dir, source) in &mut self.dirs {
            budget.charge(Work::reading(COMPONENT_WORK * components))?;
            match look(dir, path.as_bytes()) {
                Ok(Found::Here) => return source.open(path, budget),
                Ok(Found::Below) => {}
                Ok(Found::Hidden) => break,
                Err(error) => {
                    return Err(DeltaError::SourceUnreadable { path: path.clone(), source: error });
                }
            }
        }
        let source = io::Error::new(io::ErrorKind::NotFound, "no layer has it");
        Err(DeltaError::SourceMissing { path: path.clone(), source })
    }
}

fn look(dir: &Path, path: &[u8]) -> io::Result<Found> {
    let mut at = dir.to_owned();
    let mut is_opaque = false;
    let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    for (index, component) in components.iter().enumerate() {
        at.push(std::ffi::OsStr::from_bytes(component));
        let metadata = match fs::symlink_metadata(&at) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(if is_opaque { Found::Hidden } else { Found::Below });
            }
            Err(error) => return Err(error),
        };
        if is_whiteout(&metadata) {
            return Ok(Found::Hidden);
        }
        if index + 1 == components.len() {
            return Ok(Found::Here);
        }
        if metadata.is_symlink() {
            // Followed by the source, or not at all.
            return Ok(Found::Here);
        }
        if !metadata.is_dir() {
            return Ok(Found::Hidden);
        }
        is_opaque |= has_opaque_attribute(&at);
    }
    Ok(Found::Below)
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn has_opaque_attribute(dir: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 4];
        rustix::fs::lgetxattr(dir, *name, &mut value[..]).is_ok_and(|size| value[..size] == *b"y")
    })
}

#[cfg(test)]
mod tests {
    use delta_format::SourceFile;

    use super::*;

    fn read(dirs: &mut MergedDirs, path: &str) -> Option<Vec<u8>> {
        let file = dirs.open(&SourcePath::new(path.as_bytes()).unwrap(), &Budget::unlimited()).ok()?;
        let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn upper_layers_win() {
        let root = tempfile::tempdir().unwrap();
        let dirs = ["lower", "upper"].map(|name| root.path().join(name));
        for (dir, path, bytes) in [
            (0, "a/same", "old"),
            (1, "a/same", "new"),
            (0, "a/low", "low"),
            (1, "b/high", "high"),
            (0, "c/d", "d"),
        ] {
            let path = dirs[dir].join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::write(dirs[1].join("c"), "a file where a directory was").unwrap();
        let mut merged = MergedDirs::open(&dirs).unwrap();
        assert_eq!(read(&mut merged, "a/same").unwrap(), b"new");
        assert_eq!(read(&mut merged, "a/low").unwrap(), b"low");
        assert_eq!(read(&mut merged, "b/high").unwrap(), b"high");
        assert_eq!(read(&mut merged, "c/d"), None);
        assert_eq!(read(&mut merged, "absent"), None);
    }
}
