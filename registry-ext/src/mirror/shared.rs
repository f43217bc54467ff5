//! The state that all requests share.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cache::BlobCache;
use super::history::History;
use super::htpasswd::Htpasswd;
use super::metrics::Metrics;
use super::options::{MirrorOptions, Readers};
use super::prefetch::Prefetcher;
use super::productions::Productions;
use super::proven::ProvenRecipes;
use super::rewrite::Rewrites;
use super::upstreams::Upstreams;
use crate::cost::{Pace, Prefer};
use crate::error::blocking;
use crate::scratch::ScratchDir;
use crate::store::{LayerStore, StoreRef};
use crate::watch::{Event, Watch};
use crate::{Error, Result};

/// The time that is left to what goes on beside the requests when the mirror ends.
const GRACE: Duration = Duration::from_secs(5);
/// The longest time for which threads that are at work are waited for after that.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The state that all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upstreams: Upstreams,
    pub(super) cache: Arc<BlobCache>,
    pub(super) productions: Productions,
    pub(super) proven: ProvenRecipes,
    pub(super) metrics: Metrics,
    pub(super) history: History,
    /// The users that may read, if the mirror asks for their passwords.
    pub(super) users: Option<Htpasswd>,
    /// True if clients show their own credentials to the registries.
    pub(super) is_passing: bool,
    /// The tags that are followed.
    pub(super) prefetcher: Prefetcher,
    /// The manifests that are given in place of others.
    pub(super) rewrites: Rewrites,
    /// Permits for blobs that are made at one time: each takes a core.
    pub(super) rebuilds: Semaphore,
    /// For downloads of deltas, and tars. It lies in the cache.
    scratch: Arc<ScratchDir>,
    pub(super) max_layer_size: u64,
    pub(super) prefer: Prefer,
    /// The time that work takes on this host.
    pub(super) pace: Pace,
    /// The rate at which registries send, where that is given.
    line: Option<u64>,
    /// The time for which a client waits for bytes that are being made.
    pub(super) patience: Duration,
    /// The longest time for a manifest.
    pub(super) manifest_timeout: Duration,
    /// Writes warnings to the log.
    pub(super) watch: Watch,
    sources: Vec<StoreRef>,
    /// The reasons for which sources are not used, which the log has already.
    unused: Mutex<BTreeSet<String>>,
    /// The tasks that go on beside the requests.
    tasks: Mutex<JoinSet<()>>,
}

impl Shared {
    /// Opens the cache and makes the rest. Blocks.
    ///
    /// # Errors
    /// As [`BlobCache::open`].
    pub(super) fn open(options: MirrorOptions) -> Result<Self> {
        let cache = BlobCache::open(&options.cache_dir, options.cache_size)?;
        let users = match &options.readers {
            Readers::Users(file) => Some(Htpasswd::open(file)?),
            Readers::All | Readers::PassThrough => None,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            upstreams: Upstreams::new(options.registry, options.upstreams),
            scratch: Arc::new(ScratchDir::new_in(cache.layout().dir())?),
            rewrites: Rewrites::open(cache.layout().dir(), options.rewrite)?,
            proven: ProvenRecipes::open(cache.layout().dir()),
            cache: Arc::new(cache),
            productions: Productions::default(),
            metrics: Metrics::new(),
            history: History::default(),
            prefetcher: Prefetcher::new(options.prefetch),
            users,
            is_passing: options.readers == Readers::PassThrough,
            rebuilds: Semaphore::new(cores),
            max_layer_size: options.max_layer_size,
            prefer: options.prefer,
            pace: Pace::measured(),
            line: options.line,
            patience: options.patience,
            manifest_timeout: options.manifest_timeout,
            watch: Watch::new(|event| {
                if let Event::Warning(text) = event {
                    tracing::warn!("{text}");
                }
            }),
            sources: options.sources,
            unused: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    /// The rate at which a registry sends, in bytes a second, if it is known.
    pub(super) fn line(&self, registry: &str) -> Option<u64> {
        self.line.or_else(|| self.upstreams.line_rate(registry))
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins something that goes on when its client breaks off.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Ends what goes on beside the requests: a blob that is nearly kept still is.
    pub(super) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(GRACE, all).await.is_err() {
            tasks.shutdown().await;
        }
        // A thread that was at work ends by itself, and has the cache until then.
        let began = Instant::now();
        while Arc::strong_count(&self.cache) > 1 && began.elapsed() < END_TIMEOUT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the directory for downloads of deltas, and tars. Makes it again if somebody has removed it, with the
    /// rest of the cache.
    ///
    /// # Errors
    /// As [`BlobCache::restore`].
    pub(super) async fn scratch_dir(&self) -> Result<PathBuf> {
        let (cache, scratch) = (Arc::clone(&self.cache), Arc::clone(&self.scratch));
        blocking(move || {
            cache.restore()?;
            // Under the same name, which open stores know.
            scratch.restore()?;
            Ok(scratch.path().to_owned())
        })
        .await
    }

    /// Fails if nothing can be written to the cache.
    ///
    /// # Errors
    /// As [`BlobCache::restore`].
    pub(super) async fn check_cache(&self) -> Result<()> {
        self.scratch_dir().await?;
        let cache = Arc::clone(&self.cache);
        blocking(move || {
            let file = cache.temporary()?;
            std::fs::write(file.path(), "ready").map_err(Error::io("write", file.path()))
        })
        .await
    }

    /// Opens the stores with old images, as they are now: a daemon changes its store while the mirror runs. A store
    /// that is not there yet has no images.
    pub(super) async fn stores(&self) -> Result<Vec<Arc<dyn LayerStore>>> {
        let (sources, dir) = (self.sources.clone(), self.scratch_dir().await?);
        let cache = self.cache.layout().clone();
        let (stores, unused) = blocking(move || {
            let (mut stores, mut unused) = (Vec::<Arc<dyn LayerStore>>::new(), BTreeSet::new());
            for source in &sources {
                match source.open(&dir) {
                    Ok(store) => stores.push(store),
                    Err(error) => drop(unused.insert(format!("{source} is not used: {}", error.one_line()))),
                }
            }
            stores.push(Arc::new(cache));
            Ok((stores, unused))
        })
        .await?;
        let mut known = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.difference(&known).for_each(|reason| tracing::warn!("{reason}"));
        *known = unused;
        Ok(stores)
    }
}
