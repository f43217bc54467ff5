//! The time that a layer takes by its delta, and by its blob.
//!
//! Whoever publishes a delta or a recipe writes down the work that it takes, in units of about a nanosecond of a core
//! (`registry-ext.work`). How long a unit takes on this host is learnt from the blobs that it makes.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use oci_spec::image::Descriptor;

use crate::artifact::{is_tardf3, work_of};
use crate::image::ImageLayer;

/// The resource that is saved first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prefer {
    /// Time: a layer that its registry sends sooner than it is made of its delta is fetched.
    #[default]
    Time,
    /// Bytes: every delta is used that saves some.
    Size,
}

/// Units for each byte of a blob that is made by its recipe, where the publisher wrote down none: what `gzip -6` takes.
const RECIPE_WORK: u64 = 130;
/// Units for each byte of a blob to apply its delta.
const DELTA_WORK: u64 = 10;
/// The same for a tardf3 whose publisher wrote down none: streams of xz in it take the most.
const TARDF3_WORK: u64 = 1000;
/// Units for each byte of a blob to compare its layer with the diff_id.
const CHECK_WORK: u64 = 10;
/// The weight of the last blob in the pace of the host.
const WEIGHT: f64 = 0.3;
/// Work of a blob that says something about the pace.
const MEASURED_WORK: u64 = 50_000_000;

/// The factor by which one blob may seem to take more or less time than the pace says.
const MAX_CHANGE: f64 = 4.0;
/// The fastest and the slowest host, in nanoseconds for a unit.
const MIN_PACE: f64 = 0.1;
const MAX_PACE: f64 = 100.0;
/// Bytes of the sample that is compressed to measure the pace.
const SAMPLE_SIZE: usize = 512 << 10;
/// Units for each byte of it.
const SAMPLE_WORK: f64 = 16.6;

/// Returns bytes that compress like text: words of a few letters, of which some are frequent.
fn sample() -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(6);
    let words: Vec<Vec<u8>> = (0..2000)
        .map(|_| (0..rng.usize(2..10)).map(|_| rng.u8(b'a'..=b'z')).chain([b' ']).collect())
        .collect();
    let mut sample = Vec::with_capacity(SAMPLE_SIZE + 10);
    while sample.len() < SAMPLE_SIZE {
        let bound = rng.usize(1..=words.len());
        sample.extend_from_slice(&words[rng.usize(..bound)]);
    }
    sample
}

/// The time that a unit of work takes on this host.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<f64>);

impl Pace {
    /// Measures the pace: a sample is compressed, which takes some 30 ms.
    pub(crate) fn measured() -> Self {
        let sample = sample();
        let began = Instant::now();
        let mut encoder = DeflateEncoder::new(std::io::sink(), Compression::new(6));
        // Nothing goes wrong with a sink.
        let _ = encoder.write_all(&sample).and_then(|()| encoder.try_finish());
        let units = sample.len() as f64 * SAMPLE_WORK;
        let pace = began.elapsed().as_secs_f64() * 1e9 / units;
        Self(Mutex::new(pace.clamp(MIN_PACE, MAX_PACE)))
    }

    /// Learns from work that took so long.
    pub(crate) fn learn(&self, units: u64, time: Duration) {
        if units >= MEASURED_WORK {
            let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let actual = time.as_secs_f64() * 1e9 / units as f64;
            // Units are a publisher's word, and a busy moment is not the pace of the host.
            let actual = actual.clamp(*pace / MAX_CHANGE, *pace * MAX_CHANGE).clamp(MIN_PACE, MAX_PACE);
            *pace += WEIGHT * (actual - *pace);
        }
    }

    /// The seconds that so much work takes.
    pub(crate) fn seconds(&self, units: u64) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) * units as f64 / 1e9
    }
}

/// The part in percent of the bytes of another way that one saves at least for which something is given: room in a
/// registry and work of hosts for tardf3 deltas, the digest of an image for another manifest.
const MIN_SAVING: u64 = 10;

