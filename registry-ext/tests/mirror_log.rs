//! The log of a mirror has no secrets, neither its own nor those of clients, whatever is logged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use crate::support::bench::Bench as TokenBench;
use crate::support::docker_registry::{DockerRegistry, Setup};
use crate::support::images::pair;
use crate::support::mirror_process::MirrorProcess;
use crate::support::registry_ext;
use crate::support::server::Switches;
use crate::support::storage::Storage;
use base64::prelude::{BASE64_STANDARD, Engine};
use registry_ext::publish::Recipes;
use serde_json::json;
use tempfile::TempDir;

const USER: &str = "a-user";
const PASSWORD: &str = "a-secret-password";

/// Pulls through a mirror with credentials, and asserts that its log has none.
fn log_has_no_secret(address: &str, dir: &TempDir) {
    let authfile = dir.path().join("auth.json");
    let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    fs::write(&authfile, json!({"auths": {address: {"auth": &auth}}}).to_string()).unwrap();
    let authfile = authfile.display();
    let store = dir.path().join("store").display().to_string();
    registry_ext(&format!("pull {address}/app:v1 --into oci:{store} --authfile {authfile}"))
        .assert()
        .success();
    let options = format!("--source oci:{store} --upstream {address} --authfile {authfile}");
    let mirror = MirrorProcess::start(&dir.path().join("cache"), &options);
    let storage = Storage::new(dir.path().join("podman"), "vfs");
    storage.configure(mirror.address(), address);
    storage.pull("podman", &format!("{address}/app:v2"));
    // A credential that a client sends is no line of the log, either.
    let client = Storage::new(dir.path().join("client"), "vfs");
    client.configure(mirror.address(), address);
    let other = BASE64_STANDARD.encode("another:hidden-word");
    client.log_in(&json!({"auths": {mirror.address().to_string(): {"auth": &other}}}).to_string());
    client.pull("podman", &format!("{address}/app:v2"));
    let log = mirror.log();
    assert!(log.contains("made of a delta"), "{log}");
    for secret in [PASSWORD, &auth, "hidden-word", &other, "token-", "Bearer ", "Basic "] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn the_log_has_no_password() {
    let registry = DockerRegistry::start(Setup { user: Some((USER, PASSWORD)), ..Setup::default() });
    let (address, dir, images) = (registry.address(), TempDir::new().unwrap(), pair());
    let layout = crate::support::images::write_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")]);
    let credentials = format!("--dest-creds={USER}:{PASSWORD}");
    for tag in ["v1", "v2"] {
        let (from, to) =
            (format!("oci:{}:{tag}", layout.dir().display()), format!("docker://{address}/app:{tag}"));
        let line = ["copy", "-q", "--dest-tls-verify=false", &credentials, &from, &to];
        crate::support::docker_registry::run("skopeo", &line);
    }
    let line = format!(
        "publish {address}/app:v2 --from {address}/app:v1 --exact --username {USER} --password-stdin"
    );
    registry_ext(&line).write_stdin(PASSWORD).assert().success();
    log_has_no_secret(&address, &dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_no_token() {
    let bench = TokenBench::new(Switches::default()).await;
    bench.publish(|to| to.recipes(Recipes::All).delta_index(false)).await.unwrap();
    bench.registry.switch(|switches| switches.bearer = Some((USER.into(), PASSWORD.into())));
    let address = bench.registry.address().to_string();
    let dir = TempDir::new().unwrap();
    tokio::task::spawn_blocking(move || log_has_no_secret(&address, &dir)).await.unwrap();
}
