//! Layers of one file each: a program whose functions moved, or a file that is seen through.

use fixtures::LayerBuilder;
use layer::MergeOptions;
use tar_diff::{DiffOptions, diff, verify};

use super::spool;

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
        let mut layer = LayerBuilder::new();
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
