//! The ways in which registries let somebody in: tokens and passwords, in every way in which they are asked for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::bench::Bench;
use crate::support::server::{Call, Registry, Switches, error, respond};
use crate::support::{open, options};
use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use registry_ext::credentials::{Credentials, Explicit};
use registry_ext::oci::Name;
use registry_ext::registry::RegistryOptions;
use serde_json::{Value, json};
use tempfile::TempDir;

/// `user:secret` in base64.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn with_password(registry: &str) -> RegistryOptions {
    let explicit = Explicit { registry: registry.into(), username: "user".into(), password: "secret".into() };
    options().credentials(Credentials { explicit: Some(explicit), files: Vec::new() })
}

fn unauthorized(challenges: &[String]) -> Response<Body> {
    let headers: Vec<_> =
        challenges.iter().map(|challenge| (header::WWW_AUTHENTICATE, challenge.clone())).collect();
    respond(StatusCode::UNAUTHORIZED, &headers, "{}")
}

/// Returns true if the manifest of v1 can be had with a password.
async fn gets_in(bench: &Bench) -> Result<bool, String> {
    let options = with_password(&bench.registry.address().to_string());
    let repository = open(&bench.name(), &options, bench.dir.path());
    let got = repository.manifest(&Name::Tag("v1".into())).await;
    got.map(|manifest| manifest.is_some()).map_err(|error| error.to_string())
}

