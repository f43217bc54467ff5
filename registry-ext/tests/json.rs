//! `--json` prints what the reference lists, command by command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::documented::check;
use crate::support::images::{pair, write_images};
use crate::support::json;
use tempfile::TempDir;

#[test]
fn the_reference_lists_what_is_printed() {
    let dir = TempDir::new().unwrap();
    let images = pair();
    let layout = write_images(dir.path(), &[(&images.0, "v1"), (&images.1, "v2")]);
    let app = format!("oci:{}", layout.dir().display());
    let store = dir.path().join("store").display().to_string();
    check("registry-ext measure", &json(&format!("measure {app}:v1 {app}:v2")));
    check("registry-ext publish", &json(&format!("publish {app}:v2 --from {app}:v1 --exact")));
    check("registry-ext publish", &json(&format!("publish {app}:v2 --from {app}:v1 --exact")));
    let plan = dir.path().join("plan.json").display().to_string();
    check("registry-ext plan", &json(&format!("plan {app} --output {plan}")));
    check("registry-ext publish --plan", &json(&format!("publish --plan {plan} --force")));
    check("registry-ext list", &json(&format!("list {app}:v2")));
    check("registry-ext verify", &json(&format!("verify {app}:v2")));
    check("registry-ext pull", &json(&format!("pull {app}:v1 --into oci:{store}")));
    check("registry-ext pull", &json(&format!("pull {app}:v2 --into oci:{store}")));
    check("registry-ext prune", &json(&format!("prune {app}:v2 --yes")));
    let root = dir.path().display();
    check(
        "registry-ext mirror configure",
        &json(&format!("mirror configure podman --registry registry.example --root {root}")),
    );
}
