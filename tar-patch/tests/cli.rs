//! The command: its exit codes, what it leaves behind, what it prints.

#[path = "../../registry-ext/tests/support/documented.rs"]
mod documented;
mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use delta_format::wire::{MAGIC_V1, OP_COPY, OP_DATA, OP_OPEN};
use layer::Digest;
use support::{assert_empty, extracted, golden, raw_delta, small_delta, small_tree};
use tempfile::TempDir;

fn tar_patch<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tar-patch"));
    command.args(args);
    command
}

/// A delta in a file, the tree that it reads, an empty directory for the output.
struct Scene {
    files: TempDir,
    tree: TempDir,
    outputs: TempDir,
    target: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let (delta, target) = small_delta();
        let scene = Self {
            files: tempfile::tempdir().expect("a temp dir"),
            tree: small_tree(),
            outputs: tempfile::tempdir().expect("a temp dir"),
            target,
        };
        fs::write(scene.delta(), delta).expect("a delta");
        scene
    }

    fn delta(&self) -> PathBuf {
        self.files.path().join("delta")
    }

    fn out(&self) -> PathBuf {
        self.outputs.path().join("out.tar")
    }

    fn diff_id(&self) -> String {
        Digest::of(&self.target).to_string()
    }

    fn run(&self, options: &[&str]) -> assert_cmd::assert::Assert {
        tar_patch(options).arg(self.delta()).arg(self.tree.path()).arg(self.out()).assert()
    }
}

#[test]
fn writes_the_layer_and_prints_its_diff_id() {
    let scene = Scene::new();
    let run = scene.run(&[]).success().stdout(format!("{}\n", scene.diff_id()));
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.starts_with("tar-patch: warning: ") && stderr.contains("--diff-id"), "{stderr}");
    assert_eq!(fs::read(scene.out()).unwrap(), scene.target);
    scene.run(&["--diff-id", &scene.diff_id(), "--sync"]).success().stdout("").stderr("");
    scene.run(&["-quiet", "-force"]).success().stdout("").stderr("");
}

#[test]
fn failures_have_their_exit_codes_and_leave_nothing() {
    let other = Digest::of(b"other").to_string();
    let missing = raw_delta(MAGIC_V1, &[(OP_OPEN, 5, b"other"), (OP_COPY, 1, b"")]);
    let short = raw_delta(MAGIC_V1, &[(OP_OPEN, 4, b"file"), (OP_COPY, 1000, b"")]);
    let cut = raw_delta(MAGIC_V1, &[(OP_DATA, 1000, b"x")]);
    let (good, _) = small_delta();
    let table: [(&[u8], &[&str], i32, &str); 8] = [
        (&good, &["--diff-id", &other], 3, "is not the expected layer"),
        (&missing, &[], 4, "`other` is missing"),
        (&short, &[], 4, "the delta reads up to byte 1000"),
        (&cut, &[], 5, "corrupt delta"),
        (b"no delta", &[], 5, "not a delta"),
        (&good, &["--max-size", "100"], 5, "the output is too large"),
        (&good, &["--max-size", "many"], 2, "--max-size"),
        (&good, &["--diff-id", "sha256:short"], 2, "is not a digest"),
    ];
    let scene = Scene::new();
    for (delta, options, code, text) in table {
        fs::write(scene.delta(), delta).unwrap();
        let assert = scene.run(options).code(code).stdout("");
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(stderr.contains(text), "{stderr}");
        if code != 2 {
            assert!(stderr.starts_with("tar-patch: error: ") && stderr.lines().count() == 1, "{stderr}");
        }
        assert_empty(scene.outputs.path());
    }
    // A file that was there stays as it was.
    fs::write(scene.delta(), good).unwrap();
    fs::write(scene.out(), "old").unwrap();
    scene.run(&["--max-size", "100", "--force"]).code(5);
    assert_eq!(fs::read(scene.out()).unwrap(), b"old");
}

#[test]
fn what_cannot_be_opened_is_exit_code_1() {
    let scene = Scene::new();
    let (delta, tree, out) = (scene.delta(), scene.tree.path().to_owned(), scene.out());
    let nowhere = Path::new("/nowhere/x").to_owned();
    for args in [[&nowhere, &tree, &out], [&delta, &nowhere, &out], [&delta, &tree, &nowhere]] {
        let assert = tar_patch(&args).assert().code(1);
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(stderr.contains("/nowhere/x"), "{stderr}");
        assert_empty(scene.outputs.path());
    }
    tar_patch(&[&delta, &tree, &tree, &out]).assert().code(2);
    tar_patch(&[&delta, &tree]).assert().code(2);
}

