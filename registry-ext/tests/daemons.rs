//! Old images in the directories of docker and containerd, while these run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::Rng;
use layer::{DiffId, Digest};
use registry_ext::oci::{Name, digest_of, parse_manifest};
use registry_ext::store::{Base, ContainerdStore, DockerStore, LayerStore, OciLayout};
use support::daemons::{Daemon, copy_dir};
use support::docker_registry::{DockerRegistry, Setup, push_images, run};
use support::images::{TestImage, pair, stored_layers};
use support::{json, registry_ext};
use tempfile::TempDir;

/// The programs that deltas are published for: those for one read an image, those for the other a layer.
const READERS: [&str; 2] = ["oci-delta", "flatpak"];

/// A registry with two versions of an image in two repositories: one for each layout of the deltas between.
struct Bench {
    registry: DockerRegistry,
    dir: TempDir,
    images: (TestImage, TestImage),
    /// The config of the old image.
    config: Digest,
}

impl Bench {
    fn new() -> Self {
        let registry = DockerRegistry::start(Setup::default());
        let (dir, images) = (TempDir::new().unwrap(), pair());
        let mut config = None;
        for reader in READERS {
            let app = format!("{}/{reader}", registry.address());
            let tagged = [(&images.0, "v1"), (&images.1, "v2")];
            let layout = push_images(dir.path(), &tagged, &app);
            json(&format!("publish {app}:v2 --from {app}:v1 --for {reader}"));
            config = Some(config_of(&layout, "v1"));
        }
        Self { registry, dir, images, config: config.unwrap() }
    }

    fn image(&self, reader: &str, tag: &str) -> String {
        format!("{}/{reader}:{tag}", self.registry.address())
    }

    /// The bases of the deltas from the old image: the image, and the layer that is another in the new one.
    fn bases(&self) -> [Base; 2] {
        [Base::Image(self.config), Base::Layer(DiffId(Digest::of(&self.images.0.layers[1])))]
    }

    /// Pulls the new image to an empty store, with deltas of both layouts that read the daemon's files.
    fn pulls_with_deltas(&self, source: &str) {
        for reader in READERS {
            let store = TempDir::new_in(self.dir.path()).unwrap();
            let to = store.path().join("store");
            let new = self.image(reader, "v2");
            let report = json(&format!("pull {new} --into oci:{} --source {source}", to.display()));
            assert!(report["layers"][1]["from"]["delta"].is_string(), "{source}, {reader}: {report}");
            let (fetched, plain) = (report["fetched"].as_u64().unwrap(), report["plain"].as_u64().unwrap());
            assert!(4 * fetched < plain, "{source}, {reader}: {report}");
            assert_eq!(stored_layers(&to, "v2"), self.images.1.layers);
        }
    }

    /// Pulls the new image to an empty store, whatever there is at the source.
    fn pulls_whole(&self, source: &str) {
        let store = TempDir::new_in(self.dir.path()).unwrap();
        let to = store.path().join("store");
        let new = self.image(READERS[0], "v2");
        let report = json(&format!("pull {new} --into oci:{} --source {source}", to.display()));
        assert_eq!(report["layers"][1]["from"], "blob", "{source}: {report}");
        assert_eq!(stored_layers(&to, "v2"), self.images.1.layers);
    }

    /// Pulls the new image as a user without privileges. Returns whether it succeeds, and its messages.
    fn pull_of_nobody(&self, source: &str) -> (bool, String) {
        const NOBODY: u32 = 65534;
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = TempDir::new_in(self.dir.path()).unwrap();
        chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        // Where others may run it.
        let program = self.dir.path().join("registry-ext");
        fs::copy(env!("CARGO_BIN_EXE_registry-ext"), &program).unwrap();
        let (home, new) = (home.path().display(), self.image(READERS[0], "v2"));
        let line = format!("pull {new} --into oci:{home}/store --source {source} --tmp-dir {home}");
        let output = Command::new(program)
            .args(line.split_whitespace())
            .envs([("REGISTRY_AUTH_FILE", "/nonexistent"), ("HOME", "/nonexistent")])
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }
}

fn config_of(layout: &OciLayout, tag: &str) -> Digest {
    let manifest = layout.manifest(&Name::Tag(tag.into())).unwrap().unwrap();
    digest_of(parse_manifest("manifest", &manifest.bytes).unwrap().config()).unwrap()
}

