//! Fetches what tags lead to into the cache, before anybody asks for it.
//!
//! One task looks at each tag in turn, and fetches one blob at a time: deltas where they will do, as for a client. A
//! blob that is whole in the cache is not fetched again, so that a mirror that was stopped goes on where it was. A
//! client that asks for a blob on its way joins it, and takes the limit of its rate away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use derive_setters::Setters;
use layer::{BlobDigest, Digest};
use oci_spec::distribution::Reference;
use tokio::time::timeout;

use super::decide::decision;
use super::login::Login;
use super::produce::{download, rebuild};
use super::productions::{Progress, Receiver};
use super::rewrite::reach;
use super::shared::Shared;
use super::upstreams::{NamedBlob, Upstream};
use super::window::{Window, local_minute};
use crate::error::blocking;
use crate::image::{Image, Platform, resolve};
use crate::oci::{Manifest, Name};
use crate::registry::{Allowance, Throttle};
use crate::{Error, Result};

/// The time after which is looked again if a window has opened.
const WINDOW_PAUSE: Duration = Duration::from_secs(20);
/// The time after which is looked again if a blob came into the cache in another way, for a client.
const CACHE_PAUSE: Duration = Duration::from_secs(5);

/// The images that are fetched before anybody asks, and when and how fast.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct PrefetchOptions {
    /// The tags that are followed.
    pub tags: Vec<Reference>,
    /// The time after which the tags are looked at again.
    pub every: Duration,
    /// Most bytes a second of blobs and deltas that nobody waits for.
    #[setters(into)]
    pub rate: Option<u64>,
    /// The times of the day at which something may be begun; always if there are none.
    pub windows: Vec<Window>,
    /// The platform whose images are fetched.
    pub platform: Platform,
}

impl Default for PrefetchOptions {
    /// No tags; every quarter of an hour, at any rate and time, for the platform of this program.
    fn default() -> Self {
        let (every, platform) = (Duration::from_secs(15 * 60), Platform::host());
        Self { tags: Vec::new(), every, rate: None, windows: Vec::new(), platform }
    }
}

/// The progress of the prefetching of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody has looked yet.
    Waiting,
    /// Its blobs are being fetched: so many of so many are there.
    Fetching(usize, usize),
    /// All that it leads to is in the cache.
    Complete(Digest),
    /// The registry does not have it any more.
    Vanished,
    /// It could not be fetched, for this reason.
    Failed(String),
}

/// A tag that is followed, for people.
#[derive(Debug, Clone)]
pub(super) struct FollowedTag {
    pub(super) name: String,
    pub(super) stage: Stage,
    /// The time at which it got there.
    pub(super) time: SystemTime,
}

/// The tags that are followed.
#[derive(Debug)]
pub(super) struct Prefetcher {
    options: PrefetchOptions,
    allowance: Option<Arc<Allowance>>,
    followed: Mutex<Vec<FollowedTag>>,
}

impl Prefetcher {
    pub(super) fn new(options: PrefetchOptions) -> Self {
        let followed = options.tags.iter().map(|tag| FollowedTag {
            name: tag.to_string(),
            stage: Stage::Waiting,
            time: SystemTime::now(),
        });
        let (followed, allowance) = (Mutex::new(followed.collect()), options.rate.map(Allowance::new));
        Self { options, allowance: allowance.map(Arc::new), followed }
    }

    /// The tags that are followed, and how far each has come.
    pub(super) fn followed(&self) -> Vec<FollowedTag> {
        self.entries().clone()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<FollowedTag>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far a tag has come. Returns true if that is news.
    fn note(&self, index: usize, stage: Stage) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(index) else { return false };
        let is_news = entry.stage != stage;
        if is_news {
            (entry.stage, entry.time) = (stage, SystemTime::now());
        }
        is_news
    }

    /// Waits until something may be begun.
    async fn wait_for_window(&self) {
        let windows = &self.options.windows;
        while !windows.is_empty() && !windows.iter().any(|window| window.contains(local_minute())) {
            tokio::time::sleep(WINDOW_PAUSE).await;
        }
    }

    /// The platform whose images are fetched.
    pub(super) const fn platform(&self) -> &Platform {
        &self.options.platform
    }

    fn throttle(&self) -> Arc<Throttle> {
        Arc::new(Throttle::new(self.allowance.clone()))
    }
}

/// Follows the tags, for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let prefetcher = &shared.prefetcher;
    if prefetcher.options.tags.is_empty() {
        return;
    }
    let mut complete = HashMap::new();
    loop {
        for (index, tag) in prefetcher.options.tags.iter().enumerate() {
            prefetcher.wait_for_window().await;
            let (outcome, stage) = match look_at(&shared, index, tag, complete.get(&index).copied()).await {
                Ok(Some(digest)) => {
                    complete.insert(index, digest);
                    ("complete", Stage::Complete(digest))
                }
                Ok(None) => ("vanished", Stage::Vanished),
                Err(error) => ("failed", Stage::Failed(error.one_line())),
            };
            shared.metrics.prefetched(tag.registry(), outcome);
            // Once, and not each time that it is looked at.
            if prefetcher.note(index, stage.clone()) {
                match stage {
                    Stage::Vanished => {
                        tracing::warn!("{tag} is not prefetched: the registry has no such tag")
                    }
                    Stage::Failed(reason) => tracing::warn!("{tag} is not prefetched whole: {reason}"),
                    _ => tracing::info!("{tag} is prefetched"),
                }
            }
        }
        tokio::time::sleep(prefetcher.options.every).await;
    }
}

