//! The progress of a diff, told in bytes of the new tar.
//!
//! The stages of a diff take very different times for each byte, and how much of each there is to do turns
//! out on the way. So each stage, when it starts, gets a share of the bytes that are left: that of the time it is
//! expected to take in what is expected of it and all stages after it. What is told only rises, and
//! reaches the whole at the end alone.

use std::sync::{Mutex, PoisonError};

/// Time for a byte of a file that is hashed or sketched, in about nanoseconds, as all costs here.
pub(crate) const FINGERPRINT_COST: u64 = 1;
/// Time for a byte of the new tar in all stages after that.
pub(crate) const LATER_COST: u64 = 50;
/// Time for a byte of a source or a target that are matched.
pub(crate) const MATCH_COST: u64 = 20;
/// Time for a byte of the new tar when the delta is written.
pub(crate) const WRITE_COST: u64 = 2;
/// Of the bytes that a target has in common with its source, so many times fewer are in the op stream.
pub(crate) const COMMON_IN_STREAM: u64 = 4;

/// Time for a byte of the op stream that is compressed.
pub(crate) const fn compression_cost(level: i32) -> u64 {
    match level {
        ..=6 => 10,
        7..=9 => 25,
        10..=15 => 80,
        16..=19 => 350,
        _ => 500,
    }
}

/// Turns the costs that stages have done to bytes of the new tar.
pub(crate) struct Meter<'p> {
    progress: &'p (dyn Fn(u64) + Sync),
    total: u64,
    state: Mutex<State>,
}

/// The stage that is going on.
#[derive(Debug, Default)]
struct State {
    /// Bytes that were told.
    told: u64,
    /// Bytes that are told when the stage begins, and when it ends.
    from: u64,
    to: u64,
    cost: u64,
    done: u64,
}

impl<'p> Meter<'p> {
    /// `progress` is told of `total` bytes in all.
    pub(crate) fn new(total: u64, progress: &'p (dyn Fn(u64) + Sync)) -> Self {
        Self { progress, total, state: Mutex::default() }
    }

    /// Starts a stage that costs `cost`, before others that cost `later`.
    pub(crate) fn start(&self, cost: u64, later: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, left) = (state.told, self.total - state.told);
        let share = u128::from(left) * u128::from(cost) / u128::from((cost + later).max(1));
        let to = from + u64::try_from(share).unwrap_or(left).min(left);
        *state = State { told: from, from, to, cost: cost.max(1), done: 0 };
    }

    /// The stage did `cost` more.
    pub(crate) fn advance(&self, cost: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What was expected may be too little: then the stage waits at its end.
        state.done = (state.done + cost).min(state.cost);
        let span = u128::from(state.to - state.from) * u128::from(state.done) / u128::from(state.cost);
        let reached = state.from + u64::try_from(span).unwrap_or(0);
        self.tell(&mut state, reached);
    }

    /// All is done.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(&mut state, self.total);
    }

    fn tell(&self, state: &mut State, reached: u64) {
        if let Some(more) = reached.checked_sub(state.told).filter(|more| *more > 0) {
            state.told = reached;
            (self.progress)(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn stages_share_the_bar_by_their_costs() {
        let told = AtomicU64::new(0);
        let progress = |bytes| {
            told.fetch_add(bytes, Ordering::Relaxed);
        };
        let meter = Meter::new(1000, &progress);
        let reached = || told.load(Ordering::Relaxed);
        meter.start(100, 900);
        meter.advance(50);
        assert_eq!(reached(), 50);
        meter.advance(70);
        assert_eq!(reached(), 100, "more than expected does not reach into the next stage");
        // Less is left to do than was expected.
        meter.start(100, 200);
        meter.advance(100);
        assert_eq!(reached(), 400);
        meter.start(0, 10);
        meter.advance(5);
        assert_eq!(reached(), 400);
        meter.start(10, 0);
        meter.advance(9);
        assert_eq!(reached(), 940);
        meter.finish();
        assert_eq!(reached(), 1000);
    }

    #[test]
    fn an_empty_tar_tells_nothing() {
        let meter = Meter::new(0, &|bytes| panic!("{bytes}"));
        meter.start(0, 0);
        meter.advance(10);
        meter.finish();
    }
}
