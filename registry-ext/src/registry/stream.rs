//! Blobs that are passed on while they are downloaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use layer::{BlobDigest, DigestWriter};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::access::Operation;
use super::exchange::{next_chunk, too_late};
use super::rate::{Floor, Running};
use super::{Client, RegistryError};
use crate::{Error, Result};

/// A download of a blob, or of a part of it, of which each step gives the next bytes.
///
/// After a broken connection it goes on where it stopped. Where it has all of the blob, its digest is compared
/// before the last bytes are given away, so that nobody gets a whole blob that is the wrong one.
pub(crate) struct BlobStream {
    client: Arc<Client>,
    digest: BlobDigest,
    action: String,
    /// The next byte to give away.
    offset: u64,
    /// The end of what is wanted; `None` if the registry does not say how large the blob is.
    end: Option<u64>,
    /// Bytes of the answer before `offset`, of a registry that does not know ranges.
    skip: u64,
    answer: Option<Response>,
    /// The digest of what came so far, if it began at the start of the blob and goes to its end.
    hash: Option<DigestWriter<std::io::Sink>>,
    floor: Floor,
    failures: u32,
    /// The time at which the bytes that came are within the limit of the rate, if there is one.
    within_limit: Option<Instant>,
    running: Running,
    /// The time at which it began, without that in which nobody asked for bytes.
    began: Instant,
    first: u64,
    /// The time at which the last bytes were given away.
    left: Option<Instant>,
}

impl Client {
    /// Opens a download of a blob of `size` bytes, from `offset` up to `end`. Without a size it is taken from the
    /// answer, if it is there.
    ///
    /// # Errors
    /// [`Error::Registry`]; [`Error::NotFound`]; [`Error::SizeMismatch`] if the registry has another size.
    pub(crate) async fn stream_blob(
        self: &Arc<Self>,
        digest: BlobDigest,
        size: Option<u64>,
        offset: u64,
        end: Option<u64>,
    ) -> Result<BlobStream> {
        let is_whole = offset == 0 && (end.is_none() || end == size);
        let mut stream = BlobStream {
            client: Arc::clone(self),
            digest,
            action: format!("get the blob {digest} of {}", self.name()),
            offset,
            end: end.or(size),
            skip: 0,
            answer: None,
            hash: is_whole.then(|| DigestWriter::new(std::io::sink())),
            floor: Floor::of_blob(size.unwrap_or_default(), &self.line, self.patience),
            failures: 0,
            within_limit: None,
            running: self.line.begin(),
            began: Instant::now(),
            first: offset,
            left: None,
        };
        let actual = stream.open().await?;
        match (size, actual) {
            (Some(expected), Some(actual)) if actual != expected => {
                let what = format!("blob {digest} of {}", self.name());
                return Err(Error::SizeMismatch { what, expected, actual });
            }
            _ => stream.end = stream.end.or(actual),
        }
        Ok(stream)
    }
}

