//! Deltas that are merged of published ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::Bench;
use crate::support::images::{TestImage, push, stored_layers, write_images};
use crate::support::mirror::asked_for;
use crate::support::options;
use crate::support::server::{Registry, Switches};
use fixtures::{Ending, LayerBuilder};
use registry_ext::delta::MakeOptions;
use registry_ext::discover::Published;
use registry_ext::publish::{Outcome, PublishReport, Publisher};
use registry_ext::pull::Origin;
use registry_ext::watch::Watch;
use tar_diff::{DiffOptions, Method};
use tempfile::TempDir;

/// A release of one layer, of which a file changes in each release; or of two layers.
fn release(number: u64, layers: usize) -> TestImage {
    let mut layer = LayerBuilder::new();
    layer.dir("app").file("app/version", format!("{number}\n"));
    for file in 0..20_u64 {
        let changed = if file <= number { file } else { 0 };
        let mut rng = fastrand::Rng::with_seed(100 * file + changed);
        layer.file(format!("app/{file:02}"), (0..3000).map(|_| rng.u8(..)).collect::<Vec<u8>>());
    }
    let layer = layer.finish(Ending::Normal);
    let base = LayerBuilder::new().dir("etc").file("etc/os-release", "NAME=test").finish(Ending::Normal);
    match layers {
        1 => TestImage::new(&[&layer]),
        _ => TestImage::new(&[&base, &layer]),
    }
}

async fn bench(layers: usize) -> (Bench, Vec<TestImage>) {
    let images: Vec<TestImage> = (1..=4).map(|number| release(number, layers)).collect();
    (bench_of(&images).await, images)
}

/// A registry with the images v1, v2 and so on.
async fn bench_of(images: &[TestImage]) -> Bench {
    let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let pair = (images[0].clone(), images[1].clone());
    let bench = Bench { registry, dir: TempDir::new().unwrap(), images: pair, options: options() };
    let named: Vec<_> = images.iter().zip(["v1", "v2", "v3", "v4"]).collect();
    let layout = write_images(bench.dir.path(), &named);
    for (_, tag) in named {
        push(&layout, tag, &bench.repository()).await;
    }
    bench
}

