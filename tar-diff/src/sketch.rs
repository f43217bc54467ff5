//! A small sketch of a file's content: how alike two files are, without comparing them.
//!
//! Of all strings of 16 bytes, a rolling hash samples one in 32; the sketch keeps the least hashes of
//! those (bottom-k MinHash; Broder, "On the resemblance and containment of documents", 1997). The
//! share of common values estimates the share of common strings. Strings this short survive in
//! recompiled code, where every address has changed.

use crate::gear::{Gear, mix};

/// Values that a sketch keeps.
pub(crate) const SKETCH_SIZE: usize = 32;

/// The hashes of the sampled strings of a content, in order.
fn samples(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut gear = Gear::<4>::default();
    bytes.iter().map(move |&byte| gear.roll(byte)).filter(|hash| is_sample(*hash))
}

/// Returns true if a hash is one of those that are sampled: the five top bits depend on the whole window.
const fn is_sample(hash: u64) -> bool {
    hash >> 59 == 0
}

/// The hashes of the sampled strings of a content, sorted: it takes half the time of a table that no
/// content can be made to slow down.
pub(crate) fn sorted_samples(bytes: &[u8]) -> Vec<u64> {
    let mut samples: Vec<u64> = samples(bytes).collect();
    samples.sort_unstable();
    samples
}

/// Returns the number of samples of a target that the source has too. Both are sorted.
pub(crate) fn shared_samples(of_source: &[u64], of_target: &[u64]) -> usize {
    let mut of_source = of_source.iter().peekable();
    let is_shared = |hash: &&u64| {
        while of_source.next_if(|other| other < hash).is_some() {}
        of_source.peek() == Some(hash)
    };
    of_target.iter().filter(is_shared).count()
}

/// The least sampled hashes of a content, in rising order, without repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sketch(Vec<u32>);

/// Builds a [`Sketch`] from content that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Sketcher {
    gear: Gear<4>,
    least: Vec<u32>,
}

impl Sketcher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut gear = self.gear;
        let mut most = if self.least.len() == SKETCH_SIZE { self.least[SKETCH_SIZE - 1] } else { u32::MAX };
        for &byte in bytes {
            let hash = gear.roll(byte);
            if is_sample(hash) {
                let value = (mix(hash) >> 32) as u32;
                if value < most {
                    self.insert(value);
                    most =
                        if self.least.len() == SKETCH_SIZE { self.least[SKETCH_SIZE - 1] } else { u32::MAX };
                }
            }
        }
        self.gear = gear;
    }

    pub(crate) fn finish(self) -> Sketch {
        Sketch(self.least)
    }

    fn insert(&mut self, value: u32) {
        if let Err(place) = self.least.binary_search(&value) {
            self.least.insert(place, value);
            self.least.truncate(SKETCH_SIZE);
        }
    }
}

impl Sketch {
    pub(crate) fn values(&self) -> &[u32] {
        &self.0
    }

    /// Values that two sketches share: 0 to [`SKETCH_SIZE`].
    pub(crate) fn shared(&self, other: &Self) -> usize {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut shared = 0;
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => drop(left.next()),
                std::cmp::Ordering::Greater => drop(right.next()),
                std::cmp::Ordering::Equal => {
                    shared += 1;
                    left.next();
                    right.next();
                }
            }
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(bytes: &[u8]) -> Sketch {
        let mut sketcher = Sketcher::default();
        bytes.chunks(1000).for_each(|chunk| sketcher.update(chunk));
        sketcher.finish()
    }

    fn noise(size: usize, seed: u64) -> Vec<u8> {
        (0..size as u64).map(|index| mix(seed << 32 | index).to_be_bytes()[0]).collect()
    }

    #[test]
    fn likeness_follows_content_and_not_place() {
        let content = noise(100_000, 1);
        let mut changed = content.clone();
        (0..changed.len()).step_by(200).for_each(|position| changed[position] ^= 1);
        let moved = [&content[60_000..], &content[..60_000]].concat();
        assert_eq!(sketch(&content).shared(&sketch(&content)), SKETCH_SIZE);
        assert!(sketch(&content).shared(&sketch(&moved)) >= SKETCH_SIZE - 1);
        assert!(sketch(&content).shared(&sketch(&changed)) >= SKETCH_SIZE / 2);
        assert_eq!(sketch(&content).shared(&sketch(&noise(100_000, 2))), 0);
        let samples = sorted_samples(&content);
        assert_eq!(shared_samples(&samples, &sorted_samples(&noise(100_000, 2))), 0);
        let of_changed = sorted_samples(&changed);
        let shared = shared_samples(&samples, &of_changed);
        assert!(shared > of_changed.len() / 2, "{shared} of {}", of_changed.len());
    }

    #[test]
    fn pieces_do_not_matter() {
        let content = noise(5_000, 3);
        let mut whole = Sketcher::default();
        whole.update(&content);
        assert_eq!(whole.finish(), sketch(&content));
    }
}
