//! The record of a tree that this crate made: the image that it holds, and how its layers are made of
//! its files again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use delta_format::{Encoding, OpWriter, SourcePath, Version};
use layer::{DiffId, Digest, Entry, MergeOptions, MergedTree, Spool, open_regular_here};
use rustix::fs::{self as sys, AtFlags, CWD, StatxFlags};
use serde::{Deserialize, Serialize};
use tar_patch::{ApplyOptions, DirSource, apply};

use super::place::beside;
use crate::image::Image;
use crate::oci::{hex, parse_json, to_json};
use crate::registry::MAX_MANIFEST_SIZE;
use crate::store::layout_blobs::read_at_most;
use crate::{Error, Result};

/// The file in a record's directory that says what the tree holds.
const IMAGE_FILE: &str = "image.json";
/// Bytes of a layer that are read at once.
const STEP: usize = 1 << 20;

/// The image in a tree, and the directory that says so.
///
/// Beside `image.json`, the directory has a delta from the tree to each layer of its image: copies of
/// the files that are in the tree, and the rest (headers, and files that a higher layer hides) as it
/// is. So a layer that the next image has as well need not be fetched.
#[derive(Debug, Clone)]
pub struct TreeRecord {
    dir: PathBuf,
    /// The name that was pulled.
    pub reference: String,
    /// Digest of the manifest that was pulled.
    pub manifest: Digest,
    /// Digest of the config: the image's id.
    pub config: Digest,
    /// The layers, lowest first.
    pub layers: Vec<TreeLayer>,
}

/// A layer of the image in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// Size of its uncompressed tar in bytes.
    pub size: u64,
}

/// As it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    reference: String,
    manifest: String,
    config: String,
    layers: Vec<StoredLayer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredLayer {
    diff_id: String,
    size: u64,
}

impl TreeRecord {
    /// The record of the tree in `dir`; `None` if there is none, if it is of another tree that was
    /// there before, or if somebody other than this user and root may have written it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`].
    pub fn find(dir: &Path) -> Result<Option<Self>> {
        let Ok(dir) = fs::canonicalize(dir) else { return Ok(None) };
        let Some(state) = beside(&dir) else { return Ok(None) };
        if !is_trusted(&state) {
            return Ok(None);
        }
        Self::open(&state.join(name_of(&dir)?))
    }

    fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(IMAGE_FILE);
        let file = match open_own(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let bytes = read_at_most(file, &path, MAX_MANIFEST_SIZE)?;
        let what = path.display().to_string();
        let stored: Stored = parse_json(&what, &bytes)?;
        let digest = |text: &str| text.parse().map_err(|error| Error::malformed(&what, error));
        let layer = |layer: &StoredLayer| {
            Ok(TreeLayer { diff_id: DiffId(digest(&layer.diff_id)?), size: layer.size })
        };
        Ok(Some(Self {
            dir: dir.to_owned(),
            manifest: digest(&stored.manifest)?,
            config: digest(&stored.config)?,
            layers: stored.layers.iter().map(layer).collect::<Result<_>>()?,
            reference: stored.reference,
        }))
    }

    /// The layer with this diff_id.
    pub fn layer(&self, diff_id: DiffId) -> Option<TreeLayer> {
        self.layers.iter().find(|layer| layer.diff_id == diff_id).copied()
    }

    /// Makes the record of a finished tree, in the directory `state`. The spools and their entries
    /// are those of the layers, lowest first.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Layer`].
    pub(super) fn write(
        state: &Path,
        tree: &Path,
        (image, reference): (&Image, &str),
        layers: &[Spool],
        entries: &[Vec<Entry>],
    ) -> Result<()> {
        let dir = state.join(name_of(tree)?);
        fs::create_dir(&dir).map_err(Error::io("create", &dir))?;
        let options = MergeOptions::default().apply_whiteouts(true);
        let merged = MergedTree::merge(entries, &options);
        for (index, (spool, layer)) in layers.iter().zip(&image.layers).enumerate() {
            write_delta(&delta_path(&dir, layer.diff_id), (index, spool), &merged)?;
        }
        let layer = |(spool, layer): (&Spool, &crate::image::ImageLayer)| StoredLayer {
            diff_id: layer.diff_id.to_string(),
            size: spool.size(),
        };
        let stored = Stored {
            reference: reference.to_owned(),
            manifest: image.manifest.digest.to_string(),
            config: image.config_digest.to_string(),
            layers: layers.iter().zip(&image.layers).map(layer).collect(),
        };
        let path = dir.join(IMAGE_FILE);
        fs::write(&path, to_json(&stored)).map_err(Error::io("write", path))
    }

