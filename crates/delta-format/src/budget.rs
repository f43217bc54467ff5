//! The bound of the work that applying a delta may take, whatever the delta asks for.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::work::{
    ASK_SHIFT, ENCODING_AHEAD, ENCODING_AHEAD_OF_STREAM, ENCODING_RATIO, READING_AHEAD, READING_RATIO, Work,
};

/// The reason why an apply must end before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exhausted {
    /// The work is more than the budget has.
    #[error("it takes more {what} than a layer of the accepted size does, which is {max} units")]
    Work {
        /// The kind of work: `reading` or `encoding`.
        what: &'static str,
        /// The size of the whole budget, in units.
        max: u64,
    },
    /// The work is too far ahead of the bytes that it makes: nobody needs so much to make so little.
    #[error("it takes more {what} than the bytes need that it makes, which is {max} units so far")]
    Ahead {
        /// The kind of work: `reading` or `encoding`.
        what: &'static str,
        /// The units that were granted so far.
        max: u64,
    },
    /// The caller's own condition of [`Budget::stopping_if`] holds.
    #[error("it was told to stop")]
    Stopped,
}

impl Exhausted {
    /// The answer of a budget that a reader or a writer failed with, which is turned into an
    /// [`io::Error`] on the way.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Exhausted> for io::Error {
    fn from(exhausted: Exhausted) -> Self {
        Self::other(exhausted)
    }
}

/// Work that may be done, shared by all that does it.
///
/// Every byte that is read, decoded or encoded, and everything that is opened, listed or set up is charged
/// to one budget *before* it is done, or piece by piece while it is done. One budget may serve several
/// applies, on several threads, such as all tries to rebuild one layer.
///
/// ```
/// use std::time::{Duration, Instant};
/// use delta_format::{Budget, Exhausted, Work};
///
/// let deadline = Instant::now() + Duration::from_secs(60);
/// let budget = Budget::new(Work::of_layer(10 << 20)).stopping_if(move || Instant::now() > deadline);
/// assert_eq!(budget.charge(Work::reading(1 << 20)), Ok(()));
/// let over = budget.charge(Work::reading(u64::MAX));
/// assert!(matches!(over, Err(Exhausted::Work { what: "reading", .. })));
/// ```
pub struct Budget {
    max: Work,
    /// The work that may be ahead of what it makes.
    ahead: Work,
    /// Bytes that were emitted.
    emitted: AtomicU64,
    /// Encoding that was spent ahead of the streams that are finished.
    overdrawn: AtomicU64,
    reading: AtomicU64,
    /// The part of it that an ordinary delta does not take.
    spare: AtomicU64,
    encoding: AtomicU64,
    stops: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Budget {
    /// A budget of `max`.
    pub const fn new(max: Work) -> Self {
        Self {
            max,
            ahead: Work { reading: u64::MAX, encoding: u64::MAX },
            emitted: AtomicU64::new(0),
            overdrawn: AtomicU64::new(0),
            reading: AtomicU64::new(0),
            spare: AtomicU64::new(0),
            encoding: AtomicU64::new(0),
            stops: None,
        }
    }

    /// The budget for a layer of at most `size` bytes: [`Work::of_layer`], of which no more is granted at any
    /// time than fits what was made by then. So a delta that makes little costs little, also where the size
    /// of the layer is not known.
    pub fn of_layer(size: u64) -> Self {
        let ahead = Work { reading: READING_AHEAD, encoding: ENCODING_AHEAD };
        Self { ahead, ..Self::new(Work::of_layer(size)) }
    }

    /// A budget without end, for deltas that are trusted.
    pub const fn unlimited() -> Self {
        Self::new(Work { reading: u64::MAX, encoding: u64::MAX })
    }

    /// Ends the work as soon as `stops` gives true. It is asked about every millisecond of work, from any
    /// thread: a deadline, or a flag that cancels.
    #[must_use]
    pub fn stopping_if(self, stops: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stops: Some(Box::new(stops)), ..self }
    }

    /// Takes `work` out of the budget.
    ///
    /// # Errors
    /// [`Exhausted`]. What was charged stays charged: every later charge fails alike.
    pub fn charge(&self, work: Work) -> Result<(), Exhausted> {
        self.spend(&self.reading, work.reading, "reading", self.max.reading)?;
        if work.reading > 0 && self.ahead.reading < u64::MAX {
            let emitted = self.emitted.load(Ordering::Relaxed);
            let max = emitted.saturating_mul(READING_RATIO).saturating_add(self.ahead.reading);
            if self.reading.load(Ordering::Relaxed) > max {
                return Err(Exhausted::Ahead { what: "reading", max });
            }
        }
        self.spend(&self.encoding, work.encoding, "encoding", self.max.encoding)
    }

