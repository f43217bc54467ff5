//! Tags that a mirror follows are in its cache before anybody asks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::bench::Bench;
use crate::support::docker_registry::{DockerRegistry, Setup, push_images};
use crate::support::images::pair;
use crate::support::json;
use crate::support::mirror::{TestMirror, asked_for, bench, updated};
use crate::support::mirror_process::{MirrorProcess, get};
use crate::support::server::{error, status};
use crate::support::storage::Storage;
use axum::http::{Method, StatusCode};
use layer::Digest;
use registry_ext::image::Image;
use registry_ext::mirror::MirrorOptions;
use registry_ext::store::StoreRef;
use tempfile::TempDir;

/// Lets a mirror follow a tag of the bench, and look again at once.
fn follow(bench: &Bench, options: &mut MirrorOptions, tag: &str) {
    options.prefetch.tags.push(format!("{}:{tag}", bench.name()).parse().unwrap());
    options.prefetch.every = Duration::from_millis(20);
    options.prefetch.platform = "linux/amd64".parse().unwrap();
}

/// The layers that the requests asked for.
fn layers_asked_for(image: &Image, requests: &[String]) -> Vec<Digest> {
    let layers = image.layers.iter().map(|layer| layer.digest.0);
    layers.filter(|layer| asked_for(requests, *layer) > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tag_leads_to_is_there_before_anybody_asks() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let old = bench.path("old");
    let mirror = TestMirror::start(&bench, |options| {
        options.sources.push(StoreRef::Layout(old, None));
        follow(&bench, options, "v2");
    })
    .await;
    mirror.wait_for(&format!("here: {}", image.manifest.digest)).await;
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, digest), 0, "it is made of its delta: {requests:?}");
    mirror.pull(&bench, "v2").await.unwrap();
    assert_eq!(mirror.blob(digest).await, blob);
    let requests = bench.registry.take_requests();
    assert_eq!(layers_asked_for(&image, &requests), Vec::<Digest>::new(), "{requests:?}");
    let metrics =
        reqwest::get(format!("http://{}/metrics", mirror.address)).await.unwrap().text().await.unwrap();
    let figure = |name: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name}: {metrics}"));
        line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    assert!(figure("registry_ext_mirror_prefetches_total") > 0);
    assert!(
        (1..blob.len() as u64).contains(&figure("registry_ext_mirror_prefetched_bytes_total")),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_started_again_fetches_what_is_missing() {
    let (bench, image) = bench().await;
    let last = image.layers.last().unwrap().digest.0;
    bench.registry.lie(move |call| {
        let is_last = call.method == Method::GET && call.uri.path().ends_with(&last.to_string());
        is_last.then(|| status(StatusCode::FORBIDDEN))
    });
    let mirror = TestMirror::start(&bench, |options| follow(&bench, options, "v2")).await;
    mirror.wait_for("failed: ").await;
    mirror.stop().await;
    bench.registry.be_honest();
    bench.registry.take_requests();
    let mirror = TestMirror::start(&bench, |options| follow(&bench, options, "v2")).await;
    mirror.wait_for("here: ").await;
    let requests = bench.registry.take_requests();
    assert_eq!(layers_asked_for(&image, &requests), [last], "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_is_followed_and_one_that_vanishes_is_told() {
    let (bench, image) = bench().await;
    let moved = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let stage = std::sync::Arc::clone(&moved);
    let to = format!("/v2/app/manifests/{}", image.manifest.digest);
    let location = format!("http://{}{to}", bench.registry.address());
    bench.registry.lie(move |call| {
        let is_tag = call.uri.path() == "/v2/app/manifests/v1";
        match stage.load(std::sync::atomic::Ordering::Relaxed) {
            1 if is_tag => {
                let headers = [(axum::http::header::LOCATION, location.clone())];
                Some(crate::support::server::respond(StatusCode::TEMPORARY_REDIRECT, &headers, ""))
            }
            2 if is_tag => Some(error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")),
            _ => None,
        }
    });
    let mirror = TestMirror::start(&bench, |options| follow(&bench, options, "v1")).await;
    mirror.wait_for("here: ").await;
    moved.store(1, std::sync::atomic::Ordering::Relaxed);
    mirror.wait_for(&format!("here: {}", image.manifest.digest)).await;
    moved.store(2, std::sync::atomic::Ordering::Relaxed);
    mirror.wait_for("the registry has no such tag").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_within_a_limit_comes_whole() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    // Long enough for many pauses, each longer than bytes are gathered for.
    let rate = blob.len() as u64;
    let mirror = TestMirror::start(&bench, |options| {
        follow(&bench, options, "v2");
        options.prefetch.rate = Some(rate);
    })
    .await;
    mirror.wait_for(&format!("here: {}", image.manifest.digest)).await;
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, digest), 1, "{requests:?}");
    assert!(mirror.blob(digest).await == blob);
    assert_eq!(asked_for(&bench.registry.take_requests(), digest), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_blob_takes_its_limit_away() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    for has_delta in [false, true] {
        let old = bench.path("old");
        let mirror = TestMirror::start(&bench, |options| {
            if has_delta {
                options.sources.push(StoreRef::Layout(old, None));
            }
            follow(&bench, options, "v2");
            // At this rate it takes days.
            options.prefetch.rate = Some(1);
        })
        .await;
        // A layer of a few bytes may be there already.
        mirror.wait_for("fetching, ").await;
        mirror.pull(&bench, "v2").await.unwrap();
        assert_eq!(mirror.blob(digest).await, blob);
        let requests = bench.registry.take_requests();
        for layer in layers_asked_for(&image, &requests) {
            assert_eq!(asked_for(&requests, layer), 1, "{requests:?}");
        }
        mirror.wait_for("here: ").await;
        mirror.stop().await;
        std::fs::remove_dir_all(bench.path("cache")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_prefetched_outside_of_its_time() {
    let (bench, _) = bench().await;
    let hour = String::from_utf8(Command::new("date").arg("+%H").output().unwrap().stdout).unwrap();
    let hour: u32 = hour.trim().parse().unwrap();
    let mirror = TestMirror::start(&bench, |options| {
        follow(&bench, options, "v2");
        let window = format!("{:02}:00-{:02}:00", (hour + 6) % 24, (hour + 7) % 24);
        options.prefetch.windows.push(window.parse().unwrap());
    })
    .await;
    mirror.pull(&bench, "v1").await.unwrap();
    assert!(mirror.page().await.contains("waiting"));
    let requests = bench.registry.take_requests();
    assert!(requests.iter().all(|request| !request.contains("v2/app/manifests/v2")), "{requests:?}");
}

#[test]
fn podman_pulls_what_is_there_by_its_manifest_alone() {
    let (registry, dir, images) = (DockerRegistry::start(Setup::default()), TempDir::new().unwrap(), pair());
    let app = format!("{}/app", registry.address());
    let layout = push_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")], &app);
    json(&format!("publish {app}:v2 --from {app}:v1"));
    let storage = Storage::new(dir.path().join("podman"), "vfs");
    storage.try_pull("podman", &format!("{app}:v1")).unwrap();
    let options =
        format!("--source {} --prefetch {app}:v2 --upstream {}", storage.source(), registry.address());
    let mut mirror = MirrorProcess::start(&dir.path().join("cache"), &options);
    let wait = |mirror: &MirrorProcess| {
        let began = Instant::now();
        while !get(mirror.address(), "/").unwrap().contains("here: ") {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", mirror.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&mirror);
    mirror.kill();
    mirror.start_again();
    wait(&mirror);
    storage.configure(mirror.address(), &registry.address());
    storage.pull("podman", &format!("{app}:v2"));
    assert_eq!(mirror.figure("registry_ext_mirror_prefetched_bytes_total"), 0, "{}", mirror.log());
    let documents = layout.manifest(&registry_ext::oci::Name::Tag("v2".into())).unwrap().unwrap().bytes.len();
    let fetched = mirror.fetched();
    assert!(fetched < 20 * documents as u64, "{fetched} bytes, of which none is of a blob: {}", mirror.log());
}
