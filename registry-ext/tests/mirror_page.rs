//! The page of a mirror in a real browser: it says what each pull saved and why not more, at any width.
//!
//! Skipped only where `BENCHES_SKIP_BROWSER` is set.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

#[path = "../../benches/tests/support/browser.rs"]
mod browser;
use std::path::Path;
use std::time::Duration;

use crate::support::mirror::{TestMirror, bench, delta_and_recipe};
use axum::http::{Method, Response};
use browser::{WIDTHS, assert_is_picture, is_left_out, open_in_browser};
use registry_ext::store::StoreRef;
use serde_json::Value;

/// Asserts that a page is whole and readable in a browser.
fn is_readable(page: &str, dir: &Path) {
    for width in WIDTHS {
        let (seen, log) = open_in_browser(page, width, dir);
        assert_eq!(seen["width"], u64::from(width));
        assert_eq!(seen["errors"], Value::Array(Vec::new()));
        assert!(!log.contains("CONSOLE"), "{log}");
        assert_eq!(seen["overlaps"], Value::Array(Vec::new()), "at {width} px: {page}");
        assert!(seen["overflow"].as_i64().unwrap() <= 0, "the page is wider than {width} px: {page}");
        assert!(seen["texts"].as_u64().unwrap() > 20, "{seen}");
        assert_is_picture(&dir.join(format!("{width}.png")));
        if let Some(to) = std::env::var_os("BENCHES_SCREENSHOTS") {
            let name = format!("mirror-{width}.png");
            std::fs::copy(dir.join(format!("{width}.png")), Path::new(&to).join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_whole_and_readable_in_a_browser() {
    if is_left_out() {
        return;
    }
    let (bench, image) = bench().await;
    let delta = delta_and_recipe(&bench, &image).await[0].clone();
    for is_broken in [true, false] {
        if is_broken {
            let path = format!("blobs/{delta}");
            bench.registry.lie(move |call| {
                let is_delta = call.uri.path().ends_with(&path) && call.method == Method::GET;
                is_delta.then(|| Response::new(vec![7; 500].into()))
            });
        } else {
            bench.registry.be_honest();
        }
        let (old, tags) =
            (bench.path("old"), ["v2", "a-tag-with-quite-a-long-name-that-nobody-has-ever-pushed"]);
        let mirror = TestMirror::start(&bench, |options| {
            options.sources.push(StoreRef::Layout(old, None));
            options.prefetch.every = Duration::from_secs(3600);
            options.prefetch.platform = "linux/amd64".parse().unwrap();
            options.prefetch.tags = tags.map(|tag| format!("{}:{tag}", bench.name()).parse().unwrap()).into();
        })
        .await;
        mirror.pull(&bench, "v1").await.unwrap();
        mirror.pull(&bench, "v2").await.unwrap();
        mirror.wait_for("the registry has no such tag any more").await;
        let page = mirror.page().await;
        let outcome = if is_broken { "fetched: no delta makes it: " } else { "made of a delta" };
        let here = format!("here: {}", image.manifest.digest);
        for part in [outcome, "fetched: no delta of it is published", "saved by deltas", tags[1], &here] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for layer in &image.layers {
            assert!(page.contains(&layer.digest.to_string()["sha256:".len()..][..12]), "{page}");
        }
        let dir = bench.dir.path().to_owned();
        tokio::task::spawn_blocking(move || is_readable(&page, &dir)).await.unwrap();
        mirror.stop().await;
        std::fs::remove_dir_all(bench.path("cache")).unwrap();
    }
}
