//! The budget for the deltas of one layer. A delta is there to save something: one that costs more than the
//! layer's own blob would is given up for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::image::ImageLayer;

/// Deltas of a layer that may fail before its blob is fetched: one that is broken happens, three are meant.
pub(super) const MAX_FAILURES: usize = 3;
/// The time that all deltas of a layer may take, in multiples of the time for its blob.
const TIMES: f64 = 4.0;
/// The time that they may take in any case: the layer that is written is larger than the blob that is fetched.
const MIN_TIME: Duration = Duration::from_secs(60);
/// Bytes a second that the line is taken to have until it is known.
pub(crate) const USUAL_LINE: u64 = 1 << 20;
/// The size that a layer rebuilt from a delta may have, in multiples of its blob. Programs compress to a third or
/// a fifth; a layer that is mostly zeros compresses better, and then its blob costs little.
const MAX_RATIO: u64 = 64;
/// Bytes that it may have in any case.
const MIN_OUTPUT: u64 = 16 << 20;

/// The bytes and the time that are left for the deltas of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Most bytes that a delta may write.
    pub(super) max_output: u64,
    /// The time by which it has to be done; `None` if it may take any.
    end: Option<Instant>,
}

/// The bytes and the work that are left for one way to make a layer, whether it takes one delta or several.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    /// Most bytes that may still be written.
    pub(super) max_output: u64,
    /// The work that may be done.
    pub(super) work: Arc<delta_format::Budget>,
}

impl Allowance {
    /// Takes bytes that were written out of it.
    pub(super) const fn write(&mut self, bytes: u64) {
        self.max_output = self.max_output.saturating_sub(bytes);
    }
}

impl Budget {
    /// For a layer whose blob would come over a line of so many bytes a second. No layer may be larger than
    /// `max_layer_size`.
    pub(crate) fn new(layer: &ImageLayer, line: Option<u64>, max_layer_size: u64) -> Self {
        let plain = layer.blob.size() as f64 / line.unwrap_or(USUAL_LINE).max(1) as f64;
        // No blob is worth a wait of days.
        let time = Duration::from_secs_f64((plain * TIMES).min(86_400.0)).max(MIN_TIME);
        Self { max_output: max_output(layer).min(max_layer_size), end: Some(Instant::now() + time) }
    }

    /// The same, over after so long at the latest.
    pub(crate) fn within(self, longest: Duration) -> Self {
        let end = Instant::now() + longest;
        Self { end: Some(self.end.map_or(end, |other| other.min(end))), ..self }
    }

    /// The budget of somebody who checks a delta: it may write so many bytes, and take the work that a layer of
    /// this size is worth.
    pub(crate) const fn of_size(max_output: u64) -> Self {
        Self { max_output, end: None }
    }

    /// True if there is time for another delta.
    pub(super) fn has_time(self) -> bool {
        self.end.is_none_or(|end| Instant::now() < end)
    }

    /// Returns the bytes that may be written and the work that may be done to make the layer, which ends with the time.
    pub(crate) fn allowance(self) -> Allowance {
        let work = delta_format::Budget::of_layer(self.max_output).stopping_if(move || !self.has_time());
        Allowance { max_output: self.max_output, work: Arc::new(work) }
    }

    /// The time that is left.
    pub(crate) fn time_left(self) -> Duration {
        self.end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }
}

/// Most bytes that a delta of this layer may write.
fn max_output(layer: &ImageLayer) -> u64 {
    match layer.is_plain_tar() {
        true => layer.blob.size(),
        false => layer.blob.size().saturating_mul(MAX_RATIO).max(MIN_OUTPUT),
    }
}

#[cfg(test)]
mod tests {
    use delta_format::{Exhausted, Work};
    use layer::{BlobDigest, DiffId, Digest};

    use super::*;
    use crate::oci::descriptor;

    fn layer(size: u64, is_plain: bool) -> ImageLayer {
        let (digest, tar) = (Digest::of(b"blob"), Digest::of(if is_plain { b"blob" } else { b"tar." }));
        ImageLayer { blob: descriptor("x", digest, size), digest: BlobDigest(digest), diff_id: DiffId(tar) }
    }

    #[test]
    fn the_output_is_bounded_by_the_blob() {
        let max = |size, is_plain| Budget::new(&layer(size, is_plain), None, 64 << 30).max_output;
        assert_eq!(max(3 << 20, false), 192 << 20);
        assert_eq!(max(1000, false), MIN_OUTPUT);
        assert_eq!(max(1000, true), 1000);
        assert_eq!(max(u64::MAX, false), 64 << 30);
    }

    #[test]
    fn the_time_is_bounded_by_the_line() {
        let time = |size, line| Budget::new(&layer(size, false), line, 1).time_left().as_secs_f64().round();
        assert_eq!(time(3 << 20, None), 60.0);
        assert_eq!(time(100 << 20, Some(1 << 20)), 400.0);
        assert_eq!(time(100 << 20, Some(100 << 20)), 60.0);
        assert_eq!(time(u64::MAX, Some(0)), 86_400.0);
    }

    #[test]
    fn what_is_late_does_no_more_work() {
        let budget = Budget { max_output: 1, end: Some(Instant::now()) };
        assert!(!budget.has_time());
        let some = Work { reading: 1 << 21, encoding: 1 << 21 };
        assert_eq!(budget.allowance().work.charge(some), Err(Exhausted::Stopped));
        let later = Budget { end: Some(Instant::now() + Duration::from_secs(3600)), ..budget };
        assert_eq!(later.allowance().work.charge(some), Ok(()));
        let over = later.allowance().work.charge(Work::reading(u64::MAX));
        assert!(matches!(over, Err(Exhausted::Work { .. })), "{over:?}");
    }
}
