//! The reader against deltas that the Go tool made.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::collections::BTreeMap;
use std::fs;

use delta_format::{Op, OpReader, Version};

fn ops(name: &str) -> Vec<Op> {
    let delta = fs::read(fixtures::golden_dir().join(name)).unwrap();
    let mut reader = OpReader::new(delta.as_slice()).unwrap();
    assert_eq!(reader.version(), Version::V1);
    let mut ops = Vec::new();
    while let Some(op) = reader.next_op().unwrap() {
        ops.push(op);
    }
    ops
}

#[test]
fn the_ops_of_the_go_tool_are_read() {
    let new_size = {
        let file = fs::File::open(fixtures::golden_dir().join("new.tar.gz")).unwrap();
        std::io::copy(&mut flate2::read::GzDecoder::new(file), &mut std::io::sink()).unwrap()
    };
    for name in ["basic", "level19", "prefix", "two-old", "nolimit"] {
        let ops = ops(&format!("{name}.tardiff"));
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        let mut output = 0;
        for op in &ops {
            *kinds.entry(op.name()).or_default() += 1;
            output += match *op {
                Op::Data { size } | Op::Copy { size } | Op::AddData { size } => size,
                _ => 0,
            };
        }
        assert_eq!(output, new_size, "{name}");
        for kind in ["data", "open", "add_data"] {
            assert!(kinds.contains_key(kind), "{name}: {kinds:?}");
        }
    }
}

#[test]
fn the_level_changes_the_stream_and_not_the_ops() {
    assert_eq!(ops("basic.tardiff"), ops("level19.tardiff"));
}
