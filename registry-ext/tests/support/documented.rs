//! The fields of `--json`, as the reference lists them.

use std::collections::BTreeSet;

use serde_json::Value;

const REFERENCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md"));

/// Checks that a command printed the fields that the reference lists for it, and no others.
pub(crate) fn check(command: &str, printed: &Value) {
    let (all, needed) = listed(command);
    let mut found = BTreeSet::new();
    collect(printed, String::new(), &all, &mut found);
    let unlisted: Vec<_> = found.difference(&all).collect();
    let missing: Vec<_> = needed.difference(&found).collect();
    assert!(unlisted.is_empty(), "docs/json.md does not list what {command} prints: {unlisted:?}");
    assert!(missing.is_empty(), "{command} does not print what docs/json.md lists: {missing:?} in {printed}");
}

/// The paths of a command: all, and those that are always there.
fn listed(command: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (_, section) = REFERENCE.split_once(&format!("\n## {command}\n")).expect("the command has a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let (mut all, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for row in section.lines().filter(|row| row.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap_or_default();
        let paths: Vec<String> = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        if !cell.trim_end().ends_with('?') {
            needed.extend(paths.iter().cloned());
        }
        all.extend(paths);
    }
    assert!(!all.is_empty(), "{command} has no fields");
    (all, needed)
}

/// Gathers the paths of all that is in `value`. What is in a field that the reference lists as a whole is not
/// looked at.
fn collect(value: &Value, path: String, all: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| collect(item, format!("{path}[]"), all, found));
        }
        Value::Object(fields) if !all.contains(&path) || deeper(&path, all) => {
            for (name, field) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                collect(field, format!("{path}{dot}{name}"), all, found);
            }
        }
        Value::Null => {
            // A list that may be missing is listed by its items.
            let of_items = format!("{path}[]");
            found.insert(if all.contains(&of_items) { of_items } else { path });
        }
        _ => drop(found.insert(path)),
    }
}

/// True if the reference lists fields of this one.
fn deeper(path: &str, all: &BTreeSet<String>) -> bool {
    let start = format!("{path}.");
    all.iter().any(|listed| listed.starts_with(&start))
}
