//! The files in `packaging`, checked by the programs that read them, and the service as systemd runs it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::docker_registry::run;
use crate::support::mirror::{asked_for, bench, image_of, updated};
use crate::support::registry_ext;
use crate::support::service::{Service, calls_of, packaging, setting, settings, traced};
use axum::body::{Body, Bytes};
use axum::http::{Method, Response};
use futures_util::{FutureExt, StreamExt, stream};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Namespace;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

const UNIT: &str = "systemd/registry-ext-mirror.service";
const SOCKET: &str = "systemd/registry-ext-mirror.socket";
const DEFAULTS: &str = "systemd/registry-ext-mirror.default";
const QUADLET: &str = "quadlet/registry-ext-mirror.container";
/// The service that pulls an image, its timer, and a container that is updated by them.
const PULL: &str = "systemd/registry-ext-pull@.service";
const PULL_TIMER: &str = "systemd/registry-ext-pull@.timer";
const UPDATED: &str = "quadlet/app.container";
/// The most that `systemd-analyze security` may find, ten times its figure. It finds 1.8 with systemd 252.
const EXPOSURE: u32 = 20;
/// The keys of `[Container]` that podman 4.4 knows and the file uses (podman-systemd.unit(5)).
const QUADLET_KEYS: [&str; 11] = [
    "AddCapability",
    "AutoUpdate",
    "DropCapability",
    "Exec",
    "Image",
    "Network",
    "NoNewPrivileges",
    "Notify",
    "PodmanArgs",
    "ReadOnly",
    "Volume",
];

/// Makes the root of a file system with the units of systemd, those of the packaging, and the command.
fn root() -> TempDir {
    let root = TempDir::new().unwrap();
    let path = |name: &str| root.path().join(name);
    for dir in ["usr/bin", "usr/lib/systemd", "etc/systemd/system"] {
        std::fs::create_dir_all(path(dir)).unwrap();
    }
    let own = path("usr/lib/systemd");
    run("cp", &["--archive", "/lib/systemd/system", own.to_str().unwrap()]);
    std::fs::copy("/bin/true", path("usr/bin/registry-ext")).unwrap();
    for unit in [UNIT, SOCKET, PULL, PULL_TIMER] {
        let name = Path::new(unit).file_name().unwrap();
        std::fs::copy(packaging().join(unit), path("etc/systemd/system").join(name)).unwrap();
    }
    root
}

