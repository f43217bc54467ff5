//! Blobs that are being made: each by one task, however many clients wait for it.
//!
//! A blob that is made of a delta has its digest before its first byte is given away, or is made by a recipe that has
//! made it before, so that clients of all repositories share it. The bytes of a download are those of one registry,
//! and only clients of the same repository share them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Write};
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

/// Writes a blob to a file, and gives away what is written, unless all of it has to be checked first. It fails once
/// the production has failed, as one does that takes too long.
pub(super) struct Giving<'f> {
    pub(super) output: &'f mut File,
    /// The same file, for those who read it.
    pub(super) reading: Arc<File>,
    pub(super) sender: Sender,
    /// The bytes are given away while they come.
    pub(super) is_given: bool,
    pub(super) written: u64,
    /// Most bytes that are given away. The last byte is not, before all of the blob has its digest: nobody takes a
    /// wrong blob for a whole one.
    pub(super) limit: u64,
}

impl Write for Giving<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.written += written as u64;
        let mut has_failed = false;
        self.sender.send_if_modified(|progress| {
            has_failed = matches!(progress, Progress::Failed(_));
            if has_failed || !self.is_given {
                return false;
            }
            let file = Arc::clone(&self.reading);
            *progress = Progress::Growing { file, available: self.written.min(self.limit) };
            true
        });
        if has_failed {
            return Err(io::Error::other("its making was given up"));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_is_written_is_given_at_once_but_for_the_last_byte() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (sender, receiver) = watch::channel(Progress::Waiting);
        for (is_given, given) in [(false, [None, None]), (true, [Some(4), Some(5)])] {
            let sender = sender.clone();
            let mut output = file.reopen().unwrap();
            let reading = Arc::new(file.reopen().unwrap());
            let mut giving = Giving { output: &mut output, reading, sender, is_given, written: 0, limit: 5 };
            for (bytes, given) in [(&b"some"[..], given[0]), (&b"on"[..], given[1])] {
                giving.write_all(bytes).unwrap();
                let progress = receiver.borrow().clone();
                let available = match &progress {
                    Progress::Growing { file, available } => {
                        let mut all = vec![0; usize::try_from(*available).unwrap()];
                        file.read_exact_at(&mut all, 0).unwrap();
                        assert!(b"someon".starts_with(&all));
                        Some(*available)
                    }
                    _ => None,
                };
                assert_eq!(available, given);
            }
        }
    }

    #[test]
    fn a_production_that_has_failed_is_made_no_further() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for is_given in [false, true] {
            let failed = Progress::Failed(Arc::new(Error::malformed("recipe", "it took too long")));
            let (sender, receiver) = watch::channel(failed);
            let mut output = file.reopen().unwrap();
            let reading = Arc::new(file.reopen().unwrap());
            let mut giving = Giving { output: &mut output, reading, sender, is_given, written: 0, limit: 5 };
            giving.write_all(b"some").unwrap_err();
            assert!(matches!(*receiver.borrow(), Progress::Failed(_)));
        }
    }
}
