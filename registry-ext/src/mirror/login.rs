//! The credentials that requests to a registry carry: those of the mirror, or those of its client.
//!
//! Those of a client are in memory alone. What a registry has given to one client is known for this client only: the
//! mirror gives it what it has of a repository while the registry has lately accepted its credentials there.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};

/// The time for which a registry is not asked again if a client may read a repository.
const ACCEPTED_FOR: Duration = Duration::from_secs(60);

/// The credentials that requests to a registry carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Login {
    /// Those of the mirror.
    Own,
    /// Those of a client: what it has sent, if it has.
    Client(Option<HeaderValue>),
}

impl Login {
    /// The credentials that a client has sent.
    pub(super) fn of_client(headers: &HeaderMap) -> Self {
        let sent = headers.get(header::AUTHORIZATION).cloned();
        Self::Client(sent.map(|mut value| {
            // Nothing prints it.
            value.set_sensitive(true);
            value
        }))
    }
}

/// The last time at which a registry has accepted a client.
#[derive(Debug, Default)]
pub(super) struct Acceptance(Mutex<Option<Instant>>);

impl Acceptance {
    /// Notes that the registry has just answered.
    pub(super) fn renew(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// True if the registry has answered lately.
    pub(super) fn is_fresh(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < ACCEPTED_FOR)
    }
}

/// The answer of a registry that refuses a client, which is passed on in place of that of the mirror.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// 401 or 403.
    pub(super) status: u16,
    /// The ways in which it would let the client in.
    pub(super) challenges: Vec<HeaderValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_has_sent_is_not_printed() {
        let mut headers = HeaderMap::new();
        assert_eq!(Login::of_client(&headers), Login::Client(None));
        headers.insert(header::AUTHORIZATION, "Bearer secret".parse().unwrap());
        let login = Login::of_client(&headers);
        assert!(!format!("{login:?}").contains("secret"), "{login:?}");
    }
}
