//! An HTTP proxy that keeps what it is sent, and the real one of a distribution.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The behaviour of a proxy towards a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Passes it on to the one server that it knows, whatever the name.
    PassOn,
    /// Passes it on, and ends each connection after so many bytes of the answer.
    Break(usize),
    /// Answers like this, and ends the connection.
    Answer(&'static str),
    /// Begins an answer like this, and says nothing more.
    Stall(&'static str),
}

/// A proxy in this process.
pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Proxy {
    /// Starts a proxy before `server`. It runs until the process ends.
    pub(crate) fn start(server: SocketAddr, conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (kept, client) = (Arc::clone(&kept), client.unwrap());
                // A client that goes away is no failure of the test.
                thread::spawn(move || drop(serve(client, server, conduct, &kept)));
            }
        });
        Self { address, seen }
    }

    /// As in a variable of the environment, without user and password.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.seen.lock().unwrap()
    }

    /// The first line of each connection.
    pub(crate) fn lines(&self) -> Vec<String> {
        let first = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).lines().next().unwrap_or("").to_owned();
        self.lock().iter().map(first).collect()
    }

    /// Tells whether this text came from a client, in clear.
    pub(crate) fn has_seen(&self, text: &str) -> bool {
        self.lock().iter().any(|bytes| String::from_utf8_lossy(bytes).contains(text))
    }
}

fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    conduct: Conduct,
    kept: &Mutex<Vec<Vec<u8>>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let index = {
        let mut kept = kept.lock().unwrap();
        kept.push(head.clone());
        kept.len() - 1
    };
    if let Conduct::Answer(answer) = conduct {
        return client.write_all(answer.as_bytes());
    }
    if let Conduct::Stall(answer) = conduct {
        client.write_all(answer.as_bytes())?;
        // Whatever comes is taken, until the client goes away.
        return io::copy(&mut client, &mut io::sink()).map(drop);
    }
    let mut server = TcpStream::connect(server)?;
    if head.starts_with(b"CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        server.write_all(&head)?;
    }
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let mut left = match conduct {
            Conduct::Break(size) => size,
            _ => usize::MAX,
        };
        let mut buffer = [0; 4096];
        while left > 0 {
            let Ok(read @ 1..) = from_server.read(&mut buffer) else { break };
            let passed = read.min(left);
            left -= passed;
            if to_client.write_all(&buffer[..passed]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        kept.lock().unwrap()[index].extend_from_slice(&buffer[..read]);
        server.write_all(&buffer[..read])?;
    }
    let _ = server.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}

/// tinyproxy, as Debian packages it, stopped on drop. It lets in `user` with `pass` alone, and asks the proxy
/// `upstream` for everything.
pub(crate) struct Tinyproxy {
    _dir: TempDir,
    port: u16,
    process: Child,
}

impl Tinyproxy {
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nBasicAuth user pass\n\
             Upstream http {upstream}\n"
        );
        let path = dir.path().join("tinyproxy.conf");
        fs::write(&path, config).unwrap();
        let mut process = Command::new("tinyproxy")
            .args(["-d", "-c"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tinyproxy has to be installed for this test (Debian package tinyproxy-bin)");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "tinyproxy ended; see its configuration");
            // This only guards against hanging.
            assert!(started.elapsed() < Duration::from_secs(60), "tinyproxy did not start");
            thread::sleep(Duration::from_millis(20));
        }
        Self { _dir: dir, port, process }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
