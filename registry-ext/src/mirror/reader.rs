//! The body of an answer with a blob.
//!
//! Its bytes come from the cache, from a blob that is being made, or from the registry. Where one of the first two
//! fails, the registry goes on at the same byte: a client never learns that there was another way. While a blob is
//! being made and nothing of it can be given away yet, a few bytes from the registry keep the client patient.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;
use layer::BlobDigest;
use tokio::time::timeout;

use super::metrics::Way;
use super::produce::download;
use super::productions::{Progress, Receiver};
use super::shared::Shared;
use super::upstreams::{NamedBlob, Upstream};
use crate::Error;
use crate::error::blocking;
use crate::registry::BlobStream;

/// Bytes that are read from a file at one time.
const CHUNK: u64 = 128 << 10;
/// Bytes that a client gets from the registry when it has waited for long. containerd counts progress in MiB.
const CONSOLATION: u64 = (1 << 20) + (64 << 10);

/// The place where bytes come from.
enum Source {
    /// Memory that has all of them.
    Bytes(Bytes),
    /// A file that has all of them.
    File(Arc<File>),
    /// A blob that is being made: of a delta if it is named, or else by a download.
    Production(Receiver, Option<Box<NamedBlob>>),
    /// The registry, up to an offset, and then a blob that is being made.
    Consolation(Box<BlobStream>, Receiver, Option<Box<NamedBlob>>),
    /// The registry.
    Registry(Box<BlobStream>),
    /// The registry, which is not asked yet.
    Fallback,
}

/// Reads a range of a blob.
pub(super) struct BlobReader {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    digest: BlobDigest,
    /// The size of the blob; `None` if only the registry knows it.
    size: Option<u64>,
    offset: u64,
    end: Option<u64>,
    source: Source,
    /// Bytes were given that a delta and a recipe made. Nobody has checked them before all of the blob is made, so that
    /// the rest comes of the same production, or the connection is cut.
    has_made: bool,
}

impl BlobReader {
    fn new(
        shared: &Arc<Shared>,
        upstream: &Arc<Upstream>,
        digest: BlobDigest,
        size: Option<u64>,
        range: (u64, Option<u64>),
        source: Source,
    ) -> Self {
        let (shared, upstream, (offset, end)) = (Arc::clone(shared), Arc::clone(upstream), range);
        Self { shared, upstream, digest, size, offset, end, source, has_made: false }
    }

    /// Reads from memory that has all of the blob.
    pub(super) fn of_bytes(
        shared: &Arc<Shared>,
        upstream: &Arc<Upstream>,
        digest: BlobDigest,
        bytes: Vec<u8>,
        (size, offset, end): (u64, u64, u64),
    ) -> Self {
        Self::new(shared, upstream, digest, Some(size), (offset, Some(end)), Source::Bytes(bytes.into()))
    }

    /// Reads from a file that has all of the blob.
    pub(super) fn of_file(
        shared: &Arc<Shared>,
        upstream: &Arc<Upstream>,
        digest: BlobDigest,
        file: Arc<File>,
        (size, offset, end): (u64, u64, u64),
    ) -> Self {
        Self::new(shared, upstream, digest, Some(size), (offset, Some(end)), Source::File(file))
    }

    /// Reads from a blob that is being made: of a delta if it is `named`, or else by a download.
    pub(super) fn of_production(
        shared: &Arc<Shared>,
        upstream: &Arc<Upstream>,
        digest: BlobDigest,
        (receiver, named): (Receiver, Option<NamedBlob>),
        (size, offset, end): (u64, u64, u64),
    ) -> Self {
        let source = Source::Production(receiver, named.map(Box::new));
        Self::new(shared, upstream, digest, Some(size), (offset, Some(end)), source)
    }

    /// Reads from the registry.
    pub(super) fn of_registry(
        shared: &Arc<Shared>,
        upstream: &Arc<Upstream>,
        digest: BlobDigest,
        stream: BlobStream,
        (offset, end): (u64, Option<u64>),
    ) -> Self {
        let source = Source::Registry(Box::new(stream));
        Self::new(shared, upstream, digest, None, (offset, end), source)
    }

