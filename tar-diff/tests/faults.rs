//! Whatever fails or dies in the middle: no output that is not whole, nothing left behind, and the
//! same command works afterwards.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::Corpus;
use fixtures::faults::{Fault, READS, STEPS, Struck, WRITES, strike_each};
use tempfile::TempDir;

/// An older delta, as far as its start tells.
const BEFORE: &[u8] = b"tardf1\n\0the delta before";

struct Scene {
    layers: TempDir,
    out: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { layers: tempfile::tempdir().unwrap(), out: tempfile::tempdir().unwrap() };
        let (old, new) = Corpus { files: 6, mean_size: 3000, ..Corpus::default() }.pair();
        fs::write(scene.layer("old.tar"), old).unwrap();
        // Compressed, so that it is spooled.
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        std::io::Write::write_all(&mut gzip, &new).unwrap();
        fs::write(scene.layer("new.tar.gz"), gzip.finish().unwrap()).unwrap();
        scene
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.layers.path().join(name)
    }

    fn delta(&self) -> PathBuf {
        self.out.path().join("delta")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tar-diff"));
        command.args(["--quiet", "--jobs", "1", "--format", "tardf3"]);
        command.args([self.layer("old.tar"), self.layer("new.tar.gz"), self.delta()]);
        command
    }
}

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(directory).unwrap().map(name).collect()
}

/// Strikes every call of a diff, over a delta that is there already.
fn strike(calls: &[&str], fault: Fault, at_least: usize, mut look: impl FnMut(&Struck)) {
    let scene = Scene::new();
    assert!(scene.command().status().unwrap().success());
    let right = fs::read(scene.delta()).unwrap();
    let command = || {
        fs::write(scene.delta(), BEFORE).unwrap();
        scene.command()
    };
    let struck = strike_each(calls, fault, usize::MAX, command, |struck| {
        let found = fs::read(scene.delta()).unwrap();
        assert!(found == BEFORE || found == right, "{fault:?} {struck:?}: a delta that is not whole");
        if found != right {
            assert!(!struck.status.success(), "{fault:?} {struck:?}: no delta, and no failure");
        }
        // To replace a file, the new one, whole, has a temporary name for the moment before it is
        // renamed: between two system calls.
        let left = names(scene.out.path());
        assert!(left.len() == 1 || fault == Fault::Kill && left.len() == 2, "{fault:?} {struck:?}: {left:?}");
        left.iter()
            .filter(|name| *name != "delta")
            .for_each(|name| fs::remove_file(scene.out.path().join(name)).unwrap());
        look(struck);
    });
    assert!(struck >= at_least, "{fault:?} struck only {struck} times");
    assert!(scene.command().status().unwrap().success());
    assert_eq!(fs::read(scene.delta()).unwrap(), right, "the run that no fault struck");
}

#[test]
fn a_full_disk_is_named() {
    let mut named = 0;
    strike(WRITES, Fault::Error("ENOSPC"), 5, |struck| {
        named += usize::from(struck.stderr.contains("No space left"))
    });
    assert!(named >= 4, "{named}");
}

#[test]
fn a_disk_that_cannot_be_read_is_named() {
    let mut named = 0;
    strike(READS, Fault::Error("EIO"), 10, |struck| {
        named += usize::from(struck.stderr.contains("Input/output error"))
    });
    assert!(named >= 5, "{named}");
}

#[test]
fn death_at_any_step_leaves_nothing_half_done() {
    strike(STEPS, Fault::Kill, 20, |_| ());
}

#[test]
fn ctrl_c_at_any_step_leaves_nothing_half_done() {
    strike(STEPS, Fault::Interrupt, 20, |_| ());
}
