//! Many clients at once, and repositories with many tags: each client's memory stays small.
//!
//! The long run: `LOAD_PULLS=200 LOAD_TAGS=500 cargo test --release -p registry-ext --test load -- --nocapture`

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it took"
)]

mod support;

use std::process::{Command, Stdio};

use serde_json::Value;
use support::docker_registry::{DockerRegistry, Setup, push_images, run};
use support::images::{TestImage, pair, stored_layers};
use support::{json, registry_ext};
use tempfile::TempDir;
use wait4::Wait4;

/// Most memory of one pull in bytes. Deltas and blobs are streamed; the runtime and the buffers of
/// the codecs are most of it.
const MAX_MEMORY: u64 = 96 << 20;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// Memory at its peak, in bytes, of the largest of these commands; all run at once and succeed.
fn run_at_once(commands: Vec<Command>) -> u64 {
    let children: Vec<_> = commands
        .into_iter()
        .map(|mut command| command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut most = 0;
    for mut child in children {
        let stderr = child.stderr.take().unwrap();
        let ended = child.wait4().unwrap();
        assert!(ended.status.success(), "{}", std::io::read_to_string(stderr).unwrap());
        most = most.max(ended.rusage.maxrss);
    }
    most
}

#[test]
fn many_hosts_pull_one_delta_at_once() {
    let pulls = number("LOAD_PULLS", 10);
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let (old, new) = pair();
    let app = format!("{}/app", registry.address());
    push_images(dir.path(), &[(&old, "v1"), (&new, "v2")], &app);
    json(&format!("publish {app}:v2 --from {app}:v1"));
    let stores: Vec<_> = (0..pulls).map(|host| dir.path().join(format!("host-{host}"))).collect();
    let pull = |tag: &str| {
        let of_host = |store: &std::path::PathBuf| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_registry-ext"));
            command.args(["pull", &format!("{app}:{tag}"), "--quiet", "--into"]);
            command.arg(format!("oci:{}", store.display()));
            command
        };
        run_at_once(stores.iter().map(of_host).collect())
    };
    pull("v1");
    let memory = pull("v2");
    eprintln!("{pulls} pulls at once: {} MB at most each", memory / 1_000_000);
    assert!(memory <= MAX_MEMORY, "{memory} bytes");
    for store in &stores {
        assert_eq!(stored_layers(store, "v2"), new.layers);
    }
}

#[test]
fn a_repository_with_many_tags_is_published_to_and_pruned() {
    let tags = number("LOAD_TAGS", 6);
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    let (old, new) = pair();
    push_images(dir.path(), &[(&old, "v0")], &app);
    for tag in 1..=tags {
        // One more small layer makes another image with another target.
        let mut layer = fixtures::LayerBuilder::new();
        layer.file("etc/version", tag.to_string());
        let layer = layer.finish(fixtures::Ending::Normal);
        let image = TestImage { layers: [new.layers.clone(), vec![layer]].concat(), ..new.clone() };
        let tag = format!("v{tag}");
        push_images(dir.path(), &[(&image, &tag)], &app);
        json(&format!("publish {app}:{tag} --from {app}:v0"));
    }
    let deltas = |tag: usize| json(&format!("list {app}:v{tag}")).as_array().unwrap().len();
    assert!((1..=tags).step_by(tags.div_ceil(5)).all(|tag| deltas(tag) == 2));
    let store = dir.path().join("store");
    json(&format!("pull {app}:v0 --into oci:{}", store.display()));
    let mut pull = Command::new(env!("CARGO_BIN_EXE_registry-ext"));
    pull.args(["pull", &format!("{app}:v{tags}"), "--into", &format!("oci:{}", store.display()), "--quiet"]);
    let memory = run_at_once(vec![pull]);
    eprintln!("a pull among {tags} tags: {} MB", memory / 1_000_000);
    assert!(memory <= MAX_MEMORY, "{memory} bytes");
    // The images are deleted: what was for them goes, and the rest stays.
    for tag in 2..=tags {
        let from = format!("docker://{app}:v{tag}");
        run("skopeo", &["delete", "--tls-verify=false", &from]);
    }
    registry_ext(&format!("prune {app} --all --keep {app}:v0")).assert().success();
    assert_eq!(deltas(1), 2);
    let index =
        run("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{app}:_deltaindex")]);
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index}");
}
