//! One request and its answer.
//!
//! A registry is not trusted: the message of an error is read up to a bound, and the headers of an answer are
//! waited for so long and no longer.

use std::ops::Deref;
use std::time::Duration;

use reqwest::header::{HeaderMap, LINK, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use tokio::time::timeout;

use super::challenge::Challenges;
use super::{CONNECT_TIMEOUT, RegistryError, proxy, redirect};
use crate::Error;

/// Most bytes of what comes with an error, or from a token server.
pub(super) const MAX_MESSAGE_SIZE: u64 = 64 << 10;

pub(super) fn too_large(action: &str, max: u64, size: u64) -> Error {
    Error::TooLarge { what: format!("what the registry sent to {action}"), size, max }
}

/// The error of an answer that did not come in time.
pub(crate) fn too_late(action: &str, patience: Duration) -> RegistryError {
    RegistryError::connection(action, format!("nothing came within {} seconds", patience.as_secs_f64()))
}

/// Sends a request, and waits so long for the headers of the answer. An answer other than success is an
/// error.
pub(super) async fn exchange(
    action: &str,
    request: RequestBuilder,
    patience: Duration,
) -> Result<Response, RegistryError> {
    let (client, request) = request.build_split();
    let request = request.map_err(|error| RegistryError::protocol(action, error.without_url()))?;
    let asked = &proxy::route(action, request.url())?;
    let answer = timeout(patience, redirect::execute(action, &client, request)).await;
    let mut answer = answer.map_err(|_| too_late(asked, patience))??;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let action = &proxy::route(action, answer.url())?;
    let (wait, challenges) = (retry_after(answer.headers()), Challenges::of(answer.headers()));
    let mut message = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = answer.chunk().await {
            message.extend_from_slice(&chunk);
            if message.len() as u64 > MAX_MESSAGE_SIZE {
                break;
            }
        }
    };
    // Whatever has come by then says enough.
    let _ = timeout(CONNECT_TIMEOUT.min(patience), read).await;
    let error = RegistryError::from_status(action, status.as_u16(), &String::from_utf8_lossy(&message));
    Err(error.after(wait).asking(challenges))
}

/// Returns how long a registry wants to be left alone: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// The next bytes of a body.
pub(super) async fn next_chunk(
    action: &str,
    answer: &mut Response,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, RegistryError> {
    answer.chunk().await.map_err(|error| RegistryError::from_http(action, error))
}

/// The headers `Link`.
pub(super) fn links(headers: &HeaderMap) -> Vec<String> {
    let links = headers.get_all(LINK).iter();
    links.map(|link| String::from_utf8_lossy(link.as_bytes()).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        assert_eq!(wait(" 7 "), Some(7));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(0));
        assert!(wait("Tue, 31 Dec 2999 23:59:59 GMT").is_some_and(|wait| wait > 1_000_000));
        assert_eq!(wait("soon"), None);
    }
}
