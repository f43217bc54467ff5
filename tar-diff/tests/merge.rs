//! A merged delta does what the two deltas do, one after the other.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "../../registry-ext/tests/support/documented.rs"]
mod documented;

use std::num::NonZeroUsize;

use assert_cmd::Command;
use delta_format::{Encoding, OpWriter, SourcePath, Version};
use fixtures::{Corpus, Ending, LayerBuilder, random_layers, seeds};
use layer::{MergeOptions, Spool, SpoolOptions};
use tar_diff::{DeltaMergeOptions, DeltaMerger, DiffOptions, Error, Reads, diff, merge, verify};
use tempfile::TempDir;

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("layer".into(), bytes, &SpoolOptions::default()).unwrap()
}

fn delta(old: &[u8], new: &[u8], options: &DiffOptions) -> Vec<u8> {
    delta_of_image(&[old], new, options)
}

fn delta_of_image(old: &[&[u8]], new: &[u8], options: &DiffOptions) -> Vec<u8> {
    let old: Vec<Spool> = old.iter().map(|layer| spool(layer)).collect();
    diff(&old, &spool(new), options, Vec::new(), &|_| ()).unwrap().0
}

fn options() -> DiffOptions {
    DiffOptions::default().level(3).jobs(NonZeroUsize::MIN)
}

fn merged(first: &[u8], second: &[u8]) -> Result<Vec<u8>, Error> {
    let options = DeltaMergeOptions::default().level(3);
    merge(first, second, &options, Vec::new()).map(|(merged, stats)| {
        assert_eq!(stats.copied + stats.added + stats.literal, stats.target_size);
        merged
    })
}

/// Three versions of an archive of many files.
fn versions(seed: u64) -> [Vec<u8>; 3] {
    let corpus = Corpus { seed, files: 40, mean_size: 8 << 10, ..Corpus::default() };
    let (first, second) = corpus.pair();
    // What changed goes back, and something else changes.
    let mut third = first.clone();
    for at in (5000..third.len() - 2000).step_by(40_000) {
        // Of the content of a file, if it is no header.
        if third[at..at + 600].iter().all(|byte| *byte != 0) {
            third[at] ^= 1;
        }
    }
    [first, second, third]
}

#[test]
fn a_merged_delta_makes_the_last_layer_of_the_first() {
    for seed in 0..12 {
        let [v1, v2, v3] = versions(seed);
        let (first, second) = (delta(&v1, &v2, &options()), delta(&v2, &v3, &options()));
        let merged = merged(&first, &second).unwrap();
        verify(merged.as_slice(), &[spool(&v1)], &spool(&v3), &options().merge).unwrap();
        assert!(merged.len() < v3.len() / 4, "{} of {}", merged.len(), v3.len());
    }
}

#[test]
fn deltas_of_any_layers_can_be_merged() {
    for seed in seeds(150) {
        let (one, other) = (random_layers(seed), random_layers(seed.wrapping_add(1)));
        let (v1, v2, v3) = (&one.new, &one.old[0], &other.new);
        let (first, second) = (delta(v1, v2, &options()), delta(v2, v3, &options()));
        let merged = merged(&first, &second).unwrap_or_else(|error| panic!("{seed}: {error:?}"));
        verify(merged.as_slice(), &[spool(v1)], &spool(v3), &options().merge)
            .unwrap_or_else(|error| panic!("{seed}: {error:?}"));
    }
}

#[test]
fn a_chain_of_deltas_is_merged_to_one() {
    let mut layers = Vec::new();
    for version in 0..6_u8 {
        let mut layer = LayerBuilder::new();
        let mut content = fixtures::Rng::new(1).bytes(60_000);
        content[usize::from(version) * 9000..][..700].fill(version);
        layer.file("a", &content).file("b", [version; 10]);
        layers.push(layer.finish(Ending::Normal));
    }
    let mut chain = delta(&layers[0], &layers[1], &options());
    for pair in layers[1..].windows(2) {
        chain = merged(&chain, &delta(&pair[0], &pair[1], &options())).unwrap();
    }
    verify(chain.as_slice(), &[spool(&layers[0])], &spool(&layers[5]), &options().merge).unwrap();
    assert!(chain.len() < 4000, "{}", chain.len());
}

