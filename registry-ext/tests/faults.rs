//! Whatever fails or dies in the middle of a publish or a pull: what is in the registry and in the
//! store is whole, and the same command works afterwards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::faults::{Fault, STEPS, WRITES, strike_each};
use layer::Digest;
use support::docker_registry::{DockerRegistry, Setup, push_images};
use support::images::{TestImage, pair, stored_layers};
use support::{json, registry_ext};
use tempfile::TempDir;

/// Every how many calls of a kind one is struck. All of them take many minutes: `FAULT_STRIDE=1`.
fn stride() -> usize {
    std::env::var("FAULT_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(100)
}

/// A registry with v1 and v2 of an image, and a delta if it is asked for.
struct Scene {
    registry: DockerRegistry,
    dir: TempDir,
    images: (TestImage, TestImage),
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            registry: DockerRegistry::start(Setup::default()),
            dir: TempDir::new().unwrap(),
            images: pair(),
        };
        let (old, new) = &scene.images;
        push_images(scene.dir.path(), &[(old, "v1"), (new, "v2")], &scene.app());
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn app(&self) -> String {
        format!("{}/app", self.registry.address())
    }

    /// A store that has v1.
    fn store(&self, name: &str) -> PathBuf {
        let store = self.path(name);
        json(&format!("pull {}:v1 --into oci:{}", self.app(), store.display()));
        store
    }
}

fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry-ext"));
    command.args(line.split_whitespace());
    command
}

/// Every blob of a layout is what its name says, and the index names only what is there.
fn assert_consistent(store: &Path) {
    for blob in fs::read_dir(store.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let digest = Digest::of(&fs::read(blob.path()).unwrap()).to_string();
        assert_eq!(digest, format!("sha256:{}", blob.file_name().to_str().unwrap()));
    }
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(store.join("index.json")).unwrap()).unwrap();
    for manifest in index["manifests"].as_array().unwrap() {
        let digest = manifest["digest"].as_str().unwrap().replace(':', "/");
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(store.join("blobs").join(digest)).unwrap()).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let digest = layer["digest"].as_str().unwrap().replace(':', "/");
            assert!(store.join("blobs").join(&digest).exists(), "{digest} is missing");
        }
    }
}

#[test]
fn a_pull_that_dies_or_finds_the_disk_full_leaves_a_store_that_works() {
    let scene = Scene::new();
    json(&format!("publish {0}:v2 --from {0}:v1", scene.app()));
    let mut struck = 0;
    for (round, (calls, fault)) in
        [(STEPS, Fault::Kill), (WRITES, Fault::Error("ENOSPC"))].into_iter().enumerate()
    {
        let store = scene.store(&format!("store-{round}"));
        let line = format!("pull {}:v2 --quiet --into oci:{}", scene.app(), store.display());
        struck += strike_each(calls, fault, stride(), || command(&line), |_| assert_consistent(&store));
        json(&line.replace(" --quiet", ""));
        assert_consistent(&store);
        assert_eq!(stored_layers(&store, "v2"), scene.images.1.layers);
    }
    assert!(struck >= 5, "{struck}");
}

#[test]
fn a_publish_that_dies_leaves_a_registry_that_works() {
    let scene = Scene::new();
    let app = scene.app();
    let line = format!("publish {app}:v2 --from {app}:v1 --quiet");
    let struck = strike_each(
        STEPS,
        Fault::Kill,
        stride(),
        || command(&line),
        |struck| {
            // What is listed is whole: it can be fetched and rebuilds the layers.
            let listed = json(&format!("list {app}:v2"));
            if !listed.as_array().unwrap().is_empty() {
                let verified = json(&format!("verify {app}:v2 --from {app}:v1"));
                let verdicts = verified.as_array().unwrap();
                assert!(verdicts.iter().all(|delta| delta["verdict"] == "right"), "{struck:?}: {verified}");
            }
        },
    );
    assert!(struck >= 4, "{struck}");
    json(&line.replace(" --quiet", ""));
    assert_eq!(json(&format!("list {app}:v2")).as_array().unwrap().len(), 2);
    let store = scene.store("store");
    let pulled = json(&format!("pull {app}:v2 --into oci:{}", store.display()));
    assert!(pulled["layers"].as_array().unwrap().iter().any(|layer| layer["from"]["delta"].is_string()));
    registry_ext(&format!("prune {app} --all")).assert().success();
}
