//! Blobs that are being made: each by one task, however many clients wait for it.
//!
//! A blob that is made of a delta has its digest before its first byte is given away, so that clients of all
//! repositories share it. The bytes of a download are those of one registry, and only clients of the same repository
//! share them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layer::BlobDigest;
use tokio::sync::watch;

use crate::Error;
use crate::registry::Throttle;

/// The bytes of a blob that may be given away.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// None yet.
    Waiting,
    /// The first ones.
    Growing {
        /// Holds them.
        file: Arc<File>,
        /// Their number.
        available: u64,
    },
    /// No more will come. The error is that of the registry.
    Failed(Arc<Error>),
}

/// Gives the bytes of a blob that is being made.
pub(super) type Receiver = watch::Receiver<Progress>;
/// Tells how far the making has come.
pub(super) type Sender = watch::Sender<Progress>;

/// The identity of a blob that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Product {
    /// The digest of the blob.
    pub(super) digest: BlobDigest,
    /// The repository that it is downloaded from; `None` if it is made of a delta.
    pub(super) repository: Option<String>,
    /// Its size in bytes, as the manifest has it.
    pub(super) size: u64,
}

/// The blobs that are being made.
#[derive(Debug, Default)]
pub(super) struct Productions(Mutex<HashMap<Product, Running>>);

/// A blob that is being made.
#[derive(Debug)]
struct Running {
    sender: Sender,
    /// The limit of its rate, while nobody waits for it.
    throttle: Option<Arc<Throttle>>,
}

impl Running {
    /// Joins it for a client, who waits for it.
    fn join(&self) -> Receiver {
        if let Some(throttle) = &self.throttle {
            throttle.release();
        }
        self.sender.subscribe()
    }
}

impl Productions {
    fn running(&self) -> MutexGuard<'_, HashMap<Product, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the blobs that are being made.
    pub(super) fn count(&self) -> usize {
        self.running().len()
    }

    /// Joins the making of a blob. Where it is not being made, `start` begins it with the sender. With a `throttle`,
    /// nobody waits for it.
    pub(super) fn join(
        &self,
        blob: Product,
        throttle: Option<&Arc<Throttle>>,
        start: impl FnOnce(Sender),
    ) -> Receiver {
        let (sender, receiver) = match self.running().entry(blob) {
            Entry::Occupied(running) if throttle.is_none() => return running.get().join(),
            Entry::Occupied(running) => return running.get().sender.subscribe(),
            Entry::Vacant(place) => {
                let (sender, receiver) = watch::channel(Progress::Waiting);
                let running = Running { sender, throttle: throttle.cloned() };
                (place.insert(running).sender.clone(), receiver)
            }
        };
        start(sender);
        receiver
    }

    /// Joins the making of a blob for a client, if it is being made.
    pub(super) fn find(&self, blob: &Product) -> Option<Receiver> {
        self.running().get(blob).map(Running::join)
    }

    /// Ends the making of a blob. Clients that have joined keep what there is.
    pub(super) fn end(&self, blob: &Product) {
        self.running().remove(blob);
    }
}
