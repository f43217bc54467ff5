//! The order in which a publisher writes, and what a plan says of what a killed one has left.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::Bench;
use crate::support::images::{TestImage, push, write_images};
use crate::support::server::Switches;
use registry_ext::Planner;
use registry_ext::plan::{Policy, Verdict};
use registry_ext::publish::Recipes;

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_written_last_and_what_lacks_one_is_planned_again() {
    let bench = Bench::new(Switches::default()).await;
    bench.registry.take_requests();
    let report = bench.publish(|to| to.recipes(Recipes::WithDeltas)).await.unwrap();
    let written = bench.registry.take_requests();
    let put = |name: &str| {
        let is_put =
            |request: &String| request.starts_with("PUT") && request.contains(&format!("manifests/{name}"));
        written.iter().rposition(is_put).unwrap()
    };
    let artifact = put(&report.artifacts[0].to_string());
    assert!(put("_deltaindex") < artifact && put(&report.recipe_artifacts[0].to_string()) < artifact);

    let (policy, repository) = (Policy::default(), bench.repository());
    let verdict = async || {
        let plan = Planner::new(&policy).temp_dir(bench.dir.path()).survey(&repository).await.unwrap();
        assert_eq!(plan.pairs.len(), 1);
        plan.pairs[0].verdict
    };
    assert_eq!(verdict().await, Verdict::Published);
    // As if the publisher had been killed before.
    assert!(repository.delete_manifest(report.artifacts[0]).await.unwrap());
    assert_eq!(verdict().await, Verdict::Make);
    bench.publish(|to| to.recipes(Recipes::WithDeltas)).await.unwrap();
    assert_eq!(verdict().await, Verdict::Published);
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_for_flatpak_alone_need_no_artifact() {
    let bench = Bench::new(Switches::default()).await;
    let (old, new) = &bench.images;
    let images = [old, new].map(|image| TestImage::new(&[&image.layers[1]]));
    let dir = bench.path("flatpak");
    std::fs::create_dir(&dir).unwrap();
    let layout = write_images(&dir, &[(&images[0], "v1"), (&images[1], "v2")]);
    for tag in ["v1", "v2"] {
        push(&layout, tag, &bench.repository()).await;
    }
    bench.publish(|to| to.artifact(false)).await.unwrap();
    let policy = Policy::default();
    let plan = Planner::new(&policy).temp_dir(bench.dir.path()).survey(&bench.repository()).await.unwrap();
    assert_eq!(plan.pairs[0].verdict, Verdict::Published);
}
