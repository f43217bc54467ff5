//! A limit of the rate at which blobs come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The bytes a second that several downloads may have together.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: u64,
    /// The time at which the bytes that came so far are within the rate.
    even: Mutex<Option<Instant>>,
}

impl Allowance {
    /// So many bytes a second.
    pub(crate) const fn new(rate: u64) -> Self {
        Self { rate, even: Mutex::new(None) }
    }

    /// Notes bytes that came now. Returns the time until which nothing more may come.
    fn take(&self, bytes: u64, now: Instant) -> Instant {
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let time = Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
        // Time in which nothing came is not made up for.
        let end = even.map_or(now, |even| even.max(now)) + time;
        *even = Some(end);
        end
    }
}

/// The limit of one download, until somebody waits for it.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// The rate, if there is a limit at all.
    allowance: Option<Arc<Allowance>>,
    /// True once somebody waits for it.
    is_released: watch::Sender<bool>,
    taken: AtomicU64,
}

impl Throttle {
    pub(crate) fn new(allowance: Option<Arc<Allowance>>) -> Self {
        Self { allowance, is_released: watch::Sender::new(false), taken: AtomicU64::new(0) }
    }

    /// Lets the download go on without a limit, at once.
    pub(crate) fn release(&self) {
        self.is_released.send_replace(true);
    }

    /// Bytes that came so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The limit in bytes a second.
    pub(super) fn rate(&self) -> Option<u64> {
        let allowance = self.allowance.as_ref().filter(|_| !*self.is_released.borrow());
        allowance.map(|allowance| allowance.rate)
    }

    /// Notes bytes that came. Returns the time at which they are within the limit, if there is one.
    pub(super) fn note(&self, bytes: u64) -> Option<Instant> {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        let allowance = self.allowance.as_ref().filter(|_| !*self.is_released.borrow())?;
        Some(allowance.take(bytes, Instant::now()))
    }

    /// Waits until a time that was told, or until the limit is gone. Returns how long that took. Nothing is lost if it
    /// is broken off.
    pub(super) async fn wait(&self, end: Instant) -> Duration {
        let (began, mut is_released) = (Instant::now(), self.is_released.subscribe());
        tokio::select! {
            () = tokio::time::sleep_until(end.into()) => {}
            _ = is_released.wait_for(|released| *released) => {}
        }
        began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_several_downloads_are_within_one_rate() {
        let (allowance, now) = (Allowance::new(1000), Instant::now());
        let after = |millis| now + Duration::from_millis(millis);
        assert_eq!(allowance.take(500, now), after(500));
        assert_eq!(allowance.take(500, now), after(1000));
        assert_eq!(allowance.take(100, after(400)), after(1100));
        assert_eq!(allowance.take(100, after(5000)), after(5100), "a pause is not made up for");
    }

    #[tokio::test]
    async fn a_download_that_somebody_waits_for_is_not_limited() {
        let throttle = Arc::new(Throttle::new(Some(Arc::new(Allowance::new(1)))));
        assert_eq!(throttle.rate(), Some(1));
        let waiting = Arc::clone(&throttle);
        // A day at one byte a second.
        let end = throttle.note(86_400).unwrap();
        let download = tokio::spawn(async move { waiting.wait(end).await });
        tokio::task::yield_now().await;
        throttle.release();
        download.await.unwrap();
        assert_eq!(throttle.note(86_400), None);
        assert_eq!((throttle.taken(), throttle.rate()), (172_800, None));
        assert_eq!(Throttle::new(None).note(u64::MAX), None);
    }
}
