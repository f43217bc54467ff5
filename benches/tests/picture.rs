//! The pictures and the table of the documents are the ones that the figures beside this crate make.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a subcommand on a file of figures. Returns what it prints, and the picture; checks that the picture
/// is the one in `docs`.
fn shown(subcommand: &str, figures: &str, picture: &str) -> (String, String) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(picture);
    let output = Command::new(env!("CARGO_BIN_EXE_benches"))
        .arg(subcommand)
        .arg(here.join(figures))
        .arg("--picture")
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = fs::read_to_string(&path).unwrap();
    let kept = fs::read_to_string(here.join("../docs").join(picture)).unwrap();
    assert_eq!(made, kept, "write it again: benches {subcommand} benches/{figures} --picture docs/{picture}");
    (String::from_utf8(output.stdout).unwrap(), made)
}

#[test]
fn the_picture_of_the_readme_shows_the_report_of_the_pairs() {
    let (_, picture) = shown("show", "pairs.json", "savings.svg");
    assert_eq!(picture.matches("class=\"delta\"").count(), picture.matches("class=\"pair\"").count());
}

#[test]
fn the_table_and_the_picture_of_the_mirror_show_the_pulls_that_were_measured() {
    let (table, picture) = shown("pull-times", "pulls.json", "pull-times.svg");
    assert_eq!(picture.matches("class=\"pair\"").count(), table.lines().count() - 2);
    for document in ["docs/mirror.md", "README.md"] {
        let text =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)).unwrap();
        assert!(text.contains(&table), "{document} has another table than:\n{table}");
    }
}
