//! The repositories that clients have asked for, and what the mirror knows of them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use layer::{BlobDigest, Digest};
use oci_spec::distribution::Reference;
use oci_spec::image::Descriptor;

use super::decision::ImageEntry;
use super::login::{Acceptance, Login};
use super::rewrite::Record;
use crate::Result;
use crate::error::blocking;
use crate::oci::{Manifest, digest_of, parse_manifest};
use crate::registry::{Client, RegistryOptions, Throttle};
use crate::repository::Repository;

/// Most repositories that are known at one time.
const MAX_REPOSITORIES: usize = 512;
/// Most images of a repository that are known at one time.
const MAX_IMAGES: usize = 64;
/// Most manifests and indexes of a repository that are kept in memory.
const MAX_MANIFESTS: usize = 128;
/// Most bytes of the manifest of an image whose blobs are known: one of over a thousand layers has more, and its blobs
/// are passed on.
const MAX_IMAGE_MANIFEST: usize = 256 << 10;
/// The time after which the credentials of a client are forgotten that does not come back.
const LOGIN_AGE: Duration = Duration::from_secs(600);
/// Most bytes of them.
const MAX_MANIFEST_BYTES: usize = 8 << 20;

/// Most bytes of the manifests and indexes of all repositories. Those that were not asked for for the longest time go.
const MAX_ALL_MANIFEST_BYTES: usize = 64 << 20;

/// A blob that an image of the repository has.
#[derive(Debug, Clone)]
pub(super) struct NamedBlob {
    /// Its descriptor in the image's manifest.
    pub(super) descriptor: Descriptor,
    /// The image.
    pub(super) image: Arc<ImageEntry>,
}

/// The manifests and blobs of a repository that are known.
#[derive(Debug, Default)]
struct Known {
    /// Manifests and indexes, oldest first.
    manifests: VecDeque<Manifest>,
    /// Images, oldest first.
    images: VecDeque<Arc<ImageEntry>>,
    /// The manifests and indexes in place of which others were served.
    rewritten: HashSet<Digest>,
    /// The blobs that they name.
    blobs: HashMap<BlobDigest, NamedBlob>,
}

/// A repository on a registry that clients pull from.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Speaks to the registry.
    pub(super) client: Arc<Client>,
    /// The same, as the rest of the crate takes it.
    pub(super) repository: Arc<Repository>,
    /// The registry, with its port.
    pub(super) registry: String,
    /// The credentials that the requests carry.
    login: Login,
    /// Tells if the registry has lately accepted them.
    acceptance: Acceptance,
    /// The rate at which blobs will come that nobody waits for, if it is limited.
    pub(super) limit: Option<u64>,
    known: Mutex<Known>,
    manifest_bytes: AtomicUsize,
}

impl Upstream {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same repository, of which nothing is known yet, for blobs that nobody waits for: they will come within a
    /// limit, in bytes a second.
    pub(super) fn in_no_hurry(&self, limit: Option<u64>) -> Arc<Self> {
        let new = Self::new(Arc::clone(&self.client), self.registry.clone(), self.login.clone());
        Arc::new(Self { limit, ..new })
    }

    /// The same repository, whose blobs come within a limit.
    pub(super) fn throttled(&self, throttle: Arc<Throttle>) -> Arc<Self> {
        let client = Arc::new(self.client.throttled(throttle));
        Arc::new(Self::new(client, self.registry.clone(), self.login.clone()))
    }

    fn new(client: Arc<Client>, registry: String, login: Login) -> Self {
        let repository = Arc::new(Repository::Registry(Arc::clone(&client)));
        let (acceptance, known) = (Acceptance::default(), Mutex::default());
        let manifest_bytes = AtomicUsize::new(0);
        Self { client, repository, registry, login, acceptance, limit: None, known, manifest_bytes }
    }

    /// Bytes of the manifests and indexes that are kept.
    fn manifest_bytes(&self) -> usize {
        self.manifest_bytes.load(Ordering::Relaxed)
    }

    /// Notes that the registry has just given something of the repository.
    pub(super) fn accept(&self) {
        self.acceptance.renew();
    }

    /// True if what is known of the repository may be given away without asking the registry.
    pub(super) fn is_accepted(&self) -> bool {
        self.login == Login::Own || self.acceptance.is_fresh()
    }

