//! The options of a mirror.

use std::path::PathBuf;
use std::time::Duration;

use derive_setters::Setters;

use super::prefetch::PrefetchOptions;
use crate::cost::Prefer;
use crate::registry::RegistryOptions;
use crate::store::StoreRef;

/// The bytes of blobs that are kept unless said otherwise.
const CACHE_SIZE: u64 = 10 << 30;

/// The options of a mirror.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct MirrorOptions {
    /// The way to the registries, and the credentials for them. Whoever may connect to the mirror may read what they
    /// open.
    pub registry: RegistryOptions,
    /// The registries that clients may ask for, as host and port. The first one is meant where a request names none.
    /// Any may be asked for if the list is empty.
    pub upstreams: Vec<String>,
    /// The stores with old images, besides the cache.
    pub sources: Vec<StoreRef>,
    /// The directory of the cache. One mirror alone can use it.
    #[setters(into)]
    pub cache_dir: PathBuf,
    /// Most bytes of the blobs in the cache.
    pub cache_size: u64,
    /// Most bytes that one unpacked layer may have.
    pub max_layer_size: u64,
    /// The resource that is saved first.
    pub prefer: Prefer,
    /// The rate at which registries send, in bytes a second. It is measured if it is not given; that of a registry on
    /// this machine, which says nothing about a network, is taken for unknown. Over an unknown line every delta is
    /// used.
    #[setters(into)]
    pub line: Option<u64>,
    /// The time for which a client waits for bytes of a blob that is being made, before it gets some from the
    /// registry. containerd gives up after minutes without any.
    pub patience: Duration,
    /// The longest time for a manifest, after which a client is told that the registry does not answer. containerd
    /// waits 30 seconds for the headers of an answer, and goes on with another place then.
    pub manifest_timeout: Duration,
    /// The longest time for the headers of a request, and between two requests of a connection.
    pub header_timeout: Duration,
    /// The images that are fetched before anybody asks. The credentials for them are those of `registry`.
    pub prefetch: PrefetchOptions,
    /// True if a layer that has a delta and no recipe is given uncompressed, by another manifest, to clients that ask
    /// for a tag. Digests and signatures are then others than those of the registry.
    pub rewrite: bool,
    /// The clients that may read.
    pub readers: Readers,
    /// The certificate that the mirror shows; it speaks plain http without one.
    #[setters(into)]
    pub tls: Option<TlsFiles>,
}

/// The clients that may read through a mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readers {
    /// Whoever can connect to it reads what its own credentials open.
    #[default]
    All,
    /// Those whose name and password a file has, as `htpasswd -B` writes it, read what its own credentials open.
    Users(PathBuf),
    /// Each client reads what its own credentials for the registry open: the mirror asks for them as the registry does,
    /// passes them on to it, and gives what it has itself only to those whom the registry has accepted.
    PassThrough,
}

/// The files that a server needs for TLS, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, and those between it and a CA that clients trust.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl MirrorOptions {
    /// Options for a mirror of all registries, whose only source of old images is its cache.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            registry: RegistryOptions::default(),
            upstreams: Vec::new(),
            sources: Vec::new(),
            cache_dir: cache_dir.into(),
            cache_size: CACHE_SIZE,
            max_layer_size: crate::delta::MAX_LAYER_SIZE,
            prefer: Prefer::default(),
            line: None,
            patience: Duration::from_secs(20),
            manifest_timeout: Duration::from_secs(20),
            header_timeout: Duration::from_secs(30),
            prefetch: PrefetchOptions::default(),
            rewrite: false,
            readers: Readers::default(),
            tls: None,
        }
    }
}
