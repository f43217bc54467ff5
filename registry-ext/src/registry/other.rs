//! The same repository for other purposes: for somebody else, and within a limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use tokio::sync::{Mutex, OnceCell};

use super::Client;
use super::access::{Access, Operation};
use super::throttle::Throttle;
use crate::credentials::Credential;

impl Client {
    /// The same repository for somebody else, whose requests carry this header and no other credential.
    pub(crate) fn for_other(&self, authorization: Option<HeaderValue>) -> Self {
        let access = authorization.map_or(Access::Anonymous, Access::Handed);
        Self {
            credential: Credential::Anonymous,
            access: Arc::new(Mutex::new(BTreeMap::from([(Operation::Pull, access)]))),
            is_handed: true,
            login_hint: "the credential that was tried is that of the client".into(),
            received: Arc::default(),
            ..self.copy()
        }
    }

    /// The same repository, whose blobs come within a limit. Their bytes are counted with those of this client.
    pub(crate) fn throttled(&self, throttle: Arc<Throttle>) -> Self {
        // What comes within a limit says nothing about the line.
        let line = throttle.rate().map_or_else(|| Arc::clone(&self.line), |_| Arc::default());
        Self { throttle: Some(throttle), line, ..self.copy() }
    }

    /// The limit of the rate of blobs.
    pub(crate) const fn throttle(&self) -> Option<&Arc<Throttle>> {
        self.throttle.as_ref()
    }

    /// The limit in bytes a second, if there is one now.
    pub(super) fn limit(&self) -> Option<u64> {
        self.throttle.as_ref().and_then(|throttle| throttle.rate())
    }

    /// Notes bytes of a blob that came. Returns the time at which they are within the limit, if there is one.
    pub(super) fn note_limited(&self, bytes: usize) -> Option<Instant> {
        self.throttle.as_ref()?.note(bytes as u64)
    }

    /// Waits until bytes that came are within the limit. Returns how long that took.
    pub(super) async fn keep_within_limit(&self, end: Option<Instant>) -> Duration {
        match (&self.throttle, end) {
            (Some(throttle), Some(end)) => throttle.wait(end).await,
            _ => Duration::ZERO,
        }
    }

    fn copy(&self) -> Self {
        Self {
            reference: self.reference.clone(),
            base: self.base.clone(),
            http: self.http.clone(),
            uploads: OnceCell::new(),
            ca_certificates: self.ca_certificates.clone(),
            credential: self.credential.clone(),
            access: Arc::clone(&self.access),
            is_handed: self.is_handed,
            retry: self.retry,
            patience: self.patience,
            foreign_urls: self.foreign_urls,
            login_hint: self.login_hint.clone(),
            received: Arc::clone(&self.received),
            line: Arc::clone(&self.line),
            throttle: self.throttle.clone(),
            lacks_referrers: std::sync::Mutex::default(),
        }
    }
}
