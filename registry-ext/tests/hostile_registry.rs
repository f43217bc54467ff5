//! A registry that lies, never ends, or loses what it had: no credential leaves, nothing grows without
//! a bound, and what was not asked for is not stored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::bench::{Bench, warnings};
use crate::support::images::stored_layers;
use crate::support::server::{Registry, Switches, error, respond};
use crate::support::{open, options};
use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, header};
use futures_util::stream;
use oci_spec::image::Descriptor;
use registry_ext::Error;
use registry_ext::credentials::{Credentials, Explicit};
use registry_ext::discover::discover;
use registry_ext::oci::{Name, descriptor_of, digest_of};
use registry_ext::pull::Origin;
use registry_ext::registry::RegistryOptions;
use registry_ext::repository::Repository;
use registry_ext::store::OciLayout;
use registry_ext::watch::Watch;
use tempfile::TempDir;
use tokio::time::timeout;

/// A registry that has nothing, and a directory.
async fn empty() -> (Registry, TempDir) {
    (Registry::start("127.0.0.1:0", Switches::default()).await.unwrap(), TempDir::new().unwrap())
}

/// Its repository.
fn app(registry: &Registry, dir: &TempDir, options: &RegistryOptions) -> Repository {
    open(&format!("{}/app", registry.address()), options, dir.path())
}

/// A body that goes on until nobody reads, and how many bytes of it were sent.
fn endless() -> (Body, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let chunks = stream::repeat_with(move || {
        counted.fetch_add(64 << 10, Ordering::Relaxed);
        Ok::<_, io::Error>(Bytes::from(vec![b' '; 64 << 10]))
    });
    (Body::from_stream(chunks), sent)
}

/// Stores a blob of these bytes.
async fn put(bench: &Bench, bytes: &[u8]) -> Descriptor {
    let path = bench.path("blob-to-put");
    std::fs::write(&path, bytes).unwrap();
    let blob = descriptor_of("application/octet-stream", bytes);
    bench.repository().put_blob(&blob, &path).await.unwrap();
    blob
}