/// Fetches what a tag leads to. Returns the digest of its manifest or index; `None` if there is no such tag.
async fn look_at(
    shared: &Arc<Shared>,
    index: usize,
    tag: &Reference,
    complete: Option<Digest>,
) -> Result<Option<Digest>> {
    let own = shared.upstreams.get(tag, Login::Own).await?;
    let name = Name::Tag(tag.tag().unwrap_or("latest").to_owned());
    let top = match own.client.manifest(&name).await {
        Ok(Some(top)) => top,
        Ok(None) => return Ok(None),
        Err(error) => {
            shared.upstreams.forget(&own);
            return Err(error);
        }
    };
    // What went out of the cache since then had to make room for what is asked for.
    if complete == Some(top.digest) {
        return Ok(complete);
    }
    let (name, platform) = (Name::Digest(top.digest), &shared.prefetcher.options.platform);
    let image = resolve(&own.repository, Some(&name), platform, &shared.scratch_dir().await?).await?;
    fetch(shared, &own, index, (&top, &image)).await?;
    Ok(Some(top.digest))
}

/// Fetches the blobs of an image that are not there.
async fn fetch(
    shared: &Arc<Shared>,
    own: &Upstream,
    index: usize,
    (top, image): (&Manifest, &Image),
) -> Result<()> {
    let upstream = own.in_no_hurry(shared.prefetcher.options.rate);
    let tars = tars(shared, &upstream, top).await;
    upstream.note(&image.manifest).ok_or_else(|| Error::malformed("the manifest", "it is too large"))?;
    let mut failures = Vec::new();
    let total = image.layers.len();
    for (done, layer) in image.layers.iter().enumerate() {
        shared.prefetcher.note(index, Stage::Fetching(done - failures.len(), total));
        if tars.contains(&layer.diff_id.0) || is_cached(shared, layer.digest).await? {
            continue;
        }
        shared.prefetcher.wait_for_window().await;
        let named =
            upstream.blob(layer.digest).ok_or_else(|| Error::malformed("a layer", "it is not named"))?;
        if let Err(error) = fetch_blob(shared, &upstream, &named, layer.digest).await {
            failures.push(error);
        }
    }
    if let Some(first) = failures.into_iter().next() {
        return Err(first);
    }
    let (cache, manifest, config) = (Arc::clone(&shared.cache), image.manifest.clone(), image.config.clone());
    blocking(move || cache.keep_image(&manifest, &config)).await
}

/// Makes the layers that clients get as tars, and returns the digests of those.
async fn tars(shared: &Arc<Shared>, upstream: &Arc<Upstream>, top: &Manifest) -> Vec<Digest> {
    if !shared.rewrites.is_on() {
        return Vec::new();
    }
    let throttle = shared.prefetcher.throttle();
    let fetching = upstream.throttled(Arc::clone(&throttle));
    let record = reach(shared, (upstream, &fetching), top).await;
    shared.metrics.prefetched_bytes(&upstream.registry, throttle.taken());
    record.rewrite.iter().flat_map(|rewrite| rewrite.tars.iter().map(|tar| tar.digest)).collect()
}

async fn fetch_blob(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    named: &NamedBlob,
    digest: BlobDigest,
) -> Result<()> {
    let throttle = shared.prefetcher.throttle();
    let decision = decision(shared, upstream, &named.image).await;
    // Of its own, so that a client that waits for this blob releases no other one.
    let upstream = upstream.throttled(Arc::clone(&throttle));
    let (mut failure, mut is_made) = (None, false);
    if let Some(plan) = decision.rebuilt.get(&digest) {
        failure = ended(shared, digest, rebuild(shared, &upstream, named, plan.clone())).await;
        is_made = failure.is_none();
    }
    if !is_made {
        let reason = failure.take().map(|failure| format!("no delta makes it: {}", failure.one_line()));
        failure = ended(shared, digest, download(shared, &upstream, named, digest, reason)).await;
    }
    shared.metrics.prefetched_bytes(&upstream.registry, throttle.taken());
    if is_cached(shared, digest).await? {
        return Ok(());
    }
    let reason = failure.map_or_else(|| "it is not in the cache".to_owned(), |failure| failure.one_line());
    Err(Error::malformed(format!("blob {digest}"), reason))
}

/// Waits until a blob is made, and is in the cache. Returns the error of one that is not.
async fn ended(shared: &Shared, digest: BlobDigest, mut receiver: Receiver) -> Option<Arc<Error>> {
    loop {
        match timeout(CACHE_PAUSE, receiver.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) if is_cached(shared, digest).await.unwrap_or(false) => break,
            Err(_) => {}
        }
    }
    match &*receiver.borrow() {
        Progress::Failed(failure) => Some(Arc::clone(failure)),
        Progress::Waiting | Progress::Growing { .. } => None,
    }
}

async fn is_cached(shared: &Shared, digest: BlobDigest) -> Result<bool> {
    let cache = Arc::clone(&shared.cache);
    blocking(move || Ok(cache.open_blob(digest.0).is_some())).await
}