#[test]
fn a_digest_beside_the_delta_is_compared() {
    let scene = Scene::new();
    let beside = scene.files.path().join("delta.diff-id");
    fs::write(&beside, format!("{}\n", scene.diff_id())).unwrap();
    scene.run(&[]).success().stdout(format!("{}\n", scene.diff_id())).stderr("");
    fs::remove_file(scene.out()).unwrap();
    let other = Digest::of(b"other").to_string();
    fs::write(&beside, &other).unwrap();
    let run = scene.run(&[]).code(3);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("delta.diff-id"), "{stderr}");
    assert_empty(scene.outputs.path());
    scene.run(&["--diff-id", &scene.diff_id()]).success();
    fs::write(&beside, "no digest").unwrap();
    scene.run(&[]).code(1);
}

#[test]
fn an_output_that_is_an_input_or_a_delta_is_refused() {
    let scene = Scene::new();
    let (delta, tree, out) = (scene.delta(), scene.tree.path().to_owned(), scene.out());
    let layer = scene.files.path().join("old.tar.gz");
    fs::copy(fixtures::golden_dir().join("old.tar.gz"), &layer).unwrap();
    let inside = tree.join("new.tar");
    let link = scene.outputs.path().join("link");
    std::os::unix::fs::symlink(&delta, &link).unwrap();
    let other_delta = scene.files.path().join("other");
    fs::write(&other_delta, small_delta().0).unwrap();
    let before = fs::read(&delta).unwrap();
    for (args, text) in [
        ([&delta, &tree, &delta], "is the delta itself"),
        ([&delta, &tree, &link], "is the delta itself"),
        ([&delta, &layer, &layer], "is also a SOURCE"),
        ([&delta, &tree, &inside], "is in the directory of the old files"),
        ([&delta, &tree, &other_delta], "exists and is a delta (tardf1)"),
        ([&delta, &tree, &layer], "exists and is a gzip file"),
        // The order is another one.
        ([&tree, &delta, &out], "is a directory and no delta"),
        ([&layer, &delta, &out], "is a gzip file and no delta"),
        ([&delta, &other_delta, &out], "is a delta (tardf1) and no layer"),
    ] {
        let run = tar_patch(&args).assert().code(2).stdout("");
        let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(stderr.contains(text) && stderr.lines().count() == 1, "{stderr}");
    }
    assert_eq!(fs::read(&delta).unwrap(), before);
    assert!(!inside.exists() && !out.exists());
    tar_patch(&[&delta, &tree, &other_delta]).arg("--force").assert().success();
    assert_eq!(fs::read(&other_delta).unwrap(), scene.target);
}

#[test]
fn only_the_result_of_an_earlier_run_is_replaced_without_force() {
    let scene = Scene::new();
    let (delta, tree, out) = (scene.delta(), scene.tree.path().to_owned(), scene.out());
    let with_digest = || scene.run(&["--diff-id", &scene.diff_id()]);
    // Whoever forgets OUT gives the last of the old layers in its place.
    let tar = fixtures::LayerBuilder::new().file("precious", "x").finish(fixtures::Ending::Normal);
    for (content, text) in [
        (tar.as_slice(), "exists and is a tar, but not the one that the delta makes"),
        (b"a text", "exists and is a file of another kind"),
        (&[0; 1024], "exists and is a file of another kind"),
    ] {
        fs::write(&out, content).unwrap();
        for run in [scene.run(&[]), with_digest()] {
            let stderr = String::from_utf8_lossy(&run.code(2).get_output().stderr).into_owned();
            assert!(stderr.contains(text) && stderr.contains("--force"), "{stderr}");
        }
        assert_eq!(fs::read(&out).unwrap(), content);
        scene.run(&["--force"]).success();
        assert_eq!(fs::read(&out).unwrap(), scene.target);
    }
    with_digest().success();
    fs::write(scene.files.path().join("delta.diff-id"), scene.diff_id()).unwrap();
    scene.run(&[]).success();
    fs::write(&out, "").unwrap();
    scene.run(&[]).success();
    assert_eq!(fs::read(&out).unwrap(), scene.target);
    tar_patch(&[&delta, &tree]).arg("/dev/null").assert().success();
}

#[test]
fn a_fifo_in_the_place_of_the_digest_is_not_waited_for() {
    let scene = Scene::new();
    let beside = scene.files.path().join("delta.diff-id");
    let made = std::process::Command::new("mkfifo").arg(&beside).status().unwrap();
    assert!(made.success());
    let run = scene.run(&[]).code(1);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("delta.diff-id") && stderr.contains("not a regular file"), "{stderr}");
}

#[test]
fn a_dash_streams() {
    let scene = Scene::new();
    let delta = fs::read(scene.delta()).unwrap();
    let args = [OsStr::new("-"), scene.tree.path().as_os_str(), OsStr::new("-")];
    let diff_id = format!("{}\n", scene.diff_id());
    let assert = tar_patch(&args).write_stdin(delta.clone()).assert().success();
    assert_eq!(assert.get_output().stdout, scene.target);
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).ends_with(&diff_id));
    // Bytes went out, and the status says that they are wrong.
    let other = Digest::of(b"other").to_string();
    tar_patch(&args).args(["--diff-id", &other]).write_stdin(delta).assert().code(3);
}

