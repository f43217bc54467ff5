//! Runs every tool on a pair and checks what it made.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use layer::Digest;

use crate::launch::{Launcher, Step, Usage};
use crate::pair::Prepared;
use crate::report::{Cost, Figures, Outcome, PairReport, Run, Yardstick};
use crate::tools::{Places, Tool};
use crate::{Error, Pair, Result, kinds};

/// Runs of what is short, at least: a disk that is still busy with what was made before holds the first one up.
const SHORT_RUNS: u32 = 3;

/// The measuring program, and the tools that it measures.
#[derive(Debug)]
pub struct Measurement<'m> {
    /// Starts the commands.
    pub launcher: Launcher<'m>,
    /// The tools, in the order of the results.
    pub tools: &'m [Tool],
    /// A directory with room for both layers uncompressed, a delta and a result.
    pub work_dir: &'m Path,
}

/// Measures all tools on one pair. `progress` is told the tool that is being run.
///
/// # Errors
/// If a layer cannot be read or the yardsticks do not run. A tool that fails is part of the report.
pub fn measure(on: &Measurement<'_>, pair: &Pair, progress: &dyn Fn(&str)) -> Result<PairReport> {
    let dir = tempfile::tempdir_in(on.work_dir).map_err(Error::io("create a directory in", on.work_dir))?;
    progress("preparing");
    let prepared = pair.prepare(dir.path())?;
    progress("gzip -6 and sha256sum");
    let (yardstick, gzip_size) = yardstick(on, &prepared, dir.path())?;
    let mut report = PairReport {
        name: pair.name.clone(),
        about: pair.about.clone(),
        new_size: prepared.new_size,
        layer_size: prepared.blob_size.unwrap_or(gzip_size),
        yardstick,
        runs: Vec::new(),
    };
    for tool in on.tools {
        progress(&tool.info.name);
        let outcome = match run(on, tool, pair, &prepared, yardstick, dir.path())? {
            Ok(figures) => Outcome::Done(figures),
            Err(reason) => Outcome::Failed(reason),
        };
        report.runs.push(Run { tool: tool.info.name.clone(), outcome });
    }
    Ok(report)
}

/// Also gives the size of what gzip makes, in bytes.
fn yardstick(on: &Measurement<'_>, pair: &Prepared, dir: &Path) -> Result<(Yardstick, u64)> {
    let run = |what: &'static str, times: u32, command: &[&str], stdout: Option<&Path>| {
        let step = Step {
            command: command.iter().map(Into::into).collect(),
            stdin: Some(pair.new_tar.clone()),
            stdout: stdout.map(Into::into),
        };
        let usage = on.launcher.run_at_least(times, &step)?;
        usage.map_err(|reason| Error::Yardstick { what, reason })
    };
    let compressed = dir.join("new.tar.gz");
    let gzip = run("gzip", 1, &["gzip", "-6", "-n"], Some(&compressed))?;
    let size = fs::metadata(&compressed).map_err(Error::io("read", &compressed))?.len();
    fs::remove_file(&compressed).map_err(Error::io("remove", &compressed))?;
    let sha256 = run("sha256sum", SHORT_RUNS, &["sha256sum"], None)?;
    // A clock of milliseconds may not see what a tiny layer takes.
    let [gzip_cpu, sha256_cpu, sha256_wall] =
        [gzip.cpu, sha256.cpu, sha256.wall].map(|seconds| seconds.max(0.0005));
    Ok((Yardstick { gzip_cpu, sha256_cpu, sha256_wall }, size))
}

fn run(
    on: &Measurement<'_>,
    tool: &Tool,
    pair: &Pair,
    prepared: &Prepared,
    yardstick: Yardstick,
    dir: &Path,
) -> Result<std::result::Result<Figures, String>> {
    let (delta, out) = (dir.join("delta"), dir.join("out.tar"));
    for left in [&delta, &out].into_iter().filter(|path| path.exists()) {
        fs::remove_file(left).map_err(Error::io("remove", left))?;
    }
    let diff_id = prepared.diff_id.to_string();
    let old_size =
        fs::metadata(&prepared.old_tar).map_err(Error::io("read", &prepared.old_tar))?.len().to_string();
    let values: &[(&'static str, &OsStr)] = &[
        ("{old-layer}", pair.old.as_os_str()),
        ("{new-layer}", pair.new.as_os_str()),
        ("{old}", prepared.old_tar.as_os_str()),
        ("{new}", prepared.new_tar.as_os_str()),
        ("{old-size}", OsStr::new(&old_size)),
        ("{tree}", prepared.tree.as_os_str()),
        ("{delta}", delta.as_os_str()),
        ("{out}", out.as_os_str()),
        ("{diff-id}", OsStr::new(&diff_id)),
    ];
    let places = Places { values };
    let step = |command| Step { command, ..Step::default() };
    let made = match on.launcher.run(&step(tool.make(&places)))? {
        Ok(usage) => usage,
        Err(reason) => return Ok(Err(reason)),
    };
    let applied = match on.launcher.run_at_least(SHORT_RUNS, &step(tool.apply(&places)))? {
        Ok(usage) => usage,
        Err(reason) => return Ok(Err(format!("apply: {reason}"))),
    };
    if !is_new(&out, prepared)? {
        return Ok(Err("apply: the result is not the new tar".into()));
    }
    let kinds = if tool.makes_ops() { kinds::shares(&delta, &prepared.new_tar)? } else { Vec::new() };
    Ok(Ok(Figures {
        delta_size: fs::metadata(&delta).map_err(Error::io("read", &delta))?.len(),
        make: cost(made, yardstick.gzip_cpu, yardstick.gzip_cpu),
        apply: Some(cost(applied, yardstick.sha256_cpu, yardstick.sha256_wall)),
        kinds,
        is_quoted: false,
    }))
}

fn cost(usage: Usage, cpu: f64, wall: f64) -> Cost {
    Cost { cpu: usage.cpu / cpu, wall: Some(usage.wall / wall), peak: usage.peak }
}

fn is_new(out: &Path, pair: &Prepared) -> Result<bool> {
    let file = match File::open(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(Error::io("open", out))?,
    };
    let (digest, _) = Digest::of_reader(file).map_err(Error::io("read", out))?;
    Ok(digest == pair.diff_id.0)
}
