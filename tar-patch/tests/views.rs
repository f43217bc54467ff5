//! tardf3: sources that are decoded, stretches that are encoded, and hostile ones of both.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use delta_format::wire::put_uvarint;
use delta_format::{
    Encoding, Error as DeltaError, OpWriter, Reencoding, SourcePath, SourceRef, Version, View, ViewStream,
};
use tar_patch::{ApplyOptions, Budget, DirSource, Error, Exhausted, Fault, Result, Work, apply};
use tempfile::TempDir;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

/// Bytes of the header of [`gzip`].
const HEADER: usize = 10;

fn deflate_view() -> Arc<View> {
    Arc::new(vec![ViewStream { gap: HEADER as u64, codec: 0, inner: View::new() }])
}

/// The recipe of the one stream of a file.
fn recipe(file: &[u8]) -> Vec<u8> {
    let found = recode::find(file, usize::MAX).remove(0);
    recode::recipe(found.codec, &file[found.encoded], &found.plain).unwrap().as_bytes().to_vec()
}

fn delta(ops: impl FnOnce(&mut OpWriter<Vec<u8>>)) -> Vec<u8> {
    let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default()).unwrap();
    ops(&mut writer);
    writer.finish().unwrap().0
}

fn tree(content: &[u8]) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("file"), content).unwrap();
    tree
}

fn run(delta: &[u8], tree: &Path, jobs: usize, max_output: u64) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    let jobs = NonZeroUsize::new(jobs).unwrap();
    let options = ApplyOptions::default().max_output(max_output).jobs(jobs);
    apply(delta, &mut DirSource::open(tree).unwrap(), options, &mut output)?;
    Ok(output)
}

fn stretch(gap: u64, size: usize, recipe: Vec<u8>) -> Reencoding {
    Reencoding { gap, size: size as u64, recipe, inner: Vec::new() }
}

fn path() -> SourcePath {
    SourcePath::new(b"file").unwrap()
}

#[test]
fn many_stretches_come_in_their_order_for_any_number_of_jobs() {
    let content: Vec<u8> = (0..200_000u32).flat_map(|word| (word / 7).to_le_bytes()).collect();
    let files: Vec<Vec<u8>> =
        (1..200).map(|part| gzip(&content[part * 1000..part * 1000 + part % 7 * 9000])).collect();
    let tree = tree(&content);
    let delta = delta(|writer| {
        for file in &files {
            let found = recode::find(file, usize::MAX).remove(0);
            writer.reencode(&[stretch(found.encoded.start as u64, found.plain.len(), recipe(file))]).unwrap();
            writer.literal(&file[..found.encoded.start]).unwrap();
            writer.literal(&found.plain).unwrap();
            writer.literal(&file[found.encoded.end..]).unwrap();
            writer.copy(&path(), 5, 300).unwrap();
        }
    });
    let expected: Vec<u8> =
        files.iter().flat_map(|file| [file.as_slice(), &content[5..305]].concat()).collect();
    for jobs in [1, 2, 7] {
        assert!(run(&delta, tree.path(), jobs, expected.len() as u64).unwrap() == expected, "{jobs}");
    }
    let over = run(&delta, tree.path(), 2, expected.len() as u64 - 1).unwrap_err();
    assert!(matches!(over, Error::Delta(DeltaError::TooLarge { what: "the output", .. })), "{over:?}");
}

