//! The store of containerd, and of a docker that keeps its images there (github.com/containerd/containerd).
//!
//! ```text
//! ROOT/io.containerd.content.v1.content/blobs/sha256/HEX        configs, manifests, compressed layers
//! ROOT/io.containerd.metadata.v1.bolt/meta.db                   v1/NAMESPACE/content/blob/DIGEST/labels
//! ROOT/io.containerd.snapshotter.v1.overlayfs/metadata.db       v1/snapshots/NAMESPACE/N/CHAIN: id, kind, parent
//! ROOT/io.containerd.snapshotter.v1.overlayfs/snapshots/ID/fs   the files of one layer
//! ROOT/io.containerd.snapshotter.v1.native/snapshots/ID         the files of a layer and of those below it
//! ```
//!
//! It is only read, beside a daemon that may change it at any time: each call looks anew. Namespaces do not
//! matter, since the name of a snapshot says which files are in it. Layers whose snapshots are gone, or are
//! kept by another snapshotter, are read from their compressed blobs.

mod snapshots;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use layer::{DiffId, Digest, Spool, SpoolOptions};
use tar_patch::LayerSource;

use super::layer_dirs::{DirContent, chain_ids, diff_ids_of, is_readable_dir, of_store, open_dirs};
use super::{Base, LayerStore, Sources, bolt};
use crate::oci::hex;
use crate::{Error, Result};
use snapshots::Snapshotter;

/// The label of a compressed layer that has its diff_id.
const UNCOMPRESSED: &[u8] = b"containerd.io/uncompressed";

/// The directory of a containerd daemon, to read from: snapshotters overlayfs and native, and the content
/// store.
#[derive(Debug, Clone)]
pub struct ContainerdStore {
    root: PathBuf,
}

/// The files of a base.
enum Files {
    /// In a directory for each layer, lowest first.
    Dirs(Vec<PathBuf>, DirContent),
    /// In the blob of each layer, lowest first.
    Blobs(Vec<PathBuf>),
}

impl ContainerdStore {
    /// The directory of the daemon, unless it is told another (`root`).
    pub const DEFAULT_ROOT: &'static str = "/var/lib/containerd";

    /// Opens the directory of a daemon.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::StoreOfOthers`] if this user may not read it;
    /// [`Error::Io`].
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        // The daemon lets others pass through its directory, and read a part of what is in it.
        let is_there =
            is_readable_dir(root).and_then(|is_there| Ok(is_there && is_readable_dir(&store.content())?));
        if !is_there.map_err(of_store(&store))? {
            return Err(Error::NotFound { what: format!("a containerd store in {}", root.display()) });
        }
        Ok(store)
    }

    fn content(&self) -> PathBuf {
        self.root.join("io.containerd.content.v1.content")
    }

    fn blobs(&self) -> PathBuf {
        self.content().join("blobs/sha256")
    }

    /// The files of `base`; `None` if they are not all there.
    fn files(&self, base: Base) -> Result<Option<Files>> {
        let diff_ids = match base {
            Base::Layer(diff_id) => vec![diff_id],
            Base::Image(config) => match diff_ids_of(&self.blobs(), config)? {
                Some(diff_ids) if !diff_ids.is_empty() => diff_ids,
                _ => return Ok(None),
            },
        };
        for snapshotter in Snapshotter::ALL {
            let Some(snapshots) = snapshotter.read(&self.root)? else { continue };
            let dirs = match base {
                Base::Layer(diff_id) => snapshots.dir_of_layer(diff_id)?.map(|dir| vec![dir]),
                Base::Image(_) => chain_ids(&diff_ids)
                    .into_iter()
                    .map(|chain| snapshots.dir_of_chain(chain))
                    .collect::<Result<_>>()?,
            };
            if let Some(dirs) = dirs {
                return Ok(Some(Files::Dirs(dirs, snapshotter.content())));
            }
        }
        Ok(self.blobs_of(&diff_ids)?.map(Files::Blobs))
    }

    /// The blobs of layers, if each is there.
    fn blobs_of(&self, diff_ids: &[DiffId]) -> Result<Option<Vec<PathBuf>>> {
        let wanted: HashSet<DiffId> = diff_ids.iter().copied().collect();
        let compressed = self.compressed(&wanted)?;
        let there = |digest: Digest| Some(self.blobs().join(hex(digest))).filter(|path| path.is_file());
        let blob = |diff_id: &DiffId| {
            // A layer that is not compressed has no label.
            there(diff_id.0)
                .or_else(|| compressed.get(diff_id).into_iter().flatten().find_map(|&digest| there(digest)))
        };
        Ok(diff_ids.iter().map(blob).collect())
    }

    /// The digests of the compressed layers with these diff_ids, in all namespaces.
    fn compressed(&self, wanted: &HashSet<DiffId>) -> Result<HashMap<DiffId, Vec<Digest>>> {
        let path = self.root.join("io.containerd.metadata.v1.bolt/meta.db");
        let found = bolt::read(&path, |root| {
            let mut found: HashMap<DiffId, Vec<Digest>> = HashMap::new();
            let Some(namespaces) = root.bucket(b"v1")? else { return Ok(found) };
            namespaces.buckets(|_, namespace| {
                let Some(content) = namespace.bucket(b"content")? else { return Ok(()) };
                let Some(blobs) = content.bucket(b"blob")? else { return Ok(()) };
                blobs.buckets(|digest, blob| {
                    let Some(labels) = blob.bucket(b"labels")? else { return Ok(()) };
                    let label = labels.value(UNCOMPRESSED)?;
                    let diff_id = label.and_then(|label| digest_in(&label)).map(DiffId);
                    if let (Some(diff_id), Some(digest)) = (diff_id, digest_in(digest))
                        && wanted.contains(&diff_id)
                    {
                        found.entry(diff_id).or_default().push(digest);
                    }
                    Ok(())
                })
            })?;
            Ok(found)
        })?;
        Ok(found.unwrap_or_default())
    }
}

/// A digest as it stands in keys and values.
fn digest_in(text: &[u8]) -> Option<Digest> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl fmt::Display for ContainerdStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "containerd:{}", self.root.display())
    }
}

impl LayerStore for ContainerdStore {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(self.files(base).map_err(of_store(self))?.is_some())
    }

    fn sources(&self, base: Base, options: &SpoolOptions) -> Result<Sources> {
        let files = self.files(base).map_err(of_store(self))?;
        let files = files.ok_or_else(|| Error::NotFound { what: format!("{base} in {self}") })?;
        match files {
            Files::Dirs(dirs, content) => open_dirs(&dirs, content),
            Files::Blobs(paths) => {
                let open = |path: &PathBuf| Ok(Spool::open_blob(path, options)?);
                let spools = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
                Ok(Sources::Layers(LayerSource::new(spools)?))
            }
        }
    }
}
