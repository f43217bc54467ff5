//! Artifacts for readers that look for them in other ways than registry-ext does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::bench::{Bench, warnings};
use crate::support::images::{TestImage, images_of, pair_of, push, write_index};
use crate::support::server::{Registry, Switches};
use crate::support::{open, options};
use layer::Digest;
use oci_spec::image::Descriptor;
use registry_ext::Pruner;
use registry_ext::artifact::oci_delta::{Kind, OciDelta};
use registry_ext::artifact::{ANNOTATION_SOURCE, ARTIFACT_TYPE};
use registry_ext::image::Images;
use registry_ext::oci::{Manifest, Name, digest_of, parse_index, parse_manifest, referrers_tag};
use registry_ext::publish::{PublishReport, Publisher};
use registry_ext::repository::Repository;
use registry_ext::signature::{CarriedSignature, tag_of};
use registry_ext::store::OciLayout;
use serde_json::json;
use tempfile::TempDir;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A registry with two versions of an image for two platforms.
struct Platforms {
    registry: Registry,
    dir: TempDir,
}

impl Platforms {
    async fn new() -> Self {
        let registry = Registry::start("127.0.0.1:0", Switches::default()).await.unwrap();
        let platforms = Self { registry, dir: TempDir::new().unwrap() };
        let layout = OciLayout::create(&platforms.dir.path().join("images")).unwrap();
        let pairs = [("amd64", 1), ("arm64", 2)].map(|(architecture, seed)| {
            let (old, new) = pair_of(seed);
            (TestImage { architecture, ..old }, TestImage { architecture, ..new })
        });
        let (old, new): (Vec<TestImage>, Vec<TestImage>) = pairs.into_iter().unzip();
        for (images, tag) in [(&old, "v1"), (&new, "v2")] {
            write_index(&layout, images, tag);
            push(&layout, tag, &platforms.repository()).await;
        }
        platforms
    }

    fn repository(&self) -> Repository {
        open(&format!("{}/app", self.registry.address()), &options(), self.dir.path())
    }

    async fn images(&self, tag: &str) -> Images {
        images_of(self.repository(), tag, self.dir.path()).await
    }

