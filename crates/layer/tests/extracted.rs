//! The merged tree beside the tree on disk: every file that it has lies there, whatever the archives are.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fixtures::{DeepDir, Tangle, seeds, tangled_layers, untar};
use layer::{MergeOptions, MergedTree, Spool, SpoolOptions, entries};

fn merge(layers: &[Vec<u8>]) -> MergedTree {
    let entries: Vec<_> = layers
        .iter()
        .map(|layer| {
            entries(&Spool::read("layer".into(), layer.as_slice(), &SpoolOptions::default()).unwrap())
                .unwrap()
        })
        .collect();
    MergedTree::merge(&entries, &MergeOptions::default())
}

/// Compares all names of the merged tree with a directory, and counts them. Where GNU tar failed on
/// something, names may be missing, but none may have another content.
fn compare(seed: u64, merged: &MergedTree, layers: &[Vec<u8>], dir: &Path, failed: bool) -> usize {
    let mut count = 0;
    for (name, file) in merged.names() {
        let at = dir.join(std::ffi::OsStr::from_bytes(name));
        if fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_file()) {
            let data = usize::try_from(file.data.start).unwrap()..usize::try_from(file.data.end).unwrap();
            assert!(
                fs::read(&at).unwrap() == layers[file.layer][data],
                "seed {seed}: {} differs",
                at.display()
            );
            count += 1;
        } else {
            assert!(failed, "seed {seed}: {} is no file", at.display());
        }
    }
    count
}

#[test]
fn what_gnu_tar_extracts_is_what_is_merged() {
    let (mut whole, mut names) = (0, 0);
    let seeds = seeds(300);
    for seed in seeds.clone() {
        let (layers, _) = tangled_layers(seed, Tangle { is_image: false, repeats: true });
        let dir = DeepDir::new();
        let complaints = layers.iter().filter(|layer| untar(layer, dir.path()).is_some()).count();
        names += compare(seed, &merge(&layers), &layers, dir.path(), complaints > 0);
        whole += u64::from(complaints == 0);
    }
    let count = seeds.end - seeds.start;
    assert!(whole * 10 > count, "GNU tar has no complaint about {whole} of {count}");
    assert!(names as u64 > count, "{names} names of {count} archives");
}