    /// Rebuilds a layer from the files in the tree. Gives the size of its tar in bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the image has no such layer; [`Error::Patch`] if files were changed;
    /// [`Error::Io`].
    pub(super) fn rebuild(
        &self,
        diff_id: DiffId,
        mut tree: DirSource,
        max_output: u64,
        output: &mut dyn Write,
    ) -> Result<u64> {
        let path = delta_path(&self.dir, diff_id);
        let not_found = || Error::NotFound { what: format!("layer {diff_id} in {}", self.dir.display()) };
        let known = self.layer(diff_id).ok_or_else(not_found)?;
        let delta = match open_own(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found()),
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let max_output = max_output.min(known.size);
        let options = ApplyOptions::default().expected(diff_id).max_output(max_output);
        Ok(apply(delta, &mut tree, options, output)?.size)
    }
}

/// Tells whether only this user and root can have written what is in a record's directory.
fn is_trusted(state: &Path) -> bool {
    fs::symlink_metadata(state).is_ok_and(|state| {
        let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&state.uid());
        state.is_dir() && is_ours && state.mode() & 0o022 == 0
    })
}

/// Opens a file of a record.
fn open_own(path: &Path) -> io::Result<File> {
    open_regular_here(path, OpenOptions::new().read(true))
}

/// The name of the record of the tree in `dir`. It tells the tree from any other that is put in its
/// place: an inode's number may be given again, but not with the same time of birth.
pub(super) fn name_of(dir: &Path) -> Result<String> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let stat = sys::statx(CWD, dir, AtFlags::SYMLINK_NOFOLLOW, wanted);
    let stat = stat.map_err(|error| Error::io("look at", dir)(error.into()))?;
    let birth = stat.stx_btime;
    Ok(format!("image-{}-{}-{}", stat.stx_ino, birth.tv_sec, birth.tv_nsec))
}

fn delta_path(dir: &Path, diff_id: DiffId) -> PathBuf {
    dir.join(format!("{}.tardiff", hex(diff_id.0)))
}

/// Writes the delta from the tree to a layer that it was made of. Nothing is compared: which file is
/// made of which part of the layer is known.
fn write_delta(path: &Path, (index, spool): (usize, &Spool), merged: &MergedTree) -> Result<()> {
    let file = File::create(path).map_err(Error::io("create", path))?;
    let failed = |error: delta_format::Error| Error::Patch(error.into());
    let mut writer = OpWriter::new(BufWriter::new(file), Version::V1, Encoding::default()).map_err(failed)?;
    let literal = |writer: &mut OpWriter<_>, range: std::ops::Range<u64>| -> Result<()> {
        spool.for_each_chunk(range, STEP, |bytes| writer.literal(bytes).map_err(failed))
    };
    let mut files: Vec<_> = merged.files().iter().filter(|file| file.layer == index).collect();
    files.sort_by_key(|file| file.data.start);
    let mut at = 0;
    for file in files {
        let Ok(source) = SourcePath::new(&file.path) else { continue };
        literal(&mut writer, at..file.data.start)?;
        writer.copy(&source, 0, file.data.end - file.data.start).map_err(failed)?;
        at = file.data.end;
    }
    literal(&mut writer, at..spool.size())?;
    let (mut output, _) = writer.finish().map_err(failed)?;
    output.flush().map_err(Error::io("write", path))
}
