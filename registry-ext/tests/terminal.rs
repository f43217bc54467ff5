//! The words of a registry do not steer the terminal of whoever asks it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::support::registry_ext;
use delta_format::is_printable;
use serde_json::json;
use tempfile::TempDir;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Sets the title of the window, clears it, looks like an error of its own, and turns the text.
const EVIL: &str =
    "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31mline\nregistry-ext: error: fake\r\u{9b}31m\u{202e}\u{2066}";

/// An answer: status, headers, body.
type Answer = (u16, String, String);

/// A registry that answers every request for a path alike. It ends with the process.
fn registry(answer: fn(&str) -> Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(&stream, answer));
        }
    });
    address
}

fn serve(mut stream: &TcpStream, answer: fn(&str) -> Answer) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let (status, headers, body) = answer(request.split(' ').nth(1).unwrap_or_default());
    let head = format!(
        "HTTP/1.1 {status} said\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    // The client may have gone.
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
}

fn json_of(media_type: &str, body: &serde_json::Value) -> Answer {
    (200, format!("Content-Type: {media_type}\r\n"), body.to_string())
}

fn found() -> Answer {
    (200, String::new(), "{}".into())
}

/// Registries, each evil in another place.
const REGISTRIES: [fn(&str) -> Answer; 6] = [
    |path| match path.contains("/manifests/") {
        true => {
            let errors = json!({"errors": [{"code": EVIL, "message": EVIL, "detail": EVIL}]});
            (400, String::new(), errors.to_string())
        }
        false => found(),
    },
    |path| match path.contains("/manifests/") {
        true => {
            let digest = format!("sha256:{}", "0".repeat(64));
            let platform = json!({"os": EVIL, "architecture": EVIL});
            let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": 5, "platform": platform});
            json_of(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
        }
        false => found(),
    },
    |path| match path.contains("/manifests/") {
        true => {
            let config = json!({"mediaType": EVIL, "digest": EVIL, "size": 2});
            json_of(
                MANIFEST,
                &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}),
            )
        }
        false => found(),
    },
    |path| match path.contains("/manifests/") {
        true => (200, "Content-Type: x/\u{9b}31mred\r\n".into(), format!("{{\"layers\": \"{EVIL}\"}}")),
        false => found(),
    },
    |path| match path {
        "/v2/" => found(),
        _ => {
            let challenge = "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/\u{9b}\"\r\n";
            (401, challenge.into(), EVIL.into())
        }
    },
    |path| match path.contains("/manifests/") {
        true => (302, "Location: http://127.0.0.1:1/\u{9b}31m\r\n".into(), String::new()),
        false => found(),
    },
];

#[test]
fn no_answer_of_a_registry_steers_the_terminal() {
    let dir = TempDir::new().unwrap();
    for (index, answer) in REGISTRIES.into_iter().enumerate() {
        let image = format!("{}/app:v1", registry(answer));
        let store = dir.path().join("store");
        for line in [format!("pull {image} --into oci:{}", store.display()), format!("list {image}")] {
            let output = registry_ext(&line).output().unwrap();
            assert!(!output.status.success(), "{index} {line}");
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(text.chars().all(|shown| shown == '\n' || is_printable(shown)), "{index}: {text:?}");
            assert!(text.lines().all(|line| line.starts_with("registry-ext: ")), "{index}: {text}");
            assert!(!text.contains("\nregistry-ext: error: fake"), "{index}: {text}");
        }
    }
}
