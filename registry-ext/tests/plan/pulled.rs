//! Updates that are planned since clients of a mirror pulled the old images.

use super::*;
use crate::support::images::write_index;
use crate::support::mirror_process::{MirrorProcess, get};
use registry_ext::store::OciLayout;

/// The digest of the old image, the verdict and the reasons of each update.
fn updates(plan: &Value) -> Vec<(String, u64, String)> {
    let pairs = plan["repositories"][0]["pairs"].as_array().unwrap();
    let update = |pair: &Value| {
        let reasons: Vec<&str> =
            pair["reasons"].as_array().unwrap().iter().map(|of| of.as_str().unwrap()).collect();
        let hosts = pair["hosts"].as_u64().unwrap_or(0);
        (pair["from"]["digest"].as_str().unwrap().to_owned(), hosts, reasons.join(", "))
    };
    pairs.iter().map(update).collect()
}

#[test]
fn images_that_clients_of_a_mirror_pulled_get_deltas() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    push_releases(&registry, dir.path(), &["app"]);
    let app = format!("{}/app", registry.address());
    // An index that `latest` named before, and that no tag names any more.
    let layout = OciLayout::create(&dir.path().join("index")).unwrap();
    write_index(&layout, &[release("app", 1, 5)], "latest");
    let copy = |from: &str| {
        let flags = ["copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
        run("skopeo", &[&flags[..], &[from, &format!("docker://{app}:latest")]].concat());
    };
    copy(&format!("oci:{}:latest", layout.dir().display()));
    let mirror =
        MirrorProcess::start(&dir.path().join("cache"), &format!("--upstream {}", registry.address()));
    let pull = |name: &str| {
        let answer = get(mirror.address(), &format!("/v2/app/manifests/{name}")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (_, manifest) = answer.split_once("\r\n\r\n").unwrap();
        (Digest::of(manifest.as_bytes()).to_string(), manifest.to_owned())
    };
    let (old, _) = pull("v1.0.0");
    (0..2).for_each(|_| assert_eq!(pull(&old).0, old));
    // A client that gets the index goes on with the image of its platform.
    let (index, document) = pull("latest");
    let entries = serde_json::from_str::<Value>(&document).unwrap();
    pull(entries["manifests"][0]["digest"].as_str().unwrap());
    pull("v1.2.1");
    copy(&format!("docker://{app}:v1.2.1"));

    let metrics = get(mirror.address(), "/metrics").unwrap();
    let figures = write(dir.path(), "metrics", &metrics);
    let policy = write(dir.path(), "policy.toml", "last = 1\neach-minor = false\n");
    let plan = json(&format!("plan {app} --policy {policy} --pulls {figures}"));
    let mut found = updates(&plan);
    found.retain(|(_, _, reason)| reason != "the release before");
    let mut expected = [(old, 3, "pulled 3 times".to_owned()), (index, 1, "pulled once".to_owned())];
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{metrics}");

    // A mirror in which each client has its own rights tells nobody what others pull.
    let options = format!("--upstream {} --pass-through", registry.address());
    let mirror = MirrorProcess::start(&dir.path().join("passing"), &options);
    get(mirror.address(), "/v2/app/manifests/v1.0.0").unwrap();
    assert_eq!(mirror.figure("registry_ext_mirror_pulls_total"), 0);
    assert!(mirror.figure("registry_ext_mirror_requests_total") > 0);
}
