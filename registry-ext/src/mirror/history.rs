//! The last pulls, for people: what each layer cost, and why not less.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use layer::{BlobDigest, Digest};

/// Most pulls that are remembered.
const MAX_PULLS: usize = 50;
/// Most layers of one of them.
const MAX_LAYERS: usize = 128;

/// The way in which a layer was had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Made of a delta.
    Rebuilt,
    /// Fetched whole, for a reason.
    Fetched(String),
}

/// A layer of a pull.
#[derive(Debug, Clone)]
pub(super) struct PulledLayer {
    /// Its blob.
    pub(super) digest: BlobDigest,
    /// Size of the blob in bytes.
    pub(super) size: u64,
    /// Bytes that the registry sent for it.
    pub(super) fetched: u64,
    /// The way in which it was had.
    pub(super) outcome: Outcome,
}

/// A pull of an image: the first of those that share a manifest.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    /// The repository, with its registry.
    pub(super) repository: String,
    /// Digest of the manifest.
    pub(super) manifest: Digest,
    /// The time at which its first layer was there.
    pub(super) time: SystemTime,
    /// The layers that were made or fetched, in the order in which they were done.
    pub(super) layers: Vec<PulledLayer>,
}

impl Pull {
    /// Bytes of the blobs, and bytes that the registry sent for them.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let sum = |of: fn(&PulledLayer) -> u64| self.layers.iter().map(of).sum();
        (sum(|layer| layer.size), sum(|layer| layer.fetched))
    }
}

/// The last pulls.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Pull>>);

impl History {
    fn pulls(&self) -> MutexGuard<'_, VecDeque<Pull>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a layer of an image.
    pub(super) fn note(&self, repository: &str, manifest: Digest, layer: PulledLayer) {
        let mut pulls = self.pulls();
        let known = pulls.iter_mut().find(|pull| pull.manifest == manifest && pull.repository == repository);
        if let Some(pull) = known {
            if pull.layers.len() < MAX_LAYERS {
                pull.layers.push(layer);
            }
            return;
        }
        let (repository, time) = (repository.to_owned(), SystemTime::now());
        pulls.push_front(Pull { repository, manifest, time, layers: vec![layer] });
        pulls.truncate(MAX_PULLS);
    }

    /// The last pulls, newest first.
    pub(super) fn last(&self) -> Vec<Pull> {
        self.pulls().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_kept_by_image_and_images_are_bounded() {
        let history = History::default();
        let layer = |name: u8| PulledLayer {
            digest: BlobDigest(Digest::from_bytes([name; 32])),
            size: 100,
            fetched: 1,
            outcome: Outcome::Rebuilt,
        };
        for image in 0..=255 {
            for name in 0..=255 {
                history.note("h/a", Digest::from_bytes([image; 32]), layer(name));
            }
        }
        let last = history.last();
        assert_eq!((last.len(), last[0].layers.len()), (MAX_PULLS, MAX_LAYERS));
        assert_eq!(last[0].manifest, Digest::from_bytes([255; 32]));
        assert_eq!(last[0].sizes(), (12_800, 128));
        history.note("h/b", Digest::from_bytes([255; 32]), layer(1));
        assert_eq!(history.last()[0].layers.len(), 1, "another repository");
    }
}