    /// Starts to count the encoding of a stream.
    pub const fn stream(&self) -> StreamWork<'_> {
        StreamWork { budget: self, spent: Cell::new(0), made: Cell::new(0) }
    }

    /// Counts the overdraft of a stream that is whole.
    ///
    /// # Errors
    /// [`Exhausted::Ahead`].
    pub fn settle(&self, overdraft: u64) -> Result<(), Exhausted> {
        let before = self.overdrawn.fetch_add(overdraft, Ordering::Relaxed);
        let max = self.ahead.encoding;
        if before.saturating_add(overdraft) > max {
            return Err(Exhausted::Ahead { what: "encoding", max });
        }
        Ok(())
    }

    /// Counts bytes that were emitted.
    pub(crate) fn emit(&self, size: u64) {
        self.emitted.fetch_add(size, Ordering::Relaxed);
    }

    /// Counts reading that was charged for what an ordinary delta does not hold.
    pub(crate) fn spare(&self, units: u64) {
        self.spare.fetch_add(units, Ordering::Relaxed);
    }

    /// Returns the work that ordinary deltas took so far: what was charged, without what is charged for the worst that
    /// a delta may hold. It tells how long an apply takes.
    pub fn usual(&self) -> Work {
        let spent = self.spent();
        Work { reading: spent.reading.saturating_sub(self.spare.load(Ordering::Relaxed)), ..spent }
    }

    /// Returns the work that was charged so far.
    pub fn spent(&self) -> Work {
        Work {
            reading: self.reading.load(Ordering::Relaxed),
            encoding: self.encoding.load(Ordering::Relaxed),
        }
    }

    fn spend(&self, spent: &AtomicU64, units: u64, what: &'static str, max: u64) -> Result<(), Exhausted> {
        if units == 0 {
            return Ok(());
        }
        let add = |spent: u64| Some(spent.saturating_add(units));
        let before =
            spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or_else(|spent| spent);
        let after = before.saturating_add(units);
        if after > max {
            return Err(Exhausted::Work { what, max });
        }
        let asks = before >> ASK_SHIFT != after >> ASK_SHIFT;
        match &self.stops {
            Some(stops) if asks && stops() => Err(Exhausted::Stopped),
            _ => Ok(()),
        }
    }
}

/// The encoding of one stream, and the bytes that it made.
///
/// The work that a delta may do does not depend on the number of streams that are encoded at the same time: each has
/// a limit of its own, and the work over its grant is settled in the order of the streams.
#[derive(Debug)]
pub struct StreamWork<'b> {
    budget: &'b Budget,
    spent: Cell<u64>,
    made: Cell<u64>,
}

impl StreamWork<'_> {
    /// Takes units of encoding out of the budget.
    ///
    /// # Errors
    /// As [`Budget::charge`]; [`Exhausted::Ahead`] where the stream has so few bytes that it needs less.
    pub fn charge(&self, units: u64) -> Result<(), Exhausted> {
        self.budget.charge(Work::encoding(units))?;
        self.spent.set(self.spent.get().saturating_add(units));
        let ahead = self.budget.ahead.encoding.min(ENCODING_AHEAD_OF_STREAM);
        if self.budget.ahead.encoding < u64::MAX && self.overdraft() > ahead {
            return Err(Exhausted::Ahead { what: "encoding", max: self.granted().saturating_add(ahead) });
        }
        Ok(())
    }

    /// Counts bytes of the stream that are made.
    pub fn make(&self, size: u64) {
        self.made.set(self.made.get().saturating_add(size));
    }

    /// Ends the count of a stream that is whole, and gives the units that it took over what its bytes are
    /// granted: they are to be [settled](Budget::settle).
    pub fn overdraft(&self) -> u64 {
        self.spent.get().saturating_sub(self.granted())
    }

    fn granted(&self) -> u64 {
        self.made.get().saturating_mul(ENCODING_RATIO)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Budget")
            .field("max", &self.max)
            .field("spent", &self.spent())
            .finish_non_exhaustive()
    }
}

/// The work of a delta's own ops, in units of [`Work::reading`].
pub(crate) mod cost {
    /// An op: to read its head and to carry it out, without its bytes.
    pub(crate) const OP: u64 = 32;
    /// To look a file up and open it: five system calls.
    pub(crate) const OPEN: u64 = 8 << 10;
    /// A byte of a path: a directory on the way takes two of them at least.
    pub(crate) const PATH_BYTE: u64 = 128;
    /// To read from a source: a system call.
    pub(crate) const READ: u64 = 1 << 10;
    /// A run of differences, or a buffer full of them: to read its sizes and to add it up.
    pub(crate) const RUN: u64 = 32;
    /// To set the decoder of a zstd_dict frame up.
    pub(crate) const FRAME: u64 = 64 << 10;
    /// A byte of the payload of a zstd_dict op: blocks of no bytes take three each.
    pub(crate) const FRAME_BYTE: u64 = 8;
    /// To set up what a relocated op needs.
    pub(crate) const RELOCATED: u64 = 8 << 10;
    /// A byte of the payload of a relocated op: a block takes three.
    pub(crate) const RELOCATED_PAYLOAD: u64 = 8;
    /// To make the header of an entry.
    pub(crate) const HEADER: u64 = 1 << 10;
    /// A byte of a list of headers.
    pub(crate) const HEADERS_BYTE: u64 = 4;
}

