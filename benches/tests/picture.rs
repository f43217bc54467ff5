//! The picture of the README is the one that the report beside this crate makes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_picture_of_the_readme_shows_the_report_of_the_pairs() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("savings.svg");
    let output = Command::new(env!("CARGO_BIN_EXE_benches"))
        .arg("show")
        .arg(here.join("pairs.json"))
        .arg("--picture")
        .arg(&picture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = fs::read_to_string(&picture).unwrap();
    let kept = fs::read_to_string(here.join("../docs/savings.svg")).unwrap();
    assert_eq!(made, kept, "write it again: benches show benches/pairs.json --picture docs/savings.svg");
    assert_eq!(made.matches("class=\"delta\"").count(), made.matches("class=\"pair\"").count());
}
