//! Deltas that see through compression: beside the others, unseen by other clients, used where they are
//! smaller, and left where they fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::support::docker_registry::{DockerRegistry, Setup, run};
use crate::support::images::{TestImage, push, stored_layers, write_images};
use crate::support::server::{Registry, Switches};
use crate::support::{json, open, options};
use delta_format::{Encoding, OpWriter, Reencoding, Version};
use fixtures::{Corpus, Ending, LayerBuilder, Rng, contents, filter};
use layer::Digest;
use registry_ext::artifact::oci_delta::{ArtifactLayer, Kind, OciDelta};
use registry_ext::artifact::{ANNOTATION_TO, TAR_DIFF, TAR_DIFF_V3};
use registry_ext::discover::discover;
use registry_ext::image::resolve_all;
use registry_ext::oci::{Manifest, Name, descriptor_of, digest_of, parse_manifest};
use registry_ext::repository::Repository;
use registry_ext::store::OciLayout;
use registry_ext::watch::Watch;
use serde_json::Value;
use tempfile::TempDir;

/// A layer with compressed files, as distributions ship them. `changes` are made in each.
fn compressed(changes: usize) -> Vec<u8> {
    let mut layer = LayerBuilder::new();
    for (seed, name) in (1..).zip(["fs/ext4.ko.xz", "net/wireless.ko.xz", "doc/changelog.gz", "sound.ko.xz"])
    {
        let mut content = contents::program(seed, 60 << 10, 0);
        fixtures::mutate::scatter(&mut content, &mut Rng::new(seed), changes, 3);
        let file = match name.ends_with(".gz") {
            true => filter("gzip", &["-9n"], &content),
            false => filter("xz", &["-6"], &content),
        };
        layer.file(name, file);
    }
    layer.finish(Ending::Normal)
}

/// An old and a new image: a layer that they share, one with compressed files, one without.
fn pair() -> (TestImage, TestImage) {
    let corpus = Corpus { seed: 3, files: 40, mean_size: 8 << 10, ..Corpus::default() };
    let (old, new) = corpus.pair();
    let base = LayerBuilder::new().file("etc/os-release", "NAME=test\n").finish(Ending::Normal);
    (TestImage::new(&[&base, &compressed(0), &old]), TestImage::new(&[&base, &compressed(20), &new]))
}

fn layout(dir: &Path, images: &(TestImage, TestImage)) -> OciLayout {
    write_images(dir, &[(&images.0, "v1"), (&images.1, "v2")])
}

/// The values of a key over a JSON array.
fn column<'v>(array: &'v Value, key: &str) -> Vec<&'v Value> {
    array.as_array().unwrap().iter().map(|entry| &entry[key]).collect()
}

