//! Deltas and trees for the tests.

#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::io::Read;
use std::path::Path;

use delta_format::{Encoding, OpWriter, SourcePath, Version, wire};
use layer::Compression;
use tempfile::TempDir;

/// A golden file; layers come uncompressed.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let bytes = fs::read(fixtures::golden_dir().join(name)).expect("a golden file");
    let mut decoded = Vec::new();
    let mut decoder = Compression::detect(&bytes).decoder(bytes.as_slice()).expect("a decoder");
    decoder.read_to_end(&mut decoded).expect("a whole golden file");
    decoded
}

/// A directory with these layers extracted over each other.
pub(crate) fn extracted(layers: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().expect("a temp dir");
    layers.iter().for_each(|layer| fixtures::extract(&golden(layer), directory.path()));
    directory
}

/// A directory with the file `file`, bytes 0 to 255.
pub(crate) fn small_tree() -> TempDir {
    let directory = tempfile::tempdir().expect("a temp dir");
    fs::write(directory.path().join("file"), counting()).expect("a source file");
    directory
}

pub(crate) fn counting() -> Vec<u8> {
    (0..=255).collect()
}

pub(crate) fn path(text: &str) -> SourcePath {
    SourcePath::new(text.as_bytes()).expect("a valid path")
}

/// A good delta with every op of tardf1 over [`small_tree`], and what it makes.
pub(crate) fn small_delta() -> (Vec<u8>, Vec<u8>) {
    let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).expect("a writer");
    writer.literal(b"literal bytes").expect("written");
    writer.copy(&path("file"), 0, 100).expect("written");
    writer.add(&path("file"), 120, &[1, 0, 255]).expect("written");
    let target = [&b"literal bytes"[..], &counting()[..100], &[121, 121, 121]].concat();
    (writer.finish().expect("a delta").0, target)
}

/// One op of a delta that is made by hand: code, size and payload, which need not fit together.
pub(crate) type RawOp<'a> = (u8, u64, &'a [u8]);

/// A delta of these ops, good or bad.
pub(crate) fn raw_delta(magic: [u8; 8], ops: &[RawOp<'_>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (code, size, payload) in ops {
        stream.push(*code);
        wire::put_uvarint(&mut stream, *size);
        stream.extend_from_slice(payload);
    }
    [&magic[..], &zstd::encode_all(stream.as_slice(), 3).expect("a frame")].concat()
}

/// Asserts that a directory holds nothing.
pub(crate) fn assert_empty(directory: &Path) {
    let left: Vec<_> = fs::read_dir(directory).expect("a directory").collect();
    assert!(left.is_empty(), "{left:?}");
}
