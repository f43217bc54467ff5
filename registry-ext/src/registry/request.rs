//! Requests: how they are sent, tried again after a failure, and what their answers may take.
//!
//! A registry is not trusted: documents and messages of errors are read up to a bound, and neither
//! they nor blobs may come slower than [`MIN_RATE`] for ever.

use std::ops::Deref;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderName, LINK, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::access::{Access, Operation};
use super::{CONNECT_TIMEOUT, READ_TIMEOUT, RegistryError, Repository, USER_AGENT};
use crate::{Error, Result};

/// Largest manifest or index in bytes: what registries accept (OCI distribution specification,
/// "Pushing Manifests"). So large may any document be.
pub(crate) const MAX_MANIFEST_SIZE: u64 = 4 << 20;
/// Most bytes of what comes with an error, or from a token server.
const MAX_MESSAGE_SIZE: u64 = 64 << 10;
/// Most pages of a list that are read.
const MAX_PAGES: usize = 1000;
/// Most bytes of all pages of a list.
const MAX_LIST_SIZE: u64 = 32 << 20;
/// Bytes a second that an answer has on average, once it takes longer than the patience for it: a
/// modem had five times as many.
const MIN_RATE: u64 = 1 << 10;
/// Most redirects that are followed for one request.
const MAX_REDIRECTS: usize = 10;

/// A document that a registry sent.
pub(super) struct Document {
    pub(super) media_type: Option<String>,
    pub(super) bytes: Vec<u8>,
    /// The header `Link`.
    link: Option<String>,
}

