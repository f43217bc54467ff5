//! The law: applying the delta gives the new tar, bit for bit, whatever the archives are.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::num::NonZeroUsize;
use std::path::Path;

use delta_format::Version;
use fixtures::Scenario;
use layer::{MergeOptions, Spool, SpoolOptions};
use proptest::prelude::*;
use tar_diff::{DiffOptions, Method, diff, verify};
use tar_patch::{ApplyOptions, DirSource, apply};

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("layer".into(), bytes, &SpoolOptions::default()).unwrap()
}

fn delta(scenario: &Scenario, options: &DiffOptions) -> Vec<u8> {
    let old: Vec<Spool> = scenario.old.iter().map(|layer| spool(layer)).collect();
    let new = spool(&scenario.new);
    let done = std::sync::atomic::AtomicU64::new(0);
    let count = |size| {
        done.fetch_add(size, std::sync::atomic::Ordering::Relaxed);
    };
    let (delta, stats) = diff(&old, &new, options, Vec::new(), &count).unwrap();
    let name = scenario.name;
    assert_eq!(done.into_inner(), new.size(), "{name}: progress adds up");
    assert_eq!(
        stats.same.size + stats.similar.size + stats.literal.size,
        new.size(),
        "{name}: the plan covers all"
    );
    verify(delta.as_slice(), &old, &new).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    delta
}

fn apply_to(delta: &[u8], tree: &Path) -> Vec<u8> {
    let mut sources = DirSource::open(tree).unwrap();
    let mut output = Vec::new();
    apply(delta, &mut sources, ApplyOptions::default(), &mut output)
        .unwrap_or_else(|error| panic!("{error:?}"));
    output
}

/// Small enough that the larger files of the scenarios are over it and matched in chunks.
const SMALL_CAP: u64 = 20_000;

fn check(scenario: &Scenario) {
    let tree = tempfile::tempdir().unwrap();
    scenario.extract_old(tree.path());
    let merge = MergeOptions { apply_whiteouts: scenario.apply_whiteouts, ..MergeOptions::default() };
    let methods = [
        (Method::Bsdiff, u64::MAX, Version::V1),
        (Method::Bsdiff, SMALL_CAP, Version::V1),
        (Method::Zstd, u64::MAX, Version::V2),
        (Method::Auto, u64::MAX, Version::V2),
        (Method::Bsdiff, u64::MAX, Version::V3),
        (Method::Auto, SMALL_CAP, Version::V3),
    ];
    for (method, max_bsdiff_size, newest) in methods {
        let options = |jobs| DiffOptions {
            merge: merge.clone(),
            method,
            sees_through: newest == Version::V3,
            max_bsdiff_size,
            jobs: NonZeroUsize::new(jobs).unwrap(),
            level: 3,
            ..DiffOptions::default()
        };
        let one = delta(scenario, &options(1));
        let version = Version::from_magic(*one.first_chunk().unwrap()).unwrap();
        assert!(version == newest || newest == Version::V3 && version < newest);
        assert!(one == delta(scenario, &options(3)), "{}: {method:?}: jobs change the bytes", scenario.name);
        let rebuilt = apply_to(&one, tree.path());
        assert!(rebuilt == scenario.new, "{}: {method:?}: the result differs", scenario.name);
    }
}

#[test]
fn every_scenario_comes_back_exactly() {
    let scenarios = fixtures::scenarios::all();
    assert!(scenarios.len() > 100);
    scenarios.iter().for_each(check);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_archives_come_back_exactly(seed: u64) {
        check(&fixtures::random_layers(seed));
    }
}

#[test]
fn prefixes_choose_the_sources() {
    let (old, new) = fixtures::Corpus { files: 60, ..fixtures::Corpus::default() }.pair();
    let scenario = Scenario {
        name: "prefixes",
        old: vec![old],
        new,
        apply_whiteouts: false,
        tolerance: fixtures::Tolerance::Strict,
    };
    let with = |source: &[&str], ignored: &[&str]| DiffOptions {
        merge: MergeOptions {
            source_prefixes: source.iter().map(|prefix| prefix.as_bytes().to_vec()).collect(),
            ignored_prefixes: ignored.iter().map(|prefix| prefix.as_bytes().to_vec()).collect(),
            ..MergeOptions::default()
        },
        ..DiffOptions::default()
    };
    let all = delta(&scenario, &with(&[], &[])).len();
    let none = delta(&scenario, &with(&["no/such/prefix/"], &[])).len();
    let ignored = delta(&scenario, &with(&[], &["usr/"])).len();
    assert!(all < ignored && ignored <= none, "{all} {ignored} {none}");
}

#[test]
fn many_files_with_no_path_in_common_take_seconds() {
    let (old, new) = fixtures::tiny_files(7, 20_000);
    let (old, new) = ([spool(&old)], spool(&new));
    let start = std::time::Instant::now();
    diff(&old, &new, &DiffOptions::default(), Vec::new(), &|_| ()).unwrap();
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn a_broken_header_in_the_middle_is_named() {
    let mut builder = fixtures::LayerBuilder::new();
    builder.file("a", [1; 600]).file("b", [2; 600]).file("c", [3; 600]);
    let good = builder.finish(fixtures::Ending::Normal);
    let mut broken = good.clone();
    let second = 512 + 1024;
    broken[second + 3] ^= 1;
    let error =
        diff(&[spool(&good)], &spool(&broken), &DiffOptions::default(), Vec::new(), &|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("layer: broken tar at byte {second}: the checksum of the header does not match")
    );
    let error =
        diff(&[spool(&good[..second + 700])], &spool(&good), &DiffOptions::default(), Vec::new(), &|_| ());
    assert!(error.unwrap_err().to_string().contains("cut off"));
}

/// Sizes of the delta of a scenario without and with seeing through compression, and the figures of
/// the latter.
fn both_ways(name: &str) -> (usize, usize, tar_diff::Stats) {
    let scenarios = fixtures::scenarios::all();
    let scenario = scenarios.iter().find(|scenario| scenario.name == name).unwrap();
    let options = |sees_through| DiffOptions { sees_through, ..DiffOptions::default() };
    let (old, new) = ([spool(&scenario.old[0])], spool(&scenario.new));
    let (seen, stats) = diff(&old, &new, &options(true), Vec::new(), &|_| ()).unwrap();
    verify(seen.as_slice(), &old, &new).unwrap();
    (delta(scenario, &options(false)).len(), seen.len(), stats)
}

#[test]
fn what_streams_hold_is_compared() {
    for (name, streams) in [
        ("gzip", 1),
        ("xz", 1),
        ("zstd", 1),
        ("bzip2", 1),
        ("zip", 3),
        ("gzip-members", 2),
        ("xz-streams", 1),
        ("gzip-in-tar-gzip", 1),
        ("zip-in-gzip", 1),
        ("gzip-in-zip", 1),
        ("other-level", 1),
        ("other-codec", 1),
        ("now-compressed", 1),
        ("gzip-trailed", 1),
    ] {
        let (plain, seen, stats) = both_ways(name);
        assert!(seen < plain / 4, "{name}: {seen} of {plain}");
        assert_eq!((stats.seen_through.count, stats.streams), (1, streams), "{name}");
    }
}

#[test]
fn what_cannot_be_made_again_stays_as_it_is() {
    for name in ["gzip-cut-off", "zip-cut-off", "magic-alone", "identical"] {
        let (plain, seen, stats) = both_ways(name);
        assert_eq!((seen, stats.seen_through.count), (plain, 0), "{name}");
    }
}
