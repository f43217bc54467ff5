//! Clients that know no deltas pull through a mirror whose old files are those of their own store: podman, buildah,
//! skopeo, containerd, docker, as Debian packages them, configured by `registry-ext mirror configure`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::containerd::Containerd;
use crate::support::daemons::{DOCKER_CONFIG, Daemon};
use crate::support::docker_registry::{DockerRegistry, Setup, push_images, run};
use crate::support::images::{TestImage, pair, write_index};
use crate::support::kubelet::Kubelet;
use crate::support::mirror_process::{MirrorProcess, free_address};
use crate::support::storage::{Storage, list_files};
use crate::support::{json, registry_ext};
use registry_ext::oci::{Name, digest_of, parse_index, parse_manifest};
use registry_ext::store::OciLayout;
use tempfile::TempDir;

/// A registry with two versions of an image, and the deltas and recipes between them.
struct Bench {
    registry: DockerRegistry,
    dir: TempDir,
    /// The repository, with its registry.
    app: String,
    /// The digest of the new image's manifest.
    digest: String,
    /// The bytes that a client fetches that knows deltas.
    with_deltas: u64,
}

impl Bench {
    fn new() -> Self {
        Self::of("app", pair())
    }

    /// A bench with images in a repository of the registry.
    fn of(name: &str, images: (TestImage, TestImage)) -> Self {
        let (registry, dir) = (DockerRegistry::start(Setup::default()), TempDir::new().unwrap());
        let app = format!("{}/{name}", registry.address());
        let layout = push_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")], &app);
        Self::published(registry, dir, app, &layout)
    }

    /// An image for two architectures.
    fn for_two_platforms() -> Self {
        let (registry, dir, images) =
            (DockerRegistry::start(Setup::default()), TempDir::new().unwrap(), pair());
        let app = format!("{}/app", registry.address());
        let layout = OciLayout::create(&dir.path().join("images")).unwrap();
        for (mut image, tag) in [(images.0, "v1"), (images.1, "v2")] {
            let amd64 = image.clone();
            image.architecture = "arm64";
            write_index(&layout, &[image, amd64], tag);
            let from = format!("oci:{}:{tag}", layout.dir().display());
            let to = format!("docker://{app}:{tag}");
            run("skopeo", &["copy", "-q", "--all", "--dest-tls-verify=false", &from, &to]);
        }
        Self::published(registry, dir, app, &layout)
    }

    fn published(registry: DockerRegistry, dir: TempDir, app: String, layout: &OciLayout) -> Self {
        json(&format!("publish {app}:v2 --from {app}:v1 --exact"));
        let store = |name: &str| format!("oci:{}", dir.path().join(name).display());
        json(&format!("pull {app}:v1 --into {}", store("old")));
        let report =
            json(&format!("pull {app}:v2 --exact --into {} --source {}", store("new"), store("old")));
        let (with_deltas, plain) = (report["fetched"].as_u64().unwrap(), report["plain"].as_u64().unwrap());
        assert!(3 * with_deltas < plain, "{report}");
        let digest = layout.manifest(&Name::Tag("v2".into())).unwrap().unwrap().digest.to_string();
        let with_deltas = with_deltas + documents(layout);
        Self { registry, dir, app, digest, with_deltas }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.app)
    }

    fn by_digest(&self) -> String {
        format!("{}@{}", self.app, self.digest)
    }

    /// Starts a mirror with an empty cache, for a store with the old image.
    fn mirror(&self, cache: &str, source: &str) -> MirrorProcess {
        let options = format!("--source {source} --upstream {}", self.registry.address());
        MirrorProcess::start(&self.path(cache), &options)
    }

    /// Asserts that a mirror had what a client has that knows deltas, and nothing else.
    fn saved(&self, mirror: &MirrorProcess) {
        let fetched = mirror.fetched();
        let log = mirror.log();
        assert!(10 * fetched <= 11 * self.with_deltas, "{fetched}, {}: {log}", self.with_deltas);
        assert_eq!(mirror.figure("registry_ext_mirror_rebuilds_total"), 1, "{log}");
    }
}

/// Bytes of the new image's manifest, config and index.
fn documents(layout: &OciLayout) -> u64 {
    let mut manifest = layout.manifest(&Name::Tag("v2".into())).unwrap().unwrap();
    let mut size = manifest.bytes.len() as u64;
    if manifest.is_index() {
        let index = parse_index("index", &manifest.bytes).unwrap();
        let name = Name::Digest(digest_of(&index.manifests()[1]).unwrap());
        manifest = layout.manifest(&name).unwrap().unwrap();
        size += manifest.bytes.len() as u64;
    }
    size + parse_manifest("manifest", &manifest.bytes).unwrap().config().size()
}

/// The images that podman and its like have after a pull through a mirror, and after one from the registry.
fn containers_pull(bench: &Bench, driver: &'static str, image: &str) {
    let plain = Storage::new(bench.path(&format!("plain-{driver}")), driver);
    plain.try_pull("podman", image).unwrap();
    let expected = plain.look_at(image);
    for client in ["podman", "buildah", "skopeo"] {
        let storage = Storage::new(bench.path(&format!("{client}-{driver}")), driver);
        storage.try_pull(client, &bench.tag("v1")).unwrap();
        let mirror = bench.mirror(&format!("cache-{client}-{driver}"), &storage.source());
        storage.configure(mirror.address(), &bench.registry.address());
        storage.pull(client, image);
        bench.saved(&mirror);
        assert_eq!(storage.look_at(image), expected, "{client}, {driver}");
    }
}

#[test]
fn podman_buildah_and_skopeo_pull_a_tag() {
    let bench = Bench::new();
    containers_pull(&bench, "overlay", &bench.tag("v2"));
}

