//! The messages and questions of the commands: to people who forgot something, and about what is not there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;

use crate::support::docker_registry::{DockerRegistry, Setup, push_images};
use crate::support::images::{pair, push, stored_layers, write_images};
use crate::support::{json, open, options, registry_ext};
use assert_cmd::assert::Assert;
use registry_ext::repository::Repository;
use registry_ext::store::OciLayout;
use serde_json::Value;
use tempfile::TempDir;

fn stderr(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

/// A layout with the images v1 and v2, as it is named.
fn layout(dir: &TempDir) -> String {
    let (old, new) = pair();
    format!("oci:{}", write_images(dir.path(), &[(&old, "v1"), (&new, "v2")]).dir().display())
}

fn count(listed: &Value) -> usize {
    listed.as_array().unwrap().len()
}

#[test]
fn prune_does_not_remove_everything_unasked() {
    let dir = TempDir::new().unwrap();
    let app = layout(&dir);
    json(&format!("publish {app}:v2 --from {app}:v1"));
    assert_eq!(count(&json(&format!("list {app}:v2"))), 2);
    for line in [format!("prune {app}:v2"), format!("prune {app}:v2 --all")] {
        let refused = registry_ext(&line).assert().code(2);
        assert!(
            stderr(&refused).contains("--keep") && stderr(&refused).contains("--yes"),
            "{}",
            stderr(&refused)
        );
    }
    registry_ext(&format!("prune {app}:v2 --dry-run")).assert().success();
    assert_eq!(count(&json(&format!("list {app}:v2"))), 2);
    registry_ext(&format!("prune {app}:v2 --yes")).assert().success();
    assert_eq!(count(&json(&format!("list {app}:v2"))), 0);
    // Nothing is left to ask about.
    registry_ext(&format!("prune {app}:v2")).assert().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_finds_images_by_their_tags_where_the_registry_keeps_the_lists() {
    let dir = TempDir::new().unwrap();
    let (old, new) = pair();
    let images = write_images(dir.path(), &[(&old, "v1"), (&new, "v2")]);
    let registry = crate::support::server::Registry::start(
        "127.0.0.1:0",
        crate::support::server::Switches { referrers: true, ..Default::default() },
    );
    let registry = registry.await.unwrap();
    let app = format!("{}/app", registry.address());
    let to: Repository = open(&app, &options(), dir.path());
    for tag in ["v1", "v2"] {
        push(&images, tag, &to).await;
    }
    tokio::task::spawn_blocking(move || {
        let none = registry_ext(&format!("prune {app} --all --yes")).assert().success();
        assert!(stdout(&none).contains("no deltas"), "{}", stdout(&none));
        json(&format!("publish {app}:v2 --from {app}:v1 --for oci-delta"));
        assert_eq!(count(&json(&format!("list {app}:v2"))), 1);
        let pruned = json(&format!("prune {app} --all --yes"));
        assert_eq!((count(&pruned), count(&pruned[0]["artifacts"])), (1, 1), "{pruned}");
        assert_eq!(count(&json(&format!("list {app}:v2"))), 0);
    })
    .await
    .unwrap();
}

#[test]
fn what_is_not_there_is_said() {
    let dir = TempDir::new().unwrap();
    let app = layout(&dir);
    let verified = registry_ext(&format!("verify {app}:v2")).assert().success();
    assert!(stdout(&verified).contains("no deltas for"), "{}", stdout(&verified));
    let store = dir.path().join("store");
    let pull = format!("pull {app}:v1 --into oci:{}", store.display());
    let refused = registry_ext(&format!("{pull} --platform linux/s390x")).assert().code(4);
    assert!(
        stderr(&refused).contains("linux/s390x") && stderr(&refused).contains("linux/amd64"),
        "{}",
        stderr(&refused)
    );
    assert!(!store.exists());
    registry_ext(&format!("{pull} --platform linux/amd64")).assert().success();
}

#[test]
fn a_first_release_has_nothing_to_publish() {
    let dir = TempDir::new().unwrap();
    let app = layout(&dir);
    let published = registry_ext(&format!("publish {app}:v1 --json")).assert().success();
    assert!(stderr(&published).contains("there is no old image"), "{}", stderr(&published));
    let report: Value = serde_json::from_slice(&published.get_output().stdout).unwrap();
    assert_eq!(count(&report["deltas"]), 0);
    let listed = registry_ext(&format!("list {app}:v1")).assert().success();
    assert!(stdout(&listed).contains(&format!("publish {app}:v1 --from OLD")), "{}", stdout(&listed));
}

#[test]
fn a_refused_connection_is_called_one() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failed = registry_ext(&format!("list 127.0.0.1:{port}/app:v1")).assert().code(1);
    let said = stderr(&failed);
    assert!(said.contains(&format!("cannot reach 127.0.0.1:{port}")) && said.contains("refused"), "{said}");
    assert!(!said.contains("log in"), "{said}");
}

#[test]
fn a_layout_of_deltas_alone_needs_no_name() {
    for readers in ["oci-delta", "flatpak", "flatpak,oci-delta"] {
        let dir = TempDir::new().unwrap();
        let app = layout(&dir);
        let bundle = format!("oci:{}", dir.path().join("bundle").display());
        json(&format!("publish {app}:v2 --from {app}:v1 --to {bundle} --for {readers}"));
        let deltas = count(&json(&format!("list {bundle}")));
        assert_eq!(deltas, if readers.contains(',') { 2 } else { 1 }, "{readers}");
        let verified = json(&format!("verify {bundle} --from {app}:v1"));
        assert!(verified.as_array().unwrap().iter().all(|delta| delta["verdict"] == "right"), "{verified}");
        if readers == "flatpak" {
            // The small layer has no delta, and only artifacts hold such layers.
            continue;
        }
        let store = dir.path().join("store");
        json(&format!("pull {app}:v1 --into oci:{}", store.display()));
        json(&format!("pull {bundle} --into oci:{}:v2", store.display()));
        assert_eq!(stored_layers(&store, "v2"), pair().1.layers);
    }
}

#[test]
fn sources_have_their_tags() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    let (old, new) = pair();
    push_images(dir.path(), &[(&old, "v1"), (&new, "v2")], &app);
    json(&format!("publish {app}:v2 --from {app}:v1"));
    let listed = json(&format!("list {app}:v2"));
    for delta in listed.as_array().unwrap() {
        assert_eq!(delta["from_tags"], serde_json::json!(["v1"]), "{listed:#}");
        assert!(delta["from"].as_str().unwrap().parse::<layer::Digest>().is_ok(), "{listed:#}");
    }
    let text = stdout(&registry_ext(&format!("list {app}:v2")).assert().success());
    assert!(text.contains("image v1 (") && text.contains("layer v1 ("), "{text}");
}

