//! The daemons that keep images for others: `dockerd` and `containerd`, as Debian packages them, each with
//! directories of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::docker_registry::run;

/// The longest time that a daemon takes to start or to stop.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The configuration of docker: it leaves the network of the machine alone.
pub(crate) const DOCKER_CONFIG: &str =
    r#"{"iptables": false, "ip-forward": false, "ip-masq": false, "bridge": "none"}"#;

/// A running daemon, stopped on drop.
#[derive(Debug)]
pub(crate) struct Daemon {
    dir: TempDir,
    process: Option<Child>,
    client: &'static str,
}

impl Daemon {
    /// Starts docker with a graph driver.
    pub(crate) fn docker(driver: &str) -> Self {
        Self::docker_with(driver, DOCKER_CONFIG)
    }

    /// Starts docker with a graph driver and a configuration, which is like [`DOCKER_CONFIG`].
    pub(crate) fn docker_with(driver: &str, config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("daemon.json"), config).unwrap();
        let socket = format!("unix://{}", path("socket"));
        let (root, state) = (path("root"), path("state"));
        let (config, pid) = (path("daemon.json"), path("pid"));
        let args = ["dockerd", "--config-file", &config, "--data-root", &root, "--exec-root", &state];
        let args = [&args[..], &["--pidfile", &pid, "--host", &socket, "--storage-driver", driver]].concat();
        Self::start(dir, &args, "docker")
    }

    /// Starts containerd, without the plugin that kubelet needs.
    pub(crate) fn containerd() -> Self {
        Self::containerd_with("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")
    }

    /// Starts containerd with more configuration.
    pub(crate) fn containerd_with(more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n{more}[grpc]\naddress = \"{}\"\n",
            path("root"),
            path("state"),
            path("socket"),
        );
        fs::write(path("config.toml"), config).unwrap();
        let config = path("config.toml");
        Self::start(dir, &["containerd", "--config", &config], "ctr")
    }

    fn start(dir: TempDir, args: &[&str], client: &'static str) -> Self {
        // Mounts of the daemon go away with it, and so do the files that it makes outside of its own
        // directories: a key, sockets of plugins. /etc/docker is there, docker-registry has its configuration in it.
        let script =
            "for dir in /etc/docker /opt /run; do mount -t tmpfs none $dir || exit; done; exec \"$@\"";
        let unshare = ["--mount", "--propagation", "private", "sh", "-c", script, "sh"];
        let log = File::create(dir.path().join("log")).unwrap();
        // Where the machine is slow, docker holds its containerd for dead and makes it write its stacks to the
        // temp directory before it starts another one.
        let temp_dir = dir.path().join("tmp");
        fs::create_dir(&temp_dir).unwrap();
        let process = Command::new("unshare")
            .args([&unshare[..], args].concat())
            .env("TMPDIR", temp_dir)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare has to be installed for this test (Debian package util-linux)");
        let mut daemon = Self { dir, process: Some(process), client };
        let started = Instant::now();
        while !daemon
            .client(&["version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
        {
            let log = || fs::read_to_string(daemon.dir.path().join("log")).unwrap();
            let ended = daemon.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{} needs root, and its Debian package docker.io or containerd: {}",
                args[0],
                log()
            );
            assert!(started.elapsed() < TIMEOUT, "{} did not start: {}", args[0], log());
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// A command line of the client of the daemon.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let socket = self.dir.path().join("socket").display().to_string();
        let mut command = Command::new(self.client);
        match self.client {
            "docker" => command.args(["--host", &format!("unix://{socket}")]),
            _ => command.args(["--address", &socket]),
        };
        command.args(args).env("DOCKER_CONFIG", self.dir.path());
        command
    }

    /// Runs the client of the daemon, which has to succeed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.client(args).output();
        let output = output.unwrap_or_else(|error| panic!("{} has to be installed: {error}", self.client));
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The directory with the daemon's images.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The socket that the daemon listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Lets others pass to the root.
    pub(crate) fn open_way(&self) {
        run("chmod", &["755", &self.dir.path().display().to_string()]);
    }

    /// Stops the daemon. Its directory stays.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // One that has ended by itself made the test fail already.
        if process.try_wait().unwrap().is_some() {
            return;
        }
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        let started = Instant::now();
        while process.try_wait().unwrap().is_none() {
            if started.elapsed() > TIMEOUT {
                process.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Copies a directory with all that is in it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    run("cp", &["-a", &from.display().to_string(), &to.display().to_string()]);
}
