//! Layers that are no tar that can be read: each costs its own delta and a warning, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::warnings;
use crate::support::images::{TestImage, images_of, pair, push, stored_layers, write_images};
use crate::support::server::{Registry, Switches};
use crate::support::{open, options};
use layer::{DiffId, Digest};
use registry_ext::delta::MakeOptions;
use registry_ext::discover::discover;
use registry_ext::image::Image;
use registry_ext::image::Images;
use registry_ext::publish::{Outcome, PublishReport, RecipeOutcome, Recipes};
use registry_ext::pull::{Origin, Puller};
use registry_ext::repository::Repository;
use registry_ext::store::{OciLayout, PullTarget};
use registry_ext::verify::Verdict;
use registry_ext::watch::Watch;
use registry_ext::{Measurer, Publisher, Verifier};
use tempfile::TempDir;

/// A registry with an old image `v1` and a new one `v2`.
struct Pair {
    _registry: Registry,
    dir: TempDir,
    name: String,
}

impl Pair {
    async fn new(old: &TestImage, new: &TestImage) -> Self {
        let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
        let dir = TempDir::new().unwrap();
        let layout = write_images(dir.path(), &[(old, "v1"), (new, "v2")]);
        let pair = Self { name: format!("{}/app", registry.address()), _registry: registry, dir };
        push(&layout, "v1", &pair.repository()).await;
        push(&layout, "v2", &pair.repository()).await;
        pair
    }

    fn repository(&self) -> Repository {
        open(&self.name, &options(), self.dir.path())
    }

    async fn images(&self, tag: &str) -> Images {
        images_of(self.repository(), tag, self.dir.path()).await
    }

    async fn publish(&self, watch: &Watch) -> PublishReport {
        let mut options = MakeOptions::default();
        options.diff.sees_through = true;
        let (new, old) = (self.images("v2").await, self.images("v1").await);
        let repository = self.repository();
        let publisher = Publisher::new(&repository, &new).old(&old).options(options).watch(watch);
        publisher.delta_index_max_layers(usize::MAX).recipes(Recipes::All).publish().await.unwrap()
    }

    async fn image(&self, tag: &str) -> Image {
        self.images(tag).await.images.remove(0)
    }
}

/// The outcomes of the deltas of a layer, in every layout.
fn outcomes(report: &PublishReport, layer: &[u8]) -> Vec<Outcome> {
    let diff_id = DiffId(Digest::of(layer));
    report.deltas.iter().filter(|delta| delta.diff_id == diff_id).map(|delta| delta.outcome).collect()
}

/// Layers of an artifact that somebody calls an image, and of a build that broke off.
fn unreadable(tar: &[u8]) -> [Vec<u8>; 3] {
    [br#"{"a": "document"}"#.to_vec(), tar[..tar.len() / 2 / 512 * 512 - 100].to_vec(), vec![7; 3000]]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_layer_that_is_no_tar_is_carried_whole() {
    let (old, mut new) = pair();
    let readable = new.layers[1].clone();
    let unreadable = unreadable(&readable);
    new.layers.truncate(2);
    new.layers.extend(unreadable.clone());
    let pair = Pair::new(&old, &new).await;
    let (watch, seen) = warnings();
    let report = pair.publish(&watch).await;
    for layer in &unreadable {
        let outcomes = outcomes(&report, layer);
        assert!(!outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == Outcome::Failed));
    }
    assert!(outcomes(&report, &readable).contains(&Outcome::Published), "{:?}", report.deltas);
    let seen = seen.lock().unwrap().clone();
    let of_deltas: Vec<&String> = seen.iter().filter(|text| text.contains("is fetched whole")).collect();
    assert_eq!(of_deltas.len(), unreadable.len(), "one for each layer: {seen:?}");
    assert!(of_deltas.iter().any(|text| text.contains("is no tar: it is a JSON document")), "{seen:?}");
    assert!(of_deltas.iter().any(|text| text.contains("is cut off")), "{seen:?}");

    let image = pair.image("v2").await;
    let found = discover(&pair.repository(), &image).await;
    assert!(!found.artifacts.is_empty() && found.warnings.is_empty(), "{:?}", found.warnings);
    let layout = OciLayout::create(&pair.dir.path().join("store")).unwrap();
    for (tag, image) in [("v1", pair.image("v1").await), ("v2", image)] {
        let (watch, seen) = warnings();
        let target = PullTarget::layout(layout.clone(), Some(tag));
        let report = Puller::new(&pair.repository(), &image).watch(&watch).into(target).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [""; 0], "{tag}");
        if tag == "v2" {
            assert!(matches!(report.layers[1].from, Origin::Delta(_)));
            assert!(report.layers[2..].iter().all(|layer| layer.from == Origin::Blob));
        }
    }
    assert_eq!(stored_layers(&pair.dir.path().join("store"), "v2"), new.layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_old_layer_that_is_no_tar_there_are_no_deltas() {
    let (mut old, new) = pair();
    let [document, _, _] = unreadable(&old.layers[1]);
    old.layers.insert(1, document);
    let pair = Pair::new(&old, &new).await;
    let (watch, seen) = warnings();
    let report = pair.publish(&watch).await;
    assert!(report.artifacts.is_empty());
    // `_deltaindex` reads the last layer of the old image alone.
    assert_eq!(outcomes(&report, &new.layers[1]), [Outcome::Failed, Outcome::Published]);
    assert_eq!(report.recipes[0].outcome, RecipeOutcome::Published);
    let seen = seen.lock().unwrap().clone();
    assert!(seen.iter().all(|text| text.contains("is no tar: it is a JSON document")), "{seen:?}");

    let (old, images) = (pair.images("v1").await, pair.images("v2").await);
    let measured = Measurer::new().delta_index_max_layers(0).images(&old, &images).await.unwrap();
    assert_eq!(measured[0].with_deltas, measured[0].plain);
    let failed = measured[0].layers.iter().filter(|layer| layer.has_failed).map(|layer| layer.blob_size);
    assert_eq!(measured[0].with_deltas, failed.sum::<u64>());
    let repository = pair.repository();
    let checked = Verifier::new(&repository, &images.images[0]).old(&old).watch(&watch).verify().await;
    assert!(checked.unwrap().iter().all(|checked| checked.verdict == Verdict::Right));
}