/// The options for the layers of images.
fn options_of_images() -> (DiffOptions, DeltaMergeOptions) {
    let merge = MergeOptions::default().apply_whiteouts(true);
    (options().merge(merge.clone()), DeltaMergeOptions::default().level(3).merge(merge))
}

#[test]
fn deltas_of_images_of_any_layers_can_be_merged() {
    let (options, merging) = options_of_images();
    for seed in seeds(100) {
        let [one, two, three] = [0, 1, 2].map(|of| random_layers(seed.wrapping_mul(3).wrapping_add(of)));
        let v1: Vec<&[u8]> = vec![&one.old[0], &two.old[0], &one.new];
        // A layer of v1, in another place; one that is made of v1, one that is made of an image between, and one that
        // is at hand.
        let between: Vec<&[u8]> = vec![&one.old[0], &two.new];
        let v2: Vec<&[u8]> = vec![&three.old[0], &one.old[0], &two.new, &three.new, &two.old[0]];
        let new = &random_layers(seed.wrapping_mul(7)).new;
        let mut merger =
            DeltaMerger::of_layers(v1.iter().map(|layer| spool(layer)).collect(), &merging).unwrap();
        let to_two = delta_of_image(&v1, &two.new, &options);
        let made_two = merger.add_delta(&*to_two, &Reads::Old).unwrap();
        let reads = Reads::Layers(vec![merger.old(0), made_two]);
        let made_three = merger.add_delta(&*delta_of_image(&between, &three.new, &options), &reads).unwrap();
        let at_hand = merger.add_tar(spool(&three.old[0])).unwrap();
        let reads = vec![at_hand, merger.old(0), made_two, made_three, merger.old(1)];
        let last = delta_of_image(&v2, new, &options);
        let merged = merger.write(&*last, &Reads::Layers(reads), Vec::new());
        let (merged, stats) = merged.unwrap_or_else(|error| panic!("{seed}: {error:?}"));
        assert_eq!(stats.target_size, new.len() as u64);
        let old: Vec<Spool> = v1.iter().map(|layer| spool(layer)).collect();
        verify(merged.as_slice(), &old, &spool(new), &options.merge)
            .unwrap_or_else(|error| panic!("{seed}: {error:?}"));
    }
}

#[test]
fn files_of_layers_that_both_images_have_are_read_where_they_lie() {
    let (options, merging) = options_of_images();
    let bytes = fixtures::Rng::new(18).bytes(200_000);
    let layer = |files: &[(&str, &[u8])]| {
        let mut layer = LayerBuilder::new();
        for (path, content) in files {
            layer.file(path, content);
        }
        layer.finish(Ending::Normal)
    };
    let base = layer(&[("usr/lib/a", &bytes[..50_000]), ("usr/lib/b", &bytes[50_000..100_000])]);
    let app = |number: u8| {
        let hides =
            layer(&[("usr/lib/b", b"another"), ("app", &[&bytes[100_000..150_000], &[number]].concat())]);
        let shows = layer(&[
            ("app", &[&bytes[100_000..150_000], &[number]].concat()),
            ("copies", &[&bytes[..100_000], &[number]].concat()),
        ]);
        if number == 1 { hides } else { shows }
    };
    let (v1, v2, new) = ([&*base, &app(1)], [&*base, &app(2)], app(3));
    let spools = |layers: &[&[u8]]| layers.iter().map(|layer| spool(layer)).collect::<Vec<_>>();
    let (first, second) = (delta_of_image(&v1, v2[1], &options), delta_of_image(&v2, &new, &options));
    let mut merger = DeltaMerger::of_layers(spools(&v1), &merging).unwrap();
    let made = merger.add_delta(&*first, &Reads::Old).unwrap();
    let reads = Reads::Layers(vec![merger.old(0), made]);
    let (merged, stats) = merger.write(&*second, &reads, Vec::new()).unwrap();
    verify(merged.as_slice(), &spools(&v1), &spool(&new), &options.merge).unwrap();
    // What v1 hides of `base` is carried, and nothing else of it.
    assert!((50_000..60_000).contains(&stats.literal), "{stats:?}");
    assert!((50_000..60_000).contains(&merged.len()), "{}", merged.len());
}