#[test]
fn beside_the_others_and_pulled_where_smaller() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = layout(dir.path(), &images);
    let [plain, app] = ["plain", "app"].map(|name| format!("{}/{name}", registry.address()));
    for repository in [&plain, &app] {
        for tag in ["v1", "v2"] {
            let from = format!("oci:{}:{tag}", layout.dir().display());
            let to = format!("docker://{repository}:{tag}");
            run("skopeo", &["copy", "-q", "--dest-tls-verify=false", &from, &to]);
        }
    }
    let without = json(&format!("publish {plain}:v2 --from {plain}:v1 --for flatpak,oci-delta"));
    let with = json(&format!("publish {app}:v2 --from {app}:v1 --for flatpak,oci-delta,registry-ext"));
    assert_eq!(without["tardf3_artifacts"].as_array().unwrap().len(), 0);
    assert_eq!(with["tardf3_artifacts"].as_array().unwrap().len(), 1);
    // What other clients read is the same, byte for byte.
    for same in ["artifacts", "delta_manifests"] {
        assert_eq!(with[same], without[same]);
        assert_eq!(with[same].as_array().unwrap().len(), 1);
    }
    let raw = |of: &str| {
        run("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{of}:_deltaindex")])
    };
    assert_eq!(raw(&app), raw(&plain));

    let outcomes: Vec<(&str, &str)> = with["deltas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delta| (delta["layout"].as_str().unwrap(), delta["outcome"].as_str().unwrap()))
        .filter(|(layout, _)| *layout == "tardf3")
        .collect();
    assert_eq!(outcomes, [("tardf3", "published"), ("tardf3", "published")]);
    let again = json(&format!("publish {app}:v2 --from {app}:v1"));
    assert!(column(&again["deltas"], "outcome").iter().all(|outcome| *outcome == "already-there"), "{again}");
    // An artifact without is no reason not to publish one with, nor the other way round.
    let later = json(&format!("publish {plain}:v2 --from {plain}:v1"));
    assert_eq!(later["tardf3_artifacts"], with["tardf3_artifacts"]);
    assert!(later["artifacts"].as_array().unwrap().is_empty());

    let listed = json(&format!("list {app}:v2"));
    let tardf3: Vec<&Value> =
        listed.as_array().unwrap().iter().filter(|delta| delta["layout"] == "tardf3").collect();
    assert_eq!(tardf3.len(), 2, "{listed:#}");
    assert_eq!(tardf3[0]["clients"], "registry-ext");
    let verified = json(&format!("verify {app}:v2"));
    assert!(column(&verified, "verdict").iter().all(|verdict| *verdict != "wrong"), "{verified}");
    let of_artifacts = |delta: &&Value| delta["layout"] != "delta-index" && delta["layout"] != "blob-recipes";
    let verdicts: Vec<&Value> = verified.as_array().unwrap().iter().filter(of_artifacts).collect();
    assert!(verdicts.len() == 4 && verdicts.iter().all(|delta| delta["verdict"] == "right"), "{verified}");
    let measure = |readers: &str| json(&format!("measure {app}:v1 {app}:v2 {readers}"))[0].clone();
    let (measured, other) = (measure(""), measure("--for flatpak,oci-delta"));
    assert!(measured["with_deltas"].as_u64() < other["with_deltas"].as_u64(), "{measured}");
    assert!(measured["layers"][1]["tardf3_size"].is_u64() && measured["layers"][0]["tardf3_size"].is_null());

    let pull = |repository: &str, store: &str| {
        let store = dir.path().join(store);
        json(&format!("pull {repository}:v1 --into oci:{}", store.display()));
        let report = json(&format!("pull {repository}:v2 --into oci:{}", store.display()));
        assert_eq!(stored_layers(&store, "v2"), images.1.layers);
        report
    };
    let report = pull(&app, "store");
    assert_eq!(report["layers"][1]["from"]["delta"], "tardf3", "{report}");
    assert_eq!(report["layers"][2]["from"]["delta"], "tardf3", "{report}");
    assert!(report["fetched"].as_u64().unwrap() * 2 < report["plain"].as_u64().unwrap(), "{report}");

    let forced = json(&format!("publish {app}:v2 --from {app}:v1 --force"));
    assert_eq!(forced["tardf3_artifacts"], with["tardf3_artifacts"]);
    let pruned = json(&format!("prune {app}:v2 --yes"));
    assert_eq!(pruned[0]["artifacts"].as_array().unwrap().len(), 2);
    assert!(json(&format!("list {app}:v2")).as_array().unwrap().is_empty());
}

#[tokio::test]
async fn the_crate_oci_delta_sees_its_own_artifact_alone() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (layout(dir.path(), &pair()), dir.path().join("deltas"));
    let from = from.dir().display();
    json(&format!(
        "publish oci:{from}:v2 --from oci:{from}:v1 --to oci:{} --for oci-delta,registry-ext --no-exact",
        to.display()
    ));
    let layout = OciLayout::open(&to).unwrap();
    let mut seen = Vec::new();
    for entry in layout.index().unwrap().manifests() {
        let manifest = layout.manifest(&Name::Digest(digest_of(entry).unwrap())).unwrap().unwrap();
        let manifest = parse_manifest("artifact", &manifest.bytes).unwrap();
        let types: Vec<&str> = manifest.layers().iter().map(|layer| layer.media_type().as_ref()).collect();
        let to: Vec<&String> = manifest
            .layers()
            .iter()
            .filter_map(|layer| layer.annotations().as_ref()?.get(ANNOTATION_TO))
            .collect();
        // Either is all that a client needs.
        assert_eq!(to.len(), 2);
        let is_theirs = oci_delta::is_delta_artifact(&manifest);
        assert_eq!(types.contains(&TAR_DIFF_V3), !is_theirs, "{types:?}");
        assert_eq!(types.contains(&TAR_DIFF), is_theirs, "{types:?}");
        seen.push(is_theirs);
    }
    seen.sort_unstable();
    assert_eq!(seen, [false, true]);
}

/// A registry with a pair of images and their deltas, and a store that has the old one.
struct Bench {
    registry: Registry,
    dir: TempDir,
    images: (TestImage, TestImage),
}

impl Bench {
    async fn new() -> Self {
        let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
        let bench = Self { registry, dir: TempDir::new().unwrap(), images: pair() };
        let layout = layout(bench.dir.path(), &bench.images);
        for tag in ["v1", "v2"] {
            push(&layout, tag, &bench.repository()).await;
        }
        let app = bench.app();
        bench.run(&format!("publish {app}:v2 --from {app}:v1 --for oci-delta,registry-ext")).await;
        bench.run(&format!("pull {app}:v1 --into oci:{}", bench.store())).await;
        bench
    }

    fn app(&self) -> String {
        format!("{}/app", self.registry.address())
    }

    fn store(&self) -> String {
        self.dir.path().join("store").display().to_string()
    }

    fn repository(&self) -> Repository {
        open(&self.app(), &options(), self.dir.path())
    }

    async fn run(&self, line: &str) -> Value {
        let line = line.to_owned();
        tokio::task::spawn_blocking(move || json(&line)).await.unwrap()
    }

