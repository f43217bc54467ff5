//! The mirror, in front of the registry in process: the bytes that it serves, and to whom.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use crate::support::bench::Bench;
use crate::support::mirror::{TestMirror, asked_for, bench, delta_and_recipe, mirror, updated};
use crate::support::server::{Switches, error};
use axum::body::Body;
use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use registry_ext::Prefer;
use registry_ext::mirror::{Mirror, MirrorOptions};
use registry_ext::store::{OciLayout, StoreRef};
use registry_ext::watch::Watch;
use tokio::task::spawn_blocking;

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_made_of_its_delta_bit_for_bit() {
    let (bench, image) = bench().await;
    let mirror = mirror(&bench).await;
    let manifest = mirror.get("manifests/v2").await;
    assert_eq!(manifest.headers()["docker-content-digest"], image.manifest.digest.to_string().as_str());
    assert_eq!(manifest.headers()["content-type"], image.manifest.media_type.as_str());
    assert_eq!(manifest.bytes().await.unwrap(), image.manifest.bytes);
    let (digest, blob) = updated(&bench, &image);
    assert_eq!(mirror.blob(digest).await, blob);
    assert_eq!(asked_for(&bench.registry.take_requests(), digest), 0);
    // And again, from the cache.
    assert_eq!(mirror.blob(digest).await, blob);
    assert_eq!(bench.registry.take_requests(), Vec::<String>::new());
    let page = reqwest::get(format!("http://{}/", mirror.address)).await.unwrap().text().await.unwrap();
    assert!(page.contains("made of a delta") && page.contains(&bench.name()), "{page}");
    let config = mirror.blob(image.config_digest).await;
    assert_eq!(config, image.config);
    assert_eq!(bench.registry.take_requests(), Vec::<String>::new(), "the config was read for the decision");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_through_the_mirror_is_a_source_of_the_next_image() {
    let (bench, image) = bench().await;
    let mirror = TestMirror::start(&bench, |_| ()).await;
    mirror.pull(&bench, "v1").await.unwrap();
    bench.registry.take_requests();
    mirror.pull(&bench, "v2").await.unwrap();
    let (digest, _) = updated(&bench, &image);
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, digest), 0, "{requests:?}");
    assert_eq!(asked_for(&requests, image.layers[0].digest.0), 0, "v1 has it too");
}

