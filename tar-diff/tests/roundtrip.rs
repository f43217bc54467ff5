//! The law: applying the delta gives the new tar, bit for bit, whatever the archives are.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "roundtrip/files.rs"]
mod files;

use std::num::NonZeroUsize;
use std::path::Path;

use delta_format::Version;
use fixtures::{DeepDir, Ending, LayerBuilder, Scenario, Tangle, Tolerance, seeds, tangled_layers, untar};
use layer::{MergeOptions, Spool, SpoolOptions};
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
    verify(delta.as_slice(), &old, &new, &options.merge).unwrap_or_else(|error| panic!("{name}: {error:?}"));
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

/// A method, the size above which files are matched in chunks, and the newest format.
type Way = (Method, u64, Version);

const WAYS: [Way; 6] = [
    (Method::Bsdiff, u64::MAX, Version::V1),
    (Method::Bsdiff, SMALL_CAP, Version::V1),
    (Method::Zstd, u64::MAX, Version::V2),
    (Method::Auto, u64::MAX, Version::V2),
    (Method::Bsdiff, u64::MAX, Version::V3),
    (Method::Auto, SMALL_CAP, Version::V3),
];

/// One way for each seed: six seeds in a row try all.
fn way(seed: u64) -> Way {
    WAYS[usize::try_from(seed % 6).unwrap()]
}

fn check(scenario: &Scenario, ways: &[Way]) {
    let tree = tempfile::tempdir().unwrap();
    scenario.extract_old(tree.path());
    let merge = MergeOptions::default().apply_whiteouts(scenario.apply_whiteouts);
    for &(method, max_bsdiff_size, newest) in ways {
        let options = |jobs| {
            DiffOptions::default()
                .merge(merge.clone())
                .method(method)
                .sees_through(newest == Version::V3)
                .max_bsdiff_size(max_bsdiff_size)
                .jobs(NonZeroUsize::new(jobs).unwrap())
                .level(3)
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
    scenarios.iter().for_each(|scenario| check(scenario, &WAYS));
}

#[test]
fn random_archives_come_back_exactly() {
    for seed in seeds(120) {
        check(&fixtures::random_layers(seed), &[way(seed)]);
    }
}

#[test]
fn a_hard_link_outlasts_the_opaque_whiteout_of_the_other_name() {
    check(&fixtures::random_layers(8_010_196_496_234_138_438), &WAYS);
}

#[test]
fn archives_whose_entries_get_in_each_others_way_come_back_exactly() {
    seeds(150).for_each(check_tangled);
}

#[test]
fn archives_that_write_through_links_which_lead_up_come_back_exactly() {
    // GNU tar follows them out of the directory that it extracts to.
    check_tangled(222);
}

fn check_tangled(seed: u64) {
    let (old, contents) = tangled_layers(seed, Tangle { is_image: false, repeats: true });
    let tree = DeepDir::new();
    let failed = old.iter().filter(|layer| untar(layer, tree.path()).is_some()).count() > 0;
    let mut new = LayerBuilder::new();
    for (number, content) in contents.iter().enumerate() {
        new.file(format!("new/{number}"), content);
    }
    let new = new.finish(Ending::Normal);
    let scenario =
        Scenario { name: "tangled", old, new, apply_whiteouts: false, tolerance: Tolerance::Strict };
    let (method, max_bsdiff_size, newest) = way(seed);
    let sees_through = newest == Version::V3;
    let delta = delta(
        &scenario,
        &DiffOptions::default().method(method).max_bsdiff_size(max_bsdiff_size).sees_through(sees_through),
    );
    let mut rebuilt = Vec::new();
    let mut sources = DirSource::open(tree.path()).unwrap();
    match apply(delta.as_slice(), &mut sources, ApplyOptions::default(), &mut rebuilt) {
        Ok(_) => assert!(rebuilt == scenario.new, "seed {seed}: the result differs"),
        // GNU tar left out what it cannot extract.
        Err(error) => assert!(failed, "seed {seed}: {error:?}"),
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
    let with = |source: &[&str], ignored: &[&str]| {
        let bytes = |prefixes: &[&str]| prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
        let merge = MergeOptions::default().source_prefixes(bytes(source)).ignored_prefixes(bytes(ignored));
        DiffOptions::default().merge(merge)
    };
    let all = delta(&scenario, &with(&[], &[])).len();
    let none = delta(&scenario, &with(&["no/such/prefix/"], &[])).len();
    let ignored = delta(&scenario, &with(&[], &["usr/"])).len();
    assert!(all < ignored && ignored <= none, "{all} {ignored} {none}");
}

#[test]
fn the_work_of_matching_grows_with_the_files_and_not_with_their_pairs() {
    let count = 8000;
    let (old, new) = fixtures::tiny_files(7, count);
    let options = DiffOptions::default().level(1);
    let (_, stats) = diff(&[spool(&old)], &spool(&new), &options, Vec::new(), &|_| ()).unwrap();
    let compared = stats.compared_sources;
    assert!(compared > 0 && compared <= 32 * count as u64, "{compared} sources for {count} files");
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
    let options = |sees_through| DiffOptions::default().sees_through(sees_through);
    let (old, new) = ([spool(&scenario.old[0])], spool(&scenario.new));
    let (seen, stats) = diff(&old, &new, &options(true), Vec::new(), &|_| ()).unwrap();
    verify(seen.as_slice(), &old, &new, &MergeOptions::default()).unwrap();
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
        assert!(seen <= plain && stats.seen_through.count == 0, "{name}: {seen} of {plain}");
    }
}

#[test]
fn headers_of_a_tardf3_stand_in_lists() {
    use fixtures::HeaderFormat;
    // Half of the files changed and all are new, so that each header is; names of every length.
    let layer = |time: u64, format| {
        let mut tar = LayerBuilder::new();
        tar.format(format).mtime(time);
        for number in 0..200usize {
            let directory = format!("usr/lib/{}/{}", number / 20, "deep/".repeat(number % 20));
            let content =
                fixtures::contents::text(&mut fixtures::Rng::new(number as u64), 900 + 7 * (number % 90));
            let content =
                if number % 2 == 0 { [&content[..], &time.to_be_bytes()].concat() } else { content };
            tar.dir(&*directory).file(format!("{directory}file-{number}.txt"), content);
            tar.symlink(format!("usr/lib/link-{number}"), format!("file-{number}.txt"));
        }
        tar.finish(Ending::Normal)
    };
    for format in [HeaderFormat::Gnu, HeaderFormat::Pax, HeaderFormat::Ustar] {
        let scenario = Scenario {
            name: "headers",
            old: vec![layer(1_700_000_000, format)],
            new: layer(1_750_000_000, format),
            apply_whiteouts: false,
            tolerance: Tolerance::Strict,
        };
        let options = |sees_through| DiffOptions::default().sees_through(sees_through);
        let (plain, listed) = (delta(&scenario, &options(false)), delta(&scenario, &options(true)));
        assert!(listed.len() * 10 < plain.len() * 6, "{format:?}: {} of {} bytes", listed.len(), plain.len());
        let summary = explain::Summary::read(listed.as_slice()).unwrap();
        assert_eq!((summary.version, summary.headers.ops), ("tardf3", 1));
        assert_eq!(summary.whole_sources, 100, "{format:?}");
        let tree = tempfile::tempdir().unwrap();
        scenario.extract_old(tree.path());
        assert!(apply_to(&listed, tree.path()) == scenario.new, "{format:?}: the result differs");
    }
}
