//! The effort of a diff: on sources that many targets have, and of memory.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use assert_cmd::Command;
use fixtures::{Ending, LayerBuilder, Rng};
use layer::{Spool, SpoolOptions};
use tar_diff::{DiffOptions, Method, Reduced, Stats, diff, verify};

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("layer".into(), bytes, &SpoolOptions::default()).unwrap()
}

/// A verified delta.
fn delta(old: &[u8], new: &[u8], options: &DiffOptions) -> (Vec<u8>, Stats) {
    let (old, new) = ([spool(old)], spool(new));
    let (delta, stats) = diff(&old, &new, options, Vec::new(), &|_| ()).unwrap();
    verify(delta.as_slice(), &old, &new, &options.merge).unwrap();
    (delta, stats)
}

fn layer(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let mut layer = LayerBuilder::new();
    for (path, bytes) in files {
        layer.file(path, bytes);
    }
    layer.finish(Ending::Normal)
}

fn jobs(jobs: usize) -> NonZeroUsize {
    NonZeroUsize::new(jobs).unwrap()
}

/// Targets whose names all suggest one source, and that hold a part of it each.
fn parts_of_one_source(count: usize, size: usize) -> (Vec<u8>, Vec<u8>) {
    let source = Rng::new(1).bytes(3 << 20);
    let parts = (0..count).map(|index| {
        let start = index * (source.len() - size) / count;
        let part = [&Rng::new(100 + index as u64).bytes(10), &source[start..start + size]].concat();
        (format!("data/{}.bin", index + 1), part)
    });
    (layer([("data/0.bin".to_owned(), source.clone())]), layer(parts))
}

#[test]
fn targets_of_one_source_share_its_index_whatever_the_method_and_the_jobs() {
    let (old, new) = parts_of_one_source(12, 100_000);
    for (method, max_bsdiff_size) in [
        (Method::Bsdiff, u64::MAX),
        (Method::Bsdiff, 1 << 20),
        (Method::Auto, u64::MAX),
        (Method::Zstd, u64::MAX),
    ] {
        let options = |count| {
            DiffOptions::default().method(method).max_bsdiff_size(max_bsdiff_size).level(3).jobs(jobs(count))
        };
        let (one, stats) = delta(&old, &new, &options(1));
        assert_eq!(stats.similar.count, 12, "{method:?}");
        let most = if max_bsdiff_size == u64::MAX { 10_000 } else { 200_000 };
        assert!(one.len() < most, "{method:?}: {} bytes", one.len());
        assert!(one == delta(&old, &new, &options(3)).0, "{method:?}: jobs change the bytes");
    }
}

#[test]
fn small_targets_do_not_read_a_large_source_that_only_their_names_suggest() {
    let (old, new) = parts_of_one_source(50, 4000);
    for sees_through in [false, true] {
        let options = DiffOptions::default().sees_through(sees_through).level(3);
        let (_, stats) = delta(&old, &new, &options);
        assert_eq!((stats.similar.count, stats.written.copy_size), (0, 0));
    }
}

#[test]
fn a_file_that_shrank_is_still_made_of_what_it_was() {
    let source = Rng::new(1).bytes(3 << 20);
    let part = [&source[1_000_000..1_004_000], b"changed", &source[2_000_000..2_004_000]].concat();
    let old = layer([("var/log".to_owned(), source)]);
    let (delta, stats) = delta(&old, &layer([("var/log".to_owned(), part)]), &DiffOptions::default());
    assert_eq!(stats.similar.count, 1);
    assert!(delta.len() < 1000, "{}", delta.len());
}

/// Text of words: what compressors work for.
fn text(size: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut text = Vec::with_capacity(size + 20);
    while text.len() < size {
        text.extend_from_slice(format!("word{} ", rng.below(5000)).as_bytes());
    }
    text
}

#[test]
fn all_the_effort_is_spent_on_the_first_part_of_a_long_delta_alone() {
    let old = layer([("a".to_owned(), b"nothing in common".to_vec())]);
    let new = layer([("b".to_owned(), text(9 << 20, 4))]);
    let full_effort = |level| {
        let options = DiffOptions::default().level(level);
        let (_, stats) = delta(&old, &new, &options);
        assert!(stats.written.stream_size > 9 << 20);
        stats.written.full_effort_size
    };
    assert_eq!(full_effort(DiffOptions::default().level), 8 << 20);
    assert!(full_effort(9) > 9 << 20);
}

