//! Answers to requests for manifests, blobs and lists of a repository.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use layer::BlobDigest;
use tokio::time::timeout;

use super::answer::{CONTENT_DIGEST, Part, error, finish, of_failure, with_status};
use super::decide::decision;
use super::produce::{download, downloaded, rebuild, rebuilt};
use super::productions::{Progress, Receiver};
use super::reader::BlobReader;
use super::rewrite::{Record, for_tag, unpack};
use super::shared::Shared;
use super::upstreams::{NamedBlob, Upstream};
use crate::error::blocking;
use crate::oci::{Manifest, Name, digest_of, parse_manifest};
use crate::registry::too_late;
use crate::{Error, Result};

/// Most verdicts that the registry is asked about for one tar: images have it in common.
const MAX_RECALLED: usize = 8;

/// A request for something of a repository.
pub(super) struct Request<'r> {
    pub(super) shared: &'r Arc<Shared>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) method: &'r Method,
    pub(super) headers: &'r HeaderMap,
}

impl Request<'_> {
    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Answers with a manifest. A client that gets one goes on with its blobs, and some have no way back: so it is
    /// only given if they can be.
    pub(super) async fn manifest(&self, name: &Name) -> Response<Body> {
        let (manifest, record) = match self.find_manifest(name).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let message = format!("{} has no manifest {name}", self.upstream.client.name());
                return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &message);
            }
            Err(failure) => return of_failure(&failure, "MANIFEST_UNKNOWN"),
        };
        if let Err(failure) = check_blobs(&manifest) {
            return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &failure.one_line());
        }
        self.count_pull(&manifest, record.as_deref());
        let image = match record {
            Some(record) => self.upstream.note_rewrite(&record),
            None => self.upstream.note(&manifest),
        };
        if let Some(image) = image.filter(|_| !self.is_head()) {
            let (shared, upstream) = (Arc::clone(self.shared), Arc::clone(&self.upstream));
            self.shared.spawn(async move { drop(decision(&shared, &upstream, &image).await) });
        }
        let builder = with_status(StatusCode::OK)
            .header(CONTENT_TYPE, &manifest.media_type)
            .header(CONTENT_LENGTH, manifest.bytes.len())
            .header(CONTENT_DIGEST, manifest.digest.to_string());
        finish(builder, if self.is_head() { Body::empty() } else { Body::from(manifest.bytes) })
    }

    /// Counts the pull of an image, unless each client has rights of its own: nobody is told then of what others pull.
    fn count_pull(&self, given: &Manifest, record: Option<&Record>) {
        if self.is_head() || self.shared.is_passing {
            return;
        }
        let original = match record.map(|record| (record, record.rewrite.as_ref())) {
            Some((record, Some(rewrite))) if rewrite.top.digest == given.digest => record.original,
            // The manifest of an image whose index was asked for before.
            Some((_, Some(_))) => return,
            Some((_, None)) | None => given.digest,
        };
        self.shared.metrics.pulls.count(&self.upstream.client.name(), original);
    }

    /// Finds a manifest, and the verdict by which it is given in place of that of the registry.
    async fn find_manifest(&self, name: &Name) -> Result<Option<(Manifest, Option<Arc<Record>>)>> {
        let (rewrites, began) = (&self.shared.rewrites, Instant::now());
        let mut known = None;
        if let Name::Digest(digest) = name {
            known = self.upstream.manifest(*digest).filter(|_| self.upstream.is_accepted());
            if let Some(record) = rewrites.with_manifest(*digest)
                && self.recall(&record).await?
                && let Some(given) = record.given(*digest)
            {
                return Ok(Some((given.clone(), Some(record))));
            }
        }
        let manifest = match known {
            Some(known) => known,
            None => {
                let Some(manifest) = self.upstream_manifest(name).await? else { return Ok(None) };
                self.upstream.accept();
                manifest
            }
        };
        if matches!(name, Name::Digest(_)) || !rewrites.is_on() {
            return Ok(Some((manifest, None)));
        }
        // Clients wait for both together.
        let left = self.shared.patience.saturating_sub(began.elapsed());
        let record = for_tag(self.shared, &self.upstream, &manifest, left).await;
        Ok(Some(match &record.rewrite {
            Some(rewrite) => (rewrite.top.clone(), Some(record)),
            None => (manifest, None),
        }))
    }

    /// Returns true if the repository has the manifest in place of which another one is given.
    async fn recall(&self, record: &Arc<Record>) -> Result<bool> {
        let is_known = self.upstream.has_rewritten(record.original) && self.upstream.is_accepted();
        if !is_known {
            if self.upstream_manifest(&Name::Digest(record.original)).await?.is_none() {
                return Ok(false);
            }
            self.upstream.accept();
        }
        self.upstream.note_rewrite(record);
        Ok(true)
    }

    /// Asks the registry for a manifest. It has not all the time of the world: clients go on with another place where
    /// the manifest does not come.
    async fn upstream_manifest(&self, name: &Name) -> Result<Option<Manifest>> {
        let longest = self.shared.manifest_timeout;
        let answer = timeout(longest, self.upstream.client.manifest(name)).await;
        answer.unwrap_or_else(|_| {
            let action = format!("get the manifest {name} of {}", self.upstream.client.name());
            Err(too_late(&action, longest).into())
        })
    }

    /// Answers with a blob, or a part of it.
    pub(super) async fn blob(&self, digest: BlobDigest) -> Response<Body> {
        let mut named = self.upstream.blob(digest);
        if named.is_none() {
            // A client that had the manifest before a restart goes on with the tars in it.
            for record in self.shared.rewrites.with_tar(digest.0).into_iter().take(MAX_RECALLED) {
                match self.recall(&record).await {
                    Ok(_) => named = named.or_else(|| self.upstream.blob(digest)),
                    Err(failure) => return of_failure(&failure, "BLOB_UNKNOWN"),
                }
            }
        }
        if !self.upstream.is_accepted() {
            let there = place(digest, named.as_ref());
            if let Err(failure) = self.upstream.client.blob_size(there).await {
                return of_failure(&failure, "BLOB_UNKNOWN");
            }
            self.upstream.accept();
            // A token lasts for a part of a long pull.
            named = named.or_else(|| self.shared.upstreams.blob_seen_by_others(&self.upstream, digest));
        }
        let Some(named) = named else { return self.unnamed_blob(digest).await };
        let size = named.descriptor.size();
        let part = self.part(size);
        let builder = part.answer(size).header(CONTENT_DIGEST, digest.to_string());
        if self.is_head() {
            return match self.check(digest, &named).await {
                Ok(()) => finish(builder, Body::empty()),
                Err(failure) => of_failure(&failure, "BLOB_UNKNOWN"),
            };
        }
        if part == Part::Beyond {
            return finish(builder, Body::empty());
        }
        match self.named_blob(digest, &named, part).await {
            Ok(reader) => finish(builder, reader.into_body()),
            Err(failure) => of_failure(&failure, "BLOB_UNKNOWN"),
        }
    }

    /// The part of a blob of `size` bytes that is asked for. Ranges are for GET alone (RFC 9110, 14.2).
    fn part(&self, size: u64) -> Part {
        if self.is_head() { Part::Whole } else { Part::of(self.headers, size) }
    }

    /// Fails if a blob is neither here nor in the registry.
    async fn check(&self, digest: BlobDigest, named: &NamedBlob) -> Result<()> {
        if self.cached(digest).await?.is_none() {
            self.upstream.client.blob_size(place(digest, Some(named))).await?;
        }
        Ok(())
    }

    /// Opens a blob that an image of the repository has.
    async fn named_blob(&self, digest: BlobDigest, named: &NamedBlob, part: Part) -> Result<BlobReader> {
        let (shared, upstream) = (self.shared, &self.upstream);
        let size = named.descriptor.size();
        let (offset, end) = part.bounds(size);
        let range = (size, offset, end);
        if let Some(file) = self.cached(digest).await? {
            return Ok(BlobReader::of_file(shared, upstream, digest, file, range));
        }
        let of_rebuild = |receiver: Receiver| {
            BlobReader::of_production(shared, upstream, digest, (receiver, Some(named.clone())), range)
        };
        let of_download =
            |receiver: Receiver| BlobReader::of_production(shared, upstream, digest, (receiver, None), range);
        if let Some(receiver) = shared.productions.find(&rebuilt(digest, named)) {
            return Ok(of_rebuild(receiver));
        }
        if let Some(receiver) = shared.productions.find(&downloaded(digest, named, upstream)) {
            return Ok(of_download(receiver));
        }
        if let Some(tar) = named.image.tar(digest.0) {
            return Ok(of_download(unpack(shared, upstream, tar)));
        }
        let decision = decision(shared, upstream, &named.image).await;
        if let Some(reason) = decision.reasons.get(&digest) {
            tracing::debug!(blob = %digest, "fetched: {reason}");
        }
        if let Some(config) = decision.image.as_ref().filter(|image| image.config_digest == digest.0) {
            return Ok(BlobReader::of_bytes(shared, upstream, digest, config.config.clone(), range));
        }
        match decision.rebuilt.get(&digest) {
            // Its headers go out at once: whatever becomes of the delta, there is the registry.
            Some(plan) => Ok(of_rebuild(rebuild(shared, upstream, named, plan.clone()))),
            None if offset > 0 || !shared.cache.takes(size) => {
                let (client, end) = (&upstream.client, Some(end));
                let stream = client.stream_blob(digest, Some(size), offset, end).await?;
                Ok(BlobReader::of_registry(shared, upstream, digest, stream, (offset, end)))
            }
            None => {
                let mut receiver = download(shared, upstream, named, digest, None);
                // The registry may have another answer than the blob.
                let first = receiver.wait_for(|progress| !matches!(progress, Progress::Waiting)).await;
                match first.map(|first| first.clone()) {
                    Ok(Progress::Failed(failure)) if is_answer(&failure) => {
                        let stream =
                            upstream.client.stream_blob(digest, Some(size), offset, Some(end)).await?;
                        Ok(BlobReader::of_registry(shared, upstream, digest, stream, (offset, Some(end))))
                    }
                    _ => Ok(of_download(receiver)),
                }
            }
        }
    }

    /// Passes a blob on that no image is known to have, since the mirror was started after the client asked for the
    /// manifest: if the registry gives it.
    async fn unnamed_blob(&self, digest: BlobDigest) -> Response<Body> {
        let client = &self.upstream.client;
        let size = match client.blob_size(digest).await {
            // Some registries say 0 where they do not know it.
            Ok(size) => size.filter(|size| *size > 0),
            Err(failure) => return of_failure(&failure, "BLOB_UNKNOWN"),
        };
        let part = size.map_or(Part::Whole, |size| self.part(size));
        let builder = match size {
            Some(size) => part.answer(size),
            None => with_status(StatusCode::OK).header(CONTENT_TYPE, "application/octet-stream"),
        };
        let builder = builder.header(CONTENT_DIGEST, digest.to_string());
        if self.is_head() || part == Part::Beyond {
            return finish(builder, Body::empty());
        }
        let (offset, end) = size.map_or((0, None), |size| {
            let (offset, end) = part.bounds(size);
            (offset, Some(end))
        });
        let cached = self.cached(digest).await.ok().flatten();
        if let (Some(file), Some(size), Some(end)) = (cached, size, end) {
            let reader = BlobReader::of_file(self.shared, &self.upstream, digest, file, (size, offset, end));
            return finish(builder, reader.into_body());
        }
        match client.stream_blob(digest, size, offset, end).await {
            Ok(stream) => {
                let range = (offset, end);
                let reader = BlobReader::of_registry(self.shared, &self.upstream, digest, stream, range);
                finish(builder, reader.into_body())
            }
            Err(failure) => of_failure(&failure, "BLOB_UNKNOWN"),
        }
    }

    async fn cached(&self, digest: BlobDigest) -> Result<Option<Arc<std::fs::File>>> {
        let cache = Arc::clone(&self.shared.cache);
        blocking(move || Ok(cache.open_blob(digest.0))).await
    }

    /// Passes a list on: of referrers or of tags. `list` is its path below the repository, with its query.
    pub(super) async fn list(
        &self,
        (path, ns): (&str, Option<&str>),
        list: &str,
        query: Option<&str>,
    ) -> Response<Body> {
        let below = query.map_or_else(|| list.to_owned(), |query| format!("{list}?{query}"));
        match self.upstream.client.list(&below).await {
            Ok(Some(page)) => {
                let media_type = page.media_type.unwrap_or_else(|| "application/json".into());
                let mut builder = with_status(StatusCode::OK)
                    .header(CONTENT_TYPE, media_type)
                    .header(CONTENT_LENGTH, page.bytes.len());
                if let Some(next) = page.next {
                    let ns = ns.map_or_else(String::new, |ns| format!("&ns={ns}"));
                    builder = builder.header(LINK, format!("<{path}?{next}{ns}>; rel=\"next\""));
                }
                finish(builder, if self.is_head() { Body::empty() } else { Body::from(page.bytes) })
            }
            Ok(None) => error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "the registry has no such list"),
            Err(failure) => of_failure(&failure, "NAME_UNKNOWN"),
        }
    }
}

/// Returns the blob by which the registry has a blob that is served: for a tar, that of its layer.
fn place(digest: BlobDigest, named: Option<&NamedBlob>) -> BlobDigest {
    let tar = named.and_then(|named| named.image.tar(digest.0));
    tar.and_then(|tar| digest_of(&tar.blob).ok()).map_or(digest, BlobDigest)
}

/// Returns true if the registry itself has refused, and not a disk here.
fn is_answer(failure: &Error) -> bool {
    !matches!(failure, Error::Io { .. })
}

/// Refuses a manifest with blobs that cannot be asked for here.
fn check_blobs(manifest: &Manifest) -> Result<()> {
    if manifest.is_index() {
        return Ok(());
    }
    let parsed = parse_manifest("the manifest", &manifest.bytes)?;
    parsed.layers().iter().chain([parsed.config()]).try_for_each(|blob| digest_of(blob).map(drop))
}
