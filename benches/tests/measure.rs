//! The command that measures, from layers to page.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn benches(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("CARGO")
        .output()
        .unwrap()
}

/// Programs that stand for tar-diff and tar-patch, so that the test needs no build of them: the "delta" is
/// the new layer.
fn stand_ins(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let write = |name: &str, script: &str| {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    // The last two arguments are NEW and OUT of one, and TREE and OUT of the other.
    write(
        "tar-diff",
        "for last; do new=$out; out=$last; done\ncase $* in *fail*) exit 3;; esac\ncp $new $out",
    );
    write("tar-patch", "for last; do delta=$tree; tree=$out; out=$last; done\ncp $delta $out");
}

#[test]
fn every_tool_is_in_the_report_also_if_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    let (old, new) = fixtures::Corpus { files: 20, mean_size: 2048, ..Default::default() }.pair();
    fs::create_dir(dir.path().join("small")).unwrap();
    fs::write(dir.path().join("small/old.tar"), &old).unwrap();
    fs::write(dir.path().join("small/new.tar"), &new).unwrap();
    let given = r#"{"small": {"name": "given", "delta_size": 9999, "cpu_over_gzip": 2.0, "peak_mb": 7.0}}"#;
    fs::write(dir.path().join("given.json"), given).unwrap();
    let line = "measure small --bin-dir . --only qbsdiff --only fail --with fail=--fail \
                --peer-figures given.json --baseline given --json report.json --html page.html";
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = benches(&arguments, dir.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(dir.path().join("report.json")).unwrap()).unwrap();
    let outcomes = report["pairs"][0]["runs"].as_array().unwrap();
    let of = |tool: &str| &outcomes.iter().find(|run| run["tool"] == tool).unwrap()["outcome"];
    assert_eq!(of("tar-diff fail")["failed"], "exit status 3");
    let reference = &of("qbsdiff")["done"];
    assert!(reference["delta_size"].as_u64().unwrap() < new.len() as u64, "{reference}");
    assert!(reference["make"]["peak"].as_u64().unwrap() > 1 << 20, "{reference}");
    assert_eq!(of("given")["done"]["delta_size"], 9999);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("| qbsdiff") && table.contains("as ratios to **given**"), "{table}");

    let shown = benches(&["show", "report.json", "--html", "again.html"], dir.path());
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), table);
    let page = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(page("page.html"), page("again.html"));
}

#[test]
fn mistakes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    for (line, words) in [
        ("measure . --bin-dir .", "holds no old.tar and new.tar"),
        ("measure --bin-dir . --only nobody", "no tool is left of: tar-diff"),
        ("measure --bin-dir nowhere --pair a,b", "give NAME,OLD,NEW"),
        ("show nothing.json", "cannot read nothing.json"),
    ] {
        let output = benches(&line.split(' ').collect::<Vec<_>>(), dir.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{line}: {said}");
    }
}

/// A page that is made of a report is the one that was made with it.
#[test]
fn figures_of_a_report_are_read_as_they_were_written() {
    for number in 1..20_000 {
        let figure = f64::from(number).sqrt() / 7.0;
        let text = serde_json::to_string(&figure).unwrap();
        let read: f64 = serde_json::from_str(&text).unwrap();
        assert_eq!(read.to_bits(), figure.to_bits(), "{text}");
    }
}
