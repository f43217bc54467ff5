//! Deltas that follow each other, over images that are not here: in a pull and in the mirror, and by somebody who
//! publishes what leads nowhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use crate::support::bench::{Bench, warnings};
use crate::support::images::{TestImage, push, stored_layers, write_images};
use crate::support::mirror::{TestMirror, asked_for};
use crate::support::options;
use crate::support::server::{Registry, Switches, error};
use axum::http::StatusCode;
use fixtures::{Ending, LayerBuilder};
use layer::Digest;
use oci_spec::image::Descriptor;
use registry_ext::artifact::TAR_DIFF;
use registry_ext::artifact::oci_delta::{ArtifactLayer, Kind, OciDelta};
use registry_ext::delta::MakeOptions;
use registry_ext::discover::discover;
use registry_ext::image::{Image, Platform, resolve};
use registry_ext::oci::{Manifest, Name};
use registry_ext::publish::{Publisher, Recipes};
use registry_ext::pull::{Origin, PullReport, Puller};
use registry_ext::store::{OciLayout, PullTarget, StoreRef};
use registry_ext::watch::Watch;
use tempfile::TempDir;

/// Noise that does not compress.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..size).map(|_| rng.u8(..)).collect()
}

/// A release: a layer that all have, one of which a file is new in each release, and from the fifth on a small one that
/// is new in each.
fn release(number: u64) -> TestImage {
    let mut base = LayerBuilder::new();
    base.dir("etc").file("etc/os-release", "NAME=test\n").file("etc/noise", noise(1, 9000));
    let mut app = LayerBuilder::new();
    app.dir("app").file("app/version", format!("{number}\n"));
    for file in 0..60 {
        // The release in which the file changed last.
        let changed = if file <= number { file } else { 0 };
        app.file(format!("app/{file:02}"), noise(1000 + 50 * file + changed, 3000));
    }
    let [base, app] = [base, app].map(|mut layer| layer.finish(Ending::Normal));
    if number < 5 {
        return TestImage::new(&[&base, &app]);
    }
    let mut top = LayerBuilder::new();
    top.dir("etc").file("etc/motd", format!("release {number}"));
    TestImage::new(&[&base, &app, &top.finish(Ending::Normal)])
}

/// A registry with releases from 1 on.
struct Releases {
    bench: Bench,
    images: Vec<TestImage>,
}

impl Releases {
    async fn new(count: u64) -> Self {
        let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
        let images: Vec<TestImage> = (1..=count).map(release).collect();
        let pair = (images[0].clone(), images[1].clone());
        let bench = Bench { registry, dir: TempDir::new().unwrap(), images: pair, options: options() };
        let tags: Vec<String> = (1..=count).map(|number| format!("v{number}")).collect();
        let named: Vec<_> = images.iter().zip(tags.iter().map(String::as_str)).collect();
        let layout = write_images(bench.dir.path(), &named);
        for tag in &tags {
            push(&layout, tag, &bench.repository()).await;
        }
        Self { bench, images }
    }

    /// Publishes the deltas from one release to another.
    async fn publish(&self, from: u64, to: u64) {
        let (old, new) =
            (self.bench.images(&format!("v{from}")).await, self.bench.images(&format!("v{to}")).await);
        let repository = self.bench.repository();
        let mut options = MakeOptions::default();
        options.diff.level = 3;
        let recipes = if self.images.len() < 5 { Recipes::All } else { Recipes::None };
        let publisher = Publisher::new(&repository, &new).old(&old).delta_index(false).options(options);
        let publisher = publisher.recipes(recipes);
        let report = publisher.publish().await.unwrap();
        assert_eq!(report.artifacts.len(), 1);
    }

    /// Publishes the deltas from each release to the next.
    async fn publish_all(&self) {
        for to in 2..=self.images.len() as u64 {
            self.publish(to - 1, to).await;
        }
    }

    async fn image(&self, number: u64) -> Image {
        let (repository, name) = (self.bench.repository(), Name::Tag(format!("v{number}")));
        let platform = "linux/amd64".parse::<Platform>().unwrap();
        resolve(&repository, Some(&name), &platform, self.bench.dir.path()).await.unwrap()
    }

    /// A store that has one release.
    async fn store(&self, number: u64) -> PathBuf {
        let store = self.bench.path(&format!("store-{number}"));
        self.bench.pull(&format!("v{number}"), &store, &Watch::nothing()).await.unwrap();
        self.bench.registry.take_requests();
        store
    }

    /// Pulls a release with a store as the source, and compares its layers.
    async fn pull(&self, number: u64, source: &Path, watch: &Watch) -> PullReport {
        let (repository, image) = (self.bench.repository(), self.image(number).await);
        let dir = TempDir::new_in(self.bench.dir.path()).unwrap();
        let target = PullTarget::layout(OciLayout::create(dir.path()).unwrap(), Some("new"));
        let puller = Puller::new(&repository, &image).temp_dir(self.bench.dir.path()).watch(watch);
        let source = StoreRef::Layout(source.to_owned(), None);
        let report = puller.source(&source).unwrap().into(target).await.unwrap();
        let expected = &self.images[usize::try_from(number).unwrap() - 1].layers;
        assert_eq!(&stored_layers(dir.path(), "new"), expected);
        report
    }

