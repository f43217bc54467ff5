//! Registries as they are: without a list of referrers, with tags that stay, with lists of null, behind
//! proxies that know no ranges.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::bench::{Bench, warnings};
use crate::support::images::stored_layers;
use crate::support::server::{Call, Registry, Switches, error, respond, status};
use crate::support::{open, registry_ext};
use axum::body::Body;
use axum::http::{Method, Response, StatusCode, header};
use layer::Digest;
use registry_ext::artifact::DELTA_INDEX_TAG;
use registry_ext::discover::{Published, discover};
use registry_ext::oci::{Manifest, Name, parse_index, referrers_tag};
use registry_ext::publish::{Outcome, Publisher, Recipes};
use registry_ext::pull::Origin;
use registry_ext::watch::Watch;
use registry_ext::{Error, Pruner};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn only_artifacts(publisher: Publisher<'_>) -> Publisher<'_> {
    publisher.delta_index(false)
}

fn without_referrers() -> Switches {
    Switches { referrers: false, ..Switches::default() }
}

fn is_list(call: &Call) -> bool {
    call.uri.path().contains("/referrers/")
}

/// The layouts in which deltas of v2 are found, and the warnings.
async fn found(bench: &Bench) -> (BTreeSet<Published>, Vec<String>) {
    let image = bench.images("v2").await.images.remove(0);
    let found = discover(&bench.repository(), &image).await;
    (found.candidates.iter().map(|delta| delta.layout).collect(), found.warnings)
}

fn artifacts() -> (BTreeSet<Published>, Vec<String>) {
    ([Published::Artifact].into(), Vec::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_referrers_that_is_refused_is_the_one_under_its_tag() {
    let bench = Bench::new(without_referrers()).await;
    bench.publish(only_artifacts).await.unwrap();
    let elsewhere = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let there = format!("http://{}/list", elsewhere.address());
    // Nobody listens there.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    type Refusal = Box<dyn Fn() -> Response<Body> + Send>;
    let mut refusals: Vec<(String, Refusal)> = Vec::new();
    for code in [400, 401, 403, 404, 405, 406, 410, 415, 422, 429, 451, 500, 501, 502, 503, 520, 530] {
        let code = StatusCode::from_u16(code).unwrap();
        refusals.push((code.to_string(), Box::new(move || error(code, "UNSUPPORTED"))));
        let wait = [(header::RETRY_AFTER, "3600".to_owned())];
        refusals.push((format!("{code} for an hour"), Box::new(move || respond(code, &wait, "wait"))));
    }
    for code in [301, 302, 303, 307, 308] {
        for place in
            [there.clone(), format!("http://{nowhere}/"), "/v2/app/nothing".into(), "ftp://x/".into()]
        {
            let code = StatusCode::from_u16(code).unwrap();
            let to = [(header::LOCATION, place.clone())];
            refusals
                .push((format!("{code} to {place}"), Box::new(move || respond(code, &to, Body::empty()))));
        }
    }
    for text in ["<html>", "{}", "null", "{\"message\":\"ok\"}", ""] {
        refusals.push((text.into(), Box::new(move || respond(StatusCode::OK, &[], text))));
    }
    for (name, refusal) in refusals {
        bench.registry.lie(move |call| is_list(call).then(&refusal));
        bench.registry.take_requests();
        assert_eq!(found(&bench).await, artifacts(), "{name}");
        let asked = bench.registry.take_requests();
        let asked = asked.iter().filter(|request| request.contains("/referrers/")).count();
        assert!(asked <= 2, "{name}: it is asked {asked} times for what is optional");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_and_has_no_tag_either_is_a_warning() {
    let bench = Bench::new(without_referrers()).await;
    bench.registry.lie(|call| is_list(call).then(|| status(StatusCode::BAD_GATEWAY)));
    let (layouts, warnings) = found(&bench).await;
    assert!(layouts.is_empty() && warnings.len() == 1 && warnings[0].contains("502"), "{warnings:?}");
    bench.registry.lie(|call| is_list(call).then(|| status(StatusCode::FORBIDDEN)));
    assert_eq!(found(&bench).await, (BTreeSet::new(), Vec::new()));
}

/// A registry that reads the tag of a list of referrers as the digest that it is made from.
fn reads_tags_as_digests(bench: &Bench, image: Manifest, takes: bool) {
    let place = format!("/manifests/{}", referrers_tag(image.digest));
    bench.registry.lie(move |call| {
        if !call.uri.path().ends_with(&place) {
            return None;
        }
        match call.method {
            Method::GET => {
                let of_type = [(header::CONTENT_TYPE, image.media_type.clone())];
                Some(respond(StatusCode::OK, &of_type, image.bytes.clone()))
            }
            _ if takes => Some(status(StatusCode::CREATED)),
            _ => Some(error(StatusCode::BAD_REQUEST, "DIGEST_INVALID")),
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn deltaindex_is_written_where_the_tag_of_referrers_is_the_image_itself() {
    for takes in [false, true] {
        let bench = Bench::new(without_referrers()).await;
        let image = bench.images("v2").await.images.remove(0);
        reads_tags_as_digests(&bench, image.manifest.clone(), takes);
        assert!(bench.repository().referrers(image.manifest.digest).await.unwrap().is_empty());

        let (new, old) = (bench.images("v2").await, bench.images("v1").await);
        let (watch, seen) = warnings();
        let repository = bench.repository();
        let publisher = Publisher::new(&repository, &new).old(&old).watch(&watch);
        let report = publisher.clone().publish().await.unwrap();
        assert_eq!((report.delta_manifests.len(), report.artifacts.len(), report.failures.len()), (1, 0, 1));
        let outcome = |layout| {
            let of = report.deltas.iter().filter(|delta| delta.layout == layout).map(|delta| delta.outcome);
            of.collect::<Vec<_>>()
        };
        assert!(outcome(Published::DeltaIndex).contains(&Outcome::Published));
        assert!(outcome(Published::Artifact).contains(&Outcome::Refused));
        assert!(!outcome(Published::Artifact).contains(&Outcome::Published));
        assert!(seen.lock().unwrap()[0].contains("_deltaindex"), "{seen:?}");
        assert_eq!(found(&bench).await, ([Published::DeltaIndex].into(), Vec::new()));
        // Who asks for nothing else gets nothing.
        let only = only_artifacts(publisher).publish().await;
        assert!(only.is_err(), "{only:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_referrers_that_is_no_index_is_none_and_is_replaced() {
    let bench = Bench::new(without_referrers()).await;
    let repository = bench.repository();
    let (v1, v2) = (bench.images("v1").await.images.remove(0), bench.images("v2").await.images.remove(0));
    repository.put_manifest(&v1.manifest, Some(&referrers_tag(v2.manifest.digest))).await.unwrap();
    assert!(repository.referrers(v2.manifest.digest).await.unwrap().is_empty());
    bench.publish(only_artifacts).await.unwrap();
    assert_eq!(found(&bench).await, artifacts());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_known_by_its_manifest_where_its_entry_says_nothing() {
    let image_config = "application/vnd.oci.image.config.v1+json";
    for said in [
        Value::Null,
        json!(""),
        json!(EMPTY),
        json!("application/octet-stream"),
        json!(image_config),
        json!("Application/Vnd.io.github.containers.Oci-Delta.v1; charset=utf-8"),
    ] {
        let bench = Bench::new(without_referrers()).await;
        bench.publish(|to| only_artifacts(to).recipes(Recipes::All)).await.unwrap();
        let target = bench.images("v2").await.images.remove(0).manifest.digest;
        let tag = Name::Tag(referrers_tag(target));
        let list = bench.repository().manifest(&tag).await.unwrap().unwrap();
        let mut list: Value = serde_json::from_slice(&list.bytes).unwrap();
        for entry in list["manifests"].as_array_mut().unwrap() {
            entry["artifactType"] = said.clone();
            entry["mediaType"] = json!("");
        }
        // One that is gone, one that is no artifact, one that names nothing.
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let more = [
            json!({"mediaType": "", "digest": digest("gone"), "size": 1}),
            json!({"mediaType": MANIFEST, "digest": target.to_string(), "size": 1, "artifactType": said}),
            json!({"mediaType": MANIFEST, "artifactType": said}),
        ];
        list["manifests"].as_array_mut().unwrap().extend(more);
        let list = Manifest::new(list.to_string().into_bytes(), None);
        bench.repository().put_manifest(&list, Some(&referrers_tag(target))).await.unwrap();

        assert_eq!(found(&bench).await, artifacts(), "{said}");
        let image = bench.images("v2").await.images.remove(0);
        assert!(!discover(&bench.repository(), &image).await.blob_recipes.is_empty(), "{said}");
        let pruned = Pruner::new(&bench.repository()).prune(target).await.unwrap();
        assert_eq!((pruned.artifacts.len(), pruned.recipe_artifacts.len()), (1, 1), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_left_empty_goes_although_its_tag_stays() {
    for (deletes, deletes_tags) in [(true, false), (true, true), (false, false)] {
        let switches = Switches { deletes, deletes_tags, keeps_tags: true, ..without_referrers() };
        let bench = Bench::new(switches).await;
        bench.publish(|to| to).await.unwrap();
        let target = bench.images("v2").await.images.remove(0).manifest.digest;
        let pruned = Pruner::new(&bench.repository()).prune(target).await.unwrap();
        assert_eq!((pruned.artifacts.len(), pruned.deltas.len(), pruned.kept), (1, 1, 0));
        assert_eq!(found(&bench).await, (BTreeSet::new(), Vec::new()));
        for tag in [DELTA_INDEX_TAG.to_owned(), referrers_tag(target)] {
            let left = bench.repository().manifest(&Name::Tag(tag)).await.unwrap();
            let left = left.map(|left| parse_index("index", &left.bytes).unwrap().manifests().len());
            assert_eq!(left, (!deletes_tags).then_some(0), "{deletes} {deletes_tags}");
        }
        bench.publish(|to| to).await.unwrap();
        assert_eq!(found(&bench).await.0, [Published::DeltaIndex, Published::Artifact].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_starts_again_where_its_rest_is_refused() {
    let bench = Bench::new(Switches::default()).await;
    let content: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
    let blob = bench.put_blob(&content, "application/octet-stream").await;
    type Refusal = fn() -> Response<Body>;
    let refusals: [(&str, Refusal); 7] = [
        ("416", || status(StatusCode::RANGE_NOT_SATISFIABLE)),
        ("404", || error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN")),
        ("403", || status(StatusCode::FORBIDDEN)),
        ("400", || status(StatusCode::BAD_REQUEST)),
        ("501", || status(StatusCode::NOT_IMPLEMENTED)),
        ("another range", || {
            let range = [(header::CONTENT_RANGE, "bytes 0-159999/160000".to_owned())];
            respond(StatusCode::PARTIAL_CONTENT, &range, vec![0; 160_000])
        }),
        ("no range", || respond(StatusCode::PARTIAL_CONTENT, &[], vec![0; 150_000])),
    ];
    for (name, refusal) in refusals {
        // It breaks again on the way.
        bench.registry.switch(|switches| switches.cuts = vec![120_000, 60_000, 10_000]);
        bench.registry.lie(move |call| call.headers.contains_key(header::RANGE).then(refusal));
        bench.registry.take_requests();
        let path = bench.repository().blob(&blob, bench.dir.path(), &|_| ()).await.unwrap();
        assert!(std::fs::read(path).unwrap() == content, "{name}");
        let asked = bench.registry.take_requests();
        let ranges = asked.iter().filter(|request| request.contains(" bytes=")).count();
        assert!((1..=2).contains(&ranges), "{name}: {asked:?}");
    }
    // One that always breaks at the same place, and has no ranges, is given up.
    bench.registry.switch(|switches| switches.cuts = vec![10_000; 100]);
    bench.registry.lie(|call| {
        call.headers.contains_key(header::RANGE).then(|| status(StatusCode::RANGE_NOT_SATISFIABLE))
    });
    assert!(bench.repository().blob(&blob, bench.dir.path(), &|_| ()).await.is_err());
    let mut left = 0;
    bench.registry.switch(|switches| left = switches.cuts.len());
    assert!(left >= 90, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_pages_are_read_whatever_leads_to_the_next() {
    let bench = Bench::new(Switches::default()).await;
    for lead in ["http://registry.internal:8080", "https://{host}", "http://{host}", "https://{name}", ""] {
        let host = bench.registry.address().to_string();
        let lead = lead.replace("{host}", &host).replace("{name}", "127.0.0.1");
        bench.registry.lie(move |call| {
            if !call.uri.path().ends_with("/tags/list") {
                return None;
            }
            let page: u32 = call.query("page").map_or(0, |page| page.parse().unwrap());
            // The last page leads to the first.
            let next =
                format!("<{lead}/v2/app/tags/list?page={}>; title=\"a, b\"; rel=\"next\"", (page + 1) % 3);
            let list = json!({"tags": if page == 1 { Value::Null } else { json!([page.to_string()]) }});
            Some(respond(StatusCode::OK, &[(header::LINK, next)], list.to_string()))
        });
        let mut tags = bench.repository().tags().await.unwrap();
        tags.dedup();
        assert!(tags.starts_with(&["0".into(), "2".into()]) && tags.len() <= 3, "{tags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proxies_say_of_a_server_that_fails_is_tried_again() {
    let bench = Bench::new(Switches::default()).await;
    for (code, is_passing) in
        [(520, true), (522, true), (526, true), (530, true), (425, true), (519, false), (531, false)]
    {
        let code = StatusCode::from_u16(code).unwrap();
        let answers = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answers);
        bench.registry.lie(move |call| {
            let is_manifest = call.uri.path().contains("/manifests/");
            (is_manifest && counted.fetch_add(1, Ordering::Relaxed) < 2).then(|| status(code))
        });
        let manifest = bench.repository().manifest(&Name::Tag("v1".into())).await;
        assert_eq!(manifest.is_ok(), is_passing, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_image_that_is_missing_is_a_warning_unless_it_must_not_be() {
    let bench = Bench::new(Switches::default()).await;
    let app = bench.name();
    let run = move |line: String| {
        let output = registry_ext(&line).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = tokio::task::spawn_blocking(move || {
        let line = format!("publish {app}:v2 --from {app}:v0 --from {app}:v1 --for oci-delta");
        let first = run(format!("publish {app}:v2 --from {app}:v0"));
        assert!(first.0 == 0 && first.1.contains("nothing is published"), "{first:?}");
        let strict = run(format!("{line} --strict"));
        assert!(strict.0 == 4 && strict.1.contains("v0"), "{strict:?}");
        let new = run(format!("publish {app}:v3 --from {app}:v1"));
        assert_eq!(new.0, 4, "{new:?}");
        run(line)
    })
    .await
    .unwrap();
    assert!(code == 0 && said.contains(":v0") && said.contains("does not exist"), "{said}");
    assert_eq!(found(&bench).await, artifacts());
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let report = bench.pull("v2", &store, &Watch::nothing()).await.unwrap();
    assert_eq!(report.layers[1].from, Origin::Delta(Published::Artifact));
    assert_eq!(stored_layers(&store, "v2"), bench.images.1.layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_may_be_elsewhere() {
    let bench = Bench::new(Switches::default()).await;
    let image = bench.images("v1").await.images.remove(0);
    let blob = &image.layers[1].blob;
    let mut elsewhere = blob.clone();
    let url = format!("http://{}/v2/app/blobs/{}", bench.registry.address(), blob.digest());
    elsewhere.set_urls(Some(vec!["ftp://127.0.0.1/x".into(), url]));
    let options = bench.options.clone().foreign_urls(true);
    let other = open(&format!("{}/other", bench.registry.address()), &options, bench.dir.path());
    let found = other.blob(&elsewhere, bench.dir.path(), &|_| ()).await.unwrap();
    assert_eq!(std::fs::metadata(found).unwrap().len(), blob.size());
    let missing = other.blob(blob, bench.dir.path(), &|_| ()).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_ca_certificates_speaks_http_and_is_told_of_them_for_https() {
    let bench = Bench::new(Switches::default()).await;
    let run = |line: String| {
        registry_ext(&line).env("SSL_CERT_FILE", "/dev/null").env_remove("SSL_CERT_DIR").output().unwrap()
    };
    let app = bench.name();
    let pulled = run(format!("pull {app}:v2 --into oci:{}", bench.path("store").display()));
    assert!(pulled.status.success(), "{pulled:?}");
    // Uploads want them also over http.
    for line in [
        format!("list {app}:v2 --plain-http=false"),
        format!("publish {app}:v2 --from {app}:v1 --tmp-dir {}", bench.dir.path().display()),
    ] {
        let output = run(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("install the package ca-certificates"), "{said}");
    }
}