#[test]
fn layers_in_files_are_measured() {
    let dir = TempDir::new().unwrap();
    let (old, new) = pair();
    let gzip = crate::support::images::gzip(&new.layers[1]);
    fs::write(dir.path().join("old.tar"), &old.layers[1]).unwrap();
    fs::write(dir.path().join("new.tar.gz"), &gzip).unwrap();
    let run = |line: &str| registry_ext(line).current_dir(dir.path()).assert();
    let measured = run("measure old.tar new.tar.gz --json").success();
    let json: Value = serde_json::from_slice(&measured.get_output().stdout).unwrap();
    let layer = &json[0]["layers"][0];
    assert_eq!(layer["blob_size"], gzip.len());
    assert_eq!(layer["diff_id"], layer::Digest::of(&new.layers[1]).to_string());
    assert!(layer["delta_size"].as_u64().unwrap() * 2 < gzip.len() as u64, "{json}");
    assert!(
        stdout(&run("measure ./old.tar ./new.tar.gz").success())
            .contains("oci-delta: for the programs oci-delta")
    );
    let mixed = run("measure old.tar 127.0.0.1:1/app:v1").code(2);
    assert!(stderr(&mixed).contains("two layers"), "{}", stderr(&mixed));
    let published = run("publish ./new.tar.gz --from ./old.tar").code(2);
    assert!(stderr(&published).contains("oci-archive:"), "{}", stderr(&published));
}

#[test]
fn images_of_many_layers_get_no_deltas_that_only_flatpak_reads() {
    let dir = TempDir::new().unwrap();
    let (old, new) = pair();
    let mut many = old.clone();
    many.layers.insert(0, new.layers[2].clone());
    let images = write_images(dir.path(), &[(&old, "few"), (&many, "many"), (&new, "new")]);
    let app = format!("oci:{}", images.dir().display());
    let layouts = |arguments: &str| {
        let measured = json(&format!("measure {app}:{} {app}:new {}", &arguments[..4], &arguments[4..]));
        let bundle = TempDir::new().unwrap();
        let line = format!("publish {app}:new --from {app}:{arguments} --to oci:{}", bundle.path().display());
        let published = json(&line);
        let is_listed =
            OciLayout::open(bundle.path()).unwrap().tags().unwrap().contains(&"_deltaindex".into());
        assert_eq!(
            measured[0]["layers"][1]["delta_index_size"].is_u64(),
            is_listed,
            "{arguments}: {measured}"
        );
        assert_eq!(count(&published["not_in_delta_index"]), usize::from(arguments == "many"), "{published}");
        is_listed
    };
    assert!(layouts("few "));
    assert!(!layouts("many"));
    assert!(layouts("many --for flatpak,oci-delta"));
    assert!(!layouts("few  --for oci-delta"));
    let text = registry_ext(&format!("publish {app}:new --from {app}:many")).assert().success();
    let said = stdout(&text);
    assert!(
        said.contains("_deltaindex: none") && said.contains("oci-delta, cfsctl, bootc, registry-ext"),
        "{said}"
    );
}