async fn get(bench: &Bench, blob: &Descriptor) -> registry_ext::Result<PathBuf> {
    bench.repository().blob(blob, bench.dir.path(), &|_| ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_a_redirect() {
    let bench = Bench::new(Switches::default()).await;
    let blob = put(&bench, b"elsewhere").await;
    let elsewhere = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let leaked = Arc::new(AtomicUsize::new(0));
    let (seen, content) = (Arc::clone(&leaked), b"elsewhere");
    elsewhere.lie(move |call| {
        let names = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
        seen.fetch_add(
            names.iter().filter(|name| call.headers.contains_key(*name)).count(),
            Ordering::Relaxed,
        );
        Some(respond(StatusCode::OK, &[], content.as_slice()))
    });
    let place = format!("http://{}/somewhere", elsewhere.address());
    bench.registry.switch(|switches| switches.bearer = Some(("user".into(), "secret".into())));
    let (authorized, token) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&leaked));
    let asked = Arc::clone(&authorized);
    bench.registry.lie(move |call| {
        if !call.uri.path().contains("/blobs/") || !call.headers.contains_key(header::AUTHORIZATION) {
            return None;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        Some(respond(StatusCode::TEMPORARY_REDIRECT, &[(header::LOCATION, place.clone())], Body::empty()))
    });
    let address = bench.registry.address().to_string();
    let explicit = Explicit { registry: address, username: "user".into(), password: "secret".into() };
    let credentials = Credentials { explicit: Some(explicit), files: Vec::new() };
    let options = options().credentials(credentials);
    let repository = open(&bench.name(), &options, bench.dir.path());
    let path = repository.blob(&blob, bench.dir.path(), &|_| ()).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"elsewhere");
    assert_eq!(authorized.load(Ordering::Relaxed), 1);
    assert_eq!(token.load(Ordering::Relaxed), 0, "a credential was sent elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_in_a_circle_end() {
    let (registry, dir) = empty().await;
    registry.lie(|call| {
        let next = format!("{}x", call.uri.path());
        Some(respond(StatusCode::FOUND, &[(header::LOCATION, next)], Body::empty()))
    });
    registry.take_requests();
    let repository = app(&registry, &dir, &options());
    let error = repository.manifest(&Name::Tag("v1".into())).await.unwrap_err();
    assert!(error.to_string().contains("redirect"), "{error}");
    assert!(registry.take_requests().len() <= 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_an_error_or_as_a_token_has_a_bound() {
    for code in [StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK] {
        let (registry, dir) = empty().await;
        let sent = Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        registry.lie(move |call| {
            let (body, count) = endless();
            if code == StatusCode::OK && call.uri.path() != "/token" {
                let challenge = format!("Bearer realm=\"http://{}/token\"", call.header(header::HOST)?);
                let headers = [(header::WWW_AUTHENTICATE, challenge)];
                return Some(respond(StatusCode::UNAUTHORIZED, &headers, Body::empty()));
            }
            kept.lock().unwrap().push(count);
            Some(respond(code, &[], body))
        });
        let repository = app(&registry, &dir, &options());
        let manifest = repository.manifest(&Name::Tag("v1".into())).await;
        assert!(matches!(&manifest, Err(_) | Ok(None)), "{code}");
        let sent = sent.lock().unwrap();
        assert!(!sent.is_empty());
        for count in sent.iter().map(|count| count.load(Ordering::Relaxed)) {
            // What lies in the buffers of two sockets comes on top.
            assert!(count <= 16 << 20, "{code}: {count} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_an_end() {
    let bench = Bench::new(Switches::default()).await;
    bench.pull("v1", &bench.path("store"), &Watch::nothing()).await.unwrap();
    let image = bench.images("v2").await.images.remove(0);
    // Small pages for ever, then large ones.
    for filler in [0, 3 << 20] {
        let pages = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&pages);
        bench.registry.lie(move |call| {
            let is_list = call.uri.path().contains("/referrers/") || call.uri.path().ends_with("/tags/list");
            is_list.then(|| {
                let page = counted.fetch_add(1, Ordering::Relaxed);
                let next = format!("<{}?page={page}>; rel=\"next\"", call.uri.path());
                let filler = " ".repeat(filler);
                let list = r#"{"schemaVersion":2,"manifests":[],"tags":["x"]}"#;
                respond(StatusCode::OK, &[(header::LINK, next)], format!("{list}{filler}"))
            })
        });
        assert!(bench.repository().tags().await.is_err());
        let found = discover(&bench.repository(), &image).await;
        assert!(!found.warnings.is_empty());
        assert!(pages.load(Ordering::Relaxed) <= 2200, "{}", pages.load(Ordering::Relaxed));
    }
    let report = bench.pull("v2", &bench.path("store"), &Watch::nothing()).await.unwrap();
    assert_eq!(report.layers[1].from, Origin::Blob);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_blobs_have_the_size_that_is_known() {
    let (registry, dir) = empty().await;
    let repository = app(&registry, &dir, &options());
    let mut large = vec![b' '; 5 << 20];
    large[..2].copy_from_slice(b"{}");
    let large = registry_ext::oci::Manifest::new(large, Some("application/vnd.oci.image.index.v1+json"));
    repository.put_manifest(&large, Some("large")).await.unwrap();
    let error = repository.manifest(&Name::Tag("large".into())).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let error = repository.manifest(&Name::Digest(large.digest)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    // A blob that is longer than its descriptor says is not read to its end.
    let path = dir.path().join("blob");
    std::fs::write(&path, vec![7; 1 << 20]).unwrap();
    let blob = registry_ext::oci::descriptor_of("x", &std::fs::read(&path).unwrap());
    repository.put_blob(&blob, &path).await.unwrap();
    let shorter = registry_ext::oci::descriptor("x", digest_of(&blob).unwrap(), 10);
    let error = repository.blob(&shorter, dir.path(), &|_| ()).await.unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_documents_are_errors() {
    for (open_with, close_with) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open_with.repeat(300_000), close_with.repeat(300_000));
        let texts = [
            format!(r#"{{"schemaVersion":2,"manifests":{deep}}}"#),
            format!(r#"{{"schemaVersion":2,"annotations":{deep},"layers":[]}}"#),
            deep,
        ];
        for text in texts {
            let (registry, dir) = empty().await;
            let body = Bytes::from(text);
            registry.lie(move |_| Some(respond(StatusCode::OK, &[], body.clone())));
            let repository = app(&registry, &dir, &options());
            let resolved =
                registry_ext::image::resolve_all(&repository, None, dir.path(), &Watch::nothing()).await;
            assert!(matches!(resolved, Err(Error::Malformed { .. })), "{:?}", resolved.err());
            let _ = repository.tags().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_lie_give_no_other_blob() {
    let bench = Bench::new(Switches::default()).await;
    let content: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
    let blob = put(&bench, &content).await;
    let size = content.len();
    // What the answer to a range says, and what it sends.
    let of = |range: String, sent: Vec<u8>| {
        move |code| respond(code, &[(header::CONTENT_RANGE, range.clone())], sent.clone())
    };
    let (right, wrong) = (format!("bytes 10000-{}/{size}", size - 1), format!("bytes 0-{}/{size}", size - 1));
    for (answer, is_right) in [
        (of(right.clone(), content[10_000..].to_vec()), true),
        (of(right.clone(), content[..size - 10_000].to_vec()), false),
        (of(right, content.clone()), false),
        // What is said to be another range is not taken: it starts again.
        (of(wrong, content.clone()), true),
        (of("nonsense".into(), content[10_000..].to_vec()), true),
    ] {
        bench.registry.switch(|switches| switches.cuts = vec![10_000]);
        bench.registry.lie(move |call| {
            call.headers.contains_key(header::RANGE).then(|| answer(StatusCode::PARTIAL_CONTENT))
        });
        let got = get(&bench, &blob).await;
        assert_eq!(got.is_ok(), is_right, "{got:?}");
    }
    // A server without ranges sends all of it, which is fine.
    bench.registry.switch(|switches| switches.cuts = vec![10_000]);
    let whole = content.clone();
    bench.registry.lie(move |call| {
        call.headers.contains_key(header::RANGE).then(|| respond(StatusCode::OK, &[], whole.clone()))
    });
    assert_eq!(std::fs::read(get(&bench, &blob).await.unwrap()).unwrap(), content);
}

/// Downloads of each of eight at once, so that there are as many as places to break at.
const ROUNDS: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_break_at_every_byte() {
    let bench = Bench::new(Switches::default()).await;
    let content: Vec<u8> = (0..=u8::MAX).collect();
    let blob = put(&bench, &content).await;
    bench.registry.switch(|switches| switches.cuts = (0..content.len()).collect());
    let downloads = (0..8).map(async |task| {
        for round in 0..ROUNDS {
            let dir = bench.path(&format!("{task}-{round}"));
            std::fs::create_dir(&dir).unwrap();
            let path = bench.repository().blob(&blob, &dir, &|_| ()).await.unwrap();
            assert!(std::fs::read(path).unwrap() == content, "{task}-{round}");
        }
    });
    futures_util::future::join_all(downloads).await;
    let mut left = 0;
    bench.registry.switch(|switches| left = switches.cuts.len());
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_says_when_to_come_again() {
    let bench = Bench::new(Switches::default()).await;
    // The longest wait of these options is a second.
    for (wait, at_least) in [("0", 0), ("later", 0), ("1", 1), ("99999999999", 1)] {
        let mut answers = 0;
        bench.registry.lie(move |call| {
            answers += u32::from(call.uri.path().contains("/manifests/"));
            let headers = [(header::RETRY_AFTER, wait.to_owned())];
            (answers == 1).then(|| respond(StatusCode::TOO_MANY_REQUESTS, &headers, "slowly"))
        });
        let began = Instant::now();
        let (repository, name) = (bench.repository(), Name::Tag("v1".into()));
        // This only guards against a wait of centuries.
        let got = timeout(Duration::from_secs(300), repository.manifest(&name)).await;
        assert!(got.expect("it ends").unwrap().is_some());
        // However slow the machine is, it is not too early.
        assert!(began.elapsed() >= Duration::from_secs(at_least), "{wait}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_collected_under_us_costs_a_warning_or_an_error() {
    let bench = Bench::new(Switches::default()).await;
    bench.publish(|to| to).await.unwrap();
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let image = bench.images("v2").await.images.remove(0);
    let deltas: Vec<String> = discover(&bench.repository(), &image)
        .await
        .candidates
        .iter()
        .map(|found| found.blob.digest().to_string())
        .collect();
    assert!(!deltas.is_empty());
    // The layers' blobs: nothing can be done, nothing is changed.
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.blob.digest().to_string()).collect();
    let gone = |gone: Vec<String>| {
        move |call: &crate::support::server::Call| {
            let is_gone =
                call.method == Method::GET && gone.iter().any(|gone| call.uri.path().ends_with(gone));
            is_gone.then(|| error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"))
        }
    };
    bench.registry.lie(gone([deltas.clone(), layers].concat()));
    let error = bench.pull("v2", &store, &Watch::nothing()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let layout = OciLayout::open(&store).unwrap();
    assert!(layout.manifest(&Name::Tag("v2".into())).unwrap().is_none());
    assert_eq!(stored_layers(&store, "v1"), bench.images.0.layers);
    // The deltas' blobs: the layer comes whole.
    bench.registry.lie(gone(deltas));
    let (watch, seen) = warnings();
    let report = bench.pull("v2", &store, &watch).await.unwrap();
    assert_eq!(report.layers[1].from, Origin::Blob);
    assert!(!seen.lock().unwrap().is_empty());
    assert_eq!(stored_layers(&store, "v2"), bench.images.1.layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_drip_are_given_up() {
    let (registry, dir) = empty().await;
    registry.lie(|call| {
        let drips = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, io::Error>(Bytes::from_static(b" ")), ()))
        });
        let body = if call.uri.path() == "/v2/" { Body::empty() } else { Body::from_stream(drips) };
        Some(respond(StatusCode::OK, &[], body))
    });
    let options = options().patience(Duration::from_secs(1));
    let repository = app(&registry, &dir, &options);
    let name = Name::Tag("v1".into());
    // This only guards against hanging: the drops would never end.
    let got = timeout(Duration::from_secs(300), repository.manifest(&name)).await;
    let error = got.expect("it ends").unwrap_err();
    assert!(error.to_string().contains("less than 16384 bytes a second"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_a_descriptor_are_asked_only_if_wanted_a_few_and_once() {
    let bench = Bench::new(Switches::default()).await;
    let elsewhere = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let mut blob = descriptor_of("application/octet-stream", b"nowhere");
    let place = format!("http://{}/latest", elsewhere.address());
    blob.set_urls(Some((0..400).map(|name| format!("{place}/{name}")).collect()));
    for (foreign_urls, asked) in [(false, 0), (true, 3)] {
        let options = options().foreign_urls(foreign_urls);
        let repository = open(&bench.name(), &options, bench.dir.path());
        let error = repository.blob(&blob, bench.dir.path(), &|_| ()).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
        assert_eq!(elsewhere.take_requests().len(), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_connections_and_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = TempDir::new().unwrap();
    let options = options().patience(Duration::from_millis(50));
    let repository = open(&format!("{}/app", silent.local_addr().unwrap()), &options, dir.path());
    let error = repository.manifest(&Name::Tag("v1".into())).await.unwrap_err();
    let error = format!("{:#}", anyhow::Error::from(error));
    assert!(error.contains("nothing came within 0.05 seconds"), "{error}");
}
