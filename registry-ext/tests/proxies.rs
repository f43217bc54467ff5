//! Registries behind a proxy that the environment names: `registry.test` is known to the proxy alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::support::bench::Bench;
use crate::support::docker_registry::{DockerRegistry, Setup, run};
use crate::support::images::{pair, write_images};
use crate::support::proxy::{Conduct, Proxy, Tinyproxy};
use crate::support::server::{Switches, respond};
use crate::support::{open, options, registry_ext};
use axum::http::{StatusCode, header};
use registry_ext::Error;
use registry_ext::oci::{Name, descriptor_of};
use tempfile::TempDir;
use tokio::task::block_in_place;

const VARIABLES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];
const TAGS: &str = "list registry.test/app:v1";
/// `user:secret` in base64.
const BASIC: &str = "dXNlcjpzZWNyZXQ=";

/// The outcome of a command line with these variables: whether it succeeded, and what it said.
fn run_with(line: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = registry_ext(line);
    for name in VARIABLES {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// A registry with TLS and a password, with an image, and the line that lists its deltas.
fn registry_with_tls() -> (DockerRegistry, TempDir, String) {
    let registry = DockerRegistry::start(Setup { user: Some(("user", "secret")), tls: true, keeps: false });
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = write_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")]);
    for tag in ["v1", "v2"] {
        let from = format!("oci:{}:{tag}", layout.dir().display());
        let to = format!("docker://{}/app:{tag}", registry.address());
        run("skopeo", &["copy", "-q", "--dest-tls-verify=false", "--dest-creds=user:secret", &from, &to]);
    }
    let line = format!("{TAGS} --ca-file {} --username user --password-stdin", registry.ca_file().display());
    (registry, dir, line)
}

fn with_password(line: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = registry_ext(line);
    for name in VARIABLES {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).write_stdin("secret").output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn address(registry: &DockerRegistry) -> SocketAddr {
    registry.address().parse().unwrap()
}

#[test]
fn a_password_goes_to_a_registry_with_tls_through_a_tunnel_alone() {
    let (registry, dir, line) = registry_with_tls();
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = Proxy::start(address(&registry), Conduct::PassOn);
        let (is_ok, said) = with_password(&line, &[(name, &proxy.url())]);
        assert!(is_ok, "{name}: {said}");
        let lines = proxy.lines();
        assert!(!lines.is_empty() && lines.iter().all(|line| line == "CONNECT registry.test:443 HTTP/1.1"));
        assert!(!proxy.has_seen(BASIC) && !proxy.has_seen("/v2/"), "{name}");
    }
    // What is uploaded takes the same way.
    let proxy = Proxy::start(address(&registry), Conduct::PassOn);
    let ca_file = registry.ca_file();
    let publish = format!(
        "publish registry.test/app:v2 --from registry.test/app:v1 --ca-file {} --username user \
         --password-stdin --tmp-dir {}",
        ca_file.display(),
        dir.path().display()
    );
    let (is_ok, said) = with_password(&publish, &[("https_proxy", &proxy.url())]);
    assert!(is_ok, "{said}");
    assert!(proxy.lines().iter().all(|line| line == "CONNECT registry.test:443 HTTP/1.1"));
    assert!(!proxy.has_seen(BASIC) && !proxy.has_seen("/v2/"));
}

#[test]
fn a_proxy_of_a_distribution_lets_in_who_has_its_password() {
    let (registry, _dir, line) = registry_with_tls();
    let behind = Proxy::start(address(&registry), Conduct::PassOn);
    let tinyproxy = Tinyproxy::start(behind.address());
    let place = format!("127.0.0.1:{}", tinyproxy.port());
    let (is_ok, said) = with_password(&line, &[("HTTPS_PROXY", &format!("http://user:p%61ss@{place}"))]);
    assert!(is_ok, "{said}");
    assert!(behind.lines().iter().all(|line| line.starts_with("CONNECT registry.test:443 ")));
    assert!(!behind.has_seen(BASIC));
    let (is_ok, said) = with_password(&line, &[("HTTPS_PROXY", &format!("http://{place}"))]);
    assert!(!is_ok && said.contains("HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"), "{said}");
    assert!(said.contains(&format!("through the proxy http://{place}")), "{said}");
    // It refuses a wrong password with another status.
    let (is_ok, said) = with_password(&line, &[("HTTPS_PROXY", &format!("http://user:wrong@{place}"))]);
    assert!(!is_ok && said.contains(&format!("through the proxy http://{place}")), "{said}");
    assert!(!said.contains("wrong"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_without_tls_goes_through_the_proxy_that_of_the_token_server_too() {
    let bench = Bench::new(Switches::default()).await;
    bench.registry.lie(|call| match (call.uri.path(), call.header(header::AUTHORIZATION)) {
        ("/token", _) => Some(respond(StatusCode::OK, &[], r#"{"token":"t"}"#)),
        (_, Some("Bearer t")) => None,
        _ => {
            let realm = "Bearer realm=\"http://token.test/token\"".to_owned();
            Some(respond(StatusCode::UNAUTHORIZED, &[(header::WWW_AUTHENTICATE, realm)], "{}"))
        }
    });
    let line = format!("{TAGS} --plain-http");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = Proxy::start(bench.registry.address(), Conduct::PassOn);
        let url = proxy.url().replace("//", "//user:p%40ss@");
        let (is_ok, said) = block_in_place(|| run_with(&line, &[(name, &url)]));
        assert!(is_ok, "{name}: {said}");
        assert!(proxy.has_seen("GET http://registry.test/v2/app/manifests/v1"), "{name}");
        assert!(proxy.has_seen("GET http://token.test/token?"), "{name}");
        // `user:p@ss` in base64: `@` in a password is written as `%40`.
        assert!(proxy.has_seen("Basic dXNlcjpwQHNz"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_is_used_for_what_no_proxy_names() {
    let bench = Bench::new(Switches::default()).await;
    let proxy = Proxy::start(bench.registry.address(), Conduct::PassOn);
    let line = format!("{TAGS} --plain-http");
    for (name, list) in [
        ("NO_PROXY", "registry.test"),
        ("no_proxy", "other.test,.test"),
        ("NO_PROXY", "*"),
        ("NO_PROXY", "test"),
    ] {
        let (is_ok, said) = block_in_place(|| run_with(&line, &[("HTTP_PROXY", &proxy.url()), (name, list)]));
        // Nobody else knows the name.
        assert!(!is_ok && !said.contains("through the proxy"), "{list}: {said}");
    }
    // Nor for this machine.
    let line = format!("list {}:v1", bench.name());
    let (is_ok, said) = block_in_place(|| run_with(&line, &[("HTTP_PROXY", &proxy.url())]));
    assert!(is_ok, "{said}");
    assert_eq!(proxy.lines(), [""; 0]);
    let (is_ok, said) = block_in_place(|| {
        run_with(
            &format!("{TAGS} --plain-http"),
            &[("HTTP_PROXY", &proxy.url()), ("NO_PROXY", "notregistry.test")],
        )
    });
    assert!(is_ok, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_does_wrong_is_said_with_its_name() {
    let bench = Bench::new(Switches::default()).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let login = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
                 Content-Length: 0\r\n\r\n";
    let portal = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 16\r\n\r\n<html>log in</p>";
    let denied = "HTTP/1.1 403 Filtered\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<p>no</p>";
    let broken = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    let cases = [
        ("http", Conduct::Answer(login), "wants a user name and a password"),
        ("https", Conduct::Answer(login), "wants a user name and a password"),
        ("http", Conduct::Answer(portal), "is a web page"),
        ("https", Conduct::Answer(denied), "unsuccessful"),
        ("http", Conduct::Answer(denied), "<p>no</p>"),
        ("http", Conduct::Answer(broken), "HTTP status 502"),
        ("http", Conduct::Break(20), "cannot"),
        ("https", Conduct::Break(20), "cannot"),
        ("http", Conduct::Answer(""), "cannot"),
        ("https", Conduct::Answer(""), "cannot"),
    ];
    let server = bench.registry.address();
    let check = |(scheme, conduct, wanted): (&str, Conduct, &str)| {
        let proxy = Proxy::start(server, conduct);
        let line = format!("{TAGS} --plain-http={}", scheme == "http");
        let url = proxy.url().replace("//", "//user:hidden@");
        let (is_ok, said) = run_with(&line, &[("ALL_PROXY", &url)]);
        assert!(!is_ok && said.contains(wanted), "{scheme} {conduct:?}: {said}");
        assert!(said.contains(&format!("through the proxy {}", proxy.url())), "{scheme} {conduct:?}: {said}");
        assert!(!said.contains("hidden"), "{said}");
    };
    // Side by side, as what may pass is tried again.
    block_in_place(|| {
        std::thread::scope(|scope| {
            cases.map(|case| scope.spawn(move || check(case))).map(|run| run.join().unwrap())
        });
    });
    let line = format!("{TAGS} --plain-http");
    let gone = format!("http://{nobody}");
    let (is_ok, said) = block_in_place(|| run_with(&line, &[("HTTP_PROXY", &gone)]));
    assert!(!is_ok && said.contains(&format!("through the proxy {gone}")), "{said}");
    for (url, wanted) in
        [("socks5://127.0.0.1:1", "SOCKS proxies are not supported"), ("ftp://x", "does not name a proxy")]
    {
        let (is_ok, said) = block_in_place(|| run_with(&line, &[("ALL_PROXY", url)]));
        assert!(!is_ok && said.contains(wanted), "{said}");
    }
}

/// The variable by which the test below tells [`asks_through_the_proxy_of_the_environment`] what to ask for.
const ASKS_FOR: &str = "TEST_ASKS_FOR";

#[test]
fn a_proxy_that_stalls_anywhere_is_given_up() {
    let document = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a";
    let blob = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nsome bytes";
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let cases = [
        ("says nothing", "http manifest", ""),
        ("says nothing to CONNECT", "https manifest", ""),
        ("stalls in the middle of CONNECT", "https manifest", "HTTP/1.1 200 Conn"),
        ("stalls behind CONNECT", "https manifest", "HTTP/1.1 200 OK\r\n\r\n"),
        ("stalls in the middle of a header", "http manifest", "HTTP/1.1 200 OK\r\nContent-Ty"),
        ("stalls in the middle of a document", "http manifest", document),
        ("stalls before a blob", "http blob", ""),
        ("stalls in the middle of a header of a blob", "https blob", "HTTP/1.1 2"),
        ("stalls in the middle of a blob", "http blob", blob),
    ];
    let check = |(what, asks_for, answer): (&str, &str, &'static str)| {
        let proxy = Proxy::start(nowhere, Conduct::Stall(answer));
        // The variables are those of a process.
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([
            "--exact",
            "proxies::asks_through_the_proxy_of_the_environment",
            "--ignored",
            "--nocapture",
        ]);
        for name in VARIABLES {
            child.env_remove(name);
        }
        let output = child.env("ALL_PROXY", proxy.url()).env(ASKS_FOR, asks_for).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{what}: {said}");
        assert!(said.contains("nothing came within") || said.contains("bytes a second"), "{what}: {said}");
        assert!(said.contains(&format!("through the proxy {}", proxy.url())), "{what}: {said}");
    };
    std::thread::scope(|scope| {
        cases.map(|case| scope.spawn(move || check(case))).map(|run| run.join().unwrap())
    });
}

#[tokio::test]
#[ignore = "a part of a_proxy_that_stalls_anywhere_is_given_up"]
#[allow(clippy::print_stdout, reason = "the test that starts this process reads it")]
async fn asks_through_the_proxy_of_the_environment() {
    let asks_for = env::var(ASKS_FOR).unwrap();
    let patience = Duration::from_millis(300);
    let plain_http = Some(!asks_for.starts_with("https"));
    let dir = TempDir::new().unwrap();
    let options = options().plain_http(plain_http).patience(patience);
    let repository = open("registry.test/app", &options, dir.path());
    let asks = async {
        if asks_for.ends_with("blob") {
            let blob = descriptor_of("application/octet-stream", &[0; 5000]);
            repository.blob(&blob, dir.path(), &|_| ()).await.map(drop)
        } else {
            repository.manifest(&Name::Tag("v1".into())).await.map(drop)
        }
    };
    // This only guards against hanging: the shortest of the usual deadlines is 15 seconds.
    let asked: Result<(), Error> =
        tokio::time::timeout(Duration::from_secs(300), asks).await.expect("it ends");
    println!("{:#}", anyhow::Error::from(asked.unwrap_err()));
}
