//! The documents of the repository: their links lead somewhere, and the messages that the README explains are those
//! of the code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use benches::fleet::{self, Assumptions};

/// Texts of the system within messages.
const OF_THE_SYSTEM: [&str; 2] = ["Connection refused", "No space left on device"];
/// Directories with documents, beside the root of the repository.
const DIRECTORIES: [&str; 10] = [
    "docs",
    "benches",
    "fuzz",
    "registry-ext",
    "registry-ext/interop",
    "fixtures/interop",
    "crates/delta-format",
    "crates/recode",
    "tar-diff",
    "tar-patch",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the documents: their path, and their text.
fn documents() -> Vec<(PathBuf, String)> {
    let directories = DIRECTORIES.iter().map(|name| root().join(name)).chain([root()]);
    let files = directories.flat_map(|dir| fs::read_dir(dir).unwrap()).map(|entry| entry.unwrap().path());
    let documents = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Returns the anchor of a heading as GitHub makes it: lower case, without punctuation, with hyphens for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars();
    let kept = kept.filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}

/// Returns the targets of the links and pictures of a text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

#[test]
fn links_between_documents_lead_to_files_and_headings() {
    let mut seen = 0;
    for (path, text) in documents() {
        // Its links are those of the site, which docs/build checks.
        if path.ends_with("docs/SUMMARY.md") {
            continue;
        }
        for link in links(&text).filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: there is no {link}", path.display());
            if !heading.is_empty() {
                let target = fs::read_to_string(target).unwrap();
                let mut headings = target.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|anchor| anchor == heading), "{}: there is no {link}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} links");
}

/// Returns the code of the commands and libraries, with the continued lines of texts joined.
fn code() -> String {
    let mut code = String::new();
    let mut directories: Vec<PathBuf> =
        ["tar-diff", "tar-patch", "registry-ext"].iter().map(|name| root().join(name).join("src")).collect();
    let crates = fs::read_dir(root().join("crates")).unwrap();
    directories.extend(crates.map(|entry| entry.unwrap().path().join("src")));
    while let Some(dir) = directories.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                for line in fs::read_to_string(path).unwrap().lines() {
                    let line = line.trim();
                    code.push_str(line.strip_suffix('\\').unwrap_or(line));
                    code.push_str(if line.ends_with('\\') { "" } else { "\n" });
                }
            }
        }
    }
    code
}

#[test]
fn the_messages_that_the_readme_explains_are_printed_by_the_code() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = readme.split_once("## Troubleshooting").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let code = code();
    let mut seen = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        for message in cell.split('`').skip(1).step_by(2) {
            for part in message.split('…').map(str::trim).filter(|part| part.len() > 8) {
                // An error of a registry begins with "cannot" and goes on with the action that failed.
                let action = part.strip_prefix("cannot ").unwrap_or(part).trim_start_matches(": ");
                let is_known =
                    code.contains(action) || OF_THE_SYSTEM.iter().any(|text| action.contains(text));
                assert!(is_known, "no code prints {part:?} of: {row}");
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "{seen} parts of messages");
}

#[test]
fn the_report_of_the_picture_names_no_machine() {
    let report = fs::read_to_string(root().join("benches/pairs.json")).unwrap();
    for place in ["/tmp", "/home", "/root", "/work"] {
        assert!(!report.contains(place), "{place}");
    }
}

#[test]
fn the_guide_for_fleets_has_the_table_and_the_picture_that_the_command_makes() {
    let guide = fs::read_to_string(root().join("docs/fleet.md")).unwrap();
    let assumptions = Assumptions::default();
    let table = fleet::markdown(&assumptions, &assumptions.choices());
    assert!(guide.contains(&table), "put this into docs/fleet.md:\n{table}");
    let picture = fs::read_to_string(root().join("docs/fleet.svg")).unwrap();
    assert_eq!(picture, fleet::svg(&assumptions.choices()), "benches fleet --picture docs/fleet.svg");
}