fn authorization(call: &Call) -> Option<&str> {
    call.header(header::AUTHORIZATION)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_any_field_that_holds_one() {
    let bench = Bench::new(Switches::default()).await;
    let host = bench.registry.address().to_string();
    for (answer, is_one) in [
        (json!({"token": "t"}), true),
        (json!({"access_token": "t"}), true),
        (json!({"token": "", "access_token": "t"}), true),
        (json!({"token": null, "access_token": "t"}), true),
        (json!({"token": "t", "access_token": ""}), true),
        (json!({"token": " t\n", "expires_in": null}), true),
        (json!({"token": 7, "access_token": "t"}), true),
        (json!({"token": "", "access_token": null}), false),
        (json!({"token": "t\r\nX-Other: y"}), false),
        (json!(["t"]), false),
    ] {
        let (said, realm) = (answer.to_string(), format!("Bearer realm=\"http://{host}/token\""));
        bench.registry.lie(move |call| match call.uri.path() {
            "/token" => Some(respond(StatusCode::OK, &[], said.clone())),
            _ if authorization(call) == Some("Bearer t") => None,
            _ => Some(unauthorized(std::slice::from_ref(&realm))),
        });
        assert_eq!(gets_in(&bench).await.is_ok_and(|there| there), is_one, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_the_challenge_leads_in() {
    let bench = Bench::new(Switches::default()).await;
    let host = bench.registry.address().to_string();
    let realm = format!("http://{host}/token");
    for challenges in [
        vec![format!(r#"Bearer realm="{realm}",service="r""#)],
        vec![format!(r#"bearer service="r,s",  realm="{realm}","#)],
        vec![format!("Bearer realm={realm}, service=r")],
        vec![r#"Bearer realm="/token""#.to_owned()],
        vec![format!(r#"Basic realm="a, b", Bearer realm="{realm}""#)],
        vec![r#"Basic realm="x""#.to_owned(), format!(r#"Bearer realm="{realm}""#)],
        vec!["Negotiate abc=".to_owned(), format!(r#"Bearer realm="{realm}",error="invalid_token""#)],
        vec![format!(r#"Negotiate abc=, Bearer realm="{realm}""#)],
    ] {
        let asked = challenges.clone();
        bench.registry.lie(move |call| match (call.uri.path(), authorization(call)) {
            ("/token", Some(BASIC)) => Some(respond(StatusCode::OK, &[], r#"{"token":"t"}"#)),
            (_, Some("Bearer t")) => None,
            _ => Some(unauthorized(&asked)),
        });
        assert_eq!(gets_in(&bench).await, Ok(true), "{challenges:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_will_do_where_no_token_can_be_had() {
    let bench = Bench::new(Switches::default()).await;
    let host = bench.registry.address().to_string();
    for challenges in [
        vec![r#"Basic realm="x""#.to_owned()],
        vec![format!(r#"Bearer realm="http://{host}/token", Basic realm="x""#)],
        vec!["Basic".to_owned(), "Bearer service=x".to_owned()],
        vec![],
    ] {
        let asked = challenges.clone();
        bench.registry.lie(move |call| match (call.uri.path(), authorization(call)) {
            ("/token", _) => Some(error(StatusCode::NOT_FOUND, "NOT_FOUND")),
            (_, Some(BASIC)) => None,
            _ => Some(unauthorized(&asked)),
        });
        assert_eq!(gets_in(&bench).await, Ok(true), "{challenges:?}");
    }
}

/// The scopes that a token was asked for.
fn scopes(call: &Call) -> Vec<String> {
    let query = call.uri.query().unwrap_or_default();
    let scopes = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    scopes.map(|scope| scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_allows_too_little_is_got_again_for_what_is_asked() {
    let bench = Bench::new(Switches::default()).await;
    let host = bench.registry.address().to_string();
    for (code, error_code) in
        [(401, "insufficient_scope"), (403, "insufficient_scope"), (401, "invalid_token")]
    {
        let realm = format!("Bearer realm=\"http://{host}/token\",service=\"r\"");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        bench.registry.lie(move |call| match (call.uri.path(), authorization(call)) {
            ("/token", _) => {
                let wanted = "repository:team/app:pull".to_owned();
                let token = if scopes(call).contains(&wanted) { "strong" } else { "weak" };
                kept.lock().unwrap().push(token);
                Some(respond(StatusCode::OK, &[], json!({"token": token}).to_string()))
            }
            ("/v2/", None) => Some(unauthorized(std::slice::from_ref(&realm))),
            (_, Some("Bearer strong")) => None,
            _ => {
                let scope = format!("{realm},scope=\"repository:team/app:pull\",error=\"{error_code}\"");
                let headers = [(header::WWW_AUTHENTICATE, scope)];
                Some(respond(StatusCode::from_u16(code).unwrap(), &headers, "{}"))
            }
        });
        assert_eq!(gets_in(&bench).await, Ok(true), "{code} {error_code}");
        assert_eq!(*asked.lock().unwrap(), ["weak", "strong"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_ask_for_a_token_at_the_repository_alone() {
    let bench = Bench::new(Switches::default()).await;
    let realm = format!("Bearer realm=\"http://{}/token\"", bench.registry.address());
    for code in [200, 404, 403] {
        let realm = realm.clone();
        bench.registry.lie(move |call| match (call.uri.path(), authorization(call)) {
            ("/token", Some(BASIC)) => Some(respond(StatusCode::OK, &[], r#"{"token":"t"}"#)),
            ("/v2/", _) => Some(respond(StatusCode::from_u16(code).unwrap(), &[], "{}")),
            (_, Some("Bearer t")) => None,
            _ => Some(unauthorized(std::slice::from_ref(&realm))),
        });
        assert_eq!(gets_in(&bench).await, Ok(true), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_early_is_renewed_once_for_each_request() {
    let bench = Bench::new(Switches::default()).await;
    let realm = format!("Bearer realm=\"http://{}/token\"", bench.registry.address());
    let (tokens, uses) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let given = Arc::clone(&tokens);
    bench.registry.lie(move |call| match (call.uri.path(), authorization(call)) {
        ("/token", _) => {
            uses.store(0, Ordering::Relaxed);
            let number = given.fetch_add(1, Ordering::Relaxed) + 1;
            Some(respond(StatusCode::OK, &[], json!({"token": format!("t{number}")}).to_string()))
        }
        (_, Some(token)) if token == format!("Bearer t{}", given.load(Ordering::Relaxed)) => {
            // Each token is good for two requests.
            let is_over = uses.fetch_add(1, Ordering::Relaxed) >= 2;
            is_over.then(|| unauthorized(std::slice::from_ref(&realm)))
        }
        _ => Some(unauthorized(std::slice::from_ref(&realm))),
    });
    let repository =
        open(&bench.name(), &with_password(&bench.registry.address().to_string()), bench.dir.path());
    for _ in 0..6 {
        assert!(repository.manifest(&Name::Tag("v1".into())).await.unwrap().is_some());
    }
    assert_eq!(tokens.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_follows_a_redirect_to_another_server() {
    let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let elsewhere = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let dir = TempDir::new().unwrap();
    let host = registry.address().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    elsewhere.lie(move |call| {
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let headers = format!("{:?}", call.headers);
        kept.lock().unwrap().push(format!("{} {headers} {body}", call.uri));
        Some(respond(StatusCode::OK, &[], r#"{"token":"t"}"#))
    });
    let file = dir.path().join("config.json");
    for auth in
        [json!({"auth": BASIC.trim_start_matches("Basic ")}), json!({"identitytoken": "refresh-secret"})]
    {
        std::fs::write(&file, json!({"auths": {&host: auth}}).to_string()).unwrap();
        let credentials = Credentials { explicit: None, files: vec![file.clone()] };
        let options = options().credentials(credentials);
        for code in [301, 302, 303, 307, 308] {
            for at in ["/token", "/v2/", "/v2/app/manifests/v1"] {
                let to = format!("http://{}/{code}", elsewhere.address());
                let realm = format!("Bearer realm=\"http://{host}/token\",service=\"r\"");
                registry.lie(move |call| match (call.uri.path(), authorization(call)) {
                    (path, _) if path == at => {
                        let headers = [(header::LOCATION, to.clone())];
                        Some(respond(StatusCode::from_u16(code).unwrap(), &headers, Body::empty()))
                    }
                    ("/token", _) => Some(respond(StatusCode::OK, &[], r#"{"token":"bearer-secret"}"#)),
                    (_, None) => Some(unauthorized(std::slice::from_ref(&realm))),
                    _ => Some(respond(StatusCode::OK, &[], "{}")),
                });
                let repository = open(&format!("{host}/app"), &options, dir.path());
                let _ = repository.manifest(&Name::Tag("v1".into())).await;
            }
        }
    }
    let seen = seen.lock().unwrap();
    assert!(!seen.is_empty());
    for request in seen.iter() {
        let is_secret = ["secret", BASIC, "uthorization", "eferer"].iter().any(|text| request.contains(text));
        assert!(!is_secret, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_credential_hears_why() {
    let bench = Bench::new(Switches::default()).await;
    let host = bench.registry.address().to_string();
    let file = bench.path("config.json");
    let config: Value = json!({"auths": {&host: {}}, "credHelpers": {&host: "of-nobody"}});
    std::fs::write(&file, config.to_string()).unwrap();
    let credentials = Credentials { explicit: None, files: vec![file] };
    let options = options().credentials(credentials);
    let get = async || {
        let repository = open(&bench.name(), &options, bench.dir.path());
        repository.manifest(&Name::Tag("v1".into())).await
    };
    assert!(get().await.unwrap().is_some(), "what is for everybody needs no credential");
    bench.registry.lie(|_| Some(unauthorized(&["Basic".to_owned()])));
    let refused = get().await.unwrap_err().to_string();
    assert!(refused.contains("config.json") && refused.contains("helper"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_may_come_from_another_server() {
    let bench = Bench::new(Switches::default()).await;
    let elsewhere = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let realm = format!("Bearer realm=\"http://{}/token?account=x\",service=\"r\"", elsewhere.address());
    elsewhere.lie(|call| {
        let is_asked = authorization(call) == Some(BASIC) && call.query("account").is_some();
        let is_for = call.query("service").as_deref() == Some("r") && scopes(call) == ["repository:app:pull"];
        (is_asked && is_for).then(|| respond(StatusCode::OK, &[], r#"{"access_token":"t"}"#))
    });
    bench.registry.lie(move |call| match authorization(call) {
        Some("Bearer t") => None,
        _ => Some(unauthorized(std::slice::from_ref(&realm))),
    });
    assert_eq!(gets_in(&bench).await, Ok(true));
}
