//! `pull --exact`: the image under its own digest, although its layers came as deltas.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::docker_registry::{DockerRegistry, Setup, run};
use crate::support::images::{push, stored_layers, write_blobs};
use crate::support::server::{Registry, Switches};
use crate::support::{json, open, options, registry_ext};
use fixtures::{Corpus, Ending, LayerBuilder, filter};
use layer::Digest;
use registry_ext::store::OciLayout;
use serde_json::{Value, json as json_of};
use tempfile::TempDir;

/// The compression of a layer.
#[derive(Clone, Copy)]
enum By {
    Program(&'static str, &'static [&'static str]),
    /// By the libzstd that is linked: another version makes other bytes.
    Zstd(i32),
    /// In a gzip member for each few bytes: all their checksums are more than a recipe may take.
    Nobody,
    Nothing,
}

impl By {
    fn compress(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Program(program, args) => filter(program, args, tar),
            Self::Zstd(level) => zstd::encode_all(tar, level).unwrap(),
            Self::Nobody => {
                let mut file = Vec::new();
                for (index, chunk) in tar.chunks(200).enumerate() {
                    let level = flate2::Compression::new([0, 1, 9, 4][index % 4]);
                    let mut encoder = flate2::write::GzEncoder::new(&mut file, level);
                    encoder.write_all(chunk).unwrap();
                    encoder.finish().unwrap();
                }
                file
            }
            Self::Nothing => tar.to_vec(),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Zstd(_) => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Nothing => "application/vnd.oci.image.layer.v1.tar",
            _ => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

/// The layers of the test: all but the last can be made again.
const LAYERS: [By; 6] = [
    By::Program("gzip", &["-1n"]),
    By::Program("gzip", &["-9n"]),
    By::Zstd(3),
    By::Zstd(19),
    // skopeo compresses it.
    By::Nothing,
    By::Nobody,
];
const NOBODY: usize = 6;

/// Writes an old and a new image of these layers, on a layer that both have, as v1 and v2.
fn write_pair(dir: &Path) -> OciLayout {
    let layout = OciLayout::create(&dir.join("images")).unwrap();
    let base = LayerBuilder::new().file("etc/os-release", "NAME=test\n").finish(Ending::Normal);
    let mut images = [vec![(By::Program("gzip", &["-6n"]), base.clone())], vec![(By::Nothing, base)]];
    images[1][0].0 = images[0][0].0;
    for (seed, by) in (1..).zip(LAYERS) {
        // skopeo's writer flushes after a MiB.
        let files = if matches!(by, By::Nothing) { 300 } else { 30 };
        let corpus = Corpus { seed, files, mean_size: 8 << 10, ..Corpus::default() };
        let (old, new) = corpus.pair();
        images[0].push((by, old));
        images[1].push((by, new));
    }
    for (image, tag) in images.iter().zip(["v1", "v2"]) {
        write_image(&layout, tag, image);
    }
    layout
}

fn write_image(layout: &OciLayout, tag: &str, layers: &[(By, Vec<u8>)]) {
    let blobs = layers.iter().map(|(by, tar)| (by.media_type(), by.compress(tar))).collect();
    let tars: Vec<Vec<u8>> = layers.iter().map(|(_, tar)| tar.clone()).collect();
    layout.put_manifest(&write_blobs(layout, "amd64", &tars, blobs), Some(tag)).unwrap();
}

/// The blobs and the manifest that a layout has under a tag.
fn stored(layout: &Path, tag: &str) -> Value {
    let raw = run("skopeo", &["inspect", "--raw", &format!("oci:{}:{tag}", layout.display())]);
    json_of!({ "digest": Digest::of(raw.as_bytes()).to_string(), "manifest": raw })
}

fn origins(report: &Value) -> Vec<&str> {
    let layers = report["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["from"].as_str().unwrap_or("delta")).collect()
}

#[test]
fn the_manifest_is_the_one_that_skopeo_gets() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let layout = write_pair(dir.path());
    let app = format!("{}/app", registry.address());
    for tag in ["v1", "v2"] {
        let from = format!("oci:{}:{tag}", layout.dir().display());
        run("skopeo", &["copy", "-q", "--dest-tls-verify=false", &from, &format!("docker://{app}:{tag}")]);
    }
    let without = json(&format!("publish {app}:v2 --from {app}:v1 --for flatpak,oci-delta --no-exact"));
    assert!(without["recipes"].as_array().unwrap().is_empty());
    let published = json(&format!("publish {app}:v2 --from {app}:v1 --exact"));
    let recipes = published["recipes"].as_array().unwrap();
    assert!(recipes[..5].iter().all(|recipe| recipe["outcome"] == "published"), "{published:#}");
    assert!(recipes[5]["outcome"]["refused"].is_string(), "{published:#}");
    assert!(recipes[..4].iter().all(|recipe| recipe["recipe_size"].as_u64() < Some(100)), "{published:#}");
    let of_skopeo = |key: &str| recipes[4][key].as_u64().unwrap();
    assert!(of_skopeo("recipe_size") * 250 < of_skopeo("blob_size"), "{published:#}");
    let again = json(&format!("publish {app}:v2 --from {app}:v1 --exact"));
    assert_eq!(again["recipes"][0]["outcome"], "already-there");
    assert!(again["recipe_artifacts"].as_array().unwrap().is_empty());
    let forced = json(&format!("publish {app}:v2 --from {app}:v1 --exact --force"));
    assert_eq!(forced["recipe_artifacts"], published["recipe_artifacts"]);

    let listed = json(&format!("list {app}:v2"));
    // In each of the three layouts.
    assert_eq!(listed.as_array().unwrap().iter().filter(|delta| delta["exact"] == false).count(), 3);
    let verified = json(&format!("verify {app}:v2"));
    let of_recipes: Vec<&Value> = verified
        .as_array()
        .unwrap()
        .iter()
        .filter(|checked| checked["layout"] == "blob-recipes")
        .map(|checked| &checked["verdict"])
        .collect();
    assert_eq!(of_recipes, ["right"; 5], "{verified:#}");

    let plain = dir.path().join("plain");
    let to = format!("oci:{}:v2", plain.display());
    run("skopeo", &["copy", "-q", "--src-tls-verify=false", &format!("docker://{app}:v2"), &to]);
    let store = dir.path().join("store");
    let into = format!("--into oci:{}", store.display());
    json(&format!("pull {app}:v1 {into}"));
    let report = json(&format!("pull {app}:v2 {into} --exact"));
    let deltas = ["local", "delta", "delta", "delta", "delta", "delta", "blob"];
    assert_eq!(origins(&report), deltas, "{report:#}");
    assert_eq!(report["manifest"], report["stored_manifest"]);
    assert_eq!(stored(&store, "v2"), stored(&plain, "v2"));
    assert_eq!(stored_layers(&store, "v2"), stored_layers(&plain, "v2"));
    assert!(report["fetched"].as_u64() < report["plain"].as_u64(), "{report:#}");
    assert_eq!(report["layers"][NOBODY]["fetched"], report["layers"][NOBODY]["blob_size"]);

    // What was pulled without becomes exact by the recipes alone.
    let store = dir.path().join("later");
    let into = format!("--into oci:{}", store.display());
    json(&format!("pull {app}:v1 {into}"));
    let report = json(&format!("pull {app}:v2 {into}"));
    assert_ne!(report["manifest"], report["stored_manifest"]);
    let report = json(&format!("pull {app}:v2 {into} --exact"));
    let local = ["local", "local", "local", "local", "local", "local", "blob"];
    assert_eq!(origins(&report), local, "{report:#}");
    assert_eq!(stored(&store, "v2"), stored(&plain, "v2"));

    let kept = json(&format!("prune {app}:v2 --keep {app}:v1"));
    assert!(kept[0]["recipe_artifacts"].as_array().unwrap().is_empty());
    let pruned = json(&format!("prune {app}:v2 --yes"));
    assert_eq!(pruned[0]["recipe_artifacts"], published["recipe_artifacts"]);
    let tags = run("skopeo", &["list-tags", "--tls-verify=false", &format!("docker://{app}")]);
    assert!(!tags.contains("sha256-"), "{tags}");
}

/// Layers that others compressed, with the name of what did it, and the bytes that the recipe has at most.
/// Those of gzip have 20 files, those of zstd 40.
const OF_OTHERS: [(&str, u64, &[u8]); 5] = [
    ("Go 1.27, default", 60, include_bytes!("../../fixtures/encoders/go-1.27.0-default.tar.gz")),
    ("Go 1.26, level 1", 60, include_bytes!("../../fixtures/encoders/go-1.26.0-level-1.tar.gz")),
    ("skopeo 1.9", 60, include_bytes!("../../fixtures/encoders/skopeo-1.9.3.tar.zst")),
    // The table of contents has the names and times of the files.
    (
        "skopeo 1.9, zstd:chunked",
        1300,
        include_bytes!("../../fixtures/encoders/skopeo-1.9.3-chunked.tar.zst"),
    ),
    ("klauspost/compress 1.19", 60, include_bytes!("../../fixtures/encoders/klauspost-1.19.0.tar.zst")),
];

#[test]
fn layers_of_others_come_as_deltas_and_are_the_blobs_of_the_registry() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    for (index, (name, max, blob)) in OF_OTHERS.into_iter().enumerate() {
        let layout = OciLayout::create(&dir.path().join(format!("images{index}"))).unwrap();
        let app = format!("{}/app{index}", registry.address());
        let (program, by, files) = match blob {
            [0x1f, 0x8b, ..] => ("gzip", By::Program("gzip", &[]), 20),
            _ => ("zstd", By::Zstd(0), 40),
        };
        let (old, _) = Corpus { seed: 40, files, mean_size: 3 << 10, ..Corpus::default() }.pair();
        write_image(&layout, "v1", &[(By::Program("gzip", &["-6n"]), old)]);
        let tar = filter(program, &["-dc"], blob);
        let image = write_blobs(&layout, "amd64", &[tar], vec![(by.media_type(), blob.to_vec())]);
        layout.put_manifest(&image, Some("v2")).unwrap();
        for tag in ["v1", "v2"] {
            let from = format!("oci:{}:{tag}", layout.dir().display());
            run(
                "skopeo",
                &["copy", "-q", "--dest-tls-verify=false", &from, &format!("docker://{app}:{tag}")],
            );
        }
        let published = json(&format!("publish {app}:v2 --from {app}:v1 --exact"));
        let recipe = &published["recipes"][0];
        assert_eq!(recipe["outcome"], "published", "{name}: {published:#}");
        assert!(recipe["recipe_size"].as_u64() < Some(max), "{name}: {published:#}");
        let store = dir.path().join(format!("store{index}"));
        let into = format!("--into oci:{}", store.display());
        json(&format!("pull {app}:v1 {into}"));
        let report = json(&format!("pull {app}:v2 {into} --exact"));
        assert_eq!(origins(&report), ["delta"], "{name}: {report:#}");
        assert_eq!(report["manifest"], report["stored_manifest"], "{name}");
        assert_eq!(stored(&store, "v2"), stored(layout.dir(), "v2"), "{name}");
    }
}

#[test]
fn layouts_and_archives_are_exact_other_stores_refuse() {
    let dir = TempDir::new().unwrap();
    let layout = write_pair(dir.path());
    let images = layout.dir().display();
    json(&format!("publish oci:{images}:v2 --from oci:{images}:v1 --exact --for oci-delta"));
    let archive = dir.path().join("host.tar").display().to_string();
    json(&format!("pull oci:{images}:v1 --into oci-archive:{archive}"));
    let report = json(&format!("pull oci:{images}:v2 --into oci-archive:{archive} --exact"));
    assert_eq!(report["manifest"], report["stored_manifest"]);
    assert!(origins(&report).contains(&"delta"));
    for store in ["tree:x", "containers-storage:x"] {
        registry_ext(&format!("pull oci:{images}:v2 --into {store} --exact")).assert().code(1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_that_fails_costs_a_warning_and_the_blob() {
    let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
    let dir = TempDir::new().unwrap();
    let layout = write_pair(dir.path());
    let app = format!("{}/app", registry.address());
    for tag in ["v1", "v2"] {
        push(&layout, tag, &open(&app, &options(), dir.path())).await;
    }
    let store: PathBuf = dir.path().join("store");
    let run = async |line: String| tokio::task::spawn_blocking(move || json(&line)).await.unwrap();
    run(format!("publish {app}:v2 --from {app}:v1 --exact --for oci-delta")).await;
    run(format!("pull {app}:v1 --into oci:{}", store.display())).await;
    let verified = run(format!("verify {app}:v2")).await;
    let recipes: Vec<&Value> =
        verified.as_array().unwrap().iter().filter(|checked| checked["layout"] == "blob-recipes").collect();
    for recipe in &recipes {
        registry
            .corrupt_blob("app", recipe["blob"].as_str().unwrap(), |bytes| *bytes.last_mut().unwrap() ^= 1);
    }
    let report = run(format!("pull {app}:v2 --into oci:{} --exact", store.display())).await;
    assert_eq!(origins(&report).iter().filter(|origin| **origin == "blob").count(), 1 + recipes.len());
    assert_eq!(report["manifest"], report["stored_manifest"]);
    assert_eq!(
        report["layers"].as_array().unwrap().iter().filter(|l| l["delta_failed"].is_string()).count(),
        4
    );
}