#[test]
fn a_small_budget_is_told_of() {
    let old: Vec<u8> = Rng::new(3).bytes(9 << 20);
    let new = [&old[..4 << 20], b"new", &old[4 << 20..]].concat();
    let (old, new) = (layer([("big".to_owned(), old)]), layer([("big".to_owned(), new)]));
    let with = |memory| DiffOptions::default().memory(memory << 20).level(3);
    let (_, stats) = delta(&old, &new, &with(1024));
    assert_eq!(stats.reduced, Reduced::default());
    let (_, stats) = delta(&old, &new, &with(16));
    assert_eq!(stats.reduced.in_chunks.count, 1);
    let enough = stats.reduced.wanted_memory.div_ceil(1 << 20);
    assert_eq!(delta(&old, &new, &with(enough)).1.reduced, Reduced::default());

    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write("old.tar", &old);
    write("new.tar", &new);
    let run = |flags: &[&str]| {
        let mut command = Command::cargo_bin("tar-diff").unwrap();
        command
            .current_dir(directory.path())
            .args(flags)
            .args(["--level", "3", "old.tar", "new.tar", "delta"]);
        command.assert().success().get_output().clone()
    };
    let said = String::from_utf8(run(&["--memory", "16"]).stderr).unwrap();
    let wanted = format!("1 file ({} bytes) matched in chunks instead of by bsdiff", (9 << 20) + 3);
    assert!(said.contains("warning: 16 MiB of memory") && said.contains(&wanted), "{said}");
    assert!(said.contains(&format!("--memory {enough} avoids that")), "{said}");
    let said = String::from_utf8(run(&["--memory", &enough.to_string()]).stderr).unwrap();
    assert!(!said.contains("warning"), "{said}");
    assert!(run(&["--memory", "16", "--quiet"]).stderr.is_empty());
    let json: serde_json::Value = serde_json::from_slice(&run(&["--memory", "16", "--json"]).stdout).unwrap();
    assert_eq!(json["segments"]["reduced"]["in_chunks"]["count"], 1);
    assert!(json["warnings"][0].as_str().is_some_and(|text| text.contains(&wanted)), "{json}");
}

#[test]
fn names_that_take_more_than_the_budget_are_told_of() {
    let names = |end: &'static str| (0..25_000).map(move |index| (format!("{index}{end}"), Vec::new()));
    let (old, new) = (layer(names("")), layer(names(".new")));
    let options = DiffOptions::default().memory(16 << 20).level(3);
    let (_, stats) = delta(&old, &new, &options);
    let entries = stats.reduced.entries.unwrap();
    assert!(entries > options.memory && stats.reduced.wanted_memory > entries, "{:?}", stats.reduced);
    let enough = options.memory(stats.reduced.wanted_memory);
    assert_eq!(delta(&old, &new, &enough).1.reduced, Reduced::default());
}

/// The memory of a diff beside its budget: the program itself, what it remembers of literals, buffers, and
/// heaps that do not shrink at once.
const BESIDE_THE_BUDGET: u64 = 96 << 20;

#[test]
fn a_budget_holds() {
    let directory = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(7);
    let files: Vec<(String, Vec<u8>)> = (0..5)
        .map(|index| (format!("usr/lib/{index}"), rng.bytes(if index == 0 { 12 << 20 } else { 2 << 20 })))
        .collect();
    let changed = files.iter().map(|(path, bytes)| {
        let bytes = bytes.iter().enumerate();
        let bytes = bytes.map(|(index, byte)| if index % 5000 < 40 { byte ^ 0x55 } else { *byte });
        (path.clone(), bytes.collect())
    });
    let new = layer(changed.chain([("usr/new".to_owned(), text(4 << 20, 8))]));
    fs::write(directory.path().join("old.tar"), layer(files)).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &new).unwrap();
    fs::write(directory.path().join("new.tar.gz"), gzip.finish().unwrap()).unwrap();
    for (memory, count, format) in
        [(64, 1, "tardf1"), (128, 2, "tardf1"), (128, 8, "tardf3"), (256, 2, "tardf1")]
    {
        let (budget, jobs) = (memory.to_string(), count.to_string());
        let options = ["--memory", &budget, "--jobs", &jobs, "--format", format, "--level", "9"];
        let peak = peak_memory(directory.path(), &options);
        assert!(peak <= (memory << 20) + BESIDE_THE_BUDGET, "{memory} MiB, {count} jobs: {peak} bytes");
    }
}

/// The program itself and its buffers, with any preset.
const BESIDE_SMALL_LAYERS: u64 = 32 << 20;

#[test]
fn layers_of_some_kilobytes_take_little_memory_at_every_preset() {
    let directory = tempfile::tempdir().unwrap();
    let file = |seed| [("usr/file".to_owned(), text(20_000, seed))];
    fs::write(directory.path().join("old.tar"), layer(file(1))).unwrap();
    fs::write(directory.path().join("new.tar.gz"), layer(file(2))).unwrap();
    for preset in ["fast", "default", "max"] {
        let peak = peak_memory(directory.path(), &["--force", "--jobs", "2", "--preset", preset]);
        assert!(peak <= BESIDE_SMALL_LAYERS, "{preset}: {peak} bytes");
    }
}

/// The most memory that a run held, in bytes, as the kernel counted it.
fn peak_memory(directory: &Path, options: &[&str]) -> u64 {
    let mut command = Command::cargo_bin("tar-diff").unwrap();
    let run = command
        .current_dir(directory)
        .arg("--json")
        .args(options)
        .args(["old.tar", "new.tar.gz", "delta"])
        .assert()
        .success();
    let json: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    json["peak_memory"].as_u64().unwrap()
}
