//! Requests: how they are sent, tried again after a failure, and what their answers may take.
//!
//! A registry is not trusted: documents and messages of errors are read up to a bound, and neither
//! they nor blobs may come slower than a [`Floor`] for ever.

use std::ops::Deref;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use super::access::{Access, Operation};
use super::challenge::Challenges;
use super::rate::Floor;
use super::{CONNECT_TIMEOUT, Client, READ_TIMEOUT, RegistryError, USER_AGENT, pages, proxy, redirect};
use crate::{Error, Result};

/// Largest manifest or index in bytes: what registries accept (OCI distribution specification,
/// "Pushing Manifests"). So large may any document be.
pub(crate) const MAX_MANIFEST_SIZE: u64 = 4 << 20;
/// Most bytes of what comes with an error, or from a token server.
const MAX_MESSAGE_SIZE: u64 = 64 << 10;
/// How long a document, or its next bytes, may be waited for.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(30);
/// How long the tries of one request take together, without the pauses between them, before there is no
/// other one.
const MAX_TRYING: Duration = Duration::from_secs(60);

/// How much is done for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// As much as the options say: nothing goes on without it.
    Full,
    /// Two tries, and no long pause: there is another way.
    Small,
}

/// A document that a registry sent.
pub(super) struct Document {
    pub(super) media_type: Option<String>,
    pub(super) bytes: Vec<u8>,
    /// The headers `Link`.
    pub(super) links: Vec<String>,
}

impl Client {
    /// Makes a request until it succeeds, fails for good, or was tried often enough. A refused
    /// credential is renewed once.
    pub(super) async fn attempt<T>(
        &self,
        operation: Operation,
        effort: Effort,
        mut request: impl AsyncFnMut(&Access) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let (mut failures, mut is_renewed, mut trying) = (0, false, Duration::ZERO);
        loop {
            let began = Instant::now();
            let error = match self.access(operation).await {
                Err(error) => error,
                Ok(access) => match request(&access).await {
                    Err(RegistryError::Unauthorized { challenges, .. }) if !is_renewed => {
                        is_renewed = true;
                        match self.renew(operation, &access, &challenges).await {
                            Ok(()) => continue,
                            Err(error) => error,
                        }
                    }
                    Err(error) => error,
                    done => return done,
                },
            };
            failures += 1;
            trying += began.elapsed();
            let Some(pause) = self.pause_after(&error, effort, failures).filter(|_| trying < MAX_TRYING)
            else {
                return Err(error.with_hint(self.hint.as_deref()));
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// How long to wait before the next try; `None` if there is none.
    fn pause_after(&self, error: &RegistryError, effort: Effort, failures: u32) -> Option<Duration> {
        let pause = self.retry.pause(failures);
        let wanted = error.retry_after().unwrap_or_default();
        let (attempts, pause) = match effort {
            Effort::Full => (self.retry.attempts, pause.max(wanted.min(self.retry.longest_wait))),
            Effort::Small if wanted > pause => return None,
            Effort::Small => (self.retry.attempts.min(2), pause),
        };
        (error.is_transient() && failures < attempts).then_some(pause)
    }

    /// Sends a request, again if need be, until it is answered with success.
    pub(super) async fn send(
        &self,
        operation: Operation,
        action: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let send = async |access: &Access| exchange(action, access.apply(request()), self.patience).await;
        self.attempt(operation, Effort::Full, send).await
    }

    /// Gets a document of at most 4 MiB; `None` for status 404.
    pub(super) async fn get(
        &self,
        action: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Option<Document>> {
        self.get_within(action, Effort::Full, request).await
    }

    /// As [`get`](Self::get), with so much effort.
    pub(super) async fn get_within(
        &self,
        action: &str,
        effort: Effort,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Option<Document>> {
        let read = self.attempt(Operation::Pull, effort, async |access| {
            let answer = exchange(action, access.apply(request()), self.document_patience()).await?;
            let media_type = answer.headers().get(CONTENT_TYPE);
            let media_type = media_type.and_then(|value| value.to_str().ok().map(str::to_owned));
            let links = pages::links(answer.headers());
            let is_page = media_type.as_deref().is_some_and(|of| of.starts_with("text/html"));
            let action = &proxy::route(action, answer.url())?;
            let bytes = self.read(action, answer, MAX_MANIFEST_SIZE).await?;
            // What a proxy shows that wants somebody to log in or to agree, with status 200.
            if is_page && bytes.trim_ascii_start().starts_with(b"<") {
                return Err(RegistryError::protocol(
                    action,
                    "the answer is a web page, and not of a registry",
                ));
            }
            Ok(Document { media_type, bytes, links })
        });
        match read.await {
            Ok(read) if read.bytes.len() as u64 > MAX_MANIFEST_SIZE => {
                Err(too_large(action, MAX_MANIFEST_SIZE, read.bytes.len() as u64))
            }
            Ok(read) => Ok(Some(read)),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND.as_u16()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn document_patience(&self) -> Duration {
        self.patience.min(DOCUMENT_PATIENCE)
    }

    /// Reads a body up to one chunk past `max` bytes.
    async fn read(&self, action: &str, mut answer: Response, max: u64) -> Result<Vec<u8>, RegistryError> {
        let patience = self.document_patience();
        let (floor, mut bytes) = (Floor::of_document(patience), Vec::new());
        loop {
            let next = timeout(patience, next_chunk(action, &mut answer)).await;
            let Some(chunk) = next.map_err(|_| too_late(action, patience))?? else { return Ok(bytes) };
            self.count(chunk.len());
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                return Ok(bytes);
            }
            floor.check(bytes.len() as u64, action)?;
        }
    }

    /// The answer of a token server.
    pub(super) async fn get_token(
        &self,
        action: &str,
        request: RequestBuilder,
    ) -> Result<Vec<u8>, RegistryError> {
        let answer = exchange(action, request, self.document_patience()).await?;
        self.read(action, answer, MAX_MESSAGE_SIZE).await
    }
}

pub(super) fn too_large(action: &str, max: u64, size: u64) -> Error {
    Error::TooLarge { what: format!("what the registry sent to {action}"), size, max }
}

fn too_late(action: &str, patience: Duration) -> RegistryError {
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
    let answer = timeout(patience, redirect::execute(action, &client, request)).await;
    let mut answer = answer.map_err(|_| too_late(action, patience))??;
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

/// How long a registry wants to be left alone: seconds, or a date (RFC 9110, 10.2.3).
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

/// The client for requests; redirects are followed by [`redirect`]. Proxies are those of the environment,
/// but none for `this_machine`.
pub(super) fn http_client(ca_certificates: &[Vec<u8>], this_machine: bool) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .referer(false)
        .redirect(Policy::none());
    if this_machine {
        builder = builder.no_proxy();
    } else {
        proxy::check()?;
    }
    for pem in ca_certificates {
        let bundle = reqwest::Certificate::from_pem_bundle(pem).map_err(RegistryError::setup)?;
        if bundle.is_empty() {
            return Err(Error::malformed("CA file", "it holds no PEM certificate"));
        }
        builder = builder.tls_certs_merge(bundle);
    }
    Ok(builder.build().map_err(RegistryError::setup)?)
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
