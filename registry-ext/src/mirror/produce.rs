//! Makes blobs: of a delta and its recipe, or by a download.
//!
//! Whatever goes wrong with a delta ends with the download. Of what is made of a delta no byte is given away before
//! all of it has the blob's digest, unless its recipe has made the blob before.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer::{BlobDigest, Spool, SpoolOptions};
use oci_spec::image::Descriptor;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use super::cache::Reserved;
use super::decision::{ImageEntry, RebuildPlan};
use super::history::{Outcome, PulledLayer};
use super::productions::{Giving, Product, Progress, Receiver, Sender};
use super::proven::ProvenRecipe;
use super::shared::Shared;
use super::upstreams::{NamedBlob, Upstream};
use crate::blob_recipe::BlobRecipe;
use crate::cost::Way;
use crate::error::blocking;
use crate::oci::digest_of;
use crate::pull::{Budget, Rebuilder, Rebuilt, Spent, USUAL_LINE};
use crate::registry::BlobStream;
use crate::scratch::ScratchDir;
use crate::{Error, Result};

/// Bytes that are written at one time.
const CHUNK: usize = 256 << 10;
/// The longest time for which bytes that came are not given away.
const LONGEST_DELAY: Duration = Duration::from_millis(300);
/// The time that a delta may take, in multiples of what it is expected to take, and beside that.
const PATIENCE_FACTOR: f64 = 3.0;
const MIN_PATIENCE: Duration = Duration::from_secs(10);

/// The name of a blob that is made of a delta.
pub(super) fn rebuilt(digest: BlobDigest, named: &NamedBlob) -> Product {
    Product { digest, repository: None, size: named.descriptor.size() }
}

/// The name of a blob that is downloaded.
pub(super) fn downloaded(digest: BlobDigest, named: &NamedBlob, upstream: &Upstream) -> Product {
    Product { repository: Some(upstream.client.name()), ..rebuilt(digest, named) }
}

/// Begins to make a blob of a delta, or joins who does. It fails where no delta makes it.
pub(super) fn rebuild(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    named: &NamedBlob,
    plan: RebuildPlan,
) -> Receiver {
    let digest = plan.layer.digest;
    begin(shared, upstream, named, rebuilt(digest, named), |task| async move { task.rebuild(&plan).await })
}

/// Begins to download a blob, or joins who does. `reason` is the one for which it is not made of a delta.
pub(super) fn download(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    named: &NamedBlob,
    digest: BlobDigest,
    reason: Option<String>,
) -> Receiver {
    let product = downloaded(digest, named, upstream);
    begin(shared, upstream, named, product, |task| async move { task.fetch(reason).await })
}

fn begin<F: Future<Output = ()> + Send + 'static>(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    named: &NamedBlob,
    product: Product,
    run: impl FnOnce(Production) -> F,
) -> Receiver {
    shared.productions.join(product.clone(), upstream.client.throttle(), |sender| {
        shared.spawn(run(Production {
            shared: Arc::clone(shared),
            upstream: Arc::clone(upstream),
            image: Arc::clone(&named.image),
            blob: named.descriptor.clone(),
            digest: product.digest,
            product,
            sender,
        }));
    })
}

/// The budget of a layer that is made of a delta.
pub(super) fn budget(shared: &Shared, upstream: &Upstream, plan: &RebuildPlan) -> Budget {
    let line = upstream.client.line_rate();
    let expected = plan.way().map(|way| way.seconds(&shared.pace, line.unwrap_or(USUAL_LINE)));
    let expected = expected.unwrap_or_default();
    let longest = Duration::from_secs_f64(expected.min(86_400.0) * PATIENCE_FACTOR) + MIN_PATIENCE;
    Budget::new(&plan.layer, line, shared.max_layer_size).within(longest)
}

/// Makes the tar of a layer of its deltas, in a directory of its own, so that what was downloaded goes with
/// it, and nobody else writes to it.
pub(super) async fn rebuild_tar(
    shared: &Shared,
    upstream: &Upstream,
    plan: &RebuildPlan,
    budget: Budget,
    spent: &mut Spent,
) -> Result<(Rebuilt, ScratchDir)> {
    let parent = shared.scratch_dir().await?;
    let scratch = blocking(move || ScratchDir::new_in(&parent)).await?;
    let dir = scratch.path().to_owned();
    let spool = SpoolOptions::default().temp_dir(dir.clone()).max_size(shared.max_layer_size);
    let rebuilder = Rebuilder { repository: &upstream.repository, dir, spool, watch: &shared.watch };
    let rebuilt = rebuilder.rebuild(&plan.layer, plan.deltas.clone(), budget, spent).await;
    let rebuilt = rebuilt.ok_or_else(|| Error::malformed("deltas", spent.failures.join("; ")))?;
    Ok((rebuilt, scratch))
}

