//! A mirror that gives tars under another manifest, where a layer has a delta and no recipe.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use crate::support::bench::Bench;
use crate::support::containerd::Containerd;
use crate::support::docker_registry::{DockerRegistry, Setup, push_images};
use crate::support::images::{pair, push, write_index};
use crate::support::json;
use crate::support::mirror::{TestMirror, asked_for, bench, image_of, updated};
use crate::support::mirror_process::MirrorProcess;
use crate::support::server::{Switches, error};
use crate::support::storage::Storage;
use axum::http::StatusCode;
use layer::Digest;
use registry_ext::image::Image;
use registry_ext::mirror::MirrorOptions;
use registry_ext::oci::{Manifest, Name, digest_of, parse_index, parse_manifest};
use registry_ext::publish::Recipes;
use registry_ext::store::{OciLayout, StoreRef};
use registry_ext::watch::Watch;
use tempfile::TempDir;

/// A bench with deltas, but without recipes, and the new image.
async fn unrecorded() -> (Bench, Image) {
    let bench = Bench::new(Switches::default()).await;
    bench.publish(|to| to.recipes(Recipes::None).delta_index(false)).await.unwrap();
    bench.pull("v1", &bench.path("old"), &Watch::nothing()).await.unwrap();
    let image = image_of(&bench.repository(), "v2", bench.dir.path()).await.unwrap();
    bench.registry.take_requests();
    (bench, image)
}

async fn start(bench: &Bench, change: impl FnOnce(&mut MirrorOptions)) -> TestMirror {
    let old = bench.path("old");
    TestMirror::start(bench, |options| {
        options.sources.push(StoreRef::Layout(old, None));
        options.rewrite = true;
        options.prefetch.platform = "linux/amd64".parse().unwrap();
        change(options);
    })
    .await
}

