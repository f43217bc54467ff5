//! A tar of an OCI image layout, as `oci-archive:` names it in other tools.
//!
//! It is written with crate `tar`, since `layer` only reads.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use layer::{EntryKind, Spool, SpoolOptions, clean_path, entries};
use tempfile::NamedTempFile;

use super::OciLayout;
use crate::scratch::ScratchDir;
use crate::{Error, Result};

impl OciLayout {
    /// Unpacks an archive of any compression below `temp_dir`. The files go away with the last clone
    /// of the layout.
    ///
    /// # Errors
    /// [`Error::Layer`] if it is no tar, [`Error::NotFound`] if it holds no layout, [`Error::Io`].
    pub fn unpack(archive: &Path, temp_dir: &Path) -> Result<Self> {
        let options = SpoolOptions::default().temp_dir(temp_dir.to_owned());
        let spool = Spool::open(archive, &options)?;
        let dir = ScratchDir::new_in(temp_dir)?;
        let blobs = dir.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        for entry in entries(&spool)? {
            let path = clean_path(&entry.path).and_then(|path| String::from_utf8(path).ok());
            let Some(path) = path.filter(|_| entry.kind == EntryKind::File) else { continue };
            // Nothing else belongs to a layout that we read, and no path leads elsewhere.
            let is_blob = path.strip_prefix("blobs/sha256/").is_some_and(|name| !name.contains('/'));
            if !is_blob && path != "oci-layout" && path != "index.json" {
                continue;
            }
            let path = dir.path().join(path);
            copy_range(&spool, entry.data, &path)?;
        }
        Self::unpacked(dir, format!("oci-archive:{}", archive.display()))
    }

    /// Writes the layout to an archive, which appears when it is complete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pack(&self, archive: &Path) -> Result<()> {
        let failed = |source| Error::Io { action: "write", path: archive.to_owned(), source };
        let parent =
            archive.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let scratch = ScratchDir::new_in(parent)?;
        let file = NamedTempFile::new_in(scratch.path()).map_err(failed)?;
        let mut builder = tar::Builder::new(file);
        builder.mode(tar::HeaderMode::Deterministic);
        for name in ["oci-layout", "index.json"] {
            builder.append_path_with_name(self.dir().join(name), name).map_err(failed)?;
        }
        let blobs = self.dir().join("blobs/sha256");
        let listed = std::fs::read_dir(&blobs).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut listed = listed.map_err(Error::io("list", &blobs))?;
        listed.sort_by_key(std::fs::DirEntry::file_name);
        for blob in listed {
            let name = Path::new("blobs/sha256").join(blob.file_name());
            builder.append_path_with_name(blob.path(), name).map_err(failed)?;
        }
        let file = builder.into_inner().map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(archive).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn copy_range(spool: &Spool, range: std::ops::Range<u64>, path: &Path) -> Result<()> {
    /// Bytes that are copied at once.
    const STEP: usize = 1 << 20;
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    spool.for_each_chunk(range, STEP, |bytes| file.write_all(bytes).map_err(Error::io("write", path)))
}
