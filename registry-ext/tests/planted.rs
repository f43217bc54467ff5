//! Stores in which somebody has put something else: fifos, links, devices, locks that nobody gives back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::images::{TestImage, pair, write_images};
use crate::support::{json, registry_ext};
use layer::{DiffId, Digest, SpoolOptions};
use registry_ext::Error;
use registry_ext::oci::{Name, descriptor_of, parse_manifest};
use registry_ext::repository::Repository;
use registry_ext::store::{Base, ContainersStorage, LayerStore, OciLayout, TreeRecord};
use registry_ext::store::{TreeStore, TreeTarget};
use registry_ext::watch::Watch;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// The things that are put in the place of a file.
const THINGS: [&str; 5] = ["fifo", "directory", "link to a fifo", "link to a device", "link to nothing"];

/// Puts something in the place of what is at `path`.
fn plant(thing: &str, path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
    let fifo = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    match thing {
        "fifo" => fifo(path),
        "directory" => fs::create_dir(path).unwrap(),
        "link to a fifo" => {
            let beside = path.with_extension("fifo");
            let _ = fs::remove_file(&beside);
            fifo(&beside);
            symlink(beside, path).unwrap();
        }
        "link to a device" => symlink("/dev/zero", path).unwrap(),
        _ => symlink("nothing", path).unwrap(),
    }
}

fn layout_of_pair(dir: &Path) -> (OciLayout, TestImage) {
    let images = pair();
    (write_images(dir, &[(&images.0, "v1"), (&images.1, "v2")]), images.1)
}

fn blobs_of(layout: &OciLayout, tag: &str) -> Vec<oci_spec::image::Descriptor> {
    let manifest = layout.manifest(&Name::Tag(tag.into())).unwrap().unwrap();
    let parsed = parse_manifest("manifest", &manifest.bytes).unwrap();
    parsed.layers().iter().chain([parsed.config()]).cloned().collect()
}

fn path_of(layout: &OciLayout, blob: &oci_spec::image::Descriptor) -> PathBuf {
    layout.blob_path(blob.digest().to_string().parse().unwrap())
}

/// A pull that has to fail, and leaves no image behind.
fn fails(image: &str, into: &Path) -> String {
    let line = format!("pull {image} --into oci:{}:v2 --platform linux/amd64", into.display());
    let said = registry_ext(&line).assert().failure().get_output().stderr.clone();
    let has_image =
        OciLayout::open(into).is_ok_and(|layout| layout.manifest(&Name::Tag("v2".into())).unwrap().is_some());
    assert!(!has_image, "an image is left that is not whole");
    String::from_utf8(said).unwrap()
}

#[test]
fn what_is_no_file_in_a_layout_is_an_error_and_nothing_waits() {
    for thing in THINGS {
        let dir = TempDir::new().unwrap();
        let (layout, _) = layout_of_pair(dir.path());
        let image = format!("oci:{}:v2", layout.dir().display());
        let into = dir.path().join("into");
        let blobs = blobs_of(&layout, "v2");
        for blob in &blobs {
            let path = path_of(&layout, blob);
            let kept = fs::read(&path).unwrap();
            plant(thing, &path);
            let said = fails(&image, &into);
            assert!(said.contains("registry-ext: error: "), "{thing}: {said}");
            assert!(layout.checked_blob(blob).is_err(), "{thing}");
            assert!(layout.layers().is_ok(), "{thing}: other images are still there");
            plant("nothing", &path);
            fs::remove_file(&path).unwrap();
            fs::write(&path, kept).unwrap();
        }
        for name in ["index.json", "oci-layout"] {
            let path = layout.dir().join(name);
            let kept = fs::read(&path).unwrap();
            plant(thing, &path);
            fails(&image, &into);
            plant("nothing", &path);
            fs::remove_file(&path).unwrap();
            fs::write(&path, kept).unwrap();
        }
        // Once all is right again, so is the pull.
        json(&format!("pull {image} --into oci:{}:v2 --platform linux/amd64", into.display()));
    }
}