/// Returns the manifest that a mirror gives for a tag or a digest, after its digest was compared.
async fn given(mirror: &TestMirror, name: &str) -> Manifest {
    let object = format!("manifests/{name}");
    let head = mirror.head(&object).await;
    let answer = mirror.get(&object).await;
    assert_eq!(answer.status(), StatusCode::OK, "{name}");
    for name in ["docker-content-digest", "content-length", "content-type"] {
        assert_eq!(head.headers()[name], answer.headers()[name], "{name}");
    }
    let said = answer.headers()["docker-content-digest"].to_str().unwrap().to_owned();
    let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let manifest = Manifest::new(answer.bytes().await.unwrap().to_vec(), Some(&media_type));
    assert_eq!((manifest.digest.to_string(), &manifest.media_type), (said, &media_type));
    manifest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_gives_the_same_image_with_a_tar_and_a_digest_gives_the_registrys() {
    let (bench, image) = unrecorded().await;
    let (blob, _) = updated(&bench, &image);
    let tar = &bench.images.1.layers[1];
    let mirror = start(&bench, |_| ()).await;
    let manifest = given(&mirror, "v2").await;
    assert_ne!(manifest.digest, image.manifest.digest);
    let (old, new) = (&image.parsed, parse_manifest("manifest", &manifest.bytes).unwrap());
    assert_eq!(new.config(), old.config());
    for (index, (old, new)) in old.layers().iter().zip(new.layers()).enumerate() {
        if index == 1 {
            assert_eq!(new.media_type().as_ref(), "application/vnd.oci.image.layer.v1.tar");
            assert_eq!(digest_of(new).unwrap(), Digest::of(tar));
            assert_eq!(new.size(), tar.len() as u64);
        } else {
            assert_eq!(new, old);
        }
    }
    assert!(mirror.blob(Digest::of(tar)).await == *tar);
    let part = mirror.get_with(&format!("blobs/{}", Digest::of(tar)), ("range", "bytes=700-")).await;
    assert!(part.bytes().await.unwrap() == tar[700..]);
    mirror.pull(&bench, "v2").await.unwrap();
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, blob), 0, "{requests:?}");
    assert_eq!(given(&mirror, &image.manifest.digest.to_string()).await, image.manifest);
    assert_eq!(given(&mirror, "v2").await, manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_nothing() {
    let (bench, image) = unrecorded().await;
    let tar = bench.images.1.layers[1].clone();
    let mirror = start(&bench, |_| ()).await;
    let manifest = given(&mirror, "v2").await;
    mirror.stop().await;
    // Neither does the end of all deltas.
    bench.registry.lie(|call| {
        call.uri.path().contains("/referrers/").then(|| error(StatusCode::NOT_FOUND, "NOT_FOUND"))
    });
    for first in ["digest", "blob", "tag"] {
        let mirror = start(&bench, |_| ()).await;
        match first {
            "digest" => assert_eq!(given(&mirror, &manifest.digest.to_string()).await, manifest),
            "blob" => {
                let head = mirror.head(&format!("blobs/{}", Digest::of(&tar))).await;
                assert_eq!(head.headers()["content-length"], tar.len().to_string().as_str());
            }
            _ => assert_eq!(given(&mirror, "v2").await, manifest),
        }
        assert!(mirror.blob(Digest::of(&tar)).await == tar, "{first}");
        let requests = bench.registry.take_requests();
        assert_eq!(asked_for(&requests, image.layers[1].digest.0), 0, "{first}: {requests:?}");
        mirror.stop().await;
    }
    // A tar that had to go comes from the blob of its layer.
    let cache = OciLayout::open(&bench.path("cache")).unwrap();
    fs::remove_file(cache.blob_path(Digest::of(&tar))).unwrap();
    let mirror = start(&bench, |_| ()).await;
    assert_eq!(given(&mirror, &manifest.digest.to_string()).await, manifest);
    let head = mirror.head(&format!("blobs/{}", Digest::of(&tar))).await;
    assert_eq!(head.headers()["content-length"], tar.len().to_string().as_str());
    assert!(mirror.blob(Digest::of(&tar)).await == tar);
    mirror.pull(&bench, "v2").await.unwrap();
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, image.layers[1].digest.0), 1, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_was_given_as_it_is_stays_so() {
    let (bench, image) = unrecorded().await;
    // Without the old image no delta is of use, and without time none is made.
    let without_source: fn(&mut MirrorOptions) = |options| options.sources.clear();
    let without_time: fn(&mut MirrorOptions) = |options| options.patience = Duration::ZERO;
    for at_first in [without_source, without_time] {
        let mirror = start(&bench, at_first).await;
        assert_eq!(given(&mirror, "v2").await, image.manifest);
        mirror.stop().await;
        let mirror = start(&bench, |_| ()).await;
        assert_eq!(given(&mirror, "v2").await, image.manifest);
        mirror.pull(&bench, "v2").await.unwrap();
        mirror.stop().await;
        fs::remove_dir_all(bench.path("cache")).unwrap();
    }
    let mirror = start(&bench, |_| ()).await;
    assert_ne!(given(&mirror, "v2").await, image.manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_stays_as_it_is_unless_that_is_wanted_and_of_use() {
    let (with_recipes, image) = bench().await;
    let mirror = start(&with_recipes, |_| ()).await;
    assert_eq!(given(&mirror, "v2").await, image.manifest, "the blob can be made bit for bit");
    let (bench, image) = unrecorded().await;
    let mirror = start(&bench, |options| options.rewrite = false).await;
    assert_eq!(given(&mirror, "v2").await, image.manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_repository_has_neither_the_manifest_nor_the_tar() {
    let (bench, _) = unrecorded().await;
    let mirror = start(&bench, |_| ()).await;
    let manifest = given(&mirror, "v2").await;
    let tar = Digest::of(&bench.images.1.layers[1]);
    for object in [format!("manifests/{}", manifest.digest), format!("blobs/{tar}")] {
        let url = mirror.url(&object).replace("/app/", "/secret/");
        assert_eq!(reqwest::get(url).await.unwrap().status(), StatusCode::NOT_FOUND, "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_lists_the_other_manifest_for_this_platform() {
    let bench = Bench::new(Switches::default()).await;
    let layout = OciLayout::create(&bench.path("indexes")).unwrap();
    for (mut image, tag) in [(bench.images.0.clone(), "v1"), (bench.images.1.clone(), "v2")] {
        let amd64 = image.clone();
        image.architecture = "arm64";
        write_index(&layout, &[image, amd64], tag);
        push(&layout, tag, &bench.repository()).await;
    }
    bench.publish(|to| to.recipes(Recipes::None).delta_index(false)).await.unwrap();
    bench.pull("v1", &bench.path("old"), &Watch::nothing()).await.unwrap();
    let original = layout.manifest(&Name::Tag("v2".into())).unwrap().unwrap();
    let mirror = start(&bench, |_| ()).await;
    let index = given(&mirror, "v2").await;
    assert_ne!(index.digest, original.digest);
    let entries = |manifest: &Manifest| parse_index("index", &manifest.bytes).unwrap().manifests().clone();
    let (old, new) = (entries(&original), entries(&index));
    assert_eq!(new[0], old[0], "another platform");
    assert_eq!(new[1].platform(), old[1].platform());
    let image = given(&mirror, new[1].digest().as_ref()).await;
    assert_eq!(image.bytes.len() as u64, new[1].size());
    let tar = Digest::of(&bench.images.1.layers[1]);
    assert_eq!(digest_of(&parse_manifest("manifest", &image.bytes).unwrap().layers()[1]).unwrap(), tar);
    mirror.pull(&bench, "v2").await.unwrap();
    assert_eq!(given(&mirror, &original.digest.to_string()).await, original);
    mirror.stop().await;
    let mirror = start(&bench, |_| ()).await;
    assert_eq!(given(&mirror, new[1].digest().as_ref()).await, image);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prefetched_is_what_its_tag_will_give() {
    let (bench, image) = unrecorded().await;
    let mirror = start(&bench, |options| {
        options.prefetch.tags.push(format!("{}:v2", bench.name()).parse().unwrap());
    })
    .await;
    mirror.wait_for("here: ").await;
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, image.layers[1].digest.0), 0, "{requests:?}");
    mirror.pull(&bench, "v2").await.unwrap();
    let requests = bench.registry.take_requests();
    let layers = image.layers.iter().map(|layer| asked_for(&requests, layer.digest.0)).sum::<usize>();
    assert_eq!(layers, 0, "{requests:?}");
}

/// The digest of the manifest, and all else that a client has of an image.
fn digest_and_rest(looked_at: &str) -> (&str, &str) {
    looked_at.split_once([' ', '\n']).unwrap()
}

#[test]
fn podman_and_containerd_have_the_same_image() {
    let (registry, dir, images) = (DockerRegistry::start(Setup::default()), TempDir::new().unwrap(), pair());
    let address = registry.address();
    let app = format!("{address}/app");
    let (old, new) = (format!("{app}:v1"), format!("{app}:v2"));
    let layout = push_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")], &app);
    json(&format!("publish {new} --from {old} --no-exact"));
    let original = layout.manifest(&Name::Tag("v2".into())).unwrap().unwrap();
    let blob = parse_manifest("manifest", &original.bytes).unwrap().layers()[1].digest().to_string();
    let path = |name: &str| dir.path().join(name);
    let start = |name: &str, source: &str| {
        let options = format!("--rewrite --source {source} --upstream {address}");
        MirrorProcess::start(&path(name), &options)
    };
    let check = |mirror: &MirrorProcess, (plain, found): (&str, &str)| {
        let log = mirror.log();
        assert!(log.contains("to be served uncompressed"), "{log}");
        assert!(!log.contains(&format!("/blobs/{blob}")), "nobody asked for the blob: {log}");
        let ((before, plain), (after, found)) = (digest_and_rest(plain), digest_and_rest(found));
        assert_eq!(found, plain);
        assert_eq!(before, original.digest.to_string());
        after.to_owned()
    };

    let [plain, storage] = ["plain", "podman"].map(|name| Storage::new(path(name), "overlay"));
    plain.try_pull("podman", &new).unwrap();
    storage.try_pull("podman", &old).unwrap();
    let mut mirror = start("cache", &storage.source());
    storage.configure(mirror.address(), &address);
    storage.pull("podman", &new);
    let of_podman = check(&mirror, (&plain.look_at(&new), &storage.look_at(&new)));
    mirror.kill();
    mirror.start_again();
    storage.pull("podman", &new);
    assert_eq!(digest_and_rest(&storage.look_at(&new)).0, of_podman, "the tag did not move");

    let [plain, containerd] =
        ["plain-containerd", "containerd"].map(|name| Containerd::start(path(name), "overlayfs"));
    plain.pull(&new);
    containerd.pull(&old);
    let mirror = start("another-cache", &containerd.source());
    containerd.configure(mirror.address(), Some(&address));
    containerd.pull(&new);
    let of_containerd = check(&mirror, (&plain.look_at(&new), &containerd.look_at(&new)));
    assert_ne!(of_podman, original.digest.to_string());
    assert_eq!(of_podman, of_containerd, "the manifest depends on the image alone");
}
