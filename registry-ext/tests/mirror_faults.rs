//! The mirror, in front of the registry in process, when something is wrong behind it or before it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::bench::Bench;
use crate::support::mirror::{TestMirror, asked_for, bench, delta_and_recipe, mirror, updated};
use crate::support::server::{Switches, error, status};
use axum::body::Body;
use axum::http::{Method, StatusCode};
use fixtures::Rng;
use layer::Digest;
use registry_ext::store::{OciLayout, StoreRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The faults of everything that only deltas need: a client sees nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_deltas_is_masked_by_the_blob() {
    type Lie = fn(&str) -> Option<axum::http::Response<Body>>;
    let lies: [(&str, Lie); 6] = [
        ("no referrers", |path| {
            path.contains("/referrers/").then(|| status(StatusCode::INTERNAL_SERVER_ERROR))
        }),
        ("referrers that are no JSON", |path| {
            path.contains("/referrers/").then(|| axum::http::Response::new("<p>".into()))
        }),
        ("no tag answers", |path| path.contains("_deltaindex").then(|| status(StatusCode::BAD_GATEWAY))),
        ("nothing is there", |path| {
            path.contains("/referrers/").then(|| error(StatusCode::NOT_FOUND, "NOT_FOUND"))
        }),
        ("too many requests", |path| {
            path.contains("/referrers/").then(|| status(StatusCode::TOO_MANY_REQUESTS))
        }),
        ("not authorized", |path| path.contains("/referrers/").then(|| status(StatusCode::UNAUTHORIZED))),
    ];
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    for (name, lie) in lies {
        bench.registry.lie(move |call| lie(call.uri.path()));
        let mirror = mirror(&bench).await;
        mirror.pull(&bench, "v2").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(mirror.blob(digest).await, blob, "{name}");
        mirror.stop().await;
        std::fs::remove_dir_all(bench.path("cache")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_deltas_and_recipes_are_masked_by_the_blob() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    for part in delta_and_recipe(&bench, &image).await {
        for fault in ["missing", "refused", "cut", "empty", "corrupt"] {
            let path = format!("blobs/{part}");
            bench.registry.lie(move |call| {
                if !call.uri.path().ends_with(&path) || call.method != Method::GET {
                    return None;
                }
                Some(match fault {
                    "missing" => error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
                    "refused" => status(StatusCode::INTERNAL_SERVER_ERROR),
                    "cut" => axum::http::Response::builder()
                        .header("content-length", 1000)
                        .body("few".into())
                        .unwrap(),
                    "empty" => axum::http::Response::new(Body::empty()),
                    _ => axum::http::Response::new(vec![7; 500].into()),
                })
            });
            let mirror = mirror(&bench).await;
            mirror.pull(&bench, "v2").await.unwrap_or_else(|error| panic!("{part} {fault}: {error}"));
            assert_eq!(mirror.blob(digest).await, blob, "{fault}");
            mirror.stop().await;
            std::fs::remove_dir_all(bench.path("cache")).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_changed_or_are_gone_are_masked_by_the_blob() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let old = OciLayout::open(&bench.path("old")).unwrap();
    let mirror = mirror(&bench).await;
    // The decision is made with the source as it was.
    mirror.get("manifests/v2").await.bytes().await.unwrap();
    mirror.blob(image.config_digest).await;
    let source = image.layers[0].digest.0;
    for layer in old.layers().unwrap().into_values() {
        let path = old.blob_path(registry_ext::oci::digest_of(&layer).unwrap());
        if !path.ends_with(&source.to_string()["sha256:".len()..]) {
            std::fs::write(&path, b"changed").unwrap();
        }
    }
    assert_eq!(mirror.blob(digest).await, blob);
    assert_eq!(asked_for(&bench.registry.take_requests(), digest), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_sends_another_blob_once_makes_no_wrong_whole() {
    let (bench, image) = bench().await;
    let layout = OciLayout::open(&bench.path("images")).unwrap();
    let digest = image.layers[1].digest.0;
    let blob = std::fs::read(layout.blob_path(digest)).unwrap();
    let (mut wrong, mut times) = (blob.clone(), 0);
    wrong[10] ^= 1;
    bench.registry.lie(move |call| {
        let is_blob = call.uri.path().ends_with(&digest.to_string()) && call.method == Method::GET;
        times += usize::from(is_blob);
        (is_blob && times == 1).then(|| axum::http::Response::new(wrong.clone().into()))
    });
    let mirror = TestMirror::start(&bench, |_| ()).await;
    mirror.get("manifests/v2").await.bytes().await.unwrap();
    let first = mirror.get(&format!("blobs/{digest}")).await;
    if let Ok(bytes) = first.bytes().await {
        assert!(bytes == blob, "a whole blob is the right one");
    }
    assert_eq!(mirror.blob(digest).await, blob);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rebuild_downloaded_is_gone_after_it() {
    let (bench, _) = bench().await;
    let mirror = mirror(&bench).await;
    mirror.pull(&bench, "v2").await.unwrap();
    mirror.get("manifests/v2").await.bytes().await.unwrap();
    // What is kept last may still be on its way.
    let left = || {
        let dirs = std::fs::read_dir(bench.path("cache")).unwrap().map(|entry| entry.unwrap().path());
        let scratch = dirs.filter(|dir| dir.is_dir() && !dir.ends_with("blobs"));
        scratch
            .flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()))
            .collect::<Vec<_>>()
    };
    for _ in 0..500 {
        if left().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", left());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_a_browser_cannot_read_by_a_name_of_theirs() {
    let (bench, _) = bench().await;
    let mirror = mirror(&bench).await;
    let answer = mirror.get_with("manifests/v2", ("host", "rebind.example")).await;
    assert_eq!(answer.status(), 421);
    let answer = mirror.get_with("manifests/v2", ("host", "localhost:5050")).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_breaks_off_is_asked_for_the_rest() {
    let (bench, image) = bench().await;
    let (_, blob) = updated(&bench, &image);
    let mut random = Rng::new(11);
    for _ in 0..20 {
        let cuts = (0..3).map(|_| random.below(blob.len())).collect();
        bench.registry.switch(|switches| switches.cuts = cuts);
        let mirror = TestMirror::start(&bench, |_| ()).await;
        mirror.pull(&bench, "v2").await.unwrap();
        mirror.stop().await;
        std::fs::remove_dir_all(bench.path("cache")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_the_registry_are_passed_on() {
    let (bench, image) = bench().await;
    let mirror = mirror(&bench).await;
    assert_eq!(mirror.get("manifests/v3").await.status(), 404);
    assert_eq!(mirror.get(&format!("blobs/{}", Digest::of(b"none"))).await.status(), 404);
    for (theirs, ours) in [(401, 403), (403, 403), (404, 404), (429, 429), (500, 500), (503, 503), (418, 502)]
    {
        bench.registry.lie(move |call| {
            call.uri.path().contains("/v2").then(|| status(StatusCode::from_u16(theirs).unwrap()))
        });
        assert_eq!(mirror.get("manifests/v2").await.status(), ours, "{theirs}");
        let blob = mirror.get(&format!("blobs/{}", image.layers[1].digest)).await;
        assert_eq!(blob.status(), ours, "{theirs}");
        assert!(
            !blob.headers().contains_key("www-authenticate"),
            "clients keep their credentials to themselves"
        );
    }
    bench.registry.be_honest();
    let tags = mirror.get("tags/list").await.text().await.unwrap();
    assert!(tags.contains("\"v1\"") && tags.contains("\"v2\""), "{tags}");
    let referrers = mirror.get(&format!("referrers/{}", image.manifest.digest)).await;
    assert_eq!(referrers.headers()["content-type"], "application/vnd.oci.image.index.v1+json");
    assert!(referrers.text().await.unwrap().contains("oci-delta"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_long_gets_bytes_of_the_registry() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let [delta, _] = delta_and_recipe(&bench, &image).await;
    bench.registry.lie(move |call| {
        // A delta that never comes.
        let is_delta = call.uri.path().ends_with(&delta);
        is_delta.then(|| {
            axum::http::Response::new(Body::from_stream(futures_util::stream::pending::<
                Result<Vec<u8>, std::io::Error>,
            >()))
        })
    });
    let old = bench.path("old");
    let mirror = TestMirror::start(&bench, |options| {
        options.sources.push(StoreRef::Layout(old, None));
        options.patience = Duration::from_millis(10);
    })
    .await;
    mirror.get("manifests/v2").await.bytes().await.unwrap();
    assert_eq!(mirror.blob(digest).await, blob);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_says_nothing_to_a_manifest_is_given_up_soon() {
    let bench = Bench::new(Switches::default()).await;
    // It accepts connections, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mirror =
        TestMirror::start(&bench, |options| options.manifest_timeout = Duration::from_millis(100)).await;
    let silent = silent.local_addr().unwrap().to_string().replace(':', "__");
    let url = format!("http://{}/v2/{silent}/app/manifests/v2", mirror.address);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.unwrap();
    assert!(text.contains("get the manifest v2 of"), "{text}");
}

/// Sends bytes, and reads until the mirror closes the connection.
async fn say(mirror: &TestMirror, text: &[u8]) -> String {
    let mut connection = TcpStream::connect(mirror.address).await.unwrap();
    // It may be closed before all was taken.
    let _ = connection.write_all(text).await;
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn rude_clients_are_shown_the_door() {
    let bench = Bench::new(Switches::default()).await;
    let mirror =
        TestMirror::start(&bench, |options| options.header_timeout = Duration::from_millis(200)).await;
    // Each of them ends, which is what is tested: a TLS hello, silence, a trickle, headers without an end.
    let hello = say(&mirror, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert!(hello.is_empty() || hello.starts_with("HTTP/1.1 400"), "{hello}");
    assert_eq!(say(&mirror, b"").await, "");
    say(&mirror, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ").await;
    let bomb = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{}", "X: y\r\n".repeat(200_000));
    let answer = say(&mirror, bomb.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let long = format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a/".repeat(100_000));
    let answer = say(&mirror, long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    // Those that say nothing keep nobody else out.
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(TcpStream::connect(mirror.address).await.unwrap());
    }
    let base = reqwest::get(format!("http://{}/v2/", mirror.address)).await.unwrap();
    assert_eq!(base.status(), 200);
}