#[test]
fn a_source_is_read_decoded() {
    let old = gzip(&b"the quick brown fox ".repeat(500));
    let new = gzip(&[&b"a "[..], &b"the quick brown fox ".repeat(500)].concat());
    let view = deflate_view();
    let source = SourceRef { path: &path(), view: Some(&view) };
    let delta = delta(|writer| {
        writer.reencode(&[stretch(HEADER as u64, 10_002, recipe(&new))]).unwrap();
        writer.copy(source, 0, HEADER as u64).unwrap();
        writer.literal(b"a ").unwrap();
        writer.copy(source, HEADER as u64, 10_000).unwrap();
        writer.literal(&new[new.len() - 8..]).unwrap();
    });
    assert_eq!(run(&delta, tree(&old).path(), 2, 1 << 20).unwrap(), new);
    for other in [&b""[..], b"short", &old[..old.len() / 2], &[&old[..HEADER], &[0xff; 400]].concat()] {
        let error = run(&delta, tree(other).path(), 2, 1 << 20).unwrap_err();
        assert_eq!(error.fault(), Fault::Base, "{error:?}");
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let unknown_codec = Arc::new(vec![ViewStream { gap: 0, codec: 200, inner: View::new() }]);
    let delta_of_codec = delta(|writer| {
        writer.copy(SourceRef { path: &path(), view: Some(&unknown_codec) }, 0, 1).unwrap();
    });
    let error = run(&delta_of_codec, tree(b"content").path(), 1, 10).unwrap_err();
    assert!(matches!(error, Error::Delta(DeltaError::SourceUndecodable { .. })), "{error:?}");
    for recipe in [&[250u8, 1, 2][..], &[], &[2], &[1, 0xff, 0xff]] {
        let delta = delta(|writer| {
            writer.reencode(&[stretch(0, 3, recipe.to_vec())]).unwrap();
            writer.literal(b"abc").unwrap();
        });
        let error = run(&delta, tree(b"").path(), 2, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Delta(DeltaError::Reencode(_))), "{recipe:?}: {error:?}");
        assert_eq!(error.fault(), Fault::Delta);
    }
}

/// Asserts that an apply ended because its budget did.
#[track_caller]
fn assert_over_budget(result: Result<Vec<u8>>, of: &str) {
    let error = result.unwrap_err();
    let over = matches!(&error, Error::Delta(DeltaError::OverBudget(Exhausted::Work { what, .. } | Exhausted::Ahead { what, .. })) if *what == of);
    assert!(over, "{error:?}");
    assert_eq!(error.fault(), Fault::Delta);
}

/// A gzip file of `size` zeros.
fn bomb(size: u64) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    io::copy(&mut io::Read::take(io::repeat(0), size), &mut writer).unwrap();
    writer.finish().unwrap()
}

#[test]
fn bombs_end_at_their_bounds() {
    let tree = tree(&bomb(300 << 20));
    let view = deflate_view();
    let source = SourceRef { path: &path(), view: Some(&view) };
    let one = delta(|writer| writer.copy(source, 0, 1).unwrap());
    let error = run(&one, tree.path(), 1, 1 << 30).unwrap_err();
    assert!(matches!(error, Error::Delta(DeltaError::TooLarge { max, .. }) if max == 256 << 20), "{error:?}");

    // Within the bound of one source, again and again.
    std::fs::write(tree.path().join("file"), bomb(200 << 20)).unwrap();
    let many = delta(|writer| {
        for _ in 0..50 {
            writer.copy(source, 0, 1).unwrap();
            writer.copy(&path(), 0, 1).unwrap();
        }
    });
    assert_over_budget(run(&many, tree.path(), 1, 100), "reading");
}

#[test]
fn an_encoder_that_takes_much_memory_is_refused() {
    let file = std::process::Command::new("xz").args(["-9", "-c", "/proc/self/cmdline"]).output().unwrap();
    let recipe = recipe(&file.stdout);
    let delta = delta(|writer| {
        writer.reencode(&[stretch(0, 1, recipe)]).unwrap();
        writer.literal(b"x").unwrap();
    });
    let error = run(&delta, tree(b"").path(), 2, 1 << 20).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("the memory of an encoder is too large"), "{message}");
}

