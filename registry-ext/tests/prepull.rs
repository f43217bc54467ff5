//! The service that pulls an image before podman looks for updates, with a real podman.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use crate::support::docker_registry::{DockerRegistry, Setup, push_images, run};
use crate::support::images::pair;
use crate::support::service::setting;
use crate::support::storage::Storage;
use crate::support::{json, registry_ext};
use serde_json::Value;
use tempfile::TempDir;

const SERVICE: &str = "systemd/registry-ext-pull@.service";
const UPDATED: &str = "quadlet/app.container";

/// Runs the command of the service for an image, with a storage in place of the usual one.
fn pull(image: &str, storage: &Storage) -> Value {
    let line = setting(SERVICE, "Service", "ExecStart").replace("$PULL_OPTIONS", "").replace("%I", image);
    let line = line.strip_prefix("/usr/bin/registry-ext ").unwrap();
    let into = format!("{}{image}", storage.source());
    let line = line.replace(&format!("containers-storage:{image}"), &into);
    assert!(line.contains("--into containers-storage:["), "{line}");
    json(&line)
}

#[test]
fn an_update_of_podman_finds_the_image_that_the_service_pulled() {
    let registry = DockerRegistry::start(Setup::default());
    let (dir, images) = (TempDir::new().unwrap(), pair());
    let app = format!("{}/app", registry.address());
    push_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")], &app);
    json(&format!("publish {app}:v2 --from {app}:v1"));
    let move_to = |tag: &str| {
        let [from, to] = [tag, "stable"].map(|tag| format!("docker://{app}:{tag}"));
        run("skopeo", &["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]);
    };
    let image = format!("{app}:stable");
    let storage = Storage::new(dir.path().join("storage"), "vfs");

    move_to("v1");
    pull(&image, &storage);
    let label = "io.containers.autoupdate=local";
    storage.run(&["podman", "create", "--pull=never", "--name", "app", "--label", label, &image, "/bin/app"]);
    let of_container = || storage.run(&["podman", "container", "inspect", "--format", "{{.Image}}", "app"]);
    let of_storage = || storage.run(&["podman", "image", "inspect", "--format", "{{.Id}}", &image]);
    assert_eq!(of_container(), of_storage());

    move_to("v2");
    let report = pull(&image, &storage);
    assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
    // The policy `local` of podman auto-update compares these two.
    assert_ne!(of_container(), of_storage());
    assert_eq!(format!("sha256:{}", of_storage()), report["config"].as_str().unwrap());

    // Once more, before the update begins.
    let report = pull(&image, &storage);
    assert!(report["layers"].as_array().unwrap().iter().all(|layer| layer["from"] == "local"), "{report}");
    storage.run(&["podman", "rm", "app"]);
}

#[test]
fn the_container_waits_for_the_pull_of_its_image() {
    let image = setting(UPDATED, "Container", "Image");
    let output = Command::new("systemd-escape").arg(&image).output().unwrap();
    let unit = format!("registry-ext-pull@{}.service", String::from_utf8(output.stdout).unwrap().trim());
    for key in ["Wants", "After"] {
        assert_eq!(setting(UPDATED, "Unit", key), unit);
    }
    let line = setting(SERVICE, "Service", "ExecStart").replace("%I", &image);
    let line = line.strip_prefix("/usr/bin/registry-ext ").unwrap();
    let options = "--rate 20 --verify-key /etc/registry-ext/cosign.pub";
    registry_ext(&line.replace("$PULL_OPTIONS", options)).arg("--help").assert().success();
}
