//! Whatever the delta and the source tree are, `apply` gives the expected layer or an error, within
//! its bounds, and never blocks or panics.

mod support;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::process::Command;

use delta_format::wire::{MAGIC_V1, MAGIC_V2, OP_ADD_DATA, OP_COPY, OP_DATA, OP_OPEN, OP_SEEK, OP_ZSTD_DICT};
use explain::Summary;
use layer::{Digest, SpoolOptions};
use support::{RawOp, counting, path, raw_delta, small_delta, small_tree};
use tar_patch::{
    ApplyOptions, Budget, DiffId, DirSource, Error, Fault, LayerSource, SourceFile, SourceFiles, SourcePath,
    apply,
};

const OPEN_FILE: RawOp<'_> = (OP_OPEN, 4, b"file");

/// Applies over [`small_tree`], and gives the error and what was written before it.
fn failure(delta: &[u8], max_output: u64) -> (Error, Vec<u8>) {
    let tree = small_tree();
    let mut sources = DirSource::open(tree.path()).expect("a source tree");
    let mut output = Vec::new();
    let options = ApplyOptions::default().max_output(max_output);
    let error = apply(delta, &mut sources, options, &mut output).expect_err("a bad delta");
    (error, output)
}

fn fault(delta: &[u8]) -> Fault {
    failure(delta, 1 << 20).0.fault()
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    let data = raw_delta(MAGIC_V1, &[(OP_DATA, zeros.len() as u64, &zeros)]);
    assert!(data.len() < 64 << 10);
    let mut copies = vec![OPEN_FILE];
    copies.extend([(OP_SEEK, 0, &b""[..]), (OP_COPY, 256, &b""[..])].repeat(20_000));
    let frame = zstd::encode_all(zeros.as_slice(), 3).unwrap();
    let frame = raw_delta(MAGIC_V2, &[OPEN_FILE, (OP_ZSTD_DICT, frame.len() as u64, &frame)]);
    for delta in [data, raw_delta(MAGIC_V1, &copies), frame] {
        let (error, output) = failure(&delta, 1 << 20);
        assert_eq!(error.fault(), Fault::Delta, "{error}");
        assert!(error.to_string().contains("the output is too large"), "{error}");
        assert!(output.len() <= 1 << 20);
    }
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    let long = vec![b'a'; 4097];
    for path in [&b"/etc/passwd"[..], b"../file", b"a/../../file", b"..", b"", b"./.", b"a\0b", &long] {
        let delta = raw_delta(MAGIC_V1, &[(OP_OPEN, path.len() as u64, path), (OP_COPY, 1, b"")]);
        assert_eq!(fault(&delta), Fault::Delta, "{}", path.escape_ascii());
    }
}

#[test]
fn links_that_leave_the_tree_are_not_followed() {
    let tree = small_tree();
    symlink("/etc", tree.path().join("link")).unwrap();
    symlink("/etc/passwd", tree.path().join("passwd")).unwrap();
    for name in ["link/passwd", "passwd"] {
        let delta = raw_delta(MAGIC_V1, &[(OP_OPEN, name.len() as u64, name.as_bytes()), (OP_COPY, 1, b"")]);
        let mut sources = DirSource::open(tree.path()).unwrap();
        let error =
            apply(delta.as_slice(), &mut sources, ApplyOptions::default(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.fault(), Fault::Base, "{error}");
    }
}

#[test]
fn a_source_that_became_a_fifo_does_not_block() {
    let tree = small_tree();
    fs::remove_file(tree.path().join("file")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.path().join("file")).status().unwrap().success());
    let (delta, _) = small_delta();
    let mut sources = DirSource::open(tree.path()).unwrap();
    let error = apply(delta.as_slice(), &mut sources, ApplyOptions::default(), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Delta(delta_format::Error::SourceNotRegular { .. })), "{error}");
}

