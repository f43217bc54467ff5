//! Two figures that must not change unseen: the exact sizes of deltas, and how many instructions one
//! takes to make.
//!
//! Both are committed beside this crate (`sizes.txt`, `instructions.txt`), compared by its tests, and
//! written by `cargo run -p benches -- guard`.

use std::fmt::Write;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use layer::{Spool, SpoolOptions};
use tar_diff::{DiffOptions, Preset};

use crate::{Error, Result};

/// The committed sizes.
pub fn sizes_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sizes.txt")
}

/// The committed counts of instructions.
pub fn instructions_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

/// The pair whose deltas are made in tardf3, where what moved is predicted.
const PROGRAM_IN_TARDF3: &str = "program-v3";

/// The presets by name.
pub fn presets() -> [(&'static str, DiffOptions); 3] {
    [("fast", Preset::Fast), ("default", Preset::Default), ("max", Preset::Max)]
        .map(|(name, preset)| (name, DiffOptions::preset(preset)))
}

/// Two versions of a program, as layers: functions are new, gone and elsewhere.
fn versions_of_a_program() -> (Vec<u8>, Vec<u8>) {
    let old: Vec<u32> = (0..400).collect();
    let mut new = old.clone();
    new.splice(50..52, [1000, 1001, 1002]);
    new.swap(100, 300);
    new.remove(250);
    let layer = |functions: &[u32]| {
        let mut layer = fixtures::LayerBuilder::new();
        layer.file("bin/program", fixtures::programs::program(functions));
        layer.finish(fixtures::Ending::Normal)
    };
    (layer(&old), layer(&new))
}

/// The pairs whose deltas are measured: name, old and new layer.
fn pairs() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let corpus = |corpus: fixtures::Corpus| corpus.pair();
    let few = fixtures::Corpus { files: 120, ..Default::default() };
    let large = fixtures::Corpus { seed: 5, files: 12, mean_size: 256 << 10, changed: 80, ..few.clone() };
    let renamed = fixtures::Corpus { seed: 3, files: 100, changed: 5, moved: 80, ..few.clone() };
    [
        ("update", corpus(few)),
        ("large-files", corpus(large)),
        ("renamed", corpus(renamed)),
        ("tiny-files", fixtures::tiny_files(7, 400)),
        ("program", versions_of_a_program()),
        (PROGRAM_IN_TARDF3, versions_of_a_program()),
    ]
    .map(|(name, (old, new))| (name, old, new))
    .into()
}

/// The sizes of all deltas, as the committed table has them.
///
/// # Errors
/// [`Error::Diff`].
pub fn sizes() -> Result<String> {
    let mut table = String::from("# Bytes of a delta. Written by `cargo run -p benches -- guard`.\n");
    for (name, old, new) in pairs() {
        let read = |name: &str, layer: &[u8]| Spool::read(name.into(), layer, &SpoolOptions::default());
        let (old, new) = ([read("old", &old)?], read("new", &new)?);
        for (preset, options) in presets() {
            let options = options.sees_through(name == PROGRAM_IN_TARDF3);
            let (delta, _) = tar_diff::diff(&old, &new, &options, Vec::new(), &|_| ())?;
            let _ = writeln!(table, "{name:<12} {preset:<8} {:>9}", delta.len());
        }
    }
    Ok(table)
}

/// Makes one delta with one thread: what is counted.
///
/// # Errors
/// [`Error::Layer`] or [`Error::Diff`].
pub fn diff_once(preset: &str, old: &Path, new: &Path) -> Result<()> {
    let open = |path: &Path| Spool::open(path, &SpoolOptions::default());
    let (old, new) = ([open(old)?], open(new)?);
    for (_, options) in presets().into_iter().filter(|(name, _)| *name == preset) {
        let options = options.jobs(NonZeroUsize::MIN);
        tar_diff::diff(&old, &new, &options, std::io::sink(), &|_| ())?;
    }
    Ok(())
}

/// The instructions of [`diff_once`] in `benches`, this program, for each preset; `None` without
/// valgrind.
///
/// # Errors
/// [`Error::Io`], or [`Error::Yardstick`] if valgrind fails.
pub fn instructions(benches: &Path) -> Result<Option<Vec<(&'static str, u64)>>> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(None);
    }
    let temp = std::env::temp_dir();
    let dir = tempfile::tempdir().map_err(Error::io("create a directory in", &temp))?;
    let (old, new) = fixtures::Corpus { files: 40, mean_size: 8 << 10, ..Default::default() }.pair();
    let write = |name: &str, layer: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, layer).map_err(Error::io("write", &path))?;
        Ok::<_, Error>(path)
    };
    let (old, new) = (write("old.tar", &old)?, write("new.tar", &new)?);
    let count = |(preset, _)| {
        let output = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(benches)
            .args(["diff-once", preset])
            .args([&old, &new])
            .output()
            .map_err(Error::io("run valgrind on", benches))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let count = counted(&said).filter(|_| output.status.success());
        Ok((preset, count.ok_or(Error::Yardstick { what: "valgrind", reason: said })?))
    };
    presets().into_iter().map(count).collect::<Result<Vec<_>>>().map(Some)
}

/// The number in valgrind's line `==1== I   refs:      1,234`.
fn counted(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("I ") && line.contains("refs:"))?;
    line.rsplit(':').next()?.trim().replace(',', "").parse().ok()
}

/// The committed table for these counts.
pub fn instructions_table(counts: &[(&str, u64)]) -> String {
    let mut table = String::from(
        "# Instructions to make one delta, development profile. Written by `cargo run -p benches -- guard`.\n",
    );
    for (preset, count) in counts {
        let _ = writeln!(table, "{preset:<8} {count:>12}");
    }
    table
}

/// Reads [`instructions_table`] back.
pub fn parse_instructions(table: &str) -> Vec<(&str, u64)> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (preset, count) = line.split_once(' ')?;
            Some((preset, count.trim().parse().ok()?))
        })
        .collect()
}

/// Writes both committed files; tells whether valgrind was there to count.
///
/// # Errors
/// As [`sizes`] and [`instructions`].
pub fn write(benches: &Path) -> Result<bool> {
    let sizes_file = sizes_file();
    fs::write(&sizes_file, sizes()?).map_err(Error::io("write", &sizes_file))?;
    let Some(counts) = instructions(benches)? else { return Ok(false) };
    let file = instructions_file();
    fs::write(&file, instructions_table(&counts)).map_err(Error::io("write", &file))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_they_are_written() {
        assert_eq!(counted("==7== \n==7== I   refs:      12,345,678\n"), Some(12_345_678));
        assert_eq!(counted("==7== error"), None);
        let counts = [("fast", 5), ("default", 123)];
        assert_eq!(parse_instructions(&instructions_table(&counts)), counts);
    }
}