#[test]
fn podman_buildah_and_skopeo_pull_a_digest() {
    let bench = Bench::new();
    containers_pull(&bench, "vfs", &bench.by_digest());
}

#[test]
fn podman_pulls_its_platform_of_an_index() {
    let bench = Bench::for_two_platforms();
    let image = bench.tag("v2");
    let [plain, storage] = ["plain", "podman"].map(|name| Storage::new(bench.path(name), "overlay"));
    plain.try_pull("podman", &image).unwrap();
    storage.try_pull("podman", &bench.tag("v1")).unwrap();
    let mirror = bench.mirror("cache", &storage.source());
    storage.configure(mirror.address(), &bench.registry.address());
    storage.pull("podman", &image);
    bench.saved(&mirror);
    assert_eq!(storage.look_at(&image), plain.look_at(&image));
}

/// The images that containerd has after a pull through a mirror, and after one from the registry.
fn containerd_pulls(bench: &Bench, snapshotter: &'static str, image: &str, registry: Option<&str>) {
    let [plain, containerd] =
        ["plain", "containerd"].map(|name| Containerd::start(bench.path(name), snapshotter));
    plain.pull(image);
    containerd.pull(&bench.tag("v1"));
    let mirror = bench.mirror("cache", &containerd.source());
    containerd.configure(mirror.address(), registry);
    containerd.pull(image);
    bench.saved(&mirror);
    assert_eq!(containerd.look_at(image), plain.look_at(image), "{snapshotter}");
}

#[test]
fn containerd_pulls_a_tag() {
    let bench = Bench::new();
    let registry = bench.registry.address();
    containerd_pulls(&bench, "overlayfs", &bench.tag("v2"), Some(&registry));
}

#[test]
fn containerd_pulls_a_digest() {
    let bench = Bench::new();
    containerd_pulls(&bench, "native", &bench.by_digest(), None);
}

#[test]
fn containerd_pulls_its_platform_of_an_index() {
    let bench = Bench::for_two_platforms();
    containerd_pulls(&bench, "overlayfs", &bench.tag("v2"), None);
}

#[test]
fn kubelet_pulls_a_tag_by_the_socket_of_containerd() {
    let bench = Bench::new();
    let [plain, kubelet] = ["plain", "kubelet"].map(|name| Kubelet::start(bench.path(name)));
    let id = plain.pull(&bench.tag("v2"));
    kubelet.pull(&bench.tag("v1"));
    let mirror = bench.mirror("cache", &kubelet.source());
    kubelet.configure(mirror.address());
    assert_eq!(kubelet.pull(&bench.tag("v2")), id);
    bench.saved(&mirror);
}

/// The digest, ID and all files of an image that docker has.
fn look_into_docker(docker: &Daemon, image: &str, dir: &Path) -> String {
    let digests = docker.run(&["image", "inspect", "--format", "{{.Id}} {{.RepoDigests}}", image]);
    let digests = digests.replace(image.split([':', '@']).next().unwrap(), "");
    let container = docker.run(&["create", image, "true"]).trim().to_owned();
    fs::create_dir(dir).unwrap();
    let tar = format!("{}.tar", dir.display());
    docker.run(&["export", "--output", &tar, &container]);
    docker.run(&["rm", &container]);
    run("tar", &["-xf", &tar, "-C", &dir.display().to_string()]);
    // Places that docker makes for mounts, at the time of the container.
    let made =
        [" ./dev", " ./proc", " ./sys", "./.dockerenv", "./etc/host", "./etc/resolv.conf", "./etc/mtab"];
    let files = list_files(dir);
    assert!(files.contains(" ./etc/os-release"), "{files}");
    let kept = files.lines().filter(|line| !made.iter().any(|made| line.contains(made)));
    format!("{digests}\n{}", kept.collect::<Vec<_>>().join("\n"))
}

#[test]
fn docker_pulls_a_tag_and_a_digest() {
    // docker has mirrors for its default registry alone, and does not name it: the mirror takes the images from
    // elsewhere.
    let mut images = pair();
    // It reads no zstd.
    images.1.layers.truncate(2);
    let bench = Bench::of("library/app", images);
    let plain = Daemon::docker("overlay2");
    plain.run(&["pull", "--quiet", &bench.tag("v2")]);
    let expected = look_into_docker(&plain, &bench.tag("v2"), &bench.path("plain"));
    let digest = &expected[expected.find('@').unwrap()..expected.find(']').unwrap()];
    for (name, image) in [("tag", "app:v2".to_owned()), ("digest", format!("app@{}", bench.digest))] {
        let (root, address) = (bench.path(name), free_address());
        fs::create_dir_all(root.join("etc/docker")).unwrap();
        fs::write(root.join("etc/docker/daemon.json"), DOCKER_CONFIG).unwrap();
        let line = format!("mirror configure docker --mirror {address} --write --root {}", root.display());
        registry_ext(&line).assert().success();
        let config = fs::read_to_string(root.join("etc/docker/daemon.json")).unwrap();
        let docker = Daemon::docker_with("overlay2", &config);
        docker.run(&["pull", "--quiet", &bench.tag("v1")]);
        let source = format!("--source docker:{}", docker.root().display());
        let options = format!("{source} --upstream {}", bench.registry.address());
        let mirror = MirrorProcess::start_at(address, &bench.path(&format!("cache-{name}")), &options);
        docker.run(&["pull", "--quiet", &image]);
        bench.saved(&mirror);
        let found = look_into_docker(&docker, &image, &bench.path(&format!("files-{name}")));
        assert!(found.contains(digest), "{found}");
        assert_eq!(found.split_once('@').unwrap().1, expected.split_once('@').unwrap().1, "{name}");
        assert_eq!(found.split(' ').next(), expected.split(' ').next(), "the ID of {name}");
    }
}
