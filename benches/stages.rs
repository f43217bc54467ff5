//! Measures the time of each stage of the tools, and the bytes that it does in a second.
//!
//! All of it runs on generated layers: the same bytes everywhere. Throughput is of the bytes that the
//! stage goes through: the uncompressed new layer, or for a recipe the target file.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::time::Duration;

use benches::guard::presets;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use delta_format::{Encoding, Op, OpReader, OpWriter, SourcePath};
use layer::{MergeOptions, MergedTree, Spool, SpoolOptions, entries};
use tar_diff::stages;
use tar_patch::{ApplyOptions, LayerSource};

/// Bytes of the program that recipes are made for.
const PROGRAM_SIZE: usize = 4 << 20;

struct Layers {
    old: [Spool; 1],
    new: Spool,
    new_tar: Vec<u8>,
}

fn layers() -> Layers {
    let (old, new_tar) = fixtures::Corpus { files: 600, ..Default::default() }.pair();
    let spool = |name: &str, bytes: &[u8]| Spool::read(name.into(), bytes, &SpoolOptions::default()).unwrap();
    Layers { old: [spool("old", &old)], new: spool("new", &new_tar), new_tar }
}

fn reading(criterion: &mut Criterion) {
    let Layers { new, new_tar, .. } = layers();
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Bytes(new.size()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&new_tar).unwrap();
    let compressed = [("gzip", gzip.finish().unwrap()), ("zstd", zstd::bulk::compress(&new_tar, 3).unwrap())];
    for (name, layer) in &compressed {
        let decode = || Spool::read("new".into(), layer.as_slice(), &SpoolOptions::default()).unwrap();
        group.bench_function(BenchmarkId::new("decode", name), |bencher| bencher.iter(decode));
    }
    group.bench_function("entries", |bencher| bencher.iter(|| entries(&new).unwrap()));
    group.bench_function("diff_id", |bencher| bencher.iter(|| new.diff_id().unwrap()));
    group.finish();
}

fn matching(criterion: &mut Criterion) {
    let Layers { old, new, .. } = layers();
    let tree = MergedTree::merge(&[entries(&old[0]).unwrap()], &MergeOptions::default());
    let sources = tree.files().iter().map(|file| (&old[0], file.data.clone()));
    let of_new = entries(&new).unwrap();
    let targets: Vec<_> = of_new.iter().filter(|entry| !entry.data.is_empty()).collect();
    let files: Vec<_> = sources.chain(targets.iter().map(|entry| (&new, entry.data.clone()))).collect();
    let fingerprints = || stages::fingerprints(&files, tree.files().len(), NonZeroUsize::MIN).unwrap();
    let mut group = criterion.benchmark_group("match");
    group.throughput(Throughput::Bytes(files.iter().map(|(_, data)| data.end - data.start).sum()));
    group.bench_function("fingerprint", |bencher| bencher.iter(fingerprints));
    let fingerprints = fingerprints();
    group.throughput(Throughput::Elements(targets.len() as u64));
    group.bench_function("find sources", |bencher| {
        bencher.iter(|| stages::match_all(&tree, &targets, &fingerprints));
    });
    group.finish();
}

/// One call of an [`OpWriter`].
enum Call {
    Literal(Vec<u8>),
    Copy(SourcePath, u64, u64),
    Add(SourcePath, u64, Vec<u8>),
}

/// The calls that wrote a delta.
fn calls(delta: &[u8]) -> Vec<Call> {
    let mut reader = OpReader::new(delta).unwrap();
    let mut calls = Vec::new();
    let mut source = None;
    let mut position = 0;
    while let Some(op) = reader.next_op().unwrap() {
        let mut payload = vec![0; usize::try_from(op.payload_size()).unwrap()];
        reader.read_payload(&mut payload).unwrap();
        match op {
            Op::Open(path) => (source, position) = (Some(path), 0),
            Op::Seek { offset } => position = offset,
            Op::Data { .. } => calls.push(Call::Literal(payload)),
            Op::Copy { size } => {
                calls.push(Call::Copy(source.clone().unwrap(), position, size));
                position += size;
            }
            Op::AddData { size } => {
                calls.push(Call::Add(source.clone().unwrap(), position, payload));
                position += size;
            }
            Op::ZstdDict { .. }
            | Op::OpenView { .. }
            | Op::Reencode(_)
            | Op::Relocated { .. }
            | Op::Headers { .. }
            | Op::Entries { .. } => {
                unreachable!("the presets write tardf1")
            }
        }
    }
    calls
}

fn encoding(criterion: &mut Criterion) {
    let Layers { old, new, .. } = layers();
    let (_, options) = presets().into_iter().find(|(name, _)| *name == "default").unwrap();
    let (delta, stats) = tar_diff::diff(&old, &new, &options, Vec::new(), &|_| ()).unwrap();
    let calls = calls(&delta);
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(stats.written.stream_size));
    for level in [1, 3, 9, 15, 19] {
        group.bench_function(BenchmarkId::from_parameter(level), |bencher| {
            bencher.iter(|| {
                let encoding = Encoding { level, ..Encoding::default() };
                let mut writer = OpWriter::new(io::sink(), Default::default(), encoding).unwrap();
                for call in &calls {
                    match call {
                        Call::Literal(bytes) => writer.literal(bytes).unwrap(),
                        Call::Copy(source, offset, size) => writer.copy(source, *offset, *size).unwrap(),
                        Call::Add(source, offset, bytes) => writer.add(source, *offset, bytes).unwrap(),
                    }
                }
                writer.finish().unwrap().1
            });
        });
    }
    group.finish();
}

fn edits(criterion: &mut Criterion) {
    let source = fixtures::contents::program(1, PROGRAM_SIZE, 0);
    let target = fixtures::contents::program(1, PROGRAM_SIZE, 1);
    let mut group = criterion.benchmark_group("edit");
    group.throughput(Throughput::Bytes(target.len() as u64));
    for (preset, options) in presets() {
        let index = || stages::index(&source, &options);
        group.bench_function(BenchmarkId::new("index", preset), |bencher| bencher.iter(index));
        let edit = || stages::edit(&source, &target, &options);
        group.bench_function(BenchmarkId::new("bsdiff", preset), |bencher| bencher.iter(edit));
    }
    group.bench_function("qbsdiff, with bzip2", |bencher| {
        bencher.iter(|| {
            let mut delta = Vec::new();
            let differ = qbsdiff::Bsdiff::new(&source, &target);
            let differ = differ.parallel_scheme(qbsdiff::ParallelScheme::Never);
            differ.compare(io::Cursor::new(&mut delta)).unwrap()
        });
    });
    group.finish();
}

fn whole(criterion: &mut Criterion) {
    let Layers { old, new, .. } = layers();
    let mut group = criterion.benchmark_group("whole");
    group.throughput(Throughput::Bytes(new.size()));
    for (preset, options) in presets() {
        let diff = || tar_diff::diff(&old, &new, &options, Vec::new(), &|_| ()).unwrap();
        group.bench_function(BenchmarkId::new("diff", preset), |bencher| bencher.iter(diff));
        let (delta, _) = diff();
        let mut sources = LayerSource::new(old.to_vec()).unwrap();
        group.bench_function(BenchmarkId::new("apply", preset), |bencher| {
            bencher.iter(|| {
                let options = ApplyOptions::default().max_output(new.size());
                let applied = tar_patch::apply(delta.as_slice(), &mut sources, options, &mut io::sink());
                black_box(applied.unwrap())
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = reading, matching, edits, encoding, whole
}
criterion_main!(all);
