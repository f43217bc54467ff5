//! Files that are given as layers: what is none, what is padded, and what only one tool can read.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs;
use std::io::Write;

use assert_cmd::Command;
use fixtures::{Ending, LayerBuilder, Rng};
use layer::{MergeOptions, Spool, SpoolOptions};
use tar_diff::{DiffOptions, diff, verify};
use tempfile::TempDir;

struct Files {
    directory: TempDir,
}

impl Files {
    /// A directory with the layer `layer.tar`.
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write("layer.tar", layer());
        files
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.directory.path().join(name), bytes).unwrap();
    }

    /// Runs tar-diff on an old and a new layer. Gives what it says if it fails, or an empty text.
    fn run(&self, old: &str, new: &str, input: &[u8]) -> String {
        let mut command = Command::cargo_bin("tar-diff").unwrap();
        command.current_dir(self.directory.path()).args(["-q", old, new, "delta"]).write_stdin(input);
        let output = command.output().unwrap();
        let delta = self.directory.path().join("delta");
        match output.status.code() {
            Some(0) => {
                fs::remove_file(delta).unwrap();
                String::new()
            }
            Some(1) => {
                assert!(!delta.exists());
                String::from_utf8(output.stderr).unwrap()
            }
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

fn layer() -> Vec<u8> {
    LayerBuilder::new().file("a", "content of a file").finish(Ending::Normal)
}

#[test]
fn what_is_no_layer_is_refused_with_what_it_is() {
    let files = Files::new();
    let save = ["manifest.json", "repositories", "0123/layer.tar"];
    let save = save.iter().fold(LayerBuilder::new(), |mut tar, name| tar.file(name, "x").clone());
    for (name, bytes, wanted) in [
        ("random", Rng::new(1).bytes(200), "is no tar: it is shorter than the 512 bytes of a header"),
        ("document", b"{\"schemaVersion\": 2}".to_vec(), "is no tar: it is a JSON document"),
        ("program", [&b"\x7fELF"[..], &[1; 5000]].concat(), "is no tar: it is an ELF file"),
        ("saved", save.clone().finish(Ending::Normal), "`docker save` writes it"),
        ("cut", layer()[..520].to_vec(), "broken tar at byte 0: the data of the entry is cut off"),
    ] {
        files.write(name, bytes);
        for said in [files.run(name, "layer.tar", b""), files.run("layer.tar", name, b"")] {
            assert!(said.contains(name) && said.contains(wanted), "{said}");
        }
    }
    let said = files.run("layer.tar", "-", b"");
    assert!(said.contains("stdin is no tar: it is empty"), "{said}");
    assert_eq!(files.run("layer.tar", "-", &layer()), "");
    files.write("nothing", b"");
    assert_eq!(files.run("nothing", "layer.tar", b"") + &files.run("layer.tar", "nothing", b""), "");
    files.write("zeros", [0; 1024]);
    assert_eq!(files.run("zeros", "layer.tar", b"") + &files.run("layer.tar", "zeros", b""), "");
}

#[test]
fn zeros_behind_a_compressed_layer_are_passed_over() {
    let files = Files::new();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&layer()).unwrap();
    files.write("padded.gz", [&encoder.finish().unwrap()[..], &[0; 512]].concat());
    assert_eq!(files.run("padded.gz", "padded.gz", b""), "");
    files.write("padded.tar", [&layer()[..], b"fewer than a block"].concat());
    assert_eq!(files.run("padded.tar", "padded.tar", b""), "");
}

/// Diffs with and without whiteouts, and through compression; proves each delta. Gives how many bytes were
/// taken from sources.
fn same_size(old: &[u8], new: &[u8]) -> u64 {
    let spool = |bytes: &[u8]| Spool::read("layer".into(), bytes, &SpoolOptions::default()).unwrap();
    let (old, new) = ([spool(old)], spool(new));
    let mut sizes = Vec::new();
    for (apply_whiteouts, sees_through) in [(false, false), (true, false), (false, true)] {
        let merge = MergeOptions::default().apply_whiteouts(apply_whiteouts);
        let options = DiffOptions::default().merge(merge).sees_through(sees_through);
        let (delta, stats) = diff(&old, &new, &options, Vec::new(), &|_| ()).unwrap();
        verify(delta.as_slice(), &old, &new, &options.merge).unwrap();
        sizes.push(stats.same.size);
    }
    assert!(sizes.iter().all(|size| *size == sizes[0]));
    sizes[0]
}

#[test]
fn a_file_whose_name_no_system_has_is_no_source() {
    let content = Rng::new(1).bytes(4000);
    let new = LayerBuilder::new().file("new", &content).finish(Ending::Normal);
    let under = |path: &[u8]| {
        let mut old = LayerBuilder::new();
        same_size(&old.pax_record("path", path).file("a", &content).finish(Ending::Normal), &new)
    };
    assert_eq!(under(b"a"), 4000);
    assert_eq!(under(b"line\nend \xff"), 4000);
    for path in [&b"dir/a\0b"[..], b"\0", b"..", b"a/../b", b"../a", b"/", b"./.", &[b'n'; 5000]] {
        assert_eq!(under(path), 0, "{}", path.escape_ascii());
    }
}
