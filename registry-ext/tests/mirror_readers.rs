//! The clients that may read through a mirror: those with a password of the mirror, or those whom the registry lets in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::bench::Bench;
use crate::support::docker_registry::run;
use crate::support::mirror::{TestMirror, asked_for, bench, updated};
use crate::support::registry_ext;
use crate::support::server::{Call, Switches, error, respond};
use axum::http::StatusCode;
use base64::prelude::{BASE64_STANDARD, Engine};
use registry_ext::mirror::Readers;
use registry_ext::store::StoreRef;
use reqwest::Response;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

async fn get(mirror: &TestMirror, object: &str, authorization: &str) -> Response {
    mirror.get_with(object, ("authorization", authorization)).await
}

async fn status_of(mirror: &TestMirror, path: &str, authorization: Option<&str>) -> StatusCode {
    let request = reqwest::Client::new().get(format!("http://{}{path}", mirror.address));
    let request =
        authorization.iter().fold(request, |request, value| request.header("authorization", *value));
    request.send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_users_wants_a_password_for_all_that_it_serves() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    let file = bench.path("htpasswd");
    run("htpasswd", &["-Bbc", &file.display().to_string(), "ada", "secret"]);
    let old = bench.path("old");
    let mirror = TestMirror::start(&bench, |options| {
        options.readers = Readers::Users(file);
        options.sources.push(StoreRef::Layout(old, None));
    })
    .await;
    let right = basic("ada", "secret");
    let wrong = [basic("ada", "other"), basic("eve", "secret"), "Bearer x".into(), String::new()];
    let manifest =
        mirror.url("manifests/v2").split_once("/v2/").map(|(_, path)| format!("/v2/{path}")).unwrap();
    for path in ["/v2/", "/", "/metrics", &manifest] {
        for wrong in &wrong {
            assert_eq!(
                status_of(&mirror, path, Some(wrong)).await,
                StatusCode::UNAUTHORIZED,
                "{path} {wrong}"
            );
        }
        assert_eq!(status_of(&mirror, path, Some(&right)).await, StatusCode::OK, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status_of(&mirror, path, None).await, StatusCode::OK, "{path}");
    }
    let refused = mirror.get(&format!("blobs/{digest}")).await;
    assert_eq!(refused.headers()["www-authenticate"], "Basic realm=\"registry-ext mirror\"");
    let answer = get(&mirror, &format!("blobs/{digest}"), &right).await;
    assert_eq!(answer.bytes().await.unwrap(), blob);
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, digest), 0, "it is made of its delta: {requests:?}");
}

