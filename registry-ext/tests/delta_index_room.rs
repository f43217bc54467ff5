//! A `_deltaindex` that has no room left: what saves least is left out of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::warnings;
use crate::support::images::{images_of, pair, write_images};
use layer::Digest;
use registry_ext::artifact::delta_index;
use registry_ext::oci::{Manifest, Name, parse_index};
use registry_ext::publish::{Outcome, Publisher};
use registry_ext::repository::Repository;
use serde_json::json;
use tempfile::TempDir;

const MAX_SIZE: usize = 4 << 20;

/// An index with entries for so many images that are not there.
fn index(count: u32) -> Manifest {
    let entry = |number: u32| {
        let digest = Digest::of(&number.to_le_bytes()).to_string();
        let annotations = json!({"io.github.containers.delta.target": digest});
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 900,
            "annotations": annotations})
    };
    let entries: Vec<_> = (0..count).map(entry).collect();
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries});
    Manifest::new(index.to_string().into_bytes(), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_are_gone_make_room_for_one_that_is_there() {
    let dir = TempDir::new().unwrap();
    let (old, new) = pair();
    let layout = write_images(dir.path(), &[(&old, "v1"), (&new, "v2")]);
    let (of_one, of_two) = (index(1).bytes.len(), index(2).bytes.len());
    let count = u32::try_from((MAX_SIZE - of_one) / (of_two - of_one) + 1).unwrap();
    let full = index(count);
    assert!(full.bytes.len() <= MAX_SIZE && full.bytes.len() + of_two - of_one > MAX_SIZE);
    layout.put_manifest(&full, Some("_deltaindex")).unwrap();

    let repository = Repository::Layout(layout.clone());
    let (old, new) = (
        images_of(repository.clone(), "v1", dir.path()).await,
        images_of(repository.clone(), "v2", dir.path()).await,
    );
    let (watch, seen) = warnings();
    let publisher = Publisher::new(&repository, &new).old(&old).artifact(false).watch(&watch);
    let report = publisher.publish().await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(seen.iter().any(|warning| warning.contains("is full") && warning.contains("prune")), "{seen:?}");
    assert!(report.deltas.iter().any(|delta| delta.outcome == Outcome::Published));
    assert_eq!(report.delta_manifests.len(), 1);

    let index = layout.manifest(&Name::Tag("_deltaindex".into())).unwrap().unwrap();
    assert!(index.bytes.len() <= MAX_SIZE);
    let index = parse_index("_deltaindex", &index.bytes).unwrap();
    assert_eq!(delta_index::entries_for(&index, new.images[0].manifest.digest).len(), 1);
    assert!(index.manifests().len() > usize::try_from(count).unwrap() - 1024);
}
