//! Two things at once.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does two things side by side, or one after the other if the system has no thread for that.
pub(crate) fn side_by_side<T: Send, U>(
    first: impl FnOnce() -> T + Send,
    second: impl FnOnce() -> U,
) -> (T, U) {
    let first = Mutex::new(Some(first));
    let take = || first.lock().unwrap_or_else(PoisonError::into_inner).take();
    thread::scope(|scope| {
        let run = || take().map(|first| first());
        let started = thread::Builder::new().spawn_scoped(scope, run);
        let second = second();
        let of_thread = started.ok().and_then(|thread| match thread.join() {
            Ok(made) => made,
            Err(panic) => resume_unwind(panic),
        });
        let made = of_thread.or_else(run);
        (made.expect("what no thread has taken is done here"), second)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_once() {
        let (mut first, mut second) = (0, 0);
        let made = side_by_side(
            || {
                first += 1;
                "first"
            },
            || {
                second += 1;
                "second"
            },
        );
        assert_eq!((made, first, second), (("first", "second"), 1, 1));
    }

    #[test]
    #[should_panic(expected = "of the first")]
    fn a_panic_is_handed_on() {
        side_by_side(|| panic!("of the first"), || ());
    }
}
