//! Deltas by the Go tar-diff, and our own, make the layer that they were made for.

mod support;

use std::fs::{self, File};

use delta_format::{Encoding, OpWriter, Version};
use explain::Summary;
use fixtures::{Ending, LayerBuilder};
use layer::{Digest, MergeOptions, Spool, SpoolOptions};
use support::{extracted, golden, path, small_delta, small_tree};
use tar_patch::{
    Applied, ApplyOptions, DiffId, DirSource, Error, Fault, LayerSource, PathResolution, SourceFiles, apply,
};

/// Each golden delta and the old layers that it reads.
const GOLDEN: [(&str, &[&str]); 5] = [
    ("basic.tardiff", &["old.tar.gz"]),
    ("level19.tardiff", &["old.tar.gz"]),
    ("nolimit.tardiff", &["old.tar.gz"]),
    ("prefix.tardiff", &["old.tar.gz"]),
    ("two-old.tardiff", &["old.tar.gz", "old2.tar.gz"]),
];

fn assert_makes(delta: &[u8], sources: &mut impl SourceFiles, target: &[u8], what: &str) {
    let expected = DiffId(Digest::of(target));
    let options = ApplyOptions::default().expected(expected).max_output(target.len() as u64);
    let mut output = Vec::new();
    let applied = apply(delta, sources, options, &mut output).expect(what);
    assert_eq!(applied, Applied { diff_id: expected, size: target.len() as u64 }, "{what}");
    assert!(output == target, "{what}");
}

#[test]
fn golden_deltas_over_extracted_layers() {
    let target = golden("new.tar.gz");
    for (name, layers) in GOLDEN {
        let delta = fs::read(fixtures::golden_dir().join(name)).unwrap();
        let tree = extracted(layers);
        for resolution in [PathResolution::Kernel, PathResolution::Walk] {
            let mut sources = DirSource::open_with(tree.path(), resolution).unwrap();
            assert_makes(&delta, &mut sources, &target, name);
        }
    }
}

#[test]
fn golden_deltas_over_tarballs() {
    let target = golden("new.tar.gz");
    let plain = tempfile::tempdir().unwrap();
    for (name, layers) in GOLDEN {
        let delta = fs::read(fixtures::golden_dir().join(name)).unwrap();
        let compressed: Vec<_> = layers.iter().map(|layer| fixtures::golden_dir().join(layer)).collect();
        let mut sources = LayerSource::open(&compressed, &SpoolOptions::default()).unwrap();
        assert_makes(&delta, &mut sources, &target, name);
        let plain: Vec<_> = layers
            .iter()
            .map(|layer| {
                let path = plain.path().join(layer.trim_end_matches(".gz"));
                fs::write(&path, golden(layer)).unwrap();
                path
            })
            .collect();
        let mut sources = LayerSource::open(&plain, &SpoolOptions::default()).unwrap();
        assert_makes(&delta, &mut sources, &target, name);
    }
}

/// A delta does not say which it was made for.
#[test]
fn tarballs_have_the_files_of_both_ways_to_merge_them() {
    let lower = LayerBuilder::new()
        .file("etc/a", [1; 100])
        .hardlink("lib/b", "etc/a")
        .file("etc/hidden", [2; 100])
        .finish(Ending::Normal);
    let upper = LayerBuilder::new().opaque("etc").file("etc/a", [3; 100]).finish(Ending::Normal);
    let spools = [lower, upper]
        .map(|layer| Spool::read("layer".into(), layer.as_slice(), &SpoolOptions::default()).unwrap());
    let copy = |name: &str| {
        let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
        writer.copy(&path(name), 0, 100).unwrap();
        writer.finish().unwrap().0
    };
    let mut both = LayerSource::new(spools.to_vec()).unwrap();
    let with = |options: MergeOptions| LayerSource::with_options(spools.to_vec(), &options).unwrap();
    let mut plain = with(MergeOptions::default());
    let mut applied = with(MergeOptions::default().apply_whiteouts(true));
    for (name, byte, is_plain, is_applied) in
        [("lib/b", 1, false, true), ("etc/hidden", 2, true, false), ("etc/a", 3, true, true)]
    {
        assert_makes(&copy(name), &mut both, &[byte; 100], name);
        for (sources, is_there) in [(&mut plain, is_plain), (&mut applied, is_applied)] {
            let applied = apply(copy(name).as_slice(), sources, ApplyOptions::default(), &mut Vec::new());
            assert_eq!(applied.is_ok(), is_there, "{name}");
        }
    }
}

