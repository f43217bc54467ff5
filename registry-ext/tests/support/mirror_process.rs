//! The mirror as its users run it: a process of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::registry_ext;

/// The longest time that a mirror takes to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running mirror, killed on drop.
#[derive(Debug)]
pub(crate) struct MirrorProcess {
    address: SocketAddr,
    before: Vec<String>,
    line: String,
    cache: PathBuf,
    log: PathBuf,
    process: Child,
}

impl MirrorProcess {
    /// Starts a mirror with a cache, and options.
    pub(crate) fn start(cache: &Path, options: &str) -> Self {
        Self::start_at(free_address(), cache, options)
    }

    /// Starts a mirror that listens on an address.
    pub(crate) fn start_at(address: SocketAddr, cache: &Path, options: &str) -> Self {
        Self::start_with(&[], address, cache, options)
    }

    /// Starts a mirror whose cache is on a disk with so many bytes.
    pub(crate) fn start_on_small_disk(size: u64, cache: &Path, options: &str) -> Self {
        fs::create_dir_all(cache).unwrap();
        let script = format!("mount -t tmpfs -o size={size} none {} && exec \"$@\"", cache.display());
        let before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        Self::start_with(&before, free_address(), cache, options)
    }

    /// Starts a mirror by a command line that comes before its own.
    fn start_with(before: &[&str], address: SocketAddr, cache: &Path, options: &str) -> Self {
        let line = format!("mirror --listen {address} --cache {} --prefer size {options}", cache.display());
        let log = PathBuf::from(format!("{}.log", cache.display()));
        let before: Vec<String> = before.iter().map(ToString::to_string).collect();
        let process = spawn(&before, &line, &log, address);
        Self { address, before, line, cache: cache.to_owned(), log, process }
    }

    /// Host and port.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of the cache.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// All that it has written to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Bytes that registries have sent to it.
    pub(crate) fn fetched(&self) -> u64 {
        self.figure("registry_ext_mirror_fetched_bytes_total")
    }

    /// The sum of a figure over all its labels.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let text = get(self.address, "/metrics").unwrap();
        let values = text.lines().filter(|line| line.starts_with(name));
        values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, after it was killed.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.before, &self.line, &self.log, self.address);
    }
}

impl Drop for MirrorProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn spawn(before: &[String], line: &str, log: &Path, address: SocketAddr) -> Child {
    let log_file = File::options().create(true).append(true).open(log).unwrap();
    let environment = registry_ext(line);
    let mut words = before.iter().map(String::as_ref).chain([environment.get_program()]);
    let mut command = Command::new(words.next().expect("there is a program"));
    command.args(words).args(environment.get_args()).env("RUST_LOG", "registry_ext=trace");
    command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut process = command.stdout(Stdio::null()).stderr(log_file).spawn().unwrap();
    let started = Instant::now();
    while get(address, "/readyz").is_err() {
        let log = || fs::read_to_string(log).unwrap();
        assert!(process.try_wait().unwrap().is_none(), "the mirror ended: {}", log());
        assert!(started.elapsed() < START_TIMEOUT, "the mirror did not start: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

/// Gets something from a server.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    write!(connection, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}
