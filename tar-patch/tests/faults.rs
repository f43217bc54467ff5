//! Whatever fails or dies in the middle: no output that is not whole, nothing left behind, and the
//! same command works afterwards.

mod support;

use std::fs;
use std::process::Command;

use fixtures::faults::{Fault, READS, STEPS, Struck, WRITES, strike_each};
use layer::Digest;
use support::{small_delta, small_tree};

/// Strikes every call of a run that replaces an output.
fn strike(calls: &[&str], fault: Fault, at_least: usize, mut look: impl FnMut(&Struck)) {
    let (tree, files, outputs) =
        (small_tree(), tempfile::tempdir().expect("a temp dir"), tempfile::tempdir().expect("a temp dir"));
    let (delta, target) = small_delta();
    let (delta_path, out) = (files.path().join("delta"), outputs.path().join("out.tar"));
    fs::write(&delta_path, delta).expect("a delta");
    let command = || {
        fs::write(&out, "the output before").expect("an output");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tar-patch"));
        command.args(["--quiet", "--force", "--diff-id", &Digest::of(&target).to_string()]);
        command.args([&delta_path, tree.path(), &out]);
        command
    };
    let struck = strike_each(calls, fault, usize::MAX, command, |struck| {
        let found = fs::read(&out).expect("an output");
        assert!(found == b"the output before" || found == target, "{fault:?} {struck:?}: not whole");
        assert!(
            found == target || !struck.status.success(),
            "{fault:?} {struck:?}: no output, and no failure"
        );
        for entry in fs::read_dir(outputs.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            // To replace a file, the new one, whole, has a temporary name for the moment before it is
            // renamed: between two system calls.
            assert!(path == out || fault == Fault::Kill, "{fault:?} {struck:?}: {path:?} is left");
            fs::remove_file(path).expect("removed");
        }
        look(struck);
    });
    assert!(struck >= at_least, "{fault:?} struck only {struck} times");
    assert!(command().status().expect("it starts").success());
    assert_eq!(fs::read(&out).expect("an output"), target, "the run that no fault struck");
}

#[test]
fn a_full_disk_is_named() {
    let mut named = 0;
    strike(WRITES, Fault::Error("ENOSPC"), 3, |struck| {
        named += usize::from(struck.stderr.contains("No space left"))
    });
    assert!(named >= 2, "{named}");
}

#[test]
fn a_disk_that_cannot_be_read_is_named() {
    let mut named = 0;
    strike(READS, Fault::Error("EIO"), 4, |struck| {
        named += usize::from(struck.stderr.contains("Input/output error"))
    });
    assert!(named >= 2, "{named}");
}

#[test]
fn death_and_ctrl_c_at_any_step_leave_nothing_half_done() {
    strike(STEPS, Fault::Kill, 15, |_| ());
    strike(STEPS, Fault::Interrupt, 15, |_| ());
}
