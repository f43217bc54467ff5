//! The lowest rates at which a registry may send.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::RegistryError;

/// Bytes a second that an answer has at least on average, whatever its size, once it takes longer than the
/// patience for it. A modem had five times as many.
const MIN_RATE: u64 = 1 << 10;
/// The rate that large blobs have at least, where nothing is known of the line: 2G networks have as much.
const MIN_RATE_OF_LARGE: u64 = 32 << 10;
/// The longest time that a blob takes at its lowest rate, unless [`MIN_RATE_OF_LARGE`] is less.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// Bytes a second of a document: a manifest, a page of a list, a token.
const MIN_RATE_OF_DOCUMENTS: u64 = 16 << 10;
/// The part of the line that a download has at least.
const SHARE_OF_LINE: u64 = 32;
/// The highest such rate: a cache may have had the blob that told how fast the line is, and lack the others.
const MAX_RATE_BY_LINE: u64 = 256 << 10;
/// Bytes of a download that says how fast the line is.
const MEASURED_SIZE: u64 = 256 << 10;

/// The weight of a download that was slower than those before it.
const WEIGHT: f64 = 0.3;

/// The rate at which a registry sends, by its last downloads: those that run at the same time share it.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<LineState>);

#[derive(Debug, Default)]
struct LineState {
    /// Bytes a second; `None` before the first download that says something.
    rate: Option<f64>,
    /// Number of the downloads that run.
    running: u32,
}

/// A download that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    line: Arc<Line>,
    /// The number of downloads that ran when it began.
    beside: u32,
}

impl Line {
    /// Begins a download.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        let mut state = self.state();
        state.running += 1;
        Running { line: Arc::clone(self), beside: state.running }
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes a second, if a download has said it.
    pub(super) fn rate(&self) -> Option<u64> {
        // A rate is positive, and far from the largest number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and small")]
        self.state().rate.map(|rate| rate as u64).filter(|rate| *rate > 0)
    }
}

impl Running {
    /// Notes that so many bytes came in so long. A faster download than those before says at once how fast the line
    /// is; a slower one may have another reason, so that it takes several to say that the line is another one.
    pub(super) fn measure(&self, size: u64, time: Duration) {
        if size < MEASURED_SIZE {
            return;
        }
        let mut state = self.line.state();
        let sharing = f64::from(self.beside + state.running) / 2.0;
        let seen = size as f64 / time.as_secs_f64().max(0.001) * sharing.max(1.0);
        state.rate = Some(state.rate.map_or(seen, |rate| seen.max(rate + WEIGHT * (seen - rate))));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.line.state().running -= 1;
    }
}

/// The rate that an answer must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor {
    began: Instant,
    patience: Duration,
    rate: u64,
}

impl Floor {
    /// For a blob of `size` bytes, of which the first is expected from now on.
    pub(super) fn of_blob(size: u64, line: &Line, patience: Duration) -> Self {
        let by_size = (size / LONGEST.as_secs()).clamp(MIN_RATE, MIN_RATE_OF_LARGE);
        let by_line = line.rate().map_or(0, |rate| (rate / SHARE_OF_LINE).min(MAX_RATE_BY_LINE));
        Self { began: Instant::now(), patience, rate: by_size.max(by_line) }
    }

    /// For a document.
    pub(super) fn of_document(patience: Duration) -> Self {
        Self { began: Instant::now(), patience, rate: MIN_RATE_OF_DOCUMENTS }
    }

    /// Leaves out time in which nothing was asked for.
    pub(super) fn forgive(&mut self, time: Duration) {
        self.began += time;
    }

    /// Gives up on a registry that sends so little, or breaks off so often, that what it has sent
    /// would take for ever.
    pub(super) fn check(&self, size: u64, action: &str) -> Result<(), RegistryError> {
        let late = self.began.elapsed().saturating_sub(self.patience);
        if late.as_secs_f64() * self.rate as f64 > size as f64 {
            let reason = format!("it sends less than {} bytes a second", self.rate);
            return Err(RegistryError::protocol(action, reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_grows_with_the_size_and_the_line() {
        let line = Arc::<Line>::default();
        let measure = |size, time| line.begin().measure(size, time);
        let rate = |size| Floor::of_blob(size, &line, Duration::ZERO).rate;
        assert_eq!(rate(0), MIN_RATE);
        // At the floor it takes four hours, not 28.
        assert_eq!(rate(100_000_000), 6944);
        assert_eq!(rate(u64::MAX), MIN_RATE_OF_LARGE);
        measure(1 << 20, Duration::from_secs(1));
        assert_eq!(rate(100_000_000), 32 << 10);
        measure(1 << 30, Duration::from_secs(1));
        assert_eq!(rate(1), MAX_RATE_BY_LINE);
    }

    #[test]
    fn the_line_is_what_downloads_share_and_may_become_slower() {
        let line = Arc::<Line>::default();
        line.begin().measure(MEASURED_SIZE - 1, Duration::from_millis(1));
        assert_eq!(line.rate(), None, "too little says nothing");
        let second = Duration::from_secs(1);
        {
            let running = [(); 4].map(|()| line.begin());
            running[3].measure(1 << 20, second);
        }
        assert_eq!(line.rate(), Some(4 << 20));
        line.begin().measure(1 << 20, second);
        assert_eq!(line.rate(), Some(3_250_585), "one slow download is not the line");
        for _ in 0..20 {
            line.begin().measure(1 << 20, second);
        }
        let slow = line.rate().unwrap();
        assert!(slow < (1 << 20) * 11 / 10, "{slow}");
        line.begin().measure(8 << 20, second);
        assert_eq!(line.rate(), Some(8 << 20));
    }

    #[test]
    fn what_is_too_slow_is_given_up_after_the_patience() {
        let floor = |patience| Floor { patience, ..Floor::of_document(Duration::ZERO) };
        assert!(floor(Duration::from_secs(3600)).check(0, "x").is_ok());
        let late = Floor { began: Instant::now() - Duration::from_secs(10), ..floor(Duration::from_secs(1)) };
        let error = late.check(9 * MIN_RATE_OF_DOCUMENTS - 1, "x").unwrap_err();
        assert!(error.to_string().contains("less than 16384 bytes a second"), "{error}");
        assert!(late.check(10 * MIN_RATE_OF_DOCUMENTS, "x").is_ok());
    }
}
