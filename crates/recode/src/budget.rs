//! The work and the memory that a search may still cost.
//!
//! Files that hold streams come from strangers, and a search tries things that fail: streams that break
//! after a gigabyte, headers inside headers, encoders that make the same first bytes. Whatever is tried
//! is charged, so that the cost of a search follows the size of the file and not the wishes of its author.

use std::cell::Cell;
use std::io;

/// The work and the memory that a search for streams and for their recipes may still take.
///
/// Work is counted in the units of [`Codec::decoding_work`](crate::Codec::decoding_work), about a nanosecond
/// of one core each.
#[derive(Debug, Clone)]
pub struct Budget {
    work: Cell<u64>,
    memory: u64,
}

/// Units for each byte of a file that holds streams. Real files take at most a quarter of it: liblzma
/// encodes the five plain bytes of an encoded one at 600 units each, more than once for a small file.
const WORK_PER_BYTE: u64 = 16 << 10;
/// Units for a file of any size: a second.
const WORK_PER_FILE: u64 = 1 << 30;

impl Budget {
    /// A budget of so many units of work and of encoders that take at most `memory` bytes.
    pub const fn new(work: u64, memory: u64) -> Self {
        Self { work: Cell::new(work), memory }
    }

    /// A budget for one file of `size` bytes, with encoders of any memory.
    pub const fn of_file(size: u64) -> Self {
        Self::of_share(size, 1)
    }

    /// A budget for files of `size` bytes in all, which are one of `shares` such groups: what is granted
    /// whatever the size is shared by all groups.
    pub const fn of_share(size: u64, shares: u64) -> Self {
        let shared = WORK_PER_FILE / if shares == 0 { 1 } else { shares };
        Self::new(size.saturating_mul(WORK_PER_BYTE).saturating_add(shared), u64::MAX)
    }

    /// The same work with encoders that take at most `memory` bytes.
    #[must_use]
    pub fn with_memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Units of work that are left.
    pub const fn work(&self) -> u64 {
        self.work.get()
    }

    /// Most bytes of memory that an encoder may take.
    pub const fn memory(&self) -> u64 {
        self.memory
    }

    /// Tells whether nothing is left.
    pub const fn is_spent(&self) -> bool {
        self.work() == 0
    }

    /// Takes so many units. If fewer are left, takes those and returns `false`.
    pub fn charge(&self, units: u64) -> bool {
        let left = self.work.get();
        self.work.set(left.saturating_sub(units));
        units <= left
    }

    /// Takes so many units, for the functions that take a [`Charge`](crate::Charge).
    pub(crate) fn take(&self, units: u64) -> io::Result<()> {
        if self.charge(units) { Ok(()) } else { Err(io::Error::other("the budget of work is spent")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_granted() {
        let budget = Budget::new(10, 5);
        assert!(budget.charge(4) && budget.charge(6));
        assert!(budget.is_spent() && !budget.charge(1) && budget.charge(0));
        let budget = Budget::new(10, 5);
        assert!(!budget.charge(11));
        assert!(budget.is_spent());
    }

    #[test]
    fn shares_add_up_to_the_budget_of_one_file() {
        let whole = Budget::of_file(1000).work();
        let shares: u64 = (0..10).map(|_| Budget::of_share(100, 10).work()).sum();
        assert!(shares <= whole && shares > whole - 10);
        assert_eq!(Budget::of_share(u64::MAX, 0).work(), u64::MAX);
    }
}
