//! The tar of a layer, rebuilt from a delta and old files.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;

use layer::{DiffId, SpoolOptions, open_regular};
use oci_spec::image::Descriptor;
use tar_patch::Fault;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use super::budget::{Allowance, Budget, MAX_FAILURES};
use super::report::PulledStep;
use super::steps::Making;
use crate::artifact::is_tardf3;
use crate::chain::{BaseFiles, UsableDelta};
use crate::discover::Published;
use crate::error::blocking;
use crate::image::ImageLayer;
use crate::oci::short;
use crate::repository::Repository;
use crate::store::Sources;
use crate::watch::Watch;
use crate::{Error, Result};

/// Applies the delta in the file `delta` to the files of `open`, and writes the layer to `output`. Returns the
/// output and the size of the layer in bytes.
///
/// Everything that rebuilds a layer goes through this function: a pull, and the check of what is published.
///
/// # Errors
/// [`Error::Patch`] if the result is not `expected`, or costs more than is allowed; [`Error::Io`]; those of
/// `open`.
pub(crate) async fn apply<W: Write + Send + 'static>(
    delta: PathBuf,
    open: impl FnOnce() -> Result<Sources> + Send + 'static,
    expected: DiffId,
    allowance: Allowance,
    output: impl FnOnce() -> Result<W> + Send + 'static,
) -> Result<(W, u64)> {
    blocking(move || {
        let mut files = open()?;
        let delta = open_regular(&delta).map_err(Error::io("open", &delta))?;
        let mut output = output()?;
        let options = tar_patch::ApplyOptions::default()
            .expected(expected)
            .max_output(allowance.max_output)
            .budget(&*allowance.work);
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
    /// The layers that were made, that layer itself last.
    pub(crate) steps: Vec<PulledStep>,
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
        while let Some(usable) = deltas.pop_front() {
            let error = match self.rebuild_from(layer, &usable, budget, spent).await {
                Ok(rebuilt) => return Some(rebuilt),
                Err(error) => error,
            };
            let is_cheaper = |other: &UsableDelta| spent.bytes + other.size() < layer.blob.size();
            deltas.retain(|other| may_work(other, &usable, &error) && is_cheaper(other));
            if spent.failures.len() + 1 == MAX_FAILURES || !budget.has_time() {
                deltas.clear();
            }
            let what = if usable.before.is_empty() { "the delta of" } else { "the chain of deltas of" };
            self.failed(layer, what, !deltas.is_empty(), &error, spent);
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

    /// Rebuilds a layer from one delta, after the layers that this reads and that are not here.
    async fn rebuild_from(
        &self,
        layer: &ImageLayer,
        usable: &UsableDelta,
        budget: Budget,
        spent: &mut Spent,
    ) -> Result<Rebuilt> {
        let mut making = self.begin(layer, budget).await?;
        let mut steps = self.make_before(usable, &mut making, spent).await?;
        let delta = &usable.delta;
        let path = self.fetch(&delta.blob, layer, &making, spent).await?;
        let dir = self.dir.clone();
        let output = move || NamedTempFile::new_in(&dir).map_err(Error::io("make a file in", &dir));
        let open = self.opener(&usable.files, &making);
        let (tar, size) = apply(path, open, layer.diff_id, making.allowance, output).await?;
        steps.push(PulledStep::of_delta(layer, delta));
        Ok(Rebuilt { tar, size, published: delta.layout, steps })
    }

    /// Fetches a blob for a layer in the time that is left.
    pub(super) async fn fetch(
        &self,
        blob: &Descriptor,
        layer: &ImageLayer,
        making: &Making,
        spent: &mut Spent,
    ) -> Result<PathBuf> {
        spent.bytes += blob.size();
        let task = self.watch.start(format!("delta {}", short(layer.diff_id)), blob.size());
        let advance = |bytes| task.advance(bytes);
        let fetch = self.repository.blob(blob, &making.dir, &advance);
        let late = || Error::malformed("delta", "it takes longer to fetch than the whole layer");
        timeout(making.budget.time_left(), fetch).await.unwrap_or_else(|_| Err(late()))
    }

    /// Returns a function that opens files, of which some are in layers that were made.
    pub(super) fn opener(
        &self,
        files: &BaseFiles,
        making: &Making,
    ) -> impl FnOnce() -> Result<Sources> + Send + 'static {
        let (files, made, spool) = (files.clone(), making.made.clone(), self.spool.clone());
        move || files.open(&made, &spool)
    }
}

/// True if a delta may rebuild a layer although another one `failed` to. Where the files that both read
/// are others than they should be, it will not; but only tardf3 has to decode them.
fn may_work(other: &UsableDelta, failed: &UsableDelta, error: &Error) -> bool {
    let (other, failed_delta) = (&other.delta, &failed.delta);
    match error {
        Error::Patch(error) => match error.fault() {
            // Of a chain, the files of any step may be meant.
            Fault::Base => {
                !failed.before.is_empty() || other.base != failed_delta.base || is_tardf3(&other.blob)
            }
            Fault::System => false,
            _ => true,
        },
        _ => true,
    }
}
