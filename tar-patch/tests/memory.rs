//! The memory that the names of old layers take, as the kernel counts it.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use assert_cmd::Command;
use delta_format::{Encoding, OpWriter, Version};
use fixtures::{Ending, LayerBuilder};

/// The memory that entries and their names may take at least in a layer of any size (`layer::Listing`).
const LISTING: u64 = 64 << 20;
/// The program itself, the decoder of the layer, and heaps that do not shrink at once.
const BESIDE: u64 = 48 << 20;

fn layer(count: usize, mut add: impl FnMut(&mut LayerBuilder, String) -> &mut LayerBuilder) -> Vec<u8> {
    let mut layer = LayerBuilder::new();
    for index in 0..count {
        add(&mut layer, format!("{index}"));
    }
    zstd::encode_all(layer.finish(Ending::Normal).as_slice(), 3).unwrap()
}

#[test]
fn entries_take_no_more_than_they_are_granted() {
    let directory = tempfile::tempdir().unwrap();
    let mut delta = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
    delta.literal(b"new").unwrap();
    std::fs::write(directory.path().join("delta"), delta.finish().unwrap().0).unwrap();
    let long = "n".repeat(3500);
    for (what, layer) in [
        ("files", layer(80_000, |layer, name| layer.file(name, "x"))),
        ("whiteouts", layer(80_000, |layer, name| layer.whiteout(name))),
        ("symlinks", layer(80_000, |layer, name| layer.symlink(name, "f"))),
        ("long names", layer(4_500, |layer, name| layer.file(format!("{name}{long}"), "x"))),
        ("long links", layer(4_500, |layer, name| layer.symlink(name, &long))),
    ] {
        std::fs::write(directory.path().join("old"), layer).unwrap();
        let mut command = Command::cargo_bin("tar-patch").unwrap();
        command.current_dir(directory.path()).args(["--json", "-q", "--force", "delta", "old", "out"]);
        let output = command.assert().success().get_output().stdout.clone();
        let json: serde_json::Value = serde_json::from_slice(&output).unwrap();
        let peak = json["peak_memory"].as_u64().unwrap();
        assert!(peak <= LISTING + BESIDE, "{what}: {peak} bytes");
    }
}
