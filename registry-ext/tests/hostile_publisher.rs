//! Somebody who may push to a repository, and pushes what costs others something: so much is read, tried and
//! written, and no more.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::{Bench, warnings};
use crate::support::images::stored_layers;
use crate::support::server::{Switches, respond};
use axum::http::StatusCode;
use delta_format::{Encoding, OpWriter, Version};
use layer::Digest;
use oci_spec::image::Descriptor;
use registry_ext::artifact::TAR_DIFF;
use registry_ext::artifact::oci_delta::{ArtifactLayer, Kind, OciDelta};
use registry_ext::discover::discover;
use registry_ext::oci::Manifest;
use registry_ext::pull::Origin;
use registry_ext::watch::Watch;
use registry_ext::{Error, Pruner};
use serde_json::json;

/// Publishes an artifact for the only layer of v2 that has a delta, with these deltas.
async fn add_artifact(bench: &Bench, deltas: &[Descriptor]) {
    let image = bench.images("v2").await.images.remove(0);
    let old = bench.images("v1").await.images.remove(0);
    let to = image.layers[1].digest;
    let artifact = OciDelta {
        kind: Kind::OciDelta,
        target: image.manifest.descriptor(),
        target_config: image.parsed.config().clone(),
        source: None,
        source_config: old.config_digest,
        reused: Vec::new(),
        layers: deltas.iter().map(|blob| ArtifactLayer { to, blob: blob.clone() }).collect(),
        signatures: Vec::new(),
        tardf3_saves_nothing: false,
    };
    bench.put_blob(b"{}", "application/octet-stream").await;
    bench.put_blob(&image.manifest.bytes, "application/octet-stream").await;
    let manifest = Manifest::new(artifact.build(), None);
    bench.repository().put_manifest(&manifest, None).await.unwrap();
}

