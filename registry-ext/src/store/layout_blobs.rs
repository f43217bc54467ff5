//! The blobs of an OCI image layout: files that are named by their digests.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use layer::{Digest, DigestWriter};
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
        let path = self.blob_path(expected);
        let what = || path.display().to_string();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound { what: format!("blob {expected} in {self}") });
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let mut writer = DigestWriter::new(io::sink());
        io::copy(&mut file, &mut writer).map_err(Error::io("read", &path))?;
        let (_, actual, size) = writer.finish();
        if size != blob.size() {
            return Err(Error::SizeMismatch { what: what(), expected: blob.size(), actual: size });
        }
        if actual != expected {
            return Err(Error::DigestMismatch { what: what(), expected, actual });
        }
        Ok(path)
    }

    /// Stores a copy of a file as the blob with this digest, unless it is there. Where the file
    /// system can do that, the copy shares its bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_blob(&self, digest: Digest, path: &Path) -> Result<()> {
        let blob = self.blob_path(digest);
        if blob.exists() {
            return Ok(());
        }
        let mut from = File::open(path).map_err(Error::io("open", path))?;
        let mut copy = self.temporary()?;
        io::copy(&mut from, copy.as_file_mut()).map_err(Error::io("write", &blob))?;
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

    /// Syncs a file and renames it to its place, readable for all as other tools leave it.
    pub(super) fn persist(&self, file: NamedTempFile, path: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(Error::io("chmod", path))?;
        file.as_file().sync_all().map_err(Error::io("sync", path))?;
        file.persist(path).map_err(|error| Error::io("rename to", path)(error.error))?;
        Ok(())
    }
}

/// Reads a document, which is no larger than a registry would give it.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST_SIZE + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_MANIFEST_SIZE {
        let what = path.display().to_string();
        return Err(Error::TooLarge { what, size: bytes.len() as u64, max: MAX_MANIFEST_SIZE });
    }
    Ok(bytes)
}
