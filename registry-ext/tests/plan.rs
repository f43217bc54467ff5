//! Plans for repositories on a real registry: jobs share them, and end in the same state however they are run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod marks;
mod pulled;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::support::docker_registry::{DockerRegistry, Setup, push_images, run};
use crate::support::images::TestImage;
use crate::support::{json, open, options, registry_ext};
use fixtures::{Ending, LayerBuilder};
use layer::Digest;
use registry_ext::oci::Name;
use registry_ext::repository::Repository;
use serde_json::Value;
use tempfile::TempDir;

/// A release of an application: its program changes a little, its base with each minor version.
fn release(app: &str, minor: u64, patch: u64) -> TestImage {
    let seed = Digest::of(app.as_bytes()).as_bytes()[0].into();
    let file = |version| fixtures::contents::program(seed, 40 << 10, version);
    let mut base = LayerBuilder::new();
    base.dir("lib").file("lib/base", file(100 + minor)).file("lib/name", app);
    let mut top = LayerBuilder::new();
    top.dir("bin").file("bin/app", file(10 * minor + patch)).file("bin/version", format!("{minor}.{patch}"));
    TestImage::new(&[&base.finish(Ending::Normal), &top.finish(Ending::Normal)])
}

const TAGS: [(u64, u64); 6] = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)];

/// Pushes six releases of each application.
fn push_releases(registry: &DockerRegistry, dir: &Path, apps: &[&str]) {
    for app in apps {
        let tags = TAGS.map(|(minor, patch)| format!("v1.{minor}.{patch}"));
        let images = TAGS.map(|(minor, patch)| release(app, minor, patch));
        let images: Vec<_> = images.iter().zip(&tags).map(|(image, tag)| (image, tag.as_str())).collect();
        let dir = dir.join(app);
        fs::create_dir(&dir).unwrap();
        push_images(&dir, &images, &format!("{}/{app}", registry.address()));
    }
}

/// Returns the manifests that the tags of repositories lead to, and those that refer to them.
fn state(registry: &DockerRegistry, apps: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut state = BTreeMap::new();
    let dir = TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for app in apps {
        let repository = open(&format!("{}/{app}", registry.address()), &options(), dir.path());
        runtime.block_on(async {
            let mut names: Vec<Name> = repository.tags().await.unwrap().into_iter().map(Name::Tag).collect();
            while let Some(name) = names.pop() {
                let manifest = repository.manifest(&name).await.unwrap().unwrap();
                let parsed: Value = serde_json::from_slice(&manifest.bytes).unwrap();
                let entries = parsed["manifests"].as_array().into_iter().flatten();
                names.extend(
                    entries.map(|entry| entry["digest"].as_str().unwrap().parse().map(Name::Digest).unwrap()),
                );
                state.insert(format!("{app} {name}"), manifest.bytes);
            }
        });
    }
    state
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    fs::write(dir.join(name), text).unwrap();
    dir.join(name).display().to_string()
}

/// The tags and the verdict of each update.
fn verdicts(plan: &Value) -> Vec<String> {
    let repositories = plan["repositories"].as_array().unwrap();
    let pairs = repositories.iter().flat_map(|of| of["pairs"].as_array().unwrap());
    let text = |pair: &Value| {
        format!(
            "{} {} {}",
            pair["from"]["tags"][0].as_str().unwrap_or("-"),
            pair["to"]["tags"][0].as_str().unwrap_or("-"),
            pair["verdict"].as_str().unwrap()
        )
    };
    let mut verdicts: Vec<String> = pairs.map(text).collect();
    verdicts.sort();
    verdicts
}

