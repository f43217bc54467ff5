//! Manifests, indexes and referrers.
//!
//! These requests are made with the HTTP client itself: the OCI client reads a manifest of any size
//! into memory, does not tell whether a registry knows what a subject is, reads one page of
//! referrers, and cannot delete.

use futures_util::StreamExt;
use layer::Digest;
use oci_spec::image::Descriptor;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LINK};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use std::sync::atomic::Ordering;

use super::access::Operation;
use super::{RegistryError, Repository};
use crate::artifact::{parse_index, referrers_tag};
use crate::repository::{Manifest, Name};
use crate::{Error, Result};

/// Largest manifest or index in bytes: what registries accept (OCI distribution specification,
/// "Pushing Manifests").
pub(crate) const MAX_MANIFEST_SIZE: u64 = 4 << 20;
/// Most pages of referrers that are read.
const MAX_PAGES: usize = 1000;
/// What we understand.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

impl Repository {
    /// The manifest or index of this name; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Registry`]; [`Error::TooLarge`] over 4 MiB; [`Error::DigestMismatch`].
    pub async fn manifest(&self, name: &Name) -> Result<Option<Manifest>> {
        let action = format!("get the manifest {name} of {}", self.name());
        let url = format!("{}/manifests/{name}", self.base);
        let request = || self.http.get(&url).header(ACCEPT, ACCEPTED);
        let Some((media_type, bytes, _)) = self.get(&action, request).await? else { return Ok(None) };
        let manifest = Manifest::new(bytes, media_type.as_deref());
        match name {
            Name::Digest(expected) if manifest.digest != *expected => Err(Error::DigestMismatch {
                what: format!("manifest {name} of {}", self.name()),
                expected: *expected,
                actual: manifest.digest,
            }),
            Name::Digest(_) | Name::Tag(_) => Ok(Some(manifest)),
        }
    }

    /// Stores a manifest under a name. Gives whether the registry itself lists it among the
    /// referrers of its subject (the header `OCI-Subject`).
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn put_manifest(&self, name: &Name, manifest: &Manifest) -> Result<bool> {
        let action = format!("put the manifest {name} to {}", self.name());
        let url = format!("{}/manifests/{name}", self.base);
        let request =
            || self.http.put(&url).header(CONTENT_TYPE, &manifest.media_type).body(manifest.bytes.clone());
        let answer = self.send(Operation::Push, &action, request).await?;
        Ok(answer.headers().contains_key("OCI-Subject"))
    }

    /// Deletes what has this name. Gives false if there is nothing.
    ///
    /// # Errors
    /// [`Error::Registry`], with status 405 if the registry does not delete.
    pub async fn delete_manifest(&self, name: &Name) -> Result<bool> {
        let action = format!("delete the manifest {name} of {}", self.name());
        let url = format!("{}/manifests/{name}", self.base);
        match self.send(Operation::Delete, &action, || self.http.delete(&url)).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The manifests whose subject is `subject`, from the registry's own list or, where it keeps
    /// none, from the tag that stands in for it.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); [`Error::Malformed`].
    pub async fn referrers(&self, subject: Digest) -> Result<Vec<Descriptor>> {
        match self.listed_referrers(subject).await? {
            Some(listed) => Ok(listed),
            None => match self.manifest(&Name::Tag(referrers_tag(subject))).await? {
                Some(index) => Ok(parse_index("referrers index", &index.bytes)?.manifests().clone()),
                None => Ok(Vec::new()),
            },
        }
    }

    /// Whether the registry was seen to keep no list of referrers.
    pub fn lacks_referrers(&self) -> bool {
        self.lacks_referrers.load(Ordering::Relaxed)
    }

    /// All pages of the registry's list; `None` if it keeps none.
    async fn listed_referrers(&self, subject: Digest) -> Result<Option<Vec<Descriptor>>> {
        if self.lacks_referrers() {
            return Ok(None);
        }
        let action = format!("list the referrers of {subject} in {}", self.name());
        let first = format!("{}/referrers/{subject}", self.base);
        let mut next = Some(Url::parse(&first).map_err(|error| RegistryError::protocol(&action, error))?);
        let mut referrers = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            let page = self.get(&action, || self.http.get(url.clone())).await;
            let page = match page {
                Err(Error::Registry(error)) if matches!(error.status(), Some(400 | 405 | 501)) => None,
                page => page?,
            };
            let Some((_, bytes, link)) = page else {
                self.lacks_referrers.store(true, Ordering::Relaxed);
                return Ok(None);
            };
            let Ok(index) = parse_index("referrers", &bytes) else {
                // Servers that serve a page for any path answer 200 here.
                self.lacks_referrers.store(true, Ordering::Relaxed);
                return Ok(None);
            };
            referrers.extend_from_slice(index.manifests());
            next = link.and_then(|link| next_page(&url, &link));
        }
        Ok(Some(referrers))
    }

    /// Gets a bounded document: media type, bytes, and the header `Link`. `None` for status 404.
    async fn get(
        &self,
        action: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Option<(Option<String>, Vec<u8>, Option<String>)>> {
        let read = async |access: &super::Access| {
            let answer = send(action, access.apply(request())).await?;
            let header =
                |name| answer.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
            let (media_type, link) = (header(CONTENT_TYPE), header(LINK));
            let mut bytes = Vec::new();
            let mut stream = answer.bytes_stream();
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|error| RegistryError::from_http(action, error))?;
                self.count(chunk.len());
                bytes.extend_from_slice(&chunk);
                if bytes.len() as u64 > MAX_MANIFEST_SIZE {
                    break;
                }
            }
            Ok((media_type, bytes, link))
        };
        let read = self.attempt(Operation::Pull, read).await;
        match read {
            Ok((_, bytes, _)) if bytes.len() as u64 > MAX_MANIFEST_SIZE => Err(Error::TooLarge {
                what: format!("what the registry sent to {action}"),
                size: bytes.len() as u64,
                max: MAX_MANIFEST_SIZE,
            }),
            Ok(read) => Ok(Some(read)),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND.as_u16()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn send(
        &self,
        operation: Operation,
        action: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        self.attempt(operation, async |access| send(action, access.apply(request())).await).await
    }
}

async fn send(action: &str, request: RequestBuilder) -> Result<Response, RegistryError> {
    let answer = request.send().await.map_err(|error| RegistryError::from_http(action, error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = answer.text().await.unwrap_or_default();
    Err(RegistryError::from_status(action, status.as_u16(), &body))
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
