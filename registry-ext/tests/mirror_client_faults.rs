//! Something goes wrong while podman or containerd pulls through a mirror: the pull ends with the right image, or with
//! the error that it would have without the mirror, and the next pull is right.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::containerd::Containerd;
use crate::support::docker_registry::{DockerRegistry, Setup, push_images};
use crate::support::images::pair;
use crate::support::json as report_of;
use crate::support::mirror_process::MirrorProcess;
use crate::support::storage::Storage;
use tempfile::TempDir;

/// The longest time for which a client is waited for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The moments of a pull at which something happens: parts of the mirror's log that come before.
const MOMENTS: [&str; 2] = ["manifests/v2", "/blobs/"];

/// A client that pulls through a mirror.
enum Client {
    Podman(Storage),
    Containerd(Containerd),
}

impl Client {
    fn source(&self) -> String {
        match self {
            Self::Podman(storage) => storage.source(),
            Self::Containerd(containerd) => containerd.source(),
        }
    }

    fn try_pull(&self, image: &str) -> Result<(), String> {
        match self {
            Self::Podman(storage) => storage.try_pull("podman", image),
            Self::Containerd(containerd) => containerd.try_pull(image),
        }
    }

    fn begin_pull(&self, image: &str) -> Child {
        match self {
            Self::Podman(storage) => storage.begin_pull("podman", image),
            Self::Containerd(containerd) => containerd.begin_pull(image),
        }
    }

    fn configure(&self, mirror: SocketAddr, registry: &str) {
        match self {
            Self::Podman(storage) => storage.configure(mirror, registry),
            Self::Containerd(containerd) => containerd.configure(mirror, Some(registry)),
        }
    }

    fn remove(&self, image: &str) {
        match self {
            Self::Podman(storage) => storage.remove(image),
            Self::Containerd(containerd) => containerd.remove(image),
        }
    }

    fn look_at(&self, image: &str) -> String {
        match self {
            Self::Podman(storage) => storage.look_at(image),
            Self::Containerd(containerd) => containerd.look_at(image),
        }
    }
}

/// A registry with two versions of an image and the delta between them, and a client that has the old one.
struct Bench {
    registry: DockerRegistry,
    dir: TempDir,
    client: Client,
    app: String,
    /// The image that the client has after a pull without a mirror.
    expected: String,
    mirrors: u32,
}

impl Bench {
    fn new(client: fn(PathBuf) -> Client) -> Self {
        let (registry, dir, images) =
            (DockerRegistry::start(Setup::default()), TempDir::new().unwrap(), pair());
        let app = format!("{}/app", registry.address());
        push_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")], &app);
        report_of(&format!("publish {app}:v2 --from {app}:v1 --exact"));
        let client = client(dir.path().join("client"));
        let mut bench = Self { registry, dir, client, app, expected: String::new(), mirrors: 0 };
        bench.client.try_pull(&bench.image("v2")).unwrap();
        bench.expected = bench.client.look_at(&bench.image("v2"));
        bench.start_over();
        bench
    }

    fn podman() -> Self {
        Self::new(|dir| Client::Podman(Storage::new(dir, "overlay")))
    }

    fn containerd() -> Self {
        Self::new(|dir| Client::Containerd(Containerd::start(dir, "overlayfs")))
    }

    fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.app)
    }

    /// Leaves the client with the old image alone.
    fn start_over(&self) {
        self.client.try_pull(&self.image("v1")).unwrap();
        self.client.remove(&self.image("v2"));
    }

    fn options(&self) -> String {
        format!("--source {} --upstream {}", self.client.source(), self.registry.address())
    }

    fn cache(&mut self) -> PathBuf {
        self.mirrors += 1;
        self.dir.path().join(format!("cache-{}", self.mirrors))
    }

    /// Starts a mirror with an empty cache, and gives it to the client.
    fn mirror(&mut self) -> MirrorProcess {
        self.start_over();
        let (cache, options) = (self.cache(), self.options());
        self.use_mirror(MirrorProcess::start(&cache, &options))
    }

    fn use_mirror(&self, mirror: MirrorProcess) -> MirrorProcess {
        if let Client::Podman(storage) = &self.client {
            storage.forget_mirrors();
        }
        if let Client::Containerd(containerd) = &self.client {
            containerd.forget_mirrors();
        }
        self.client.configure(mirror.address(), &self.registry.address());
        mirror
    }

    /// Begins to pull the new image, and waits for a moment of that.
    fn begin(&self, mirror: &MirrorProcess, moment: &str) -> Child {
        let mut pull = self.client.begin_pull(&self.image("v2"));
        let began = Instant::now();
        while pull.try_wait().unwrap().is_none() && !mirror.log().contains(moment) {
            assert!(began.elapsed() < TIMEOUT, "no {moment}: {}", mirror.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        pull
    }

    /// Waits until a pull ends. If it succeeds, the image is right.
    fn end(&self, mut pull: Child, what: &str) -> bool {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = pull.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > TIMEOUT {
                pull.kill().unwrap();
                panic!("the pull does not end: {what}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if status.success() {
            assert_eq!(self.client.look_at(&self.image("v2")), self.expected, "{what}");
        }
        status.success()
    }

    /// Pulls the new image, which has to be right.
    fn pulls(&self, mirror: &MirrorProcess, what: &str) {
        let pulled = self.client.try_pull(&self.image("v2"));
        pulled.unwrap_or_else(|error| panic!("{what}: {error} {}", mirror.log()));
        assert_eq!(self.client.look_at(&self.image("v2")), self.expected, "{what}");
    }
}

/// Waits until a mirror has a layer in its cache.
fn keeps_a_layer(mirror: &MirrorProcess) -> bool {
    let blobs = mirror.cache().join("blobs/sha256");
    let is_layer = |entry: fs::DirEntry| entry.metadata().unwrap().len() > 200_000;
    let has_layer = || fs::read_dir(&blobs).unwrap().any(|entry| is_layer(entry.unwrap()));
    let began = Instant::now();
    while !has_layer() {
        if began.elapsed() > TIMEOUT {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn a_mirror_is_killed(mut bench: Bench) {
    for moment in MOMENTS {
        let mut mirror = bench.mirror();
        let pull = bench.begin(&mirror, moment);
        mirror.kill();
        bench.end(pull, moment);
        // Without it, the registry is asked.
        bench.start_over();
        bench.pulls(&mirror, "no mirror");
        bench.start_over();
        mirror.start_again();
        bench.pulls(&mirror, moment);
        assert!(mirror.fetched() > 0, "{moment}: it was asked");
    }
}

#[test]
fn podman_outlives_a_mirror_that_is_killed() {
    a_mirror_is_killed(Bench::podman());
}

#[test]
fn containerd_outlives_a_mirror_that_is_killed() {
    a_mirror_is_killed(Bench::containerd());
}

fn a_client_is_killed(mut bench: Bench) {
    for moment in MOMENTS {
        let mirror = bench.mirror();
        let mut pull = bench.begin(&mirror, moment);
        let _ = pull.kill();
        pull.wait().unwrap();
        bench.pulls(&mirror, moment);
    }
}

#[test]
fn podman_that_was_killed_pulls_again() {
    a_client_is_killed(Bench::podman());
}

#[test]
fn containerd_whose_client_was_killed_pulls_again() {
    a_client_is_killed(Bench::containerd());
}

fn a_registry_restarts(mut bench: Bench) {
    for moment in MOMENTS {
        let mirror = bench.mirror();
        let pull = bench.begin(&mirror, moment);
        bench.registry.restart();
        bench.end(pull, moment);
        bench.pulls(&mirror, moment);
    }
}

#[test]
fn podman_outlives_a_restart_of_the_registry() {
    a_registry_restarts(Bench::podman());
}

#[test]
fn containerd_outlives_a_restart_of_the_registry() {
    a_registry_restarts(Bench::containerd());
}

/// Without a cache, and without the files that deltas read, a pull is what it is without the mirror.
fn what_deltas_need_goes_away(mut bench: Bench) {
    for moment in MOMENTS {
        let mirror = bench.mirror();
        let pull = bench.begin(&mirror, moment);
        // All at once, since the mirror makes it again.
        let gone = bench.dir.path().join("gone");
        fs::rename(mirror.cache(), &gone).unwrap();
        fs::remove_dir_all(&gone).unwrap();
        assert!(bench.end(pull, moment), "without a cache: {}", mirror.log());
        bench.start_over();
        bench.pulls(&mirror, "it had a cache once");
        assert!(keeps_a_layer(&mirror), "{}", mirror.log());
        let mirror = bench.mirror();
        let pull = bench.begin(&mirror, moment);
        bench.client.remove(&bench.image("v1"));
        // podman may fail by itself, since a layer that both images have is gone, too; the mirror does not.
        bench.end(pull, moment);
        assert!(!mirror.log().contains("cut off"), "without the old image: {}", mirror.log());
        bench.pulls(&mirror, "the old image is gone");
    }
    for size in [16 << 10, 300 << 10] {
        bench.start_over();
        let (cache, options) = (bench.cache(), bench.options());
        let mirror = bench.use_mirror(MirrorProcess::start_on_small_disk(size, &cache, &options));
        bench.pulls(&mirror, &format!("a disk of {size} bytes"));
        bench.start_over();
        bench.pulls(&mirror, &format!("a disk of {size} bytes, again"));
    }
}

#[test]
fn podman_pulls_when_cache_or_disk_or_old_image_are_gone() {
    what_deltas_need_goes_away(Bench::podman());
}

#[test]
fn containerd_pulls_when_cache_or_disk_or_old_image_are_gone() {
    what_deltas_need_goes_away(Bench::containerd());
}

fn deltas_are_corrupt(mut bench: Bench) {
    let own = fs::read_dir(bench.dir.path().join("images/blobs/sha256")).unwrap();
    let own: HashSet<String> = own.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let published = bench.registry.blob_files().into_iter().filter(|(name, _)| !own.contains(name));
    let published: Vec<(PathBuf, Vec<u8>)> =
        published.map(|(_, path)| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(published.len() >= 4, "a delta, a recipe, and their manifests");
    type Fault = fn(&[u8]) -> Vec<u8>;
    let faults: [(&str, Fault); 2] = [
        ("changed", |bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            bytes
        }),
        ("cut", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ];
    for (what, fault) in faults {
        for with_manifests in [false, true] {
            for (path, bytes) in published.iter().filter(|(_, bytes)| with_manifests || bytes[0] != b'{') {
                fs::write(path, fault(bytes)).unwrap();
            }
            let mirror = bench.mirror();
            bench.pulls(&mirror, what);
            assert!(!mirror.log().contains("made of a delta"), "{what}");
            published.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        }
    }
    let mirror = bench.mirror();
    bench.pulls(&mirror, "mended");
    assert!(mirror.log().contains("made of a delta"), "{}", mirror.log());
}

#[test]
fn podman_pulls_when_what_was_published_is_corrupt() {
    deltas_are_corrupt(Bench::podman());
}

#[test]
fn containerd_pulls_when_what_was_published_is_corrupt() {
    deltas_are_corrupt(Bench::containerd());
}
