//! Things that the tests share: images, a registry in process, and a real one.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod bench;
pub(crate) mod ci;
pub(crate) mod containerd;
pub(crate) mod daemons;
pub(crate) mod docker_registry;
pub(crate) mod documented;
pub(crate) mod images;
#[path = "../../../crates/rootfs/tests/support/kinds.rs"]
pub(crate) mod kinds;
pub(crate) mod kubelet;
#[path = "../../../crates/rootfs/tests/support/listing.rs"]
pub(crate) mod listing;
pub(crate) mod mirror;
pub(crate) mod mirror_process;
pub(crate) mod proxy;
#[path = "../../examples/registry/server.rs"]
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod storage;

use std::path::Path;

use assert_cmd::Command;
use registry_ext::reference::ImageRef;
use registry_ext::registry::{RegistryOptions, Retry};
use registry_ext::repository::Repository;
use serde_json::Value;

/// A command line of registry-ext that sees no credentials of whoever runs the tests.
pub(crate) fn registry_ext(line: &str) -> Command {
    let mut command = Command::cargo_bin("registry-ext").unwrap();
    command.args(line.split_whitespace());
    command.env("REGISTRY_AUTH_FILE", "/nonexistent").env("HOME", "/nonexistent");
    command
}

/// Runs a command line that has to succeed, with `--json`, and reads what it prints.
pub(crate) fn json(line: &str) -> Value {
    let output = registry_ext(line).arg("--json").assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

/// Options with short pauses, so that tests of failures are quick.
pub(crate) fn options() -> RegistryOptions {
    let pause = std::time::Duration::from_millis(5);
    let retry = Retry { attempts: 4, first_pause: pause, longest_pause: pause, longest_wait: 200 * pause };
    RegistryOptions::default().retry(retry)
}

/// Opens the repository of a name.
pub(crate) fn open(name: &str, options: &RegistryOptions, temp_dir: &Path) -> Repository {
    Repository::open(&name.parse::<ImageRef>().unwrap(), options, temp_dir).unwrap()
}

/// Sum of a number over a JSON array.
pub(crate) fn sum(array: &Value, key: &str) -> u64 {
    array.as_array().unwrap().iter().filter_map(|entry| entry[key].as_u64()).sum()
}