async fn publish(bench: &Bench, from: &str, to: &str, merge: bool) -> PublishReport {
    let (old, new) = (bench.images(from).await, bench.images(to).await);
    let repository = bench.repository();
    Publisher::new(&repository, &new).old(&old).merge(merge).publish().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn published_deltas_are_merged_without_the_new_layer() {
    let (bench, images) = bench(1).await;
    let mut parts = 0;
    for (from, to) in [("v1", "v2"), ("v2", "v3"), ("v3", "v4")] {
        let report = publish(&bench, from, to, true).await;
        assert!(report.deltas.iter().all(|delta| delta.merged.is_none()), "there is nothing to be merged");
        parts += report.deltas[0].delta_size.unwrap();
    }
    let new = bench.images("v4").await.images[0].layers[0].digest.0;
    bench.registry.take_requests();
    let report = publish(&bench, "v1", "v4", true).await;
    assert_eq!(asked_for(&bench.registry.take_requests(), new), 0);
    assert_eq!(report.deltas.len(), 2, "one for each layout, and the same one");
    for delta in &report.deltas {
        assert_eq!(delta.outcome, Outcome::Published);
        let merged = delta.merged.unwrap();
        assert_eq!((merged.deltas, merged.bytes), (3, parts));
        assert!(delta.delta_size.unwrap() < parts);
    }
    let again = publish(&bench, "v1", "v4", true).await;
    assert!(again.deltas.iter().all(|delta| delta.outcome == Outcome::AlreadyThere), "{again:?}");

    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let pulled = bench.pull("v4", &store, &Watch::nothing()).await.unwrap();
    assert!(matches!(pulled.layers[0].from, Origin::Delta(_)));
    assert_eq!(pulled.layers[0].steps.len(), 1);
    assert_eq!(stored_layers(&store, "v4"), images[3].layers);
}

/// A release of four layers: the base changes with the second one, `lib` never, and the application and its notes each
/// time. The application of the third release has files that were in the layers below.
fn layered(number: u64) -> TestImage {
    let bytes = |seed: u64, size: usize| {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..size).map(|_| rng.u8(..)).collect::<Vec<u8>>()
    };
    let changed = |seed, version: u64| [bytes(seed, 40_000), version.to_le_bytes().to_vec()].concat();
    let mut base = LayerBuilder::new();
    base.dir("usr").file("usr/base", changed(1, number.min(2))).file("usr/other", bytes(2, 20_000));
    let mut lib = LayerBuilder::new();
    lib.dir("usr").dir("usr/lib").file("usr/lib/lib", bytes(3, 30_000));
    let mut app = LayerBuilder::new();
    app.dir("app").file("app/app", changed(4, number)).file("app/data", bytes(5, 10_000));
    if number > 2 {
        app.file("app/base", changed(1, number)).file("app/lib", [&bytes(3, 30_000)[..], b"more"].concat());
    }
    let mut notes = LayerBuilder::new();
    notes.file("notes", format!("{number}"));
    let layers = [base, lib, app, notes].map(|mut layer| layer.finish(Ending::Normal));
    TestImage::new(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_several_layers_are_merged_layer_by_layer() {
    let images: Vec<TestImage> = (1..=4).map(layered).collect();
    let bench = bench_of(&images).await;
    for (from, to) in [("v1", "v2"), ("v2", "v3"), ("v3", "v4")] {
        publish(&bench, from, to, false).await;
    }
    let new = bench.images("v4").await.images[0].clone();
    bench.registry.take_requests();
    let report = publish(&bench, "v1", "v4", true).await;
    let requests = bench.registry.take_requests();
    let [base, app, notes] = [0, 2, 3].map(|index| {
        let mut deltas = report.deltas.iter().filter(|delta| delta.diff_id == new.layers[index].diff_id);
        let delta = deltas.next().unwrap_or_else(|| panic!("{report:?}"));
        assert!(deltas.next().is_none(), "{report:?}");
        delta
    });
    // That of the base is published already, to the release that changed it.
    assert_eq!((base.outcome, base.merged.unwrap().deltas), (Outcome::Published, 1));
    // Those of the application read the base of the second release, too.
    assert_eq!((app.outcome, app.merged.unwrap().deltas), (Outcome::Published, 4), "{app:?}");
    assert!(app.delta_size.unwrap() < 2000, "{app:?}");
    assert_eq!(asked_for(&requests, new.layers[2].digest.0), 0);
    assert_eq!((notes.outcome, notes.merged), (Outcome::NotSmaller, None));
    assert!(notes.not_merged.as_ref().unwrap().contains("smaller than the blob"), "{notes:?}");

    // Once the artifact is there, nothing is looked for that could be merged, also for the notes.
    let between = bench.images("v2").await.images[0].config_digest;
    assert!(asked_for(&requests, between) > 0);
    bench.registry.take_requests();
    let again = publish(&bench, "v1", "v4", true).await;
    assert!(again.deltas.iter().all(|delta| delta.outcome == Outcome::AlreadyThere), "{again:?}");
    assert_eq!(asked_for(&bench.registry.take_requests(), between), 0);

    let store = bench.path("store");
    bench.pull("v1", &store, &Watch::nothing()).await.unwrap();
    let pulled = bench.pull("v4", &store, &Watch::nothing()).await.unwrap();
    for index in [0, 2] {
        assert!(matches!(pulled.layers[index].from, Origin::Delta(_)), "{pulled:?}");
        assert_eq!(pulled.layers[index].steps.len(), 1);
    }
    assert_eq!(stored_layers(&store, "v4"), images[3].layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delta_index_has_merged_deltas_of_the_last_layer() {
    let (bench, _) = bench(2).await;
    for (from, to) in [("v1", "v2"), ("v2", "v3")] {
        publish(&bench, from, to, false).await;
    }
    let report = publish(&bench, "v1", "v3", true).await;
    let layouts: Vec<_> =
        report.deltas.iter().map(|delta| (delta.layout, delta.merged.unwrap().deltas)).collect();
    assert_eq!(layouts, [(Published::Artifact, 2), (Published::DeltaIndex, 2)], "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_merged_is_made_of_the_layers() {
    let (bench, _) = bench(2).await;
    let reasons = |report: &PublishReport| {
        assert!(report.deltas.iter().any(|delta| delta.outcome == Outcome::Published), "{report:?}");
        assert!(report.deltas.iter().all(|delta| delta.merged.is_none()), "{report:?}");
        let reasons = report.deltas.iter().map(|delta| delta.not_merged.clone().unwrap());
        reasons.collect::<Vec<String>>()
    };
    for reason in reasons(&publish(&bench, "v1", "v3", true).await) {
        assert!(reason.contains("no deltas are published that follow each other"), "{reason}");
    }
    // A tardf2 is made of whole files.
    let options = MakeOptions::default().diff(DiffOptions::default().method(Method::Zstd));
    for (from, to) in [("v1", "v2"), ("v2", "v4")] {
        let (old, new) = (bench.images(from).await, bench.images(to).await);
        let repository = bench.repository();
        let publisher = Publisher::new(&repository, &new).old(&old).options(options.clone());
        publisher.delta_index(false).publish().await.unwrap();
    }
    let (old, new) = (bench.images("v1").await, bench.images("v4").await);
    let repository = bench.repository();
    let publisher = Publisher::new(&repository, &new).old(&old).delta_index(false).merge(true);
    for reason in reasons(&publisher.publish().await.unwrap()) {
        assert!(reason.contains("it is a tardf2"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_tardf2_is_not_taken_where_a_tardf1_is_asked_for() {
    let images: Vec<TestImage> = (1..=3).map(layered).collect();
    let bench = bench_of(&images).await;
    let (old, new) = (bench.images("v1").await, bench.images("v2").await);
    let repository = bench.repository();
    let options = MakeOptions::default().diff(DiffOptions::default().method(Method::Zstd));
    let publisher = Publisher::new(&repository, &new).old(&old).options(options);
    publisher.delta_index(false).publish().await.unwrap();
    publish(&bench, "v2", "v3", false).await;
    // The second and the third release have the same base.
    let base = new.images[0].layers[0].diff_id;
    let report = publish(&bench, "v1", "v3", true).await;
    let of_base: Vec<_> = report.deltas.iter().filter(|delta| delta.diff_id == base).collect();
    assert!(!of_base.is_empty());
    for delta in of_base {
        assert_eq!((delta.outcome, delta.merged), (Outcome::Published, None), "{delta:?}");
        assert!(delta.not_merged.as_ref().unwrap().contains("tardf2"), "{delta:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_force_deltas_are_made_of_the_layers_and_that_is_said() {
    let (bench, _) = bench(1).await;
    for (from, to) in [("v1", "v2"), ("v2", "v3")] {
        publish(&bench, from, to, false).await;
    }
    let (old, new) = (bench.images("v1").await, bench.images("v3").await);
    let repository = bench.repository();
    let report = Publisher::new(&repository, &new).old(&old).merge(true).force(true).publish().await.unwrap();
    assert!(report.deltas.iter().all(|delta| delta.merged.is_none()), "{report:?}");
    assert!(
        report.deltas.iter().all(|delta| delta.not_merged.as_ref().unwrap().contains("--force")),
        "{report:?}"
    );
}
