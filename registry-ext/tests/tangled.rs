//! Images whose entries get in each other's way: what is merged lies on disk, and deltas can be applied
//! to it, whoever unpacks them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use crate::support::images::TestImage;
use fixtures::{Ending, LayerBuilder, Tangle, seeds, tangled_layers};
use layer::{MergeOptions, MergedTree, Spool, SpoolOptions, entries};
use registry_ext::store::{Base, ContainersStorage, LayerStore, OciLayout};
use rootfs::Unpacker;
use tar_diff::{DiffOptions, Method, diff, verify};
use tar_patch::{ApplyOptions, DirSource, LayerSource, SourceFiles, apply};
use tempfile::TempDir;

/// The layers of an image, and how they are merged.
struct Image {
    spools: Vec<Spool>,
    merged: MergedTree,
}

fn with_whiteouts() -> MergeOptions {
    MergeOptions::default().apply_whiteouts(true)
}

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("layer".into(), bytes, &SpoolOptions::default()).unwrap()
}

impl Image {
    fn new(layers: &[Vec<u8>]) -> Self {
        let spools: Vec<Spool> = layers.iter().map(|layer| spool(layer)).collect();
        let entries: Vec<_> = spools.iter().map(|spool| entries(spool).unwrap()).collect();
        let merged = MergedTree::merge(&entries, &with_whiteouts());
        Self { spools, merged }
    }

    /// Compares all names of the merged tree with a directory, and counts them.
    fn compare(&self, place: &str, dir: &Path) -> u64 {
        let mut count = 0;
        for (name, file) in self.merged.names() {
            let at = dir.join(std::ffi::OsStr::from_bytes(name));
            assert!(
                fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_file()),
                "{place}: {} is no file",
                at.display()
            );
            let content = self.spools[file.layer].read_range(file.data.clone()).unwrap();
            assert!(fs::read(&at).unwrap() == content, "{place}: {} differs", at.display());
            count += 1;
        }
        count
    }

    /// Unpacks the image; `false` if an entry makes no sense.
    fn unpack(&self, dir: &Path) -> bool {
        let mut unpacker = Unpacker::new(dir).unwrap();
        self.spools.iter().all(|spool| unpacker.layer(spool, &|_| ()).is_ok()) && unpacker.finish().is_ok()
    }

    /// The delta to a layer that has the contents of all files.
    fn delta(&self, contents: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
        let mut new = LayerBuilder::new();
        for (number, content) in contents.iter().enumerate() {
            new.file(format!("new/{number}"), content);
        }
        let new = new.finish(Ending::Normal);
        let options = DiffOptions::default().merge(with_whiteouts()).method(Method::Bsdiff).level(1);
        let (delta, _) = diff(&self.spools, &spool(&new), &options, Vec::new(), &|_| ()).unwrap();
        verify(delta.as_slice(), &self.spools, &spool(&new), &options.merge).unwrap();
        (delta, new)
    }
}

fn assert_applies(place: &str, delta: &[u8], sources: &mut impl SourceFiles, new: &[u8]) {
    let mut rebuilt = Vec::new();
    apply(delta, sources, ApplyOptions::default(), &mut rebuilt)
        .unwrap_or_else(|error| panic!("{place}: {error:?}"));
    assert!(rebuilt == new, "{place}: the result differs");
}

#[test]
fn what_is_unpacked_is_what_is_merged() {
    let seeds = seeds(300);
    let (mut whole, mut names) = (0, 0);
    for seed in seeds.clone() {
        let place = format!("seed {seed}");
        let (layers, contents) = tangled_layers(seed, Tangle { is_image: true, repeats: true });
        let image = Image::new(&layers);
        let (delta, new) = image.delta(&contents);
        let mut tarballs = LayerSource::new(image.spools.clone()).unwrap();
        assert_applies(&place, &delta, &mut tarballs, &new);
        let dir = TempDir::new().unwrap();
        if image.unpack(dir.path()) {
            whole += 1;
            names += image.compare(&place, dir.path());
            assert_applies(&place, &delta, &mut DirSource::open(dir.path()).unwrap(), &new);
        }
    }
    let count = seeds.end - seeds.start;
    assert!(whole * 3 > count, "{whole} of {count} can be unpacked");
    assert!(names * 2 > count, "{names} names in {count} images");
}

/// Runs a command, and gives its output if it succeeds.
fn try_run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Takes seconds for each image: `SEEDS=0..500 cargo test -p registry-ext --test library tangled -- --ignored`.
#[test]
#[ignore = "takes minutes, and needs podman, skopeo and root"]
fn what_podman_has_is_what_is_merged() {
    let seeds = seeds(100);
    for driver in ["vfs", "overlay"] {
        let (mut whole, mut names) = (0, 0);
        for seed in seeds.clone() {
            let place = format!("{driver}, seed {seed}");
            let (layers, contents) = tangled_layers(seed, Tangle { is_image: true, repeats: false });
            let image = Image::new(&layers);
            let dir = TempDir::new().unwrap();
            let path = dir.path().display();
            let layout = OciLayout::create(&dir.path().join("images")).unwrap();
            let test_image = TestImage { layers, architecture: "amd64" };
            test_image.write(&layout, "v1");
            let storage = format!("containers-storage:[{driver}@{path}/root+{path}/run]localhost/app:v1");
            if try_run("skopeo", &["copy", "-q", &format!("oci:{path}/images:v1"), &storage]).is_none() {
                continue;
            }
            let (root, run) = (format!("--root={path}/root"), format!("--runroot={path}/run"));
            let driver_option = format!("--storage-driver={driver}");
            let podman = |args: &[&str]| {
                let args = [&[root.as_str(), &run, &driver_option], args].concat();
                try_run("podman", &args).unwrap()
            };
            let mounted = podman(&["image", "mount", "localhost/app:v1"]);
            names += image.compare(&place, Path::new(&mounted));
            let (delta, new) = image.delta(&contents);
            assert_applies(&place, &delta, &mut DirSource::open(Path::new(&mounted)).unwrap(), &new);
            podman(&["image", "unmount", "localhost/app:v1"]);
            let store = ContainersStorage::open(&dir.path().join("root"), Some(driver)).unwrap();
            let config = layout.images().unwrap()[0].config;
            let mut sources = store.sources(Base::Image(config), &SpoolOptions::default()).unwrap();
            assert_applies(&place, &delta, &mut sources, &new);
            whole += 1;
        }
        let count = seeds.end - seeds.start;
        assert!(whole * 5 > count && names > whole, "{driver}: {whole} can be stored, with {names} names");
    }
}
