//! Puts an image into a tree, all at once.
//!
//! Beside the tree `DIR/NAME` is the directory `DIR/.NAME.registry-ext`, which only its owner may
//! enter. In it are a lock, the record of the tree, and the next tree while it is made. The next tree
//! gets its own record, then changes places with the one that is there by one rename: whenever the
//! process is killed, there is a whole tree, and its record. What else is left is removed by the next
//! run.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use layer::{DiffId, Entry, Listing, Spool, SpoolOptions, open_regular_here};
use rustix::fs::{self as sys, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tar_patch::DirSource;

use super::place::{There, beside, look, make_private, real_path, refused};
use super::record::name_of;
use super::{TreeRecord, TreeStore};
use crate::image::Image;
use crate::oci::{Name, digest_of, parse_manifest, short};
use crate::scratch::Listed;
use crate::store::OciLayout;
use crate::store::lock::lock_within;
use crate::watch::Watch;
use crate::{Error, Result};
use rootfs::{LeftOut, Unpacker, remove_path};

/// The directory in which the next tree is made.
const WORK: &str = "work";
const LOCK: &str = "lock";
/// The time for which another pull into the same tree is waited for. A timer that starts a pull now and then
/// shall not pile up processes behind one that hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// A tree that images are put into. Others that want to put one there wait until it is dropped.
#[derive(Debug)]
pub struct TreeTarget {
    /// The tree's own path, without symlinks.
    dir: PathBuf,
    /// The directory beside it.
    state: PathBuf,
    /// Of the image that is there.
    record: Option<TreeRecord>,
    _work: Listed,
    _lock: File,
}

impl TreeTarget {
    /// Prepares to put an image into the directory `dir`, which is made if it does not exist. Waits
    /// for others that do the same: ten minutes.
    ///
    /// # Errors
    /// [`Error::Reference`] if `dir` holds something else, or something is mounted there;
    /// [`Error::Io`], also if another process keeps the lock.
    pub fn open(dir: &Path, watch: &Watch) -> Result<Self> {
        Self::open_within(dir, PATIENCE, watch)
    }

    /// Does what [`open`](Self::open) does, and waits so long for others.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(dir: &Path, patience: Duration, watch: &Watch) -> Result<Self> {
        let dir = real_path(dir)?;
        let state = beside(&dir).ok_or_else(|| refused(&dir, "it cannot be replaced"))?;
        make_private(&state)?;
        let path = state.join(LOCK);
        let lock = open_regular_here(&path, OpenOptions::new().write(true).create(true));
        let lock = lock.map_err(Error::io("open the lock", &path))?;
        let waiting = || watch.warn(&format!("waiting for another pull into {}", dir.display()));
        lock_within(&lock, patience, waiting).map_err(Error::io("lock", &path))?;
        let record = match look(&dir)? {
            There::Ours(record) => Some(record),
            There::Nothing | There::Empty => None,
        };
        tidy(&dir, &state)?;
        let work = state.join(WORK);
        let make = || fs::create_dir(&work).map(|()| &work);
        let (_, listed) = Listed::make(make).map_err(Error::io("create", &work))?;
        Ok(Self { dir, state, record, _work: listed, _lock: lock })
    }

    /// The image that is there.
    pub const fn record(&self) -> Option<&TreeRecord> {
        self.record.as_ref()
    }

    /// The tree that is there, to read from.
    pub fn source(&self) -> Option<TreeStore> {
        self.record.is_some().then(|| TreeStore::new(&self.dir, None))
    }

    /// An empty layout in the tree's file system, for what is pulled. It goes away with the target.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn layout(&self) -> Result<OciLayout> {
        OciLayout::create(&self.state.join(WORK).join("layout"))
    }

    /// Rebuilds the layers of `image` that the image in the tree has too, as plain blobs in `layout`.
    /// Gives the sizes of their tars in bytes. A layer whose files were changed is left out, which
    /// costs a warning.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Patch`] if the tree cannot be opened.
    pub fn rebuild(
        &self,
        image: &Image,
        layout: &OciLayout,
        max_layer_size: u64,
        watch: &Watch,
    ) -> Result<HashMap<DiffId, u64>> {
        let mut rebuilt = HashMap::new();
        let Some(record) = &self.record else { return Ok(rebuilt) };
        for layer in &image.layers {
            let Some(known) = record.layer(layer.diff_id).filter(|_| !rebuilt.contains_key(&layer.diff_id))
            else {
                continue;
            };
            let task = watch.start(format!("tree {}", short(layer.diff_id)), known.size);
            let mut file = layout.temporary()?;
            let tree = DirSource::open(&self.dir)?;
            match record.rebuild(layer.diff_id, tree, max_layer_size, file.as_file_mut()) {
                Ok(size) => {
                    layout.add_blob(layer.diff_id.0, file)?;
                    task.advance(size);
                    rebuilt.insert(layer.diff_id, size);
                }
                Err(error) => watch.warn(&format!(
                    "layer {} is fetched, since files of it in {} were changed: {}",
                    short(layer.diff_id),
                    self.dir.display(),
                    error.one_line()
                )),
            }
        }
        Ok(rebuilt)
    }

    /// Unpacks the image that `layout` has under `tag`, and puts it in the place of what is there.
    /// `reference` is what the record calls it.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a layer cannot be unpacked; [`Error::Layer`], [`Error::Io`].
    pub fn put(
        self,
        (layout, tag): (&OciLayout, &str),
        (image, reference): (&Image, &str),
        options: &SpoolOptions,
        watch: &Watch,
    ) -> Result<()> {
        let tree = self.state.join(WORK).join("tree");
        DirBuilder::new().mode(0o700).create(&tree).map_err(Error::io("create", &tree))?;
        let mut unpacker = Unpacker::new(&tree)?;
        let blobs = blobs(layout, tag)?;
        let layers: Vec<Spool> =
            blobs.iter().map(|blob| Spool::open_blob(blob, options)).collect::<layer::Result<_>>()?;
        // All entries are kept until the record is written, so that they share what is granted.
        let mut listing = Listing::of(&layers);
        let mut entries: Vec<Vec<Entry>> = Vec::with_capacity(layers.len());
        for (index, spool) in layers.iter().enumerate() {
            entries.push(listing.entries(spool)?);
            let id = image.layers.get(index).map(|layer| short(layer.diff_id)).unwrap_or_default();
            let task = watch.start(format!("unpack {id}"), spool.size());
            unpacker.layer(spool, &|bytes| task.advance(bytes))?;
        }
        warn(unpacker.finish()?, watch);
        TreeRecord::write(&self.state, &tree, (image, reference), &layers, &entries)?;
        // A rename may reach the disk before what it is of.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let synced = sys::open(&self.state, flags, Mode::empty()).and_then(sys::syncfs);
        synced.map_err(|error| Error::io("sync the file system of", &self.state)(error.into()))?;
        self.replace(&tree)?;
        if let Err(error) = tidy(&self.dir, &self.state) {
            watch.warn(&format!("the next pull will try again to remove the old tree: {}", error.one_line()));
        }
        Ok(())
    }

    /// Gives `tree` the place of what is there.
    fn replace(&self, tree: &Path) -> Result<()> {
        let renamed = match look(&self.dir)? {
            There::Nothing => sys::renameat_with(CWD, tree, CWD, &self.dir, RenameFlags::NOREPLACE),
            // rename(2) replaces an empty directory, and only such a one.
            There::Empty => sys::rename(tree, &self.dir),
            There::Ours(_) => sys::renameat_with(CWD, tree, CWD, &self.dir, RenameFlags::EXCHANGE),
        };
        renamed.map_err(|error| match error {
            Errno::INVAL => {
                refused(&self.dir, "its file system cannot exchange directories; remove it first")
            }
            error => Error::io("put the tree in its place,", &self.dir)(error.into()),
        })
    }
}