/// Returns true if a way of `size` bytes saves enough against one of `other` bytes to give something for it.
pub(crate) const fn saves_enough(size: u64, other: u64) -> bool {
    size.saturating_mul(100) <= other.saturating_mul(100 - MIN_SAVING)
}

/// The bytes that an artifact with tardf3 deltas saves at least: its manifest has a few kilobytes, which
/// hosts fetch too.
const MIN_ARTIFACT_SAVING: u64 = 4096;

/// Returns true if deltas of `size` bytes save enough against others of `other` bytes to be published in an artifact of
/// their own.
pub(crate) const fn deserves_artifact(size: u64, other: u64) -> bool {
    saves_enough(size, other) && other - size >= MIN_ARTIFACT_SAVING
}

/// Returns the work in units of applying a delta that makes a layer.
pub(crate) fn delta_work(layer: &ImageLayer, delta: &Descriptor) -> u64 {
    let per_byte = if is_tardf3(delta) { TARDF3_WORK } else { DELTA_WORK };
    work_of(delta).unwrap_or(layer.blob.size().saturating_mul(per_byte))
}

/// Returns the work in units of unpacking the blob of a layer and comparing the layer with its diff_id.
pub(crate) fn check_work(layer: &ImageLayer) -> u64 {
    layer.blob.size().saturating_mul(CHECK_WORK)
}

/// A way to have a layer without its blob: one delta or several, and the recipe that makes the blob if that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'w> {
    /// The layer.
    pub(crate) layer: &'w ImageLayer,
    /// Bytes of the deltas.
    pub(crate) size: u64,
    /// The work of applying them, in units.
    pub(crate) delta_work: u64,
    /// The blob of the recipe.
    pub(crate) recipe: Option<&'w Descriptor>,
}

impl Way<'_> {
    /// The work that it takes, in units.
    pub(crate) fn work(self) -> u64 {
        let usual = self.layer.blob.size().saturating_mul(RECIPE_WORK);
        let recipe = self.recipe.map(|recipe| work_of(recipe).unwrap_or(usual));
        self.delta_work.saturating_add(recipe.unwrap_or_default())
    }

    /// Returns true if it fetches at least a tenth less than the blob has.
    pub(crate) fn saves_much(self) -> bool {
        saves_enough(self.size, self.layer.blob.size())
    }

    /// The seconds that it takes over a line of so many bytes a second.
    pub(crate) fn seconds(self, pace: &Pace, line: u64) -> f64 {
        let fetched = self.size.saturating_add(self.recipe.map_or(0, Descriptor::size));
        seconds_of(fetched, line) + pace.seconds(self.work())
    }
}

/// The host and the line that layers come over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'k> {
    /// The pace of the host.
    pub(crate) pace: &'k Pace,
    /// The rate of the line in bytes a second.
    pub(crate) line: u64,
    /// True if a blob that was fetched is unpacked to compare the layer with its diff_id. A mirror leaves
    /// that to clients, who do it with every blob.
    pub(crate) checks_blobs: bool,
}

/// Keeps the deltas by which a layer comes sooner than by its blob, the fastest first. `way` gives the way by a delta.
/// Returns the reason if there are deltas and none of them does.
pub(crate) fn keep_faster<'w, D>(
    layer: &ImageLayer,
    deltas: &mut VecDeque<D>,
    way: impl Fn(&D) -> Way<'w>,
    known: Known<'_>,
) -> Option<String> {
    let Known { pace, line, checks_blobs } = known;
    let seconds = |delta: &D| way(delta).seconds(pace, line);
    deltas.make_contiguous().sort_by(|one, other| seconds(one).total_cmp(&seconds(other)));
    let size = layer.blob.size();
    let check = if checks_blobs { pace.seconds(check_work(layer)) } else { 0.0 };
    let (made, fetched) = (seconds(deltas.front()?), seconds_of(size, line) + check);
    deltas.retain(|delta| seconds(delta) <= fetched);
    deltas.is_empty().then(|| {
        format!(
            "the registry sends it in about {fetched:.1} s, making it of its delta takes about {made:.1} s"
        )
    })
}