#[test]
fn names_that_may_not_be_read_are_no_sources_even_of_files_that_have_other_names() {
    let layer = LayerBuilder::new()
        .file("objects/a", [1; 100])
        .hardlink("usr/a", "objects/a")
        .file("objects/b", [2; 100])
        .finish(Ending::Normal);
    let spool = Spool::read("layer".into(), layer.as_slice(), &SpoolOptions::default()).unwrap();
    let options = MergeOptions::default().ignored_prefixes(vec![b"objects/".to_vec()]);
    let mut sources = LayerSource::with_options(vec![spool], &options).unwrap();
    for (name, is_there) in [("usr/a", true), ("objects/a", false), ("objects/b", false)] {
        let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
        writer.copy(&path(name), 0, 100).unwrap();
        let delta = writer.finish().unwrap().0;
        let applied = apply(delta.as_slice(), &mut sources, ApplyOptions::default(), &mut Vec::new());
        assert_eq!(applied.is_ok(), is_there, "{name}");
    }
}

#[test]
fn golden_deltas_can_be_summarized() {
    let target = golden("new.tar.gz");
    for (name, _) in GOLDEN {
        let file = File::open(fixtures::golden_dir().join(name)).unwrap();
        let size = file.metadata().unwrap().len();
        let summary = Summary::read(file).unwrap();
        assert_eq!((summary.version, summary.delta_size), ("tardf1", size), "{name}");
        assert_eq!(summary.output_size, target.len() as u64, "{name}");
        let used: u64 = summary.sources.iter().map(|file| file.copied + file.added).sum();
        assert_eq!(summary.data.output + used, summary.output_size, "{name}");
    }
}

#[test]
fn a_frame_with_a_source_as_its_prefix() {
    let tree = small_tree();
    let source = support::counting();
    let target = [&source[50..200], b"and more", &source[..20]].concat();
    let mut frame = Vec::new();
    let mut encoder = zstd::Encoder::with_ref_prefix(&mut frame, 3, source.as_slice()).unwrap();
    std::io::Write::write_all(&mut encoder, &target).unwrap();
    encoder.finish().unwrap();
    let mut writer = OpWriter::new(Vec::new(), Version::V2, Encoding::default()).unwrap();
    writer.zstd_dict(&path("file"), &frame).unwrap();
    let (delta, _) = writer.finish().unwrap();
    let mut sources = DirSource::open(tree.path()).unwrap();
    assert_makes(&delta, &mut sources, &target, "zstd_dict");
}

#[test]
fn another_result_than_expected_is_an_error() {
    let tree = small_tree();
    let (delta, target) = small_delta();
    let actual = DiffId(Digest::of(&target));
    let expected = DiffId(Digest::of(b"another layer"));
    let options = ApplyOptions::default().expected(expected);
    let mut sources = DirSource::open(tree.path()).unwrap();
    let error = apply(delta.as_slice(), &mut sources, options, &mut Vec::new()).unwrap_err();
    assert_eq!(error.fault(), Fault::Mismatch);
    match error {
        Error::DiffIdMismatch { expected: wanted, actual: found } => {
            assert_eq!((wanted, found), (expected, actual));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_full_disk_is_the_systems_fault() {
    let tree = small_tree();
    let (delta, _) = small_delta();
    let mut sources = DirSource::open(tree.path()).unwrap();
    let mut full = File::options().write(true).open("/dev/full").unwrap();
    let error = apply(delta.as_slice(), &mut sources, ApplyOptions::default(), &mut full).unwrap_err();
    assert_eq!(error.fault(), Fault::System, "{error}");
}
