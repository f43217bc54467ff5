//! Figures of the bytes that the mirror passed on and saved, in the text form that Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::pulls::Pulls;

/// Most registries that have figures of their own: a client may name any number of them.
const MAX_REGISTRIES: usize = 64;
/// The name that all others have together.
const OTHERS: &str = "others";

/// The way in which bytes were had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the cache.
    Cache,
    /// From a blob that was being made or downloaded for several clients.
    Made,
    /// From the registry.
    Registry,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Made => "made",
            Self::Registry => "registry",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    registry: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sent {
    registry: String,
    way: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    registry: String,
    object: &'static str,
    status: u16,
}

/// A blob that was made, or a tag that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    registry: String,
    outcome: &'static str,
}

/// The figures.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    known: Mutex<BTreeSet<String>>,
    requests: Family<Answered, Counter>,
    pub(super) pulls: Pulls,
    sent: Family<Sent, Counter>,
    fetched: Family<Of, Counter>,
    saved: Family<Of, Counter>,
    saved_in_all: AtomicU64,
    rebuilds: Family<Ended, Counter>,
    prefetches: Family<Ended, Counter>,
    prefetched: Family<Of, Counter>,
    seconds: Histogram,
    cache: Gauge,
    making: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("registry_ext_mirror"),
            known: Mutex::default(),
            requests: Family::default(),
            pulls: Pulls::default(),
            sent: Family::default(),
            fetched: Family::default(),
            saved: Family::default(),
            saved_in_all: AtomicU64::new(0),
            rebuilds: Family::default(),
            prefetches: Family::default(),
            prefetched: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.05, 2.0, 14)),
            cache: Gauge::default(),
            making: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests by registry, object and status", metrics.requests.clone());
        metrics.pulls.register(registry);
        let (sent, fetched, saved) = (metrics.sent.clone(), metrics.fetched.clone(), metrics.saved.clone());
        let bytes = || Unit::Bytes;
        let help = "Bytes of blobs that clients got, by the way in which they were had";
        registry.register_with_unit("sent", help, bytes(), sent);
        registry.register_with_unit("fetched", "Bytes that registries sent, with deltas", bytes(), fetched);
        registry.register_with_unit("saved", "Bytes that deltas saved", bytes(), saved);
        registry.register("rebuilds", "Blobs made of deltas, by outcome", metrics.rebuilds.clone());
        let help = "Tags that were looked at to be prefetched, by outcome";
        registry.register("prefetches", help, metrics.prefetches.clone());
        let help = "Bytes of blobs and deltas that registries sent before anybody asked";
        registry.register_with_unit("prefetched", help, bytes(), metrics.prefetched.clone());
        let help = "Time that a blob took to be made of a delta";
        registry.register_with_unit("rebuild", help, Unit::Seconds, metrics.seconds.clone());
        registry.register_with_unit(
            "cache",
            "Bytes of the blobs in the cache",
            bytes(),
            metrics.cache.clone(),
        );
        registry.register("making", "Blobs that are being made or downloaded", metrics.making.clone());
        metrics
    }

    fn name(&self, registry: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(registry) {
            if known.len() >= MAX_REGISTRIES {
                return OTHERS.into();
            }
            known.insert(registry.to_owned());
        }
        registry.to_owned()
    }

    /// Counts a request.
    pub(super) fn answered(&self, registry: &str, object: &'static str, status: u16) {
        self.requests.get_or_create(&Answered { registry: self.name(registry), object, status }).inc();
    }

    /// Counts bytes that a client got.
    pub(super) fn sent(&self, registry: &str, way: Way, bytes: u64) {
        self.sent.get_or_create(&Sent { registry: self.name(registry), way: way.name() }).inc_by(bytes);
    }

    /// Counts bytes that a registry did not have to send.
    pub(super) fn saved(&self, registry: &str, bytes: u64) {
        self.saved.get_or_create(&Of { registry: self.name(registry) }).inc_by(bytes);
        self.saved_in_all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that all registries together did not have to send.
    pub(super) fn saved_in_all(&self) -> u64 {
        self.saved_in_all.load(Ordering::Relaxed)
    }

    /// Counts a blob that was made of a delta, or was to be.
    pub(super) fn rebuilt(&self, registry: &str, time: Duration, is_made: bool) {
        let outcome = if is_made { "made" } else { "failed" };
        self.rebuilds.get_or_create(&Ended { registry: self.name(registry), outcome }).inc();
        if is_made {
            self.seconds.observe(time.as_secs_f64());
        }
    }

    /// Counts a tag that was looked at to be prefetched.
    pub(super) fn prefetched(&self, registry: &str, outcome: &'static str) {
        self.prefetches.get_or_create(&Ended { registry: self.name(registry), outcome }).inc();
    }

    /// Counts bytes that were prefetched.
    pub(super) fn prefetched_bytes(&self, registry: &str, bytes: u64) {
        self.prefetched.get_or_create(&Of { registry: self.name(registry) }).inc_by(bytes);
    }

    /// Writes the figures. `fetched` are the bytes that each registry sent.
    pub(super) fn text(&self, fetched: &BTreeMap<String, u64>, cache_size: u64, making: usize) -> String {
        for (registry, bytes) in fetched {
            let counter = self.fetched.get_or_create(&Of { registry: self.name(registry) });
            counter.inner().fetch_max(*bytes, Ordering::Relaxed);
        }
        self.cache.set(i64::try_from(cache_size).unwrap_or(i64::MAX));
        self.making.set(i64::try_from(making).unwrap_or(i64::MAX));
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_and_bounded() {
        let metrics = Metrics::new();
        for host in 0..1000 {
            metrics.sent(&format!("h{host}"), Way::Cache, 7);
        }
        metrics.saved("h1", 5);
        metrics.answered("h1", "blob", 200);
        metrics.prefetched("h1", "vanished");
        metrics.prefetched_bytes("h1", 9);
        metrics.rebuilt("h1", Duration::from_secs(1), true);
        let text = metrics.text(&BTreeMap::from([("h1".to_owned(), 3)]), 11, 2);
        for line in [
            r#"registry_ext_mirror_sent_bytes_total{registry="h1",way="cache"} 7"#,
            r#"registry_ext_mirror_sent_bytes_total{registry="others",way="cache"} 6552"#,
            r#"registry_ext_mirror_saved_bytes_total{registry="h1"} 5"#,
            r#"registry_ext_mirror_fetched_bytes_total{registry="h1"} 3"#,
            r#"registry_ext_mirror_requests_total{registry="h1",object="blob",status="200"} 1"#,
            r#"registry_ext_mirror_rebuilds_total{registry="h1",outcome="made"} 1"#,
            r#"registry_ext_mirror_prefetches_total{registry="h1",outcome="vanished"} 1"#,
            r#"registry_ext_mirror_prefetched_bytes_total{registry="h1"} 9"#,
            "registry_ext_mirror_rebuild_seconds_count 1",
            "registry_ext_mirror_cache_bytes 11",
            "registry_ext_mirror_making 2",
        ] {
            assert!(text.lines().any(|of| of == line), "{line} in:\n{text}");
        }
    }
}
