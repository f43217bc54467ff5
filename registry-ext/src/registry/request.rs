//! Requests with the access that they need: tried again after a failure, their answers within bounds.
//!
//! A registry is not trusted: documents and messages of errors are read up to a bound, and neither
//! they nor blobs may come slower than a [`Floor`] for ever.

use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use super::access::{Access, Operation};
use super::exchange::{MAX_MESSAGE_SIZE, exchange, links, next_chunk, too_large, too_late};
use super::rate::Floor;
use super::{CONNECT_TIMEOUT, Client, READ_TIMEOUT, RegistryError, USER_AGENT, proxy};
use crate::{Error, Result};

/// Largest manifest or index in bytes: what registries accept (OCI distribution specification,
/// "Pushing Manifests"). So large may any document be.
pub(crate) const MAX_MANIFEST_SIZE: u64 = 4 << 20;
/// The longest wait for a document, or for its next bytes.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(30);
/// The time that the tries of one request take together, without the pauses between them, before there is no
/// other one.
const MAX_TRYING: Duration = Duration::from_secs(60);

/// The effort that is made for an answer.
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
    pub(super) async fn attempt<T, F: Future<Output = Result<T, RegistryError>>>(
        &self,
        operation: Operation,
        effort: Effort,
        mut request: impl FnMut(Access) -> F,
    ) -> Result<T, RegistryError> {
        let (mut failures, mut is_renewed, mut trying) = (0, false, Duration::ZERO);
        loop {
            let began = Instant::now();
            let error = match self.access(operation).await {
                Err(error) => error,
                Ok(access) => match request(access.clone()).await {
                    Err(RegistryError::Unauthorized { challenges, .. }) if !is_renewed && !self.is_handed => {
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
                return Err(error.with_hint(&self.login_hint));
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns how long to wait before the next try; `None` if there is none.
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
        let send = |access: Access| exchange(action, access.apply(request()), self.patience);
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
        let request = &request;
        let read = self.attempt(Operation::Pull, effort, |access| async move {
            let answer = exchange(action, access.apply(request()), self.document_patience()).await?;
            let media_type = answer.headers().get(CONTENT_TYPE);
            let media_type = media_type.and_then(|value| value.to_str().ok().map(str::to_owned));
            let links = links(answer.headers());
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
        let action = &proxy::route(action, answer.url())?;
        self.read(action, answer, MAX_MESSAGE_SIZE).await
    }
}

/// The client for requests; redirects are followed by `redirect.rs`. Proxies are those of the environment,
/// but none for `this_machine`. A system without CA certificates can speak `plain_http` all the same.
pub(super) fn http_client(
    ca_certificates: &[Vec<u8>],
    this_machine: bool,
    plain_http: bool,
) -> Result<reqwest::Client> {
    let set_up = || {
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .referer(false)
            .redirect(Policy::none());
        if this_machine { builder.no_proxy() } else { builder }
    };
    if !this_machine {
        proxy::check()?;
    }
    if ca_certificates.is_empty() {
        return Ok(match set_up().build() {
            Err(_) if plain_http => set_up().tls_certs_only([]).build().map_err(RegistryError::setup)?,
            built => built.map_err(|source| RegistryError::NoCertificates { source: source.into() })?,
        });
    }
    let mut builder = set_up();
    for pem in ca_certificates {
        let bundle = reqwest::Certificate::from_pem_bundle(pem).map_err(RegistryError::setup)?;
        if bundle.is_empty() {
            return Err(Error::malformed("CA file", "it holds no PEM certificate"));
        }
        builder = builder.tls_certs_merge(bundle);
    }
    Ok(builder.build().map_err(RegistryError::setup)?)
}
