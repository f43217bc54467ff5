//! The differences between registries and between networks, on the registry in process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::bench::{Bench, warnings};
use crate::support::images::{TestImage, images_of, pair, push, stored_layers, write_index};
use crate::support::server::{Registry, Switches, error};
use crate::support::{open, options};
use axum::http::{Method, StatusCode};
use registry_ext::Error;
use registry_ext::credentials::{Credential, Credentials, Explicit};
use registry_ext::discover::{Published, discover};
use registry_ext::image::resolve;
use registry_ext::oci::{Name, descriptor_of};
use registry_ext::publish::{Publisher, Recipes};
use registry_ext::pull::{Origin, PullReport, Puller};
use registry_ext::registry::{RegistryOptions, Retry};
use registry_ext::store::{OciLayout, PullTarget};
use registry_ext::watch::Watch;
use registry_ext::{Prefer, Pruner, Verifier};
use tempfile::TempDir;
use tokio::time::timeout;

fn only_artifacts(publisher: Publisher<'_>) -> Publisher<'_> {
    publisher.delta_index(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_referrers_api_and_the_tag_that_stands_in() {
    for referrers in [true, false] {
        let bench = Bench::new(Switches { referrers, ..Switches::default() }).await;
        bench.publish(only_artifacts).await.unwrap();
        let tags = bench.repository().tags().await.unwrap();
        assert_eq!(tags.iter().any(|tag| tag.starts_with("sha256-")), !referrers, "{tags:?}");
        let store = bench.path("store");
        bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
        let report = bench.pull("v2", &store, &Watch::nothing()).await.unwrap();
        assert_eq!(report.layers[1].from, Origin::Delta(Published::Artifact));
        assert!(report.fetched < report.plain);
        assert_eq!(stored_layers(&store, "v2"), bench.images.1.layers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_over_several_pages_and_without_a_filter() {
    let bench = Bench::new(Switches { page_size: 1, filters: false, ..Switches::default() }).await;
    bench.publish(only_artifacts).await.unwrap();
    let image = &bench.images("v2").await.images[0];
    // Other referrers of the image, one of which is no delta and one of which cannot be read.
    for artifact_type in
        ["application/vnd.example.signature", "application/vnd.io.github.containers.oci-delta.v1"]
    {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": artifact_type, "config": image.parsed.config(), "layers": [],
            "subject": image.manifest.descriptor(),
        });
        let manifest = registry_ext::oci::Manifest::new(manifest.to_string().into_bytes(), None);
        bench.repository().put_manifest(&manifest, None).await.unwrap();
    }
    let found = discover(&bench.repository(), image).await;
    assert_eq!(found.artifacts.len(), 1);
    assert_eq!(found.candidates.len(), 1);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_delta_costs_a_warning_and_the_whole_blob() {
    let bench = Bench::new(Switches::default()).await;
    bench.publish(only_artifacts).await.unwrap();
    let image = &bench.images("v2").await.images[0];
    for candidate in discover(&bench.repository(), image).await.candidates {
        let digest = candidate.blob.digest().to_string();
        bench.registry.corrupt_blob("app", &digest, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }
    let report = pull_with_a_warning(&bench).await;
    assert_eq!(report.layers[1].from, Origin::Blob);
    assert_eq!(report.manifest, report.stored_manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_delta_costs_a_warning_and_another_delta() {
    let bench = Bench::new(Switches { referrers: false, ..Switches::default() }).await;
    bench.publish(only_artifacts).await.unwrap();
    add_wrong_deltas(&bench).await;
    let report = pull_with_a_warning(&bench).await;
    assert_eq!(report.layers[1].from, Origin::Delta(Published::Artifact));
}

/// Pulls both images, the second with one warning.
async fn pull_with_a_warning(bench: &Bench) -> PullReport {
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let (watch, seen) = warnings();
    let report = bench.pull("v2", &store, &watch).await.unwrap();
    assert!(report.layers[1].delta_failed.is_some());
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(stored_layers(&store, "v2"), bench.images.1.layers);
    report
}

/// Publishes another artifact whose delta is smaller, valid, and of something else.
async fn add_wrong_deltas(bench: &Bench) {
    use registry_ext::artifact::oci_delta::{ArtifactLayer, OciDelta};
    let (repository, image) = (bench.repository(), bench.images("v2").await.images.remove(0));
    let found = discover(&repository, &image).await;
    let (_, artifact) = &found.artifacts[0];
    // An empty delta: it makes nothing.
    let empty = [b"tardf1\n\0".as_slice(), &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0]].concat();
    let path = bench.path("empty.tardiff");
    std::fs::write(&path, &empty).unwrap();
    let blob = registry_ext::oci::descriptor_of("application/vnd.tar-diff", &empty);
    repository.put_blob(&blob, &path).await.unwrap();
    let delta = |layer: &ArtifactLayer| ArtifactLayer { to: layer.to, blob: blob.clone() };
    let wrong = OciDelta {
        layers: artifact.layers.iter().filter(|layer| layer.is_delta()).map(delta).collect(),
        ..artifact.clone()
    };
    let manifest = registry_ext::oci::Manifest::new(wrong.build(), None);
    repository.put_manifest(&manifest, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_the_registry_sends_sooner_is_fetched_unless_bytes_count() {
    let bench = Bench::new(Switches::default()).await;
    bench.publish(|publisher| publisher.recipes(Recipes::WithDeltas)).await.unwrap();
    let (repository, image) = (bench.repository(), bench.images("v2").await.images.remove(0));
    let fast = Some(1 << 40);
    for (number, (line, prefer, exact, is_sooner)) in [
        // To compress the layer again takes longer than to check its blob, and to apply the delta alone does not.
        (fast, Prefer::Time, true, true),
        (fast, Prefer::Time, false, false),
        (fast, Prefer::Size, true, false),
        // A modem; and a registry on this machine, which says nothing about a network.
        (Some(1000), Prefer::Time, true, false),
        (None, Prefer::Time, true, false),
    ]
    .into_iter()
    .enumerate()
    {
        let store = bench.path(&format!("store{number}"));
        bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
        let target = PullTarget::layout(OciLayout::open(&store).unwrap(), Some("v2"));
        let puller = Puller::new(&repository, &image).prefer(prefer).line(line).exact(exact);
        let report = puller.into(target).await.unwrap();
        let layer = &report.layers[1];
        assert_eq!(layer.from == Origin::Blob, is_sooner, "{line:?} {prefer:?}: {layer:?}");
        let reason = layer.slower.as_deref().unwrap_or_default();
        assert_eq!(reason.contains("the registry sends it in about 0.0 s"), is_sooner, "{reason}");
        assert_eq!(stored_layers(&store, "v2"), bench.images.1.layers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_go_on_where_they_broke() {
    let bench = Bench::new(Switches::default()).await;
    bench.registry.switch(|switches| switches.cuts = vec![1000, 50_000, 1, 20_000, 20_000]);
    bench.registry.take_requests();
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    assert_eq!(stored_layers(&store, "v1"), bench.images.0.layers);
    let resumed: Vec<String> = bench
        .registry
        .take_requests()
        .into_iter()
        .filter(|request| request.contains(" bytes=") && !request.ends_with(" bytes=0-"))
        .collect();
    assert!(resumed.len() >= 2, "{resumed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_drips_or_breaks_off_for_ever_is_given_up() {
    let second = Duration::from_secs(1);
    let bench = Bench::with(Switches::default(), options().patience(second)).await;
    let give_up = async |change: &dyn Fn(&mut Switches)| {
        bench.registry.switch(change);
        let (store, nothing) = (TempDir::new_in(bench.dir.path()).unwrap(), Watch::nothing());
        // This only guards against hanging: it would go on for hours.
        let pull = timeout(300 * second, bench.pull("v1", store.path(), &nothing)).await;
        pull.expect("it ends").unwrap_err().to_string()
    };
    let dripping = give_up(&|switches| switches.drips = Some(second / 200)).await;
    assert!(dripping.contains("less than 1024 bytes a second"), "{dripping}");
    // One byte more at each try: the bytes of a blob are as many tries.
    let breaking = give_up(&|switches| (switches.drips, switches.cuts) = (None, vec![1; 1 << 20])).await;
    assert!(breaking.contains("less than 1024 bytes a second"), "{breaking}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_registry_is_asked_again() {
    let bench = Bench::new(Switches::default()).await;
    bench.registry.switch(|switches| switches.failures = 3);
    bench.pull("v1", &bench.path("store"), &Watch::nothing()).await.unwrap();
    bench.registry.switch(|switches| switches.failures = 100);
    let error = bench.pull("v1", &bench.path("other"), &Watch::nothing()).await.unwrap_err();
    assert!(matches!(&error, Error::Registry(error) if error.status() == Some(503)), "{error}");
}

/// The answer of docker-registry while another publisher puts the same blob.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_put_again_whose_blobs_another_publisher_puts_too() {
    let bench = Bench::new(Switches::default()).await;
    let refusals = Arc::new(AtomicUsize::new(3));
    let left = Arc::clone(&refusals);
    bench.registry.lie(move |call| {
        let is_put = call.method == Method::PUT && call.uri.path().contains("/manifests/");
        let refuses = is_put
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        refuses.then(|| error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"))
    });
    bench.publish(only_artifacts).await.unwrap();
    assert_eq!(refusals.load(Ordering::Relaxed), 0);
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let report = bench.pull("v2", &store, &Watch::nothing()).await.unwrap();
    assert_eq!(report.layers[1].from, Origin::Delta(Published::Artifact));
    // A blob that stays away is an error.
    refusals.store(usize::MAX, Ordering::Relaxed);
    let error = bench.publish(|to| only_artifacts(to).force(true)).await.unwrap_err();
    assert!(error.to_string().contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
    assert_eq!(refusals.load(Ordering::Relaxed), usize::MAX - 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_take_an_upload_slowly_but_not_stop() {
    let bench = Bench::new(Switches::default()).await;
    // More than what lies in buffers on the way.
    let content = vec![7; 32 << 20];
    let path = bench.path("blob");
    std::fs::write(&path, &content).unwrap();
    let blob = descriptor_of("application/octet-stream", &content);
    let put = async |pause: Duration, patience: Duration| {
        bench.registry.switch(|switches| switches.sips = Some(pause));
        let retry = Retry { attempts: 1, ..options().retry };
        let options = options().patience(patience).retry(retry);
        let began = Instant::now();
        let put = open(&bench.name(), &options, bench.dir.path()).put_blob(&blob, &path).await;
        (put, began.elapsed())
    };
    let (put_never, _) = put(Duration::from_secs(3600), Duration::from_millis(100)).await;
    let error = anyhow::Error::from(put_never.unwrap_err());
    assert!(format!("{error:#}").contains("neither takes anything nor answers"), "{error:#}");

    // For a blob of this size it is two seconds more.
    let (put_slowly, time) = put(Duration::from_millis(45), Duration::from_millis(500)).await;
    put_slowly.unwrap();
    assert!(time > Duration::from_secs(3), "{time:?} says nothing");
}

fn with_credential(registry: &str, user: &str, password: &str) -> RegistryOptions {
    let explicit = Explicit { registry: registry.into(), username: user.into(), password: password.into() };
    options().credentials(Credentials { explicit: Some(explicit), files: Vec::new() })
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_got_renewed_and_enough_to_delete() {
    let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let address = registry.address().to_string();
    registry.switch(|switches| switches.bearer = Some(("user".into(), "secret".into())));
    let dir = TempDir::new().unwrap();
    let layout = OciLayout::create(&dir.path().join("images")).unwrap();
    pair().0.write(&layout, "v1");
    let name = format!("{address}/app");

    let repository = open(&name, &with_credential(&address, "user", "secret"), dir.path());
    let digest = push(&layout, "v1", &repository).await;
    registry.revoke_tokens();
    assert!(repository.manifest(&Name::Tag("v1".into())).await.unwrap().is_some());
    registry.revoke_tokens();
    push(&layout, "v1", &repository).await;

    // An identity token is exchanged; some helpers return it under this name.
    let file = dir.path().join("config.json");
    std::fs::write(&file, format!(r#"{{"auths": {{"{address}": {{"identitytoken": "secret"}}}}}}"#)).unwrap();
    let credentials = Credentials { explicit: None, files: vec![file] };
    assert!(credentials.find(&address, "app").unwrap() == Credential::Identity("secret".into()));
    let by_identity = open(&name, &options().credentials(credentials), dir.path());
    assert!(by_identity.manifest(&Name::Digest(digest)).await.unwrap().is_some());
    push(&layout, "v1", &by_identity).await;

    for options in [options(), with_credential(&address, "user", "wrong")] {
        let error = open(&name, &options, dir.path()).manifest(&Name::Tag("v1".into())).await.unwrap_err();
        assert!(matches!(&error, Error::Registry(error) if error.is_unauthorized()), "{error}");
    }
    assert!(repository.delete_manifest(digest).await.unwrap());
    assert!(repository.manifest(&Name::Digest(digest)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_platform_has_its_own_deltas() {
    let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let dir = TempDir::new().unwrap();
    let layout = OciLayout::create(&dir.path().join("images")).unwrap();
    let pairs =
        [("amd64", crate::support::images::pair_of(1)), ("arm64", crate::support::images::pair_of(2))];
    let of = |new: bool| -> Vec<TestImage> {
        let image = |(architecture, pair): &(&'static str, (TestImage, TestImage))| TestImage {
            architecture,
            ..if new { pair.1.clone() } else { pair.0.clone() }
        };
        pairs.iter().map(image).collect()
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
    assert_eq!((report.artifacts.len(), report.delta_manifests.len()), (2, 2));
    for image in &new.images {
        let found = discover(&repository, image).await;
        assert_eq!(found.candidates.len(), 2, "{}", image.platform);
    }
    let (tag, platform) = (Name::Tag("v2".into()), "linux/s390x".parse().unwrap());
    let missing = resolve(&repository, Some(&tag), &platform, dir.path()).await;
    assert!(matches!(missing, Err(Error::NoPlatform { .. })));
}

/// Publishes the delta of `_deltaindex` again under another tag, changed as older producers wrote it.
async fn republish(bench: &Bench, change: impl Fn(String) -> String) -> registry_ext::oci::Manifest {
    let repository = bench.repository();
    let image = bench.images("v2").await.images.remove(0);
    let found = discover(&repository, &image).await;
    let (digest, _) = found.delta_manifests[0];
    let manifest = repository.manifest(&Name::Digest(digest)).await.unwrap().unwrap();
    let changed = change(String::from_utf8(manifest.bytes).unwrap());
    registry_ext::oci::Manifest::new(changed.into_bytes(), Some("application/vnd.oci.image.manifest.v1+json"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_older_producers_wrote_is_used() {
    let bench = Bench::new(Switches::default()).await;
    bench.publish(|to| to.artifact(false)).await.unwrap();
    let older = republish(&bench, |json| {
        json.replace("application/vnd.tar-diff", "application/vnd.redhat.tar-diff")
            .replace("\"schemaVersion\":2", "\"schemaVersion\":1")
    })
    .await;
    let image = bench.images("v2").await.images.remove(0);
    let target = image.manifest.digest;
    Pruner::new(&bench.repository()).prune(target).await.unwrap();
    assert!(discover(&bench.repository(), &image).await.candidates.is_empty());

    let tag = registry_ext::artifact::deltas_tag(target);
    bench.repository().put_manifest(&older, Some(&tag)).await.unwrap();
    let found = discover(&bench.repository(), &image).await;
    assert_eq!(found.candidates.iter().map(|found| found.layout).collect::<Vec<_>>(), [Published::DeltasTag]);
    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let report = bench.pull("v2", &store, &Watch::nothing()).await.unwrap();
    assert_eq!(report.layers[1].from, Origin::Delta(Published::DeltasTag));
    assert_eq!(stored_layers(&store, "v2"), bench.images.1.layers);

    let report = Pruner::new(&bench.repository()).prune(target).await.unwrap();
    assert_eq!(report.tags, [tag]);
    assert!(discover(&bench.repository(), &image).await.candidates.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_delta_is_found_and_replaced() {
    let bench = Bench::new(Switches::default()).await;
    bench.publish(|to| to).await.unwrap();
    let image = bench.images("v2").await.images.remove(0);
    let old = bench.images("v1").await;
    let verify = async || Verifier::new(&bench.repository(), &image).old(&old).verify().await.unwrap();
    use registry_ext::verify::Verdict;
    assert!(verify().await.iter().all(|checked| checked.verdict == Verdict::Right));
    add_wrong_deltas(&bench).await;
    let wrong = verify().await.iter().filter(|checked| matches!(checked.verdict, Verdict::Wrong(_))).count();
    assert_eq!(wrong, 1);
    bench.publish(|to| to.force(true)).await.unwrap();
    let checked = verify().await;
    assert_eq!(checked.len(), 2);
    assert!(checked.iter().all(|checked| checked.verdict == Verdict::Right));
}
