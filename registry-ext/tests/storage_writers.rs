//! Pulls into a containers-storage by each of the programs that write to one, with no other of them installed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

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

/// Runs what follows where nothing can be written to the directory that skopeo takes for temporary files by itself.
const WITHOUT_VAR_TMP: &str = "/bin/mount -t tmpfs -o ro none /var/tmp && exec \"$0\" \"$@\"";

/// Returns a command line of a pull with a `$PATH` and a `$HOME` that is there. There is no place for temporary files
/// but `--tmp-dir`.
fn command(image: &str, into: &str, path: &str, temporary: &Path) -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", WITHOUT_VAR_TMP]);
    command.arg(assert_cmd::cargo::cargo_bin("registry-ext")).args(["pull", image, "--into", into, "--json"]);
    command.arg("--tmp-dir").arg(temporary).env("TMPDIR", "/nonexistent").env("PATH", path).env("HOME", path);
    command.env("REGISTRY_AUTH_FILE", "/nonexistent");
    command
}

/// Pulls, and reads the report. No temporary file is left.
fn pull(image: &str, into: &str, path: &str, temporary: &Path) -> Value {
    let output = command(image, into, path, temporary).output().unwrap();
    assert!(output.status.success(), "{into}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0, "{into}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns true if the library of the programs has a temporary file somewhere below a directory.
fn has_copy(dir: &Path) -> bool {
    // What is found may be gone a moment later.
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_copy = ["storage", "container_images_"].iter().any(|start| name.starts_with(start));
        is_copy || (entry.file_type().is_ok_and(|kind| kind.is_dir()) && has_copy(&entry.path()))
    })
}

/// Returns what podman has under a name: the digest of the manifest, the ID, and the digests of the layers.
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
        let temporary = case.join("temporary");
        fs::create_dir_all(&temporary).unwrap();
        let pull = |image: &str, into: &str, path: &str| pull(image, into, path, &temporary);
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
        // Where no driver is given, it is the one whose layers are there, also if the machine usually has another.
        let without_driver = into.replacen(&format!("{driver}@"), "", 1);
        pull(&format!("{app}:v2"), &format!("{without_driver}short"), &path);
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
    // Not even the manifest is asked for.
    drop(registry);
    let output = registry_ext(&line).env("PATH", &empty).assert().failure().get_output().stderr.clone();
    let message = String::from_utf8(output).unwrap();
    assert!(message.contains("install podman, or pull into oci:DIR"), "{message}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    // A program in the current directory is none that is installed.
    symlink("/bin/true", dir.path().join("skopeo")).unwrap();
    for path in ["", ":", ".", "./"] {
        let mut command = registry_ext(&line);
        let output =
            command.env("PATH", path).current_dir(dir.path()).assert().failure().get_output().clone();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("$PATH has none of them"), "{path}: {message}");
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn a_name_that_no_image_can_have_is_refused_before_anything_is_asked_for() {
    let dir = TempDir::new().unwrap();
    // Nobody listens there.
    let image = "127.0.0.1:1/app:v1";
    let digest = format!("app@sha256:{}", "1".repeat(64));
    let long = "a".repeat(300);
    for program in ["skopeo", "podman", "buildah"] {
        let path = only(program, dir.path());
        let names =
            [("", "say which name"), ("UPPER", "NAME[:TAG]"), ("a b", "NAME[:TAG]"), ("app:", "NAME[:TAG]")];
        let more = [("--help", "NAME[:TAG]"), (&*long, "NAME[:TAG]"), (&*digest, "give a tag")];
        for (name, expected) in names.into_iter().chain(more) {
            let mut command = registry_ext("pull");
            command.args([
                image,
                "--into",
                &format!("containers-storage:[vfs@/nonexistent/r+/nonexistent/w]{name}"),
            ]);
            let output = command.env("PATH", &path).assert().failure().get_output().stderr.clone();
            let message = String::from_utf8(output).unwrap();
            assert!(message.contains(expected), "{program} {name}: {message}");
        }
    }
}

#[test]
fn a_pull_that_is_interrupted_leaves_no_copy_of_a_layer() {
    let registry = DockerRegistry::start(Setup::default());
    let (dir, images) = (TempDir::new().unwrap(), pair());
    let app = format!("{}/app", registry.address());
    push_images(dir.path(), &[(&images.0, "v1")], &app);
    for program in ["skopeo", "podman", "buildah"] {
        let case = dir.path().join(program);
        let temporary = case.join("temporary");
        fs::create_dir_all(&temporary).unwrap();
        let (path, storage) = (only(program, &case), Storage::new(case.join("storage"), "vfs"));
        let into = format!("{}{app}:v1", storage.source());
        let mut command = command(&format!("{app}:v1"), &into, &path, &temporary);
        let mut pull = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        while pull.try_wait().unwrap().is_none() && !has_copy(&temporary) {
            sleep(Duration::from_millis(1));
        }
        // As the terminal does it. A pull that was too fast is at its end.
        drop(Command::new("kill").args(["-INT", "--", &format!("-{}", pull.id())]).output().unwrap());
        pull.wait().unwrap();
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{program}");
    }
}
