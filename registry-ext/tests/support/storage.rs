//! podman, buildah and skopeo, each with a storage and a configuration of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::registry_ext;

/// A place with the images of podman and its like.
#[derive(Debug)]
pub(crate) struct Storage {
    dir: PathBuf,
    driver: &'static str,
}

/// Mounts the configuration of the test, and runs what follows. The mounts of the storage go away with it.
const IN_NAMESPACE: &str = "mount --bind \"$0\" /etc/containers/registries.conf.d && exec \"$@\"";

impl Storage {
    /// An empty storage. Its clients have no configuration.
    pub(crate) fn new(dir: PathBuf, driver: &'static str) -> Self {
        fs::create_dir_all(dir.join("tmp")).unwrap();
        fs::create_dir_all(dir.join("etc/containers/registries.conf.d")).unwrap();
        fs::write(dir.join("auth.json"), "{}").unwrap();
        Self { dir, driver }
    }

    /// Lets the clients pull from a registry through a mirror.
    pub(crate) fn configure(&self, mirror: impl ToString, registry: &str) {
        let (mirror, root) = (mirror.to_string(), self.dir.display());
        let line =
            format!("mirror configure podman --mirror {mirror} --registry {registry} --write --root {root}");
        registry_ext(&line).assert().success();
    }

    /// Takes all configuration away.
    pub(crate) fn forget_mirrors(&self) {
        for entry in fs::read_dir(self.dir.join("etc/containers/registries.conf.d")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// Gives the clients credentials, as `podman login` would.
    pub(crate) fn log_in(&self, credentials: &str) {
        fs::write(self.dir.join("auth.json"), credentials).unwrap();
    }

    /// The storage as `--source` names it.
    pub(crate) fn source(&self) -> String {
        format!("containers-storage:{}", self.place())
    }

    fn place(&self) -> String {
        let dir = self.dir.display();
        format!("[{}@{dir}/root+{dir}/run]", self.driver)
    }

    /// A command line in the namespace of its clients. `podman` and `buildah` are given this storage.
    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let (root, run) = (self.dir.join("root"), self.dir.join("run"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", IN_NAMESPACE]);
        command.arg(self.dir.join("etc/containers/registries.conf.d")).arg(line[0]);
        if line[0] != "skopeo" && line[0] != "sh" {
            command
                .arg("--root")
                .arg(&root)
                .arg("--runroot")
                .arg(&run)
                .args(["--storage-driver", self.driver]);
        }
        command.args(&line[1..]).env("HOME", &self.dir).env("TMPDIR", self.dir.join("tmp"));
        command.env("ROOT", root).env("RUN", run).env("DRIVER", self.driver);
        command.env("REGISTRY_AUTH_FILE", self.dir.join("auth.json"));
        command
    }

    /// Runs a client.
    pub(crate) fn output(&self, line: &[&str]) -> Output {
        self.command(line).output().expect("unshare is there (Debian package util-linux)")
    }

    /// Runs a client that has to succeed.
    pub(crate) fn run(&self, line: &[&str]) -> String {
        let output = self.output(line);
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The command line by which a client pulls an image. A `plain` pull may use http.
    fn pull_line(&self, client: &str, image: &str, plain: bool) -> Vec<String> {
        let flag = if client == "skopeo" { "--src-tls-verify=false" } else { "--tls-verify=false" };
        let flag = plain.then_some(flag);
        let line: Vec<String> = match client {
            "skopeo" => {
                let to = format!("containers-storage:{}{image}", self.place());
                ["skopeo", "copy", "-q"]
                    .into_iter()
                    .chain(flag)
                    .map(str::to_owned)
                    .chain([format!("docker://{image}"), to])
                    .collect()
            }
            _ => [client, "pull", "-q"].into_iter().chain(flag).chain([image]).map(str::to_owned).collect(),
        };
        line
    }

    /// Pulls an image as configured: from a registry that speaks http, that is only possible through the mirror.
    pub(crate) fn pull(&self, client: &str, image: &str) {
        let line = self.pull_line(client, image, false);
        self.run(&line.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Pulls an image from where it can be had. Returns the messages of a failure.
    pub(crate) fn try_pull(&self, client: &str, image: &str) -> Result<(), String> {
        let line = self.pull_line(client, image, true);
        let output = self.output(&line.iter().map(String::as_str).collect::<Vec<_>>());
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Begins to pull an image from where it can be had.
    pub(crate) fn begin_pull(&self, client: &str, image: &str) -> Child {
        let line = self.pull_line(client, image, true);
        let mut command = self.command(&line.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Removes an image, if it is there, with all that no other image needs.
    pub(crate) fn remove(&self, image: &str) {
        self.output(&["podman", "image", "rm", image]);
    }

    /// Digest of the manifest, ID, and all files of an image.
    pub(crate) fn look_at(&self, image: &str) -> String {
        let digests = self.run(&["podman", "image", "inspect", "--format", "{{.Digest}} {{.Id}}", image]);
        let podman = "podman --root $ROOT --runroot $RUN --storage-driver $DRIVER image";
        let script = format!(
            "root=$({podman} mount {image}) && cd $root && {LISTING}; cd / && {podman} unmount {image} > /dev/null"
        );
        let files = self.run(&["sh", "-ec", &script]);
        assert!(files.contains(" ./etc/os-release"), "{files}");
        format!("{digests}\n{files}")
    }
}

/// Lists the files of a directory, with all that matters of them.
pub(crate) const LISTING: &str = "find . -type d -printf 'd %m %U:%G %p\\n' -o -printf '%y %m %U:%G %s %T@ %l %p\\n' | sort; \
     find . -type f -exec sha256sum {} + | sort";

/// Lists the files of a directory.
pub(crate) fn list_files(dir: &Path) -> String {
    let output = Command::new("sh").args(["-ec", LISTING]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