#[test]
fn reads_past_the_end_of_a_source_are_refused() {
    let ops: [&[RawOp<'_>]; 5] = [
        &[OPEN_FILE, (OP_COPY, 257, b"")],
        &[OPEN_FILE, (OP_SEEK, 256, b""), (OP_COPY, 1, b"")],
        &[OPEN_FILE, (OP_SEEK, 1 << 40, b""), (OP_COPY, 1, b"")],
        &[OPEN_FILE, (OP_SEEK, 255, b""), (OP_ADD_DATA, 2, b"ab")],
        &[(OP_OPEN, 5, b"other"), (OP_COPY, 1, b"")],
    ];
    for ops in ops {
        assert_eq!(fault(&raw_delta(MAGIC_V1, ops)), Fault::Base, "{ops:?}");
    }
}

#[test]
fn sizes_without_bounds_are_refused() {
    let v1: [&[RawOp<'_>]; 10] = [
        &[(OP_DATA, u64::MAX, b"x")],
        &[(OP_DATA, 1000, b"x")],
        &[(OP_OPEN, u64::MAX, b"x")],
        &[(OP_OPEN, 100, b"x")],
        &[(OP_COPY, 1, b"")],
        &[OPEN_FILE, (OP_COPY, u64::MAX, b"")],
        &[OPEN_FILE, (OP_ADD_DATA, u64::MAX, b"x")],
        &[OPEN_FILE, (OP_ADD_DATA, 10, b"x")],
        &[OPEN_FILE, (OP_SEEK, u64::MAX, b""), (OP_COPY, 1, b"")],
        &[OPEN_FILE, (OP_ZSTD_DICT, 1, b"x")],
    ];
    for ops in v1 {
        assert_eq!(fault(&raw_delta(MAGIC_V1, ops)), Fault::Delta, "{ops:?}");
    }
    let v2: [&[RawOp<'_>]; 4] = [
        &[OPEN_FILE, (OP_ZSTD_DICT, u64::MAX, b"x")],
        &[OPEN_FILE, (OP_ZSTD_DICT, 1, b"x")],
        &[(OP_ZSTD_DICT, 0, b"")],
        &[(6, 0, b"")],
    ];
    for ops in v2 {
        assert_eq!(fault(&raw_delta(MAGIC_V2, ops)), Fault::Delta, "{ops:?}");
    }
}

#[test]
fn ops_that_emit_nothing_come_to_an_end() {
    for op in [(OP_SEEK, 0, &b""[..]), OPEN_FILE, (OP_DATA, 0, b""), (OP_COPY, 0, b"")] {
        let mut ops = vec![OPEN_FILE];
        ops.extend(vec![op; 1 << 17]);
        let delta = raw_delta(MAGIC_V1, &ops);
        assert_eq!(fault(&delta), Fault::Delta);
        assert!(Summary::read(delta.as_slice()).is_err());
    }
}

#[test]
fn a_delta_that_is_cut_anywhere_is_an_error() {
    let (delta, _) = small_delta();
    for size in 0..delta.len() {
        assert_eq!(fault(&delta[..size]), Fault::Delta, "cut at byte {size}");
        assert!(Summary::read(&delta[..size]).is_err(), "cut at byte {size}");
    }
}

#[test]
fn changed_bits_never_give_another_layer() {
    let tree = small_tree();
    let (delta, target) = small_delta();
    let options =
        ApplyOptions::default().expected(DiffId(Digest::of(&target))).max_output(target.len() as u64);
    for bit in 0..8 * delta.len() {
        let mut changed = delta.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut sources = DirSource::open(tree.path()).unwrap();
        let mut output = Vec::new();
        if apply(changed.as_slice(), &mut sources, options, &mut output).is_ok() {
            assert_eq!(output, target, "bit {bit}");
        }
        let _ = Summary::read(changed.as_slice());
    }
}

#[test]
fn random_ops_stay_within_the_limits() {
    let tree = small_tree();
    let mut rng = fixtures::Rng::new(7);
    for _ in 0..2000 {
        let payloads: Vec<Vec<u8>> = (0..rng.below(12)).map(|_| rng.bytes(16)).collect();
        let mut ops = vec![OPEN_FILE];
        for payload in &payloads {
            let size = rng.pick(&[0, 1, 16, 16, 200, 1 << 33, u64::MAX]);
            ops.push((u8::try_from(rng.below(7)).unwrap(), size, payload));
            if rng.chance(50) {
                ops.push((OP_SEEK, rng.below(300) as u64, b""));
            }
        }
        let delta = raw_delta(rng.pick(&[MAGIC_V1, MAGIC_V2]), &ops);
        let mut sources = DirSource::open(tree.path()).unwrap();
        let mut output = Vec::new();
        let options = ApplyOptions::default().max_output(500);
        let _ = apply(delta.as_slice(), &mut sources, options, &mut output);
        assert!(output.len() <= 500);
        let _ = Summary::read(delta.as_slice());
    }
}

#[test]
fn a_summary_does_not_hold_endless_paths() {
    let paths: Vec<Vec<u8>> =
        (0..20_000_u32).map(|index| [index.to_string().as_bytes(), &[b'a'; 4000]].concat()).collect();
    let ops: Vec<RawOp<'_>> =
        paths.iter().map(|path| (OP_OPEN, path.len() as u64, path.as_slice())).collect();
    let summary = Summary::read(raw_delta(MAGIC_V1, &ops).as_slice()).unwrap();
    let held: usize = summary.sources.iter().map(|source| source.path.as_bytes().len()).sum();
    assert!((64 << 20..65 << 20).contains(&held), "{held}");
    assert_eq!(summary.sources.len() as u64 + summary.unlisted_opens, 20_000);
}

/// A file that shrank after it was opened.
struct Shrunk;

impl SourceFile for Shrunk {
    fn size(&self) -> u64 {
        256
    }

    fn read_exact_at(&self, buffer: &mut [u8], _: u64) -> io::Result<()> {
        buffer.fill(0);
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

struct ShrunkFiles;

impl SourceFiles for ShrunkFiles {
    type File = Shrunk;

    fn open(&mut self, _: &SourcePath, _: &Budget) -> delta_format::Result<Shrunk> {
        Ok(Shrunk)
    }
}

#[test]
fn a_source_that_shrinks_is_another_base() {
    let (delta, _) = small_delta();
    let error =
        apply(delta.as_slice(), &mut ShrunkFiles, ApplyOptions::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.fault(), Fault::Base, "{error}");
}

#[test]
fn a_tarball_shows_nothing_but_its_files() {
    let mut builder = fixtures::LayerBuilder::new();
    builder.file("file", counting()).file("secret", "next").symlink("link", "/etc/passwd");
    let tar = tempfile::NamedTempFile::new().unwrap();
    fs::write(tar.path(), builder.finish(fixtures::Ending::Normal)).unwrap();
    let mut sources = LayerSource::open(&[tar.path()], &SpoolOptions::default()).unwrap();
    let file = sources.open(&path("file"), &Budget::unlimited()).unwrap();
    let mut buffer = [0; 2];
    assert_eq!(file.size(), 256);
    file.read_exact_at(&mut buffer, 254).unwrap();
    assert_eq!(buffer, [254, 255]);
    for offset in [255, 256, u64::MAX - 1, u64::MAX] {
        assert_eq!(file.read_exact_at(&mut buffer, offset).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
    for name in ["link", "nothing", "file/x"] {
        assert!(sources.open(&path(name), &Budget::unlimited()).is_err(), "{name}");
    }
}
