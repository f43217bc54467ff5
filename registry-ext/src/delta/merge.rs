//! Deltas that are merged of others, and proven like any other.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use delta_format::Version;
use layer::{DiffId, DigestWriter, Spool, open_regular};
use oci_spec::image::Descriptor;
use serde::Serialize;
use tar_diff::{DeltaMergeOptions, DeltaMerger, MergedLayer, Reads};
use tempfile::NamedTempFile;

use super::in_directory::InDirectory;
use super::{Delta, DeltaCache, LayersOf, merge_options, version_of};
use crate::error::blocking;
use crate::image::ImageLayer;
use crate::repository::Repository;
use crate::{Error, Result};

/// The deltas that another one was merged of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// Their number.
    pub deltas: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// A layer on the way from an old image to a new one.
#[derive(Debug, Clone)]
pub(crate) struct MergeStep {
    pub(crate) layer: ImageLayer,
    /// The delta that makes it. Without one it is fetched, and what is read of it is carried.
    pub(crate) delta: Option<PublishedPart>,
}

/// A published delta, and the layers that it reads, the lowest first.
#[derive(Debug, Clone)]
pub(crate) struct PublishedPart {
    pub(crate) blob: Descriptor,
    pub(crate) reads: Vec<DiffId>,
}

/// The outcome of a merge.
#[derive(Debug)]
pub(crate) enum MergeOutcome {
    /// Whoever asks the cache for the delta gets this one.
    Merged,
    /// It is not taken, for a reason.
    NotMerged(String),
}

/// The merging of deltas that read the layers of one old image, or some of them.
#[derive(Debug)]
pub(crate) struct ImageMerger<'m> {
    cache: &'m DeltaCache,
    /// The repository that has the deltas.
    repository: &'m Repository,
    /// The old layers, unpacked, the lowest first, and their diff_ids.
    old: Vec<Spool>,
    old_ids: Vec<DiffId>,
    merger: Arc<Mutex<DeltaMerger>>,
    /// The layers that the merger has.
    known: HashMap<DiffId, MergedLayer>,
    /// Layers on the way that it cannot have, with the reasons: they are not tried again for other layers.
    refused: HashMap<DiffId, String>,
}

impl<'m> ImageMerger<'m> {
    /// Fetches the `old` layers. `repository` has the deltas that are merged.
    ///
    /// # Errors
    /// Those of the repositories and of the machine; [`Error::Diff`] if a layer is no tar.
    pub(crate) async fn new(
        cache: &'m DeltaCache,
        repository: &'m Repository,
        old: LayersOf<'_>,
    ) -> Result<Self> {
        let spools = cache.spools(old.repository, old.layers).await?;
        let old_ids: Vec<DiffId> = old.layers.iter().map(|layer| layer.diff_id).collect();
        let (options, layers) = (cache.merge_options(), spools.clone());
        let merger = blocking(move || Ok(DeltaMerger::of_layers(layers, &options)?)).await?;
        let known = old_ids.iter().enumerate().map(|(index, id)| (*id, merger.old(index))).collect();
        let merger = Arc::new(Mutex::new(merger));
        Ok(Self { cache, repository, old: spools, old_ids, merger, known, refused: HashMap::new() })
    }

    /// Merges the deltas on the way to a layer, the last of the `steps`, into one that reads the old layers.
    /// A single one that does so already is taken, if it is of a version that is asked for: up to `newest`.
    ///
    /// # Errors
    /// Those of the repositories and of the machine; [`Error::Patch`] if the result makes another layer.
    pub(crate) async fn merge(&mut self, steps: &[MergeStep], newest: Version) -> Result<MergeOutcome> {
        let Some((MergeStep { layer, delta: Some(last) }, before)) = steps.split_last() else {
            return Err(Error::malformed("deltas", "the last step is none"));
        };
        let mut seconds = 0.0;
        for step in before {
            let id = step.layer.diff_id;
            if let Some(reason) = self.refused.get(&id) {
                return Ok(MergeOutcome::NotMerged(reason.clone()));
            }
            if !self.known.contains_key(&id) {
                match self.add(step).await {
                    Ok((known, took)) => {
                        self.known.insert(id, known);
                        seconds += took;
                    }
                    Err(error) => {
                        let reason = reason_not_merged(error)?;
                        self.refused.insert(id, reason.clone());
                        return Ok(MergeOutcome::NotMerged(reason));
                    }
                }
            }
        }
        let parts: Vec<&PublishedPart> = steps.iter().filter_map(|step| step.delta.as_ref()).collect();
        let bytes = parts.iter().map(|part| part.blob.size()).fold(0, u64::saturating_add);
        let merged = Merged { deltas: parts.len(), bytes };
        let (path, reads) = (self.fetch(last).await?, self.reads(last)?);
        let (merger, dir) = (Arc::clone(&self.merger), self.cache.dir().to_owned());
        // A layer that an image between has too may have a delta from the old one: it is taken as it is.
        let is_ready = last.reads == self.old_ids;
        let (file, took) = blocking(move || {
            let started = Instant::now();
            let mut file =
                NamedTempFile::with_prefix_in("delta-", &dir).map_err(Error::io("make a file in", &dir))?;
            let mut output = BufWriter::new(InDirectory { file: file.as_file_mut(), dir: &dir });
            let mut delta = open_passing(&path, &dir)?;
            if is_ready {
                io::copy(&mut delta, &mut output).map_err(Error::io("write a delta in", &dir))?;
            } else {
                let mut merger = merger.lock().unwrap_or_else(PoisonError::into_inner);
                (output, _) = merger.write(delta, &reads, output)?;
            }
            output.flush().map_err(Error::io("write a delta in", &dir))?;
            drop(output);
            Ok((file, started.elapsed().as_secs_f64()))
        })
        .await?;
        let size = file.as_file().metadata().map_err(Error::io("read", file.path()))?.len();
        if size >= layer.blob.size() {
            let reason = format!("the merged delta has {size} bytes, and the blob has {}", layer.blob.size());
            return Ok(MergeOutcome::NotMerged(reason));
        }
        let (old, to, max_size) = (self.old.clone(), layer.diff_id, self.cache.max_layer_size());
        let proven = blocking(move || prove(file, old, to, max_size)).await?;
        let seconds = seconds + took + proven.seconds;
        let delta = Delta { merged: Some(merged), seconds, ..proven };
        // Every client reads a tardf1, and a job may ask for one alone.
        let asked = [Version::V1, Version::V2].into_iter().filter(|asked| *asked <= newest);
        let jobs = asked.map(|asked| self.cache.job(self.old_ids.clone(), to, asked));
        let jobs: Vec<_> = jobs.filter(|job| job.newest >= delta.version).collect();
        if jobs.is_empty() {
            let name = delta.version.name();
            return Ok(MergeOutcome::NotMerged(format!(
                "the published delta is a {name}, which not all clients read"
            )));
        }
        let mut deltas = self.cache.deltas.lock().unwrap_or_else(PoisonError::into_inner);
        deltas.extend(jobs.into_iter().map(|job| (job, delta.clone())));
        Ok(MergeOutcome::Merged)
    }

