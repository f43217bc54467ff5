//! Whatever fails or dies in the middle of a publish or a pull: what is in the registry and in the
//! store is whole, and the same command works afterwards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fixtures::faults::{Fault, READS, STEPS, Struck, WRITES, behind, outgrow, strike_each};
use layer::Digest;
use support::docker_registry::{DockerRegistry, Setup, push_images, run};
use support::images::{TestImage, pair, stored_layers};
use support::{json, registry_ext};
use tempfile::TempDir;

/// The number of the calls of a kind that are struck. All of them take hours: `FAULT_RUNS=1000000`.
fn runs() -> usize {
    std::env::var("FAULT_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
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

    /// An empty directory for what is there for a time.
    fn temp_dir(&self) -> PathBuf {
        let dir = self.path("temp");
        fs::create_dir(&dir).unwrap();
        dir
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

/// Every blob of a layout is what its name says, nothing else is there, and the index names only what
/// is there.
fn assert_consistent(store: &Path) {
    for blob in fs::read_dir(store.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let digest = Digest::of(&fs::read(blob.path()).unwrap()).to_string();
        assert_eq!(digest, format!("sha256:{}", blob.file_name().to_str().unwrap()));
    }
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(store.join(name)).unwrap()).unwrap()
    };
    let blob = |descriptor: &serde_json::Value| {
        format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"))
    };
    for manifest in read("index.json")["manifests"].as_array().unwrap() {
        let manifest = read(&blob(manifest));
        for layer in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            assert!(store.join(blob(layer)).exists(), "{layer} is missing");
        }
    }
}

/// Nothing is left of a command in directories, but where it was killed, or cannot list them.
fn assert_tidy(struck: &Struck, dirs: &[&Path]) {
    for dir in dirs {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.filter(|name| name.to_str().unwrap().starts_with('.')).collect();
        let is_killed = struck.status.code() == Some(137) || struck.status.signal() == Some(9);
        let excused = is_killed || struck.call.starts_with("getdents64");
        assert!(names.is_empty() || excused, "{struck:?}: {names:?} in {}", dir.display());
        names.iter().for_each(|name| fs::remove_dir_all(dir.join(name)).unwrap());
    }
}

/// Strikes commands by errors, death and Ctrl-C at their calls, and by a lack of room for files.
/// `check` sees each run that was struck. Gives the number of those runs.
fn strike_all(mut command: impl FnMut() -> Command, mut check: impl FnMut(&Struck)) -> usize {
    // Their threads wake each other by `write`, which is not what a full disk breaks.
    let writes: Vec<_> = WRITES.iter().copied().filter(|call| *call != "write").collect();
    let faults = [
        (STEPS, Fault::Kill),
        (STEPS, Fault::Interrupt),
        (&writes, Fault::Error("ENOSPC")),
        (READS, Fault::Error("EIO")),
    ];
    let mut struck = 0;
    for (calls, fault) in faults {
        struck += strike_each(calls, fault, runs(), &mut command, &mut check);
    }
    let mut named = 0;
    let outgrown = outgrow(command, |struck| {
        named += usize::from(struck.stderr.contains("File too large"));
        check(struck);
    });
    assert_eq!(named, outgrown, "the reason is named");
    struck + outgrown
}

#[test]
fn a_pull_that_fails_or_dies_leaves_a_store_that_works() {
    let scene = Scene::new();
    let app = scene.app();
    json(&format!("publish {app}:v2 --from {app}:v1"));
    let (old, store) = (scene.store("old"), scene.path("store"));
    let temp = scene.temp_dir();
    let line = format!("pull {app}:v2 --into oci:{} --tmp-dir {}", store.display(), temp.display());
    // Each pull of v2 has its own store, with v1.
    let fresh = || {
        drop(fs::remove_dir_all(&store));
        run("cp", &["-r", &old.display().to_string(), &store.display().to_string()]);
        command(&format!("{line} --quiet"))
    };
    let struck = strike_all(fresh, |struck| {
        assert_tidy(struck, &[&store, &temp]);
        assert_consistent(&store);
        if struck.status.success() {
            assert_eq!(stored_layers(&store, "v2"), scene.images.1.layers, "{struck:?}");
        }
        json(&line);
        assert_consistent(&store);
        assert_eq!(stored_layers(&store, "v2"), scene.images.1.layers, "{struck:?}");
    });
    assert!(struck >= 20, "{struck}");
}

#[test]
fn a_publish_that_fails_or_dies_leaves_a_registry_that_works() {
    let scene = Scene::new();
    let (count, app) = (Cell::new(0), RefCell::new(String::new()));
    let temp = scene.temp_dir();
    let publish = || format!("publish {0}:v2 --from {0}:v1 --tmp-dir {1}", app.borrow(), temp.display());
    // Nothing is published where a publish begins.
    let fresh = || {
        count.set(count.get() + 1);
        let name = format!("app-{}", count.get());
        scene.registry.copy_repository("app", &name);
        app.replace(format!("{}/{name}", scene.registry.address()));
        command(&format!("{} --quiet", publish()))
    };
    let listed = || json(&format!("list {}:v2", app.borrow())).as_array().unwrap().len();
    let struck = strike_all(fresh, |struck| {
        assert_tidy(struck, &[&temp]);
        // What is listed is whole: it can be fetched and rebuilds the layers.
        let deltas = listed();
        if deltas > 0 {
            let verified = json(&format!("verify {0}:v2 --from {0}:v1", app.borrow()));
            let verdicts = verified.as_array().unwrap();
            assert!(verdicts.iter().all(|delta| delta["verdict"] == "right"), "{struck:?}: {verified}");
        }
        assert!(deltas == 2 || !struck.status.success(), "{struck:?}: {deltas} deltas");
        json(&publish());
        assert_eq!(listed(), 2, "{struck:?}");
    });
    assert!(struck >= 18, "{struck}");
    registry_ext(&format!("prune {} --all --yes", app.borrow())).assert().success();
}

#[test]
fn a_signal_ends_a_pull_that_waits_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let (store, temp) = (dir.path().join("store"), dir.path().join("temp"));
    fs::create_dir(&temp).unwrap();
    // It takes connections and says nothing.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    registry.set_nonblocking(true).unwrap();
    let address = registry.local_addr().unwrap();
    let line = format!("pull {address}/app:v1 --into oci:{} --tmp-dir {}", store.display(), temp.display());
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        // A test may run where signals are ignored, as under nohup; then the pull would ignore them, too.
        let mut pull = behind(&["env", "--default-signal=HUP,INT,TERM"], &command(&line));
        let mut pull = pull.stderr(Stdio::null()).spawn().unwrap();
        let _connection = loop {
            match registry.accept() {
                Ok(connection) => break connection,
                Err(_) => assert!(pull.try_wait().unwrap().is_none(), "it asks nobody"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        run("kill", &[&format!("-{signal}"), &pull.id().to_string()]);
        let status = pull.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{signal}");
        let struck = Struck { call: signal.into(), status, stderr: String::new() };
        assert_tidy(&struck, &[&temp]);
        if store.exists() {
            assert_tidy(&struck, &[&store]);
        }
    }
}
