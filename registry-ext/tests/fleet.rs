//! The files in `packaging/fleet`: their scripts as they stand, with the variables that each engine sets, on a real
//! registry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::docker_registry::{DockerRegistry, Setup, push_images};
use crate::support::images::TestImage;
use crate::support::json as registry_ext;
use fixtures::{Ending, LayerBuilder, Rng};
use k8s_openapi::api::batch::v1::Job;
use registry_ext::plan::Policy;
use serde_json::{Value, json};
use tempfile::TempDir;

fn fleet(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/fleet").join(file)
}

fn read(file: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(fleet(file)).unwrap()).unwrap()
}

/// A registry with two repositories, and what finds the command.
struct Scene {
    dir: TempDir,
    registry: DockerRegistry,
}

impl Scene {
    fn new() -> Self {
        let (dir, registry) = (TempDir::new().unwrap(), DockerRegistry::start(Setup::default()));
        for name in ["web", "worker"] {
            let release = |patch: u8| {
                let mut layer = LayerBuilder::new();
                layer.file("app", Rng::new(1).bytes(50_000)).file("version", [patch]);
                TestImage::new(&[&layer.finish(Ending::Normal)])
            };
            let tags = ["1.0.0", "1.0.1", "1.0.2"];
            let images = [0, 1, 2].map(release);
            let images: Vec<_> = images.iter().zip(tags).collect();
            fs::create_dir(dir.path().join(name)).unwrap();
            push_images(&dir.path().join(name), &images, &format!("{}/{name}", registry.address()));
        }
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_registry-ext"), bin.join("registry-ext")).unwrap();
        let policy = dir.path().join("packaging/fleet");
        fs::create_dir_all(&policy).unwrap();
        fs::copy(fleet("policy.toml"), policy.join("policy.toml")).unwrap();
        Self { dir, registry }
    }

    /// Runs a script as an engine does.
    fn run(&self, script: &str, variables: &[(&str, &str)]) {
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-e", "-c", &script.replace("registry.example", &self.registry.address())]);
        command.current_dir(self.dir.path()).env("PATH", path).env("HOME", "/nonexistent");
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Asserts that all updates of the plan have their deltas.
    fn is_published(&self) {
        let names = ["web", "worker"].map(|name| format!("{}/{name}", self.registry.address())).join(" ");
        let plan = registry_ext(&format!("plan {names}"));
        let pairs: Vec<&Value> = plan["repositories"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|of| of["pairs"].as_array().unwrap())
            .collect();
        assert_eq!(pairs.len(), 4, "{plan}");
        assert!(pairs.iter().all(|pair| pair["verdict"] == "published"), "{plan}");
    }
}

/// The script of the step with this name.
fn step<'w>(workflow: &'w Value, job: &str, name: &str) -> &'w str {
    let steps = workflow["jobs"][job]["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap()["run"].as_str().unwrap()
}

#[test]
fn the_policy_says_the_defaults() {
    assert_eq!(Policy::parse(&fs::read_to_string(fleet("policy.toml")).unwrap()).unwrap(), Policy::default());
}

#[test]
fn github_publishes_by_a_matrix() {
    let (scene, workflow) = (Scene::new(), read("github.yml"));
    scene.run(step(&workflow, "plan", "Plan"), &[]);
    let jobs = workflow["jobs"]["publish"]["strategy"]["matrix"]["job"].as_array().unwrap();
    for job in jobs {
        scene.run(step(&workflow, "publish", "Publish"), &[("JOB", &format!("{job}/{}", jobs.len()))]);
    }
    scene.is_published();
}

#[test]
fn gitlab_publishes_in_parallel() {
    let (scene, pipeline) = (Scene::new(), read("gitlab.yml"));
    let script = |job: &str| pipeline[job]["script"][0].as_str().unwrap().to_owned();
    scene.run(&script("plan"), &[("CI_REGISTRY_IMAGE", &scene.registry.address())]);
    let total = pipeline["publish"]["parallel"].as_u64().unwrap();
    for index in 1..=total {
        let variables = [("CI_NODE_INDEX", &*index.to_string()), ("CI_NODE_TOTAL", &*total.to_string())];
        scene.run(&script("publish"), &variables);
    }
    scene.is_published();
}

#[test]
fn slurm_publishes_by_an_array() {
    let scene = Scene::new();
    let names = ["web", "worker"].map(|name| format!("{}/{name}", scene.registry.address())).join(" ");
    scene.run(&format!("registry-ext plan {names} --output plan.json"), &[]);
    let script = fleet("slurm.sh").display().to_string();
    for task in ["1", "2", "3"] {
        let variables = [("SLURM_ARRAY_TASK_ID", task), ("SLURM_ARRAY_TASK_COUNT", "3")];
        scene.run(&format!("{script} plan.json --level 3"), &variables);
    }
    scene.is_published();
}

#[test]
fn kubernetes_publishes_by_an_indexed_job() {
    let (scene, job) = (Scene::new(), read("kubernetes.yaml"));
    let known: Job = serde_json::from_value(job.clone()).unwrap();
    assert_eq!(serde_json::to_value(&known).unwrap(), job, "each field is one of a Job");
    assert_eq!(
        (&job["spec"]["completionMode"], &job["spec"]["restartPolicy"]),
        (&json!("Indexed"), &Value::Null)
    );
    let names = ["web", "worker"].map(|name| format!("{}/{name}", scene.registry.address())).join(" ");
    scene.run(&format!("registry-ext plan {names} --output plan.json"), &[]);
    fs::write(scene.dir.path().join("config.json"), "{}").unwrap();
    let place = scene.dir.path().display().to_string();
    let command = job["spec"]["template"]["spec"]["containers"][0]["command"].as_array().unwrap();
    let count = job["spec"]["completions"].as_u64().unwrap();
    for index in 0..count {
        let words = command.iter().map(|word| {
            let word = word.as_str().unwrap().replace("$(JOB_COMPLETION_INDEX)", &index.to_string());
            let word = word.replace("/plan/plan.json", "plan.json").replace("/login/", "");
            word.replace("/scratch", &place)
        });
        scene.run(&words.collect::<Vec<_>>().join(" "), &[]);
    }
    scene.is_published();
}