    /// Returns a manifest that was seen before. It is the one of its digest, for ever.
    pub(super) fn manifest(&self, digest: Digest) -> Option<Manifest> {
        self.known().manifests.iter().find(|manifest| manifest.digest == digest).cloned()
    }

    /// Returns the blob of an image that was seen before.
    pub(super) fn blob(&self, digest: BlobDigest) -> Option<NamedBlob> {
        self.known().blobs.get(&digest).cloned()
    }

    /// Notes a manifest that is about to be served. Returns its image, if it is one: the entry that was there before,
    /// unless its decision has grown old.
    pub(super) fn note(&self, manifest: &Manifest) -> Option<Arc<ImageEntry>> {
        self.note_image(manifest, ImageEntry::new)
    }

    /// Notes what is about to be served in place of a manifest or an index that the repository has. Returns its image.
    pub(super) fn note_rewrite(&self, record: &Arc<Record>) -> Option<Arc<ImageEntry>> {
        let rewrite = record.rewrite.as_ref()?;
        self.known().rewritten.insert(record.original);
        self.note_image(&rewrite.top, |manifest| ImageEntry::rewritten(manifest, record));
        self.note_image(&rewrite.image, |manifest| ImageEntry::rewritten(manifest, record))
    }

    /// True if something was served in place of a manifest or an index.
    pub(super) fn has_rewritten(&self, original: Digest) -> bool {
        self.known().rewritten.contains(&original)
    }

    fn note_image(
        &self,
        manifest: &Manifest,
        entry: impl FnOnce(Manifest) -> ImageEntry,
    ) -> Option<Arc<ImageEntry>> {
        let mut known = self.known();
        if known.manifests.iter().all(|there| there.digest != manifest.digest) {
            known.manifests.push_back(manifest.clone());
            let size = |known: &Known| known.manifests.iter().map(|of| of.bytes.len()).sum::<usize>();
            while known.manifests.len() > MAX_MANIFESTS || size(&known) > MAX_MANIFEST_BYTES {
                known.manifests.pop_front();
            }
            self.manifest_bytes.store(size(&known), Ordering::Relaxed);
        }
        if manifest.is_index() || manifest.bytes.len() > MAX_IMAGE_MANIFEST {
            return None;
        }
        let there = known.images.iter().find(|image| image.manifest.digest == manifest.digest);
        if let Some(there) = there.filter(|image| image.is_fresh()) {
            return Some(Arc::clone(there));
        }
        let parsed = parse_manifest("manifest", &manifest.bytes).ok()?;
        known.forget(manifest.digest);
        let entry = Arc::new(entry(manifest.clone()));
        for descriptor in parsed.layers().iter().chain([parsed.config()]) {
            let Ok(digest) = digest_of(descriptor) else { continue };
            let blob = NamedBlob { descriptor: descriptor.clone(), image: Arc::clone(&entry) };
            known.blobs.insert(BlobDigest(digest), blob);
        }
        known.images.push_back(Arc::clone(&entry));
        while known.images.len() > MAX_IMAGES {
            let Some(oldest) = known.images.front().map(|image| image.manifest.digest) else { break };
            known.forget(oldest);
        }
        Some(entry)
    }
}

impl Known {
    fn forget(&mut self, manifest: Digest) {
        self.images.retain(|image| image.manifest.digest != manifest);
        self.blobs.retain(|_, blob| blob.image.manifest.digest != manifest);
    }
}

/// A repository with its registry, and the credentials for it.
type Key = (String, Login);

/// Repositories, with the time at which each was asked for last.
type Repositories = HashMap<Key, (Arc<Upstream>, Instant)>;

/// The repositories.
#[derive(Debug)]
pub(super) struct Upstreams {
    options: RegistryOptions,
    /// The registries that may be asked for; any if there is none.
    allowed: Vec<String>,
    known: Mutex<Repositories>,
    /// Bytes that the repositories had sent that are not known any more, by registry.
    forgotten: Mutex<BTreeMap<String, u64>>,
}

impl Upstreams {
    pub(super) fn new(options: RegistryOptions, allowed: Vec<String>) -> Self {
        Self { options, allowed, known: Mutex::default(), forgotten: Mutex::default() }
    }

    /// The registry that is meant where a request names none.
    pub(super) fn default_registry(&self) -> Option<&str> {
        self.allowed.first().map(String::as_str)
    }