    async fn publish(&self, set: impl for<'p> FnOnce(Publisher<'p>) -> Publisher<'p>) -> PublishReport {
        let (new, old) = (self.images("v2").await, self.images("v1").await);
        set(Publisher::new(&self.repository(), &new).old(&old)).publish().await.unwrap()
    }

    /// The artifacts that the tag for `subject` lists.
    async fn tagged(&self, subject: Digest) -> Vec<Descriptor> {
        let found = self.repository().manifest(&Name::Tag(referrers_tag(subject))).await.unwrap();
        found.map_or_else(Vec::new, |found| parse_index("tag", &found.bytes).unwrap().manifests().clone())
    }

    /// Requests that change the registry, since the last time.
    fn writes(&self) -> usize {
        let requests = self.registry.take_requests();
        requests.iter().filter(|request| request.starts_with("PUT") || request.starts_with("POST")).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_found_by_a_tag_alone_and_under_the_index() {
    let platforms = Platforms::new().await;
    let (old, new) = (platforms.images("v1").await, platforms.images("v2").await);
    let index = new.images[0].index.unwrap();
    platforms.publish(|publisher| publisher).await;
    assert!(platforms.repository().referrers(index).await.unwrap().is_empty());
    assert!(platforms.tagged(new.images[0].manifest.digest).await.is_empty());

    // Those that are there already are listed, too.
    let report = platforms.publish(|to| to.stand_in_tag_always(true).list_under_index(true)).await;
    assert_eq!((report.artifacts.len(), report.index_artifacts.len()), (0, 2));
    for subject in [index, new.images[0].manifest.digest, new.images[1].manifest.digest] {
        let listed = platforms.repository().referrers(subject).await.unwrap();
        let of_deltas = |entry: &&Descriptor| Kind::of(entry.artifact_type().as_ref()).is_some();
        assert_eq!(listed.iter().filter(of_deltas).count(), if subject == index { 2 } else { 1 });
        // As flightctl chooses one: by its type, and by the image that is installed.
        let tagged = platforms.tagged(subject).await;
        for (old, new) in old.images.iter().zip(&new.images) {
            let is_wanted = |entry: &&Descriptor| {
                let source = entry.annotations().as_ref().and_then(|all| all.get(ANNOTATION_SOURCE).cloned());
                entry.artifact_type().as_ref().is_some_and(|of| of.as_ref() == ARTIFACT_TYPE)
                    && source == Some(old.manifest.digest.to_string())
            };
            let Some(entry) = tagged.iter().find(is_wanted) else {
                assert!(subject != index && subject != new.manifest.digest);
                continue;
            };
            let manifest = platforms.repository().manifest_of(entry).await.unwrap();
            let parsed = parse_manifest("artifact", &manifest.bytes).unwrap();
            assert_eq!(digest_of(parsed.subject().as_ref().unwrap()).unwrap(), subject);
            let artifact = OciDelta::parse(&parsed).unwrap();
            assert_eq!(digest_of(&artifact.target).unwrap(), new.manifest.digest);
        }
    }

    platforms.writes();
    let report = platforms.publish(|to| to.stand_in_tag_always(true).list_under_index(true)).await;
    assert_eq!((report.index_artifacts.len(), platforms.writes()), (0, 0));
    let report = platforms.publish(|to| to.list_under_index(true).force(true)).await;
    assert_eq!(report.artifacts.len(), 2);
    assert_eq!(platforms.repository().referrers(index).await.unwrap().len(), 2);

    let repository = platforms.repository();
    let pruned = Pruner::new(&repository).keep(&old.images[0]).prune(index).await.unwrap();
    assert_eq!((pruned.artifacts.len(), pruned.kept), (1, 1));
}

/// Puts a signature of a manifest beside an image, as cosign does. Nothing here checks that it is one.
async fn sign(bench: &Bench, signed: Digest, tag: &str) {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": signed.to_string()},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let layer = bench.put_blob(payload.to_string().as_bytes(), PAYLOAD).await;
    let mut layer = serde_json::to_value(layer).unwrap();
    layer["annotations"] = json!({"dev.cosignproject.cosign/signature": "c2lnbmF0dXJl"});
    let config = bench.put_blob(b"{\"rootfs\":{}}", "application/vnd.oci.image.config.v1+json").await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer],
    });
    let manifest = Manifest::new(manifest.to_string().into_bytes(), None);
    bench.repository().put_manifest(&manifest, Some(tag)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_carries_the_signatures_of_its_image() {
    let bench = Bench::new(Switches::default()).await;
    let image = bench.images("v2").await.images.remove(0);
    let (watch, seen) = warnings();
    bench.publish(|to| to.carry_found_signatures(true).watch(&watch)).await.unwrap();
    assert!(seen.lock().unwrap()[0].contains("carry no signature"), "{seen:?}");

    sign(&bench, image.manifest.digest, &tag_of(image.manifest.digest)).await;
    sign(&bench, image.manifest.digest, "another").await;
    sign(&bench, Digest::of(b"other"), "of-another").await;
    let repository = bench.repository();
    let read = async |tag: &str| {
        CarriedSignature::read(&repository, Some(&Name::Tag(tag.into())), bench.dir.path()).await
    };
    assert!(read("v1").await.unwrap_err().to_string().contains("no signature"));
    let of_another = read("of-another").await.unwrap();
    assert!(!of_another.is_of(image.manifest.digest));
    let named = read("another").await.unwrap();
    let report = {
        let (new, old) = (bench.images("v2").await, bench.images("v1").await);
        let to = bench.repository();
        let publisher = Publisher::new(&to, &new).old(&old).force(true).carry_found_signatures(true);
        publisher.signature(named).signature(of_another).publish().await.unwrap()
    };
    let manifest = bench.repository().manifest(&Name::Digest(report.artifacts[0])).await.unwrap().unwrap();
    let parsed = parse_manifest("artifact", &manifest.bytes).unwrap();
    let artifact = OciDelta::parse(&parsed).unwrap();
    assert_eq!(artifact.signatures.len(), 2);
    let signature = bench.repository().manifest(&Name::Tag("another".into())).await.unwrap().unwrap();
    for carried in &artifact.signatures {
        assert_eq!(digest_of(&carried.manifest).unwrap(), signature.digest);
        assert_eq!(carried.blobs.len(), 2);
        for blob in carried.blobs.iter().chain([&carried.manifest]) {
            assert!(bench.repository().blob(blob, bench.dir.path(), &|_| ()).await.is_ok());
        }
    }
}