#[test]
fn stretches_count_against_the_bound_of_what_is_encoded() {
    let zeros = vec![0; 8 << 20];
    let recipe = recipe(&gzip(&zeros));
    let source = tree(&zeros);
    let delta = delta(|writer| {
        for _ in 0..40 {
            writer.reencode(&[stretch(0, zeros.len(), recipe.clone())]).unwrap();
            writer.copy(&path(), 0, zeros.len() as u64).unwrap();
        }
    });
    // Zeros take as little work as anything: eight units for each. Half of all stretches are granted.
    let max = Work { reading: u64::MAX, encoding: 20 * 8 * zeros.len() as u64 };
    let budget = Budget::new(max);
    let jobs = NonZeroUsize::new(2).unwrap();
    let options = ApplyOptions::default().max_output(4 << 20).jobs(jobs).budget(&budget);
    let mut output = Vec::new();
    let applied = apply(&*delta, &mut DirSource::open(source.path()).unwrap(), options, &mut output);
    assert_over_budget(applied.map(|_| output), "encoding");
}

/// The recipe of an xz stream of blocks of a byte, with a dictionary of 16 MiB.
fn xz_recipe(blocks: u64) -> Vec<u8> {
    let mut recipe = vec![2, 6, 1, 0x5d];
    put_uvarint(&mut recipe, blocks);
    for _ in 0..blocks {
        recipe.extend([1, 1, 0, 0x21, 1, 24, 0, 0, 0]);
    }
    recipe
}

#[test]
fn encoders_that_are_set_up_for_a_byte_each_are_bounded() {
    let encode = |recipe: Vec<u8>, size: usize| {
        let delta = delta(|writer| {
            writer.reencode(&[stretch(0, size, recipe)]).unwrap();
            writer.literal(&vec![0; size]).unwrap();
        });
        run(&delta, tree(b"").path(), 2, 1 << 20)
    };
    assert!(encode(xz_recipe(1), 1).is_ok());
    assert_over_budget(encode(xz_recipe(1 << 14), 1 << 14), "encoding");
}

#[test]
fn streams_that_decode_to_nothing_count_as_what_is_read() {
    // Stored blocks of no bytes, and the last.
    let blocks = [&[0, 0, 0, 0xff, 0xff].repeat(6 << 20)[..], &[1, 0, 0, 0xff, 0xff]].concat();
    let file = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &blocks, &[0; 8]].concat();
    let view = deflate_view();
    let source = SourceRef { path: &path(), view: Some(&view) };
    let delta = delta(|writer| {
        for _ in 0..50 {
            writer.copy(source, 0, 1).unwrap();
            writer.copy(&path(), 0, 1).unwrap();
        }
    });
    assert_over_budget(run(&delta, tree(&file).path(), 1, 100), "reading");
}

/// A deflate stream of `blocks` stored blocks of no bytes.
fn empty_blocks(blocks: usize) -> Vec<u8> {
    [[0, 0, 0, 0xff, 0xff].repeat(blocks - 1), vec![1, 0, 0, 0xff, 0xff]].concat()
}

#[test]
fn what_stretches_of_no_bytes_grow_to_is_bounded() {
    let stream = empty_blocks(13_000);
    let recipe = recode::recipe(recode::Codec::Deflate, &stream, b"").unwrap().as_bytes().to_vec();
    let run = |inner: usize| {
        let leaf = stretch(0, 0, recipe.clone());
        let outer = Reencoding { inner: vec![leaf; inner], ..stretch(0, 0, recipe_of_level_1()) };
        let delta = delta(|writer| {
            writer.reencode(&[outer]).unwrap();
            writer.literal(b"x").unwrap();
        });
        run(&delta, tree(b"").path(), 2, 100 << 20)
    };
    let made = run(10).unwrap();
    let mut decoder = flate2::read::DeflateDecoder::new(&made[..made.len() - 1]);
    let mut plain = Vec::new();
    io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    assert!(plain == stream.repeat(10), "{} bytes", plain.len());
    let error = run(20_000).unwrap_err();
    assert!(matches!(error, Error::Delta(DeltaError::Reencode(_))), "{error:?}");
}