    /// True if clients may ask for repositories of this registry.
    pub(super) fn allows(&self, registry: &str) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|allowed| allowed == registry)
    }

    /// Returns a repository as it is seen with these credentials.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub(super) async fn get(&self, reference: &Reference, login: Login) -> Result<Arc<Upstream>> {
        let key = (format!("{}/{}", reference.registry(), reference.repository()), login);
        if let Some(upstream) = self.find(&key) {
            return Ok(upstream);
        }
        let client = match &key.1 {
            Login::Own => {
                // Programs that keep credentials may take their time.
                let (of, options) = (reference.clone(), self.options.clone());
                Arc::new(blocking(move || Client::open(&of, &options)).await?)
            }
            Login::Client(sent) => {
                let own = Box::pin(self.get(reference, Login::Own)).await?;
                Arc::new(own.client.for_other(sent.clone()))
            }
        };
        let registry = reference.registry().to_owned();
        let upstream = Arc::new(Upstream::new(client, registry, key.1.clone()));
        let mut known = self.known();
        if let Some((upstream, _)) = known.get(&key) {
            return Ok(Arc::clone(upstream));
        }
        let is_old = |(_, login): &Key, used: Instant| *login != Login::Own && used.elapsed() > LOGIN_AGE;
        for (_, (gone, _)) in known.extract_if(|key, (_, used)| is_old(key, *used)) {
            self.keep_figures(&gone);
        }
        if known.len() >= MAX_REPOSITORIES {
            self.forget_oldest(&mut known, &key);
        }
        known.insert(key, (Arc::clone(&upstream), Instant::now()));
        Ok(upstream)
    }

    /// Returns a repository that is known. Forgets others while all together hold too much.
    fn find(&self, key: &Key) -> Option<Arc<Upstream>> {
        let mut known = self.known();
        let (upstream, used) = known.get_mut(key)?;
        *used = Instant::now();
        let upstream = Arc::clone(upstream);
        let size = |known: &Repositories| known.values().map(|(of, _)| of.manifest_bytes()).sum::<usize>();
        while size(&known) > MAX_ALL_MANIFEST_BYTES && self.forget_oldest(&mut known, key) {}
        Some(upstream)
    }

    /// Forgets the repository that was not asked for for the longest time, of all but one. Returns false if
    /// there is none.
    fn forget_oldest(&self, known: &mut Repositories, kept: &Key) -> bool {
        let others = known.iter().filter(|(key, _)| *key != kept);
        let oldest = others.min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
        let Some((gone, _)) = oldest.and_then(|key| known.remove(&key)) else { return false };
        self.keep_figures(&gone);
        true
    }

    /// Forgets a repository that refuses the credentials: they may be others by the next request.
    pub(super) fn forget(&self, upstream: &Upstream) {
        let gone = self.known().remove(&(upstream.client.name(), upstream.login.clone()));
        if let Some((gone, _)) = gone {
            self.keep_figures(&gone);
        }
    }

    /// Returns a blob of an image of the same repository that was seen with other credentials. Only for a client whom
    /// the registry has just told that the blob is there.
    pub(super) fn blob_seen_by_others(&self, upstream: &Upstream, digest: BlobDigest) -> Option<NamedBlob> {
        let name = upstream.client.name();
        let known = self.known();
        let mut others = known.iter().filter(|((other, _), _)| *other == name);
        others.find_map(|(_, (other, _))| other.blob(digest))
    }

    fn keep_figures(&self, gone: &Upstream) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten.entry(gone.registry.clone()).or_default() += gone.client.received();
    }

    fn known(&self) -> MutexGuard<'_, Repositories> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fastest that a registry was seen to send, in bytes a second. One on this machine is as if it were not seen.
    pub(super) fn line_rate(&self, registry: &str) -> Option<u64> {
        let known = self.known();
        let of_registry = known.values().filter(|(upstream, _)| upstream.registry == registry);
        of_registry.filter_map(|(upstream, _)| upstream.repository.network_rate()).max()
    }

    /// Bytes that each registry has sent.
    pub(super) fn received(&self) -> BTreeMap<String, u64> {
        let known = self.known();
        let mut received = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (upstream, _) in known.values() {
            *received.entry(upstream.registry.clone()).or_default() += upstream.client.received();
        }
        received
    }
}
