//! Pulls into a containers-storage by each of the programs that write to one, with no other of them installed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::docker_registry::{DockerRegistry, Setup, push_images, run};
use crate::support::images::pair;
use crate::support::registry_ext;
use crate::support::storage::Storage;
use serde_json::Value;
use tempfile::TempDir;

/// Makes a directory for `$PATH` that has one program alone.
fn only(program: &str, dir: &Path) -> String {
    let path = dir.join(format!("only-{program}"));
    fs::create_dir(&path).unwrap();
    let found = run("sh", &["-c", &format!("command -v {program}")]);
    symlink(found.trim(), path.join(program)).unwrap();
    path.display().to_string()
}

/// Pulls with a `$PATH` and a `$HOME` that is there, and reads the report.
fn pull(image: &str, into: &str, path: &str) -> Value {
    let mut command = registry_ext(&format!("pull {image} --into {into} --json"));
    let output = command.env("PATH", path).env("HOME", path).assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

/// What podman has under a name: the digest of the manifest, the ID, and the digests of the layers.
fn stored(storage: &Storage, name: &str) -> Vec<String> {
    let format = "{{.Digest}} sha256:{{.Id}}{{range .RootFS.Layers}} {{.}}{{end}}";
    let found = storage.run(&["podman", "image", "inspect", "--format", format, name]);
    found.split(' ').map(str::to_owned).collect()
}

#[test]
fn each_program_alone_stores_an_image_whose_layers_are_there_or_come_as_deltas() {
    let registry = DockerRegistry::start(Setup::default());
    let (dir, images) = (TempDir::new().unwrap(), pair());
    let app = format!("{}/app", registry.address());
    push_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")], &app);
    registry_ext(&format!("publish {app}:v2 --from {app}:v1")).assert().success();

    let mut seen = Vec::new();
    for (program, driver) in [("skopeo", "vfs"), ("podman", "overlay"), ("buildah", "vfs")] {
        let case = dir.path().join(program);
        fs::create_dir(&case).unwrap();
        let (path, storage) = (only(program, &case), Storage::new(case.join("storage"), driver));
        let into = storage.source();
        pull(&format!("{app}:v1"), &format!("{into}{app}:stable"), &path);
        let old = stored(&storage, &format!("{app}:stable"));
        let report = pull(&format!("{app}:v2"), &format!("{into}{app}:stable"), &path);
        let from: Vec<&Value> =
            report["layers"].as_array().unwrap().iter().map(|layer| &layer["from"]).collect();
        assert_eq!(from[0], "local", "{program}: {report}");
        assert!(from[1]["delta"].is_string(), "{program}: {report}");
        let new = stored(&storage, &format!("{app}:stable"));
        assert_eq!(new[0], report["stored_manifest"].as_str().unwrap(), "{program}");
        assert_eq!(new[1], report["config"].as_str().unwrap(), "{program}");
        assert_ne!(old[1], new[1]);
        // A name without a registry means the same image to all of them.
        pull(&format!("{app}:v2"), &format!("{into}short"), &path);
        assert_eq!(stored(&storage, "docker.io/library/short:latest")[1], new[1], "{program}");
        // The image has the names that were given, and no other.
        let names =
            storage.run(&["podman", "image", "inspect", "--format", "{{join .RepoTags \" \"}}", &new[1]]);
        let mut names: Vec<&str> = names.split(' ').collect();
        names.sort_unstable();
        assert_eq!(names, [&format!("{app}:stable"), "docker.io/library/short:latest"], "{program}");
        seen.push((
            new[1].clone(),
            new[2..].to_vec(),
            storage.look_at(&format!("{app}:stable")).lines().skip(1).collect::<Vec<_>>().join("\n"),
        ));
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn the_storage_of_a_user_is_found_in_the_namespace_of_podman_unshare() {
    let registry = DockerRegistry::start(Setup::default());
    let (dir, images) = (TempDir::new().unwrap(), pair());
    let app = format!("{}/app", registry.address());
    push_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")], &app);
    registry_ext(&format!("publish {app}:v2 --from {app}:v1")).assert().success();
    let storage = Storage::new(dir.path().join("storage"), "vfs");
    registry_ext(&format!("pull {app}:v1 --into {}{app}:v1", storage.source())).assert().success();
    // Where a user has the storage.
    let home = dir.path().join("home/containers");
    fs::create_dir_all(&home).unwrap();
    symlink(dir.path().join("storage/root"), home.join("storage")).unwrap();
    let to = dir.path().join("to").display().to_string();
    let line = format!("pull {app}:v2 --into oci:{to} --source containers-storage: --json");
    let mut command = registry_ext(&line);
    command.env("_CONTAINERS_ROOTLESS_UID", "1000").env("XDG_DATA_HOME", dir.path().join("home"));
    let output = command.assert().success().get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
}

#[test]
fn without_a_program_nothing_is_fetched_and_the_message_says_what_to_install() {
    let registry = DockerRegistry::start(Setup::default());
    let (dir, images) = (TempDir::new().unwrap(), pair());
    let app = format!("{}/app", registry.address());
    push_images(dir.path(), &[(&images.0, "v1")], &app);
    let empty = dir.path().join("empty");
    // A directory and a file that is no program have the names of programs.
    fs::create_dir_all(empty.join("podman")).unwrap();
    fs::write(empty.join("skopeo"), "").unwrap();
    let temporary = dir.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let storage = Storage::new(dir.path().join("storage"), "vfs");
    let line = format!("pull {app}:v1 --into {}{app}:v1 --tmp-dir {}", storage.source(), temporary.display());
    let output = registry_ext(&line).env("PATH", &empty).assert().failure().get_output().stderr.clone();
    let message = String::from_utf8(output).unwrap();
    assert!(message.contains("install podman, or pull into oci:DIR"), "{message}");
    // Names with a digest are of skopeo alone.
    let named = line.replace("app:v1 --tmp-dir", &format!("app@sha256:{} --tmp-dir", "1".repeat(64)));
    let path = only("podman", dir.path());
    let output = registry_ext(&named).env("PATH", path).assert().failure().get_output().stderr.clone();
    let message = String::from_utf8(output).unwrap();
    assert!(message.contains("podman gives names with a tag alone; install skopeo"), "{message}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}
