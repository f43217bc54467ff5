//! What the process has used so far.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Most memory that was resident at once, in bytes: `VmHWM` of `/proc/self/status` (proc(5)).
/// `None` where there is no such file.
pub fn peak_memory() -> Option<u64> {
    peak_of_status(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of_status(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Processor time of all threads, user and system, in seconds.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_high_water_mark() {
        assert_eq!(peak_of_status("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n"), Some(1234 * 1024));
        assert_eq!(peak_of_status("Name:\tx\n"), None);
        assert_eq!(peak_of_status("VmHWM:\t many kB\n"), None);
        assert!(peak_memory().is_some_and(|bytes| bytes > 1 << 16));
    }

    #[test]
    fn work_takes_time() {
        let before = cpu_seconds();
        let mut sum = 0u64;
        while cpu_seconds() - before < 0.001 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(before >= 0.0);
    }
}
