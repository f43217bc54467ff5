//! A real registry: `docker-registry`, as Debian packages it, on a free port.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use registry_ext::store::OciLayout;
use tempfile::TempDir;

use super::images::{TestImage, write_images};

/// The longest time that a registry takes to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The setup of the registry.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Setup {
    /// User and password, kept by htpasswd.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// True if it speaks TLS, with a certificate of a CA of its own.
    pub(crate) tls: bool,
    /// True if it does not delete manifests.
    pub(crate) keeps: bool,
}

/// A running registry, stopped on drop.
#[derive(Debug)]
pub(crate) struct DockerRegistry {
    dir: TempDir,
    port: u16,
    process: Child,
}

impl DockerRegistry {
    /// Starts a registry with an empty storage.
    pub(crate) fn start(setup: Setup) -> Self {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
             delete:\n    enabled: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.path().join("storage").display(),
            !setup.keeps,
        );
        if setup.tls {
            make_certificates(dir.path());
            let path = |name: &str| dir.path().join(name).display().to_string();
            config += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                path("server.pem"),
                path("server.key")
            );
        }
        if let Some((user, password)) = setup.user {
            let file = dir.path().join("htpasswd");
            run("htpasswd", &["-Bbc", &file.display().to_string(), user, password]);
            config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display());
        }
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let process = spawn(dir.path(), port);
        Self { dir, port, process }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate of the CA.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Stops it and starts it again on the same storage.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.process = spawn(self.dir.path(), self.port);
    }

    /// Stops it.
    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The files with the blobs and manifests of all repositories, with the hex digits of their digests.
    pub(crate) fn blob_files(&self) -> Vec<(String, PathBuf)> {
        let blobs = self.dir.path().join("storage/docker/registry/v2/blobs/sha256");
        let below = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let files = below(blobs).flat_map(below).map(|dir| {
            let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
            (name, dir.join("data"))
        });
        files.collect()
    }

    /// Gives what a repository has another name, too.
    pub(crate) fn copy_repository(&self, from: &str, to: &str) {
        let repositories = self.dir.path().join("storage/docker/registry/v2/repositories");
        let path = |name: &str| repositories.join(name).display().to_string();
        run("cp", &["-r", &path(from), &path(to)]);
    }

    /// Removes what no tag leads to, while it runs.
    pub(crate) fn collect_garbage(&self) {
        let config = self.dir.path().join("config.yml").display().to_string();
        // It may fail where something is written at the same moment.
        let collected = Command::new("docker-registry").args(["garbage-collect", &config]).output();
        collected.expect("docker-registry is installed");
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(dir: &Path, port: u16) -> Child {
    let mut process = Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry has to be installed for this test (Debian package docker-registry)");
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(process.try_wait().unwrap().is_none(), "docker-registry ended; see its configuration");
        assert!(started.elapsed() < START_TIMEOUT, "docker-registry did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

/// A CA, and a certificate for 127.0.0.1 and `registry.test` that it signed.
fn make_certificates(dir: &Path) {
    let path = |name: &str| dir.join(name).display().to_string();
    fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1,DNS:registry.test\n").unwrap();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let mut ca = vec!["req", "-x509", "-days", "2", "-subj", "/CN=test CA"];
    ca.extend(key);
    let (ca_key, ca_pem) = (path("ca.key"), path("ca.pem"));
    ca.extend(["-keyout", &ca_key, "-out", &ca_pem]);
    run("openssl", &ca);
    let mut request = vec!["req", "-subj", "/CN=127.0.0.1"];
    request.extend(key);
    let (server_key, server_csr) = (path("server.key"), path("server.csr"));
    request.extend(["-keyout", &server_key, "-out", &server_csr]);
    run("openssl", &request);
    let (server_pem, san) = (path("server.pem"), path("san"));
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &server_csr,
            "-CA",
            &ca_pem,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &san,
            "-out",
            &server_pem,
        ],
    );
}

/// Runs a program that has to succeed.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program} has to be installed for this test: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Copies a tag with the tool that others use.
pub(crate) fn skopeo_push(layout: &OciLayout, tag: &str, to: &str) {
    let from = format!("oci:{}:{tag}", layout.dir().display());
    run("skopeo", &["copy", "-q", "--dest-tls-verify=false", &from, &format!("docker://{to}:{tag}")]);
}

/// Writes images to a layout in a directory, and copies them to a repository with their tags.
pub(crate) fn push_images(dir: &Path, images: &[(&TestImage, &str)], to: &str) -> OciLayout {
    let layout = write_images(dir, images);
    for (_, tag) in images {
        skopeo_push(&layout, tag, to);
    }
    layout
}
