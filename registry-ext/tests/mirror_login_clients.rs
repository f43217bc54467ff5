//! podman and containerd log in: to a mirror with users of its own, and through a mirror to a registry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use crate::support::bench::Bench;
use crate::support::containerd::Containerd;
use crate::support::docker_registry::{DockerRegistry, Setup, run};
use crate::support::images::{pair, write_images};
use crate::support::mirror_process::MirrorProcess;
use crate::support::registry_ext;
use crate::support::server::{Switches, error};
use crate::support::storage::Storage;
use axum::http::StatusCode;
use base64::prelude::{BASE64_STANDARD, Engine};
use registry_ext::publish::Recipes;
use serde_json::json;
use tempfile::TempDir;

const USER: &str = "a-user";
const PASSWORD: &str = "a-secret-password";

/// The file in which podman has a credential for a host.
fn login(host: impl ToString, user: &str, password: &str) -> String {
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    json!({"auths": {host.to_string(): {"auth": auth}}}).to_string()
}

/// A registry with a password, in which v2 has deltas and recipes from v1.
struct Private {
    registry: DockerRegistry,
    dir: TempDir,
}

impl Private {
    fn new() -> Self {
        let registry = DockerRegistry::start(Setup { user: Some((USER, PASSWORD)), ..Setup::default() });
        let (address, dir, images) = (registry.address(), TempDir::new().unwrap(), pair());
        let layout = write_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")]);
        let credentials = format!("--dest-creds={USER}:{PASSWORD}");
        for tag in ["v1", "v2"] {
            let (from, to) =
                (format!("oci:{}:{tag}", layout.dir().display()), format!("docker://{address}/app:{tag}"));
            run("skopeo", &["copy", "-q", "--dest-tls-verify=false", &credentials, &from, &to]);
        }
        let line =
            format!("publish {address}/app:v2 --from {address}/app:v1 --username {USER} --password-stdin");
        registry_ext(&line).write_stdin(PASSWORD).assert().success();
        Self { registry, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.registry.address())
    }

    /// A storage of podman that has v1.
    fn storage(&self, name: &str) -> Storage {
        let storage = Storage::new(self.path(name), "vfs");
        storage.log_in(&login(self.registry.address(), USER, PASSWORD));
        storage.try_pull("podman", &self.image("v1")).unwrap();
        storage
    }

    fn mirror(&self, options: &str) -> MirrorProcess {
        let options = format!("--upstream {} {options}", self.registry.address());
        MirrorProcess::start(&self.path("cache"), &options)
    }
}

/// The answers with blobs that a mirror has given, as its log has them.
fn given_blobs(mirror: &MirrorProcess) -> usize {
    let log = mirror.log();
    log.lines().filter(|line| line.contains("/blobs/") && line.contains("status=200")).count()
}