impl Drop for TreeTarget {
    fn drop(&mut self) {
        // What is left is removed by the next run.
        let _ = remove_path(&self.state.join(WORK));
    }
}

/// Removes everything but the record of the tree that is there: the work of runs that were killed,
/// the old tree.
fn tidy(dir: &Path, state: &Path) -> Result<()> {
    let failed = |path: &Path, error| Error::Io { action: "remove", path: path.to_owned(), source: error };
    let current = match name_of(dir) {
        Ok(name) => OsString::from(name),
        Err(_) => OsString::new(),
    };
    let listed = fs::read_dir(state).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for entry in listed.map_err(Error::io("list", state))? {
        let (name, path) = (entry.file_name(), entry.path());
        if name == LOCK || name == current {
            continue;
        }
        remove_path(&path).map_err(|error| failed(&path, error.into()))?;
    }
    Ok(())
}

/// The files of the layers of an image in a layout, lowest first.
fn blobs(layout: &OciLayout, tag: &str) -> Result<Vec<PathBuf>> {
    let manifest = layout.manifest(&Name::Tag(tag.to_owned()))?;
    let manifest = manifest.ok_or_else(|| Error::NotFound { what: format!("{layout}:{tag}") })?;
    let parsed = parse_manifest("manifest", &manifest.bytes)?;
    parsed.layers().iter().map(|blob| Ok(layout.blob_path(digest_of(blob)?))).collect()
}

fn warn(left_out: LeftOut, watch: &Watch) {
    let LeftOut { devices, attributes, unknown } = left_out;
    for (count, what) in [
        (devices, "devices are left out, since only root may make them"),
        (attributes, "files lack extended attributes, which the file system or the kernel refuses"),
        (unknown, "entries of unknown types are left out"),
    ] {
        if count > 0 {
            watch.warn(&format!("{count} {what}"));
        }
    }
}