    /// Pulls the new image, which has to be whole. Gives how the layer with compressed files came.
    async fn pull(&self) -> Value {
        let report = self.run(&format!("pull {}:v2 --into oci:{}", self.app(), self.store())).await;
        assert_eq!(stored_layers(Path::new(&self.store()), "v2"), self.images.1.layers);
        report["layers"][1].clone()
    }

    /// The artifact with tardf3 deltas.
    async fn artifact(&self) -> OciDelta {
        let tag = Name::Tag("v2".into());
        let image = resolve_all(&self.repository(), Some(&tag), self.dir.path(), &Watch::nothing())
            .await
            .unwrap()
            .remove(0);
        let found = discover(&self.repository(), &image).await;
        let artifacts = found.artifacts.into_iter().map(|(_, artifact)| artifact);
        artifacts.into_iter().find(|artifact| artifact.kind == Kind::Tardf3).unwrap()
    }

    /// Publishes an artifact with this delta in place of the tardf3 one.
    async fn publish_instead(&self, delta: &[u8], media_type: &str) {
        let artifact = self.artifact().await;
        let path = self.dir.path().join("delta");
        std::fs::write(&path, delta).unwrap();
        let blob = descriptor_of(media_type, delta);
        self.repository().put_blob(&blob, &path).await.unwrap();
        let layer = |layer: &ArtifactLayer| match layer.blob.media_type().as_ref() {
            TAR_DIFF_V3 => ArtifactLayer { to: layer.to, blob: blob.clone() },
            _ => layer.clone(),
        };
        let changed = OciDelta { layers: artifact.layers.iter().map(layer).collect(), ..artifact.clone() };
        self.repository().put_manifest(&Manifest::new(changed.build(), None), None).await.unwrap();
    }

    fn corrupt(&self, blob: &str) {
        self.registry.corrupt_blob("app", blob, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }
}

/// A tardf3 delta for an encoder that no version has.
fn of_an_unknown_encoder() -> Vec<u8> {
    let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default()).unwrap();
    let stretch = Reencoding { gap: 0, size: 4, recipe: vec![0xff, 1, 2], inner: Vec::new() };
    writer.reencode(&[stretch]).unwrap();
    writer.literal(b"text").unwrap();
    writer.finish().unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_costs_a_warning_and_the_other_delta() {
    let bench = Bench::new().await;
    bench.publish_instead(&of_an_unknown_encoder(), TAR_DIFF_V3).await;
    let layer = bench.pull().await;
    // Another tardf3 delta is tried first: it is smaller.
    assert_eq!(layer["from"]["delta"], "tardf3", "{layer}");
    assert!(layer["delta_failed"].as_str().unwrap().contains("encoder"), "{layer}");

    let bench = Bench::new().await;
    let artifact = bench.artifact().await;
    let tardf3 = artifact.layers.iter().find(|layer| layer.blob.media_type().as_ref() == TAR_DIFF_V3);
    bench.corrupt(tardf3.unwrap().blob.digest().as_ref());
    let layer = bench.pull().await;
    assert_eq!(layer["from"]["delta"], "artifact", "{layer}");
    assert!(layer["delta_failed"].is_string(), "{layer}");
    assert!(layer["fetched"].as_u64() > Some(tardf3.unwrap().blob.size()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_that_works_the_blob_is_fetched() {
    let bench = Bench::new().await;
    let listed = bench.run(&format!("list {}:v2", bench.app())).await;
    column(&listed, "delta").iter().for_each(|delta| bench.corrupt(delta.as_str().unwrap()));
    let layer = bench.pull().await;
    assert_eq!(layer["from"], "blob", "{layer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_formats_where_they_must_not_be() {
    let bench = Bench::new().await;
    let artifact = bench.artifact().await;
    // A tardf3 delta by the media type that every client reads.
    let tardf3 =
        artifact.layers.iter().find(|layer| layer.blob.media_type().as_ref() == TAR_DIFF_V3).unwrap();
    let digest = digest_of(&tardf3.blob).unwrap();
    let path = bench.repository().blob(&tardf3.blob, bench.dir.path(), &|_| ()).await.unwrap();
    let delta = std::fs::read(path).unwrap();
    assert_eq!(Digest::of(&delta), digest);
    bench.publish_instead(&delta, TAR_DIFF).await;
    let wrong = format!("verify {}:v2 --json", bench.app());
    let output = tokio::task::spawn_blocking(move || {
        crate::support::registry_ext(&wrong).assert().code(3).get_output().stdout.clone()
    });
    let checked: Value = serde_json::from_slice(&output.await.unwrap()).unwrap();
    let reasons: Vec<&str> =
        checked.as_array().unwrap().iter().filter_map(|delta| delta["verdict"]["wrong"].as_str()).collect();
    assert_eq!(reasons, ["its media type is that of another format"; 2], "{checked}");
}
