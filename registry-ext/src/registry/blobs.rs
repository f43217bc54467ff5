//! Blobs that are downloaded, to files.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use layer::{BlobDigest, DigestWriter};
use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use super::access::Operation;
use super::exchange::{exchange, next_chunk, too_late};
use super::rate::Floor;
use super::stream::content_range;
use super::{Client, RegistryError, proxy};
use crate::oci::digest_of;
use crate::{Error, Result};

/// Most `urls` of a blob that are tried.
const MAX_PLACES: usize = 3;

/// The part of a blob that has been downloaded.
struct Download<'p> {
    writer: DigestWriter<File>,
    size: u64,
    /// The most that it had so far: what comes again after a start from the beginning is no progress.
    furthest: u64,
    path: &'p Path,
    /// True if the rest alone is asked for after a failure.
    resumes: bool,
    /// From the first byte on: a start from the beginning does not begin anew.
    floor: Floor,
}

impl Download<'_> {
    fn create(path: &Path) -> Result<DigestWriter<File>> {
        let file = File::create(path).map_err(Error::io("create", path))?;
        Ok(DigestWriter::new(file))
    }

    fn start_again(&mut self) -> Result<()> {
        (self.writer, self.size) = (Self::create(self.path)?, 0);
        Ok(())
    }
}

impl Client {
    /// Downloads a blob to a file. After a broken connection the download goes on where it stopped,
    /// if the registry can do that, and starts again if it refuses to. `progress` is called with the bytes
    /// of each step; after a start from the beginning some are counted twice.
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
        let floor = Floor::of_blob(blob.size(), &self.line, self.patience);
        let writer = Download::create(path)?;
        let mut download = Download { writer, size: 0, furthest: 0, path, resumes: true, floor };
        let mut failures = 0;
        loop {
            let (before, resumed) = (download.furthest, download.resumes);
            let Err(error) = self.resume(blob, &mut download, &action, progress).await else { break };
            if resumed && !download.resumes {
                // The rest alone was refused: now for all of it.
                continue;
            }
            // A step that got further than any before makes the next one a first try.
            failures = if download.furthest > before { 1 } else { failures + 1 };
            match error {
                Error::Registry(error) if error.is_transient() && failures < self.retry.attempts => {
                    // A try that stands still brings no bytes after which this is looked at.
                    match download.floor.check(download.furthest, &self.routed(&action)?) {
                        Ok(()) => tokio::time::sleep(self.retry.pause(failures)).await,
                        Err(slow) if download.furthest > before => return Err(slow.into()),
                        Err(_) => return Err(error.into()),
                    }
                }
                Error::NotFound { .. } if self.foreign_urls && download.size == 0 => {
                    match self.get_elsewhere(blob, &mut download, &action, progress).await {
                        Some(done) => {
                            done?;
                            break;
                        }
                        None => return Err(error),
                    }
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
        if !download.resumes {
            download.start_again()?;
        }
        let url = format!("{}/blobs/{}", self.base, blob.digest());
        let offset = download.size;
        let opened = self.send(Operation::Pull, action, || self.get_from(&url, offset)).await;
        let mut answer = match opened {
            Ok(answer) => answer,
            // 416, but also what object stores and proxies say to a range: all of the blob may be there.
            Err(error) if offset > 0 && error.status().is_some() && !error.is_transient() => {
                download.resumes = false;
                return Err(error.into());
            }
            Err(error) if error.status() == Some(404) => {
                return Err(Error::NotFound { what: format!("blob {} of {}", blob.digest(), self.name()) });
            }
            Err(error) => return Err(error.into()),
        };
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            download.start_again()?;
        } else if !starts_at(&answer, offset) {
            download.resumes = offset == 0;
            return Err(RegistryError::protocol(action, "it sent another range than it was asked for").into());
        }
        self.receive(&mut answer, blob, download, action, progress).await
    }

    fn get_from(&self, url: &str, offset: u64) -> RequestBuilder {
        let request = self.http.get(url);
        if offset == 0 { request } else { request.header(RANGE, format!("bytes={offset}-")) }
    }

    /// Downloads a blob from where else it may be, by its `urls`: asked without credentials, one try
    /// each. `None` if none of them has it. An https registry cannot send us to plain http.
    async fn get_elsewhere(
        &self,
        blob: &Descriptor,
        download: &mut Download<'_>,
        action: &str,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Option<Result<()>> {
        let plain_http = self.base.starts_with("http://");
        let places = blob.urls().iter().flatten();
        let places = places
            .filter(|url| url.starts_with("https://") || plain_http && url.starts_with("http://"))
            .take(MAX_PLACES);
        for place in places {
            if let Ok(mut answer) = exchange(action, self.http.get(place), self.patience).await {
                return Some(self.receive(&mut answer, blob, download, action, progress).await);
            }
        }
        None
    }

    async fn receive(
        &self,
        answer: &mut Response,
        blob: &Descriptor,
        download: &mut Download<'_>,
        action: &str,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let (running, began, offset) = (self.line.begin(), Instant::now(), download.size);
        let action = &proxy::route(action, answer.url())?;
        loop {
            let next = timeout(self.patience, next_chunk(action, answer)).await;
            let Some(chunk) = next.map_err(|_| too_late(action, self.patience))?? else { break };
            self.count(chunk.len());
            progress(chunk.len() as u64);
            download.writer.write_all(&chunk).map_err(Error::io("write", download.path))?;
            download.size += chunk.len() as u64;
            download.furthest = download.furthest.max(download.size);
            if download.size > blob.size() {
                let what = format!("blob {} of {}", blob.digest(), self.name());
                return Err(Error::SizeMismatch { what, expected: blob.size(), actual: download.size });
            }
            download.floor.check(download.furthest, action)?;
            let within_limit = self.note_limited(chunk.len());
            download.floor.forgive(self.keep_within_limit(within_limit).await);
        }
        running.measure(download.size - offset, began.elapsed());
        if download.size < blob.size() {
            return Err(RegistryError::connection(action, "the connection was closed early").into());
        }
        Ok(())
    }

    /// Returns true if the repository has a blob.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn has_blob(&self, digest: BlobDigest) -> Result<bool> {
        match self.blob_size(digest).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the size of a blob; `None` if the registry does not say it.
    ///
    /// # Errors
    /// [`Error::Registry`]; [`Error::NotFound`].
    pub(crate) async fn blob_size(&self, digest: BlobDigest) -> Result<Option<u64>> {
        let action = format!("look for the blob {digest} in {}", self.name());
        let url = format!("{}/blobs/{digest}", self.base);
        match self.send(Operation::Pull, &action, || self.http.head(&url)).await {
            Ok(answer) => {
                let size = answer.headers().get(CONTENT_LENGTH).and_then(|size| size.to_str().ok());
                Ok(size.and_then(|size| size.parse().ok()))
            }
            Err(error) if error.status() == Some(404) => {
                Err(Error::NotFound { what: format!("blob {digest} of {}", self.name()) })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns true if a part of a blob is the one from `offset` (RFC 9110, 14.4).
fn starts_at(answer: &Response, offset: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.and_then(content_range).is_some_and(|(start, _)| start == offset)
}
