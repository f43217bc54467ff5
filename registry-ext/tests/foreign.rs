//! Deltas that nobody here wrote: the layouts of `fixtures/interop`, in every spelling that is in use.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use crate::support::images::{push, stored_layers};
use crate::support::server::{Registry, Switches};
use crate::support::{json, open, options};
use layer::Digest;
use registry_ext::oci::{Name, digest_of, parse_manifest};
use registry_ext::repository::Repository;
use registry_ext::store::OciLayout;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    fixtures::golden_dir().join("../interop").join(name)
}

/// Unpacks a layout of the fixtures.
fn layout(name: &str, dir: &Path) -> OciLayout {
    let to = dir.join(name);
    std::fs::create_dir(&to).unwrap();
    let unpacked =
        std::process::Command::new("tar").arg("-xf").arg(fixture(name)).arg("-C").arg(&to).status();
    assert!(unpacked.unwrap().success());
    OciLayout::open(&to).unwrap()
}

/// Pushes a manifest with its blobs as another client does: in one go, as it is.
async fn push_artifact(layout: &OciLayout, to: &Repository) {
    for entry in layout.index().unwrap().manifests() {
        let name = Name::Digest(digest_of(entry).unwrap());
        let manifest = layout.manifest(&name).unwrap().unwrap();
        let parsed = parse_manifest("artifact", &manifest.bytes).unwrap();
        for blob in parsed.layers().iter().chain([parsed.config()]) {
            to.put_blob(blob, &layout.checked_blob(blob).unwrap()).await.unwrap();
        }
        to.put_manifest(&manifest, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_is_read_and_used() {
    for (name, clients) in [
        ("oci-delta.tar", "oci-delta, cfsctl, bootc, registry-ext"),
        ("oci-delta-redhat.tar", "registry-ext"),
        ("deltaindex.tar", "flatpak, registry-ext"),
        ("deltaindex-redhat.tar", "flatpak, registry-ext"),
    ] {
        let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
        let dir = TempDir::new().unwrap();
        let app = format!("{}/app", registry.address());
        let repository = open(&app, &options(), dir.path());
        let images = layout("images.tar", dir.path());
        for file in ["old.tar.gz", "new.tar.gz"] {
            let path = fixtures::golden_dir().join(file);
            images.put_blob(Digest::of(&std::fs::read(&path).unwrap()), &path).unwrap();
        }
        push(&images, "old", &repository).await;
        push(&images, "new", &repository).await;
        let deltas = layout(name, dir.path());
        if deltas.tags().unwrap().is_empty() {
            push_artifact(&deltas, &repository).await;
        } else {
            push(&deltas, "_deltaindex", &repository).await;
        }

        let host = dir.path().join("host");
        let (app, to) = (app.clone(), host.display().to_string());
        let (listed, report) = tokio::task::spawn_blocking(move || {
            let listed = json(&format!("list {app}:new"));
            json(&format!("pull {app}:old --into oci:{to}"));
            (listed, json(&format!("pull {app}:new --into oci:{to}")))
        })
        .await
        .unwrap();
        let deltas = listed.as_array().unwrap();
        assert!(
            !deltas.is_empty() && deltas.iter().all(|delta| delta["clients"] == clients),
            "{name}: {listed}"
        );
        let layers = report["layers"].as_array().unwrap();
        assert!(layers.iter().any(|layer| layer["from"]["delta"].is_string()), "{name}: {report}");
        let new =
            layer::Spool::open(&fixtures::golden_dir().join("new.tar.gz"), &Default::default()).unwrap();
        let expected = new.read_range(0..new.size()).unwrap();
        assert!(stored_layers(&host, "new").contains(&expected), "{name}");
    }
}