impl Repository {
    /// Makes a request until it succeeds, fails for good, or was tried often enough. A refused
    /// credential is renewed once.
    pub(super) async fn attempt<T>(
        &self,
        operation: Operation,
        mut request: impl AsyncFnMut(&Access) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let (mut failures, mut renewed) = (0, false);
        loop {
            let outcome = match self.access(operation).await {
                Ok(access) => request(&access).await,
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if error.is_unauthorized() && !renewed => {
                    renewed = true;
                    self.forget_access(operation).await;
                }
                Err(error) if error.is_transient() && failures + 1 < self.retry.attempts => {
                    failures += 1;
                    let wanted = error.retry_after().unwrap_or_default().min(self.retry.longest_wait);
                    tokio::time::sleep(self.retry.pause(failures).max(wanted)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a request, again if need be, until it is answered with success.
    pub(super) async fn send(
        &self,
        operation: Operation,
        action: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        self.attempt(operation, async |access| send(action, access.apply(request())).await).await
    }

    /// Gets a document of at most 4 MiB; `None` for status 404.
    pub(super) async fn get(
        &self,
        action: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Option<Document>> {
        let read = self
            .attempt(Operation::Pull, async |access| {
                let answer = send(action, access.apply(request())).await?;
                let header = |name: HeaderName| {
                    answer.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_owned))
                };
                let (media_type, link) = (header(CONTENT_TYPE), header(LINK));
                let bytes = self.read(action, answer, MAX_MANIFEST_SIZE).await?;
                Ok(Document { media_type, bytes, link })
            })
            .await;
        match read {
            Ok(read) if read.bytes.len() as u64 > MAX_MANIFEST_SIZE => {
                Err(too_large(action, MAX_MANIFEST_SIZE, read.bytes.len() as u64))
            }
            Ok(read) => Ok(Some(read)),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND.as_u16()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gets a list of which the registry sends a page at a time, and gives each to `take`. Ends, with
    /// `None`, at a page that is not there or that `take` refuses.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`Error::TooLarge`] for a list of over 32 MiB, [`RegistryError::Protocol`]
    /// for one of over 1000 pages.
    pub(super) async fn get_pages(
        &self,
        action: &str,
        first: &str,
        mut take: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<Option<()>> {
        let mut url = Url::parse(first).map_err(|error| RegistryError::protocol(action, error))?;
        let mut size = 0;
        for _ in 0..MAX_PAGES {
            let Some(page) = self.get(action, || self.http.get(url.clone())).await? else { return Ok(None) };
            size += page.bytes.len() as u64;
            if size > MAX_LIST_SIZE {
                return Err(too_large(action, MAX_LIST_SIZE, size));
            }
            if take(&page.bytes).is_none() {
                return Ok(None);
            }
            match page.link.and_then(|link| next_page(&url, &link)) {
                Some(next) => url = next,
                None => return Ok(Some(())),
            }
        }
        Err(RegistryError::protocol(action, format!("the list has over {MAX_PAGES} pages")).into())
    }

    /// Reads a body up to one chunk past `max` bytes.
    pub(super) async fn read(
        &self,
        action: &str,
        mut answer: Response,
        max: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let (began, mut bytes) = (Instant::now(), Vec::new());
        while let Some(chunk) = next_chunk(action, &mut answer).await? {
            self.count(chunk.len());
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                break;
            }
            self.check_rate(began, bytes.len() as u64, action)?;
        }
        Ok(bytes)
    }

    /// Gives up on a registry that sends so little, or breaks off so often, that what it has sent
    /// since `began` would take for ever.
    pub(super) fn check_rate(&self, began: Instant, size: u64, action: &str) -> Result<(), RegistryError> {
        let late = began.elapsed().saturating_sub(self.patience);
        if late.as_secs_f64() * MIN_RATE as f64 > size as f64 {
            let reason = format!("it sends less than {MIN_RATE} bytes a second");
            return Err(RegistryError::protocol(action, reason));
        }
        Ok(())
    }

    /// The answer of a token server.
    pub(super) async fn get_token(
        &self,
        action: &str,
        request: RequestBuilder,
    ) -> Result<Vec<u8>, RegistryError> {
        let answer = send(action, request).await?;
        self.read(action, answer, MAX_MESSAGE_SIZE).await
    }
}

fn too_large(action: &str, max: u64, size: u64) -> Error {
    Error::TooLarge { what: format!("what the registry sent to {action}"), size, max }
}

/// Sends a request. An answer other than success is an error.
pub(super) async fn send(action: &str, request: RequestBuilder) -> Result<Response, RegistryError> {
    let mut answer = request.send().await.map_err(|error| RegistryError::from_http(action, error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
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
    let _ = tokio::time::timeout(CONNECT_TIMEOUT, read).await;
    let error = RegistryError::from_status(action, status.as_u16(), &String::from_utf8_lossy(&message));
    Err(error.after(wait.map(Duration::from_secs)))
}

/// The next bytes of a body.
pub(super) async fn next_chunk(
    action: &str,
    answer: &mut Response,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, RegistryError> {
    answer.chunk().await.map_err(|error| RegistryError::from_http(action, error))
}

/// The client for requests. It follows redirects, takes credentials to no other host, and leaves TLS
/// for plain http nowhere. Proxies are those of the environment, but none for `this_machine`.
pub(super) fn http_client(ca_certificates: &[Vec<u8>], this_machine: bool) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(Policy::custom(|attempt| match refusal(&attempt) {
            Some(reason) => attempt.error(reason),
            None => attempt.follow(),
        }));
    if this_machine {
        builder = builder.no_proxy();
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

/// Why a redirect is not followed.
fn refusal(attempt: &Attempt<'_>) -> Option<&'static str> {
    let came_by_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        return Some("the registry redirects without an end");
    }
    (came_by_tls && attempt.url().scheme() != "https")
        .then_some("the registry redirects to a place without TLS")
}

/// The URL in a `Link` header with `rel="next"` (RFC 8288), if it is of the same server: credentials
/// go nowhere else.
pub(crate) fn next_page(base: &Url, link: &str) -> Option<Url> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        parameter.trim().strip_prefix("rel=").is_some_and(|rel| rel.trim_matches('"') == "next")
    });
    let url = base.join(target).ok()?;
    (is_next && url.origin() == base.origin()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_pages_stay_on_the_server() {
        let base = Url::parse("https://a:5000/v2/x/referrers/sha256:1").unwrap();
        let next = |link| next_page(&base, link).map(String::from);
        let wanted = Some("https://a:5000/v2/x/referrers/sha256:1?page=2".to_owned());
        assert_eq!(next(r#"</v2/x/referrers/sha256:1?page=2>; rel="next""#), wanted);
        assert_eq!(next("<?page=2>; rel=next"), wanted);
        assert_eq!(next(r#"<https://b/v2/x>; rel="next""#), None);
        assert_eq!(next(r#"</v2/x>; rel="prev""#), None);
        assert_eq!(next("nonsense"), None);
    }
}
