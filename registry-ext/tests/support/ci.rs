//! A project with releases, and the registry of its images.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use fixtures::{Ending, LayerBuilder, Rng};
use tempfile::TempDir;

use super::docker_registry::{DockerRegistry, Setup, run};
use super::images::{TestImage, write_images};
use super::registry_ext;

/// A registry that wants a password, a git repository, and what finds the command.
pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    registry: DockerRegistry,
}

/// The image of a release: a program that stays the same, and the number of the release.
fn release(tag: &str) -> TestImage {
    let mut layer = LayerBuilder::new();
    layer.file("usr/bin/app", Rng::new(1).bytes(200_000)).file("etc/version", tag);
    TestImage::new(&[&layer.finish(Ending::Normal)])
}

impl Scene {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn app(&self) -> String {
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
    pub(crate) fn tag(&self, tag: &str) {
        self.git("work", &["tag", tag]);
        self.git("work", &["push", "--quiet", "origin", tag]);
        self.git("work", &["tag", "--delete", tag]);
    }

    pub(crate) fn push_image(&self, tag: &str) {
        let layout = write_images(&self.dir.path().join(tag), &[(&release(tag), tag)]);
        let from = format!("oci:{}:{tag}", layout.dir().display());
        let (to, authfile) =
            (format!("docker://{}:{tag}", self.app()), self.authfile().display().to_string());
        run("skopeo", &["copy", "-q", "--dest-tls-verify=false", "--dest-authfile", &authfile, &from, &to]);
    }

    /// Runs a script with the options that a system gives the shell, in the clone of the repository.
    pub(crate) fn run(&self, script: &str, options: &[&str], variables: &[(&str, String)]) -> Output {
        let file = self.dir.path().join("script");
        fs::write(&file, script).unwrap();
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        Command::new("bash")
            .args(options)
            .arg(file)
            .current_dir(self.dir.path().join("work"))
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("REGISTRY_AUTH_FILE", "/nonexistent")
            .envs(variables.iter().cloned())
            .output()
            .unwrap()
    }

    /// The old images that a tag has deltas from.
    pub(crate) fn sources(&self, tag: &str) -> Vec<String> {
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

/// Returns what a command that succeeded said to stderr.
pub(crate) fn succeeds(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
    text
}