#[test]
fn podman_and_containerd_show_their_own_credentials_to_the_registry() {
    let private = Private::new();
    let (storage, containerd) =
        (private.storage("podman"), Containerd::start(private.path("containerd"), "native"));
    let user = format!("{USER}:{PASSWORD}");
    containerd.try_pull_as(&user, &private.image("v1")).unwrap();
    let (of_podman, of_containerd) = (storage.source(), containerd.source());
    let mirror = private.mirror(&format!("--pass-through --source {of_podman} --source {of_containerd}"));
    containerd.configure(mirror.address(), Some(&private.registry.address()));
    // Nobody gets anything before the registry has let somebody in, and nobody else after that.
    let stranger = Storage::new(private.path("stranger"), "vfs");
    stranger.configure(mirror.address(), &private.registry.address());
    let stranger_fails = || {
        for credentials in [login(mirror.address(), USER, "wrong"), "{}".into()] {
            stranger.log_in(&credentials);
            let failure = stranger.try_pull("podman", &private.image("v2")).unwrap_err();
            assert!(failure.contains("unauthorized") || failure.contains("authentication"), "{failure}");
        }
        containerd.try_pull_as(&format!("{USER}:wrong"), &private.image("v2")).unwrap_err();
    };
    stranger_fails();
    assert_eq!(given_blobs(&mirror), 0, "{}", mirror.log());
    storage.configure(mirror.address(), &private.registry.address());
    storage.log_in(&login(mirror.address(), USER, PASSWORD));
    storage.pull("podman", &private.image("v2"));
    let given = given_blobs(&mirror);
    assert!(given > 0 && mirror.log().contains("made of a delta"), "{}", mirror.log());
    stranger_fails();
    assert_eq!(given_blobs(&mirror), given, "{}", mirror.log());
    containerd.try_pull_as(&user, &private.image("v2")).unwrap();
    assert!(given_blobs(&mirror) > given, "containerd pulled through the mirror: {}", mirror.log());
    let log = mirror.log();
    let encoded = BASE64_STANDARD.encode(&user);
    for secret in [PASSWORD, &encoded, "Basic "] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn podman_and_containerd_log_in_to_the_mirror() {
    let private = Private::new();
    let (storage, containerd) =
        (private.storage("podman"), Containerd::start(private.path("containerd"), "native"));
    let (users, authfile) = (private.path("users"), private.path("auth.json"));
    run("htpasswd", &["-Bbc", &users.display().to_string(), "ada", "mirror-word"]);
    fs::write(&authfile, login(private.registry.address(), USER, PASSWORD)).unwrap();
    let (users, authfile) = (users.display(), authfile.display());
    let source = storage.source();
    let mirror = private.mirror(&format!("--htpasswd {users} --authfile {authfile} --source {source}"));
    storage.configure(mirror.address(), &private.registry.address());
    storage.log_in(&login(mirror.address(), "ada", "wrong"));
    storage.try_pull("podman", &private.image("v2")).unwrap_err();
    assert_eq!(given_blobs(&mirror), 0, "{}", mirror.log());
    storage.log_in(&login(mirror.address(), "ada", "mirror-word"));
    storage.pull("podman", &private.image("v2"));
    assert!(mirror.log().contains("made of a delta"), "{}", mirror.log());
    containerd.configure(mirror.address(), Some(&private.registry.address()));
    containerd.try_pull_as("ada:wrong", &private.image("v2")).unwrap_err();
    containerd.try_pull_as("ada:mirror-word", &private.image("v2")).unwrap();
    let log = mirror.log();
    assert!(!log.contains("mirror-word") && !log.contains(PASSWORD), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_gets_a_token_for_the_repository_of_the_registry() {
    let bench = Bench::new(Switches::default()).await;
    bench.publish(|to| to.recipes(Recipes::All).delta_index(false)).await.unwrap();
    bench.registry.switch(|switches| switches.bearer = Some((USER.into(), PASSWORD.into())));
    bench.registry.lie(|call| {
        let is_wrong = call.uri.path() == "/token"
            && !call.query("scope").is_some_and(|scope| scope.starts_with("repository:app:pull"));
        is_wrong.then(|| error(StatusCode::FORBIDDEN, "DENIED"))
    });
    let address = bench.registry.address();
    let dir = TempDir::new().unwrap();
    tokio::task::spawn_blocking(move || {
        let options = format!("--upstream {address} --pass-through");
        let mirror = MirrorProcess::start(&dir.path().join("cache"), &options);
        let storage = Storage::new(dir.path().join("podman"), "vfs");
        // podman asks for a token for the path that it is given, so that this has to be that of the registry.
        let conf = dir.path().join("podman/etc/containers/registries.conf.d/mirror.conf");
        let of_mirror = mirror.address();
        fs::write(
            conf,
            format!(
                "[[registry]]\nlocation = \"{address}\"\n\n[[registry.mirror]]\nlocation = \"{of_mirror}\"\n\
                 insecure = true\n"
            ),
        )
        .unwrap();
        storage.log_in(&login(of_mirror, USER, PASSWORD));
        storage.pull("podman", &format!("{address}/app:v2"));
        let log = mirror.log();
        assert!(given_blobs(&mirror) > 0, "{log}");
        for secret in [PASSWORD, "token-", "Bearer "] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    })
    .await
    .unwrap();
}
