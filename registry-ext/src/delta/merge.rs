//! One delta that is merged of several, and proven like any other.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use delta_format::Version;
use layer::{DiffId, DigestWriter, Spool, open_regular};
use oci_spec::image::Descriptor;
use serde::Serialize;
use tar_diff::DeltaMergeOptions;
use tempfile::NamedTempFile;

use super::in_directory::InDirectory;
use super::{Delta, DeltaCache, LayerOf};
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

/// Deltas to be merged, the first one first, and the repository that has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MergedParts<'m> {
    pub(crate) repository: &'m Repository,
    pub(crate) deltas: &'m [Descriptor],
}

impl DeltaCache {
    /// Merges deltas that lead from one layer to another, and takes the result for the tardf1 delta between them. Returns
    /// false if it is not smaller than the blob.
    ///
    /// # Errors
    /// Those of the repositories and of the machine; [`Error::Diff`] if they cannot be merged, [`Error::Patch`] if the
    /// result makes another layer.
    pub(crate) async fn merge(
        &self,
        old: LayerOf<'_>,
        new: &ImageLayer,
        parts: MergedParts<'_>,
    ) -> Result<bool> {
        let mut paths = Vec::new();
        for part in parts.deltas {
            paths.push(parts.repository.blob(part, self.dir(), &|_| ()).await?);
        }
        let bytes = parts.deltas.iter().map(Descriptor::size).fold(0, u64::saturating_add);
        let merged = Merged { deltas: parts.deltas.len(), bytes };
        let (options, dir, max_size) = (self.merge_options(), self.dir().to_owned(), self.max_layer_size());
        let (delta, seconds) = blocking(move || {
            let started = Instant::now();
            let delta = merge_files(&paths, &options, &dir)?;
            Ok((delta, started.elapsed().as_secs_f64()))
        })
        .await?;
        let size = delta.as_file().metadata().map_err(Error::io("read", delta.path()))?.len();
        if size >= new.blob.size() {
            return Ok(false);
        }
        let spool = self.spool(old.repository, old.layer).await?;
        let to = new.diff_id;
        let proven = blocking(move || prove(delta, spool, to, max_size));
        let delta = Delta { merged: Some(merged), seconds, ..proven.await? };
        let job = self.job(vec![old.layer.diff_id], to, Version::V1);
        self.deltas.lock().unwrap_or_else(PoisonError::into_inner).insert(job, delta);
        Ok(true)
    }

    fn merge_options(&self) -> DeltaMergeOptions {
        let diff = &self.options.diff;
        DeltaMergeOptions::default()
            .level(diff.level)
            .jobs(diff.jobs)
            .memory(diff.memory)
            .apply_whiteouts(true)
            .max_size(self.options.max_layer_size)
            .temp_dir(&self.options.temp_dir)
    }
}

/// Merges the deltas in files, the first one first.
fn merge_files(paths: &[PathBuf], options: &DeltaMergeOptions, dir: &Path) -> Result<NamedTempFile> {
    let open = |path: &Path| open_regular(path).map_err(Error::io("open", path));
    let (first, others) = paths.split_first().ok_or_else(|| Error::malformed("deltas", "there are none"))?;
    let (mut merged, mut before) = (None::<NamedTempFile>, open(first)?);
    for other in others {
        let mut file =
            NamedTempFile::with_prefix_in("delta-", dir).map_err(Error::io("make a file in", dir))?;
        let output = BufWriter::new(InDirectory { file: file.as_file_mut(), dir });
        let (mut output, _) = tar_diff::merge(before, open(other)?, options, output)?;
        output.flush().map_err(Error::io("write a delta in", dir))?;
        drop(output);
        before = file.reopen().map_err(Error::io("open", file.path()))?;
        merged = Some(file);
    }
    merged.ok_or_else(|| Error::malformed("deltas", "one alone cannot be merged"))
}

/// Applies a delta to a layer, and compares the result with the layer that it is for.
fn prove(file: NamedTempFile, old: Spool, to: DiffId, max_size: u64) -> Result<Delta> {
    let budget = delta_format::Budget::of_layer(max_size);
    let options = tar_patch::ApplyOptions::default().expected(to).max_output(max_size).budget(&budget);
    let open = || file.reopen().map_err(Error::io("open", file.path()));
    let mut sources = tar_patch::LayerSource::with_whiteouts(vec![old], true)?;
    tar_patch::apply(open()?, &mut sources, options, &mut io::sink())?;
    let mut hashed = DigestWriter::new(io::sink());
    io::copy(&mut open()?, &mut hashed).map_err(Error::io("read", file.path()))?;
    let (_, digest, size) = hashed.finish();
    let spent = budget.spent();
    let work = spent.reading.saturating_add(spent.encoding);
    Ok(Delta {
        to,
        digest,
        size,
        version: Version::V1,
        file: Arc::new(file),
        seconds: 0.0,
        work,
        merged: None,
    })
}