impl BlobStream {
    /// Bytes that are still to come, if that is known.
    fn remaining(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.offset))
    }

    /// Asks for what is missing. Returns the size of the blob, if the registry says it.
    async fn open(&mut self) -> Result<Option<u64>> {
        let url = format!("{}/blobs/{}", self.client.base, self.digest);
        let range = match self.end {
            _ if self.offset == 0 && self.hash.is_some() => None,
            Some(end) if end > self.offset => Some(format!("bytes={}-{}", self.offset, end - 1)),
            _ => Some(format!("bytes={}-", self.offset)),
        };
        let request = || {
            let request = self.client.http.get(&url);
            range.iter().fold(request, |request, range| request.header(RANGE, range))
        };
        let answer = match self.client.send(Operation::Pull, &self.action, request).await {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(404) => {
                let what = format!("blob {} of {}", self.digest, self.client.name());
                return Err(Error::NotFound { what });
            }
            Err(error) => return Err(error.into()),
        };
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let size = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = header(CONTENT_RANGE).and_then(content_range);
            let Some((_, size)) = range.filter(|(start, _)| *start == self.offset) else {
                let reason = "it sent another range than it was asked for";
                return Err(RegistryError::protocol(&self.action, reason).into());
            };
            self.skip = 0;
            size
        } else {
            self.skip = self.offset;
            header(CONTENT_LENGTH).and_then(|size| size.parse().ok())
        };
        self.answer = Some(answer);
        Ok(size)
    }

    /// Gives the next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Registry`] when too many tries failed; [`Error::DigestMismatch`] in place of the last bytes, and
    /// [`Error::SizeMismatch`], if the registry has sent another blob.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        // The time in which nobody asked for bytes is not the registry's.
        let idle = self.left.take().map_or(Duration::ZERO, |left| left.elapsed());
        self.floor.forgive(idle);
        self.began += idle;
        let next = self.next_bytes().await;
        self.left = Some(Instant::now());
        next
    }

    async fn next_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if self.end.is_some_and(|end| self.offset >= end) {
                self.answer = None;
                if self.hash.is_some() {
                    self.finish()?;
                }
                return Ok(None);
            }
            match self.step().await {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => {
                    self.failures = 0;
                    return Ok(Some(bytes));
                }
                Ok(None) => return self.finish().map(|()| None),
                Err(Error::Registry(error)) if error.is_transient() && self.end.is_some() => {
                    self.failures += 1;
                    if self.failures >= self.client.retry.attempts {
                        return Err(error.into());
                    }
                    self.answer = None;
                    // A try that stands still brings no bytes after which this is looked at.
                    if self.floor.check(self.offset - self.first, &self.action).is_err() {
                        return Err(error.into());
                    }
                    tokio::time::sleep(self.client.retry.pause(self.failures)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once from the connection; makes one if there is none. Bytes that are not wanted come out empty.
    ///
    /// Whoever waits may break off: between the moment when bytes are taken off the connection and that when they are
    /// given away, nothing is waited for.
    async fn step(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(end) = self.within_limit {
            self.floor.forgive(self.client.keep_within_limit(Some(end)).await);
            self.within_limit = None;
        }
        if self.answer.is_none() {
            self.open().await?;
        }
        let Some(answer) = &mut self.answer else { return Ok(None) };
        let patience = self.client.patience;
        let next = timeout(patience, next_chunk(&self.action, answer)).await;
        let Some(chunk) = next.map_err(|_| too_late(&self.action, patience))?? else {
            return match self.end {
                None => Ok(None),
                Some(_) => {
                    Err(RegistryError::connection(&self.action, "the connection was closed early").into())
                }
            };
        };
        self.client.count(chunk.len());
        self.within_limit = self.client.note_limited(chunk.len());
        let size = chunk.len() as u64;
        let skipped = self.skip.min(size);
        self.skip -= skipped;
        self.floor.check(self.offset - self.first + size, &self.action)?;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut bytes = chunk.get(skipped..).unwrap_or_default().to_vec();
        let left = self.remaining().and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        if bytes.len() > left {
            if self.hash.is_some() {
                let expected = self.end.unwrap_or_default();
                let (what, actual) = (self.what(), self.offset + bytes.len() as u64);
                return Err(Error::SizeMismatch { what, expected, actual });
            }
            bytes.truncate(left);
        }
        if let Some(hash) = &mut self.hash {
            std::io::Write::write_all(hash, &bytes).map_err(Error::io("hash", "a blob"))?;
        }
        self.offset += bytes.len() as u64;
        if self.end == Some(self.offset) {
            self.finish()?;
        }
        Ok(Some(bytes))
    }

    fn finish(&mut self) -> Result<()> {
        self.running.measure(self.offset - self.first, self.began.elapsed());
        let Some(hash) = self.hash.take() else { return Ok(()) };
        let (_, actual, _) = hash.finish();
        match actual == self.digest.0 {
            true => Ok(()),
            false => Err(Error::DigestMismatch { what: self.what(), expected: self.digest.0, actual }),
        }
    }

    fn what(&self) -> String {
        format!("blob {} of {}", self.digest, self.client.name())
    }
}

/// The start of a part, and the size of the whole if it is known (RFC 9110, 14.4).
pub(super) fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (part, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    Some((part.split('-').next()?.trim().parse().ok()?, size.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_say_where_they_begin() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("5-9/10"), None);
    }
}
