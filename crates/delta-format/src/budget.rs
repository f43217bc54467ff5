//! The bound of the work that applying a delta may take, whatever the delta asks for.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Work of an apply, in units of about a nanosecond of one core.
///
/// The numbers do not depend on the machine: what is within a budget here is within it everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// To find, open, read and decode: all that is done with the delta and the sources.
    pub reading: u64,
    /// To set encoders up and to encode (tardf3).
    pub encoding: u64,
}

/// Units of reading for each byte of a layer: nothing but views takes more than 10, and where all of a
/// layer is compressed with xz, decoding its sources takes about 100.
const READING_RATIO: u64 = 256;
/// Units of reading for any layer: a second.
const MIN_READING: u64 = 1 << 30;
/// Units of encoding for each byte of a layer: one of kernel modules compressed with xz takes 3000.
const ENCODING_RATIO: u64 = 8192;
/// Units of encoding for any layer: eight seconds.
const MIN_ENCODING: u64 = 1 << 33;
/// Units after which a [`Budget`] asks whether to stop: a millisecond.
const ASK_SHIFT: u32 = 20;

impl Work {
    /// Work of reading alone.
    pub const fn reading(units: u64) -> Self {
        Self { reading: units, encoding: 0 }
    }

    /// Work of encoding alone.
    pub const fn encoding(units: u64) -> Self {
        Self { reading: 0, encoding: units }
    }

    /// The most that a good delta of a layer of `size` bytes takes, with room to spare.
    pub const fn of_layer(size: u64) -> Self {
        Self {
            reading: at_least(size, READING_RATIO, MIN_READING),
            encoding: at_least(size, ENCODING_RATIO, MIN_ENCODING),
        }
    }
}

impl Work {
    /// The encoding that one of `files` files of a layer may take, for a target of `size` bytes, so that all
    /// of them together stay far within what [`of_layer`](Self::of_layer) grants.
    pub const fn encoding_of_file(size: u64, files: u64) -> u64 {
        share(size, files, ENCODING_RATIO, MIN_ENCODING)
    }

    /// The reading that the source of one of `files` files of a layer may take to be decoded, in the same
    /// way.
    pub const fn reading_of_file(size: u64, files: u64) -> u64 {
        share(size, files, READING_RATIO, MIN_READING)
    }
}

/// Half of what a file has in the work of its layer: its own size's, and a part of what any layer has.
const fn share(size: u64, files: u64, ratio: u64, least: u64) -> u64 {
    let shared = least / if files == 0 { 1 } else { files };
    size.saturating_mul(ratio).saturating_add(shared) / 2
}

const fn at_least(size: u64, ratio: u64, least: u64) -> u64 {
    let work = size.saturating_mul(ratio);
    if work < least { least } else { work }
}

/// Why an apply must end before it is done.
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
    reading: AtomicU64,
    encoding: AtomicU64,
    stops: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Budget {
    /// A budget of `max`.
    pub const fn new(max: Work) -> Self {
        Self { max, reading: AtomicU64::new(0), encoding: AtomicU64::new(0), stops: None }
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
        self.spend(&self.encoding, work.encoding, "encoding", self.max.encoding)
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
    /// To set the decoder of a zstd_dict frame up.
    pub(crate) const FRAME: u64 = 64 << 10;
    /// A byte of the payload of a zstd_dict op: blocks of no bytes take three each.
    pub(crate) const FRAME_BYTE: u64 = 8;
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_budget_grows_with_the_layer() {
        assert_eq!(Work::of_layer(0), Work { reading: MIN_READING, encoding: MIN_ENCODING });
        assert_eq!(Work::of_layer(1 << 30).reading, READING_RATIO << 30);
        assert_eq!(Work::of_layer(u64::MAX), Work { reading: u64::MAX, encoding: u64::MAX });
    }
}
