//! The recipes for GitHub Actions and GitLab in the guide for CI: their scripts as they stand there, in a git
//! repository with tags, against a real registry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use fixtures::{Ending, LayerBuilder, Rng};
use support::docker_registry::{DockerRegistry, Setup, run};
use support::images::{TestImage, write_images};
use support::registry_ext;
use tempfile::TempDir;

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/publish-from-ci.md");

/// A system that runs scripts.
#[derive(Debug, Clone, Copy)]
enum Ci {
    GitHub,
    GitLab,
}

impl Ci {
    /// Returns the lines of the script in the guide.
    fn script(self) -> String {
        let guide = fs::read_to_string(GUIDE).unwrap();
        let (start, end) = match self {
            Self::GitHub => ("  run: |\n", "```"),
            Self::GitLab => ("  script:\n    - |\n", "```"),
        };
        let (_, script) = guide.split_once(start).unwrap();
        let (script, _) = script.split_once(end).unwrap();
        assert!(script.contains("registry-ext publish"), "{script}");
        script.to_owned()
    }

    /// The variables that the system and the recipe set.
    fn variables(self, app: &str, tag: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::GitHub => vec![
                ("IMAGE", app.to_owned()),
                ("TOKEN", "secret".to_owned()),
                ("GITHUB_REF_NAME", tag.to_owned()),
            ],
            Self::GitLab => vec![
                ("CI_REGISTRY_IMAGE", app.to_owned()),
                ("CI_REGISTRY_USER", "ci".to_owned()),
                ("CI_REGISTRY_PASSWORD", "secret".to_owned()),
                ("CI_COMMIT_TAG", tag.to_owned()),
            ],
        }
    }
}

/// A registry that wants a password, a git repository, and what finds the command.
struct Scene {
    dir: TempDir,
    registry: DockerRegistry,
}

/// The image of a release: a program that stays the same, and the number of the release.
fn release(tag: &str) -> TestImage {
    let mut layer = LayerBuilder::new();
    layer.file("usr/bin/app", Rng::new(1).bytes(200_000)).file("etc/version", tag);
    TestImage::new(&[&layer.finish(Ending::Normal)])
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            dir: TempDir::new().unwrap(),
            registry: DockerRegistry::start(Setup { user: Some(("ci", "secret")), ..Setup::default() }),
        };
        let login =
            r#"{"auths":{"ADDRESS":{"auth":"Y2k6c2VjcmV0"}}}"#.replace("ADDRESS", &scene.registry.address());
        fs::write(scene.authfile(), login).unwrap();
        let bin = scene.dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_registry-ext"), bin.join("registry-ext")).unwrap();
        scene.git("origin.git", &["init", "--quiet", "--bare"]);
        scene.git("work", &["init", "--quiet"]);
        scene.git("work", &["remote", "add", "origin", "../origin.git"]);
        scene.git("work", &["commit", "--quiet", "--allow-empty", "--message", "first"]);
        scene
    }

    fn authfile(&self) -> PathBuf {
        self.dir.path().join("auth.json")
    }

    fn app(&self) -> String {
        format!("{}/app", self.registry.address())
    }

    fn git(&self, repository: &str, args: &[&str]) {
        let directory = self.dir.path().join(repository);
        fs::create_dir_all(&directory).unwrap();
        let who = ["-c", "user.name=ci", "-c", "user.email=ci@localhost"];
        let mut command = Command::new("git");
        command.current_dir(directory).args(who).args(args).env("HOME", self.dir.path());
        let output = command.output().expect("git has to be installed for this test");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Gives the commit a tag that only `origin` has, as where a CI system fetches one commit.
    fn tag(&self, tag: &str) {
        self.git("work", &["tag", tag]);
        self.git("work", &["push", "--quiet", "origin", tag]);
        self.git("work", &["tag", "--delete", tag]);
    }

    fn push_image(&self, tag: &str) {
        let layout = write_images(&self.dir.path().join(tag), &[(&release(tag), tag)]);
        let from = format!("oci:{}:{tag}", layout.dir().display());
        let (to, authfile) =
            (format!("docker://{}:{tag}", self.app()), self.authfile().display().to_string());
        run("skopeo", &["copy", "-q", "--dest-tls-verify=false", "--dest-authfile", &authfile, &from, &to]);
    }

    /// Runs the script as the system does for a tag.
    fn run(&self, ci: Ci, tag: &str) -> Output {
        let script = self.dir.path().join("script");
        fs::write(&script, ci.script()).unwrap();
        // What the systems give the shell (GitHub, "Workflow syntax", jobs.<id>.steps[*].shell; GitLab Runner,
        // shells/bash.go).
        let options: &[&str] = match ci {
            Ci::GitHub => &["--noprofile", "--norc", "-e", "-o", "pipefail"],
            Ci::GitLab => &["-e", "-o", "pipefail"],
        };
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        Command::new("bash")
            .args(options)
            .arg(script)
            .current_dir(self.dir.path().join("work"))
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("REGISTRY_AUTH_FILE", "/nonexistent")
            .envs(ci.variables(&self.app(), tag))
            .output()
            .unwrap()
    }

    /// The old images that a tag has deltas from.
    fn sources(&self, tag: &str) -> Vec<String> {
        let line = format!("list {}:{tag} --json --authfile {}", self.app(), self.authfile().display());
        let output = registry_ext(&line).assert().success().get_output().stdout.clone();
        let listed: serde_json::Value = serde_json::from_slice(&output).unwrap();
        let images = listed.as_array().unwrap().iter().filter(|delta| delta["from_kind"] == "image");
        let mut tags: Vec<String> = images
            .flat_map(|delta| delta["from_tags"].as_array().unwrap())
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect();
        tags.sort();
        tags.dedup();
        tags
    }
}

fn succeeds(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
    text
}

fn a_project_from_its_first_release_on(ci: Ci) {
    let scene = Scene::new();
    scene.tag("v1");
    scene.push_image("v1");
    let said = succeeds(&scene.run(ci, "v1"));
    assert!(said.contains("nothing is published"), "{said}");
    assert!(scene.sources("v1").is_empty());

    scene.tag("v2");
    scene.push_image("v2");
    succeeds(&scene.run(ci, "v2"));
    assert_eq!(scene.sources("v2"), ["v1"]);

    // A release whose image was never pushed.
    scene.tag("v2.5");
    scene.tag("v3");
    scene.push_image("v3");
    let said = succeeds(&scene.run(ci, "v3"));
    assert!(said.contains("v2.5"), "{said}");
    assert_eq!(scene.sources("v3"), ["v1", "v2"]);
}

#[test]
fn github_actions() {
    a_project_from_its_first_release_on(Ci::GitHub);
}

#[test]
fn gitlab() {
    a_project_from_its_first_release_on(Ci::GitLab);
}
