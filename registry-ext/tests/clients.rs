//! Other clients read our artifacts, and our tools read their stores.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::support::docker_registry::{DockerRegistry, Setup, run};
use crate::support::images::{TestImage, gzip, pair, stored_layers};
use crate::support::{json, registry_ext};
use anyhow::{Context, Result};
use oci_delta::{DeltaBlobReader, DeltaDataSource};
use registry_ext::oci::{Name, digest_of, parse_manifest};
use registry_ext::store::OciLayout;
use tempfile::TempDir;

fn skopeo(args: &[&str]) -> String {
    run("skopeo", args)
}

/// The files of an extracted image, as oci-delta wants them.
struct Tree {
    root: PathBuf,
    current: Option<File>,
}

impl Tree {
    fn file(&mut self) -> Result<&mut File> {
        self.current.as_mut().context("no file")
    }
}

impl DeltaDataSource for Tree {
    fn set_current_file(&mut self, path: &str) -> Result<()> {
        self.current = Some(File::open(self.root.join(path)).context(path.to_owned())?);
        Ok(())
    }

    fn read_exact_current(&mut self, bytes: &mut [u8]) -> Result<()> {
        Ok(self.file()?.read_exact(bytes)?)
    }

    fn seek_current(&mut self, offset: u64) -> Result<u64> {
        Ok(self.file()?.seek(SeekFrom::Start(offset))?)
    }

    fn read_current_to_end(&mut self, _: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.seek_current(0)?;
        self.file()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn copy_to(&mut self, to: &mut dyn Write, size: u64) -> Result<()> {
        anyhow::ensure!(std::io::copy(&mut self.file()?.take(size), to)? == size);
        Ok(())
    }
}

struct Blobs(OciLayout);

impl DeltaBlobReader for Blobs {
    fn open_blob(&self, blob: &oci_spec::image::Descriptor) -> oci_delta::BlobStreamFuture<'_> {
        let path = self.0.blob_path(digest_of(blob).unwrap());
        Box::pin(async move { Ok(Box::new(File::open(path)?) as Box<dyn oci_delta::BlobStream>) })
    }
}

/// Writes the images of a pair to a layout as v1 and v2.
fn layout(dir: &Path, images: &(TestImage, TestImage)) -> OciLayout {
    let layout = OciLayout::create(&dir.join("images")).unwrap();
    images.0.write(&layout, "v1");
    images.1.write(&layout, "v2");
    layout
}

/// Pushes the images of a layout, v1 and v2, to a repository.
fn push(layout: &OciLayout, repository: &str) {
    for tag in ["v1", "v2"] {
        let from = format!("oci:{}:{tag}", layout.dir().display());
        skopeo(&["copy", "-q", "--dest-tls-verify=false", &from, &format!("docker://{repository}:{tag}")]);
    }
}

#[tokio::test]
async fn the_crate_oci_delta_rebuilds_the_target() {
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = layout(dir.path(), &images);
    let target = layout.manifest(&Name::Tag("v2".into())).unwrap().unwrap();
    for method in ["bsdiff", "auto"] {
        let to = dir.path().join(method);
        let from = layout.dir().display();
        json(&format!(
            "publish oci:{from}:v2 --from oci:{from}:v1 --to oci:{} --for oci-delta --binary-diff {method}",
            to.display()
        ));
        let artifacts = OciLayout::open(&to).unwrap();
        let index = artifacts.index().unwrap();
        // As cfsctl wants it.
        assert_eq!(index.manifests().len(), 1);
        let name = Name::Digest(digest_of(&index.manifests()[0]).unwrap());
        let manifest = artifacts.manifest(&name).unwrap().unwrap();
        let manifest = parse_manifest("artifact", &manifest.bytes).unwrap();
        assert!(oci_delta::is_delta_artifact(&manifest));
        let parsed = oci_delta::parse_delta_manifest(&manifest, &Blobs(artifacts.clone())).await.unwrap();
        assert_eq!(parsed.target_manifest_raw, target.bytes);

        let tree = TempDir::new().unwrap();
        fixtures::extract_all(&images.0.layers, true, tree.path());
        let diff_ids: HashMap<String, String> = parsed
            .target_manifest
            .layers()
            .iter()
            .zip(parsed.target_config.rootfs().diff_ids())
            .map(|(layer, diff_id)| (layer.digest().to_string(), diff_id.clone()))
            .collect();
        assert_eq!(parsed.delta_layer_by_to.len(), 2);
        for (to, blob) in &parsed.delta_layer_by_to {
            let mut source = Tree { root: tree.path().to_owned(), current: None };
            let bytes = std::fs::read(artifacts.blob_path(digest_of(blob).unwrap())).unwrap();
            let expected = diff_ids[&to.to_string()].parse().unwrap();
            let mut rebuilt = Vec::new();
            oci_delta::reconstruct_layer_to(
                Cursor::new(bytes),
                blob.media_type(),
                &mut source,
                &expected,
                &mut rebuilt,
            )
            .unwrap();
            assert!(images.1.layers.contains(&rebuilt));
        }
    }
}

