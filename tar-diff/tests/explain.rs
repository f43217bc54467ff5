//! The command `tar-diff explain`: text, JSON and a page, also of hostile names.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use fixtures::{Ending, LayerBuilder, Rng};
use tempfile::TempDir;

/// Clears the screen, ends the table row, and looks like markup.
const HOSTILE: &[u8] = b"bin/\x1b[2J\n\xff<script>x</script>";
const SHOWN: &str = "bin/\\u{1b}[2J\\n\\xff<script>x</script>";

struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        let mut rng = Rng::new(1);
        let same = rng.bytes(20_000);
        let old = LayerBuilder::new().file("etc/same", &same).finish(Ending::Normal);
        let new = LayerBuilder::new()
            .file("etc/same", &same)
            .file(HOSTILE, rng.bytes(9000))
            .file("small", rng.bytes(100))
            .finish(Ending::Normal);
        fs::write(scene.path("old.tar"), old).unwrap();
        fs::write(scene.path("new.tar"), new).unwrap();
        scene.tar_diff().args(["old.tar", "new.tar", "delta"]).assert().success();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn tar_diff(&self) -> Command {
        let mut command = Command::cargo_bin("tar-diff").unwrap();
        command.current_dir(self.0.path());
        command
    }

    /// Returns the output of `tar-diff explain` with these arguments.
    fn explain(&self, args: &[&str]) -> String {
        let run = self.tar_diff().arg("explain").args(args).assert().success().stderr("");
        String::from_utf8(run.get_output().stdout.clone()).unwrap()
    }

    fn delta_size(&self) -> u64 {
        fs::metadata(self.path("delta")).unwrap().len()
    }
}

#[test]
fn text_lists_the_costliest_files_first() {
    let scene = Scene::new();
    let text = scene.explain(&["delta", "new.tar", "old.tar"]);
    assert!(text.starts_with(&format!("tardf1: {} bytes", scene.delta_size())), "{text}");
    let file = text.lines().find(|line| line.ends_with(SHOWN)).unwrap();
    assert!(file.contains("new file"), "{file}");
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text}");
    let one = scene.explain(&["-top", "1", "delta", "new.tar", "old.tar"]);
    assert!(one.contains(SHOWN) && !one.contains("small"), "{one}");
    let alone = scene.explain(&["delta", "new.tar"]);
    assert!(alone.contains("Give the old layers too"), "{alone}");
}

#[test]
fn json_adds_up() {
    let scene = Scene::new();
    let json = scene.explain(&["--json", "delta", "new.tar", "old.tar"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let files = json["files"].as_array().unwrap();
    let cost = |item: &serde_json::Value| item["cost"]["total"].as_u64().unwrap();
    let sum = files.iter().map(cost).sum::<u64>() + cost(&json["headers"]);
    assert_eq!(sum + json["frame_size"].as_u64().unwrap(), scene.delta_size());
    assert_eq!(json["delta_size"], scene.delta_size());
    assert_eq!(files[0]["path"], SHOWN);
    assert_eq!(files[0]["reason"], "new_file");
    assert_eq!(json["kinds"][0]["name"], "other");
    let one = scene.explain(&["--json", "--top=1", "delta", "new.tar"]);
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["files"].as_array().unwrap().len(), 1);
    assert_eq!(one["files"][0]["reason"], "compressed_content", "noise looks compressed");
}

#[test]
fn the_page_is_one_file() {
    let scene = Scene::new();
    assert_eq!(scene.explain(&["--html", "page.html", "delta", "new.tar", "old.tar"]), "");
    let page = fs::read_to_string(scene.path("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(
        page.contains("bin/\\u{1b}[2J\\n\\xff&lt;script&gt;x&lt;/script&gt;") && !page.contains("<script")
    );
    for said in ["A tardf1 delta that makes <b>new.tar</b>", "of the files of <b>old.tar</b>"] {
        assert!(page.contains(said), "{page}");
    }
    assert_eq!(scene.explain(&["--html", "-", "delta", "new.tar", "old.tar"]), page);
    let both = scene.explain(&["--json", "--html", "again.html", "delta", "new.tar", "old.tar"]);
    assert!(both.starts_with('{'));
    assert_eq!(fs::read_to_string(scene.path("again.html")).unwrap(), page);
}

#[test]
fn the_delta_may_come_from_stdin() {
    let scene = Scene::new();
    let delta = fs::read(scene.path("delta")).unwrap();
    let run = scene.tar_diff().args(["explain", "-", "new.tar"]).write_stdin(delta).assert().success();
    assert_eq!(run.get_output().stdout, scene.explain(&["delta", "new.tar"]).into_bytes());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let scene = Scene::new();
    for (args, text) in [
        (&["delta", "old.tar"][..], "the delta does not make"),
        (&["delta", "missing"], "missing"),
        (&["missing", "new.tar"], "missing"),
    ] {
        let args = [&["explain", "--html", "page.html"], args].concat();
        let run = scene.tar_diff().args(args).assert().code(1).stdout("");
        let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(stderr.starts_with("tar-diff: error: ") && stderr.contains(text), "{stderr}");
        assert!(!scene.path("page.html").exists());
    }
    let run = scene.tar_diff().args(["explain", "new.tar", "new.tar"]).assert().code(2);
    let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("`new.tar` is a tar and no delta"), "{stderr}");
    // A page does not replace what it is about.
    scene.tar_diff().args(["explain", "--html", "new.tar", "delta", "new.tar"]).assert().code(2);
    scene.tar_diff().args(["explain", "delta"]).assert().code(2);
}

#[test]
fn layers_and_deltas_may_be_called_explain() {
    let scene = Scene::new();
    fs::rename(scene.path("old.tar"), scene.path("explain")).unwrap();
    scene.tar_diff().args(["./explain", "new.tar", "again"]).assert().success();
    assert_eq!(fs::read(scene.path("again")).unwrap(), fs::read(scene.path("delta")).unwrap());
    scene.tar_diff().args(["--quiet", "./explain", "explain", "new.tar", "third"]).assert().success();
    scene.tar_diff().args(["new.tar", "new.tar", "explain", "--force"]).assert().success();
}

#[test]
fn help_man_page_and_completions_know_it() {
    let scene = Scene::new();
    for (args, expected) in [
        (&["explain", "--help"][..], "--html"),
        (&["--help"], "explain"),
        (&["--man"], ".SH \"TAR\\-DIFF EXPLAIN\""),
        (&["--completions", "bash"], "html"),
    ] {
        let run = scene.tar_diff().args(args).assert().success();
        let stdout = String::from_utf8(run.get_output().stdout.clone()).unwrap();
        assert!(stdout.contains(expected), "{args:?}: {stdout}");
    }
}
