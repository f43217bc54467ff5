//! Locks that other processes may hold: they are waited for, but not for ever.

use std::fs::{File, TryLockError};
use std::io;
use std::time::{Duration, Instant};

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Locks a file as its only holder (flock(2)). `waiting` is called once if another process has the lock, which
/// then has `patience` to give it back. The lock ends with the file.
///
/// Whoever may read a file may lock it, so a lock can be held by somebody who has no business there.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if the other process keeps it; those of the system.
pub(super) fn lock_within(file: &File, patience: Duration, waiting: impl FnOnce()) -> io::Result<()> {
    let began = Instant::now();
    let (mut pause, longest) = PAUSES;
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if began.elapsed() >= patience {
            let text = format!(
                "another process has held it for {} seconds; lslocks(8) shows which",
                patience.as_secs_f64()
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_and_given_up_in_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let holder = file.reopen().unwrap();
        holder.lock().unwrap();
        let (mut told, patience) = (0, Duration::from_millis(5));
        let error = lock_within(file.as_file(), patience, || told += 1).unwrap_err();
        assert_eq!((error.kind(), told), (io::ErrorKind::TimedOut, 1), "{error}");
        drop(holder);
        lock_within(file.as_file(), patience, || panic!("nobody has it")).unwrap();
    }

    #[test]
    fn a_lock_that_is_given_back_is_had() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let holder = file.reopen().unwrap();
        holder.lock().unwrap();
        let mut holder = Some(holder);
        // A minute guards against hanging only.
        lock_within(file.as_file(), Duration::from_secs(60), || drop(holder.take())).unwrap();
    }
}
