//! The recipes for GitHub Actions and GitLab, their scripts as they stand, in a git repository with tags,
//! against a real registry: those in the guide for CI, the action and the component.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::process::Output;

use crate::support::ci::{Scene, succeeds};
use crate::support::docker_registry::run;
use serde_json::Value;

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/publish-from-ci.md");
const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What GitHub and GitLab give the shell (GitHub, "Workflow syntax", jobs.<id>.steps[*].shell; GitLab Runner,
/// shells/bash.go).
const SHELL_OF_GITHUB: &[&str] = &["--noprofile", "--norc", "-e", "-o", "pipefail"];
const SHELL_OF_GITLAB: &[&str] = &["-e", "-o", "pipefail"];

/// Returns the lines of a script in the guide, between the line before and the end of the block.
fn script_of_guide(before: &str) -> String {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let (_, script) = guide.split_once(before).unwrap();
    let (script, _) = script.split_once("```").unwrap();
    assert!(script.contains("registry-ext publish"), "{script}");
    script.to_owned()
}

fn github_guide(scene: &Scene, tag: &str) -> Output {
    let variables = [("IMAGE", scene.app()), ("TOKEN", "secret".into()), ("GITHUB_REF_NAME", tag.to_owned())];
    scene.run(&script_of_guide("  run: |\n"), SHELL_OF_GITHUB, &variables)
}

fn gitlab_variables(scene: &Scene, tag: &str) -> Vec<(&'static str, String)> {
    vec![
        ("CI_REGISTRY_IMAGE", scene.app()),
        ("CI_REGISTRY_USER", "ci".into()),
        ("CI_REGISTRY_PASSWORD", "secret".into()),
        ("CI_COMMIT_TAG", tag.to_owned()),
    ]
}

fn gitlab_guide(scene: &Scene, tag: &str) -> Output {
    scene.run(&script_of_guide("  script:\n    - |\n"), SHELL_OF_GITLAB, &gitlab_variables(scene, tag))
}

/// Makes a release of the tools for this machine, and returns its checksum.
fn tools(scene: &Scene) -> String {
    let path = |name: &str| scene.dir.path().join(name);
    let name = format!("tar-diff-{VERSION}-{}-unknown-linux-musl", std::env::consts::ARCH);
    let bin = path(&name).join("bin");
    if !bin.exists() {
        // The test of the recipes in the guide has the command in the path; here, the tarball brings it.
        fs::remove_file(path("bin").join("registry-ext")).unwrap();
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_registry-ext"), bin.join("registry-ext")).unwrap();
        fs::copy(format!("{PACKAGING}/ci/publish-deltas"), bin.join("publish-deltas")).unwrap();
        let releases = path("releases").join(format!("v{VERSION}"));
        fs::create_dir_all(&releases).unwrap();
        let tarball = releases.join(format!("{name}.tar.gz"));
        let dir = scene.dir.path().to_str().unwrap();
        run("tar", &["-C", dir, "-czf", tarball.to_str().unwrap(), &name]);
    }
    let tarball = path("releases").join(format!("v{VERSION}/{name}.tar.gz"));
    layer::Digest::of(&fs::read(tarball).unwrap()).to_string().split_off("sha256:".len())
}

/// Returns the inputs of the action or of the component that the user gives.
fn inputs(scene: &Scene, sha256: &str) -> HashMap<String, String> {
    let releases = format!("file://{}", scene.dir.path().join("releases").display());
    [
        ("version", VERSION),
        ("sha256", sha256),
        ("releases", &releases),
        ("image", &scene.app()),
        ("keep", "2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Puts the inputs into a text: those that are given, or else their defaults.
fn filled(text: &str, marks: (&str, &str), given: &HashMap<String, String>, declared: &Value) -> String {
    let mut text = text.to_owned();
    for (name, input) in declared.as_object().unwrap() {
        let default =
            || input["default"].as_str().unwrap_or_else(|| panic!("{name} has to be given")).to_owned();
        let value = given.get(name).cloned().unwrap_or_else(default);
        text = text.replace(&format!("{} inputs.{name} {}", marks.0, marks.1), &value);
    }
    text
}

/// Runs the steps of the action, each with the path that the steps before it have made.
fn github_action(scene: &Scene, tag: &str) -> Output {
    github_action_with(scene, tag, &tools(scene))
}

fn github_action_with(scene: &Scene, tag: &str, sha256: &str) -> Output {
    let text = fs::read_to_string(format!("{PACKAGING}/github-action/action.yml")).unwrap();
    let action: Value = serde_saphyr::from_str(&text).unwrap();
    let path = |name: &str| scene.dir.path().join(name).display().to_string();
    for file in ["github-path", "summary"] {
        fs::write(path(file), "").unwrap();
    }
    let mut given = inputs(scene, sha256);
    for (name, value) in [("tag", tag), ("username", "ci"), ("password", "secret")] {
        given.insert(name.into(), value.into());
    }
    let mut last = None;
    for step in action["runs"]["steps"].as_array().unwrap() {
        let mut variables: Vec<(&str, String)> = vec![
            ("RUNNER_TEMP", path("")),
            ("GITHUB_PATH", path("github-path")),
            ("GITHUB_STEP_SUMMARY", path("summary")),
        ];
        for (name, value) in step["env"].as_object().unwrap() {
            let value = filled(value.as_str().unwrap(), ("${{", "}}"), &given, &action["inputs"]);
            variables.push((name, value));
        }
        let added = fs::read_to_string(path("github-path")).unwrap().lines().collect::<Vec<_>>().join(":");
        let script = format!("PATH={added}:$PATH\n{}", step["run"].as_str().unwrap());
        let output = scene.run(&script, SHELL_OF_GITHUB, &variables);
        if !output.status.success() {
            return output;
        }
        last = Some(output);
    }
    last.unwrap()
}

/// Runs the job of the component.
fn gitlab_component(scene: &Scene, tag: &str) -> Output {
    let text = fs::read_to_string(format!("{PACKAGING}/gitlab/deltas.yml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let given = inputs(scene, &tools(scene));
    let fill =
        |text: &Value| filled(text.as_str().unwrap(), ("$[[", "]]"), &given, &documents[0]["spec"]["inputs"]);
    let job = &documents[1]["deltas"];
    let mut variables = gitlab_variables(scene, tag);
    for (name, value) in job["variables"].as_object().unwrap() {
        variables.push((name, fill(value)));
    }
    let script: Vec<String> = job["script"].as_array().unwrap().iter().map(fill).collect();
    scene.run(&script.join("\n"), SHELL_OF_GITLAB, &variables)
}

fn a_project_from_its_first_release_on(publish: fn(&Scene, &str) -> Output) -> Scene {
    let scene = Scene::new();
    scene.tag("v1");
    scene.push_image("v1");
    succeeds(&publish(&scene, "v1"));
    assert!(scene.sources("v1").is_empty());

    scene.tag("v2");
    scene.push_image("v2");
    succeeds(&publish(&scene, "v2"));
    assert_eq!(scene.sources("v2"), ["v1"]);

    // A release whose image was never pushed.
    scene.tag("v2.5");
    scene.tag("v3");
    scene.push_image("v3");
    let said = succeeds(&publish(&scene, "v3"));
    assert!(said.contains("v2.5"), "{said}");
    assert_eq!(scene.sources("v3"), ["v1", "v2"]);
    scene
}

#[test]
fn github_actions() {
    a_project_from_its_first_release_on(github_guide);
}

#[test]
fn gitlab() {
    a_project_from_its_first_release_on(gitlab_guide);
}

#[test]
fn the_action_shows_what_each_update_costs() {
    let scene = a_project_from_its_first_release_on(github_action);
    let shown = fs::read_to_string(scene.dir.path().join("summary")).unwrap();
    for update in ["| v1 → v3 |", "| v2 → v3 |"] {
        let line = shown.lines().find(|line| line.starts_with(update)).unwrap_or_else(|| panic!("{shown}"));
        let numbers: Vec<u64> = line.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
        assert!(numbers.len() == 2 && numbers[1] * 10 < numbers[0], "{shown}");
    }
    // The older releases are no longer among the last two.
    scene.tag("v4");
    scene.push_image("v4");
    succeeds(&github_action(&scene, "v4"));
    assert_eq!(scene.sources("v4"), ["v2", "v3"]);
    let wrong = github_action_with(&scene, "v4", &"0".repeat(64));
    assert!(!wrong.status.success(), "a tarball with another checksum is not installed");
    let missing = github_action(&scene, "v5");
    assert!(!missing.status.success(), "the new image is not there");
}

#[test]
fn the_component_publishes_deltas() {
    let scene = a_project_from_its_first_release_on(gitlab_component);
    let again = gitlab_component(&scene, "v3");
    succeeds(&again);
    let shown = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(shown.contains("| v2 → v3 | ") && shown.contains("published before"), "{shown}");
}