#[test]
fn jobs_that_are_killed_and_repeated_end_as_one_that_is_not() {
    let apps = ["web", "worker"];
    let dir = TempDir::new().unwrap();
    let policy = write(dir.path(), "policy.toml", "targets = 2\nlast = 2\n");
    let mut states = Vec::new();
    for is_rough in [false, true] {
        let registry = DockerRegistry::start(Setup::default());
        let dir = TempDir::new().unwrap();
        push_releases(&registry, dir.path(), &apps);
        let names = apps.map(|app| format!("{}/{app}", registry.address())).join(" ");
        let file = dir.path().join("plan.json").display().to_string();
        let plan = json(&format!("plan {names} --policy {policy} --output {file}"));
        let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(written, plan);
        let expected = [
            "v1.0.1 v1.2.0 make",
            "v1.0.1 v1.2.1 make",
            "v1.1.0 v1.2.0 make",
            "v1.1.1 v1.2.0 make",
            "v1.1.1 v1.2.1 make",
            "v1.2.0 v1.2.1 make",
        ];
        assert_eq!(verdicts(&plan), expected.iter().flat_map(|pair| [*pair; 2]).collect::<Vec<_>>());
        let publish = |job: &str| {
            format!("publish --plan {file} --job {job} --level 3 --tmp-dir {}", dir.path().display())
        };
        if is_rough {
            // All at once; some are killed, and run again.
            let command = |job: &str| {
                let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_registry-ext"));
                command.args(publish(job).split_whitespace()).env("HOME", "/nonexistent");
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().unwrap()
            };
            for pause in [300, 900] {
                let mut jobs = ["1/3", "2/3", "3/3"].map(command);
                std::thread::sleep(std::time::Duration::from_millis(pause));
                jobs.iter_mut().for_each(|job| job.kill().unwrap());
                for mut job in jobs {
                    job.wait().unwrap();
                }
            }
            for mut job in ["1/3", "2/3", "3/3"].map(command) {
                assert!(job.wait().unwrap().success());
            }
        } else {
            let report = json(&publish("1/1"));
            let targets = report["targets"].as_array().unwrap();
            assert_eq!(targets.len(), 4);
            assert!(targets.iter().all(|target| target["failures"].as_array().unwrap().is_empty()));
        }
        states.push(state(&registry, &apps));
        let again = json(&format!("plan {names} --policy {policy}"));
        let expected = expected.map(|pair| pair.replace("make", "published"));
        assert_eq!(verdicts(&again), expected.iter().flat_map(|pair| [pair.as_str(); 2]).collect::<Vec<_>>());
        assert!(again["repositories"][0]["ratio_is_measured"].as_bool().unwrap());
        // What is there is not made again.
        let before = state(&registry, &apps);
        let report = json(&publish("1/1"));
        let deltas = report["targets"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|of| of["report"]["deltas"].as_array().unwrap());
        assert!(deltas.clone().count() > 0);
        for delta in deltas {
            assert_eq!(delta["outcome"], "already-there", "{delta}");
        }
        assert_eq!(state(&registry, &apps), before);
    }
    assert_eq!(states[0].keys().collect::<Vec<_>>(), states[1].keys().collect::<Vec<_>>());
    assert!(states[0] == states[1]);
}

#[test]
fn what_is_out_of_the_policy_is_removed() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    push_releases(&registry, dir.path(), &["app"]);
    let app = format!("{}/app", registry.address());
    let all = write(dir.path(), "all.toml", "targets = 3\nlast = 5\n");
    let few = write(dir.path(), "few.toml", "targets = 1\nlast = 1\neach-minor = false\n");
    let file = dir.path().join("plan.json").display().to_string();
    json(&format!("plan {app} --policy {all} --output {file}"));
    json(&format!("publish --plan {file} --level 3"));
    let before = state(&registry, &["app"]);
    let shown = registry_ext(&format!("plan {app} --policy {few} --dry-run")).assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(
        shown.contains("nothing is to be made") && shown.contains("out of the policy, artifacts: "),
        "{shown}"
    );
    json(&format!("prune {app} --policy {few} --dry-run"));
    assert_eq!(state(&registry, &["app"]), before, "nothing was changed");
    let pruned = json(&format!("prune {app} --policy {few}"));
    let kept: u64 = pruned.as_array().unwrap().iter().map(|of| of["kept"].as_u64().unwrap()).sum();
    assert!(kept >= 1, "{pruned}");
    let bytes =
        |name: &str| pruned.as_array().unwrap().iter().map(|of| of[name].as_u64().unwrap()).sum::<u64>();
    assert!(bytes("kept_bytes") > 0 && bytes("freed_bytes") > bytes("kept_bytes"), "{pruned}");
    let plan = json(&format!("plan {app} --policy {all}"));
    let made = verdicts(&plan);
    let published: Vec<_> = made.iter().filter(|verdict| verdict.ends_with("published")).collect();
    assert_eq!(published, ["v1.2.0 v1.2.1 published"], "{made:?}");
    assert_eq!(json(&format!("prune {app} --policy {few}")).as_array().unwrap().len(), 1, "only what stays");
}

#[test]
fn a_tag_that_moves_is_updated_from_what_it_named_before() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    let app = format!("{}/app", registry.address());
    let policy = write(dir.path(), "policy.toml", "floating = ['latest']\ntags = ['none']\n");
    let (first, second) = (dir.path().join("1.json"), dir.path().join("2.json"));
    for (index, (minor, patch)) in [(0, 0), (0, 1), (0, 2)].into_iter().enumerate() {
        let images = dir.path().join(index.to_string());
        fs::create_dir(&images).unwrap();
        push_images(&images, &[(&release("app", minor, patch), "latest")], &app);
        let plan = json(&format!(
            "plan {app} --policy {policy} --output {} {}",
            second.display(),
            match index {
                0 => String::new(),
                _ => format!("--previous {}", first.display()),
            }
        ));
        let pairs = plan["repositories"][0]["pairs"].as_array().unwrap();
        assert_eq!(pairs.len(), index, "{plan}");
        for pair in pairs {
            assert_eq!(pair["reasons"][0], "`latest` before");
            assert_eq!(pair["verdict"], "make");
        }
        fs::rename(&second, &first).unwrap();
    }
}

