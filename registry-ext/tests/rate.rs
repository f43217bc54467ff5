//! A pull within a limit of its rate.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::Bench;
use crate::support::images::stored_layers;
use crate::support::server::Switches;
use registry_ext::pull::Puller;
use registry_ext::store::{OciLayout, PullTarget};

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_within_a_limit_comes_whole() {
    let bench = Bench::new(Switches::default()).await;
    let image = bench.images("v1").await.images.remove(0);
    // Long enough for some pauses.
    let rate = image.size() * 2;
    let repository = bench.repository().at_rate(rate);
    assert_eq!(repository.line_rate(), Some(rate), "what comes later than this is no fault of the registry");
    let layout = OciLayout::create(&bench.path("store")).unwrap();
    let target = PullTarget::layout(layout, Some("v1"));
    let report = Puller::new(&repository, &image).into(target).await.unwrap();
    assert!(report.fetched >= report.plain);
    assert_eq!(stored_layers(&bench.path("store"), "v1"), bench.images.0.layers);
}
