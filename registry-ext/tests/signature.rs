//! Signatures: made with openssl in the form that cosign gives them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::docker_registry::{DockerRegistry, Setup, run, skopeo_push};
use crate::support::images::pair;
use crate::support::registry_ext;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use layer::Digest;
use oci_spec::image::Descriptor;
use registry_ext::oci::{Manifest, descriptor_of};
use registry_ext::reference::ImageRef;
use registry_ext::registry::RegistryOptions;
use registry_ext::repository::Repository;
use registry_ext::store::OciLayout;
use serde_json::{Value, json};
use tempfile::TempDir;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

struct Scene {
    _registry: DockerRegistry,
    dir: TempDir,
    app: String,
    /// Digest of the image's manifest.
    image: Digest,
    repository: Repository,
}

impl Scene {
    fn new() -> Self {
        let registry = DockerRegistry::start(Setup::default());
        let dir = TempDir::new().unwrap();
        let layout = OciLayout::create(&dir.path().join("images")).unwrap();
        let image = pair().0.write(&layout, "v1");
        let app = format!("{}/app", registry.address());
        skopeo_push(&layout, "v1", &app);
        let name: ImageRef = app.parse().unwrap();
        let repository = Repository::open(&name, &RegistryOptions::default(), dir.path()).unwrap();
        let scene = Self { _registry: registry, dir, app, image, repository };
        scene.make_key("key");
        scene.make_key("other");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make_key(&self, name: &str) {
        let (private, public) = (self.path(name), self.path(&format!("{name}.pub")));
        let [private, public] = [&private, &public].map(|path| path.to_str().unwrap());
        run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private]);
        run("openssl", &["ec", "-in", private, "-pubout", "-out", public]);
    }

    /// The signature of bytes in base64.
    fn sign(&self, key: &str, payload: &[u8]) -> String {
        fs::write(self.path("payload"), payload).unwrap();
        let [key, payload, out] = [key, "payload", "signature"].map(|name| self.path(name));
        let [key, payload, out] = [&key, &payload, &out].map(|path| path.to_str().unwrap());
        run("openssl", &["dgst", "-sha256", "-sign", key, "-out", out, payload]);
        STANDARD.encode(fs::read(out).unwrap())
    }

    async fn put(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let path = self.path("blob");
        fs::write(&path, bytes).unwrap();
        let blob = descriptor_of(media_type, bytes);
        self.repository.put_blob(&blob, &path).await.unwrap();
        blob
    }

    /// A manifest with these layers, as JSON.
    async fn manifest(&self, layers: Vec<Value>) -> Value {
        let config = self.put(EMPTY, b"{}").await;
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers,
        })
    }

    async fn put_manifest(&self, manifest: &Value, tag: Option<&str>) {
        let manifest = Manifest::new(manifest.to_string().into_bytes(), None);
        self.repository.put_manifest(&manifest, tag).await.unwrap();
    }

    /// A layer that is a payload for `digest`, signed with `key`.
    async fn signed(&self, key: &str, payload: &[u8]) -> Value {
        let mut layer = serde_json::to_value(self.put(PAYLOAD, payload).await).unwrap();
        layer["annotations"] = json!({ SIGNATURE: self.sign(key, payload) });
        layer
    }

    fn tag(&self) -> String {
        format!("sha256-{}.sig", self.image.to_string().trim_start_matches("sha256:"))
    }

    /// Pulls with the key; what it said if it refused. Nothing is written then.
    fn pull(&self, key: &Path) -> Result<(), String> {
        let store = TempDir::new_in(self.dir.path()).unwrap();
        let store = store.path().join("store");
        let line = format!("pull {}:v1 --into oci:{} --verify-key", self.app, store.display());
        let output = registry_ext(&line).arg(key).output().unwrap();
        assert_eq!(output.status.success(), store.exists(), "{output:?}");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
    }
}

fn payload(digest: Digest, kind: &str) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": "example.com/app"},
            "image": {"docker-manifest-digest": digest.to_string()},
            "type": kind,
        },
        "optional": null,
    })
    .to_string()
    .into_bytes()
}