/// Lets each user in only where he may read: ada everywhere, bob in another repository.
fn guard(call: &Call) -> Option<axum::http::Response<axum::body::Body>> {
    let authorization = call.headers.get("authorization").and_then(|value| value.to_str().ok());
    let is_public = call.uri.path().starts_with("/v2/public/");
    match authorization {
        _ if is_public => None,
        Some(value) if value == basic("ada", "secret") => None,
        Some(value) if value == basic("bob", "secret") && !call.uri.path().starts_with("/v2/app/") => None,
        Some(value) if value == basic("bob", "secret") => Some(error(StatusCode::FORBIDDEN, "DENIED")),
        _ => {
            let challenge = (axum::http::header::WWW_AUTHENTICATE, "Basic realm=\"upstream\"".to_owned());
            Some(respond(StatusCode::UNAUTHORIZED, &[challenge], "{}"))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_one_registry_go_to_no_other() {
    let (bench, _) = bench().await;
    let other = Bench::new(Switches::default()).await;
    let (seen, host) = (Arc::new(AtomicUsize::new(0)), other.registry.address().to_string());
    let of_registry = Arc::clone(&seen);
    other.registry.lie(move |call| {
        let has_credentials = call.headers.contains_key("authorization");
        of_registry.fetch_add(usize::from(has_credentials), Ordering::Relaxed);
        None
    });
    let mirror = TestMirror::start(&bench, |options| {
        options.readers = Readers::PassThrough;
        options.upstreams.extend([bench.registry.address().to_string(), host.clone()]);
    })
    .await;
    let ask = async |path: String| {
        let request = reqwest::Client::new().get(format!("http://{}{path}", mirror.address));
        let answer = request.header("authorization", basic("ada", "secret")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    };
    // podman has one login for the mirror, which it got by the challenge of the first registry.
    ask(format!("/v2/{}/app/manifests/v2", host.replace(':', "__"))).await;
    assert_eq!(seen.load(Ordering::Relaxed), 0);
    // containerd has one for each registry, and names the registry.
    ask(format!("/v2/app/manifests/v2?ns={host}")).await;
    assert!(seen.load(Ordering::Relaxed) > 0);
}

async fn passing(bench: &Bench) -> TestMirror {
    let (old, host) = (bench.path("old"), bench.registry.address().to_string());
    TestMirror::start(bench, |options| {
        options.readers = Readers::PassThrough;
        options.upstreams.push(host);
        options.sources.push(StoreRef::Layout(old, None));
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_what_the_registry_lets_it_read() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    bench.registry.lie(guard);
    let mirror = passing(&bench).await;
    let (ada, bob) = (basic("ada", "secret"), basic("bob", "secret"));
    let object = format!("blobs/{digest}");
    // The challenge is that of the registry, at the base of the API and for each object.
    for path in ["/v2/".to_owned(), format!("/v2/app/{object}"), "/v2/app/manifests/v2".into()] {
        let answer = reqwest::get(format!("http://{}{path}", mirror.address)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"upstream\"", "{path}");
    }
    assert_eq!(status_of(&mirror, "/v2/", Some(&ada)).await, StatusCode::OK);
    assert_eq!(status_of(&mirror, "/v2/", Some(&basic("ada", "x"))).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&mirror, "manifests/v2", &ada).await.bytes().await.unwrap(), image.manifest.bytes);
    assert_eq!(get(&mirror, &object, &ada).await.bytes().await.unwrap(), blob);
    assert_eq!(asked_for(&bench.registry.take_requests(), digest), 0, "it is made of its delta");
    // It is here now, but not for everybody.
    for (authorization, wanted) in [
        (bob.as_str(), StatusCode::FORBIDDEN),
        ("", StatusCode::UNAUTHORIZED),
        ("Bearer x", StatusCode::UNAUTHORIZED),
    ] {
        for object in [object.as_str(), "manifests/v2", &format!("manifests/{}", image.manifest.digest)] {
            assert_eq!(
                get(&mirror, object, authorization).await.status(),
                wanted,
                "{object} {authorization}"
            );
        }
        let head = reqwest::Client::new().head(mirror.url(&object)).header("authorization", authorization);
        assert_eq!(head.send().await.unwrap().status(), wanted, "{authorization}");
    }
    // Nor under the name of a repository that lets somebody in.
    let elsewhere = mirror.url(&object).replace("/app/", "/public/");
    assert_eq!(reqwest::get(elsewhere).await.unwrap().status(), StatusCode::NOT_FOUND);
    let page = reqwest::get(format!("http://{}/", mirror.address)).await.unwrap().text().await.unwrap();
    assert!(!page.contains(&bench.name()), "the page tells nobody what others pull: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_for_the_same_repository_goes_on_where_the_first_one_ended() {
    let (bench, image) = bench().await;
    let (digest, blob) = updated(&bench, &image);
    bench.registry.lie(|call| {
        let authorization = call.headers.get("authorization").and_then(|value| value.to_str().ok());
        match authorization {
            Some("Bearer one" | "Bearer two") => None,
            _ => Some(error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED")),
        }
    });
    let mirror = passing(&bench).await;
    assert_eq!(get(&mirror, "manifests/v2", "Bearer one").await.status(), StatusCode::OK);
    assert_eq!(
        get(&mirror, &format!("blobs/{digest}"), "Bearer three").await.status(),
        StatusCode::UNAUTHORIZED
    );
    let answer = get(&mirror, &format!("blobs/{digest}"), "Bearer two").await;
    assert_eq!(answer.bytes().await.unwrap(), blob);
    let requests = bench.registry.take_requests();
    assert_eq!(asked_for(&requests, digest), 0, "it is made of its delta: {requests:?}");
    let head = format!("HEAD /v2/app/blobs/{digest}");
    assert!(requests.contains(&head), "the registry was asked first: {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_of_a_client_is_on_disk() {
    let (bench, image) = bench().await;
    let mirror = passing(&bench).await;
    let secret = basic("ada", "a-word-that-is-nowhere-else");
    for layer in &image.layers {
        get(&mirror, "manifests/v2", &secret).await.bytes().await.unwrap();
        get(&mirror, &format!("blobs/{}", layer.digest), &secret).await.bytes().await.unwrap();
    }
    mirror.stop().await;
    let mut dirs = vec![bench.path("cache")];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
                continue;
            }
            files += 1;
            let bytes = fs::read(entry.path()).unwrap();
            let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!has(&secret) && !has("a-word-that-is-nowhere-else"), "{}", entry.path().display());
        }
    }
    assert!(files > image.layers.len(), "the cache has the layers");
}

#[test]
fn other_hosts_do_not_send_passwords_in_the_clear_unless_that_is_wanted() {
    for (option, danger) in
        [("--pass-through", "passwords"), ("--htpasswd x", "passwords"), ("", "read all that")]
    {
        let line = format!("mirror --listen 0.0.0.0:0 --upstream registry.example {option}");
        let stderr = registry_ext(&line).assert().code(2).get_output().stderr.clone();
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(stderr.contains(danger) && stderr.contains("--tls-cert"), "{option}: {stderr}");
    }
    registry_ext("mirror --pass-through --htpasswd x").assert().code(2);
}