/// Asserts that images are not written to a store of a daemon.
fn is_not_written(bench: &Bench, store: &str) {
    let new = bench.image(READERS[0], "v2");
    let output = registry_ext(&format!("pull {new} --into {store}")).assert().code(1).get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("let the daemon pull the image, through a mirror"), "{stderr}");
}

fn of_another_user(store: &str) -> String {
    format!(
        "cannot read {store}: it belongs to another user; run registry-ext as root, or leave this source out"
    )
}

#[test]
fn images_that_docker_stores_are_sources() {
    let bench = Bench::new();
    for driver in ["overlay2", "vfs"] {
        let docker = Daemon::docker(driver);
        let source = format!("docker:{}", docker.root().display());
        // Before it has any image.
        bench.pulls_whole(&source);
        docker.run(&["pull", "--quiet", &bench.image(READERS[0], "v1")]);
        bench.pulls_with_deltas(&source);

        is_not_written(&bench, &source);
        docker.open_way();
        let (succeeds, stderr) = bench.pull_of_nobody(&source);
        assert!(!succeeds && stderr.contains(&of_another_user(&source)), "{stderr}");

        // Nothing is kept of what was there.
        let store = DockerStore::open(&docker.root()).unwrap();
        assert!(bench.bases().into_iter().all(|base| store.has(base).unwrap()));
        docker.run(&["image", "rm", &bench.image(READERS[0], "v1")]);
        assert!(!bench.bases().into_iter().any(|base| store.has(base).unwrap()));
        bench.pulls_whole(&source);
    }
}

#[test]
fn lists_of_docker_lead_to_no_place_outside() {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("image/overlay2");
    let diff_id = Digest::of(b"a layer");
    let layer = image.join("layerdb/sha256").join(&diff_id.to_string()["sha256:".len()..]);
    fs::create_dir_all(&layer).unwrap();
    fs::write(layer.join("diff"), diff_id.to_string()).unwrap();
    fs::create_dir_all(dir.path().join("overlay2/real/diff")).unwrap();
    fs::create_dir_all(dir.path().join("elsewhere/diff")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", dir.path().join("overlay2/link")).unwrap();
    let store = DockerStore::open(dir.path()).unwrap();
    let base = Base::Layer(DiffId(diff_id));
    assert!(!store.has(base).unwrap(), "an entry without its directory");
    for (name, found) in
        [("real\n", Some(true)), ("link", Some(false)), ("absent", Some(false)), ("../elsewhere", None)]
    {
        fs::write(layer.join("cache-id"), name).unwrap();
        assert_eq!(store.has(base).ok(), found, "{name}");
    }
    // Nor do they make anybody wait.
    fs::remove_file(layer.join("cache-id")).unwrap();
    run("mkfifo", &[&layer.join("cache-id").display().to_string()]);
    assert!(store.has(base).is_err());
}

#[test]
fn images_that_containerd_stores_are_sources() {
    let bench = Bench::new();
    for snapshotter in ["overlayfs", "native"] {
        let mut containerd = Daemon::containerd();
        let source = format!("containerd:{}", containerd.root().display());
        bench.pulls_whole(&source);
        let pull = ["images", "pull", "--plain-http", "--snapshotter", snapshotter];
        let old = bench.image(READERS[0], "v1");
        containerd.run(&[&["--namespace", "k8s.io"], &pull[..], &[&old]].concat());
        // From the snapshots alone.
        let blobs = containerd.root().join("io.containerd.content.v1.content/blobs/sha256");
        let aside = bench.dir.path().join("aside");
        fs::create_dir(&aside).unwrap();
        let layers = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
        let layers: Vec<PathBuf> =
            layers.filter(|path| fs::read(path).unwrap().starts_with(&[0x1f, 0x8b])).collect();
        assert_eq!(layers.len(), 2);
        let moves = layers.iter().map(|path| (path, aside.join(path.file_name().unwrap())));
        moves.clone().for_each(|(from, to)| fs::rename(from, to).unwrap());
        bench.pulls_with_deltas(&source);
        moves.for_each(|(to, from)| fs::rename(from, to).unwrap());
        fs::remove_dir(&aside).unwrap();

        is_not_written(&bench, &source);
        containerd.open_way();
        let (succeeds, stderr) = bench.pull_of_nobody(&source);
        assert!(!succeeds && stderr.contains(&of_another_user(&source)), "{stderr}");
        // A directory that lets others in has lists that do not.
        fs::set_permissions(containerd.root(), fs::Permissions::from_mode(0o755)).unwrap();
        let (succeeds, stderr) = bench.pull_of_nobody(&source);
        let warning = format!("{source} is not used: {}", of_another_user(&source));
        assert!(succeeds && stderr.contains(&warning), "{stderr}");

        // From the compressed layers alone.
        containerd.stop();
        fs::remove_dir_all(containerd.root().join(format!("io.containerd.snapshotter.v1.{snapshotter}")))
            .unwrap();
        bench.pulls_with_deltas(&source);
        fs::remove_file(&layers[0]).unwrap();
        let store = ContainerdStore::open(&containerd.root()).unwrap();
        assert!(!store.has(bench.bases()[0]).unwrap());
    }
}

#[test]
fn lists_of_containerd_are_read_while_it_writes_them() {
    let bench = Bench::new();
    let containerd = Daemon::containerd();
    containerd.run(&["images", "pull", "--plain-http", &bench.image(READERS[0], "v1")]);
    let store = ContainerdStore::open(&containerd.root()).unwrap();
    let base = DiffId(Digest::of(&bench.images.0.layers[0])).to_string();
    let reads = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..40 {
                containerd.run(&["snapshots", "prepare", &format!("work-{number}"), &base]);
            }
        });
        let mut reads = 0;
        while !writer.is_finished() {
            assert!(bench.bases().into_iter().all(|base| store.has(base).unwrap()));
            reads += 1;
        }
        writer.join().unwrap();
        reads
    });
    assert!(reads > 10, "{reads}");
}