#[test]
fn what_is_no_file_in_a_layout_that_is_written_to_is_an_error_or_replaced() {
    for thing in THINGS {
        let dir = TempDir::new().unwrap();
        let (layout, _) = layout_of_pair(dir.path());
        let image = format!("oci:{}:v2", layout.dir().display());
        for name in ["index.json", "oci-layout"] {
            let into = dir.path().join("into");
            OciLayout::create(&into).unwrap();
            plant(thing, &into.join(name));
            let line = format!("pull {image} --into oci:{}:v2 --platform linux/amd64", into.display());
            let output = registry_ext(&line).output().unwrap();
            // A link to nothing is a name that is free.
            assert!(!output.status.success() || thing == "link to nothing", "{thing} {name}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!said.contains("panicked"), "{said}");
            fs::remove_dir_all(&into).unwrap();
        }
        for blob in blobs_of(&layout, "v2") {
            let into = OciLayout::create(&dir.path().join("into")).unwrap();
            plant(thing, &path_of(&into, &blob));
            let digest: Digest = blob.digest().to_string().parse().unwrap();
            let put = into.put_blob(digest, &path_of(&layout, &blob));
            // A directory cannot be replaced by a file; all else is.
            assert_eq!(put.is_ok(), thing != "directory", "{thing}: {put:?}");
            assert_eq!(into.checked_blob(&blob).is_ok(), put.is_ok(), "{thing}");
            fs::remove_dir_all(into.dir()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_changes_after_it_was_checked_is_not_stored_under_its_digest() {
    let dir = TempDir::new().unwrap();
    let (layout, _) = layout_of_pair(dir.path());
    let into = OciLayout::create(&dir.path().join("into")).unwrap();
    let blob = blobs_of(&layout, "v2").remove(0);
    let digest: Digest = blob.digest().to_string().parse().unwrap();
    let path = layout.checked_blob(&blob).unwrap();
    let right = fs::read(&path).unwrap();
    for wrong in [right[1..].to_vec(), [&right[..], b"x"].concat(), vec![7; right.len()], Vec::new()] {
        fs::write(&path, &wrong).unwrap();
        let error = into.put_blob(digest, &path).unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
        assert!(!into.blob_path(digest).exists());
        assert!(layout.checked_blob(&blob).is_err());
    }
    // Half a blob that another tool left is written anew.
    fs::write(&path, &right).unwrap();
    fs::write(into.blob_path(digest), &right[..right.len() / 2]).unwrap();
    into.put_blob(digest, &path).unwrap();
    assert_eq!(fs::read(into.blob_path(digest)).unwrap(), right);
    // A document is checked as it is read.
    let small = descriptor_of("text/plain", b"a text");
    let place = path_of(&layout, &small);
    fs::write(&place, "a text").unwrap();
    let repository = Repository::Layout(layout);
    assert_eq!(repository.small_blob(&small, 100, dir.path()).await.unwrap(), b"a text");
    fs::write(&place, "b text").unwrap();
    assert!(repository.small_blob(&small, 100, dir.path()).await.is_err());
}

/// Puts the image v1 into the tree `tree`.
fn tree_of(dir: &Path) -> (OciLayout, PathBuf, PathBuf) {
    let (layout, _) = layout_of_pair(dir);
    let tree = dir.join("tree");
    json(&line(&layout, "v1", &tree));
    let state = dir.join(".tree.registry-ext");
    (layout, tree, state)
}

fn line(layout: &OciLayout, tag: &str, tree: &Path) -> String {
    format!("pull oci:{}:{tag} --into tree:{} --platform linux/amd64", layout.dir().display(), tree.display())
}

/// The directory of the record.
fn record_of(state: &Path) -> PathBuf {
    let mut names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b"image-")).unwrap()
}

#[test]
fn what_is_no_lock_beside_a_tree_is_an_error_that_names_it() {
    let dir = TempDir::new().unwrap();
    let (layout, tree, state) = tree_of(dir.path());
    for thing in THINGS {
        plant(thing, &state.join("lock"));
        let said = registry_ext(&line(&layout, "v2", &tree)).assert().failure().get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(".tree.registry-ext/lock"), "{thing}: {said}");
        assert!(!dir.path().join(".tree.registry-ext/nothing").exists(), "a link is not followed");
    }
    plant("nothing", &state.join("lock"));
    fs::remove_file(state.join("lock")).unwrap();
    json(&line(&layout, "v2", &tree));
}

#[test]
fn a_lock_that_another_process_keeps_ends_with_a_message() {
    let dir = TempDir::new().unwrap();
    let (_, tree, state) = tree_of(dir.path());
    let lock = File::open(state.join("lock")).unwrap();
    lock.lock().unwrap();
    let error = TreeTarget::open_within(&tree, Duration::from_millis(1), &Watch::nothing()).unwrap_err();
    let Error::Io { action: "lock", source, path } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("another process has held it"), "{source}");
    assert_eq!(*path, state.join("lock"));
    drop(lock);
    TreeTarget::open_within(&tree, Duration::ZERO, &Watch::nothing()).unwrap();
}

#[test]
fn a_record_that_is_none_is_refused_and_the_tree_stays() {
    let dir = TempDir::new().unwrap();
    let (layout, tree, state) = tree_of(dir.path());
    let record = record_of(&state).join("image.json");
    let right = fs::read_to_string(&record).unwrap();
    let mut huge = right.clone().into_bytes();
    huge.resize(5 << 20, b' ');
    let climbs = right.replacen("sha256:", "sha256:../../../../etc/", 1);
    let nested = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let texts = [huge, climbs.into_bytes(), nested.into_bytes(), b"{}".to_vec(), Vec::new(), vec![0xff; 100]];
    let refused = |what: &str| {
        let said = registry_ext(&line(&layout, "v2", &tree)).assert().failure().get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("cannot be read") && said.contains("move both away"), "{what}: {said}");
        assert!(said.len() < 2000, "{what}: {said}");
        assert!(tree.join("etc/gone").exists());
        // As a source, the tree is one of which nothing is known.
        assert!(TreeRecord::find(&tree).is_err());
        assert!(TreeStore::new(&tree, None).has(Base::Image(Digest::of(b"any"))).unwrap());
    };
    for text in texts {
        fs::write(&record, &text).unwrap();
        refused(&String::from_utf8_lossy(&text[..text.len().min(50)]));
    }
    for thing in ["fifo", "directory", "link to a fifo", "link to a device"] {
        plant(thing, &record);
        refused(thing);
    }
    plant("nothing", &record);
    fs::remove_file(&record).unwrap();
    fs::write(&record, right).unwrap();
    json(&line(&layout, "v2", &tree));
    assert!(!tree.join("etc/gone").exists());
}