#[test]
fn faults_are_said_and_nothing_is_half_published() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    push_releases(&registry, dir.path(), &["app"]);
    let app = format!("{}/app", registry.address());
    let fails = |line: &str, code: i32, message: &str| {
        let assert = registry_ext(line).assert().code(code);
        let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(message), "{line}: {stderr}");
    };
    let nothing = write(dir.path(), "nothing.toml", "tags = ['x*']");
    fails(&format!("plan {app} --policy {nothing}"), 4, "a tag that the policy takes does not exist");
    fails(&format!("publish {app}:v1.2.0 --job 1/2"), 2, "--job is for a plan");
    let wrong = write(dir.path(), "wrong.toml", "lasst = 3");
    fails(&format!("plan {app} --policy {wrong}"), 1, "unknown field `lasst`");
    fails(&format!("plan {app}-that-is-not-there"), 4, "app-that-is-not-there");
    let file = dir.path().join("plan.json").display().to_string();
    json(&format!("plan {app} --output {file}"));
    fails(&format!("publish --plan {file} --job 3/2"), 2, "of 2 jobs the last one is 2");
    fails(&format!("publish --plan {wrong}"), 1, "the plan");
    let text = fs::read_to_string(&file).unwrap();
    let newer = write(dir.path(), "newer.json", &text.replace("\"version\": 1", "\"version\": 2"));
    fails(&format!("publish --plan {newer}"), 1, "it has version 2");
    // The plan of another repository: its images are not there.
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &format!("docker://{app}:v1.0.0"),
            &format!("docker://{}/other:v1.0.0", registry.address()),
        ],
    );
    let before = state(&registry, &["app", "other"]);
    let other = write(dir.path(), "other.json", &text.replace("/app\"", "/other\""));
    fails(&format!("publish --plan {other}"), 1, "does not exist");
    assert_eq!(state(&registry, &["app", "other"]), before);
    // An old image is gone by now: what can be made is made.
    let old = open(&app, &options(), dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let Repository::Registry(_) = &old else { panic!("it is a registry") };
        let image = old.manifest(&Name::Tag("v1.2.0".into())).await.unwrap().unwrap();
        old.delete_manifest(image.digest).await.unwrap();
    });
    fails(&format!("publish --plan {file} --level 3"), 1, "there is no delta from sha256:");
    let made = verdicts(&json(&format!("plan {app}")));
    assert!(made.iter().any(|verdict| verdict == "v1.1.1 v1.2.1 published"), "{made:?}");
}

#[test]
fn nothing_is_removed_where_the_policy_cannot_be_judged() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    push_releases(&registry, dir.path(), &["app"]);
    let app = format!("{}/app", registry.address());
    let file = dir.path().join("plan.json").display().to_string();
    let policy = write(
        dir.path(),
        "policy.toml",
        "last = 1\neach-minor = false\n[[in-use]]\nimage = 'v1.0.0'\nhosts = 9",
    );
    json(&format!("plan {app} --policy {policy} --output {file}"));
    json(&format!("publish --plan {file} --level 3"));
    let expected = ["v1.0.0 v1.2.1 published", "v1.2.0 v1.2.1 published"];
    assert_eq!(verdicts(&json(&format!("plan {app} --policy {policy}"))), expected);
    // The newest tag is no image: the release before it stays the newest one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let repository = open(&app, &options(), dir.path());
        let image = repository.manifest(&Name::Tag("v1.2.1".into())).await.unwrap().unwrap();
        let mut parsed: Value = serde_json::from_slice(&image.bytes).unwrap();
        let layer = parsed["layers"][0].clone();
        parsed["config"] = layer;
        let manifest = registry_ext::oci::Manifest::new(parsed.to_string().into_bytes(), None);
        repository.put_manifest(&manifest, Some("v1.3.0")).await.unwrap();
    });
    let before = state(&registry, &["app"]);
    assert_eq!(verdicts(&json(&format!("plan {app} --policy {policy}"))), expected);
    let refused = registry_ext(&format!("prune {app} --policy {policy}")).assert().code(1);
    let stderr = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("v1.3.0") && stderr.contains("Nothing is removed"), "{stderr}");
    let floating = write(dir.path(), "floating.toml", "floating = ['latest']");
    let refused = registry_ext(&format!("prune {app} --policy {floating}")).assert().code(2);
    let stderr = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("--previous"), "{stderr}");
    assert_eq!(state(&registry, &["app"]), before);
    let ignoring = write(
        dir.path(),
        "ignoring.toml",
        "last = 1\neach-minor = false\nignore = ['v1.3.0']\n[[in-use]]\nimage = 'v1.0.0'\nhosts = 9",
    );
    json(&format!("prune {app} --policy {ignoring}"));
    assert_eq!(verdicts(&json(&format!("plan {app} --policy {ignoring}"))), expected);
}