/// A blob that was made.
struct Made {
    file: NamedTempFile,
    reading: Arc<File>,
    /// The directory that the file lies in, if it is one of its own.
    dir: Option<ScratchDir>,
    /// Its room in the cache.
    room: Reserved,
    /// The layers that were made of deltas for it.
    steps: usize,
}

/// The making of one blob.
struct Production {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    image: Arc<ImageEntry>,
    blob: Descriptor,
    digest: BlobDigest,
    product: Product,
    sender: Sender,
}

/// Ends the production, also when its task is cancelled.
impl Drop for Production {
    fn drop(&mut self) {
        self.shared.productions.end(&self.product);
    }
}

impl Production {
    /// Downloads the blob and keeps it.
    async fn fetch(self, reason: Option<String>) {
        if self.is_there().await {
            return;
        }
        match self.download().await {
            Ok(made) => {
                let reason = reason.unwrap_or_else(|| self.reason());
                self.note(self.blob.size(), Outcome::Fetched(reason));
                self.keep(made).await;
            }
            Err(error) => {
                tracing::warn!(blob = %self.digest, "the download failed: {}", error.one_line());
                self.fail(error);
            }
        }
    }

    /// Gives the blob that the cache has. Another production may have ended between the time at which the
    /// cache was asked and the time at which this one began; no two begin after that, since a blob is kept
    /// before its production ends.
    async fn is_there(&self) -> bool {
        let (cache, digest) = (Arc::clone(&self.shared.cache), self.digest.0);
        let Ok(Some(file)) = blocking(move || Ok(cache.open_blob(digest))).await else { return false };
        self.give(&file, self.blob.size());
        true
    }

    fn fail(&self, error: Error) {
        let _ = self.sender.send(Progress::Failed(Arc::new(error)));
    }

    /// Returns the reason why the blob is not made of a delta.
    fn reason(&self) -> String {
        let reason =
            self.image.decision.get().and_then(|decision| decision.reasons.get(&self.digest).cloned());
        reason.unwrap_or_else(|| "it is no layer, or the search for deltas failed".into())
    }

    fn note(&self, fetched: u64, outcome: Outcome) {
        let layer = PulledLayer { digest: self.digest, size: self.blob.size(), fetched, outcome };
        self.shared.history.note(&self.upstream.client.name(), self.image.manifest.digest, layer);
    }

    /// Makes the blob of a delta and keeps it.
    async fn rebuild(self, plan: &RebuildPlan) {
        if self.is_there().await {
            return;
        }
        let (began, mut spent) = (Instant::now(), Spent::default());
        let budget = budget(&self.shared, &self.upstream, plan);
        let longest = budget.time_left();
        let made = async {
            let _permit = self.shared.rebuilds.acquire().await;
            let began = Instant::now();
            let made = self.try_rebuild(plan, budget, &mut spent).await?;
            // With the download of the delta, which is small where the delta is worth it, unless it is held back.
            if self.upstream.client.throttle().is_none() {
                self.shared.pace.learn(plan.way().map_or(0, Way::work), began.elapsed());
            }
            Ok(made)
        };
        let late = || Error::malformed("the delta", format!("it takes over {} s", longest.as_secs()));
        let outcome = timeout(budget.time_left(), made).await.unwrap_or_else(|_| Err(late()));
        self.shared.metrics.rebuilt(&self.upstream.registry, began.elapsed(), outcome.is_ok());
        match outcome {
            Ok(made) => {
                let saved = self.blob.size().saturating_sub(spent.bytes);
                self.shared.metrics.saved(&self.upstream.registry, saved);
                self.note(spent.bytes, Outcome::Rebuilt);
                tracing::info!(
                    blob = %self.digest, size = self.blob.size(), fetched = spent.bytes, steps = made.steps,
                    seconds = began.elapsed().as_secs_f64(), "made of a delta"
                );
                self.give(&made.reading, self.blob.size());
                self.keep(made).await;
            }
            Err(error) => {
                tracing::warn!(blob = %self.digest, "no delta makes it: {}", error.one_line());
                self.fail(error);
            }
        }
    }