fn count(bench: &Bench, what: &str) -> usize {
    bench.registry.take_requests().iter().filter(|request| request.contains(what)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_listed_often_is_read_once_and_so_is_each_of_its_layers() {
    let bench = Bench::new(Switches::default()).await;
    let delta = bench.put_blob(b"delta", TAR_DIFF).await;
    add_artifact(&bench, &vec![delta; 5000]).await;
    let image = bench.images("v2").await.images.remove(0);
    let entry = bench.repository().referrers(image.manifest.digest).await.unwrap().remove(0);
    let mut entry = serde_json::to_value(entry).unwrap();
    entry["artifactType"] = "application/vnd.io.github.containers.oci-delta.v1".into();
    let list = json!({"schemaVersion": 2, "manifests": vec![entry.clone(); 5000]}).to_string();
    bench.registry.lie(move |call| {
        call.uri.path().contains("/referrers/").then(|| respond(StatusCode::OK, &[], list.clone()))
    });
    bench.registry.take_requests();
    let found = discover(&bench.repository(), &image).await;
    assert_eq!((found.candidates.len(), found.artifacts.len()), (1, 1), "{:?}", found.warnings);
    let of_artifact = format!("manifests/{}", entry["digest"].as_str().unwrap());
    assert_eq!(count(&bench, &of_artifact), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_artifacts_are_read_and_so_many_bytes() {
    let bench = Bench::new(Switches::default()).await;
    let image = bench.images("v2").await.images.remove(0);
    let kind = "application/vnd.tar-diff.artifact.v3";
    for size in [600, 3 << 20] {
        // The first one is what is sent for each: the others are refused by their digests, and count too.
        let filler = "x".repeat(size);
        let document = format!(r#"{{"artifactType":"{kind}","layers":[],"config":null,"x":"{filler}"}}"#);
        let entry = |name: u32| {
            let digest = match name {
                0 => Digest::of(document.as_bytes()),
                _ => Digest::of(&name.to_le_bytes()),
            };
            json!({"artifactType": kind, "size": 1, "digest": digest.to_string()})
        };
        let entries: Vec<_> = (0..3000).map(entry).collect();
        let list = json!({ "manifests": entries }).to_string();
        bench.registry.lie(move |call| {
            let path = call.uri.path();
            if path.contains("/referrers/") {
                return Some(respond(StatusCode::OK, &[], list.clone()));
            }
            path.contains("/manifests/sha256:").then(|| respond(StatusCode::OK, &[], document.clone()))
        });
        bench.registry.take_requests();
        let repository = bench.repository();
        let found = discover(&repository, &image).await;
        assert!(!found.warnings.is_empty() && found.warnings.len() < 20, "{:?}", found.warnings);
        assert!(count(&bench, "/manifests/sha256:") <= 256);
        assert!(repository.received() <= 40 << 20, "{} bytes", repository.received());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_deltas_of_a_layer_may_fail() {
    let bench = Bench::new(Switches::default()).await;
    let mut names = Vec::new();
    for name in 0..8u8 {
        let delta = bench.put_blob(&[name; 5], TAR_DIFF).await;
        names.push(delta.digest().to_string());
        add_artifact(&bench, &[delta]).await;
    }
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    bench.registry.take_requests();
    let (watch, seen) = warnings();
    let report = bench.pull("v2", &store, &watch).await.unwrap();
    assert_eq!(report.layers[1].from, Origin::Blob);
    let asked = bench.registry.take_requests();
    let tried = names.iter().filter(|name| asked.iter().any(|request| request.contains(*name))).count();
    assert_eq!((tried, seen.lock().unwrap().len()), (3, 3));
    assert_eq!(stored_layers(&store, "v2"), bench.images.1.layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_writes_no_more_than_a_layer_of_that_blob_may_have() {
    let bench = Bench::new(Switches::default()).await;
    // 65 MiB of zeros in a few kilobytes, for a layer of less than a megabyte.
    let mut ops = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
    for _ in 0..65 {
        ops.literal(&vec![0; 1 << 20]).unwrap();
    }
    let delta = bench.put_blob(&ops.finish().unwrap().0, TAR_DIFF).await;
    add_artifact(&bench, &[delta]).await;
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let report = bench.pull("v2", &store, &Watch::nothing()).await.unwrap();
    let failed = report.layers[1].delta_failed.clone().unwrap();
    assert!(failed.contains("too large"), "{failed}");
    assert_eq!(report.layers[1].from, Origin::Blob);
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_reads_so_many_artifacts_and_finds_those_that_say_what_they_are() {
    let bench = Bench::new(Switches::default()).await;
    let delta = bench.put_blob(b"delta", TAR_DIFF).await;
    add_artifact(&bench, &[delta]).await;
    let image = bench.images("v2").await.images.remove(0);
    let ours = bench.repository().referrers(image.manifest.digest).await.unwrap().remove(0);
    let mut entry = serde_json::to_value(&ours).unwrap();
    entry["artifactType"] = "application/vnd.io.github.containers.oci-delta.v1".into();
    let junk: Vec<String> = (0..3000).map(|index| format!(r#"{{"layers":[],"x":{index}}}"#)).collect();
    let digests: Vec<String> = junk.iter().map(|text| Digest::of(text.as_bytes()).to_string()).collect();
    let listed = digests.iter().map(|digest| json!({"mediaType": "x", "size": 1, "digest": digest}));
    let entries: Vec<_> = listed.chain([entry.clone(), entry]).collect();
    let list = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    bench.registry.lie(move |call| {
        let path = call.uri.path();
        if path.contains("/referrers/") {
            return Some(respond(StatusCode::OK, &[], list.clone()));
        }
        let index = digests.iter().position(|digest| path.ends_with(digest))?;
        Some(respond(StatusCode::OK, &[], junk[index].clone()))
    });
    bench.registry.take_requests();
    let report = Pruner::new(&bench.repository()).dry_run(true).prune(image.manifest.digest).await.unwrap();
    assert_eq!(report.artifacts.len(), 1);
    assert_eq!(report.artifacts[0].to_string(), *ours.digest().as_ref());
    assert_eq!((report.unread, report.kept), (3001 - 1024, 0));
    assert!(count(&bench, "/manifests/sha256:") <= 1024 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_two_layers_claim_to_be_is_stored_whole_or_not_at_all() {
    let bench = Bench::new(Switches::default()).await;
    let image = bench.images("v1").await.images.remove(0);
    let layer = &image.layers[1];
    let other = Digest::of(b"another layer").to_string();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id.to_string(), other]},
    });
    let config_type = "application/vnd.oci.image.config.v1+json";
    let config = bench.put_blob(config.to_string().as_bytes(), config_type).await;
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer.blob, layer.blob]});
    let manifest = Manifest::new(manifest.to_string().into_bytes(), None);
    bench.repository().put_manifest(&manifest, Some("twice")).await.unwrap();
    for _ in 0..8 {
        let store = bench.path("store");
        let failed = bench.pull("twice", &store, &Watch::nothing()).await.unwrap_err();
        assert!(matches!(failed, Error::DigestMismatch { .. }), "{failed:?}");
        let blobs = std::fs::read_dir(store.join("blobs/sha256")).unwrap();
        for blob in blobs.map(|blob| blob.unwrap()) {
            let digest = Digest::of(&std::fs::read(blob.path()).unwrap()).to_string();
            assert_eq!(digest, format!("sha256:{}", blob.file_name().display()));
        }
        std::fs::remove_dir_all(&store).unwrap();
    }
}