    /// Adds a layer on the way. Returns the seconds that it took, too.
    async fn add(&self, step: &MergeStep) -> Result<(MergedLayer, f64)> {
        let merger = Arc::clone(&self.merger);
        let Some(part) = &step.delta else {
            let spool = self.cache.spool(self.repository, &step.layer).await?;
            let add = move || Ok(merger.lock().unwrap_or_else(PoisonError::into_inner).add_tar(spool)?);
            return Ok((blocking(add).await?, 0.0));
        };
        let (path, reads) = (self.fetch(part).await?, self.reads(part)?);
        let dir = self.cache.dir().to_owned();
        blocking(move || {
            let started = Instant::now();
            let delta = open_passing(&path, &dir)?;
            let layer = merger.lock().unwrap_or_else(PoisonError::into_inner).add_delta(delta, &reads)?;
            Ok((layer, started.elapsed().as_secs_f64()))
        })
        .await
    }

    async fn fetch(&self, part: &PublishedPart) -> Result<PathBuf> {
        self.repository.blob(&part.blob, self.cache.dir(), &|_| ()).await
    }

    fn reads(&self, part: &PublishedPart) -> Result<Reads> {
        let layers = part.reads.iter().map(|layer| self.known.get(layer).copied());
        let layers = layers.collect::<Option<Vec<_>>>();
        layers.map(Reads::Layers).ok_or_else(|| Error::malformed("deltas", "a layer on the way is missing"))
    }
}

impl DeltaCache {
    fn merge_options(&self) -> DeltaMergeOptions {
        let diff = &self.options.diff;
        DeltaMergeOptions::default()
            .level(diff.level)
            .jobs(diff.jobs)
            .memory(diff.memory)
            .merge(merge_options())
            .max_size(self.options.max_layer_size)
            .temp_dir(&self.options.temp_dir)
    }
}

/// Returns the reason why deltas are not merged, if they are what stands in the way: they cannot be merged, are gone by
/// now, or make something else.
///
/// # Errors
/// Another error, as it is.
pub(crate) fn reason_not_merged(error: Error) -> Result<String> {
    match error {
        Error::Diff(tar_diff::Error::CannotMerge { .. } | tar_diff::Error::Delta(_))
        | Error::Patch(_)
        | Error::NotFound { .. } => Ok(error.one_line()),
        error if error.is_of_one_layer() => Ok(error.one_line()),
        error => Err(error),
    }
}

/// Opens the file of a delta. One that was fetched to `dir` goes with its last reader.
fn open_passing(path: &Path, dir: &Path) -> Result<std::fs::File> {
    let file = open_regular(path).map_err(Error::io("open", path))?;
    if path.starts_with(dir) {
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(file)
}

/// Applies a delta to layers, and compares the result with the layer that it is for.
fn prove(file: NamedTempFile, old: Vec<Spool>, to: DiffId, max_size: u64) -> Result<Delta> {
    let started = Instant::now();
    let budget = delta_format::Budget::of_layer(max_size);
    let options = tar_patch::ApplyOptions::default().expected(to).max_output(max_size).budget(&budget);
    let open = || file.reopen().map_err(Error::io("open", file.path()));
    let mut sources = tar_patch::LayerSource::with_options(old, &merge_options())?;
    tar_patch::apply(open()?, &mut sources, options, &mut io::sink())?;
    let mut hashed = DigestWriter::new(io::sink());
    io::copy(&mut open()?, &mut hashed).map_err(Error::io("read", file.path()))?;
    let (_, digest, size) = hashed.finish();
    let version = version_of(file.as_file()).map_err(Error::io("read", file.path()))?;
    let version = version.ok_or_else(|| Error::malformed("delta", "its format is unknown"))?;
    let usual = budget.usual();
    let work = usual.reading.saturating_add(usual.encoding);
    let seconds = started.elapsed().as_secs_f64();
    Ok(Delta { to, digest, size, version, file: Arc::new(file), seconds, work, merged: None })
}
