//! Signals that tell a command to end.

use std::fs;
use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::output;

/// Has SIGINT (Ctrl-C), SIGTERM and SIGHUP remove the outputs that are not whole, call `clean_up`, and
/// end the process with 128 and the number of the signal, as a shell has it.
///
/// A signal that the process ignores, as what a shell runs in the background ignores Ctrl-C, stays
/// ignored.
///
/// # Errors
/// If there is no room for a thread or for its two sockets.
pub fn on_interrupt(clean_up: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let ignored = ignored();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| {
        // Bit 0 is signal 1 (proc_pid_status(5)).
        ignored >> (signal - 1) & 1 == 0
    }))?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            output::remove_all();
            clean_up();
            // At once: other threads would go on to their ends.
            process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// The set of signals that the process ignores; none if that cannot be known.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
