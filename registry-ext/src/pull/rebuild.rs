//! The tar of a layer, rebuilt from a delta and old files.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use layer::{DiffId, SpoolOptions, open_regular};
use tar_patch::Fault;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use super::budget::{Budget, MAX_FAILURES};
use crate::artifact::is_tardf3;
use crate::discover::{Candidate, Published};
use crate::error::blocking;
use crate::image::ImageLayer;
use crate::oci::short;
use crate::repository::Repository;
use crate::store::{LayerStore, Sources};
use crate::watch::Watch;
use crate::{Error, Result};

/// A delta, and the store that has the files that it reads.
pub(crate) type UsableDelta = (Candidate, Arc<dyn LayerStore>);

/// Applies the delta in the file `delta` to the files of `open`, and writes the layer to `output`. Returns the
/// output and the size of the layer in bytes.
///
/// Everything that rebuilds a layer goes through this function: a pull, and the check of what is published.
///
/// # Errors
/// [`Error::Patch`] if the result is not `expected`, or costs more than the budget; [`Error::Io`]; those of
/// `open`.
pub(crate) async fn apply<W: Write + Send + 'static>(
    delta: PathBuf,
    open: impl FnOnce() -> Result<Sources> + Send + 'static,
    expected: DiffId,
    budget: Budget,
    output: impl FnOnce() -> Result<W> + Send + 'static,
) -> Result<(W, u64)> {
    blocking(move || {
        let mut files = open()?;
        let delta = open_regular(&delta).map_err(Error::io("open", &delta))?;
        let mut output = output()?;
        let work = budget.work();
        let options =
            tar_patch::ApplyOptions::default().expected(expected).max_output(budget.max_output).budget(&work);
        let applied = tar_patch::apply(delta, &mut files, options, &mut output)?;
        Ok((output, applied.size))
    })
    .await
}

/// A layer that was rebuilt.
pub(crate) struct Rebuilt {
    /// Its tar, which has the diff_id of the layer.
    pub(crate) tar: NamedTempFile,
    /// The size of the tar in bytes.
    pub(crate) size: u64,
    /// The place where the delta is published.
    pub(crate) published: Published,
}

/// Bytes that were fetched for a layer, and the reasons why deltas of it failed.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// Bytes that were fetched.
    pub(crate) bytes: u64,
    /// A reason for each delta that failed.
    pub(crate) failures: Vec<String>,
}

/// Rebuilds layers from deltas.
pub(crate) struct Rebuilder<'p> {
    /// The repository that has the deltas.
    pub(crate) repository: &'p Repository,
    /// The directory for downloads and tars.
    pub(crate) dir: PathBuf,
    /// The way in which old layers are unpacked.
    pub(crate) spool: SpoolOptions,
    /// Is told of what fails.
    pub(crate) watch: &'p Watch,
}

impl Rebuilder<'_> {
    /// Rebuilds a layer from the first of its `deltas` that works; `None` if none does.
    ///
    /// Deltas that fail cost fewer bytes than the blob of the layer, all together, and they are few, within
    /// the budget. What was fetched and what failed is added to `spent`.
    pub(crate) async fn rebuild(
        &self,
        layer: &ImageLayer,
        mut deltas: VecDeque<UsableDelta>,
        budget: Budget,
        spent: &mut Spent,
    ) -> Option<Rebuilt> {
        while let Some((delta, source)) = deltas.pop_front() {
            spent.bytes += delta.blob.size();
            let error = match self.rebuild_from(layer, &delta, source, budget).await {
                Ok((tar, size)) => return Some(Rebuilt { tar, size, published: delta.layout }),
                Err(error) => error,
            };
            let is_cheaper = |other: &Candidate| spent.bytes + other.blob.size() < layer.blob.size();
            deltas.retain(|(other, _)| may_work(other, &delta, &error) && is_cheaper(other));
            if spent.failures.len() + 1 == MAX_FAILURES || !budget.has_time() {
                deltas.clear();
            }
            self.failed(layer, "the delta of", !deltas.is_empty(), &error, spent);
        }
        None
    }

    /// Warns of a way to get a layer that failed, and notes it.
    pub(crate) fn failed(
        &self,
        layer: &ImageLayer,
        what: &str,
        is_another_tried: bool,
        error: &Error,
        spent: &mut Spent,
    ) {
        let reason = error.one_line();
        let next = if is_another_tried { "another is tried" } else { "its blob is fetched" };
        self.watch.warn(&format!("{what} layer {} cannot be used, {next}: {reason}", short(layer.diff_id)));
        spent.failures.push(reason);
    }

    async fn rebuild_from(
        &self,
        layer: &ImageLayer,
        delta: &Candidate,
        source: Arc<dyn LayerStore>,
        budget: Budget,
    ) -> Result<(NamedTempFile, u64)> {
        let task = self.watch.start(format!("delta {}", short(layer.diff_id)), delta.blob.size());
        let advance = |bytes| task.advance(bytes);
        let fetch = self.repository.blob(&delta.blob, &self.dir, &advance);
        let Ok(path) = timeout(budget.time_left(), fetch).await else {
            return Err(Error::malformed("delta", "it takes longer to fetch than the whole layer"));
        };
        let (base, spool, dir) = (delta.base, self.spool.clone(), self.dir.clone());
        let output = move || NamedTempFile::new_in(&dir).map_err(Error::io("make a file in", &dir));
        apply(path?, move || source.sources(base, &spool), layer.diff_id, budget, output).await
    }
}

/// True if a delta may rebuild a layer although another one `failed` to. Where the files that both read
/// are others than they should be, it will not; but only tardf3 has to decode them.
fn may_work(delta: &Candidate, failed: &Candidate, error: &Error) -> bool {
    match error {
        Error::Patch(error) => match error.fault() {
            Fault::Base => delta.base != failed.base || is_tardf3(&failed.blob),
            Fault::System => false,
            _ => true,
        },
        _ => true,
    }
}
