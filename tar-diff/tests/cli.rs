//! The command: flags of the Go tool, streams, and no output that is not whole.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "../../registry-ext/tests/support/documented.rs"]
mod documented;

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
    assert_eq!(version.lines().next(), Some(concat!("tar-diff v", env!("CARGO_PKG_VERSION"))));
    assert!(version.ends_with("\nformats: tardf1, tardf2, tardf3\n"), "{version}");
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
    documented::check("tar-diff", &json);
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
    assert!(stderr.contains("text is no tar: it is a text"), "{stderr}");
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
    let before = b"tardf1\n\0what was there";
    fs::write(pair.path("delta"), before).unwrap();
    pair.tar_diff().args(["old.tar", "missing", "delta"]).assert().code(1);
    assert_eq!(fs::read(pair.path("delta")).unwrap(), before);
    pair.tar_diff().args(["old.tar", "new.tar", "delta"]).assert().success();
    assert_eq!(pair.rebuild(&fs::read(pair.path("delta")).unwrap()), pair.new, "deltas are replaced");
}

#[test]
fn an_output_that_is_a_layer_or_no_delta_is_refused() {
    let pair = Pair::new();
    fs::hard_link(pair.path("new.tar"), pair.path("hard")).unwrap();
    std::os::unix::fs::symlink("new.tar", pair.path("soft")).unwrap();
    fs::write(pair.path("text"), "notes").unwrap();
    let gzip = [0x1f, 0x8b, 8, 0, 0];
    fs::write(pair.path("other.tar.gz"), gzip).unwrap();
    let before: Vec<_> = pair.names().iter().map(|name| fs::read(pair.path(name)).unwrap()).collect();
    for (args, named) in [
        // The name of the delta was forgotten.
        (&["old.tar", "old.tar", "new.tar"][..], "`new.tar` exists and is a tar"),
        (&["old.tar", "new.tar", "new.tar"], "`new.tar` would be written and is also read"),
        (&["old.tar", "new.tar", "old.tar"], "`old.tar` would be written and is also read"),
        (&["old.tar", "new.tar", "./soft"], "`./soft` would be written"),
        (&["old.tar", "new.tar", "hard"], "`hard` would be written"),
        (&["old.tar", "new.tar", "text"], "`text` exists"),
        (&["old.tar", "new.tar", "other.tar.gz"], "is a gzip file"),
        (&["--diff-id-file=new.tar", "old.tar", "new.tar", "delta"], "would replace `new.tar`"),
    ] {
        let run = pair.tar_diff().args(args).assert().code(2);
        let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(named) && stderr.lines().count() == 1, "{args:?}: {stderr}");
    }
    let after: Vec<_> = pair.names().iter().map(|name| fs::read(pair.path(name)).unwrap()).collect();
    assert_eq!(after, before);
    fs::write(pair.path("empty"), "").unwrap();
    for args in [&["old.tar", "new.tar", "empty"][..], &["--force", "old.tar", "new.tar", "text"]] {
        pair.tar_diff().args(args).assert().success();
        assert_eq!(pair.rebuild(&fs::read(pair.path(args.last().unwrap())).unwrap()), pair.new);
    }
}

#[test]
fn a_delta_in_the_place_of_a_layer_is_named() {
    let pair = Pair::new();
    pair.tar_diff().args(["old.tar", "new.tar", "delta"]).assert().success();
    for args in
        [&["delta", "new.tar", "out"][..], &["old.tar", "delta", "out"], &["explain", "new.tar", "delta"]]
    {
        let run = pair.tar_diff().args(args).assert().code(2);
        let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains("in this order"), "{args:?}: {stderr}");
    }
}

#[test]
fn the_diff_id_is_printed_and_kept_beside_the_delta() {
    let pair = Pair::new();
    let diff_id = layer::Digest::of(&pair.new).to_string();
    let run = pair.tar_diff().args(["old.tar", "new.tar", "delta"]).assert().success();
    let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains(&diff_id) && pair.names() == ["delta", "new.tar", "old.tar"], "{stderr}");
    let run = pair.tar_diff().args(["--json", "old.tar", "new.tar", "delta"]).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(json["diff_id"], diff_id);
    assert_eq!((&json["new_size"], &json["new_blob_size"]), (&pair.new.len().into(), &pair.new.len().into()));

    pair.tar_diff().args(["-q", "--diff-id-file", "old.tar", "new.tar", "delta"]).assert().success();
    assert_eq!(fs::read_to_string(pair.path("delta.diff-id")).unwrap(), format!("{diff_id}\n"));
    pair.tar_diff().args(["-diff-id-file=id", "old.tar", "new.tar", "-"]).assert().success();
    assert_eq!(fs::read_to_string(pair.path("id")).unwrap(), format!("{diff_id}\n"));
    pair.tar_diff().args(["--diff-id-file", "old.tar", "new.tar", "-"]).assert().code(2);
    // The next delta of that name is of another layer.
    pair.tar_diff().args(["-q", "new.tar", "old.tar", "delta"]).assert().success();
    let old = layer::Digest::of(&fs::read(pair.path("old.tar")).unwrap());
    assert_eq!(fs::read_to_string(pair.path("delta.diff-id")).unwrap(), format!("{old}\n"));
}

#[test]
fn names_do_not_steer_the_terminal() {
    let pair = Pair::new();
    for args in [&["old.tar", "\x1b[2J\nfake\u{202e}", "out"][..], &["--level", "\x1b[2J", "a", "b", "c"]] {
        let run = pair.tar_diff().args(args).assert().failure();
        let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        let is_bad = |text: char| text != '\n' && !delta_format::is_printable(text);
        assert!(!stderr.contains(is_bad), "{stderr:?}");
        // clap leaves escape sequences out.
        assert!(stderr.contains("\\u{1b}[2J\\nfake\\u{202e}") || args[0] == "--level", "{stderr:?}");
    }
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
