//! Makes blobs: of a delta and its recipe, or by a download.
//!
//! Whatever goes wrong with a delta ends with the download. Of what is made of a delta no byte is given away before
//! all of it has the blob's digest.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer::{BlobDigest, Spool, SpoolOptions};
use oci_spec::image::Descriptor;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use super::cost;
use super::decision::{ImageEntry, RebuildPlan};
use super::history::{Outcome, PulledLayer};
use super::productions::{Progress, Receiver, Sender};
use super::shared::Shared;
use super::upstreams::{NamedBlob, Upstream};
use crate::blob_recipe::BlobRecipe;
use crate::error::blocking;
use crate::oci::digest_of;
use crate::pull::{Budget, Rebuilder, Spent};
use crate::registry::BlobStream;
use crate::{Error, Result};

/// Bytes that are written at one time.
const CHUNK: usize = 256 << 10;
/// The longest time for which bytes that came are not given away.
const LONGEST_DELAY: Duration = Duration::from_millis(300);

/// Begins to make a blob, or joins who makes it.
pub(super) fn produce(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    named: &NamedBlob,
    plan: Option<RebuildPlan>,
) -> Result<Receiver> {
    let digest = BlobDigest(digest_of(&named.descriptor)?);
    Ok(shared.productions.join(digest, |sender| {
        let task = Production {
            shared: Arc::clone(shared),
            upstream: Arc::clone(upstream),
            image: Arc::clone(&named.image),
            blob: named.descriptor.clone(),
            digest,
            sender,
        };
        shared.spawn(async move { task.run(plan).await });
    }))
}

/// The making of one blob.
struct Production {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    image: Arc<ImageEntry>,
    blob: Descriptor,
    digest: BlobDigest,
    sender: Sender,
}

/// Ends the production, also when its task is cancelled.
impl Drop for Production {
    fn drop(&mut self) {
        self.shared.productions.end(self.digest);
    }
}

impl Production {
    async fn run(self, plan: Option<RebuildPlan>) {
        let rebuilt = match plan {
            Some(plan) => self.rebuild(&plan).await,
            None => Err(self.reason()),
        };
        let made = match rebuilt {
            Ok(file) => Ok(file),
            Err(reason) => {
                let fetched = self.download().await;
                if fetched.is_ok() {
                    self.note(self.blob.size(), Outcome::Fetched(reason));
                }
                fetched
            }
        };
        match made {
            Ok(file) => self.keep(file).await,
            Err(error) => drop(self.sender.send(Progress::Failed(Arc::new(error)))),
        }
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

    /// Makes the blob of a delta, or returns the reason why that failed.
    async fn rebuild(&self, plan: &RebuildPlan) -> std::result::Result<NamedTempFile, String> {
        let permit = self.shared.rebuilds.acquire().await.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let mut spent = Spent::default();
        let line = self.upstream.client.line_rate();
        let budget = Budget::new(&plan.layer, line, self.shared.max_layer_size);
        let rebuilt = timeout(budget.time_left(), self.try_rebuild(plan, budget, &mut spent)).await;
        if matches!(rebuilt, Ok(Ok(_))) {
            // With the download of the delta, which is small where the delta is worth it.
            self.shared.pace.learn(cost::work(plan), began.elapsed());
        }
        drop(permit);
        let late = || Error::malformed("the delta", "it takes too long, so the blob is fetched");
        let outcome = match rebuilt {
            Ok(outcome) => outcome,
            Err(_) => Err(late()),
        };
        self.shared.metrics.rebuilt(&self.upstream.registry, began.elapsed(), outcome.is_ok());
        match outcome {
            Ok((file, reading)) => {
                let saved = self.blob.size().saturating_sub(spent.bytes);
                self.shared.metrics.saved(&self.upstream.registry, saved);
                self.note(spent.bytes, Outcome::Rebuilt);
                tracing::info!(
                    blob = %self.digest, size = self.blob.size(), fetched = spent.bytes,
                    seconds = began.elapsed().as_secs_f64(), "made of a delta"
                );
                self.give(&reading, self.blob.size());
                Ok(file)
            }
            Err(error) => {
                let reason = format!("no delta makes it: {}", error.one_line());
                tracing::warn!(blob = %self.digest, "fetched, since {reason}");
                Err(reason)
            }
        }
    }

    async fn try_rebuild(
        &self,
        plan: &RebuildPlan,
        budget: Budget,
        spent: &mut Spent,
    ) -> Result<(NamedTempFile, Arc<File>)> {
        let dir = self.shared.scratch_dir().await?;
        let spool = SpoolOptions { temp_dir: dir.clone(), max_size: self.shared.max_layer_size };
        let rebuilder = Rebuilder {
            repository: &self.upstream.repository,
            dir: dir.clone(),
            spool,
            watch: &self.shared.watch,
        };
        let rebuilt = rebuilder.rebuild(&plan.layer, plan.deltas.clone(), budget, spent).await;
        let rebuilt = rebuilt.ok_or_else(|| Error::malformed("deltas", spent.failures.join("; ")))?;
        let Some(recipe) = &plan.recipe else {
            let file = rebuilt.tar.reopen().map_err(Error::io("open", rebuilt.tar.path()))?;
            return Ok((rebuilt.tar, Arc::new(file)));
        };
        spent.bytes += recipe.size();
        let recipe = BlobRecipe::fetch(&self.upstream.repository, recipe, &dir).await?;
        let (cache, digest, size) = (Arc::clone(&self.shared.cache), self.digest, self.blob.size());
        blocking(move || {
            let tar = rebuilt.tar;
            let file = tar.reopen().map_err(Error::io("open", tar.path()))?;
            let tar = Spool::of_file(tar.path().display().to_string(), file, rebuilt.size);
            let mut blob = cache.temporary()?;
            let path = blob.path().to_owned();
            let mut output = BufWriter::with_capacity(CHUNK, blob.as_file_mut());
            recipe.make(&tar, digest.0, size, &mut output)?;
            output.flush().map_err(Error::io("write", &path))?;
            drop(output);
            let reading = blob.reopen().map_err(Error::io("open", &path))?;
            Ok((blob, Arc::new(reading)))
        })
        .await
    }

    /// Downloads the blob. Ends early when nobody waits for it any more.
    async fn download(&self) -> Result<NamedTempFile> {
        let (size, client) = (self.blob.size(), &self.upstream.client);
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
        while written < size {
            let chunk = gather(&mut stream).await?;
            if chunk.is_empty() || self.sender.is_closed() {
                return Err(Error::malformed(format!("blob {}", self.digest), "nobody waits for it"));
            }
            let (to, path, offset, grown) =
                (Arc::clone(&writing), file.path().to_owned(), written, chunk.len() as u64);
            blocking(move || to.write_all_at(&chunk, offset).map_err(Error::io("write", path))).await?;
            written += grown;
            self.give(&reading, written);
        }
        Ok(file)
    }

    fn give(&self, file: &Arc<File>, available: u64) {
        let _ = self.sender.send(Progress::Growing { file: Arc::clone(file), available });
    }

    /// Puts the blob into the cache. Who waits for it has it already, so that a full disk costs only the next client.
    async fn keep(&self, file: NamedTempFile) {
        let (cache, digest, size) = (Arc::clone(&self.shared.cache), self.digest, self.blob.size());
        let decision = self.image.decision.get().cloned();
        let kept = blocking(move || {
            cache.keep(digest.0, size, file)?;
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