/// Runs `systemd-analyze` on a file of the packaging. Returns all that it says.
fn analyze(args: &[&str], units: &[&str]) -> String {
    let root = root();
    let dir = root.path().join("etc/systemd/system");
    let units = units.iter().map(|unit| dir.join(Path::new(unit).file_name().unwrap()));
    let output = Command::new("systemd-analyze")
        .args(["--root", root.path().to_str().unwrap()])
        .args(args)
        .args(units)
        .output()
        .unwrap_or_else(|error| panic!("systemd has to be installed for this test: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let units = [UNIT, SOCKET, PULL, PULL_TIMER];
    assert_eq!(analyze(&["verify"], &units), "", "unknown settings are warnings");
}

#[test]
fn the_service_is_exposed_to_little() {
    let threshold = format!("--threshold={EXPOSURE}");
    let text = analyze(&["security", "--offline=yes", &threshold], &[UNIT]);
    assert!(text.contains("Overall exposure level"), "{text}");
}

#[test]
fn podman_knows_the_keys_of_its_unit() {
    let keys = [QUADLET, UPDATED].map(|file| settings(file, "Container")).concat();
    let keys: BTreeSet<String> = keys.into_iter().map(|(key, _)| key).collect();
    assert!(keys.contains("Image"));
    let unknown: Vec<_> = keys.iter().filter(|key| !QUADLET_KEYS.contains(&key.as_str())).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    // podman has the generator since 4.4, in one of two places.
    let places = ["/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet"];
    if let Some(quadlet) = places.into_iter().find(|place| Path::new(place).exists()) {
        let output = Command::new(quadlet)
            .args(["-dryrun", "-no-kmsg-log"])
            .env("QUADLET_UNIT_DIRS", packaging().join("quadlet"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let failure = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("ExecStart=/usr/bin/podman run"), "{failure}");
    }
}

/// The documents of a YAML file.
fn documents(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(packaging().join("kubernetes").join(file)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

/// Returns the fields of a document that its type has, with values of the right kind.
fn known<T: DeserializeOwned + Serialize>(document: &Value) -> Value {
    let typed: T = serde_json::from_value(document.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

#[test]
fn kubernetes_knows_each_field_of_the_manifests() {
    let [namespace, mut daemons] = documents("mirror.yaml").try_into().unwrap();
    assert_eq!(known::<Namespace>(&namespace), namespace);
    assert_eq!(known::<DaemonSet>(&daemons), daemons);
    assert_eq!(daemons["metadata"]["namespace"], namespace["metadata"]["name"]);
    daemons["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = json!({});
    assert_ne!(known::<DaemonSet>(&daemons), daemons, "a field that is misspelled is seen");
}

/// The pod of the DaemonSet.
fn pod() -> Value {
    documents("mirror.yaml")[1]["spec"]["template"]["spec"].clone()
}

/// The items of an array.
fn items(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().unwrap().iter()
}

#[test]
fn what_the_pod_refers_to_is_there() {
    let pod = pod();
    let volumes: BTreeSet<&str> =
        items(&pod["volumes"]).map(|volume| volume["name"].as_str().unwrap()).collect();
    let kustomization = documents("kustomization.yaml");
    let image = &kustomization[0]["images"][0]["name"];
    let containers = items(&pod["initContainers"]).chain(items(&pod["containers"]));
    let mut mounted = BTreeSet::new();
    for container in containers {
        assert_eq!(&container["image"], image, "kustomize sets it");
        mounted.extend(items(&container["volumeMounts"]).map(|mount| mount["name"].as_str().unwrap()));
    }
    assert_eq!(mounted, volumes);
    for kind in [&kustomization[0]["resources"][0], &json!("kustomization.yaml")] {
        assert!(packaging().join("kubernetes").join(kind.as_str().unwrap()).exists());
    }
}

#[test]
fn the_command_takes_the_options_of_all_packages() {
    let unit = setting(UNIT, "Service", "ExecStart")
        .replace("$MIRROR_OPTIONS", &setting(DEFAULTS, "", "MIRROR_OPTIONS"));
    let mirror = pod()["containers"][0].clone();
    let pod = items(&mirror["command"]).chain(items(&mirror["args"])).map(|word| word.as_str().unwrap());
    let lines = [unit, setting(QUADLET, "Container", "Exec"), pod.collect::<Vec<_>>().join(" ")];
    for line in lines {
        let args = line.strip_prefix("/usr/bin/registry-ext ").unwrap();
        assert!(args.contains("--source"), "{args}");
        // Options are read up to --help, and then none of them has an effect.
        registry_ext(args).arg("--help").assert().success();
        registry_ext(args).args(["--no-such-option", "--help"]).assert().code(2);
    }
}

#[test]
fn the_pod_points_containerd_of_its_node_to_the_mirror() {
    let node = TempDir::new().unwrap();
    let words = pod()["initContainers"][0]["command"].clone();
    let words: Vec<&str> = items(&words).map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words.iter().filter(|word| **word == "/host").count(), 1, "{words:?}");
    let words = words.iter().map(|word| if *word == "/host" { node.path().to_str().unwrap() } else { word });
    let line = words.skip(1).collect::<Vec<_>>().join(" ");
    registry_ext(&line).assert().success();
    let hosts =
        std::fs::read_to_string(node.path().join("etc/containerd/certs.d/_default/hosts.toml")).unwrap();
    assert!(hosts.contains("[host.\"http://127.0.0.1:5050\"]"), "{hosts}");
}

#[test]
fn all_packages_listen_where_clients_are_pointed_to() {
    let address = "127.0.0.1:5050";
    assert_eq!(setting(SOCKET, "Socket", "ListenStream"), address);
    assert!(setting(QUADLET, "Container", "Exec").contains(&format!(" --listen {address} ")));
    let pod = pod();
    assert_eq!(pod["hostNetwork"], true);
    let mirror = &pod["containers"][0];
    assert!(items(&mirror["args"]).any(|arg| *arg == format!("--listen={address}")));
    for probe in ["readinessProbe", "livenessProbe"] {
        let get = &mirror[probe]["httpGet"];
        assert_eq!(format!("{}:{}", get["host"].as_str().unwrap(), get["port"]), address);
    }
}

/// Returns a command that takes all rights of root away but those that the service keeps. Users other than root have
/// none.
fn with_few_rights() -> Vec<String> {
    let kept = setting(UNIT, "Service", "CapabilityBoundingSet");
    let kept = kept.strip_prefix("CAP_").unwrap().to_lowercase();
    let bounds = format!("--bounding-set=-all,+{kept}");
    let is_root = rustix::process::geteuid().is_root();
    let words = if is_root { vec!["setpriv", "--no-new-privs", &bounds] } else { vec![] };
    words.into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_a_socket_makes_blobs_and_ends_once_all_is_sent() {
    let (bench, image) = bench().await;
    let old = bench.path("old");
    if rustix::process::geteuid().is_root() {
        // As in the stores of containers, whose files belong to anybody and have any mode.
        let old = old.to_str().unwrap();
        run("chmod", &["-R", "u=rwX,go=", old]);
        run("chown", &["-R", "4711:4711", old]);
    }
    let by = with_few_rights();
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    let service =
        Service::start(bench.dir.path(), &by, &format!("--prefer size --source oci:{}", old.display()));
    service.note("READY=1").await;
    for probe in ["readinessProbe", "livenessProbe"] {
        let path = pod()["containers"][0][probe]["httpGet"]["path"].clone();
        assert_eq!(service.get(path.as_str().unwrap()).await.status(), 200, "{path}");
    }
    let registry = bench.registry.address();
    let (made, blob) = updated(&bench, &image);
    assert!(service.blob(registry, "v2", made).await.bytes().await.unwrap() == blob);
    assert_eq!(asked_for(&bench.registry.take_requests(), made), 0, "it was made of a delta");

    // The second half of a blob that no delta makes comes once the service was told to end.
    let image = image_of(&bench.repository(), "v1", bench.dir.path()).await.unwrap();
    let (slow, blob) = updated(&bench, &image);
    let (release, released) = oneshot::channel::<()>();
    let (released, sent) = (released.shared(), Bytes::from(blob.clone()));
    bench.registry.lie(move |call| {
        let is_slow = call.uri.path().ends_with(&slow.to_string()) && call.method == Method::GET;
        let (first, second) = (sent.slice(..sent.len() / 2), sent.slice(sent.len() / 2..));
        let released = released.clone();
        let halves = stream::once(async { Ok::<_, std::io::Error>(first) }).chain(stream::once(async {
            drop(released.await);
            Ok(second)
        }));
        let answer = Response::builder().header("content-length", sent.len());
        is_slow.then(|| answer.body(Body::from_stream(halves)).unwrap())
    });
    let answer = service.blob(registry, "v1", slow).await;
    service.tell_to_end();
    service.note("STOPPING=1").await;
    release.send(()).unwrap();
    assert!(answer.bytes().await.unwrap() == blob, "it was sent to its end");
    assert_eq!(service.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_calls_of_the_service_pass_its_filter() {
    let mut allowed = BTreeSet::new();
    for (key, value) in settings(UNIT, "Service").iter().filter(|(key, _)| key == "SystemCallFilter") {
        let mut calls = BTreeSet::new();
        value.trim_start_matches('~').split(' ').for_each(|group| calls_of(group, &mut calls));
        assert!(calls.len() > 10, "{key}={value}");
        if value.starts_with('~') {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.append(&mut calls);
        }
    }
    let (bench, image) = bench().await;
    let trace = bench.path("trace");
    // With -D, the process that is traced has the number that the socket was given to, and the tracer outlives it.
    let by = ["strace", "-D", "-f", "-q", "-s", "0", "-e", "signal=none", "-o", trace.to_str().unwrap()];
    let service = Service::start(
        bench.dir.path(),
        &by,
        &format!("--prefer size --source oci:{}", bench.path("old").display()),
    );
    service.note("READY=1").await;
    let (made, blob) = updated(&bench, &image);
    assert!(service.blob(bench.registry.address(), "v2", made).await.bytes().await.unwrap() == blob);
    service.tell_to_end();
    assert_eq!(service.exit_code().await, Some(0));
    let trace = traced(&trace).await;
    let calls = trace.lines().filter_map(|line| line.split_whitespace().nth(1)?.split_once('('));
    let calls: BTreeSet<&str> = calls.map(|(name, _)| name).collect();
    assert!(calls.contains("accept4") && calls.contains("write"), "{calls:?}");
    let refused: Vec<_> = calls.iter().filter(|call| !allowed.contains(**call)).collect();
    assert_eq!(refused, Vec::<&&str>::new());
}

/// Returns the scripts of `packaging/release` that a text names.
fn release_scripts(text: &str) -> BTreeSet<&str> {
    let names = text.split("packaging/release/").skip(1);
    names.map(|name| name.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap()).collect()
}

#[test]
fn the_dry_run_of_a_release_tries_each_script_of_its_workflow() {
    let read = |file: &str| std::fs::read_to_string(packaging().join("release").join(file)).unwrap();
    let workflow: Value = serde_saphyr::from_str(&read("workflow.yml")).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap().values();
    let scripts = jobs.flat_map(|job| items(&job["steps"])).filter_map(|step| step["run"].as_str());
    let of_workflow: BTreeSet<_> = scripts.flat_map(release_scripts).collect();
    assert!(of_workflow.contains("build") && of_workflow.contains("image"), "{of_workflow:?}");
    let dry_run = read("dry-run");
    let mut of_dry_run = release_scripts(&dry_run);
    for script in of_workflow.union(&of_dry_run) {
        let mode = std::fs::metadata(packaging().join("release").join(script)).unwrap().permissions().mode();
        assert_ne!(mode & 0o111, 0, "{script} cannot be run");
    }
    // The workflow compares the tag with it.
    of_dry_run.insert("version");
    assert!(of_workflow.is_subset(&of_dry_run), "{of_workflow:?} {of_dry_run:?}");
}

#[test]
fn the_notes_of_a_release_are_its_section_of_the_changelog() {
    let notes = |version: &str| {
        let output = Command::new(packaging().join("release/notes")).arg(version).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let changelog = std::fs::read_to_string(packaging().join("../CHANGELOG.md")).unwrap();
    let (found, section) = notes(env!("CARGO_PKG_VERSION"));
    assert!(found && !section.trim().is_empty() && changelog.contains(&section), "{section}");
    assert!(!section.contains("\n## "), "it ends before the next one");
    assert_eq!(notes("0.1"), (false, String::new()), "the beginning of a version is another one");
}
