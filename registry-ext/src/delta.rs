//! Makes the deltas between the layers of two images, and proves each.

mod in_directory;
mod merge;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use delta_format::Version;
use derive_setters::Setters;
use futures_util::{StreamExt, TryStreamExt, stream};
use layer::{BlobDigest, DiffId, Digest, DigestWriter, MergeOptions, Spool, SpoolOptions};
use oci_spec::image::Descriptor;
use tar_diff::{DiffOptions, Method};
use tempfile::NamedTempFile;

use crate::artifact::{media_type_of, with_work};
use crate::error::blocking;
use crate::image::ImageLayer;
use crate::oci::{check_diff_id, descriptor, hex, short};
use crate::repository::Repository;
use crate::scratch::ScratchDir;
use crate::watch::Watch;
use crate::{Error, Result};
use in_directory::InDirectory;
pub use merge::Merged;
pub(crate) use merge::{ImageMerger, MergeOutcome, MergeStep, PublishedPart, reason_not_merged};

/// The options for making deltas.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct MakeOptions {
    /// The options of tar-diff. Which files may be sources is decided here: those of all layers of
    /// the old image, without what whiteouts hide and without the object store of ostree (as the Go
    /// tool oci-delta has it). `_deltaindex` is always written with bsdiff. With `sees_through`,
    /// tardf3 deltas are made beside those that other clients read.
    pub diff: DiffOptions,
    /// The directory for downloads, unpacked layers and deltas.
    #[setters(into)]
    pub temp_dir: PathBuf,
    /// Downloads at one time.
    pub concurrency: usize,
    /// Most bytes of one unpacked layer.
    pub max_layer_size: u64,
}

impl Default for MakeOptions {
    fn default() -> Self {
        Self {
            diff: DiffOptions::default(),
            temp_dir: std::env::temp_dir(),
            concurrency: 4,
            max_layer_size: MAX_LAYER_SIZE,
        }
    }
}

/// Most bytes of one unpacked layer, unless the caller says otherwise: a blob of a few megabytes can
/// unpack to any size.
pub const MAX_LAYER_SIZE: u64 = 64 << 30;

/// The files of an old image that deltas may read: those that whiteouts leave, and not the object store of ostree.
fn merge_options() -> MergeOptions {
    MergeOptions::default().apply_whiteouts(true).ignored_prefixes(vec![b"sysroot/ostree/".to_vec()])
}

/// A delta that was applied and gave the layer that it is for.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The layer that it rebuilds.
    pub to: DiffId,
    /// Digest of the delta.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its format.
    pub version: Version,
    /// Its file, which goes away with the last clone.
    pub file: Arc<NamedTempFile>,
    /// The seconds that it took to make and to apply the delta.
    pub seconds: f64,
    /// The work of applying it, in units of about a nanosecond of a core.
    pub work: u64,
    /// The deltas that it was merged of, if it was not made of the layers.
    pub merged: Option<Merged>,
}

impl Delta {
    /// The descriptor of its blob. That of a tardf3 has its work, of which some take a hundred times as much as
    /// others of their size.
    pub fn descriptor(&self) -> Descriptor {
        let plain = descriptor(media_type_of(self.version), self.digest, self.size);
        if self.version == Version::V3 { with_work(plain, self.work) } else { plain }
    }
}

/// Layers in use, each fetched once, and the deltas between them, each made once.
#[derive(Debug)]
pub(crate) struct DeltaCache {
    options: MakeOptions,
    watch: Watch,
    downloads: ScratchDir,
    /// Layers whose blobs are kept.
    kept: Mutex<HashMap<DiffId, BlobDigest>>,
    spools: Mutex<HashMap<DiffId, Spool>>,
    deltas: Mutex<HashMap<DeltaJob, Delta>>,
    /// Deltas that cannot be made, and why.
    failed: Mutex<HashMap<DeltaJob, String>>,
}

/// Layers of an image, and the repository that has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayersOf<'l> {
    pub(crate) repository: &'l Repository,
    pub(crate) layers: &'l [&'l ImageLayer],
}

/// A layer, and the repository that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerOf<'l> {
    pub(crate) repository: &'l Repository,
    pub(crate) layer: &'l ImageLayer,
}

/// A layer that is unpacked.
#[derive(Debug, Clone)]
pub(crate) struct UnpackedLayer {
    pub(crate) diff_id: DiffId,
    pub(crate) spool: Spool,
}

/// The layers and the format of a delta.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DeltaJob {
    old: Vec<DiffId>,
    new: DiffId,
    newest: Version,
}