    /// Makes a body of it. An error cuts the connection, so that the client does not take a part for the whole.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::try_unfold(self, |mut reader| async move {
            match reader.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, reader))),
                Ok(None) => Ok(None),
                Err(error) => {
                    tracing::warn!(blob = %reader.digest, "cut off: {}", error.one_line());
                    Err(io::Error::other(error))
                }
            }
        }))
    }

    /// Gives the next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.end.is_some_and(|end| self.offset >= end) {
                return Ok(None);
            }
            // Taken out, so that a step that fails leaves the way that is always there.
            let (bytes, source) = match std::mem::replace(&mut self.source, Source::Fallback) {
                Source::Bytes(bytes) => {
                    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                    let part = place(self.offset)..place(self.end.unwrap_or(u64::MAX));
                    let part = bytes.get(part).unwrap_or_default().to_vec();
                    (Some((part, Way::Cache)), Source::Fallback)
                }
                Source::File(file) => match self.read(Arc::clone(&file), u64::MAX).await {
                    Ok(bytes) => (Some((bytes, Way::Cache)), Source::File(file)),
                    Err(error) => {
                        tracing::warn!(blob = %self.digest, "goes on from the registry: {}", error.one_line());
                        (None, Source::Fallback)
                    }
                },
                Source::Production(receiver, named) => {
                    let is_of_delta = named.is_some();
                    let (bytes, source) = self.wait(receiver, named).await?;
                    if self.has_made && !matches!(source, Source::Production(..)) {
                        // Nobody has checked the bytes that were given: those of the registry must not follow them.
                        return Err(Error::malformed(
                            format!("blob {}", self.digest),
                            "its making ended early",
                        ));
                    }
                    self.has_made |= is_of_delta && bytes.is_some();
                    (bytes, source)
                }
                Source::Consolation(mut stream, mut receiver, named) => {
                    let next = tokio::select! {
                        next = stream.next() => Some(next),
                        // There is something better.
                        _ = receiver.changed() => None,
                    };
                    match next {
                        Some(Ok(Some(bytes))) => {
                            (Some((bytes, Way::Registry)), Source::Consolation(stream, receiver, named))
                        }
                        // The maker goes on, whatever this was.
                        _ => (None, Source::Production(receiver, named)),
                    }
                }
                Source::Registry(mut stream) => match stream.next().await? {
                    Some(bytes) => (Some((bytes, Way::Registry)), Source::Registry(stream)),
                    None => return Ok(None),
                },
                Source::Fallback => {
                    let (client, offset) = (&self.upstream.client, self.offset);
                    let stream = client.stream_blob(self.digest, self.size, offset, self.end).await?;
                    (None, Source::Registry(Box::new(stream)))
                }
            };
            self.source = source;
            if let Some((bytes, way)) = bytes.filter(|(bytes, _)| !bytes.is_empty()) {
                self.offset += bytes.len() as u64;
                self.shared.metrics.sent(&self.upstream.registry, way, bytes.len() as u64);
                return Ok(Some(bytes.into()));
            }
        }
    }

    /// Waits for bytes of a blob that is being made.
    ///
    /// # Errors
    /// If the registry has sent another blob, or a recipe has made one, of which the client may have got bytes.
    async fn wait(
        &self,
        mut receiver: Receiver,
        named: Option<Box<NamedBlob>>,
    ) -> Result<(Option<(Vec<u8>, Way)>, Source), Error> {
        let progress = receiver.borrow_and_update().clone();
        Ok(match progress {
            Progress::Growing { file, available } if available > self.offset => {
                match self.read(file, available).await {
                    Ok(bytes) => (Some((bytes, Way::Made)), Source::Production(receiver, named)),
                    Err(_) => (None, Source::Fallback),
                }
            }
            Progress::Failed(failure) => match named {
                Some(_) if self.has_made => {
                    return Err(Error::malformed(format!("blob {}", self.digest), failure.one_line()));
                }
                // Of what is made otherwise nothing was given away.
                Some(named) => {
                    let reason = Some(format!("no delta makes it: {}", failure.one_line()));
                    let receiver = download(&self.shared, &self.upstream, &named, self.digest, reason);
                    (None, Source::Production(receiver, None))
                }
                None if is_wrong(&failure) && self.offset > 0 => {
                    let what = format!("blob {} of {}", self.digest, self.upstream.client.name());
                    return Err(Error::malformed(what, failure.one_line()));
                }
                None => (None, Source::Fallback),
            },
            Progress::Waiting | Progress::Growing { .. } => {
                match timeout(self.shared.patience, receiver.changed()).await {
                    Ok(Ok(())) => (None, Source::Production(receiver, named)),
                    // Its maker is gone.
                    Ok(Err(_)) => (None, Source::Fallback),
                    Err(_) if self.has_made => (None, Source::Production(receiver, named)),
                    Err(_) => {
                        let end = (self.offset + CONSOLATION).min(self.end.unwrap_or(u64::MAX));
                        let (client, offset) = (&self.upstream.client, self.offset);
                        match client.stream_blob(self.digest, self.size, offset, Some(end)).await {
                            Ok(stream) => (None, Source::Consolation(Box::new(stream), receiver, named)),
                            Err(_) => (None, Source::Production(receiver, named)),
                        }
                    }
                }
            }
        })
    }

    /// Reads bytes of a file that come before `available`.
    async fn read(&self, file: Arc<File>, available: u64) -> Result<Vec<u8>, Error> {
        let offset = self.offset;
        let end = self.end.unwrap_or(u64::MAX).min(available);
        let size = usize::try_from(CHUNK.min(end - offset)).unwrap_or(usize::MAX);
        blocking(move || {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, offset).map_err(Error::io("read", "the cache"))?;
            Ok(bytes)
        })
        .await
    }
}

/// Returns true if a registry has sent something else than the blob.
const fn is_wrong(failure: &Error) -> bool {
    matches!(failure, Error::DigestMismatch { .. } | Error::SizeMismatch { .. })
}