#[test]
fn archives_carry_deltas_across_an_air_gap() {
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = layout(dir.path(), &images);
    let (from, archive) = (layout.dir().display(), dir.path().join("deltas.tar"));
    let archive_of = dir.path().join("v2.tar").display().to_string();
    skopeo(&["copy", "-q", &format!("oci:{from}:v2"), &format!("oci-archive:{archive_of}:v2")]);
    json(&format!(
        "publish oci-archive:{archive_of}:v2 --from oci:{from}:v1 --to oci-archive:{}",
        archive.display()
    ));
    let listed = OciLayout::unpack(&archive, dir.path()).unwrap();
    assert!(listed.tags().unwrap().contains(&"_deltaindex".to_owned()));
    // The image and its deltas in one archive, as a pull from it wants them.
    json(&format!("publish oci-archive:{archive_of}:v2 --from oci:{from}:v1"));
    let store = dir.path().join("store");
    json(&format!("pull oci:{from}:v1 --into oci:{}", store.display()));
    let report = json(&format!("pull oci-archive:{archive_of}:v2 --into oci:{}", store.display()));
    assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
    assert_eq!(stored_layers(&store, "v2"), images.1.layers);
}

#[test]
fn archives_of_docker_save_are_images_and_sources() {
    let dir = TempDir::new().unwrap();
    let mut images = pair();
    // Images of docker have no layers compressed by zstd.
    for image in [&mut images.0, &mut images.1] {
        image.layers.truncate(2);
    }
    let layout = layout(dir.path(), &images);
    let from = layout.dir().display();
    let saved = |tag: &str| {
        let file = dir.path().join(format!("{tag}.tar")).display().to_string();
        skopeo(&["copy", "-q", &format!("oci:{from}:{tag}"), &format!("docker-archive:{file}:app:{tag}")]);
        file
    };
    let (old, new) = (saved("v1"), saved("v2"));
    let compressed = format!("{old}.gz");
    std::fs::write(&compressed, gzip(&std::fs::read(&old).unwrap())).unwrap();

    let measured = &json(&format!("measure docker-archive:{old} docker-archive:{new}:app:v2"))[0];
    assert!(measured["with_deltas"].as_u64() < measured["plain"].as_u64(), "{measured}");
    json(&format!("publish oci:{from}:v2 --from docker-archive:{compressed}:docker.io/library/app:v1"));
    let store = dir.path().join("store");
    let pull =
        format!("pull oci:{from}:v2 --into oci:{} --source docker-archive:{compressed}", store.display());
    let report = json(&pull);
    assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
    assert_eq!(stored_layers(&store, "v2"), images.1.layers);
    let deltas = dir.path().join("deltas");
    json(&format!("publish docker-archive:{new} --from docker-archive:{old} --to oci:{}", deltas.display()));
    let whole = dir.path().join("whole");
    json(&format!("pull docker-archive:{new} --into oci:{}:v2", whole.display()));
    assert_eq!(stored_layers(&whole, "v2"), images.1.layers);

    for (line, wanted) in [
        (format!("list {new}"), "write docker-archive:"),
        (format!("list {from}"), "write oci:"),
        (format!("list {compressed}"), "docker-archive:"),
        (format!("pull oci:{from}:v2 --into {new}"), "write docker-archive:"),
        (format!("pull oci:{from}:v2 --into docker-archive:{new}"), "oci-archive:FILE"),
        (format!("publish docker-archive:{new} --from docker-archive:{old}"), "--to"),
        (
            format!("publish docker-archive:{new} --from docker-archive:{old} --to h.example/app"),
            "push the image",
        ),
        (format!("measure {old} {new}"), "docker-archive:FILE"),
    ] {
        let run = registry_ext(&line).assert().failure();
        let text = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(text.contains(wanted), "{line}: {text}");
    }
}