    async fn try_rebuild(&self, plan: &RebuildPlan, budget: Budget, spent: &mut Spent) -> Result<Made> {
        let room = self.room().await?;
        let (rebuilt, scratch) = rebuild_tar(&self.shared, &self.upstream, plan, budget, spent).await?;
        let steps = rebuilt.steps.len();
        let Some(recipe) = &plan.recipe else {
            let file = rebuilt.tar.reopen().map_err(Error::io("open", rebuilt.tar.path()))?;
            return Ok(Made { file: rebuilt.tar, reading: Arc::new(file), dir: Some(scratch), room, steps });
        };
        let proven = ProvenRecipe { blob: self.digest, tar: plan.layer.diff_id, recipe: digest_of(recipe)? };
        spent.bytes += recipe.size();
        let recipe = BlobRecipe::fetch(&self.upstream.repository, recipe, scratch.path()).await?;
        let (shared, digest, size) = (Arc::clone(&self.shared), self.digest, self.blob.size());
        let (sender, is_given) = (self.sender.clone(), self.shared.proven.has(&proven));
        blocking(move || {
            let tar = rebuilt.tar;
            let file = tar.reopen().map_err(Error::io("open", tar.path()))?;
            let tar = Spool::of_file(tar.path().display().to_string(), file, rebuilt.size);
            let mut blob = shared.cache.temporary()?;
            let path = blob.path().to_owned();
            let reading = Arc::new(blob.reopen().map_err(Error::io("open", &path))?);
            let (limit, given) = (size.saturating_sub(1), Arc::clone(&reading));
            let output =
                Giving { output: blob.as_file_mut(), reading: given, sender, is_given, written: 0, limit };
            let mut output = BufWriter::with_capacity(CHUNK, output);
            recipe.make(&tar, digest.0, size, &mut output)?;
            output.flush().map_err(Error::io("write", &path))?;
            drop(output);
            shared.proven.note(proven);
            Ok(Made { file: blob, reading, dir: None, room, steps })
        })
        .await
    }

    /// Downloads the blob. Ends early when nobody waits for it any more.
    async fn download(&self) -> Result<Made> {
        let (size, client) = (self.blob.size(), &self.upstream.client);
        let room = self.room().await?;
        let mut stream = client.stream_blob(self.digest, Some(size), 0, None).await?;
        let cache = Arc::clone(&self.shared.cache);
        let (file, reading) = blocking(move || {
            let file = cache.temporary()?;
            let reading = file.reopen().map_err(Error::io("open", file.path()))?;
            Ok((file, Arc::new(reading)))
        })
        .await?;
        self.give(&reading, 0);
        let writing = Arc::new(file.reopen().map_err(Error::io("open", file.path()))?);
        let mut written = 0;
        loop {
            let chunk = tokio::select! {
                chunk = gather(&mut stream) => chunk?,
                () = self.sender.closed() => {
                    return Err(Error::malformed(format!("blob {}", self.digest), "nobody waits for it"));
                }
            };
            if chunk.is_empty() {
                break;
            }
            let (to, path, offset, grown) =
                (Arc::clone(&writing), file.path().to_owned(), written, chunk.len() as u64);
            blocking(move || to.write_all_at(&chunk, offset).map_err(Error::io("write", path))).await?;
            written += grown;
            self.give(&reading, written);
        }
        Ok(Made { file, reading, dir: None, room, steps: 0 })
    }

    /// Makes room in the cache.
    async fn room(&self) -> Result<Reserved> {
        let (cache, size) = (Arc::clone(&self.shared.cache), self.blob.size());
        blocking(move || cache.reserve(size)).await
    }

    fn give(&self, file: &Arc<File>, available: u64) {
        let _ = self.sender.send(Progress::Growing { file: Arc::clone(file), available });
    }

    /// Puts the blob into the cache. Who waits for it has it already, so that a full disk costs only the next client.
    async fn keep(&self, made: Made) {
        let Made { file, dir, room, .. } = made;
        let (cache, digest, size) = (Arc::clone(&self.shared.cache), self.digest, self.blob.size());
        let decision = self.image.decision.get().cloned();
        let kept = blocking(move || {
            cache.keep(digest.0, size, file)?;
            drop((dir, room));
            match decision.as_ref().and_then(|decision| decision.image.as_ref()) {
                Some(image) => cache.keep_image(&image.manifest, &image.config),
                None => Ok(()),
            }
        });
        if let Err(error) = kept.await {
            tracing::warn!(blob = %self.digest, "not kept in the cache: {}", error.one_line());
        }
    }
}

/// Reads the bytes that come soon, or else the next ones. Returns none at the end.
async fn gather(stream: &mut BlobStream) -> Result<Vec<u8>> {
    let Some(mut bytes) = stream.next().await? else { return Ok(Vec::new()) };
    let began = Instant::now();
    while bytes.len() < CHUNK {
        let left = LONGEST_DELAY.saturating_sub(began.elapsed());
        match timeout(left, stream.next()).await {
            Ok(next) => match next? {
                Some(next) => bytes.extend_from_slice(&next),
                None => break,
            },
            Err(_) => break,
        }
    }
    Ok(bytes)
}
