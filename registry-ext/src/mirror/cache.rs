//! The blobs that the mirror keeps: an OCI image layout with a budget of bytes.
//!
//! Blobs go least recently used first. When each was used is kept in the access times of the files, so that it
//! outlives a restart. A blob that was there before the mirror started is compared with its digest before its first
//! use; one that is read by somebody stays.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, FileTimes};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use layer::{Digest, open_regular};
use oci_spec::image::ImageManifest;
use tempfile::NamedTempFile;

use crate::oci::{Manifest, Name, digest_of, parse_manifest};
use crate::scratch::remove_left;
use crate::store::OciLayout;
use crate::{Error, Result};

/// The file whose lock says that a mirror runs here.
const LOCK: &str = "mirror.lock";

/// A blob that is there.
#[derive(Debug)]
struct Kept {
    size: u64,
    used: SystemTime,
    /// True once its bytes were compared with its digest, by this process.
    is_checked: bool,
    /// The file as it is read by somebody.
    open: Weak<File>,
}

/// The blobs that are kept.
#[derive(Debug)]
pub(super) struct BlobCache {
    layout: OciLayout,
    /// Most bytes of all blobs.
    max_size: u64,
    kept: Mutex<HashMap<Digest, Kept>>,
    /// Bytes of the blobs that are being made, which will be kept.
    reserved: Mutex<u64>,
    lock: Mutex<File>,
}

/// Room for a blob that is being made, until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    cache: Arc<BlobCache>,
    size: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        *self.cache.reserved() -= self.size;
    }
}

impl BlobCache {
    /// Opens a cache, and makes the directory if there is none. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] if another mirror has it.
    pub(super) fn open(dir: &Path, max_size: u64) -> Result<Self> {
        // Others may not read the layers of private images.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(Error::io("create", dir))?;
        let mode = fs::metadata(dir).map_err(Error::io("look at", dir))?.mode();
        if mode & 0o077 != 0 {
            tracing::warn!(
                "others may enter the cache {}, and read the layers in it; `chmod 700` keeps them out",
                dir.display()
            );
        }
        let lock = Mutex::new(take(dir)?);
        let layout = OciLayout::create(dir)?;
        // Nobody else writes here, so that a mirror that was killed has left these.
        remove_left(dir);
        let kept = Mutex::new(scan(&dir.join("blobs/sha256"))?);
        let cache = Self { layout, max_size, kept, reserved: Mutex::default(), lock };
        cache.make_room(0);
        Ok(cache)
    }

