//! The blobs of an OCI image layout: files that are named by their digests.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use layer::{Digest, open_regular};
use oci_spec::image::Descriptor;
use tempfile::NamedTempFile;

use super::OciLayout;
use crate::oci::{digest_of, hex};
use crate::registry::MAX_MANIFEST_SIZE;
use crate::{Error, Result};

impl OciLayout {
    /// Returns the path that the blob with this digest has, or would have.
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        self.dir().join("blobs/sha256").join(hex(digest))
    }

    /// The file of a blob, if its bytes are those that the descriptor names.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::SizeMismatch`], [`Error::DigestMismatch`], [`Error::Io`].
    pub fn checked_blob(&self, blob: &Descriptor) -> Result<PathBuf> {
        let expected = digest_of(blob)?;
        let (path, file) = self.open_blob(blob)?;
        let what = || path.display().to_string();
        // It may grow while it is read.
        let read = Digest::of_reader(file.take(blob.size() + 1));
        let (actual, size) = read.map_err(Error::io("read", &path))?;
        if size != blob.size() {
            return Err(Error::SizeMismatch { what: what(), expected: blob.size(), actual: size });
        }
        if actual != expected {
            return Err(Error::DigestMismatch { what: what(), expected, actual });
        }
        Ok(path)
    }

    /// Opens the file of a blob, if its size is the one that the descriptor names.
    fn open_blob(&self, blob: &Descriptor) -> Result<(PathBuf, File)> {
        let digest = digest_of(blob)?;
        let path = self.blob_path(digest);
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound { what: format!("blob {digest} in {self}") });
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let actual = file.metadata().map_err(Error::io("look at", &path))?.len();
        if actual != blob.size() {
            let what = path.display().to_string();
            return Err(Error::SizeMismatch { what, expected: blob.size(), actual });
        }
        Ok((path, file))
    }

    /// Stores a copy of a blob of another layout, as [`put_blob`](Self::put_blob) does.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::SizeMismatch`], [`Error::DigestMismatch`], [`Error::Io`].
    pub(crate) fn copy_blob(&self, other: &Self, blob: &Descriptor) -> Result<()> {
        let (path, file) = other.open_blob(blob)?;
        self.put_opened(digest_of(blob)?, &path, file)
    }

    /// Stores a copy of a file as the blob with this digest, unless a file of that size is there. Where the
    /// file system can do that, the copy shares its bytes. It is the copy that is checked: the file may be
    /// one that others write to.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::Io`].
    pub fn put_blob(&self, digest: Digest, path: &Path) -> Result<()> {
        self.put_opened(digest, path, open_regular(path).map_err(Error::io("open", path))?)
    }

    fn put_opened(&self, digest: Digest, path: &Path, mut from: File) -> Result<()> {
        let blob = self.blob_path(digest);
        let size = from.metadata().map_err(Error::io("look at", path))?.len();
        if fs::metadata(&blob).is_ok_and(|there| there.is_file() && there.len() == size) {
            return Ok(());
        }
        let mut copy = self.temporary()?;
        let file = copy.as_file_mut();
        io::copy(&mut from, file).map_err(Error::io("write", &blob))?;
        file.rewind().map_err(Error::io("read", &blob))?;
        let (actual, _) = Digest::of_reader(file).map_err(Error::io("read", &blob))?;
        if actual != digest {
            return Err(Error::DigestMismatch { what: path.display().to_string(), expected: digest, actual });
        }
        self.persist(copy, &blob)
    }

    /// A file in the layout's file system, to become a blob by [`add_blob`](Self::add_blob).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn temporary(&self) -> Result<NamedTempFile> {
        let dir = self.scratch()?;
        NamedTempFile::new_in(dir).map_err(Error::io("make a temporary file in", dir))
    }

    /// Gives a finished file its place as the blob with this digest.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add_blob(&self, digest: Digest, file: NamedTempFile) -> Result<()> {
        self.persist(file, &self.blob_path(digest))
    }

    /// Does the same in a layout whose blobs are compared with their digests before they are used: after a power
    /// failure, a blob may be there whose bytes are not.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn add_blob_unsynced(&self, digest: Digest, file: NamedTempFile) -> Result<()> {
        rename(file, &self.blob_path(digest))
    }

    /// Syncs a file and renames it to its place.
    pub(super) fn persist(&self, file: NamedTempFile, path: &Path) -> Result<()> {
        file.as_file().sync_all().map_err(Error::io("sync", path))?;
        rename(file, path)
    }
}

/// Renames a file to its place, readable for all as other tools leave it.
fn rename(file: NamedTempFile, path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(Error::io("chmod", path))?;
    file.persist(path).map_err(|error| Error::io("rename to", path)(error.error))?;
    Ok(())
}

/// Reads a document, which is no larger than a registry would give it.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let file = open_regular(path).map_err(Error::io("open", path))?;
    read_at_most(file, path, MAX_MANIFEST_SIZE)
}

/// Reads a file of at most `max` bytes.
pub(super) fn read_at_most(file: File, path: &Path, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    let size = bytes.len() as u64;
    if size > max {
        return Err(Error::TooLarge { what: path.display().to_string(), size, max });
    }
    Ok(bytes)
}