#[test]
fn skopeo_carries_the_artifacts_and_pulls_the_image_as_before() {
    let (here, there) = (DockerRegistry::start(Setup::default()), DockerRegistry::start(Setup::default()));
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = layout(dir.path(), &images);
    let (here, there) = (format!("{}/app", here.address()), format!("{}/mirror/app", there.address()));
    push(&layout, &here);
    let published = json(&format!("publish {here}:v2 --from {here}:v1"));
    let pulled = dir.path().join("pulled");
    let to = format!("oci:{}:v2", pulled.display());
    skopeo(&["copy", "-q", "--src-tls-verify=false", &format!("docker://{here}:v2"), &to]);
    assert_eq!(stored_layers(&pulled, "v2"), images.1.layers);

    let image = json(&format!("list {here}:v2"))[0]["image"].as_str().unwrap().to_owned();
    let stand_in = image.replace(':', "-");
    for tag in ["v1", "v2", "_deltaindex", &stand_in] {
        let (from, to) = (format!("docker://{here}:{tag}"), format!("docker://{there}:{tag}"));
        skopeo(&["copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]);
    }
    assert_eq!(json(&format!("list {there}:v2")), json(&format!("list {here}:v2")));
    let verified = json(&format!("verify {there}:v2"));
    assert!(verified.as_array().unwrap().iter().all(|delta| delta["verdict"] == "right"), "{verified}");
    assert_eq!(published["artifacts"].as_array().unwrap().len(), 1);
}

#[test]
fn images_that_podman_stores_are_sources_and_targets() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = layout(dir.path(), &images);
    let app = format!("{}/app", registry.address());
    push(&layout, &app);
    for (driver, reader) in [("overlay", "oci-delta"), ("vfs", "flatpak")] {
        json(&format!("publish {app}:v2 --from {app}:v1 --for {reader}"));
        let place = dir.path().join(driver).display().to_string();
        let storage = format!("[{driver}@{place}/root+{place}/run]");
        let old = format!("containers-storage:{storage}localhost/app:v1");
        skopeo(&["copy", "-q", "--src-tls-verify=false", &format!("docker://{app}:v1"), &old]);

        let store = dir.path().join(format!("from-{driver}"));
        let report = json(&format!(
            "pull {app}:v2 --into oci:{} --source containers-storage:{storage}",
            store.display()
        ));
        assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
        assert_eq!(stored_layers(&store, "v2"), images.1.layers);

        let new = format!("containers-storage:{storage}localhost/app:v2");
        let report = json(&format!("pull {app}:v2 --into {new}"));
        assert_eq!(report["layers"][0]["from"], "local", "{report}");
        assert!(report["layers"][1]["from"]["delta"].is_string(), "{report}");
        let podman = ["--root", &format!("{place}/root"), "--runroot", &format!("{place}/run")];
        let podman = [&podman[..], &["--storage-driver", driver]].concat();
        let id = run(
            "podman",
            &[&podman[..], &["image", "inspect", "--format", "{{.Id}}", "localhost/app:v2"]].concat(),
        );
        assert_eq!(format!("sha256:{}", id.trim()), report["config"].as_str().unwrap());
        let mounted = run("podman", &[&podman[..], &["image", "mount", "localhost/app:v2"]].concat());
        let root = Path::new(mounted.trim());
        assert_eq!(std::fs::read_to_string(root.join("etc/added")).unwrap(), "new");
        assert!(!root.join("etc/gone").exists());
        run("podman", &[&podman[..], &["image", "unmount", "localhost/app:v2"]].concat());
    }
}

#[test]
fn a_plain_tree_is_a_source() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = layout(dir.path(), &images);
    let app = format!("{}/app", registry.address());
    push(&layout, &app);
    json(&format!("publish {app}:v2 --from {app}:v1"));
    let tree = dir.path().join("root");
    std::fs::create_dir(&tree).unwrap();
    fixtures::extract_all(&images.0.layers, true, &tree);
    let pull = |to: &str, source: &str| {
        let store = dir.path().join(to);
        let report = json(&format!("pull {app}:v2 --into oci:{} --source tree:{source}", store.display()));
        assert_eq!(stored_layers(&store, "v2"), images.1.layers);
        report["layers"][1]["from"].clone()
    };
    assert!(pull("a", &tree.display().to_string())["delta"].is_string());
    let other = format!("{}@sha256:{}", tree.display(), "00".repeat(32));
    assert_eq!(pull("b", &other), "blob");
    // Without a digest a tree is tried; one of something else costs a warning.
    let wrong = dir.path().join("wrong");
    std::fs::create_dir(&wrong).unwrap();
    assert_eq!(pull("c", &wrong.display().to_string()), "blob");
    let store = dir.path().join("d").display().to_string();
    registry_ext(&format!("pull {app}:v2 --into oci:{store} --source tree:/nonexistent/x"))
        .assert()
        .success();
}

#[test]
fn measure_says_what_would_be_saved() {
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = layout(dir.path(), &images);
    let from = layout.dir().display();
    let measured = json(&format!("measure oci:{from}:v1 oci:{from}:v2"));
    assert_eq!(measured[0]["layers"].as_array().unwrap().len(), 3);
    assert!(measured[0]["layers"][0]["delta_size"].is_null());
    assert!(measured[0]["with_deltas"].as_u64() < measured[0]["plain"].as_u64());
    assert_eq!(measured[0]["layers"][1]["blob_size"], gzip(&images.1.layers[1]).len());
}