    /// Makes the cache again if somebody has removed it while the mirror runs. Blocks.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn restore(&self) -> Result<()> {
        let dir = self.layout.dir();
        let is_whole = || dir.join(LOCK).exists() && dir.join("blobs/sha256").is_dir();
        if is_whole() {
            return Ok(());
        }
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request may have done it meanwhile.
        if is_whole() {
            return Ok(());
        }
        tracing::warn!("the cache {} was removed, and is made again", dir.display());
        OciLayout::create(dir)?;
        if !dir.join(LOCK).exists() {
            *lock = take(dir)?;
        }
        *self.kept() = scan(&dir.join("blobs/sha256"))?;
        Ok(())
    }

    /// The layout, which has the files of old images.
    pub(super) const fn layout(&self) -> &OciLayout {
        &self.layout
    }

    /// Bytes of all blobs, and the most that they may have.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.kept().values().map(|kept| kept.size).sum(), self.max_size)
    }

    /// True if a blob of this size can be kept.
    pub(super) const fn takes(&self, size: u64) -> bool {
        size <= self.max_size
    }

    fn reserved(&self) -> MutexGuard<'_, u64> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a blob that is going to be made, beside the others that are. Blocks.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is none.
    pub(super) fn reserve(self: &Arc<Self>, size: u64) -> Result<Reserved> {
        let mut reserved = self.reserved();
        self.make_room(reserved.saturating_add(size));
        let wanted = self.size().0.saturating_add(*reserved).saturating_add(size);
        if wanted > self.max_size {
            let what = "the cache, with what is being made,".to_owned();
            return Err(Error::TooLarge { what, size: wanted, max: self.max_size });
        }
        *reserved += size;
        Ok(Reserved { cache: Arc::clone(self), size })
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Digest, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a blob; `None` if it is not there, or has become another one. Blocks, for long at the first use after a
    /// start.
    pub(super) fn open_blob(&self, digest: Digest) -> Option<Arc<File>> {
        let (size, is_checked) = {
            let mut kept = self.kept();
            let blob = kept.get_mut(&digest)?;
            blob.used = SystemTime::now();
            if let Some(file) = blob.open.upgrade() {
                return Some(file);
            }
            (blob.size, blob.is_checked)
        };
        match self.checked(digest, size, is_checked) {
            Ok(file) => {
                let file = Arc::new(file);
                if let Some(blob) = self.kept().get_mut(&digest) {
                    (blob.is_checked, blob.open) = (true, Arc::downgrade(&file));
                }
                Some(file)
            }
            Err(error) => {
                // Another error is one of the machine, such as too many open files.
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) {
                    self.remove(digest);
                }
                None
            }
        }
    }

    /// Opens the file of a blob whose size, and whose digest unless that `is_checked` already, are right.
    fn checked(&self, digest: Digest, size: u64, is_checked: bool) -> io::Result<File> {
        let path = self.layout.blob_path(digest);
        let file = open_regular(&path)?;
        // Where nobody may write times the blob only looks older than it is.
        let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
        if file.metadata()?.len() != size {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if !is_checked && Digest::of_reader(&file)?.0 != digest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(file)
    }

    /// A file to become a blob by [`keep`](Self::keep).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn temporary(&self) -> Result<NamedTempFile> {
        self.restore()?;
        self.layout.temporary()
    }

    /// Keeps a file whose bytes have this digest. Others go for it. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn keep(&self, digest: Digest, size: u64, file: NamedTempFile) -> Result<()> {
        self.make_room(size);
        // What a power failure leaves of it is compared with its digest.
        self.layout.add_blob_unsynced(digest, file)?;
        let kept = Kept { size, used: SystemTime::now(), is_checked: true, open: Weak::new() };
        self.kept().insert(digest, kept);
        Ok(())
    }

    /// Keeps the manifest and the config of an image that has layers here, so that they are a source once all are.
    /// Blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn keep_image(&self, manifest: &Manifest, config: &[u8]) -> Result<()> {
        let is_known = self.layout.manifest(&Name::Digest(manifest.digest))?.is_some();
        let parsed = parse_manifest("manifest", &manifest.bytes)?;
        if is_known || !self.has_layers(&parsed) {
            return Ok(());
        }
        let digest = Digest::of(config);
        if !self.kept().contains_key(&digest) {
            let file = self.temporary()?;
            fs::write(file.path(), config).map_err(Error::io("write", file.path()))?;
            self.keep(digest, config.len() as u64, file)?;
        }
        self.layout.put_manifest(manifest, None)
    }

    /// Returns true if a layer of an image is here.
    fn has_layers(&self, manifest: &ImageManifest) -> bool {
        let kept = self.kept();
        manifest.layers().iter().any(|layer| digest_of(layer).is_ok_and(|of| kept.contains_key(&of)))
    }

    /// Returns the manifests and configs of the images. They go with the last layer of their image: without them,
    /// layers are of no use as a source.
    fn documents(&self) -> HashSet<Digest> {
        let mut documents = HashSet::new();
        let Ok(index) = self.layout.index() else { return documents };
        for digest in index.manifests().iter().filter_map(|entry| digest_of(entry).ok()) {
            documents.insert(digest);
            let manifest = self.layout.manifest(&Name::Digest(digest)).ok().flatten();
            let parsed = manifest.and_then(|manifest| parse_manifest("manifest", &manifest.bytes).ok());
            documents.extend(parsed.and_then(|manifest| digest_of(manifest.config()).ok()));
        }
        documents
    }

    /// Removes layers until there is room for so many bytes, the least recently used first.
    fn make_room(&self, size: u64) {
        let (mut removed, mut documents) = (false, None);
        loop {
            if self.size().0.saturating_add(size) <= self.max_size {
                break;
            }
            let documents = documents.get_or_insert_with(|| self.documents());
            let oldest = {
                let kept = self.kept();
                let idle = kept.iter().filter(|(_, blob)| blob.open.strong_count() == 0);
                let layers = idle.filter(|(digest, _)| !documents.contains(digest));
                layers.min_by_key(|(_, blob)| blob.used).map(|(digest, _)| *digest)
            };
            // What is being read goes later.
            let Some(oldest) = oldest else { break };
            self.remove(oldest);
            removed = true;
        }
        if removed {
            self.forget_images();
        }
    }

    fn remove(&self, digest: Digest) {
        self.kept().remove(&digest);
        // What cannot be removed is found again by the next start.
        let _ = fs::remove_file(self.layout.blob_path(digest));
    }

    /// Forgets the images of which no layer is left.
    fn forget_images(&self) {
        let Ok(index) = self.layout.index() else { return };
        let mut configs = Vec::new();
        for entry in index.manifests() {
            let Ok(digest) = digest_of(entry) else { continue };
            let manifest = self.layout.manifest(&Name::Digest(digest)).ok().flatten();
            let parsed = manifest.and_then(|manifest| parse_manifest("manifest", &manifest.bytes).ok());
            if parsed.as_ref().is_some_and(|manifest| self.has_layers(manifest)) {
                continue;
            }
            self.kept().remove(&digest);
            let _ = self.layout.delete_manifest(digest);
            configs.extend(parsed.and_then(|manifest| digest_of(manifest.config()).ok()));
        }
        let needed = self.documents();
        configs.into_iter().filter(|config| !needed.contains(config)).for_each(|config| self.remove(config));
    }
}

/// Takes a directory for this mirror alone, as long as the file lives.
fn take(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = options.map_err(Error::io("open", &path))?;
    if lock.try_lock().is_err() {
        let reason = "another mirror uses this cache; each needs a directory of its own";
        return Err(Error::malformed(format!("cache {}", dir.display()), reason));
    }
    Ok(lock)
}

/// Finds the blobs of a directory. What is no blob is left alone.
fn scan(dir: &Path) -> Result<HashMap<Digest, Kept>> {
    let mut kept = HashMap::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let name = entry.file_name();
        let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
        let (Some(digest), Ok(metadata)) = (digest, entry.metadata()) else { continue };
        if metadata.is_file() {
            let used = metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH);
            let blob = Kept { size: metadata.size(), used, is_checked: false, open: Weak::new() };
            kept.insert(digest, blob);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
