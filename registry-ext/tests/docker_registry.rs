//! A whole life of deltas on a real registry, by the command line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::docker_registry::{DockerRegistry, Setup, push_images, run};
use crate::support::images::{TestImage, pair, pair_of, stored_layers, write_images};
use crate::support::{json, registry_ext, sum};
use registry_ext::store::OciLayout;
use serde_json::Value;
use tempfile::TempDir;

/// Puts a pair into a repository as v1 and v2.
fn push_pair(dir: &TempDir, (old, new): &(TestImage, TestImage), app: &str) -> OciLayout {
    push_images(dir.path(), &[(old, "v1"), (new, "v2")], app)
}

#[test]
fn publish_list_pull_verify_prune() {
    let mut registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let images = pair();
    let app = format!("{}/team/app", registry.address());
    push_pair(&dir, &images, &app);

    let published = json(&format!("publish {app}:v2 --from {app}:v1"));
    // Their tardf3 deltas save too little to be published.
    let of_others = |delta: &&Value| delta["layout"] != "tardf3" || delta["outcome"] == "published";
    let deltas = published["deltas"].as_array().unwrap().iter().filter(of_others);
    let outcomes: Vec<&str> = deltas.map(|delta| delta["outcome"].as_str().unwrap()).collect();
    // Two layers in two layouts; the delta of the tiny one is not smaller than its blob.
    assert_eq!(outcomes.len(), 4);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "published").count(), 2, "{outcomes:?}");
    assert_eq!(published["artifacts"].as_array().unwrap().len(), 1);

    let again = json(&format!("publish {app}:v2 --from {app}:v1"));
    assert!(
        again["deltas"].as_array().unwrap().iter().all(|delta| delta["outcome"] != "published"),
        "{again}"
    );

    registry.restart();
    let listed = json(&format!("list {app}:v2"));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(json(&format!("list {app}:v1")).as_array().unwrap().len(), 0);
    let verified = json(&format!("verify {app}:v2 --from {app}:v1"));
    assert!(verified.as_array().unwrap().iter().all(|delta| delta["verdict"] == "right"), "{verified}");

    let store = dir.path().join("store");
    let into = format!("--into oci:{}", store.display());
    let first = json(&format!("pull {app}:v1 {into}"));
    assert!(first["layers"].as_array().unwrap().iter().all(|layer| layer["from"] == "blob"));
    assert_eq!(first["manifest"], first["stored_manifest"]);
    let second = json(&format!("pull {app}:v2 {into}"));
    assert!(second["fetched"].as_u64() < second["plain"].as_u64(), "{second}");
    assert_eq!(second["layers"][0]["from"], "local");
    assert!(second["layers"][1]["from"]["delta"].is_string(), "{second}");
    assert_eq!(stored_layers(&store, "v2"), images.1.layers);
    let plain = json(&format!("pull {app}:v2 --no-deltas --into oci:{}", dir.path().join("plain").display()));
    assert_eq!(plain["manifest"], plain["stored_manifest"]);
    assert_eq!(plain["config"], second["config"]);
    assert_eq!(sum(&plain["layers"], "fetched"), sum(&plain["layers"], "blob_size"));

    // Still in use: nothing is removed.
    let kept = json(&format!("prune {app}:v2 --keep {app}:v1"));
    assert_eq!((kept[0]["kept"].as_u64(), kept[0]["artifacts"].as_array().unwrap().len()), (Some(2), 0));
    let dry = json(&format!("prune {app} --all --dry-run"));
    assert_eq!(dry[0]["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(json(&format!("list {app}:v2")).as_array().unwrap().len(), 2);
    let pruned = json(&format!("prune {app} --all --yes"));
    assert_eq!(pruned[0]["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(pruned[0]["deleted"], true);
    assert_eq!(json(&format!("list {app}:v2")).as_array().unwrap().len(), 0);
    let tags = run("skopeo", &["list-tags", "--tls-verify=false", &format!("docker://{app}")]);
    assert!(!tags.contains("_deltaindex") && !tags.contains("sha256-"), "{tags}");
    json(&format!("pull {app}:v2 --into oci:{}", dir.path().join("after").display()));
}

#[test]
fn a_registry_that_keeps_everything_is_pruned_as_far_as_it_goes() {
    let registry = DockerRegistry::start(Setup { keeps: true, ..Setup::default() });
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    push_pair(&dir, &pair(), &app);
    json(&format!("publish {app}:v2 --from {app}:v1"));
    let pruned = json(&format!("prune {app}:v2 --yes"));
    assert_eq!(pruned[0]["deleted"], false);
    assert_eq!(json(&format!("list {app}:v2")).as_array().unwrap().len(), 0);
}

#[test]
fn basic_credentials_from_a_file_and_from_stdin() {
    let registry = DockerRegistry::start(Setup { user: Some(("ci", "secret")), ..Setup::default() });
    let dir = TempDir::new().unwrap();
    let (old, new) = pair();
    let layout = write_images(dir.path(), &[(&old, "v1"), (&new, "v2")]);
    let app = format!("{}/app", registry.address());
    let authfile = dir.path().join("auth.json");
    // `ci:secret` in base64.
    let auth = format!(r#"{{"auths": {{"{}": {{"auth": "Y2k6c2VjcmV0"}}}}}}"#, registry.address());
    std::fs::write(&authfile, auth).unwrap();
    for tag in ["v1", "v2"] {
        let from = format!("oci:{}:{tag}", layout.dir().display());
        let to = format!("docker://{app}:{tag}");
        let authfile = authfile.display().to_string();
        run("skopeo", &["copy", "-q", "--dest-tls-verify=false", "--dest-authfile", &authfile, &from, &to]);
    }
    json(&format!("publish {app}:v2 --from {app}:v1 --authfile {}", authfile.display()));
    let by_variable = registry_ext(&format!("list {app}:v2")).env("REGISTRY_AUTH_FILE", &authfile).assert();
    assert!(String::from_utf8_lossy(&by_variable.success().get_output().stdout).contains("oci-delta"));
    registry_ext(&format!("list {app}:v2 --username ci --password-stdin"))
        .write_stdin("secret\n")
        .assert()
        .success();

    let wrong =
        registry_ext(&format!("list {app}:v2 --username ci --password-stdin")).write_stdin("wrong").assert();
    let stderr = String::from_utf8_lossy(&wrong.code(5).get_output().stderr).into_owned();
    assert!(stderr.contains("not authorized") && !stderr.contains("wrong"), "{stderr}");
    assert!(stderr.contains("is given, of the user `ci`"), "{stderr}");
    let without = registry_ext(&format!("pull {app}:v2 --into oci:{}", dir.path().join("x").display()))
        .assert()
        .code(5);
    let stderr = String::from_utf8_lossy(&without.get_output().stderr).into_owned();
    assert!(stderr.contains("no credential was tried") && stderr.contains("podman login"), "{stderr}");
}

#[test]
fn a_registry_on_this_machine_is_reached_without_a_proxy() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    push_pair(&dir, &pair(), &app);
    let publish = registry_ext(&format!("publish {app}:v2 --from {app}:v1 --json"))
        .envs(
            ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"].map(|name| (name, "http://127.0.0.1:9")),
        )
        .assert()
        .success();
    let published: serde_json::Value = serde_json::from_slice(&publish.get_output().stdout).unwrap();
    assert_eq!(published["artifacts"].as_array().unwrap().len(), 1, "{published}");
}

#[test]
fn tls_with_a_ca_of_its_own() {
    let registry = DockerRegistry::start(Setup { tls: true, ..Setup::default() });
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    push_pair(&dir, &pair(), &app);
    let ca = format!("--ca-file {}", registry.ca_file().display());
    json(&format!("publish {app}:v2 --from {app}:v1 {ca}"));
    assert_eq!(json(&format!("list {app}:v2 {ca}")).as_array().unwrap().len(), 2);
    let unknown = registry_ext(&format!("list {app}:v2 --plain-http=false")).assert().code(1);
    let stderr = String::from_utf8_lossy(&unknown.get_output().stderr).into_owned();
    assert!(stderr.to_lowercase().contains("certificate"), "{stderr}");
}

#[test]
fn two_publishers_at_once_lose_no_entry() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    let (_, new) = pair();
    push_images(dir.path(), &[(&new, "new")], &app);
    // Old images that differ, so that each publisher adds a source of its own.
    let olds = ["a", "b", "c"];
    for (seed, tag) in (10..).zip(olds) {
        let (mut old, _) = pair();
        let (other, _) = pair_of(seed);
        old.layers[0] = other.layers[0].clone();
        old.layers[1].extend_from_slice(&[0; 512]);
        old.layers[1].extend_from_slice(tag.as_bytes());
        push_images(dir.path(), &[(&old, tag)], &app);
    }
    std::thread::scope(|scope| {
        for old in olds {
            let app = &app;
            scope.spawn(move || json(&format!("publish {app}:new --from {app}:{old}")));
        }
    });
    let listed = json(&format!("list {app}:new"));
    for layout in ["delta-index", "artifact"] {
        let sources: std::collections::BTreeSet<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .filter(|delta| delta["layout"] == layout)
            .map(|delta| delta["from"].as_str().unwrap())
            .collect();
        assert_eq!(sources.len(), olds.len(), "{layout}: {listed:#}");
    }
    let verified = json(&format!("verify {app}:new"));
    assert!(verified.as_array().unwrap().iter().all(|delta| delta["verdict"] == "right"), "{verified:#}");
}

/// A command that may fail, but only as one that found something changed under it.
fn try_command(line: &str) {
    let output = registry_ext(line).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().expect("it was not killed");
    assert!(code == 0 || (1..=4).contains(&code) && stderr.contains("error: "), "{line}: {code}: {stderr}");
}

#[test]
fn publishers_a_pruner_and_the_garbage_collector_at_once_leave_what_works() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    let (old, new) = pair();
    let mut older = old.clone();
    older.layers[1].extend_from_slice(&[0; 1024]);
    push_images(dir.path(), &[(&older, "v0"), (&old, "v1"), (&new, "v2")], &app);
    std::thread::scope(|scope| {
        for old in ["v0", "v1"] {
            let app = &app;
            scope.spawn(move || {
                (0..4).for_each(|_| try_command(&format!("publish {app}:v2 --from {app}:{old}")))
            });
        }
        scope.spawn(|| (0..8).for_each(|_| try_command(&format!("prune {app}:v2 --keep {app}:v1"))));
        scope.spawn(|| (0..4).for_each(|_| registry.collect_garbage()));
    });
    for old in ["v0", "v1"] {
        json(&format!("publish {app}:v2 --from {app}:{old}"));
    }
    let verified = json(&format!("verify {app}:v2 --from {app}:v0 --from {app}:v1"));
    let verified = verified.as_array().unwrap();
    assert!(verified.len() >= 4 && verified.iter().all(|delta| delta["verdict"] == "right"), "{verified:#?}");
    let into = format!("--into oci:{}", dir.path().join("store").display());
    json(&format!("pull {app}:v1 {into}"));
    let pulled = json(&format!("pull {app}:v2 {into}"));
    assert!(pulled["layers"].as_array().unwrap().iter().any(|layer| layer["from"]["delta"].is_string()));
}

#[test]
fn a_registry_that_is_down_for_a_while_is_waited_for() {
    let mut registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    let (_, image) = pair();
    push_images(dir.path(), &[(&image, "v1")], &app);
    let store = dir.path().join("store");
    let line = format!("pull {app}:v1 --into oci:{}", store.display());
    registry.stop();
    std::thread::scope(|scope| {
        let pull = scope.spawn(|| json(&line));
        std::thread::sleep(std::time::Duration::from_secs(2));
        registry.restart();
        pull.join().unwrap();
    });
    assert_eq!(stored_layers(&store, "v1"), image.layers);
    registry.stop();
    let gone = registry_ext(&line.replace(":v1", ":v2")).assert().failure().get_output().stderr.clone();
    assert!(String::from_utf8_lossy(&gone).contains("cannot reach 127.0.0.1"), "{gone:?}");
}

#[test]
fn what_does_not_exist_has_an_exit_code() {
    let registry = DockerRegistry::start(Setup::default());
    registry_ext(&format!("list {}/absent:v1", registry.address())).assert().code(4);
    registry_ext("list oci:/nonexistent:v1").assert().code(4);
    registry_ext("list").assert().code(2);
}
