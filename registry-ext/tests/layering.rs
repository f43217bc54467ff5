//! The imports that crates may have of each other: rules that are not run are wishes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The crates of the workspace, and those of the workspace that each may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("program", &[]),
    ("delta-format", &["program"]),
    ("layer", &[]),
    ("recode", &[]),
    // cli escapes what it prints as delta-format escapes paths.
    ("cli", &["delta-format"]),
    ("fixtures", &[]),
    ("rootfs", &["layer"]),
    ("explain", &["delta-format", "program", "layer", "recode"]),
    ("tar-patch", &["delta-format", "layer", "recode", "rootfs", "explain", "cli"]),
    // tar-diff applies each delta before it lets it go.
    ("tar-diff", &["delta-format", "program", "layer", "recode", "explain", "tar-patch", "cli"]),
    ("registry-ext", &["tar-diff", "tar-patch", "rootfs", "layer", "recode", "delta-format", "cli"]),
];
/// Crates that import what they like, since nothing but people uses them.
const FREE: &[&str] = &["benches", "interop"];
/// Crates from outside that only some may import. Bins may import clap and anyhow, by the feature
/// `cli`.
const RESERVED: &[(&str, &[&str])] = &[
    ("tokio", &["registry-ext"]),
    ("reqwest", &["registry-ext"]),
    ("oci-client", &["registry-ext"]),
    ("oci-spec", &["registry-ext"]),
    // layer reads tars; registry-ext writes archives of OCI layouts, and reads the fields of headers
    // that only unpacking needs.
    ("tar", &["layer", "registry-ext"]),
    ("indicatif", &["cli"]),
];

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the name that a crate has in the workspace. In the package registry, those in `crates` are tar-diff-NAME.
fn of_workspace(package: &Value) -> String {
    let name = package["name"].as_str().unwrap();
    name.strip_prefix("tar-diff-").unwrap_or(name).to_owned()
}

/// The normal dependencies of each crate: name, and whether it is optional.
fn dependencies() -> BTreeMap<String, Vec<(String, bool)>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|of| of["kind"].is_null());
        let of = |dependency: &Value| (of_workspace(dependency), dependency["optional"].as_bool().unwrap());
        (of_workspace(package), normal.map(of).collect())
    });
    packages.collect()
}

#[test]
fn no_arrow_is_missing_from_the_picture() {
    let dependencies = dependencies();
    for (name, imported) in &dependencies {
        if FREE.contains(&name.as_str()) {
            continue;
        }
        let allowed = ARROWS.iter().find(|(of, _)| of == name).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("crate {name} is not in the picture"));
        for (import, is_optional) in imported.iter().filter(|(import, _)| dependencies.contains_key(import)) {
            assert!(allowed.contains(&import.as_str()), "{name} must not import {import}");
            let is_for_commands = matches!(import.as_str(), "cli" | "explain");
            assert!(!is_for_commands || *is_optional, "{name} may import {import} for its command only");
        }
    }
}

#[test]
fn some_crates_are_for_some_only() {
    for (name, imported) in dependencies() {
        if FREE.contains(&name.as_str()) {
            continue;
        }
        for (import, is_optional) in imported {
            if let Some((_, allowed)) = RESERVED.iter().find(|(reserved, _)| *reserved == import) {
                assert!(allowed.contains(&name.as_str()), "{name} must not import {import}");
            }
            let is_for_commands = matches!(import.as_str(), "clap" | "anyhow");
            assert!(
                !is_for_commands || is_optional || name == "cli",
                "{name} may import {import} for its command only"
            );
        }
    }
}

#[test]
fn one_module_knows_the_oci_client() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut waiting = vec![src.clone()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            // What the fuzzer gets of it is a URL.
            let of_registry = path.starts_with(src.join("registry"))
                || [src.join("registry.rs"), src.join("fuzzing.rs")].contains(&path);
            let text = fs::read_to_string(&path).unwrap();
            for name in ["oci_distribution::", "reqwest::"] {
                assert!(of_registry || !text.contains(name), "{} imports {name}", path.display());
            }
        }
    }
}

#[test]
fn every_file_of_tests_is_part_of_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let names = |line: &str, start: &str, end: &str| {
        line.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).map(str::to_owned)
    };
    let listed = manifest.split("[[test]]").skip(1).filter_map(|entry| entry.trim().lines().next());
    let roots: BTreeSet<String> = listed.filter_map(|line| names(line, "name = \"", "\"")).collect();
    let mut parts = roots.clone();
    for root in &roots {
        let text = fs::read_to_string(tests.join(format!("{root}.rs"))).unwrap();
        parts.extend(text.lines().filter_map(|line| names(line, "mod ", ";")));
    }
    let files = fs::read_dir(tests).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.filter_map(|name| names(&name, "", ".rs")).collect();
    assert!(files.len() > 30 && files.is_subset(&parts), "{:?}", files.difference(&parts));
}
