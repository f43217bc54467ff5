//! Manifests of which layers are plain tars.
//!
//! A layer that has a delta but no recipe cannot be made bit for bit: its tar is known, and nobody knows how it was
//! compressed. Where that is wanted, a client that asks for a tag gets another manifest of the same image, in which
//! such a layer is the tar itself. Its config, and so the ID of the image, stay as they are; its digest does not.
//!
//! Clients compare the digests of what a tag leads to, and ask for the manifest by its digest later. So there is one
//! verdict for each manifest of the registry, for ever: it is on disk before the first answer, also where it
//! is to leave the manifest as it is. The tars are in the cache by then, and are unpacked from the registry's
//! blobs where they had to go.
//!
//! | step | module |
//! |---|---|
//! | the verdicts, and the files that have them | `record` |
//! | the tars are made, and the verdict is reached | `make` |
//! | another manifest is written | `compose` |
//! | a tar that had to go is unpacked again | `unpack` |

mod compose;
mod make;
mod record;
mod unpack;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use layer::Digest;
use tokio::sync::watch;

use crate::Result;
use crate::registry::Throttle;

pub(super) use make::{for_tag, reach};
pub(super) use record::{Record, Rewrite, Tar};
pub(super) use unpack::unpack;

/// The verdicts about manifests, and those that are being reached.
#[derive(Debug)]
pub(super) struct Rewrites {
    is_on: bool,
    records: Mutex<record::Records>,
    reaching: Mutex<HashMap<Digest, Reaching>>,
}

/// A verdict that is being reached.
#[derive(Debug)]
struct Reaching {
    verdict: watch::Receiver<Option<Arc<Record>>>,
    /// The limit of what is fetched for it, while nobody waits.
    throttle: Option<Arc<Throttle>>,
}

impl Rewrites {
    /// Reads the verdicts of earlier mirrors in a cache. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub(super) fn open(cache: &Path, is_on: bool) -> Result<Self> {
        let records = Mutex::new(record::Records::open(&cache.join("rewrites"))?);
        Ok(Self { is_on, records, reaching: Mutex::default() })
    }

    /// True if other manifests are given for tags.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// The verdict about a manifest or an index of a registry.
    fn verdict(&self, original: Digest) -> Option<Arc<Record>> {
        self.records().verdict(original)
    }

    /// The verdict by which there is a manifest or an index of this digest.
    pub(super) fn with_manifest(&self, digest: Digest) -> Option<Arc<Record>> {
        self.records().with_manifest(digest)
    }

    /// The verdicts by which there is a tar of this digest.
    pub(super) fn with_tar(&self, digest: Digest) -> Vec<Arc<Record>> {
        self.records().with_tar(digest)
    }

    /// Makes a verdict the one of its manifest, unless there is one. Returns the one that there is now. Blocks.
    fn settle(&self, record: Record) -> Arc<Record> {
        self.records().settle(record)
    }

    fn records(&self) -> std::sync::MutexGuard<'_, record::Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reaching(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Reaching>> {
        self.reaching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