impl DeltaCache {
    pub(crate) fn new(options: &MakeOptions, watch: &Watch) -> Result<Self> {
        let downloads = ScratchDir::new_in(&options.temp_dir)?;
        Ok(Self {
            options: options.clone(),
            watch: watch.clone(),
            downloads,
            kept: Mutex::default(),
            spools: Mutex::default(),
            deltas: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// The directory for downloads.
    pub(crate) fn dir(&self) -> &Path {
        self.downloads.path()
    }

    pub(crate) const fn max_layer_size(&self) -> u64 {
        self.options.max_layer_size
    }

    /// Returns true if tardf3 deltas are wanted too.
    pub(crate) const fn sees_through(&self) -> bool {
        self.options.diff.sees_through
    }

    /// Keeps the blobs of these layers once they are fetched.
    pub(crate) fn keep<'l>(&self, layers: impl IntoIterator<Item = &'l ImageLayer>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(layers.into_iter().map(|layer| (layer.diff_id, layer.digest)));
    }

    /// Forgets all layers but these, and the deltas that make or read others.
    pub(crate) fn keep_only(&self, layers: &HashSet<DiffId>) {
        self.spools.lock().unwrap_or_else(PoisonError::into_inner).retain(|layer, _| layers.contains(layer));
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|layer, blob| {
            let is_kept = layers.contains(layer);
            if !is_kept {
                // It need not be there; what cannot be removed goes with the directory.
                let _ = std::fs::remove_file(self.dir().join(hex(blob.0)));
            }
            is_kept
        });
        let mut deltas = self.deltas.lock().unwrap_or_else(PoisonError::into_inner);
        deltas.retain(|job, _| layers.contains(&job.new) && job.old.iter().all(|old| layers.contains(old)));
    }

    /// The file of a layer's blob. It is fetched again unless it was [kept](Self::keep).
    pub(crate) async fn blob(&self, repository: &Repository, layer: &ImageLayer) -> Result<PathBuf> {
        let kept = self.dir().join(hex(layer.digest.0));
        match repository {
            Repository::Registry(_) if kept.exists() => Ok(kept),
            _ => repository.blob(&layer.blob, self.dir(), &|_| ()).await,
        }
    }

    /// The layers, unpacked. Each is checked against its diff_id.
    pub(crate) async fn spools(&self, repository: &Repository, layers: &[&ImageLayer]) -> Result<Vec<Spool>> {
        let mut wanted: Vec<&ImageLayer> = Vec::new();
        for layer in layers {
            let is_known = self.known(layer.diff_id).is_some();
            if !is_known && wanted.iter().all(|other| other.diff_id != layer.diff_id) {
                wanted.push(layer);
            }
        }
        let fetches = wanted.into_iter().map(|layer| self.fetch(repository, layer));
        let fetched: Vec<(DiffId, Spool)> =
            stream::iter(fetches).buffer_unordered(self.options.concurrency.max(1)).try_collect().await?;
        self.spools.lock().unwrap_or_else(PoisonError::into_inner).extend(fetched);
        Ok(layers.iter().filter_map(|layer| self.known(layer.diff_id)).collect())
    }

    /// One layer, unpacked and checked against its diff_id.
    pub(crate) async fn spool(&self, repository: &Repository, layer: &ImageLayer) -> Result<Spool> {
        if let Some(known) = self.known(layer.diff_id) {
            return Ok(known);
        }
        let (diff_id, spool) = self.fetch(repository, layer).await?;
        self.spools.lock().unwrap_or_else(PoisonError::into_inner).insert(diff_id, spool.clone());
        Ok(spool)
    }

    fn known(&self, diff_id: DiffId) -> Option<Spool> {
        self.spools.lock().unwrap_or_else(PoisonError::into_inner).get(&diff_id).cloned()
    }

    async fn fetch(&self, repository: &Repository, layer: &ImageLayer) -> Result<(DiffId, Spool)> {
        let task = self.watch.start(format!("fetch {}", short(layer.diff_id)), layer.blob.size());
        let path = repository.blob(&layer.blob, self.dir(), &|bytes| task.advance(bytes)).await?;
        let options = SpoolOptions::default()
            .temp_dir(self.options.temp_dir.clone())
            .max_size(self.options.max_layer_size);
        let diff_id = layer.diff_id;
        let is_kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&diff_id);
        let is_passing = path.starts_with(self.dir()) && !is_kept;
        let spool = blocking(move || {
            let spool = Spool::open_blob_as(format!("layer {diff_id}"), &path, &options)?;
            if is_passing {
                // What is still read of it is open.
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
            check_diff_id(spool.diff_id()?, diff_id)?;
            Ok(spool)
        });
        Ok((diff_id, spool.await?))
    }

    /// The same as [`delta`](Self::delta), of layers that are fetched first; `None`, and a warning the first
    /// time, if one of them cannot be read as a tar or the delta turns out to be wrong.
    ///
    /// # Errors
    /// Those of the repositories and of the machine.
    pub(crate) async fn delta_unless_unreadable(
        &self,
        old: LayersOf<'_>,
        new: LayerOf<'_>,
        newest: Version,
    ) -> Result<Option<Delta>> {
        let ids = old.layers.iter().map(|layer| layer.diff_id).collect();
        let job = self.job(ids, new.layer.diff_id, newest);
        if let Some(made) = self.made(&job) {
            return Ok(Some(made));
        }
        if self.failed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&job) {
            return Ok(None);
        }
        let made = async {
            let spools = self.spools(old.repository, old.layers).await?;
            let spool = self.spool(new.repository, new.layer).await?;
            let old = old.layers.iter().zip(spools);
            let old = old.map(|(layer, spool)| UnpackedLayer { diff_id: layer.diff_id, spool }).collect();
            self.delta(old, UnpackedLayer { diff_id: new.layer.diff_id, spool }, newest).await
        };
        match made.await {
            Ok(delta) => Ok(Some(delta)),
            Err(error) if error.is_of_one_layer() => {
                let reason = error.one_line();
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                let is_known = failed.iter().any(|(other, known)| other.new == job.new && *known == reason);
                failed.insert(job, reason.clone());
                drop(failed);
                if !is_known {
                    let layer = short(new.layer.diff_id);
                    self.watch.warn(&format!(
                        "there is no delta of layer {layer}, which is fetched whole: {reason}"
                    ));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The delta from the `old` layers, lowest first, to `new`, in a format up to `newest`: tardf1 is
    /// bsdiff, tardf2 the method of the options, tardf3 sees through compression where that helps.
    ///
    /// A tardf3 delta that sees through nothing is none, but the very delta that would be made without:
    /// who needs both asks for tardf3 first.
    pub(crate) async fn delta(
        &self,
        old: Vec<UnpackedLayer>,
        new: UnpackedLayer,
        newest: Version,
    ) -> Result<Delta> {
        let (old_ids, old): (Vec<DiffId>, Vec<Spool>) =
            old.into_iter().map(|layer| (layer.diff_id, layer.spool)).unzip();
        let job = self.job(old_ids, new.diff_id, newest);
        if let Some(made) = self.made(&job) {
            return Ok(made);
        }
        let newest = job.newest;
        let mut options = self.options.diff.clone();
        options.merge = merge_options();
        if newest == Version::V1 {
            options.method = Method::Bsdiff;
        }
        options.sees_through = newest == Version::V3;
        options.temp_dir.clone_from(&self.options.temp_dir);
        let task = self.watch.start(format!("diff {}", short(job.new)), new.spool.size());
        let (dir, to) = (self.dir().to_owned(), job.new);
        let advance = move |bytes| task.advance(bytes);
        let made = blocking(move || make(&old, &new.spool, to, &options, &dir, &advance)).await?;
        let mut deltas = self.deltas.lock().unwrap_or_else(PoisonError::into_inner);
        if newest == Version::V3 && made.version != Version::V3 {
            deltas.insert(DeltaJob { newest: self.without_views(), ..job.clone() }, made.clone());
        }
        deltas.insert(job, made.clone());
        Ok(made)
    }

    /// The format of deltas that see through nothing.
    const fn without_views(&self) -> Version {
        match self.options.diff.method {
            Method::Bsdiff => Version::V1,
            _ => Version::V2,
        }
    }

    fn job(&self, old: Vec<DiffId>, new: DiffId, newest: Version) -> DeltaJob {
        let newest = if newest == Version::V2 { self.without_views() } else { newest };
        DeltaJob { old, new, newest }
    }

    fn made(&self, job: &DeltaJob) -> Option<Delta> {
        self.deltas.lock().unwrap_or_else(PoisonError::into_inner).get(job).cloned()
    }
}

fn make(
    old: &[Spool],
    new: &Spool,
    to: DiffId,
    options: &DiffOptions,
    dir: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Delta> {
    let started = Instant::now();
    let file = NamedTempFile::with_prefix_in("delta-", dir);
    let mut file = file.map_err(Error::io("make a file in", dir))?;
    let output = DigestWriter::new(BufWriter::new(InDirectory { file: file.as_file_mut(), dir }));
    let (output, _) = tar_diff::diff(old, new, options, output, progress)?;
    let (mut output, digest, size) = output.finish();
    output.flush().map_err(Error::io("write a delta in", dir))?;
    drop(output);
    // Clients that cannot fall back are blocked by a wrong delta, so none is ever published.
    file.as_file().rewind().map_err(Error::io("read a delta in", dir))?;
    let work = match tar_diff::verify(file.as_file(), old, new, &options.merge) {
        Err(error) if error.is_of_cost() && options.sees_through => {
            let options = options.clone().sees_through(false);
            return make(old, new, to, &options, dir, &|_| ());
        }
        verified => verified?,
    };
    let version = version_of(file.as_file()).map_err(Error::io("read a delta in", dir))?;
    let version = version.ok_or_else(|| Error::malformed("delta", "its format is unknown"))?;
    let seconds = started.elapsed().as_secs_f64();
    let work = work.reading.saturating_add(work.encoding);
    Ok(Delta { to, digest, size, version, file: Arc::new(file), seconds, work, merged: None })
}

/// The format of the delta in a file; `None` if it is unknown, or the file is no delta.
pub(crate) fn version_of(file: &File) -> io::Result<Option<Version>> {
    let mut magic = [0; 8];
    match file.read_exact_at(&mut magic, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Version::from_magic(magic)),
    }
}
