//! containerd with `ctr`, its client, configured for a mirror.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use super::daemons::Daemon;
use super::registry_ext;
use super::storage::LISTING;

/// A running containerd, with a configuration for its client.
#[derive(Debug)]
pub(crate) struct Containerd {
    daemon: Daemon,
    dir: PathBuf,
    snapshotter: &'static str,
}

impl Containerd {
    /// Starts it, without images and without a configuration for pulls.
    pub(crate) fn start(dir: PathBuf, snapshotter: &'static str) -> Self {
        fs::create_dir_all(dir.join("etc/containerd/certs.d")).unwrap();
        Self { daemon: Daemon::containerd(), dir, snapshotter }
    }

    /// The store as `--source` names it.
    pub(crate) fn source(&self) -> String {
        format!("containerd:{}", self.daemon.root().display())
    }

    /// Lets it pull from a registry, or from all, through a mirror.
    pub(crate) fn configure(&self, mirror: impl ToString, registry: Option<&str>) {
        let registry = registry.map(|registry| format!("--registry {registry}")).unwrap_or_default();
        let (mirror, root) = (mirror.to_string(), self.dir.display());
        let line = format!("mirror configure containerd --mirror {mirror} {registry} --write --root {root}");
        registry_ext(&line).assert().success();
    }

    /// Takes all configuration away.
    pub(crate) fn forget_mirrors(&self) {
        let hosts = self.dir.join("etc/containerd/certs.d");
        fs::remove_dir_all(&hosts).unwrap();
        fs::create_dir(hosts).unwrap();
    }

    /// Pulls an image as a user, given as `NAME:PASSWORD`. Returns the messages of a failure.
    pub(crate) fn try_pull_as(&self, user: &str, image: &str) -> Result<(), String> {
        Self::outcome(self.pull_command(image).args(["--user", user]))
    }

    fn pull_command(&self, image: &str) -> Command {
        let hosts = self.dir.join("etc/containerd/certs.d").display().to_string();
        let options = ["--plain-http", "--snapshotter", self.snapshotter, "--hosts-dir", &hosts];
        self.daemon.client(&[&["images", "pull"], &options[..], &[image]].concat())
    }

    /// Pulls an image, which has to succeed.
    pub(crate) fn pull(&self, image: &str) {
        self.try_pull(image).unwrap();
    }

    /// Pulls an image. Returns the messages of a failure.
    pub(crate) fn try_pull(&self, image: &str) -> Result<(), String> {
        Self::outcome(&mut self.pull_command(image))
    }

    fn outcome(command: &mut Command) -> Result<(), String> {
        let Output { status, stderr, .. } = command.output().unwrap();
        let failure = || String::from_utf8_lossy(&stderr).into_owned();
        if status.success() { Ok(()) } else { Err(failure()) }
    }

    /// Begins to pull an image.
    pub(crate) fn begin_pull(&self, image: &str) -> Child {
        self.pull_command(image).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Removes an image, if it is there, with all that no other image needs.
    pub(crate) fn remove(&self, image: &str) {
        let mut command = self.daemon.client(&["images", "remove", "--sync", image]);
        command.output().unwrap();
    }

    /// The digest and all files of an image.
    pub(crate) fn look_at(&self, image: &str) -> String {
        let list = self.daemon.run(&["images", "list", &format!("name=={image}")]);
        let digest = list.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap().to_owned();
        let dir = tempfile::TempDir::new_in(&self.dir).unwrap();
        let mount = self.daemon.client(&["images", "mount", "--snapshotter", self.snapshotter, image]);
        let mut command = Command::new("unshare");
        let script = format!("\"$@\" \"$0\" > /dev/null && cd \"$0\" && {LISTING}");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", &script]).arg(dir.path());
        let output = command.arg(mount.get_program()).args(mount.get_args()).output().unwrap();
        let files = String::from_utf8(output.stdout).unwrap();
        assert!(files.contains(" ./etc/os-release"), "{files} {}", String::from_utf8_lossy(&output.stderr));
        format!("{digest}\n{files}")
    }
}