#[test]
fn broken_lists_of_containerd_are_no_more_than_errors() {
    let bench = Bench::new();
    let mut containerd = Daemon::containerd();
    containerd.run(&["images", "pull", "--plain-http", &bench.image(READERS[0], "v1")]);
    containerd.stop();
    let root = bench.dir.path().join("broken");
    copy_dir(&containerd.root(), &root);
    let store = ContainerdStore::open(&root).unwrap();
    let snapshots = "io.containerd.snapshotter.v1.overlayfs/metadata.db";
    assert!(bench.bases().into_iter().all(|base| store.has(base).unwrap()));
    let outcomes = break_list(&store, &root.join(snapshots), &bench.bases(), 1);
    // A snapshot that is not in the list any more costs nothing: the compressed layers are there.
    assert!(outcomes[0] > 20 && outcomes[1] == 0 && outcomes[2] > 20, "{outcomes:?}");
    // Without snapshots it is the other list that counts.
    fs::remove_file(root.join(snapshots)).unwrap();
    let outcomes =
        break_list(&store, &root.join("io.containerd.metadata.v1.bolt/meta.db"), &bench.bases(), 2);
    assert!(outcomes.iter().all(|&count| count > 20), "{outcomes:?}");
}

/// Changes bytes of a list and cuts it. Returns how often the bases were there, were not, and how often that
/// was an error.
fn break_list(store: &ContainerdStore, list: &Path, bases: &[Base], seed: u64) -> [usize; 3] {
    let whole = fs::read(list).unwrap();
    let meaning: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    let (mut rng, mut outcomes) = (Rng::new(seed), [0; 3]);
    for _ in 0..600 {
        let mut broken = whole.clone();
        for _ in 0..rng.between(1, 40) {
            broken[rng.pick(&meaning)] = if rng.chance(50) { rng.byte() } else { rng.pick(&[0, 1, 2, 0xff]) };
        }
        if rng.chance(10) {
            broken.truncate(rng.below(whole.len()));
        }
        // Not truncated first: file systems flush what takes the place of a truncated file.
        let file = fs::OpenOptions::new().write(true).open(list).unwrap();
        file.set_len(broken.len() as u64).unwrap();
        file.write_all_at(&broken, 0).unwrap();
        for &base in bases {
            outcomes[match store.has(base) {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(_) => 2,
            }] += 1;
        }
    }
    fs::write(list, &whole).unwrap();
    outcomes
}
