//! The resources that the process has used so far, and may use.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Most memory that was resident at once, in bytes: `VmHWM` of `/proc/self/status` (proc(5)).
/// `None` where there is no such file.
pub fn peak_memory() -> Option<u64> {
    peak_of_status(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of_status(status: &str) -> Option<u64> {
    kibibytes(status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?)
}

/// A quarter of the memory that there is for the process, in bytes: of the machine's, or of the
/// limit of its control group (cgroup v2) if that is less. `None` where neither can be read.
pub fn memory_budget() -> Option<u64> {
    let total = total_of_meminfo(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let limit = fs::read_to_string("/proc/self/cgroup").ok().and_then(|groups| {
        let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let path = std::path::Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        // Without a limit it says "max".
        fs::read_to_string(path).ok()?.trim().parse().ok()
    });
    Some(limit.map_or(total, |limit| total.min(limit)) / 4)
}

fn total_of_meminfo(meminfo: &str) -> Option<u64> {
    kibibytes(meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?)
}

/// The bytes of a value that is given in kB.
fn kibibytes(value: &str) -> Option<u64> {
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
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
    fn the_budget_is_a_share_of_the_machine() {
        assert_eq!(total_of_meminfo("MemFree: 1 kB\n"), None);
        assert_eq!(total_of_meminfo("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert!(memory_budget().is_some_and(|bytes| (1 << 20..1 << 50).contains(&bytes)));
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
