//! Blobs, which go from and to files.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use layer::{BlobDigest, DigestWriter};
use oci_distribution::client::{BlobResponse, SizedStream};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::manifest::OciDescriptor;
use oci_spec::distribution::Reference;
use oci_spec::image::Descriptor;
use tokio::io::AsyncReadExt;

use super::access::Operation;
use super::{RegistryError, Repository};
use crate::artifact::digest_of;
use crate::{Error, Result};

/// Bytes that are read from a file and sent at once.
const CHUNK_SIZE: usize = 1 << 20;

/// Bytes a second that a download has on average, once it takes longer than the patience for it: a
/// modem had five times as many.
const MIN_RATE: u64 = 1 << 10;

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
        loop {
            let before = download.size;
            match self.resume(blob, &mut download, &action, progress).await {
                Ok(()) => break,
                // A step that got further makes the next one a first try.
                Err(Error::Registry(error)) if error.is_transient() && download.size > before => {
                    tokio::time::sleep(self.retry.pause(1)).await;
                }
                Err(error) => return Err(error),
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
        let wanted = OciDescriptor {
            digest: blob.digest().to_string(),
            urls: self.other_places(blob),
            ..OciDescriptor::default()
        };
        let offset = download.size;
        let open = async |_: &super::Access| {
            let opened = self.client.pull_blob_stream_partial(&self.reference, &wanted, offset, None).await;
            opened.map_err(|error| RegistryError::from_client(action, error))
        };
        let mut stream = match self.attempt(Operation::Pull, open).await {
            Ok(BlobResponse::Partial(stream)) => stream,
            Ok(BlobResponse::Full(stream)) => {
                *download = Download { began: download.began, ..Download::start(download.path)? };
                stream
            }
            Err(error) if error.status() == Some(404) => {
                return Err(Error::NotFound { what: format!("blob {} of {}", blob.digest(), self.name()) });
            }
            Err(error) => return Err(error.into()),
        };
        self.receive(&mut stream, blob, download, action, progress).await
    }

    /// Where else a blob may be, by its `urls`: asked without credentials, and only if the
    /// repository does not have it. An https registry cannot send us to plain http.
    fn other_places(&self, blob: &Descriptor) -> Option<Vec<String>> {
        let is_allowed = |url: &&String| {
            url.starts_with("https://") || self.base.starts_with("http://") && url.starts_with("http://")
        };
        let places: Vec<String> = blob.urls().iter().flatten().filter(is_allowed).cloned().collect();
        (!places.is_empty()).then_some(places)
    }

    async fn receive(
        &self,
        stream: &mut SizedStream,
        blob: &Descriptor,
        download: &mut Download<'_>,
        action: &str,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| RegistryError::connection(action, error))?;
            self.count(chunk.len());
            progress(chunk.len() as u64);
            download.writer.write_all(&chunk).map_err(Error::io("write", download.path))?;
            download.size += chunk.len() as u64;
            if download.size > blob.size() {
                let what = format!("blob {} of {}", blob.digest(), self.name());
                return Err(Error::SizeMismatch { what, expected: blob.size(), actual: download.size });
            }
            self.check_rate(download, action)?;
        }
        if download.size < blob.size() {
            return Err(RegistryError::connection(action, "the connection was closed early").into());
        }
        Ok(())
    }

    /// Gives up on a registry that sends so little, or breaks off so often, that the download would
    /// take for ever.
    fn check_rate(&self, download: &Download<'_>, action: &str) -> Result<(), RegistryError> {
        let late = download.began.elapsed().saturating_sub(self.patience);
        if late.as_secs_f64() * MIN_RATE as f64 > download.size as f64 {
            return Err(RegistryError::protocol(
                action,
                format!("it sends less than {MIN_RATE} bytes a second"),
            ));
        }
        Ok(())
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn has_blob(&self, digest: BlobDigest) -> Result<bool> {
        let action = format!("look for the blob {digest} in {}", self.name());
        let text = digest.to_string();
        let look = async |_: &super::Access| {
            let found = self.client.blob_exists(&self.reference, &text).await;
            found.map_err(|error| RegistryError::from_client(&action, error))
        };
        Ok(self.attempt(Operation::Pull, look).await?)
    }

    /// Stores the blob in a file, unless the repository has it.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Io`].
    pub async fn put_blob(&self, blob: &Descriptor, path: &Path) -> Result<()> {
        let digest = digest_of(blob)?;
        if self.has_blob(BlobDigest(digest)).await? {
            return Ok(());
        }
        let action = format!("put the blob {digest} to {}", self.name());
        let text = digest.to_string();
        let put = async |_: &super::Access| {
            let file = tokio::fs::File::open(path)
                .await
                .map_err(|error| RegistryError::connection(&action, error))?;
            let chunks = try_unfold(file, async |mut file| {
                let mut chunk = Vec::with_capacity(CHUNK_SIZE);
                (&mut file).take(CHUNK_SIZE as u64).read_to_end(&mut chunk).await?;
                Ok::<_, OciDistributionError>((!chunk.is_empty()).then(|| (chunk.into(), file)))
            });
            let put = self.client.push_blob_stream(&self.reference, chunks, &text, Some(blob.size())).await;
            match put {
                // The blob is there: a registry that stores elsewhere need not say where.
                Ok(_) | Err(OciDistributionError::RegistryNoLocationError) => Ok(()),
                Err(error) => Err(RegistryError::from_client(&action, error)),
            }
        };
        Ok(self.attempt(Operation::Push, put).await?)
    }

    /// Has the registry take a blob over from another of its repositories. Gives false if it does
    /// not, for whatever reason: the blob then has to be uploaded.
    pub async fn mount_blob(&self, digest: BlobDigest, from: &Self) -> bool {
        if from.reference.registry() != self.reference.registry() {
            return false;
        }
        let source = Reference::with_tag(
            from.reference.registry().to_owned(),
            from.reference.repository().to_owned(),
            "latest".into(),
        );
        let text = digest.to_string();
        let mount = async |_: &super::Access| {
            let mounted = self.client.mount_blob(&self.reference, &source, &text).await;
            mounted.map_err(|error| RegistryError::from_client("mount a blob", error))
        };
        self.attempt(Operation::Push, mount).await.is_ok()
    }

    /// All tags.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn tags(&self) -> Result<Vec<String>> {
        let action = format!("list the tags of {}", self.name());
        let auth = oci_distribution::secrets::RegistryAuth::Anonymous;
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().cloned();
            let page = async |_: &super::Access| {
                let page = self.client.list_tags(&self.reference, &auth, None, last.as_deref()).await;
                page.map_err(|error| RegistryError::from_client(&action, error))
            };
            let page = match self.attempt(Operation::Pull, page).await {
                Ok(page) => page.tags,
                Err(error) if error.status() == Some(404) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            let known = tags.len();
            tags.extend(page.into_iter().filter(|tag| last.as_ref().is_none_or(|last| tag > last)));
            if tags.len() == known {
                return Ok(tags);
            }
        }
    }
}
