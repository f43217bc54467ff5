//! tardf3: relocated files of all sizes are written in their order, and a broken one or a broken output ends the run.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::io::{self, Write};
use std::num::NonZeroUsize;

use delta_format::{CorruptKind, Encoding, Error as DeltaError, OpWriter, SourcePath, Version};
use program::Block;
use tar_patch::{ApplyOptions, DirSource, Error, apply};

const MIB: usize = 1 << 20;
/// Files that workers make as a whole, and larger ones, of which the last is made before the next op is read.
const SIZES: [usize; 6] = [100_000, 9 * MIB, 12 * MIB, 300_000, 10 * MIB, 66 * MIB];

/// The old file of a number.
fn old(number: usize) -> Vec<u8> {
    let mut byte = number;
    std::iter::repeat_with(|| {
        byte = (byte * 5 + 1) % 251;
        byte.to_le_bytes()[0]
    })
    .take(SIZES[number])
    .collect()
}

/// The file whose halves change places, in blocks of any size.
fn swapped(old: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (first, second) = old.split_at(old.len() / 2);
    let new = [second, first, b"new"].concat();
    let (middle, size) = (u32::try_from(first.len()).unwrap(), u32::try_from(old.len()).unwrap());
    let mut blocks = Vec::new();
    for (start, end) in [(middle, size), (0, middle)] {
        let mut position = start;
        for step in (0u32..).map(|round| 1 + round * round) {
            let add = step.min(end - position);
            blocks.push(Block { source: position, add, literal: 0 });
            position += add;
            if position == end {
                break;
            }
        }
    }
    blocks.last_mut().unwrap().literal = 3;
    let payload = program::encode(old, &new, &blocks, None).unwrap().payload;
    (new, payload)
}

/// A delta with the files that have these numbers; the payload of one lacks a byte.
fn delta(numbers: &[usize], broken: Option<usize>, tree: &std::path::Path) -> (Vec<u8>, Vec<u8>) {
    let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default()).unwrap();
    let mut layer = Vec::new();
    for number in numbers {
        let old = old(*number);
        let name = format!("file{number}");
        std::fs::write(tree.join(&name), &old).unwrap();
        let (new, mut payload) = swapped(&old);
        if broken == Some(*number) {
            // The last part has what is new, after its size.
            payload.truncate(payload.len() - b"\x03new".len());
            payload.extend(b"\x02ne");
        }
        writer.relocated(&SourcePath::new(name.as_bytes()).unwrap(), &payload).unwrap();
        writer.literal(b"between").unwrap();
        layer.extend([&new[..], b"between"].concat());
    }
    (writer.finish().unwrap().0, layer)
}

fn run(delta: &[u8], tree: &std::path::Path, jobs: usize, output: &mut dyn Write) -> tar_patch::Result<u64> {
    let options = ApplyOptions::default().max_output(1 << 30).jobs(NonZeroUsize::new(jobs).unwrap());
    apply(delta, &mut DirSource::open(tree).unwrap(), options, output).map(|applied| applied.size)
}

#[test]
fn files_of_all_sizes_come_in_order() {
    let tree = tempfile::tempdir().unwrap();
    let (delta, layer) = delta(&[0, 1, 2, 3, 4, 5, 3], None, tree.path());
    for jobs in [1, 3] {
        let mut output = Vec::new();
        assert_eq!(run(&delta, tree.path(), jobs, &mut output).unwrap(), layer.len() as u64);
        assert!(output == layer, "{jobs} jobs");
    }
}

#[test]
fn a_broken_payload_ends_the_run_where_it_is() {
    let tree = tempfile::tempdir().unwrap();
    for broken in [1, 3] {
        let (delta, layer) = delta(&[0, 1, 2, 3], Some(broken), tree.path());
        let mut output = Vec::new();
        let error = run(&delta, tree.path(), 2, &mut output).unwrap_err();
        let is_named = matches!(
            error,
            Error::Delta(DeltaError::Corrupt {
                kind: CorruptKind::Relocated(program::Error::Truncated(_)),
                ..
            })
        );
        assert!(is_named, "{error:?}");
        let before: usize = SIZES[..broken].iter().sum();
        assert!(output.len() >= before && output.len() < layer.len() && layer.starts_with(&output));
    }
}

/// Takes a number of bytes, and no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_workers_that_have_pieces_left() {
    let tree = tempfile::tempdir().unwrap();
    let (delta, _) = delta(&[0, 1, 2], None, tree.path());
    for room in [0, 2 * MIB, 10 * MIB] {
        let error = run(&delta, tree.path(), 2, &mut Full(room)).unwrap_err();
        let is_full = matches!(
            &error,
            Error::Delta(DeltaError::Output(error)) if error.kind() == io::ErrorKind::StorageFull
        );
        assert!(is_full, "{error:?}");
    }
}