/// An image whose layers came with other images is noted when its manifest is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_layers_that_are_here_is_a_source() {
    let (bench, image) = bench().await;
    let old = bench.pull("v1", &bench.path("old"), &Watch::nothing()).await.unwrap();
    let mirror = TestMirror::start(&bench, |_| ()).await;
    mirror.pull(&bench, "v1").await.unwrap();
    mirror.stop().await;
    // As if they had come with another image.
    let cache = OciLayout::open(&bench.path("cache")).unwrap();
    cache.delete_manifest(old.manifest).unwrap();
    let mirror = TestMirror::start(&bench, |_| ()).await;
    mirror.pull(&bench, "v1").await.unwrap();
    bench.registry.take_requests();
    mirror.pull(&bench, "v2").await.unwrap();
    let (digest, _) = updated(&bench, &image);
    assert_eq!(asked_for(&bench.registry.take_requests(), digest), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_deltas_comes_from_the_registry_once() {
    let (bench, image) = bench().await;
    let mirror = mirror(&bench).await;
    let first = mirror.pull(&bench, "v1").await.unwrap();
    bench.registry.take_requests();
    let second = mirror.pull(&bench, "v1").await.unwrap();
    assert_eq!(first.manifest, second.manifest);
    let requests = bench.registry.take_requests();
    let layers = image.layers.iter().map(|layer| asked_for(&requests, layer.digest.0)).sum::<usize>();
    assert_eq!(layers, 0, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages() {
    let bench = Bench::new(Switches { page_size: 1, ..Switches::default() }).await;
    let mirror = TestMirror::start(&bench, |_| ()).await;
    let (mut next, mut tags) = ("tags/list?n=1".to_owned(), Vec::new());
    loop {
        let answer = mirror.get(&next).await;
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        tags.push(answer.json::<serde_json::Value>().await.unwrap()["tags"][0].as_str().unwrap().to_owned());
        let Some(link) = link else { break };
        let path = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
        let (_, query) = path.split_once('?').unwrap();
        next = format!("tags/list?{query}");
    }
    assert_eq!(tags, ["v1", "v2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_served_wherever_the_bytes_come_from() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let size = blob.len();
    for is_known in [true, false] {
        let mirror = mirror(&bench).await;
        if is_known {
            mirror.get("manifests/v2").await.bytes().await.unwrap();
        }
        let head = mirror.head(&format!("blobs/{digest}")).await;
        assert_eq!(head.headers()["content-length"], size.to_string().as_str());
        // First what comes from the registry or is being made, then the cache.
        for _ in 0..2 {
            for (range, part) in [
                ("bytes=5-".to_owned(), 5..size),
                (format!("bytes={}-", size - 1), size - 1..size),
                ("bytes=0-".into(), 0..size),
                ("bytes=7-99".into(), 7..100),
                ("bytes=-9".into(), size - 9..size),
            ] {
                let answer = mirror.get_with(&format!("blobs/{digest}"), ("range", &range)).await;
                assert_eq!(answer.status(), 206);
                let said = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                assert_eq!(answer.headers()["content-range"], said.as_str());
                assert!(answer.bytes().await.unwrap() == blob[part], "{range} {is_known}");
            }
        }
        let beyond = mirror.get_with(&format!("blobs/{digest}"), ("range", &format!("bytes={size}-"))).await;
        assert_eq!(beyond.status(), 416);
        mirror.stop().await;
        std::fs::remove_dir_all(bench.path("cache")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_alone_are_those_of_the_whole_blob() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let mirror = mirror(&bench).await;
    mirror.get("manifests/v2").await.bytes().await.unwrap();
    let url = mirror.url(&format!("blobs/{digest}"));
    let answer = reqwest::Client::new().head(url).header("range", "bytes=5-").send().await.unwrap();
    assert_eq!(answer.status(), 200, "ranges are for GET alone");
    assert_eq!(answer.headers()["content-length"], blob.len().to_string().as_str());
    // The manifest names it, and the registry has lost it.
    let path = format!("blobs/{digest}");
    bench.registry.lie(move |call| {
        call.uri.path().ends_with(&path).then(|| error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"))
    });
    assert_eq!(mirror.head(&format!("blobs/{digest}")).await.status(), 404);
    // It is here a moment after a delta has made it.
    assert_eq!(mirror.blob(digest).await, blob);
    let mut looks = 0;
    while mirror.head(&format!("blobs/{digest}")).await.status() != 200 {
        looks += 1;
        assert!(looks < 1000);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_cost_one_rebuild() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let [delta, recipe] = delta_and_recipe(&bench, &image).await;
    let mirror = mirror(&bench).await;
    mirror.get("manifests/v2").await.bytes().await.unwrap();
    let clients = (0..200).map(|_| mirror.blob(digest));
    for got in futures_util::future::join_all(clients).await {
        assert!(got == blob);
    }
    let requests = bench.registry.take_requests();
    for part in [delta, recipe] {
        assert_eq!(asked_for(&requests, part.parse().unwrap()), 1, "{requests:?}");
    }
    assert_eq!(asked_for(&requests, digest), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_sends_sooner_is_fetched_unless_bytes_count() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    for (line, prefer, fetched) in [
        (1 << 40, Prefer::Time, 1),
        (1 << 40, Prefer::Size, 0),
        // A modem.
        (1000, Prefer::Time, 0),
    ] {
        let old = bench.path("old");
        let mirror = TestMirror::start(&bench, |options| {
            options.sources.push(StoreRef::Layout(old, None));
            (options.line, options.prefer) = (Some(line), prefer);
        })
        .await;
        mirror.get("manifests/v2").await.bytes().await.unwrap();
        assert_eq!(mirror.blob(digest).await, blob);
        assert_eq!(asked_for(&bench.registry.take_requests(), digest), fetched, "{line} {prefer:?}");
        let page = reqwest::get(format!("http://{}/", mirror.address)).await.unwrap().text().await.unwrap();
        assert_eq!(page.contains("the registry sends it in about"), fetched == 1, "{page}");
        mirror.stop().await;
        std::fs::remove_dir_all(bench.path("cache")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_what_was_kept() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let first = mirror(&bench).await;
    first.pull(&bench, "v2").await.unwrap();
    first.stop().await;
    bench.registry.take_requests();
    // A client that had the manifest before the restart asks for the blob alone: the registry says whether the
    // repository has it, and sends nothing.
    let second = mirror(&bench).await;
    assert_eq!(second.blob(digest).await, blob);
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, digest), 0, "{requests:?}");
    second.stop().await;
    // A file that was changed in the meantime is not served.
    let cache = OciLayout::open(&bench.path("cache")).unwrap();
    std::fs::write(cache.blob_path(digest), vec![7; blob.len()]).unwrap();
    let third = mirror(&bench).await;
    third.get("manifests/v2").await.bytes().await.unwrap();
    assert_eq!(third.blob(digest).await, blob);
}

/// The mirror is killed before it has kept the blob, or the blob has left the cache: the client goes on with the bytes
/// that the recipe makes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_resumes_after_a_restart_gets_the_rest_of_what_is_made_again() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    for cut in [0, 1, blob.len() / 2, blob.len() - 1] {
        let mirror = mirror(&bench).await;
        mirror.get("manifests/v2").await.bytes().await.unwrap();
        // The client, and what it got before.
        let target = bench.path("resumed");
        std::fs::write(&target, &blob[..cut]).unwrap();
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-C", "-", "-o"]).arg(&target).arg(mirror.url(&format!("blobs/{digest}")));
        let status = spawn_blocking(move || curl.status().expect("curl has to be installed")).await.unwrap();
        assert!(status.success(), "{cut}: {status}");
        assert!(std::fs::read(&target).unwrap() == blob, "{cut}");
        // What was made was kept, and nothing came from the registry.
        assert_eq!(mirror.blob(digest).await, blob);
        let requests = bench.registry.take_requests();
        assert_eq!(asked_for(&requests, digest), 0, "{requests:?}");
        mirror.stop().await;
        let cache = OciLayout::open(&bench.path("cache")).unwrap();
        std::fs::remove_file(cache.blob_path(digest)).unwrap();
        let proven = std::fs::read_to_string(bench.path("cache").join("proven-recipes")).unwrap();
        assert_eq!(proven.lines().count(), 1, "{proven}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_served_only_where_the_registry_has_it() {
    let (bench, image) = bench().await;
    let (digest, _) = updated(&bench, &image);
    let mirror = mirror(&bench).await;
    mirror.pull(&bench, "v2").await.unwrap();
    let other = mirror.url(&format!("blobs/{digest}")).replace("/app/", "/secret/");
    let answer = reqwest::get(other).await.unwrap();
    assert_eq!(answer.status(), 404, "it is in the cache, but not in that repository");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_reading_is_possible_and_only_of_allowed_registries() {
    let (bench, image) = bench().await;
    let mirror = mirror(&bench).await;
    let client = reqwest::Client::new();
    for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        for object in ["manifests/v2", "blobs/uploads/", &format!("blobs/{}", image.layers[1].digest)] {
            let answer = client.request(method.clone(), mirror.url(object)).body("x").send().await.unwrap();
            assert_eq!(answer.status(), 405, "{method} {object}");
        }
    }
    for path in ["..%2f..%2fetc%2fpasswd", "h.io/../../etc/passwd", "manifests/v2"] {
        let answer = client.get(format!("http://{}/v2/{path}", mirror.address)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    mirror.stop().await;
    let mirror = TestMirror::start(&bench, |options| options.upstreams.push("registry.example".into())).await;
    assert_eq!(mirror.get("manifests/v2").await.status(), 404);
    assert!(bench.registry.take_requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_named_by_the_query_too() {
    let (bench, image) = bench().await;
    let mirror = mirror(&bench).await;
    let host = bench.registry.address().to_string();
    let url = format!("http://{}/v2/app/manifests/v2?ns={}", mirror.address, host.replace(':', "%3A"));
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.headers()["oci-namespace"], host.as_str());
    assert_eq!(answer.bytes().await.unwrap(), image.manifest.bytes);
    mirror.stop().await;
    let mirror = TestMirror::start(&bench, |options| options.upstreams.push(host)).await;
    let answer = reqwest::get(format!("http://{}/v2/app/manifests/v2", mirror.address)).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), image.manifest.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_waits_for_what_is_being_sent() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let slow = blob.clone();
    bench.registry.lie(move |call| {
        let is_blob = call.uri.path().ends_with(&digest.to_string()) && call.method == Method::GET;
        let chunks: Vec<Vec<u8>> = slow.chunks(slow.len() / 20).map(<[u8]>::to_vec).collect();
        is_blob.then(|| {
            let chunks = futures_util::stream::iter(chunks).then(|chunk| async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok::<_, std::io::Error>(chunk)
            });
            axum::http::Response::builder()
                .header("content-length", slow.len())
                .body(Body::from_stream(chunks))
                .unwrap()
        })
    });
    let mut mirror = TestMirror::start(&bench, |_| ()).await;
    mirror.get("manifests/v2").await.bytes().await.unwrap();
    let answer = mirror.get(&format!("blobs/{digest}")).await;
    mirror.tell_to_end();
    assert!(answer.bytes().await.unwrap() == blob);
    mirror.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mirrors_on_one_cache_are_refused() {
    let bench = Bench::new(Switches::default()).await;
    let _mirror = TestMirror::start(&bench, |_| ()).await;
    let second = Mirror::open(MirrorOptions::new(bench.path("cache"))).unwrap_err();
    assert!(second.to_string().contains("another mirror uses this cache"), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_but_the_cache() {
    let (bench, _) = bench().await;
    let mirror = mirror(&bench).await;
    mirror.pull(&bench, "v2").await.unwrap();
    mirror.stop().await;
    let left: Vec<String> = std::fs::read_dir(bench.path("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
