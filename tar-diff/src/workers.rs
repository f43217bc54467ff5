//! Runs one function over many items on several threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

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

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    #[test]
    fn results_come_by_index() {
        let squares: Result<Vec<usize>, ()> = map(THREE, 100, |index| Ok(index * index));
        assert_eq!(squares.unwrap(), (0..100).map(|index| index * index).collect::<Vec<_>>());
        let none: Result<Vec<usize>, ()> = map(THREE, 0, Ok);
        assert_eq!(none, Ok(Vec::new()));
    }

    #[test]
    fn the_first_error_is_given() {
        let result: Result<Vec<()>, usize> =
            map(THREE, 10, |index| if index == 4 { Err(index) } else { Ok(()) });
        assert_eq!(result.unwrap_err(), 4);
    }
}
