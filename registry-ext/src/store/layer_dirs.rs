//! The parts that the stores of docker and containerd have in common: chains of layers, and the directories
//! with their files.
//!
//! Both keep the layers of an image under *chain IDs* (OCI image specification, "Layer ChainID"): the digest
//! of a layer's diff_id and of the chain ID below it, so that a name stands for all files up to this layer.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layer::{DiffId, Digest, open_regular};
use tar_patch::DirSource;

use super::layout_blobs::read_at_most;
use super::{MergedDirs, Sources};
use crate::image::ConfigFields;
use crate::oci::hex;
use crate::registry::MAX_MANIFEST_SIZE;
use crate::{Error, Result};

/// Returns the chain ID of a layer on top of the chain `below`.
pub(super) fn chain_id(below: Option<Digest>, diff_id: DiffId) -> Digest {
    match below {
        Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        None => diff_id.0,
    }
}

/// Returns the chain IDs of an image's layers, lowest first.
pub(super) fn chain_ids(diff_ids: &[DiffId]) -> Vec<Digest> {
    let mut below = None;
    let chains = diff_ids.iter().map(|&diff_id| *below.insert(chain_id(below, diff_id)));
    chains.collect()
}

/// Reads the diff_ids of a config from the file in `dir` that is named by its digest. Returns `None` if there
/// is no such file.
///
/// # Errors
/// [`Error::Io`], [`Error::TooLarge`], [`Error::Malformed`]; [`Error::DigestMismatch`] if the file has another
/// digest.
pub(super) fn diff_ids_of(dir: &Path, config: Digest) -> Result<Option<Vec<DiffId>>> {
    let path = dir.join(hex(config));
    let Some(bytes) = read_if_there(&path, MAX_MANIFEST_SIZE)? else { return Ok(None) };
    let (what, actual) = (path.display().to_string(), Digest::of(&bytes));
    if actual != config {
        return Err(Error::DigestMismatch { what, expected: config, actual });
    }
    ConfigFields::parse(&what, &bytes)?.diff_ids().map(Some)
}

/// Reads a file of at most `max` bytes. Returns `None` if there is none: a daemon may remove it at any time.
///
/// # Errors
/// [`Error::Io`], [`Error::TooLarge`].
pub(super) fn read_if_there(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    match open_regular(path) {
        Ok(file) => read_at_most(file, path, max).map(Some),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

/// Tells whether there is a directory at `path` itself, and not where a link leads to.
///
/// # Errors
/// [`Error::Io`] if it cannot be seen.
pub(super) fn is_dir_itself(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

/// Tells whether there is a directory at `path`, which may be a link, and this user may read it.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub(super) fn is_readable_dir(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Turns an error into one that says what to do if it is that this user may not read a daemon's store.
pub(super) fn of_store(store: &dyn fmt::Display) -> impl Fn(Error) -> Error {
    move |error| match error {
        refused if is_refused(&refused) => match refused {
            Error::Io { source, .. } => Error::StoreOfOthers { store: store.to_string(), source },
            other => other,
        },
        other => other,
    }
}

/// Tells whether an error says that this user may not read a file.
pub(super) fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

/// The files in the directory of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirContent {
    /// Those of the layer alone, with whiteouts as the kernel's overlay has them.
    OwnFiles,
    /// Those of the layer and of all below it. The layer's own files are among them: nothing is above it.
    WholeTree,
}

/// Opens the files of layers from their directories, the lowest first.
///
/// # Errors
/// [`Error::Patch`] if one cannot be opened.
pub(super) fn open_dirs(dirs: &[PathBuf], content: DirContent) -> Result<Sources> {
    match (dirs, content) {
        ([.., top], DirContent::WholeTree) | ([top], DirContent::OwnFiles) => {
            Ok(Sources::Dir(DirSource::open(top)?))
        }
        _ => Ok(Sources::MergedDirs(MergedDirs::open(dirs)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let diff_ids: Vec<DiffId> = [
            "sha256:8846372fcb7cbc01aeff46949d369d5da62c56908a28a8c655eaa19a55d5f57b",
            "sha256:4cc1f393f5b21e5adc4a0eff7118d89d7d9e286c390b1e3dc96ae95f96b5d47f",
        ]
        .map(|digest| digest.parse().unwrap())
        .to_vec();
        // As docker 20.10 and containerd 1.6 have it for these layers.
        let top = "sha256:16e9efd4b2adae31ce592a206aea9ca58faae3b2e6359f0c4891661196959f42".parse().unwrap();
        assert_eq!(chain_ids(&diff_ids), [diff_ids[0].0, top]);
        assert_eq!(chain_ids(&[]), []);
    }
}