const IMAGE: &str = "cosign container image signature";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_only_if_the_key_signed_it() {
    let scene = Scene::new();
    let key = scene.path("key.pub");
    assert!(scene.pull(&key).unwrap_err().contains("it has no signature"));

    // Each is refused for its own reason, and a good one among them is found.
    let good = scene.signed("key", &payload(scene.image, IMAGE)).await;
    let mut unsigned = good.clone();
    unsigned["annotations"][SIGNATURE] = json!("!");
    let cases = [
        (scene.signed("other", &payload(scene.image, IMAGE)).await, "another key"),
        (scene.signed("key", &payload(Digest::of(b"x"), IMAGE)).await, "another image"),
        (scene.signed("key", &payload(scene.image, "atomic container signature")).await, "no image"),
        (scene.signed("key", b"{\"critical\": 1}").await, "cannot be read"),
        (unsigned, "base64"),
    ];
    for (layer, reason) in &cases {
        scene.put_manifest(&scene.manifest(vec![layer.clone()]).await, Some(&scene.tag())).await;
        let refused = scene.pull(&key).unwrap_err();
        assert!(refused.contains("is not signed") && refused.contains(reason), "{reason}: {refused}");
    }
    let all = cases.into_iter().map(|(layer, _)| layer).chain([good]).collect();
    scene.put_manifest(&scene.manifest(all).await, Some(&scene.tag())).await;
    scene.pull(&key).unwrap();
    assert!(scene.pull(&scene.path("other.pub")).is_ok(), "the other key signed it, too");

    let no_key = scene.path("no-key");
    fs::write(&no_key, "-----BEGIN PUBLIC KEY-----\n").unwrap();
    assert!(scene.pull(&no_key).unwrap_err().contains("P-256"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_may_be_a_referrer_or_lie_in_a_delta_artifact() {
    for embedded in [false, true] {
        let scene = Scene::new();
        let bytes = payload(scene.image, IMAGE);
        let layer = scene.signed("key", &bytes).await;
        let signature = scene.manifest(vec![layer.clone()]).await;
        let subject = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": scene.image.to_string(),
            "size": scene.repository.manifest(&registry_ext::oci::Name::Digest(scene.image)).await
                .unwrap().unwrap().bytes.len(),
        });
        let mut referrer = if embedded {
            let content = "io.github.containers.delta.content";
            let signature = signature.to_string().into_bytes();
            let mut manifest =
                serde_json::to_value(scene.put("application/octet-stream", &signature).await).unwrap();
            manifest["annotations"] = json!({ content: "cosign-signature" });
            let mut payload = serde_json::to_value(scene.put(PAYLOAD, &bytes).await).unwrap();
            payload["annotations"] = json!({ content: "cosign-signature-content" });
            let mut artifact = scene.manifest(vec![manifest, payload]).await;
            artifact["artifactType"] = json!("application/vnd.io.github.containers.oci-delta.v1");
            artifact
        } else {
            let mut signature = signature;
            signature["artifactType"] = json!("application/vnd.dev.cosign.artifact.sig.v1+json");
            signature
        };
        referrer["subject"] = subject;
        assert!(scene.pull(&scene.path("key.pub")).is_err());
        scene.put_manifest(&referrer, None).await;
        scene.pull(&scene.path("key.pub")).unwrap();
        assert!(scene.pull(&scene.path("other.pub")).unwrap_err().contains("another key"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_signature_does_not_hide_one() {
    let scene = Scene::new();
    let key = scene.path("key.pub");
    let subject = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": scene.image.to_string(),
        "size": scene.repository.manifest(&registry_ext::oci::Name::Digest(scene.image)).await
            .unwrap().unwrap().bytes.len(),
    });
    let refer = async |mut manifest: Value, kind: Option<&str>, name: usize| {
        manifest["subject"] = subject.clone();
        manifest["annotations"] = json!({"name": name.to_string()});
        if let Some(kind) = kind {
            manifest["artifactType"] = json!(kind);
        }
        scene.put_manifest(&manifest, None).await;
    };
    // Under the tag are signatures of others; among the referrers is junk, which comes first.
    let foreign = scene.signed("other", &payload(scene.image, IMAGE)).await;
    let mut broken = foreign.clone();
    broken["annotations"][SIGNATURE] = json!("!");
    let others = [vec![foreign; 80], vec![broken.clone(); 80]].concat();
    scene.put_manifest(&scene.manifest(others).await, Some(&scene.tag())).await;
    let content = "io.github.containers.delta.content";
    let mut junk = serde_json::to_value(scene.put("application/x", b"junk").await).unwrap();
    junk["annotations"] = json!({ content: "cosign-signature" });
    let junk = scene.manifest(vec![junk]).await;
    for name in 0..5 {
        refer(junk.clone(), Some("application/x-junk"), name).await;
        refer(junk.clone(), Some("application/vnd.io.github.containers.oci-delta.v1"), name).await;
        refer(junk.clone(), None, name).await;
        let sign = Some("application/vnd.dev.cosign.artifact.sig.v1+json");
        refer(scene.manifest(vec![broken.clone()]).await, sign, name).await;
    }
    let refused = scene.pull(&key).unwrap_err();
    assert!(refused.contains("another key") && refused.contains("base64"), "{refused}");

    let good = scene.signed("key", &payload(scene.image, IMAGE)).await;
    let sign = "application/vnd.dev.cosign.artifact.sig.v1+json";
    refer(scene.manifest(vec![broken.clone(), good.clone()]).await, Some(sign), 0).await;
    scene.pull(&key).unwrap();
    // The same under the tag, where the newest stands last, behind the junk.
    let tagged = [vec![broken; 80], vec![good]].concat();
    scene.put_manifest(&scene.manifest(tagged).await, Some(&scene.tag())).await;
    scene.pull(&key).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_carry_the_signature_that_cosign_put_beside_the_image() {
    let scene = Scene::new();
    let layout = OciLayout::open(&scene.path("images")).unwrap();
    pair().1.write(&layout, "v0");
    skopeo_push(&layout, "v0", &scene.app);
    let layer = scene.signed("key", &payload(scene.image, IMAGE)).await;
    let signature = scene.manifest(vec![layer]).await;
    scene.put_manifest(&signature, Some(&scene.tag())).await;
    let (app, tag) = (&scene.app, scene.tag());
    let publish = |signature: &str| {
        let line =
            format!("publish {app}:v1 --from {app}:v0 --for oci-delta --force --signature {signature}");
        registry_ext(&line).output().unwrap()
    };
    let of_image = publish(&format!("{app}:v0"));
    assert!(String::from_utf8_lossy(&of_image.stderr).contains("no signature"), "{of_image:?}");
    for named in ["cosign", &format!("{app}:{tag}")] {
        let published = publish(named);
        assert!(published.status.success(), "{published:?}");
    }
    // Where the tag has it no more, the artifact still does.
    scene.put_manifest(&scene.manifest(Vec::new()).await, Some(&scene.tag())).await;
    scene.pull(&scene.path("key.pub")).unwrap();
    assert!(scene.pull(&scene.path("other.pub")).unwrap_err().contains("another key"));
}