#[test]
fn json_tells_what_the_run_took() {
    let scene = Scene::new();
    let assert = scene.run(&["--json"]).success();
    let json: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(json["diff_id"], scene.diff_id());
    assert_eq!(json["size"], scene.target.len());
    documented::check("tar-patch", &json);
    assert!(json["seconds"].as_f64().unwrap() > 0.0 && json["cpu_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn memory_does_not_grow_with_the_layer() {
    let scene = Scene::new();
    let zeros = vec![0; 96 << 20];
    fs::write(scene.delta(), raw_delta(MAGIC_V1, &[(OP_DATA, zeros.len() as u64, &zeros)])).unwrap();
    let args = [scene.delta(), scene.tree.path().to_owned(), "/dev/null".into(), "--json".into()];
    let assert = tar_patch(&args).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(json["size"], zeros.len());
    assert!(json["peak_memory"].as_u64().unwrap() < 64 << 20, "{json}");
}

#[test]
fn golden_deltas_over_both_kinds_of_source() {
    let target = golden("new.tar.gz");
    let golden_file = |name: &str| fixtures::golden_dir().join(name);
    let outputs = tempfile::tempdir().unwrap();
    let out = outputs.path().join("new.tar");
    let tree = extracted(&["old.tar.gz"]);
    let (delta, two_old) = (golden_file("basic.tardiff"), golden_file("two-old.tardiff"));
    let runs: [&[PathBuf]; 3] = [
        &[delta.clone(), tree.path().to_owned(), out.clone()],
        &[delta, golden_file("old.tar.gz"), out.clone()],
        &[two_old, golden_file("old.tar.gz"), golden_file("old2.tar.gz"), out.clone()],
    ];
    for args in runs {
        tar_patch(args).args(["-diff-id", &Digest::of(&target).to_string()]).assert().success();
        assert!(fs::read(&out).unwrap() == target, "{args:?}");
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn go_spelling_works() {
    let first_line = format!("tar-patch v{}\n", env!("CARGO_PKG_VERSION"));
    tar_patch(&["-V"]).assert().success().stdout(first_line.clone());
    for option in ["-version", "--version"] {
        let shown = tar_patch(&[option]).assert().success();
        let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
        assert!(shown.starts_with(&first_line), "{shown}");
        assert!(
            shown.contains("\ncommit: ") && shown.ends_with("\nformats: tardf1, tardf2, tardf3\n"),
            "{shown}"
        );
    }
    let scene = Scene::new();
    scene.run(&[&format!("-diff-id={}", scene.diff_id()), "-max-size", "1000"]).success();
}

#[test]
fn inspect_shows_what_a_delta_is_made_of() {
    let scene = Scene::new();
    let assert = tar_patch(&["inspect"]).arg(scene.delta()).assert().success();
    let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(text.starts_with("tardf1: ") && text.contains("source files: 1"), "{text}");
    assert!(text.lines().any(|line| line.ends_with("  file")), "{text}");

    let assert = tar_patch(&["inspect", "-json", "--top", "0"]).arg(scene.delta()).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(json["output_size"], scene.target.len());
    assert_eq!(json["copy"]["output"], 100);
    assert_eq!(json["add_zeros"], 1);
    assert_eq!(json["sources"], serde_json::json!([]));

    tar_patch(&["inspect", "-"]).write_stdin("no delta").assert().code(5);
    tar_patch(&["inspect", "/nowhere/x"]).assert().code(1);
}

#[test]
fn what_packagers_install() {
    tar_patch(&["--help"]).assert().success();
    let man = tar_patch(&["--man"]).assert().success();
    let page = String::from_utf8_lossy(&man.get_output().stdout).into_owned();
    assert!(page.contains(".TH tar-patch") && page.contains("TAR\\-PATCH INSPECT"), "{page}");
    tar_patch(&["-completions", "bash"]).assert().success();
    tar_patch(&["--completions", "nothing"]).assert().code(2);
}

#[test]
fn a_closed_stdout_is_silent() {
    let scene = Scene::new();
    let zeros = vec![0; 1 << 20];
    fs::write(scene.delta(), raw_delta(MAGIC_V1, &[(OP_DATA, zeros.len() as u64, &zeros)])).unwrap();
    let script = format!(
        "{{ '{}' '{}' '{}' -; echo $? >&2; }} | head -c 1 >/dev/null",
        env!("CARGO_BIN_EXE_tar-patch"),
        scene.delta().display(),
        scene.tree.path().display()
    );
    Command::new("sh").args(["-c", &script]).assert().success().stderr("141\n");
}
