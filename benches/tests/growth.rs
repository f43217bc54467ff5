//! The proof of growth, in short, and that it would notice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn growth(line: &str, cargo: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_benches"));
    command.arg("growth").args(line.split_whitespace()).env_remove("CARGO");
    command.envs(cargo.map(|cargo| ("CARGO", cargo))).output().unwrap()
}

/// The tools that the workspace's tests run, if they are built; without, cargo builds them.
fn bin_dir() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_BIN_EXE_benches")).parent()?;
    ["tar-diff", "tar-patch"].iter().all(|tool| dir.join(tool).exists()).then(|| dir.to_owned())
}

/// Small layers, the tools as they are.
#[test]
fn time_per_byte_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("growth.json");
    // In layers this small the noise of a busy machine weighs; what is quadratic would still show.
    let mut line =
        format!("--files 4000 --file-size 16 --steps 2 --repeat 2 --most 2.5 --json {}", json.display());
    if let Some(dir) = bin_dir() {
        line += &format!(" --bin-dir {}", dir.display());
    }
    let output = growth(&line, Some(env!("CARGO")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("4000 files\n") && said.contains("one file of 16.8 MB\n"), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4);
    assert!(steps.iter().all(|step| step["delta_size"].as_u64() < step["size"].as_u64()), "{steps:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2 + 4);
}

/// A tar-diff whose time grows with the square of the layer.
#[test]
fn quadratic_time_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, script: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write(
        "tar-diff",
        "for last; do new=$out; out=$last; done; size=$(wc -c <$new); : >$out\n\
         head -c $((size / 100 * size / 100)) /dev/zero | md5sum",
    );
    write("tar-patch", "exit 0");
    let line = |files: u32| {
        format!("--files {files} --file-size 0 --steps 2 --most 3 --bin-dir {}", dir.path().display())
    };
    let output = growth(&line(1600), None);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("times the CPU per byte"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("| 1600 "), "the table comes first");

    write("tar-diff", "echo no room >&2; exit 1");
    let said = String::from_utf8(growth(&line(4), None).stderr).unwrap();
    assert!(said.contains("cannot measure tar-diff: no room"), "{said}");
}
