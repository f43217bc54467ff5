//! `pull --into tree:DIR`: what podman has, updated in place, all at once or not at all.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::docker_registry::run;
use crate::support::images::{TestImage, pair, push, write_blobs};
use crate::support::kinds::{self, IMPLIED};
use crate::support::listing::{assert_same, listing, without_times};
use crate::support::server::{Registry, Switches};
use crate::support::{json, open, options, registry_ext};
use fixtures::faults::behind;
use fixtures::{Ending, LayerBuilder};
use registry_ext::store::OciLayout;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::block_in_place;

/// A directory with a layout of images, and with a tree.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new(images: &[(&str, &TestImage)]) -> Self {
        let bench = Self { dir: TempDir::new().unwrap() };
        let layout = OciLayout::create(&bench.path("images")).unwrap();
        for (tag, image) in images {
            image.write(&layout, tag);
        }
        bench
    }

    /// An old and a new image with files of every kind. They share their first layer.
    fn with_all_kinds() -> Self {
        let (first, second) = (kinds::first(), kinds::second());
        Self::new(&[("v1", &TestImage::new(&[&first])), ("v2", &TestImage::new(&[&first, &second]))])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.path("images").display())
    }

    fn line(&self, image: &str, tree: &str) -> String {
        format!("pull {image} --into tree:{} --platform linux/amd64", self.path(tree).display())
    }

    fn pull(&self, image: &str, tree: &str) -> Value {
        json(&self.line(image, tree))
    }

    /// The error of a pull that has to fail.
    fn refused(&self, image: &str, tree: &str) -> String {
        let output = registry_ext(&self.line(image, tree)).assert().failure().get_output().stderr.clone();
        String::from_utf8(output).unwrap()
    }

    fn listing(&self, tree: &str) -> BTreeMap<String, String> {
        without_times(listing(&self.path(tree)), IMPLIED)
    }

    /// The files beside a tree.
    fn state(&self, tree: &str) -> Vec<String> {
        let listed = fs::read_dir(self.path(&format!(".{tree}.registry-ext"))).unwrap();
        let mut names: Vec<String> =
            listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn assert_tidy(&self, tree: &str) {
        let state = self.state(tree);
        assert!(
            matches!(state.as_slice(), [image, lock] if image.starts_with("image-") && lock == "lock"),
            "{state:?}"
        );
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_tree_is_what_podman_mounts() {
    if !is_root() {
        return;
    }
    let bench = Bench::with_all_kinds();
    let place = bench.dir.path().display();
    let podman =
        [format!("--root={place}/root"), format!("--runroot={place}/run"), "--storage-driver=vfs".into()];
    let podman = |args: &[&str]| {
        let args: Vec<&str> = podman.iter().map(String::as_str).chain(args.iter().copied()).collect();
        run("podman", &args).trim().to_owned()
    };
    for tag in ["v1", "v2"] {
        let storage = format!("containers-storage:[vfs@{place}/root+{place}/run]localhost/app:{tag}");
        run("skopeo", &["copy", "-q", &bench.image(tag), &storage]);
        let mounted = podman(&["image", "mount", &format!("localhost/app:{tag}")]);
        // In place for v2, and afresh.
        bench.pull(&bench.image(tag), "tree");
        bench.pull(&bench.image(tag), &format!("tree-{tag}"));
        let theirs = without_times(listing(Path::new(&mounted)), IMPLIED);
        assert!(theirs.len() > 60);
        assert_same(&bench.listing("tree"), &theirs);
        assert_same(&bench.listing(&format!("tree-{tag}")), &theirs);
        podman(&["image", "unmount", &format!("localhost/app:{tag}")]);
    }
    bench.assert_tidy("tree");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_in_place_fetches_deltas_alone() {
    let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let images = pair();
    let bench = Bench::new(&[("v1", &images.0), ("v2", &images.1)]);
    let app = format!("{}/app", registry.address());
    let repository = open(&app, &options(), bench.dir.path());
    let layout = OciLayout::open(&bench.path("images")).unwrap();
    push(&layout, "v1", &repository).await;
    push(&layout, "v2", &repository).await;
    let (old, new) = (format!("{app}:v1"), format!("{app}:v2"));
    for reader in ["oci-delta", "flatpak"] {
        block_in_place(|| json(&format!("publish {new} --from {old} --for {reader}")));
        let tree = format!("tree-{reader}");
        block_in_place(|| {
            let first = bench.pull(&old, &tree);
            assert_eq!(first["layers"][0]["from"], "blob", "{first}");
            assert_eq!(fs::read_to_string(bench.path(&tree).join("etc/gone")).unwrap(), "to be hidden");
            let report = bench.pull(&new, &tree);
            assert_eq!(report["layers"][0]["from"], "local", "{report}");
            assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
            assert_eq!(report["layers"][2]["from"], "blob", "{report}");
            assert_eq!(report["manifest"], report["stored_manifest"]);
            let (fetched, whole) =
                (report["fetched"].as_u64().unwrap(), crate::support::sum(&report["layers"], "blob_size"));
            assert!(fetched * 4 < whole, "{report}");
            // As a fresh pull has it.
            bench.pull(&new, "fresh");
            let without_root = |tree: &str| without_times(listing(&bench.path(tree)), &["."]);
            assert_same(&without_root(&tree), &without_root("fresh"));
            bench.assert_tidy(&tree);
            // The same again changes nothing.
            let inode = fs::metadata(bench.path(&tree)).unwrap().ino();
            let again = bench.pull(&new, &tree);
            assert!(
                again["layers"].as_array().unwrap().iter().all(|layer| layer["from"] == "local"),
                "{again}"
            );
            assert_eq!(
                (again["fetched"].as_u64(), fs::metadata(bench.path(&tree)).unwrap().ino()),
                (Some(0), inode)
            );
            // Another store takes the record's word for what the tree holds.
            bench.pull(&old, "source");
            let line = format!(
                "pull {new} --into oci:{} --source tree:{} --platform linux/amd64",
                bench.path(&format!("store-{reader}")).display(),
                bench.path("source").display()
            );
            let report = json(&line);
            assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
            fs::remove_dir_all(bench.path("source")).unwrap();
        });
        let prune = format!("prune {new} --yes");
        block_in_place(|| json(&prune));
    }
}

#[test]
fn files_that_were_changed_cost_their_layers() {
    let bench = Bench::with_all_kinds();
    bench.pull(&bench.image("v1"), "tree");
    fs::write(bench.path("tree/usr/lib/b"), "changed").unwrap();
    let output =
        registry_ext(&bench.line(&bench.image("v2"), "tree")).assert().success().get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("is fetched, since files of it"), "{stderr}");
    bench.pull(&bench.image("v2"), "fresh");
    assert_same(&bench.listing("tree"), &bench.listing("fresh"));
}

#[test]
fn only_trees_of_ours_are_replaced() {
    let bench = Bench::with_all_kinds();
    let image = bench.image("v1");
    fs::create_dir(bench.path("empty")).unwrap();
    bench.pull(&image, "empty");
    fs::create_dir(bench.path("full")).unwrap();
    fs::write(bench.path("full/precious"), "x").unwrap();
    let error = bench.refused(&image, "full");
    assert!(error.contains("move it away"), "{error}");
    fs::write(bench.path("file"), "x").unwrap();
    assert!(bench.refused(&image, "file").contains("not a directory"));
    assert_eq!(fs::read(bench.path("full/precious")).unwrap(), b"x");
    // A directory that somebody put in the place of a tree is not the tree.
    bench.pull(&image, "tree");
    fs::rename(bench.path("tree"), bench.path("moved")).unwrap();
    fs::create_dir(bench.path("tree")).unwrap();
    fs::write(bench.path("tree/precious"), "x").unwrap();
    assert!(bench.refused(&image, "tree").contains("move it away"));
    fs::remove_dir_all(bench.path("tree")).unwrap();
    bench.pull(&image, "tree");
    assert_same(&bench.listing("tree"), &bench.listing("moved"));
    // By another name of the same directory.
    std::os::unix::fs::symlink("tree", bench.path("link")).unwrap();
    bench.pull(&bench.image("v2"), "link");
    assert!(fs::symlink_metadata(bench.path("link")).unwrap().is_symlink());
    assert!(bench.path("tree/opaque/own").exists());
    // A directory beside it that others can enter is not used.
    fs::create_dir(bench.path(".open.registry-ext")).unwrap();
    assert!(bench.refused(&image, "open").contains("others can enter it"));
    let digest = format!("open@sha256:{}", "00".repeat(32));
    assert!(bench.refused(&image, &digest).contains("a digest is for a tree that is a source"));
}

#[test]
fn what_is_mounted_in_a_tree_stays() {
    let bench = Bench::with_all_kinds();
    bench.pull(&bench.image("v1"), "tree");
    fs::create_dir(bench.path("precious")).unwrap();
    fs::write(bench.path("precious/x"), "x").unwrap();
    let (from, to) = (bench.path("precious"), bench.path("tree/tmp"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let mounted = Command::new("mount").args(["--bind", from, to]).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let error = bench.refused(&bench.image("v2"), "tree");
    run("umount", &[to]);
    assert!(error.contains("is a mount point"), "{error}");
    assert_eq!(fs::read(bench.path("precious/x")).unwrap(), b"x");
    bench.pull(&bench.image("v2"), "tree");
}

#[test]
fn a_bad_layer_changes_nothing() {
    let mut builder = fixtures::LayerBuilder::new();
    let bad = builder.file("x", "1").file("../x", "2").finish(fixtures::Ending::Normal);
    let first = kinds::first();
    let bench = Bench::new(&[("v1", &TestImage::new(&[&first])), ("bad", &TestImage::new(&[&first, &bad]))]);
    bench.pull(&bench.image("v1"), "tree");
    let before = bench.listing("tree");
    let error = bench.refused(&bench.image("bad"), "tree");
    assert!(error.contains("leads out of the tree"), "{error}");
    assert_same(&bench.listing("tree"), &before);
    bench.assert_tidy("tree");
    bench.refused(&bench.image("bad"), "other");
    assert!(!bench.path("other").exists());
}

#[test]
fn a_killed_pull_leaves_the_old_tree_or_the_new() {
    let bench = Bench::with_all_kinds();
    bench.pull(&bench.image("v1"), "v1");
    bench.pull(&bench.image("v2"), "v2");
    let (old, new) = (bench.listing("v1"), bench.listing("v2"));
    bench.pull(&bench.image("v1"), "tree");
    let (mut kept, mut changed) = (0, 0);
    let mut delay = Duration::from_millis(5);
    while changed < 5 {
        let mut child = pull_process(&bench, "v2", "tree").spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let there = bench.listing("tree");
        if there == old {
            kept += 1;
            delay += Duration::from_millis(3);
            continue;
        }
        changed += 1;
        assert_same(&there, &new);
        bench.pull(&bench.image("v1"), "tree");
        assert_same(&bench.listing("tree"), &old);
        bench.assert_tidy("tree");
    }
    assert!(kept > 0);
    bench.pull(&bench.image("v2"), "tree");
    assert_same(&bench.listing("tree"), &new);
    bench.assert_tidy("tree");
}

/// A pull as a process of its own. What it leaves if it is killed goes away with the bench.
fn pull_process(bench: &Bench, tag: &str, tree: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry-ext"));
    let line = bench.line(&bench.image(tag), tree);
    command.env("TMPDIR", bench.dir.path());
    command.args(line.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn two_pulls_take_turns() {
    let bench = Bench::with_all_kinds();
    for _ in 0..5 {
        let pulls = ["v1", "v2", "v1"].map(|tag| pull_process(&bench, tag, "tree").spawn().unwrap());
        for mut pull in pulls {
            assert!(pull.wait().unwrap().success());
        }
        bench.assert_tidy("tree");
    }
}

#[test]
fn ctrl_c_ends_a_pull_that_waits_for_another() {
    let bench = Bench::with_all_kinds();
    assert!(pull_process(&bench, "v1", "tree").status().unwrap().success());
    let lock = fs::File::open(bench.path(".tree.registry-ext/lock")).unwrap();
    lock.lock().unwrap();
    let mut pull = behind(&["env", "--default-signal=INT"], &pull_process(&bench, "v2", "tree"));
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(pull.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("waiting for another pull"), "{said}");
    run("kill", &["-INT", &pull.id().to_string()]);
    assert_eq!(pull.wait().unwrap().code(), Some(130));
    bench.assert_tidy("tree");
}

#[test]
fn without_privileges_owners_stay_and_devices_are_left_out() {
    if !is_root() {
        return;
    }
    const NOBODY: u32 = 65534;
    let bench = Bench::with_all_kinds();
    fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Where others may run it.
    fs::copy(env!("CARGO_BIN_EXE_registry-ext"), bench.path("registry-ext")).unwrap();
    fs::create_dir(bench.path("home")).unwrap();
    std::os::unix::fs::chown(bench.path("home"), Some(NOBODY), Some(NOBODY)).unwrap();
    for tag in ["v1", "v2"] {
        let line = bench.line(&bench.image(tag), "home/tree");
        let output = Command::new(bench.path("registry-ext"))
            .args(line.split_whitespace())
            .args(["--tmp-dir", bench.path("home").to_str().unwrap()])
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("2 devices are left out"), "{stderr}");
        assert!(stderr.contains("1 files lack extended attributes"), "{stderr}");
    }
    let tree = bench.path("home/tree");
    let read_only = fs::metadata(tree.join("read-only")).unwrap();
    assert_eq!((read_only.mode() & 0o7777, read_only.uid()), (0o500, NOBODY));
    assert_eq!(fs::read(tree.join("read-only/y")).unwrap(), b"2");
    assert!(!tree.join("dev/null").exists());
}

#[test]
fn the_layers_of_an_image_share_the_memory_that_their_names_are_granted() {
    let target = "n".repeat(4000);
    let links = |first: u32| {
        let mut layer = LayerBuilder::new();
        for number in first..first + 2_500 {
            layer.symlink(number.to_string(), &target);
        }
        layer.finish(Ending::Normal)
    };
    let (many, more) = (links(0), links(2_500));
    let bench = Bench::new(&[]);
    let layout = OciLayout::create(&bench.path("images")).unwrap();
    for (tag, layers) in [("v1", vec![many.clone()]), ("v2", vec![many, more])] {
        let frame = |layer: &Vec<u8>| zstd::encode_all(layer.as_slice(), 12).unwrap();
        let blob = |layer| ("application/vnd.oci.image.layer.v1.tar+zstd", frame(layer));
        let manifest = write_blobs(&layout, "amd64", &layers, layers.iter().map(blob).collect());
        layout.put_manifest(&manifest, Some(tag)).unwrap();
    }
    bench.pull(&bench.image("v1"), "tree");
    let said = bench.refused(&bench.image("v2"), "other");
    assert!(said.contains("more than is granted to layers of this size"), "{said}");
}