/// Charges the reading of one apply. The budget is asked after some work, not for each op.
pub(crate) struct Meter<'b> {
    budget: &'b Budget,
    pending: u64,
}

/// Units that are charged at once.
const STEP: u64 = 1 << 16;

impl<'b> Meter<'b> {
    pub(crate) const fn new(budget: &'b Budget) -> Self {
        Self { budget, pending: 0 }
    }

    pub(crate) fn charge(&mut self, units: u64) -> Result<(), Exhausted> {
        self.pending = self.pending.saturating_add(units);
        if self.pending < STEP {
            return Ok(());
        }
        self.budget.charge(Work::reading(std::mem::take(&mut self.pending)))
    }

    /// Charges bytes that are emitted, one unit each.
    pub(crate) fn emit(&mut self, size: u64) -> Result<(), Exhausted> {
        self.budget.emit(size);
        self.charge(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{MIN_ENCODING, MIN_READING};

    #[test]
    fn the_last_unit_is_within_the_budget_and_the_next_is_not() {
        let budget = Budget::new(Work { reading: 10, encoding: 5 });
        assert_eq!(budget.charge(Work { reading: 10, encoding: 4 }), Ok(()));
        assert_eq!(budget.charge(Work::encoding(1)), Ok(()));
        assert_eq!(budget.spent(), Work { reading: 10, encoding: 5 });
        assert_eq!(budget.charge(Work::encoding(1)), Err(Exhausted::Work { what: "encoding", max: 5 }));
        for units in [1, u64::MAX, u64::MAX] {
            let over = budget.charge(Work::reading(units));
            assert_eq!(over, Err(Exhausted::Work { what: "reading", max: 10 }), "{units}");
        }
    }

    #[test]
    fn a_meter_charges_all_of_it_in_the_end() {
        let budget = Budget::new(Work::reading(10 * STEP));
        let mut meter = Meter::new(&budget);
        let mut charged = 0;
        while meter.charge(1000).is_ok() {
            charged += 1000;
        }
        assert!((10 * STEP - 1000..11 * STEP).contains(&charged), "{charged}");
    }

    #[test]
    fn a_budget_stops_when_it_is_told_to() {
        let budget = Budget::unlimited().stopping_if(|| true);
        assert_eq!(budget.charge(Work::reading(1)), Ok(()), "too little to ask after");
        assert_eq!(budget.charge(Work::encoding(1 << 21)), Err(Exhausted::Stopped));
    }

    #[test]
    fn reading_may_be_ahead_of_what_is_emitted_and_not_far() {
        let budget = Budget::of_layer(u64::MAX);
        assert_eq!(budget.charge(Work::reading(READING_AHEAD)), Ok(()));
        budget.emit(1000);
        assert_eq!(budget.charge(Work::reading(1000 * READING_RATIO)), Ok(()));
        let over = budget.charge(Work::reading(1));
        assert!(matches!(over, Err(Exhausted::Ahead { what: "reading", .. })), "{over:?}");
    }

    #[test]
    fn encoding_may_be_ahead_of_its_streams_and_not_far() {
        let budget = Budget::of_layer(u64::MAX);
        let stream = budget.stream();
        assert_eq!(stream.charge(ENCODING_AHEAD_OF_STREAM), Ok(()));
        stream.make(1000);
        assert_eq!(stream.charge(1000 * ENCODING_RATIO), Ok(()));
        let over = stream.charge(1);
        assert!(matches!(over, Err(Exhausted::Ahead { what: "encoding", .. })), "{over:?}");
        stream.make(1 << 40);
        assert_eq!(stream.overdraft(), 0);
        assert_eq!(budget.settle(ENCODING_AHEAD_OF_STREAM), Ok(()));
        assert_eq!(budget.settle(ENCODING_AHEAD_OF_STREAM), Ok(()));
        assert!(matches!(budget.settle(1), Err(Exhausted::Ahead { .. })), "of all streams together");
    }

    #[test]
    fn a_budget_of_work_alone_does_not_look_at_what_is_made() {
        let budget = Budget::unlimited();
        assert_eq!(budget.charge(Work::reading(1 << 60)), Ok(()));
        assert_eq!(budget.stream().charge(1 << 60), Ok(()));
        assert_eq!(budget.settle(1 << 60), Ok(()));
    }

    #[test]
    fn a_budget_grows_with_the_layer() {
        assert_eq!(Work::of_layer(0), Work { reading: MIN_READING, encoding: MIN_ENCODING });
        assert_eq!(Work::of_layer(1 << 30).reading, READING_RATIO << 30);
        assert_eq!(Work::of_layer(u64::MAX), Work { reading: u64::MAX, encoding: u64::MAX });
    }
}
