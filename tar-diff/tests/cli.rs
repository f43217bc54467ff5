//! The command: flags of the Go tool, streams, and no output that is not whole.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use assert_cmd::Command;
use fixtures::Corpus;
use tempfile::TempDir;

struct Pair {
    directory: TempDir,
    new: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let (old, new) = Corpus { files: 40, mean_size: 4000, ..Corpus::default() }.pair();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("old.tar"), old).unwrap();
        fs::write(directory.path().join("new.tar"), &new).unwrap();
        Self { directory, new }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tar_diff(&self) -> Command {
        let mut command = Command::cargo_bin("tar-diff").unwrap();
        command.current_dir(self.directory.path());
        command
    }

    /// Applies a delta to the old tarball.
    fn rebuild(&self, delta: &[u8]) -> Vec<u8> {
        let mut sources = tar_patch::LayerSource::open(&[self.path("old.tar")], &Default::default()).unwrap();
        let mut output = Vec::new();
        tar_patch::apply(delta, &mut sources, Default::default(), &mut output).unwrap();
        output
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_delta_is_made_and_applies() {
    let pair = Pair::new();
    pair.tar_diff().args(["old.tar", "new.tar", "delta"]).assert().success();
    assert_eq!(pair.rebuild(&fs::read(pair.path("delta")).unwrap()), pair.new);
    assert_eq!(pair.names(), ["delta", "new.tar", "old.tar"]);
}

#[test]
fn the_go_spelling_of_flags_works() {
    let pair = Pair::new();
    for flags in [
        &["-compression-level", "3", "-max-bsdiff-size=1", "-tmp-dir", "."][..],
        &["--compression-level=19", "-apply-whiteouts", "-binary-diff", "auto"],
        &[
            "-apply-whiteouts=false",
            "-source-prefix",
            "usr/",
            "-source-prefix=opt/",
            "-ignore-source-prefix",
            "usr/x",
        ],
        &["-binary-diff=zstd"],
        &["-max-bsdiff-size", "0"],
    ] {
        pair.tar_diff().args(flags).args(["old.tar", "new.tar", "delta"]).assert().success();
        assert_eq!(pair.rebuild(&fs::read(pair.path("delta")).unwrap()), pair.new, "{flags:?}");
    }
    let version = pair.tar_diff().arg("-version").assert().success();
    let version = String::from_utf8(version.get_output().stdout.clone()).unwrap();
    assert_eq!(version, format!("tar-diff v{}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn new_comes_from_stdin_and_the_delta_goes_to_stdout() {
    let pair = Pair::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&pair.new).unwrap();
    let run =
        pair.tar_diff().args(["old.tar", "-", "-"]).write_stdin(gzip.finish().unwrap()).assert().success();
    assert_eq!(pair.rebuild(&run.get_output().stdout), pair.new);
    assert_eq!(pair.names(), ["new.tar", "old.tar"]);
}

#[test]
fn figures_are_json() {
    let pair = Pair::new();
    let run = pair.tar_diff().args(["--json", "old.tar", "new.tar", "delta"]).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(json["delta_size"], fs::metadata(pair.path("delta")).unwrap().len());
    assert_eq!(json["segments"]["target_size"], pair.new.len());
    for key in ["ratio", "seconds", "cpu_seconds", "peak_memory"] {
        assert!(json[key].as_f64().is_some_and(|figure| figure > 0.0), "{key}");
    }
    let quiet = pair.tar_diff().args(["--quiet", "old.tar", "new.tar", "delta"]).assert().success();
    assert!(quiet.get_output().stderr.is_empty() && quiet.get_output().stdout.is_empty());
}

#[test]
fn a_failure_leaves_nothing_and_says_why() {
    let pair = Pair::new();
    fs::write(pair.path("text"), "this is no tar at all".repeat(100)).unwrap();
    let run = pair.tar_diff().args(["old.tar", "text", "delta"]).assert().code(1);
    let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("text: broken tar at byte 0"), "{stderr}");
    let run = pair.tar_diff().args(["missing", "new.tar", "delta"]).assert().code(1);
    let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("missing") && stderr.contains("No such file"), "{stderr}");
    pair.tar_diff().args(["old.tar", "new.tar", "no/such/directory/delta"]).assert().code(1);
    pair.tar_diff().args(["old.tar", "new.tar"]).assert().code(2);
    pair.tar_diff().args(["-compression-level", "0", "old.tar", "new.tar", "delta"]).assert().code(2);
    assert_eq!(pair.names(), ["new.tar", "old.tar", "text"]);
}

#[test]
fn an_old_delta_stays_until_the_new_one_is_whole() {
    let pair = Pair::new();
    fs::write(pair.path("delta"), "what was there").unwrap();
    pair.tar_diff().args(["old.tar", "missing", "delta"]).assert().code(1);
    assert_eq!(fs::read(pair.path("delta")).unwrap(), b"what was there");
}

#[test]
fn help_completions_and_man_page_are_there() {
    let pair = Pair::new();
    for (flags, expected) in [
        (&["--help"][..], "Examples:"),
        (&["--completions", "bash"], "binary-diff"),
        (&["--man"], ".TH tar-diff"),
    ] {
        let run = pair.tar_diff().args(flags).assert().success();
        let stdout = String::from_utf8(run.get_output().stdout.clone()).unwrap();
        assert!(stdout.contains(expected), "{flags:?}");
    }
}
