//! The mirror as systemd starts it from the unit in `packaging`: with a socket, a place for notes, and few rights.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use layer::Digest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::docker_registry::run;

/// The longest time that the service takes for anything.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Passes the socket on as systemd does, as file 3 of a process that knows its own number (sd_listen_fds(3)).
const START: &str =
    "exec 3<&0 </dev/null; echo $$ >\"$PID_FILE\"; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";

/// Returns the folder with the files for service managers.
pub(crate) fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// The lines `KEY=VALUE` of a section of a unit file, or of a file without sections if `section` is empty.
pub(crate) fn settings(file: &str, section: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(packaging().join(file)).unwrap();
    let mut current = "";
    let mut settings = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => current = name,
            None if current == section => {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
                settings.push((key.to_owned(), value.trim_matches('"').to_owned()));
            }
            None => {}
        }
    }
    settings
}

/// The one value of a setting.
pub(crate) fn setting(file: &str, section: &str, key: &str) -> String {
    let values: Vec<_> = settings(file, section).into_iter().filter(|(name, _)| name == key).collect();
    let [(_, value)] = values.as_slice() else { panic!("{file} has {} lines with {key}", values.len()) };
    value.clone()
}

/// A running service, killed on drop.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    notes: UnixDatagram,
    process: Child,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Service {
    /// Starts the command of the unit with options for it, and files in `dir`. The command `by` starts it.
    pub(crate) fn start(dir: &Path, by: &[&str], options: &str) -> Self {
        let unit = |key| setting("systemd/registry-ext-mirror.service", "Service", key);
        let line = unit("ExecStart").replace("$MIRROR_OPTIONS", options);
        let args = line.strip_prefix("/usr/bin/registry-ext ").unwrap();
        let cache = dir.join(unit("CacheDirectory"));
        std::fs::create_dir_all(&cache).unwrap();
        let (notify, pid_file, log) = (dir.join("notify"), dir.join("pid"), dir.join("log"));
        let notes = UnixDatagram::bind(&notify).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // A service of root has no home.
        let process = Command::new("sh")
            .args(["-c", START, "sh"])
            .args(by)
            .arg(assert_cmd::cargo::cargo_bin("registry-ext"))
            .args(args.split_whitespace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("CACHE_DIRECTORY", cache)
            .env("NOTIFY_SOCKET", notify)
            .env("PID_FILE", &pid_file)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(std::fs::File::create(&log).unwrap()))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { address, notes, process, pid_file, log }
    }

    /// Waits for a note of the service.
    pub(crate) async fn note(&self, wanted: &str) {
        let mut note = [0; 4096];
        loop {
            let received = timeout(TIMEOUT, self.notes.recv(&mut note)).await;
            let size = received.unwrap_or_else(|_| panic!("no {wanted}: {}", self.log())).unwrap();
            let text = String::from_utf8_lossy(&note[..size]);
            if text.lines().any(|line| line == wanted) {
                return;
            }
        }
    }

    /// Asks the service.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let answer = reqwest::get(format!("http://{}{path}", self.address));
        timeout(TIMEOUT, answer).await.unwrap().unwrap()
    }

    /// Gets a blob of the repository `app` of a registry, whose manifest `tag` the mirror reads first.
    pub(crate) async fn blob(&self, registry: SocketAddr, tag: &str, digest: Digest) -> reqwest::Response {
        let app = format!("/v2/{}/app", registry.to_string().replace(':', "__"));
        assert_eq!(self.get(&format!("{app}/manifests/{tag}")).await.status(), 200);
        self.get(&format!("{app}/blobs/{digest}")).await
    }

    /// Tells it to end, as `systemctl stop` does.
    pub(crate) fn tell_to_end(&self) {
        let pid = std::fs::read_to_string(&self.pid_file).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits for its end, and returns the exit code.
    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let ended = timeout(TIMEOUT, self.process.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end: {}", self.log())).unwrap().code()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// The names of a group of system calls, without those of other groups.
pub(crate) fn calls_of(group: &str, calls: &mut BTreeSet<String>) {
    let text = run("systemd-analyze", &["syscall-filter", group]);
    for name in text.lines().skip(1).map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#'))
    {
        if name.starts_with('@') {
            calls_of(name, calls);
        } else {
            calls.insert(name.to_owned());
        }
    }
}

/// Waits until the tracer has written the end of the process, which is the last, and returns what it wrote.
pub(crate) async fn traced(trace: &Path) -> String {
    for _ in 0..1000 {
        let text = std::fs::read_to_string(trace).unwrap();
        if text.lines().last().is_some_and(|line| line.ends_with("+++ exited with 0 +++")) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("strace does not end");
}
