//! Tar archives as they come.

use std::collections::HashSet;

use layer::{BLOCK_SIZE, Entry, MergeOptions, MergedTree, clean_path, entries};

use crate::Input;
use crate::layers::spool;

/// Walking a tar ends, and the data of its entries lie in it, in order; merging layers gives files
/// that are found by their names, each in its layer.
pub fn tar_walk(data: &[u8]) {
    let mut input = Input::new(data);
    let options = input.byte();
    let mut layers: Vec<Vec<u8>> = (0..options & 3).map(|_| input.sized().to_vec()).collect();
    layers.push(input.rest().to_vec());
    let mut walked: Vec<(Vec<Entry>, u64)> = Vec::new();
    for mut tar in layers {
        if options & 4 != 0 {
            seal(&mut tar);
        }
        let Ok(entries) = entries(&spool(&tar)) else { continue };
        check_entries(&entries, tar.len() as u64);
        walked.push((entries, tar.len() as u64));
    }
    let of = |bit: u8, prefix: &[u8]| if options & bit == 0 { Vec::new() } else { vec![prefix.to_vec()] };
    let merge = MergeOptions::default()
        .apply_whiteouts(options & 8 != 0)
        .source_prefixes(of(16, b"a"))
        .ignored_prefixes(of(32, b"b"));
    let layers: Vec<_> = walked.iter().map(|(entries, _)| entries.clone()).collect();
    let tree = MergedTree::merge(&layers, &merge);
    let mut paths = HashSet::new();
    for file in tree.files() {
        assert!(file.data.start < file.data.end && file.data.end <= walked[file.layer].1);
        assert_eq!(clean_path(&file.path).as_deref(), Some(&*file.path));
        assert_eq!(tree.find(&file.path), Some(file));
        assert!(file.path.len() < 4096 && paths.insert(&file.path));
    }
}

fn check_entries(entries: &[Entry], size: u64) {
    let mut end = 0;
    for entry in entries {
        // A header lies before the data.
        assert!(end + BLOCK_SIZE <= entry.data.start && entry.data.start <= entry.data.end);
        end = entry.data.end;
    }
    assert!(end <= size);
}

/// Puts the right checksum into what looks like a header: a fuzzer cannot guess it.
fn seal(tar: &mut [u8]) {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