    /// Pulls the third release where the first one is here. Returns the layer that changed.
    async fn pull_third(&self, watch: &Watch) -> registry_ext::pull::PulledLayer {
        let store = self.store(1).await;
        let mut report = self.pull(3, &store, watch).await;
        report.layers.remove(1)
    }

    /// Publishes an artifact with one delta.
    async fn add_artifact(&self, from: (Digest, Digest), to: u64, delta: Descriptor) {
        let image = self.image(to).await;
        let (source, source_config) = (Some(from.0), from.1);
        let artifact = OciDelta {
            kind: Kind::OciDelta,
            target: image.manifest.descriptor(),
            target_config: image.parsed.config().clone(),
            source,
            source_config,
            reused: Vec::new(),
            layers: vec![ArtifactLayer { to: image.layers[1].digest, blob: delta }],
            signatures: Vec::new(),
            tardf3_saves_nothing: false,
        };
        self.bench.put_blob(b"{}", "application/octet-stream").await;
        self.bench.put_blob(&image.manifest.bytes, "application/octet-stream").await;
        let manifest = Manifest::new(artifact.build(), None);
        self.bench.repository().put_manifest(&manifest, None).await.unwrap();
    }
}

/// The deltas among the steps of a layer.
fn deltas(layer: &registry_ext::pull::PulledLayer) -> usize {
    layer.steps.iter().filter(|step| matches!(step.from, Origin::Delta(_))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_of_twelve_releases_lead_to_the_same_layers() {
    let releases = Releases::new(12).await;
    releases.publish_all().await;
    for from in 1..=12 {
        let store = releases.store(from).await;
        // And back, where no delta leads, from some.
        for to in (1..=12).filter(|to| *to > from || (from % 4 == 0 && *to + 2 == from)) {
            let (watch, seen) = warnings();
            let report = releases.pull(to, &store, &watch).await;
            assert_eq!(seen.lock().unwrap().as_slice(), &[] as &[String], "{from} to {to}");
            let layer = &report.layers[1];
            // Deltas lead to newer releases alone, and eight of them at most.
            let expected = to.checked_sub(from).filter(|steps| *steps <= 8).unwrap_or(0);
            assert_eq!(deltas(layer) as u64, expected, "{from} to {to}");
            assert_eq!(matches!(layer.from, Origin::Delta(_)), expected > 0, "{from} to {to}");
            assert_eq!(layer.fetched < layer.blob_size, expected > 0, "{from} to {to}");
            if expected > 0 {
                assert_eq!(layer.steps.last().unwrap().diff_id, layer.diff_id);
                assert_eq!(layer.steps.iter().map(|step| step.fetched).sum::<u64>(), layer.fetched);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_delta_is_taken_where_it_is_no_larger_and_nothing_else_is_read_then() {
    let releases = Releases::new(3).await;
    releases.publish_all().await;
    releases.publish(1, 3).await;
    let layer = releases.pull_third(&Watch::nothing()).await;
    assert_eq!((deltas(&layer), layer.steps.len()), (1, 1));
    let middle = releases.image(2).await.manifest.digest.to_string();
    let asked = releases.bench.registry.take_requests();
    // The test itself has asked for the manifest by its tag.
    assert!(!asked.iter().any(|request| request.contains(&middle)), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_pull_makes_the_blob_of_the_last_layer() {
    let releases = Releases::new(3).await;
    releases.publish_all().await;
    let (store, image) = (releases.store(1).await, releases.image(3).await);
    let repository = releases.bench.repository();
    let dir = TempDir::new_in(releases.bench.dir.path()).unwrap();
    let target = PullTarget::layout(OciLayout::create(dir.path()).unwrap(), Some("new"));
    let puller = Puller::new(&repository, &image).exact(true).source(&StoreRef::Layout(store, None)).unwrap();
    let report = puller.into(target).await.unwrap();
    assert_eq!(report.manifest, report.stored_manifest);
    assert_eq!(deltas(&report.layers[1]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_makes_a_blob_by_a_chain() {
    let releases = Releases::new(3).await;
    releases.publish_all().await;
    let (store, image) = (releases.store(1).await, releases.image(3).await);
    let mirror =
        TestMirror::start(&releases.bench, |options| options.sources.push(StoreRef::Layout(store, None)))
            .await;
    releases.bench.registry.take_requests();
    mirror.pull(&releases.bench, "v3").await.unwrap();
    let requests = releases.bench.registry.take_requests();
    let digest = image.layers[1].digest.0;
    assert_eq!(asked_for(&requests, digest), 0, "{requests:?}");
    let layout = OciLayout::open(&releases.bench.path("images")).unwrap();
    assert_eq!(mirror.blob(digest).await, std::fs::read(layout.blob_path(digest)).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_of_the_index_alone_follow_each_other() {
    let releases = Releases::new(4).await;
    let (bench, mut shown) = (&releases.bench, Vec::new());
    for (from, to) in [(1, 2), (2, 3), (3, 4)] {
        let (old, new) = (bench.images(&format!("v{from}")).await, bench.images(&format!("v{to}")).await);
        let (repository, mut options) = (bench.repository(), MakeOptions::default());
        options.diff.level = 3;
        let publisher = Publisher::new(&repository, &new).old(&old).artifact(false).options(options);
        assert!(publisher.publish().await.unwrap().artifacts.is_empty());
    }
    let store = releases.store(1).await;
    for number in 2..=4 {
        let report = releases.pull(number, &store, &Watch::nothing()).await;
        shown.push(deltas(&report.layers[1]));
    }
    assert_eq!(shown, [1, 2, 3]);
    // A host that has no release reads no other list than its own image's.
    bench.registry.take_requests();
    OciLayout::create(&bench.path("empty")).unwrap();
    releases.pull(4, &bench.path("empty"), &Watch::nothing()).await;
    let lists = bench.registry.take_requests();
    assert!(lists.iter().filter(|request| request.contains("/manifests/sha256:")).count() <= 2, "{lists:?}");
    // An image that is gone is on no way.
    bench.repository().delete_manifest(releases.image(2).await.manifest.digest).await.unwrap();
    let (watch, seen) = warnings();
    let report = releases.pull(4, &store, &watch).await;
    assert_eq!(report.layers[1].from, Origin::Blob);
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_leads_nowhere() {
    let releases = Releases::new(4).await;
    for (from, to) in [(2, 3), (3, 2), (2, 2), (3, 4), (4, 3), (4, 2)] {
        let source = releases.image(from).await;
        let delta = releases.bench.put_blob(&[7; 9], TAR_DIFF).await;
        releases.add_artifact((source.manifest.digest, source.config_digest), to, delta).await;
    }
    let store = releases.store(1).await;
    let (watch, seen) = warnings();
    let report = releases.pull(4, &store, &watch).await;
    assert_eq!(report.layers[1].from, Origin::Blob);
    assert_eq!(seen.lock().unwrap().len(), 0, "nothing was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_makes_another_layer_costs_a_warning_and_the_blob() {
    let releases = Releases::new(3).await;
    releases.publish(2, 3).await;
    let (old, other) = (releases.image(1).await, &releases.images[2].layers[1]);
    let tars = [&releases.images[0].layers[1], other].map(|bytes| {
        layer::Spool::read("layer".into(), bytes.as_slice(), &layer::SpoolOptions::default()).unwrap()
    });
    let options = tar_diff::DiffOptions::default();
    let (delta, _) = tar_diff::diff(&tars[..1], &tars[1], &options, Vec::new(), &|_| ()).unwrap();
    let delta = releases.bench.put_blob(&delta, TAR_DIFF).await;
    releases.add_artifact((old.manifest.digest, old.config_digest), 2, delta).await;
    let (watch, seen) = warnings();
    let layer = releases.pull_third(&watch).await;
    assert_eq!(layer.from, Origin::Blob);
    assert!(layer.delta_failed.unwrap().contains("diff_id"));
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() == 1 && seen[0].contains("chain of deltas"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_gone_costs_a_warning_and_the_blob() {
    let releases = Releases::new(3).await;
    releases.publish_all().await;
    let found = discover(&releases.bench.repository(), &releases.image(2).await).await;
    let gone = format!("blobs/{}", found.candidates[0].blob.digest());
    releases.bench.registry.lie(move |call| {
        call.uri.path().ends_with(&gone).then(|| error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"))
    });
    let (watch, seen) = warnings();
    let layer = releases.pull_third(&watch).await;
    assert_eq!((layer.from, seen.lock().unwrap().len()), (Origin::Blob, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_gone_is_on_no_way() {
    let releases = Releases::new(3).await;
    releases.publish_all().await;
    let gone = format!("manifests/{}", releases.image(2).await.manifest.digest);
    releases.bench.registry.lie(move |call| {
        call.uri.path().ends_with(&gone).then(|| error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"))
    });
    let (watch, seen) = warnings();
    let layer = releases.pull_third(&watch).await;
    assert_eq!((layer.from, seen.lock().unwrap().len()), (Origin::Blob, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_images_are_read_on_the_way() {
    let releases = Releases::new(3).await;
    let delta = releases.bench.put_blob(b"delta", TAR_DIFF).await;
    let named: Vec<Digest> = (0..60_u8).map(|name| Digest::from_bytes([name; 32])).collect();
    for manifest in &named {
        releases.add_artifact((*manifest, Digest::of(manifest.as_bytes())), 3, delta.clone()).await;
    }
    let layer = releases.pull_third(&Watch::nothing()).await;
    assert_eq!(layer.from, Origin::Blob);
    let asked = releases.bench.registry.take_requests();
    let of_images =
        named.iter().filter(|name| asked.iter().any(|request| request.contains(&name.to_string())));
    assert_eq!(of_images.count(), 16);
}
