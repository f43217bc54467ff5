//! Indexes as others write them: with entries that are no images, in every spelling, for every variant.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use crate::support::bench::{Bench, warnings};
use crate::support::images::{TestImage, images_of, pair_of, push, write_index};
use crate::support::server::{Registry, Switches, respond};
use crate::support::{open, options};
use axum::http::{StatusCode, header};
use layer::Digest;
use registry_ext::artifact::DELTA_INDEX_TAG;
use registry_ext::discover::{Published, discover};
use registry_ext::image::Images;
use registry_ext::image::{Platform, resolve, resolve_all};
use registry_ext::oci::{Manifest, Name, descriptor_of};
use registry_ext::publish::Publisher;
use registry_ext::repository::Repository;
use registry_ext::store::OciLayout;
use registry_ext::watch::Watch;
use serde_json::{Value, json};
use tempfile::TempDir;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Stores a document under a tag, or under its digest alone. Gives its descriptor as JSON.
async fn put(repository: &Repository, document: &Value, tag: Option<&str>) -> Value {
    let manifest = Manifest::new(document.to_string().into_bytes(), None);
    repository.put_manifest(&manifest, tag).await.unwrap();
    serde_json::to_value(manifest.descriptor()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_in_an_index_does_not_hide_the_images() {
    let bench = Bench::new(Switches::default()).await;
    let repository = bench.repository();
    let image = bench.images("v1").await.images.remove(0);
    let mut entry = serde_json::to_value(image.manifest.descriptor()).unwrap();
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let empty = bench.put_blob(b"{}", EMPTY).await;
    let chart = bench.put_blob(b"{\"name\":\"x\"}", "application/vnd.cncf.helm.config.v1+json").await;
    let layer = bench.put_blob(b"content", "application/zstd").await;
    let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.x", "config": empty, "layers": [layer]});
    let untyped = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [layer]});
    let chart = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": chart, "layers": [layer]});
    let nested = |entry: &Value| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let of = |mut entry: Value, architecture: &str| {
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let gone = descriptor_of(MANIFEST, b"gone");
    let gone = of(serde_json::to_value(gone).unwrap(), "s390x");
    let mut sha512 = gone.clone();
    sha512["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    let inner = put(&repository, &nested(&entry), None).await;
    let mut unnamed = inner.clone();
    unnamed["mediaType"] = json!("");
    let deep = put(&repository, &nested(&put(&repository, &nested(&inner), None).await), None).await;
    let others = [
        ("nothing", None, true),
        ("not mirrored", Some(gone.clone()), true),
        ("another digest", Some(sha512), true),
        ("artifact", Some(of(put(&repository, &artifact, None).await, "arm64")), true),
        (
            "artifact for the platform itself",
            Some(of(put(&repository, &artifact, None).await, "amd64")),
            true,
        ),
        ("artifact without a type", Some(put(&repository, &untyped, None).await), true),
        ("chart", Some(put(&repository, &chart, None).await), true),
        ("index", Some(inner.clone()), true),
        ("index that is called nothing", Some(unnamed.clone()), true),
        ("nothing at all", Some(json!({"mediaType": MANIFEST})), true),
        ("index alone", Some(inner), false),
        ("index that is called nothing alone", Some(unnamed), false),
        ("indexes that go on", Some(deep), true),
    ];
    let amd64: Platform = "linux/amd64".parse().unwrap();
    for (name, other, has_entry) in others {
        let entries: Vec<Value> = other.into_iter().chain(has_entry.then(|| entry.clone())).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        put(&repository, &index, Some("index")).await;
        let tag = Name::Tag("index".into());
        let images = resolve_all(&repository, Some(&tag), bench.dir.path(), &Watch::nothing()).await.unwrap();
        let digests: Vec<Digest> = images.iter().map(|image| image.manifest.digest).collect();
        assert_eq!(digests, [image.manifest.digest], "{name}");
        let one = resolve(&repository, Some(&tag), &amd64, bench.dir.path()).await.unwrap();
        assert_eq!(one.manifest.digest, image.manifest.digest, "{name}");
    }
    // An index of nothing that can be had says why.
    put(&repository, &nested(&gone), Some("gone")).await;
    let tag = Name::Tag("gone".into());
    let (watch, seen) = warnings();
    let error = resolve_all(&repository, Some(&tag), bench.dir.path(), &watch).await.unwrap_err();
    assert!(matches!(error, registry_ext::Error::NotFound { .. }), "{error}");
    assert!(seen.lock().unwrap()[0].contains("linux/s390x"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_known_by_what_it_holds() {
    let bench = Bench::new(Switches::default()).await;
    let image = bench.images("v1").await.images.remove(0);
    let index =
        json!({"manifests": [serde_json::to_value(image.manifest.descriptor()).unwrap()]}).to_string();
    for said in [INDEX, &format!("{INDEX}; charset=utf-8"), &INDEX.to_uppercase(), "application/json", ""] {
        let (index, said_of_it) = (index.clone(), said.to_owned());
        bench.registry.lie(move |call| {
            let of_type = [(header::CONTENT_TYPE, said_of_it.clone())];
            call.uri
                .path()
                .ends_with("/manifests/index")
                .then(|| respond(StatusCode::OK, &of_type, index.clone()))
        });
        assert_eq!(bench.images("index").await.images[0].manifest.digest, image.manifest.digest, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_null_are_empty() {
    let bench = Bench::new(Switches::default()).await;
    let nothing = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": null});
    put(&bench.repository(), &nothing, Some(DELTA_INDEX_TAG)).await;
    bench.publish(|to| to).await.unwrap();
    let image = bench.images("v2").await.images.remove(0);
    let found = discover(&bench.repository(), &image).await;
    let layouts: BTreeSet<Published> = found.candidates.iter().map(|delta| delta.layout).collect();
    assert_eq!(layouts, [Published::DeltaIndex, Published::Artifact].into());

    for (layers, ids) in [(json!([]), json!([])), (json!([]), Value::Null), (Value::Null, Value::Null)] {
        let config =
            json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}});
        let config =
            bench.put_blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json").await;
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers, "annotations": null});
        put(&bench.repository(), &manifest, Some("scratch")).await;
        let report = bench.pull("scratch", &bench.path("store"), &Watch::nothing()).await.unwrap();
        assert!(report.layers.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_variant_has_its_own_deltas() {
    for order in [["amd64", "amd64/v2"], ["amd64/v2", "amd64"]] {
        let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
        let dir = TempDir::new().unwrap();
        let layout = OciLayout::create(&dir.path().join("images")).unwrap();
        let of = |is_new: bool| -> Vec<TestImage> {
            let image = |architecture: &'static str| {
                let (old, new) = pair_of(architecture.len() as u64);
                TestImage { architecture, ..if is_new { new } else { old } }
            };
            order.map(image).into()
        };
        write_index(&layout, &of(false), "v1");
        write_index(&layout, &of(true), "v2");
        let name = format!("{}/app", registry.address());
        let repository = open(&name, &options(), dir.path());
        push(&layout, "v1", &repository).await;
        push(&layout, "v2", &repository).await;
        let images = async |tag: &str| images_of(open(&name, &options(), dir.path()), tag, dir.path()).await;
        let (new, old) = (images("v2").await, images("v1").await);
        let report = Publisher::new(&repository, &new).old(&old).publish().await.unwrap();
        let digest = |images: &Images, platform: &str| {
            let image = images.images.iter().find(|image| image.platform.to_string() == platform).unwrap();
            image.manifest.digest
        };
        assert!(!report.deltas.is_empty());
        for delta in &report.deltas {
            assert_eq!(delta.old, digest(&old, &delta.platform.to_string()), "{order:?}");
        }
        for (wanted, got) in [("linux/amd64", "linux/amd64"), ("linux/amd64/v3", "linux/amd64/v2")] {
            let tag = Name::Tag("v2".into());
            let image = resolve(&repository, Some(&tag), &wanted.parse().unwrap(), dir.path()).await.unwrap();
            assert_eq!(image.manifest.digest, digest(&new, got), "{order:?}");
        }
    }
}