#[test]
fn planted_deltas_of_a_record_cost_their_layers_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let (layout, tree, state) = tree_of(dir.path());
    let record = record_of(&state);
    let deltas: Vec<PathBuf> = fs::read_dir(&record)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|of| of == "tardiff"))
        .collect();
    assert_eq!(deltas.len(), 2);
    let known = TreeRecord::find(&tree).unwrap().unwrap().layers[0].diff_id;
    for thing in THINGS {
        deltas.iter().for_each(|path| plant(thing, path));
        let store = TreeStore::new(&tree, None);
        assert!(store.sources(Base::Layer(known), &SpoolOptions::default()).is_err(), "{thing}");
    }
    // Deltas that read what is outside, and that write more than the layer.
    let outside = "../../../../../../etc/passwd";
    let mut raw = b"tardf1\n\0".to_vec();
    let ops = [&[1, u8::try_from(outside.len()).unwrap()][..], outside.as_bytes(), &[2, 100]].concat();
    raw.extend(zstd::encode_all(ops.as_slice(), 3).unwrap());
    for bytes in [raw, b"tardf1\n\0".to_vec(), Vec::new()] {
        for path in &deltas {
            plant("nothing", path);
            fs::remove_file(path).unwrap();
            fs::write(path, &bytes).unwrap();
        }
        let store = TreeStore::new(&tree, None);
        assert!(store.sources(Base::Layer(known), &SpoolOptions::default()).is_err());
    }
    let output = registry_ext(&line(&layout, "v2", &tree)).assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is fetched, since files of it"), "{said}");
    assert!(!tree.join("etc/gone").exists());
}