/// The recipe of zlib's level 1.
fn recipe_of_level_1() -> Vec<u8> {
    vec![0, 1, 15, 8, 0]
}

#[test]
fn streams_of_no_bytes_in_a_source_are_charged_each() {
    // As many streams as a view may have, each set up for two bytes.
    let streams = 100_000;
    let file = tree(&[&[3, 0].repeat(streams)[..], b"x"].concat());
    let view = Arc::new(vec![ViewStream { gap: 0, codec: 0, inner: View::new() }; streams]);
    let delta = delta(|writer| {
        for _ in 0..2 {
            writer.literal(b"x").unwrap();
            writer.copy(SourceRef { path: &path(), view: Some(&view) }, 0, 1).unwrap();
            writer.copy(&path(), 0, 1).unwrap();
        }
    });
    assert_over_budget(run(&delta, file.path(), 1, 100), "reading");
}

#[test]
fn a_source_in_a_stream_of_a_source_is_decoded_within_the_bounds() {
    let inner = gzip(&b"the quick brown fox ".repeat(500));
    let outer = gzip(&inner);
    let leaf = ViewStream { gap: HEADER as u64, codec: 0, inner: View::new() };
    let view = Arc::new(vec![ViewStream { gap: HEADER as u64, codec: 0, inner: vec![leaf] }]);
    let source = SourceRef { path: &path(), view: Some(&view) };
    let start = 2 * HEADER as u64;
    let delta = delta(|writer| writer.copy(source, start, 10_000).unwrap());
    let made = run(&delta, tree(&outer).path(), 1, 10_000).unwrap();
    assert!(made == b"the quick brown fox ".repeat(500));

    let bomb = gzip(&bomb(300 << 20));
    let error = run(&delta, tree(&bomb).path(), 1, 1 << 30).unwrap_err();
    assert!(matches!(error, Error::Delta(DeltaError::TooLarge { max, .. }) if max == 256 << 20), "{error:?}");
}

#[test]
fn one_budget_serves_several_tries_and_a_deadline_ends_one() {
    let content = vec![7; 1 << 20];
    let file = gzip(&content);
    let delta = delta(|writer| {
        writer.reencode(&[stretch(HEADER as u64, content.len(), recipe(&file))]).unwrap();
        writer.literal(&file[..HEADER]).unwrap();
        writer.literal(&content).unwrap();
    });
    let run = |budget: &Budget| {
        let options = ApplyOptions::default().budget(budget);
        let source = tree(b"");
        apply(delta.as_slice(), &mut DirSource::open(source.path()).unwrap(), options, &mut Vec::new())
    };
    let unlimited = Budget::unlimited();
    run(&unlimited).unwrap();
    let Work { reading, encoding } = unlimited.spent();
    let twice = Budget::new(Work { reading: 2 * reading, encoding: 2 * encoding });
    run(&twice).unwrap();
    run(&twice).unwrap();
    assert_over_budget(run(&twice).map(|_| Vec::new()), "reading");
    let stopped = run(&Budget::unlimited().stopping_if(|| true)).unwrap_err();
    assert!(matches!(stopped, Error::Delta(DeltaError::OverBudget(Exhausted::Stopped))), "{stopped:?}");
}

#[test]
fn a_delta_that_ends_short_of_a_known_size_says_so() {
    let delta = delta(|writer| writer.literal(b"12345").unwrap());
    let run = |size| {
        let options = ApplyOptions::default().size(size);
        let source = tree(b"");
        apply(delta.as_slice(), &mut DirSource::open(source.path()).unwrap(), options, &mut Vec::new())
    };
    assert_eq!(run(5).unwrap().size, 5);
    assert!(matches!(run(6), Err(Error::TooShort { size: 5, expected: 6 })));
    assert!(matches!(run(4), Err(Error::Delta(DeltaError::TooLarge { what: "the output", .. }))));
}
