//! Runs one function over many items on several threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Calls `work` with each index below `count`, in rising order of start, on at most `jobs` threads.
/// Gives the results by index, or the error of the lowest index that failed.
pub(crate) fn map<T: Send, E: Send>(
    jobs: NonZeroUsize,
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            let result = work(index);
            if result.is_err() {
                // The others stop at their next item.
                next.store(count, Ordering::Relaxed);
            }
            done.push((index, result));
        }
    };
    let mut results = std::thread::scope(|scope| {
        let others: Vec<_> = (1..jobs.get().min(count)).map(|_| scope.spawn(run)).collect();
        let mut results = run();
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Memory that is shared by jobs: each takes a part before it starts and gives it back at its end.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share<'b> {
    budget: &'b Budget,
    size: u64,
}

impl Budget {
    pub(crate) const fn new(total: u64) -> Self {
        Self { total, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until `size` bytes are free. A job that wants more than there is runs alone.
    pub(crate) fn take(&self, size: u64) -> Share<'_> {
        let size = size.min(self.total);
        let mut used = self.lock();
        while *used + size > self.total {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used += size;
        Share { budget: self, size }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.lock() -= self.size;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    #[test]
    fn results_come_by_index() {
        let squares: Result<Vec<usize>, ()> = map(THREE, 100, |index| Ok(index * index));
        assert_eq!(squares.unwrap(), (0..100).map(|index| index * index).collect::<Vec<_>>());
        let none: Result<Vec<usize>, ()> = map(THREE, 0, Ok);
        assert_eq!(none.unwrap(), []);
    }

    #[test]
    fn the_first_error_is_given() {
        let result: Result<Vec<()>, usize> =
            map(THREE, 10, |index| if index == 4 { Err(index) } else { Ok(()) });
        assert_eq!(result.unwrap_err(), 4);
    }

    #[test]
    fn a_budget_is_never_overdrawn() {
        let budget = Budget::new(10);
        let most = AtomicUsize::new(0);
        let taken = AtomicUsize::new(0);
        let done: Result<Vec<()>, ()> = map(THREE, 60, |index| {
            let size = index % 14;
            let _share = budget.take(size as u64);
            let now = taken.fetch_add(size.min(10), Ordering::SeqCst) + size.min(10);
            most.fetch_max(now, Ordering::SeqCst);
            taken.fetch_sub(size.min(10), Ordering::SeqCst);
            Ok(())
        });
        done.unwrap();
        assert!(most.load(Ordering::SeqCst) <= 10);
    }
}
