//! Deltas that are merged of published ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::Bench;
use crate::support::images::{TestImage, push, stored_layers, write_images};
use crate::support::mirror::asked_for;
use crate::support::options;
use crate::support::server::{Registry, Switches};
use fixtures::{Ending, LayerBuilder};
use registry_ext::publish::{Outcome, PublishReport, Publisher};
use registry_ext::pull::Origin;
use registry_ext::watch::Watch;
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
    let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let images: Vec<TestImage> = (1..=4).map(|number| release(number, layers)).collect();
    let pair = (images[0].clone(), images[1].clone());
    let bench = Bench { registry, dir: TempDir::new().unwrap(), images: pair, options: options() };
    let named: Vec<_> = images.iter().zip(["v1", "v2", "v3", "v4"]).collect();
    let layout = write_images(bench.dir.path(), &named);
    for (_, tag) in named {
        push(&layout, tag, &bench.repository()).await;
    }
    (bench, images)
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

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_merged_is_made_of_the_layers() {
    let (bench, _) = bench(2).await;
    publish(&bench, "v1", "v2", false).await;
    publish(&bench, "v2", "v3", false).await;
    let report = publish(&bench, "v1", "v3", true).await;
    assert!(report.deltas.iter().any(|delta| delta.outcome == Outcome::Published));
    assert!(report.deltas.iter().all(|delta| delta.merged.is_none()));
}
