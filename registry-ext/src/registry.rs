//! A repository on a registry. Nothing outside this module knows the OCI client.
//!
//! The client uploads and mounts (`uploads.rs`). It reads answers of any size into memory, and so what
//! is got is got with the HTTP client below it: requests, tries after a failure and bounds
//! (`request.rs`, `rate.rs`), proxies (`proxy.rs`), redirects (`redirect.rs`), credentials and how they are
//! asked for (`access.rs`, `challenge.rs`), manifests and lists (`manifests.rs`, `pages.rs`), downloads that
//! resume and are checked (`blobs.rs`), or are passed on while they come (`stream.rs`), the same for somebody
//! else or within a limit (`other.rs`, `throttle.rs`).

mod access;
mod blobs;
mod challenge;
mod error;
mod exchange;
mod manifests;
mod other;
mod pages;
mod proxy;
mod rate;
mod redirect;
mod request;
mod stream;
mod throttle;
mod uploads;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use derive_setters::Setters;
use oci_distribution::Client as UploadClient;
use oci_spec::distribution::Reference;
use tokio::sync::{Mutex, OnceCell};

pub use challenge::Challenges;
pub use error::RegistryError;
pub(crate) use exchange::too_late;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use pages::next_page;
pub(crate) use request::MAX_MANIFEST_SIZE;
pub(crate) use stream::BlobStream;
pub(crate) use throttle::{Allowance, Throttle};

use crate::Result;
use crate::credentials::{Credential, Credentials, LookedUp};
use access::{Access, Operation};
use rate::Line;

/// The options for reaching registries.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// True if to use http instead of https. `None` is http for loopback addresses if no
    /// certificates are given, https otherwise.
    #[setters(into)]
    pub plain_http: Option<bool>,
    /// PEM certificates of CAs to trust on top of the system's. A file may hold several.
    pub ca_certificates: Vec<Vec<u8>>,
    /// The credentials.
    pub credentials: Credentials,
    /// The tries after a failure.
    pub retry: Retry,
    /// The time that a download may take before it must have a rate (1 KiB a second at least, more for large
    /// blobs and on fast lines), and an upload may stand still.
    pub patience: Duration,
    /// True if a blob that the repository lacks is looked for at the `urls` of its descriptor: anywhere, as
    /// whoever wrote that descriptor says.
    pub foreign_urls: bool,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        let credentials = Credentials::default();
        let (retry, patience) = (Retry::default(), READ_TIMEOUT);
        Self {
            plain_http: None,
            ca_certificates: Vec::new(),
            credentials,
            retry,
            patience,
            foreign_urls: false,
        }
    }
}

/// The tries and pauses for a request that failed for a reason that may
/// pass: no connection, a broken one, HTTP status 408, 425, 429, 500, 502 to 504, 520 to 530.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all. A download that got further starts to count again.
    pub attempts: u32,
    /// The first pause; each next one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The longest pause that a registry may ask for (the header `Retry-After`).
    pub longest_wait: Duration,
}

impl Default for Retry {
    /// Five tries within about ten seconds, if the registry asks for no longer pauses.
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(10),
            longest_wait: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The pause after `failures` failures, up to a quarter longer so that clients that failed
    /// together do not come back together.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let pause = doubled.min(self.longest_pause);
        pause + pause.mul_f64(0.25 * fastrand::f64())
    }
}

/// A repository on a registry.
pub struct Client {
    /// Registry and repository; the tag means nothing.
    reference: Reference,
    /// `http://127.0.0.1:5000/v2/app`
    base: String,
    http: reqwest::Client,
    uploads: OnceCell<UploadClient>,
    ca_certificates: Vec<Vec<u8>>,
    credential: Credential,
    access: Arc<Mutex<BTreeMap<Operation, Access>>>,
    /// True if it shows what somebody else has handed over, and nothing in its place.
    is_handed: bool,
    retry: Retry,
    patience: Duration,
    foreign_urls: bool,
    /// Says which credential is tried, and how to log in.
    login_hint: String,
    received: Arc<AtomicU64>,
    line: Arc<Line>,
    /// The time at which the registry was seen to keep no list of referrers.
    lacks_referrers: std::sync::Mutex<Option<Instant>>,
    /// Limits the rate of blobs.
    throttle: Option<Arc<Throttle>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest wait for the next bytes of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
const USER_AGENT: &str = concat!("registry-ext/", env!("CARGO_PKG_VERSION"));

impl Client {
    /// Prepares the repository that `reference` names. Nothing is sent yet.
    ///
    /// # Errors
    /// [`RegistryError::Setup`] if a certificate is broken, [`RegistryError::NoCertificates`] if https has none; as
    /// [`Credentials::find`].
    pub fn open(reference: &Reference, options: &RegistryOptions) -> Result<Self> {
        // For all TLS of the process; a program that has chosen before keeps its choice.
        drop(rustls::crypto::ring::default_provider().install_default());
        let host = reference.resolve_registry();
        let plain_http =
            options.plain_http.unwrap_or_else(|| options.ca_certificates.is_empty() && is_loopback(host));
        let LookedUp { credential, origin } =
            options.credentials.look_up(reference.registry(), reference.repository())?;
        let login_hint = format!(
            "{origin}; log in with `podman login {}`, or give --username and --password-stdin",
            reference.registry()
        );
        let scheme = if plain_http { "http" } else { "https" };
        Ok(Self {
            base: format!("{scheme}://{host}/v2/{}", reference.repository()),
            reference: reference.clone(),
            http: request::http_client(&options.ca_certificates, is_loopback(host), plain_http)?,
            uploads: OnceCell::new(),
            ca_certificates: options.ca_certificates.clone(),
            credential,
            access: Arc::default(),
            is_handed: false,
            retry: options.retry,
            patience: options.patience,
            foreign_urls: options.foreign_urls,
            login_hint,
            received: Arc::default(),
            line: Arc::default(),
            lacks_referrers: std::sync::Mutex::default(),
            throttle: None,
        })
    }

    /// Registry and repository, as in `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.reference.registry(), self.reference.repository())
    }

    /// Bytes of manifests and blobs received so far, those of broken connections included.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// True if the registry is this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_loopback(self.reference.registry())
    }

    /// The rate at which the registry was seen to send large blobs, in bytes a second, or the limit of that.
    pub fn line_rate(&self) -> Option<u64> {
        let limit = self.limit();
        self.line.rate().map_or(limit, |rate| Some(limit.map_or(rate, |limit| limit.min(rate))))
    }

    fn count(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Returns true if a registry, given as host and port, is this machine.
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    let host = host.map_or(registry, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_names() {
        for (registry, wanted) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.8.8.8", true),
            ("[::1]:5000", true),
            ("localhost.example:5000", false),
            ("10.0.0.1:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(is_loopback(registry), wanted, "{registry}");
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let retry = Retry::default();
        let pauses: Vec<Duration> = (1..=40).map(|failures| retry.pause(failures)).collect();
        assert!(pauses[0] >= retry.first_pause && pauses[0] <= retry.first_pause.mul_f64(1.25));
        assert!(pauses[1] >= retry.first_pause * 2);
        assert!(pauses.iter().all(|pause| *pause <= retry.longest_pause.mul_f64(1.25)));
    }
}
