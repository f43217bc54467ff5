//! Runs a command and tells what it took.
//!
//! The kernel counts memory that the *parent* had before the `exec` as the child's peak
//! (getrusage(2), `ru_maxrss`). So commands are started by a small process: this program again, as
//! `benches launch`, which does nothing else.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wait4::Wait4;

use crate::{Error, Result};

/// The exit status of coreutils' `timeout` when it had to send `KILL` (128 + 9).
const KILLED: i32 = 137;

/// The cost of a command, its own children included.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of user and system, in seconds.
    pub cpu: f64,
    /// Time by the clock, in seconds.
    pub wall: f64,
    /// Most memory that was resident at once, in bytes.
    pub peak: u64,
}

impl Usage {
    /// The better of two runs of one command: what disturbs a run only adds to it. Of the memory,
    /// which it does not disturb, the more.
    #[must_use]
    pub fn better(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.min(other.cpu),
            wall: self.wall.min(other.wall),
            peak: self.peak.max(other.peak),
        }
    }
}

/// The report that `benches launch` writes.
#[derive(Debug, Serialize, Deserialize)]
struct Launched {
    usage: Usage,
    /// `None` where a signal ended it.
    exit_status: Option<i32>,
    signal: Option<i32>,
}

/// A command with its files.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The file that it reads; nothing if `None`.
    pub stdin: Option<PathBuf>,
    /// The file that its output goes to; nowhere if `None`.
    pub stdout: Option<PathBuf>,
}

/// Runs steps, each for a limited time.
#[derive(Debug)]
pub struct Launcher<'d> {
    /// This program: see [`launch`].
    pub program: PathBuf,
    /// Seconds after which a command is killed; 0 is no limit.
    pub timeout: u64,
    /// The number of times that each command is run.
    pub repeat: u32,
    /// A directory for files of the launcher.
    pub dir: &'d Path,
}

impl Launcher<'_> {
    /// Runs a step, `repeat` times. The inner error is the reason, in words, why the command failed.
    ///
    /// # Errors
    /// If it cannot even be tried.
    pub fn run(&self, step: &Step) -> Result<std::result::Result<Usage, String>> {
        self.run_at_least(1, step)
    }

    /// Does what [`run`](Self::run) does, at least `times` times.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_at_least(&self, times: u32, step: &Step) -> Result<std::result::Result<Usage, String>> {
        let mut best: Option<Usage> = None;
        for _ in 0..self.repeat.max(times) {
            match self.run_once(step)? {
                Ok(usage) => best = Some(best.map_or(usage, |best| best.better(usage))),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(best.ok_or_else(|| "it never ran".to_owned()))
    }

    fn run_once(&self, step: &Step) -> Result<std::result::Result<Usage, String>> {
        let report = self.dir.join("launched.json");
        let stderr = self.dir.join("stderr");
        let create = |path: &Path| File::create(path).map_err(Error::io("create", path));
        let stdin = match &step.stdin {
            Some(path) => Stdio::from(File::open(path).map_err(Error::io("open", path))?),
            None => Stdio::null(),
        };
        let stdout = step.stdout.as_deref().map(create).transpose()?;
        let status = Command::new(&self.program)
            .args(["launch", "--timeout", &self.timeout.to_string(), "--report"])
            .arg(&report)
            .arg("--")
            .args(&step.command)
            .stdin(stdin)
            .stdout(stdout.map_or_else(Stdio::null, Stdio::from))
            .stderr(create(&stderr)?)
            .status()
            .map_err(Error::io("run", &self.program))?;
        let said = fs::read(&stderr).map_err(Error::io("read", &stderr))?;
        let said = last_line(&String::from_utf8_lossy(&said));
        if !status.success() {
            return Ok(Err(said));
        }
        let json = fs::read(&report).map_err(Error::io("read", &report))?;
        let launched: Launched =
            serde_json::from_slice(&json).map_err(|source| Error::Json { path: report, source })?;
        Ok(match (launched.exit_status, launched.signal) {
            (Some(0), _) => Ok(launched.usage),
            (Some(KILLED), _) if self.timeout > 0 && launched.usage.wall >= self.timeout as f64 => {
                Err(format!("took over {} s", self.timeout))
            }
            (Some(KILLED), _) | (None, Some(9)) => Err("was killed: out of memory, most likely".into()),
            (None, Some(signal)) => Err(format!("died of signal {signal}")),
            (Some(status), _) if said.is_empty() => Err(format!("exit status {status}")),
            _ => Err(said),
        })
    }
}

/// The last line that says something, short enough for a table.
fn last_line(text: &str) -> String {
    const MOST: usize = 120;
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut short: String = line.chars().take(MOST).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

/// The inside of `benches launch`: runs `command`, killed after `timeout` seconds if that is not 0,
/// and writes what it took to `report`.
///
/// # Errors
/// If the command cannot be started or the report not be written.
pub fn launch(command: &[OsString], timeout: u64, report: &Path) -> Result<()> {
    use std::os::unix::process::ExitStatusExt;

    let program = command.first().map_or_else(|| Path::new(""), Path::new);
    let mut child = Command::new(program);
    if timeout > 0 {
        // Counts as part of the command: two milliseconds, two megabytes.
        child = Command::new("timeout");
        child.args(["--foreground", "-s", "KILL"]).arg(timeout.to_string()).arg(program);
    }
    child.args(command.iter().skip(1));
    let start = Instant::now();
    let run = |mut child: Command| -> io::Result<wait4::ResUse> { child.spawn()?.wait4() };
    let ended = run(child).map_err(Error::io("run", program))?;
    let usage = Usage {
        cpu: (ended.rusage.utime + ended.rusage.stime).as_secs_f64(),
        wall: start.elapsed().as_secs_f64(),
        peak: ended.rusage.maxrss,
    };
    let launched = Launched { usage, exit_status: ended.status.code(), signal: ended.status.signal() };
    let json =
        serde_json::to_vec(&launched).map_err(|source| Error::Json { path: report.to_owned(), source })?;
    fs::write(report, json).map_err(Error::io("write", report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_measured_and_a_slow_one_killed() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report");
        let run = |command: &[&str], timeout| {
            let command: Vec<OsString> = command.iter().map(OsString::from).collect();
            launch(&command, timeout, &report).unwrap();
            serde_json::from_slice::<Launched>(&fs::read(&report).unwrap()).unwrap()
        };
        // 40 MB in one string: the peak is the command's.
        let busy = run(&["sh", "-c", "x=$(head -c 40000000 /dev/zero | tr '\\0' a); : ${#x}"], 60);
        assert_eq!(busy.exit_status, Some(0));
        assert!(busy.usage.cpu > 0.0 && busy.usage.wall > 0.0, "{busy:?}");
        assert!(busy.usage.peak > 30 << 20 && busy.usage.peak < 400 << 20, "{busy:?}");
        let slow = run(&["sleep", "30"], 1);
        assert_eq!(slow.exit_status.or(slow.signal.map(|signal| 128 + signal)), Some(KILLED));
        assert!(slow.usage.wall < 20.0);
        assert_eq!(run(&["false"], 0).exit_status, Some(1));
    }

    #[test]
    fn the_last_words_are_kept() {
        assert_eq!(last_line("a\nb: no memory\n\n"), "b: no memory");
        assert_eq!(last_line(""), "");
        assert!(last_line(&"x".repeat(500)).len() < 130);
    }
}