#[test]
fn a_record_that_others_may_have_written_says_nothing() {
    let dir = TempDir::new().unwrap();
    let (_, tree, state) = tree_of(dir.path());
    assert!(TreeRecord::find(&tree).unwrap().is_some());
    for mode in [0o770, 0o702, 0o777] {
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
        assert!(TreeRecord::find(&tree).unwrap().is_none(), "{mode:o}");
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let moved = dir.path().join("moved");
    fs::rename(&state, &moved).unwrap();
    symlink(&moved, &state).unwrap();
    assert!(TreeRecord::find(&tree).unwrap().is_none(), "a link");
    fs::remove_file(&state).unwrap();
    fs::rename(&moved, &state).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(&state, Some(4711), None).unwrap();
        assert!(TreeRecord::find(&tree).unwrap().is_none(), "of another user");
    }
}

#[test]
fn what_is_planted_beside_a_tree_is_refused_in_a_directory_for_all() {
    let dir = TempDir::new().unwrap();
    let (layout, _) = layout_of_pair(dir.path());
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let (tree, state) = (shared.join("tree"), shared.join(".tree.registry-ext"));
    for thing in THINGS.into_iter().chain(["of another user"]) {
        match thing {
            "of another user" if rustix::process::geteuid().is_root() => {
                plant("directory", &state);
                fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
                chown(&state, Some(4711), None).unwrap();
            }
            "of another user" => continue,
            thing => plant(thing, &state),
        }
        if thing == "directory" {
            fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let said = registry_ext(&line(&layout, "v1", &tree)).assert().failure().get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("others can enter it, or it is not a directory of yours"), "{thing}: {said}");
        assert!(!tree.exists(), "{thing}");
    }
    fs::remove_dir_all(&state).unwrap();
    json(&line(&layout, "v1", &tree));
}

#[test]
fn a_tree_that_was_made_deeper_than_files_can_be_open_is_replaced() {
    let dir = TempDir::new().unwrap();
    let (layout, tree, state) = tree_of(dir.path());
    // As a program in the tree can do it: by names that are relative to where it is.
    let mut at = rustix::fs::open(&tree, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    for depth in 0..5000 {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
        if depth % 700 == 0 {
            rustix::fs::openat(&at, "file", rustix::fs::OFlags::CREATE, Mode::RUSR).unwrap();
        }
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(at);
    let said = registry_ext(&line(&layout, "v2", &tree)).assert().success().get_output().stderr.clone();
    assert_eq!(String::from_utf8(said).unwrap(), "");
    assert!(!tree.join("d").exists() && !tree.join("etc/gone").exists());
    assert_eq!(fs::read_dir(&state).unwrap().count(), 2, "the lock and the record");
}

#[test]
fn the_lists_of_a_storage_lead_nowhere_else() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("root");
    let lists = root.join("overlay-layers");
    fs::create_dir_all(&lists).unwrap();
    fs::create_dir_all(root.join("overlay/own/diff")).unwrap();
    fs::create_dir_all(root.join("overlay/linked")).unwrap();
    fs::create_dir_all(dir.path().join("secret/diff")).unwrap();
    symlink("/", root.join("overlay/linked/diff")).unwrap();
    symlink("../../secret", root.join("overlay/away")).unwrap();
    fs::write(root.join("overlay/file"), "").unwrap();
    let diff_id = DiffId(Digest::of(b"layer"));
    let secret = dir.path().join("secret").display().to_string();
    for (id, is_one) in [
        ("own", true),
        ("linked", false),
        ("away", false),
        ("file", false),
        ("missing", false),
        ("../../secret", false),
        (secret.as_str(), false),
        ("", false),
        ("..", false),
    ] {
        let list = serde_json::json!([{"id": id, "diff-digest": diff_id.to_string(), "diff-size": 1}]);
        fs::write(lists.join("layers.json"), list.to_string()).unwrap();
        let storage = ContainersStorage::open(&root, None).unwrap();
        let sources = storage.sources(Base::Layer(diff_id), &SpoolOptions::default());
        assert_eq!(sources.is_ok(), is_one, "{id}: {sources:?}");
    }
    for thing in THINGS {
        plant(thing, &lists.join("layers.json"));
        let layers = ContainersStorage::open(&root, None).unwrap().layers();
        assert_eq!(layers.is_err(), thing != "link to nothing", "{thing}");
    }
}