#[test]
fn damaged_deltas_are_refused_and_cost_little() {
    let [v1, v2, v3] = versions(5);
    let (first, second) = (delta(&v1, &v2, &options()), delta(&v2, &v3, &options()));
    let mut rng = fixtures::Rng::new(18);
    let dir = TempDir::new().unwrap();
    let merging = DeltaMergeOptions::default().level(1).max_size(1 << 20).temp_dir(dir.path());
    let mut refused = 0;
    for _ in 0..200 {
        let mut damaged = [first.clone(), second.clone()];
        for delta in &mut damaged {
            let at = rng.bytes(4);
            let at = u32::from_le_bytes([at[0], at[1], at[2], at[3]]) as usize % delta.len();
            delta[at] ^= rng.bytes(1)[0];
        }
        refused += usize::from(merge(&*damaged[0], &*damaged[1], &merging, Vec::new()).is_err());
    }
    assert!(refused > 100, "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_merged_is_said() {
    let layer = |path: &str| {
        let mut layer = LayerBuilder::new();
        layer.file(path, [7; 1000]);
        layer.finish(Ending::Normal)
    };
    let reason = |first: &[u8], second: &[u8]| match merged(first, second) {
        Err(Error::CannotMerge { delta, reason }) => format!("{delta}: {reason}"),
        other => panic!("{other:?}"),
    };
    let first = delta(&layer("a"), &layer("b"), &options());
    let of_another = delta(&layer("a"), &layer("c"), &options());
    assert!(reason(&first, &of_another).starts_with("second: it reads `a`"));
    let zstd = options().method(tar_diff::Method::Zstd);
    let mut near = layer("a");
    near[600] = 1;
    let tardf2 = delta(&layer("a"), &near, &zstd);
    assert!(reason(&tardf2, &first).contains("first: it is a tardf2"));
    let handmade = |ops: &dyn Fn(&mut OpWriter<Vec<u8>>)| {
        let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
        ops(&mut writer);
        writer.finish().unwrap().0
    };
    let path = SourcePath::new(b"a").unwrap();
    // The middle tar is a copy of a file: only the old layer has its headers.
    let copied = handmade(&|writer| writer.copy(&path, 0, 10_240).unwrap());
    assert!(
        reason(&copied, &first).contains("the headers of the middle tar") || merged(&copied, &first).is_err()
    );
    let beyond = handmade(&|writer| writer.copy(&SourcePath::new(b"b").unwrap(), 900, 200).unwrap());
    assert!(reason(&first, &beyond).contains("behind the end of a file"));
    let huge = handmade(&|writer| writer.copy(&path, 0, 1 << 40).unwrap());
    assert!(reason(&huge, &first).contains("its layer has over"));
    let small = DeltaMergeOptions::default().memory(100);
    let refused = merge(first.as_slice(), first.as_slice(), &small, Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("of memory"), "{refused}");
    assert!(merged(b"no delta", &first).is_err());
    assert!(merged(&first, &first[..first.len() - 3]).is_err());
}

#[test]
fn the_command_merges_files() {
    let dir = TempDir::new().unwrap();
    let [v1, v2, v3] = versions(3);
    for (name, bytes) in [
        ("v1.tar", &v1),
        ("v3.tar", &v3),
        ("12.tardiff", &delta(&v1, &v2, &options())),
        ("23.tardiff", &delta(&v2, &v3, &options())),
    ] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let run = |line: &str| {
        let mut command = Command::cargo_bin("tar-diff").unwrap();
        command.current_dir(dir.path()).args(line.split(' ')).assert()
    };
    let json = run("merge 12.tardiff 23.tardiff 13.tardiff --json --level 3").success();
    let figures: serde_json::Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    documented::check("tar-diff merge", &figures);
    let made = std::fs::read(dir.path().join("13.tardiff")).unwrap();
    assert_eq!(figures["delta_size"].as_u64(), Some(made.len() as u64));
    assert_eq!(figures["target_size"].as_u64(), Some(v3.len() as u64));
    verify(made.as_slice(), &[spool(&v1)], &spool(&v3), &options().merge).unwrap();
    run("merge 12.tardiff v3.tar 13.tardiff").code(2);
    run("merge 12.tardiff 23.tardiff 12.tardiff").code(2);
    let cut = std::fs::read(dir.path().join("23.tardiff")).unwrap();
    std::fs::write(dir.path().join("cut.tardiff"), &cut[..cut.len() / 2]).unwrap();
    run("merge 12.tardiff cut.tardiff out").code(1);
    assert!(!dir.path().join("out").exists(), "nothing is half written");
}
