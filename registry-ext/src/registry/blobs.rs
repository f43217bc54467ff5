//! Blobs that are downloaded, to files.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use layer::{BlobDigest, DigestWriter};
use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{RequestBuilder, Response, StatusCode};

use super::access::Operation;
use super::request::{next_chunk, send};
use super::{RegistryError, Repository};
use crate::artifact::digest_of;
use crate::{Error, Result};

/// What has been downloaded of a blob.
struct Download<'p> {
    writer: DigestWriter<File>,
    size: u64,
    path: &'p Path,
    /// When it began: a start from the beginning does not begin anew.
    began: Instant,
}

impl<'p> Download<'p> {
    fn start(path: &'p Path) -> Result<Self> {
        let file = File::create(path).map_err(Error::io("create", path))?;
        Ok(Self { writer: DigestWriter::new(file), size: 0, path, began: Instant::now() })
    }
}

impl Repository {
    /// Downloads a blob to a file. After a broken connection the download goes on where it stopped,
    /// if the registry can do that. `progress` is called with the bytes of each step; after a start
    /// from the beginning some are counted twice.
    ///
    /// # Errors
    /// [`Error::Registry`]; [`Error::SizeMismatch`] or [`Error::DigestMismatch`] if the bytes are
    /// not those of the descriptor; [`Error::Io`]. The file may then hold anything.
    pub async fn get_blob(
        &self,
        blob: &Descriptor,
        path: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let expected = digest_of(blob)?;
        let action = format!("get the blob {expected} of {}", self.name());
        let mut download = Download::start(path)?;
        let mut failures = 0;
        loop {
            let before = download.size;
            let Err(error) = self.resume(blob, &mut download, &action, progress).await else { break };
            // A step that got further makes the next one a first try.
            failures = if download.size > before { 1 } else { failures + 1 };
            match error {
                Error::Registry(error) if error.is_transient() && failures < self.retry.attempts => {
                    tokio::time::sleep(self.retry.pause(failures)).await;
                }
                error => return Err(error),
            }
        }
        let (file, actual, size) = download.writer.finish();
        drop(file);
        let what = format!("blob {expected} of {}", self.name());
        if size != blob.size() {
            return Err(Error::SizeMismatch { what, expected: blob.size(), actual: size });
        }
        if actual != expected {
            return Err(Error::DigestMismatch { what, expected, actual });
        }
        Ok(())
    }

    /// Downloads the rest, and gives up when a connection breaks that got further, or when none can
    /// be made.
    async fn resume(
        &self,
        blob: &Descriptor,
        download: &mut Download<'_>,
        action: &str,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        if download.size == blob.size() {
            return Ok(());
        }
        let url = format!("{}/blobs/{}", self.base, blob.digest());
        let offset = download.size;
        let mut opened = self.send(Operation::Pull, action, || self.get_from(&url, offset)).await;
        for place in self.other_places(blob) {
            if opened.is_ok() {
                break;
            }
            if let Ok(elsewhere) = send(action, self.get_from(place, offset)).await {
                opened = Ok(elsewhere);
            }
        }
        let mut answer = match opened {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(404) => {
                return Err(Error::NotFound { what: format!("blob {} of {}", blob.digest(), self.name()) });
            }
            Err(error) => return Err(error.into()),
        };
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            *download = Download { began: download.began, ..Download::start(download.path)? };
        } else if !starts_at(&answer, offset) {
            return Err(RegistryError::protocol(action, "it sent another range than it was asked for").into());
        }
        self.receive(&mut answer, blob, download, action, progress).await
    }

    fn get_from(&self, url: &str, offset: u64) -> RequestBuilder {
        let request = self.http.get(url);
        if offset == 0 { request } else { request.header(RANGE, format!("bytes={offset}-")) }
    }

    /// Where else a blob may be, by its `urls`: asked without credentials, and only if the
    /// repository does not have it. An https registry cannot send us to plain http.
    fn other_places<'b>(&self, blob: &'b Descriptor) -> impl Iterator<Item = &'b String> {
        let plain_http = self.base.starts_with("http://");
        blob.urls()
            .iter()
            .flatten()
            .filter(move |url| url.starts_with("https://") || plain_http && url.starts_with("http://"))
    }

    async fn receive(
        &self,
        answer: &mut Response,
        blob: &Descriptor,
        download: &mut Download<'_>,
        action: &str,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        while let Some(chunk) = next_chunk(action, answer).await? {
            self.count(chunk.len());
            progress(chunk.len() as u64);
            download.writer.write_all(&chunk).map_err(Error::io("write", download.path))?;
            download.size += chunk.len() as u64;
            if download.size > blob.size() {
                let what = format!("blob {} of {}", blob.digest(), self.name());
                return Err(Error::SizeMismatch { what, expected: blob.size(), actual: download.size });
            }
            self.check_rate(download.began, download.size, action)?;
        }
        if download.size < blob.size() {
            return Err(RegistryError::connection(action, "the connection was closed early").into());
        }
        Ok(())
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn has_blob(&self, digest: BlobDigest) -> Result<bool> {
        let action = format!("look for the blob {digest} in {}", self.name());
        let url = format!("{}/blobs/{digest}", self.base);
        match self.send(Operation::Pull, &action, || self.http.head(&url)).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a part of a blob is the one from `offset` (RFC 9110, 14.4).
fn starts_at(answer: &Response, offset: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    start == Some(offset)
}
