//! Sizes and instruction counts against the committed ones.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use benches::guard;

/// Instructions may differ by this share: compilers differ a little from release to release.
const MARGIN: f64 = 0.05;

#[test]
fn deltas_have_exactly_the_committed_sizes() {
    let committed = fs::read_to_string(guard::sizes_file()).unwrap();
    let now = guard::sizes().unwrap();
    assert!(
        now == committed,
        "sizes have changed. If that is meant: cargo run -p benches -- guard\n\n{}",
        changes(&committed, &now)
    );
}

/// A preset that takes longer must not give a larger delta.
#[test]
fn a_dearer_preset_is_never_larger() {
    let committed = fs::read_to_string(guard::sizes_file()).unwrap();
    let lines = committed.lines().filter(|line| !line.starts_with('#'));
    let sizes: Vec<(&str, u64)> = lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[0], words[2].parse().unwrap())
        })
        .collect();
    assert_eq!(sizes.len() % guard::presets().len(), 0);
    for pair in sizes.chunks(guard::presets().len()) {
        assert!(pair.is_sorted_by(|cheap, dear| cheap.0 == dear.0 && cheap.1 >= dear.1), "{pair:?}");
    }
}

#[test]
fn a_delta_takes_the_committed_instructions() {
    if !cfg!(debug_assertions) {
        eprintln!("skipped: the committed counts are of the development profile");
        return;
    }
    let Some(now) = guard::instructions(Path::new(env!("CARGO_BIN_EXE_benches"))).unwrap() else {
        eprintln!("skipped: valgrind is not installed; .ci/install does it");
        return;
    };
    let committed = fs::read_to_string(guard::instructions_file()).unwrap();
    let committed = guard::parse_instructions(&committed);
    let is_near = |count: u64, of: u64| (count as f64 / of as f64 - 1.0).abs() <= MARGIN;
    let same_presets = now.iter().map(|(preset, _)| preset).eq(committed.iter().map(|(preset, _)| preset));
    assert!(
        same_presets
            && now.iter().zip(&committed).all(|((_, now), (_, committed))| is_near(*now, *committed)),
        "instructions have changed by over {:.0}%. If that is meant: cargo run -p benches -- guard\n\n{}",
        100.0 * MARGIN,
        changes(&guard::instructions_table(&committed), &guard::instructions_table(&now))
    );
}

/// The lines that differ.
fn changes(committed: &str, now: &str) -> String {
    let pairs = committed.lines().zip(now.lines()).filter(|(committed, now)| committed != now);
    let lines: Vec<String> = pairs.map(|(committed, now)| format!("- {committed}\n+ {now}")).collect();
    lines.join("\n")
}