/// The seconds that bytes take over a line of so many bytes a second.
fn seconds_of(bytes: u64, line: u64) -> f64 {
    bytes as f64 / line.max(1) as f64
}

#[cfg(test)]
mod tests {
    use layer::{BlobDigest, DiffId, Digest};

    use super::*;
    use crate::artifact::with_work;
    use crate::oci::descriptor;

    /// A unit takes a nanosecond.
    fn nanosecond() -> Pace {
        Pace(Mutex::new(1.0))
    }

    fn way<'w>(layer: &'w ImageLayer, delta: &Descriptor, recipe: &'w Descriptor) -> Way<'w> {
        let (size, delta_work) = (delta.size(), delta_work(layer, delta));
        Way { layer, size, delta_work, recipe: Some(recipe) }
    }

    fn blob(size: u64, work: Option<u64>) -> Descriptor {
        let plain = descriptor("x", Digest::of(b"x"), size);
        work.map_or(plain.clone(), |work| with_work(plain, work))
    }

    #[test]
    fn work_and_line_decide() {
        let (pace, digest) = (nanosecond(), Digest::of(b"x"));
        let layer =
            ImageLayer { blob: blob(100_000_000, None), digest: BlobDigest(digest), diff_id: DiffId(digest) };
        let recipe = blob(1_000_000, Some(7_000_000_000));
        // 8 s of work, and 70 s of it with fewer bytes.
        let (quick, small) = (blob(1_000_000, Some(1_000_000_000)), blob(500_000, Some(63_000_000_000)));
        let kept = |line, checks_blobs| {
            let mut deltas = VecDeque::from([&small, &quick]);
            let known = Known { pace: &pace, line, checks_blobs };
            let way = |delta: &&Descriptor| way(&layer, delta, &recipe);
            let reason = keep_faster(&layer, &mut deltas, way, known);
            (deltas.into_iter().map(Descriptor::size).collect::<Vec<_>>(), reason)
        };
        assert_eq!(kept(1_000_000, false), (vec![1_000_000, 500_000], None), "the faster is the first");
        assert_eq!(kept(10_000_000, false), (vec![1_000_000], None));
        let (none, reason) = kept(100_000_000, false);
        assert_eq!(none, [0; 0]);
        assert_eq!(
            reason.unwrap(),
            "the registry sends it in about 1.0 s, making it of its delta takes about 8.0 s"
        );
        assert_eq!(kept(12_500_000, false).0, [0; 0]);
        assert_eq!(kept(12_500_000, true).0, [1_000_000], "to check the blob takes a second");
        let known = Known { pace: &pace, line: 1, checks_blobs: false };
        let way = |delta: &&Descriptor| way(&layer, delta, &recipe);
        let nothing = keep_faster(&layer, &mut VecDeque::new(), way, known);
        assert_eq!(nothing, None);
    }

    #[test]
    fn publishers_that_say_nothing_are_taken_for_usual() {
        let digest = Digest::of(b"x");
        let layer =
            ImageLayer { blob: blob(100_000_000, None), digest: BlobDigest(digest), diff_id: DiffId(digest) };
        let work = |delta: &Descriptor, recipe: &Descriptor| way(&layer, delta, recipe).work();
        assert_eq!(work(&blob(1, None), &blob(1, None)), 14_000_000_000);
        assert_eq!(work(&blob(1, Some(5)), &blob(1, None)), 13_000_000_005);
    }

    #[test]
    fn the_pace_is_measured() {
        let seconds = Pace::measured().seconds(1_000_000_000);
        assert!((0.1..=100.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn the_pace_of_the_host_is_learnt() {
        let pace = nanosecond();
        pace.learn(1, Duration::from_secs(100));
        assert!((pace.seconds(1_000_000_000) - 1.0).abs() < 1e-9, "too little says nothing");
        for _ in 0..50 {
            pace.learn(1_000_000_000, Duration::from_secs(3));
        }
        assert!((pace.seconds(1_000_000_000) - 3.0).abs() < 0.01);
    }
}
