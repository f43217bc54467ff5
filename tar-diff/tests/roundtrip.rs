//! The law: applying the delta gives the new tar, bit for bit, whatever the archives are.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

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

/// Two versions of a program: functions are new, gone and elsewhere.
fn versions_of_a_program() -> [Vec<u8>; 2] {
    let old: Vec<u32> = (0..400).collect();
    let mut new = old.clone();
    new.splice(50..52, [1000, 1001, 1002]);
    new.swap(100, 300);
    new.remove(250);
    [old, new].map(|functions| fixtures::programs::program(&functions))
}

/// Sizes of verified deltas of two files in tardf1 and tardf3, and the figures of the latter.
fn of_files(path: &str, old: &[u8], new: &[u8]) -> (usize, usize, tar_diff::Stats) {
    let layer = |bytes: &[u8]| {
        let mut layer = fixtures::LayerBuilder::new();
        layer.file(path, bytes);
        spool(&layer.finish(fixtures::Ending::Normal))
    };
    let (old, new) = ([layer(old)], layer(new));
    let made = [false, true].map(|sees_through| {
        let options = DiffOptions::default().sees_through(sees_through);
        let made = diff(&old, &new, &options, Vec::new(), &|_| ()).unwrap();
        verify(made.0.as_slice(), &old, &new, &MergeOptions::default()).unwrap();
        made
    });
    let [(plain, _), (seen, stats)] = made;
    (plain.len(), seen.len(), stats)
}

#[test]
fn what_moved_in_a_program_costs_little() {
    let [old, new] = versions_of_a_program();
    let (plain, predicted, stats) = of_files("bin/program", &old, &new);
    assert!(predicted * 2 < plain, "{predicted} of {plain}");
    assert_eq!((stats.relocated.count, stats.relocated.size), (1, new.len() as u64));
    assert!(stats.written.relocated_size > 0);
}

#[test]
fn code_that_only_moved_is_found_again_where_nothing_is_predicted() {
    let [old, new] = versions_of_a_program().map(|bytes| {
        let mut layer = LayerBuilder::new();
        layer.file("bin/program", bytes);
        spool(&layer.finish(fixtures::Ending::Normal))
    });
    let old = [old];
    // The steps of a diff that skims stay as bsdiff finds them between the files as they are.
    let [first, realigned] = [true, false].map(|skims| {
        let options = DiffOptions::default().skims(skims);
        let (delta, _) = diff(&old, &new, &options, Vec::new(), &|_| ()).unwrap();
        assert!(delta.starts_with(b"tardf1"));
        verify(delta.as_slice(), &old, &new, &MergeOptions::default()).unwrap();
        delta.len()
    });
    assert!(realigned * 10 < first * 9, "{realigned} of {first}");
}

#[test]
fn a_program_that_is_compressed_is_predicted_too() {
    let [old, new] = versions_of_a_program().map(|bytes| fixtures::filter("xz", &["-c"], &bytes));
    let (_, predicted, stats) = of_files("lib/module.ko.xz", &old, &new);
    assert_eq!((stats.relocated.count, stats.seen_through.count), (1, 1));
    let [old, new] = versions_of_a_program();
    let (plain, _, _) = of_files("lib/module.ko", &old, &new);
    assert!(predicted * 3 < plain * 2, "{predicted} of {plain}");
}

#[test]
fn a_frame_that_was_written_by_go_is_seen_through() {
    let recipe = recode::Recipe::parse(&[8, 0, 0]).unwrap();
    let frame = |plain: &[u8]| {
        let mut frame = Vec::new();
        recode::encode(&recipe, &mut { plain }, plain.len() as u64, &mut frame).unwrap();
        frame
    };
    let old = fixtures::contents::text(&mut fixtures::Rng::new(31), 300_000);
    let mut new = old.clone();
    for place in [1000, 120_000, 250_000] {
        new.splice(place..place + 9, *b"another one");
    }
    let (plain, seen, stats) = of_files("data/index.zst", &frame(&old), &frame(&new));
    assert!(seen < plain / 4, "{seen} of {plain}");
    assert_eq!((stats.seen_through.count, stats.streams), (1, 1));
}

#[test]
fn a_kernel_with_a_payload_that_is_slow_to_make_is_seen_through() {
    let image = |payload: &[u8]| {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        [&image[..], payload].concat()
    };
    // Words of a few letters, and a version in some of the blocks of the payload.
    let content = |version: &str| -> Vec<u8> {
        let mut state = 1u64;
        let mut words = String::new();
        while words.len() < 700_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            words.push_str(&format!("{:x} ", state >> 48));
            if state >> 53 == 0 {
                words.push_str(version);
            }
        }
        words.into_bytes()
    };
    let [old, new] = ["6.12.1", "6.12.2"]
        .map(|version| image(&fixtures::filter("zstd", &["-qc", "--ultra", "-22"], &content(version))));
    let (plain, seen, stats) = of_files("boot/vmlinuz", &old, &new);
    assert_eq!((stats.seen_through.count, stats.streams), (1, 1));
    assert!(seen * 4 < plain, "{seen} of {plain}");
}

#[test]
fn a_program_in_place_is_no_relocated_op() {
    let [old, _] = versions_of_a_program();
    let mut new = old.clone();
    new[5000..5020].copy_from_slice(b"other twenty bytes !");
    let (plain, seen, stats) = of_files("bin/program", &old, &new);
    assert!(seen <= plain && stats.relocated.count == 0, "{seen} of {plain}");
}

#[test]
fn relocated_ops_that_cost_more_in_a_whole_layer_are_not_written() {
    let (old, new) = fixtures::Corpus::default().pair();
    let (old, new) = ([spool(&old)], spool(&new));
    let [plain, seen] = [false, true].map(|sees_through| {
        let options = DiffOptions::default().sees_through(sees_through);
        diff(&old, &new, &options, Vec::new(), &|_| ()).unwrap().0.len()
    });
    // Its files changed alike, so that the steps of one are nearly those of another.
    assert!(seen * 1000 <= plain * 1001, "{seen} of {plain}");
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
