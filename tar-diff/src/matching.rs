//! Finds the source that a target file is most like.
//!
//! Every question is one lookup in a table, so the time is near-linear in the number of files:
//!
//! 1. a source with the same content;
//! 2. the source with the same path;
//! 3. one whose path is the same but for its digits (`foo-1.2/x` and `foo-1.3/x`);
//! 4. one that agrees in the most trailing components, digits aside, and of those the nearest in
//!    size (moved files, then renamed ones), unless it is far larger than the target;
//! 5. the one that shares most of the target's sketch, where names say nothing or mislead.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use layer::MergedFile;

use crate::budget;
use crate::fingerprint::{ContentDigest, Fingerprint};
use crate::sketch::SKETCH_SIZE;

/// Trailing components of a path that are compared.
const MAX_DEPTH: usize = 3;
/// Sources that share a sketch value and are remembered; content that is everywhere tells nothing.
const MAX_SHARERS: usize = 8;
/// Sketch values that a source found by content alone must share with the target: below this, the
/// likeness is chance.
const MIN_SHARED: usize = 3;
/// Sketch values that another source must share beyond those of the one that the names suggest.
const MIN_BETTER: usize = 6;

/// A source that only its name suggests is at most so many times as large as the target: an applier may copy
/// it whole to read a few bytes.
const MAX_RATIO: u64 = 64;
/// Bytes of a source that any target may have.
const MIN_SOURCE: u64 = 1 << 20;

/// The ends of the names of files that hold one other file, compressed.
const COMPRESSED: &[&[u8]] = &[b".gz", b".xz", b".zst", b".bz2"];

/// The answer for one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// This source has the same content.
    Same(usize),
    /// This source is the most alike.
    Similar(usize),
    /// No source is alike.
    None,
}

/// A table by a key that is a hash already: nothing in it can be chosen to collide, as the hasher
/// has fixed but strong keys and a collision costs bytes, not exactness.
type Table<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Sources by everything that a target is looked up by. Sources are named by their index.
pub(crate) struct Matcher<'f> {
    files: &'f [MergedFile],
    fingerprints: &'f [Fingerprint],
    /// True if `x.gz` and `x.xz` are two versions of one file.
    sees_through: bool,
    by_content: Table<ContentDigest, Vec<usize>>,
    by_path: Table<&'f [u8], usize>,
    /// By the hash of the path without its digits: of the whole path, and of its last components.
    by_stem: Table<u64, Vec<usize>>,
    by_sketch: Table<u32, Vec<usize>>,
    /// Sources that were looked at for all targets so far.
    compared: Cell<u64>,
}

impl<'f> Matcher<'f> {
    /// `sees_through` says that files are compared by what their compressed streams hold.
    pub(crate) fn new(files: &'f [MergedFile], fingerprints: &'f [Fingerprint], sees_through: bool) -> Self {
        let mut matcher = Self {
            files,
            fingerprints,
            sees_through,
            by_content: Table::default(),
            by_path: Table::default(),
            by_stem: Table::default(),
            by_sketch: Table::default(),
            compared: Cell::new(0),
        };
        for (index, (file, fingerprint)) in files.iter().zip(fingerprints).enumerate() {
            matcher.by_content.entry(fingerprint.digest).or_default().push(index);
            matcher.by_path.insert(&file.path, index);
            for stem in stems(matcher.named(&file.path)) {
                matcher.by_stem.entry(stem).or_default().push(index);
            }
            for &value in fingerprint.sketch.values() {
                let sharers = matcher.by_sketch.entry(value).or_default();
                if sharers.len() < MAX_SHARERS {
                    sharers.push(index);
                }
            }
        }
        for alike in matcher.by_stem.values_mut() {
            alike.sort_by_key(|index| size(&files[*index]));
        }
        matcher
    }

    /// The source that the file with this cleaned path, size in bytes and fingerprint is most like.
    pub(crate) fn best_source(&self, path: &[u8], target_size: u64, target: &Fingerprint) -> Match {
        let same_path = self.by_path.get(path).copied();
        if let Some(same) = self.by_content.get(&target.digest) {
            // The same path keeps the ops of one file together when its tail is changed later.
            let index = same_path.filter(|index| same.binary_search(index).is_ok()).unwrap_or(same[0]);
            return Match::Same(index);
        }
        let by_name = same_path.or_else(|| self.nearest_by_stem(path, target_size));
        let by_content = self.most_shared(target);
        match (by_name, by_content) {
            (Some(named), Some((found, shared))) => {
                let named_shared = self.fingerprints[named].sketch.shared(&target.sketch);
                Match::Similar(if shared >= named_shared + MIN_BETTER { found } else { named })
            }
            (Some(named), None) => Match::Similar(named),
            (None, Some((found, shared))) if shared >= MIN_SHARED => Match::Similar(found),
            (None, _) => Match::None,
        }
    }

    /// The sources that were looked at for all targets so far.
    pub(crate) fn compared(&self) -> u64 {
        self.compared.get()
    }

    fn count(&self, sources: usize) {
        self.compared.set(self.compared.get() + sources as u64);
    }

    /// Returns the part of a path that tells files apart.
    fn named<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let compressed = COMPRESSED.iter().filter(|_| self.sees_through);
        compressed.into_iter().find_map(|suffix| path.strip_suffix(*suffix)).unwrap_or(path)
    }

    fn nearest_by_stem(&self, path: &[u8], target_size: u64) -> Option<usize> {
        let alike = stems(self.named(path)).find_map(|stem| self.by_stem.get(&stem))?;
        let above = alike.partition_point(|index| size(&self.files[*index]) < target_size);
        let nearest =
            [above.checked_sub(1), Some(above)].into_iter().flatten().filter_map(|place| alike.get(place));
        let is_worth_it = |index: &&usize| {
            self.count(1);
            !budget::is_lopsided(size(&self.files[**index]), target_size, MAX_RATIO, MIN_SOURCE)
        };
        nearest
            .filter(is_worth_it)
            .min_by_key(|index| size(&self.files[**index]).abs_diff(target_size))
            .copied()
    }

    /// The source that shares most values of the sketch, and how many.
    fn most_shared(&self, target: &Fingerprint) -> Option<(usize, usize)> {
        let mut sharers = Vec::with_capacity(SKETCH_SIZE * MAX_SHARERS);
        for value in target.sketch.values() {
            sharers.extend_from_slice(self.by_sketch.get(value).map_or(&[], Vec::as_slice));
        }
        self.count(sharers.len());
        sharers.sort_unstable();
        let runs = sharers.chunk_by(|left, right| left == right).map(|run| (run[0], run.len()));
        runs.max_by_key(|&(index, shared)| (shared, std::cmp::Reverse(index)))
    }
}

fn size(file: &MergedFile) -> u64 {
    file.data.end - file.data.start
}

/// Hashes of a path without its digits, of the most specific form first: the whole path, then its
/// last components.
fn stems(path: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let cuts = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index + 1);
    let mut starts = [None; MAX_DEPTH];
    for (start, cut) in starts.iter_mut().zip(cuts) {
        *start = Some(cut);
    }
    // A path with fewer components is, as a whole, also the tail of longer ones.
    let whole = std::iter::once(stem(path));
    whole.chain(starts.into_iter().rev().flatten().map(|start| stem(&path[start..])))
}

/// Hash of the bytes with each run of digits taken as one mark.
fn stem(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut after_digit = false;
    for &byte in path {
        let is_digit = byte.is_ascii_digit();
        if !is_digit {
            byte.hash(&mut hasher);
        } else if !after_digit {
            b'0'.hash(&mut hasher);
        }
        after_digit = is_digit;
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gear::mix;
    use crate::sketch::Sketcher;

    fn content(seed: u64, size: u64) -> Vec<u8> {
        (0..size).map(|index| mix(seed << 32 | index).to_be_bytes()[0]).collect()
    }

    fn fingerprint(content: &[u8]) -> Fingerprint {
        let mut sketcher = Sketcher::default();
        sketcher.update(content);
        let digest = blake3::hash(content).as_bytes()[..16].try_into().unwrap();
        Fingerprint { digest, sketch: sketcher.finish() }
    }

    fn old(files: &[(&str, Vec<u8>)]) -> (Vec<MergedFile>, Vec<Fingerprint>) {
        files
            .iter()
            .map(|(path, content)| {
                let file =
                    MergedFile { path: path.as_bytes().into(), layer: 0, data: 0..content.len() as u64 };
                (file, fingerprint(content))
            })
            .unzip()
    }

    #[test]
    fn the_most_specific_likeness_wins() {
        let shared = content(9, 5000);
        let (files, fingerprints) = old(&[
            ("usr/lib/libfoo.so.1.2.3", content(1, 900)),
            ("usr/lib/libbar.so.1", content(2, 900)),
            ("opt/a-1.0/lib/x", content(3, 900)),
            ("opt/b-1.0/lib/x", content(4, 900)),
            ("a/readme", content(5, 10)),
            ("b/readme", content(6, 1000)),
            ("names/say/nothing", shared.clone()),
        ]);
        let matcher = Matcher::new(&files, &fingerprints, false);
        let find = |path: &str, content: &[u8]| {
            matcher.best_source(path.as_bytes(), content.len() as u64, &fingerprint(content))
        };
        let new = |size| content(100, size);
        assert_eq!(find("anywhere", &content(2, 900)), Match::Same(1));
        assert_eq!(find("usr/lib/libbar.so.1", &new(900)), Match::Similar(1));
        assert_eq!(find("usr/lib/libfoo.so.1.2.4", &new(900)), Match::Similar(0));
        assert_eq!(find("opt/b-2.0/lib/x", &new(900)), Match::Similar(3));
        assert_eq!(find("c/readme", &new(12)), Match::Similar(4));
        assert_eq!(find("c/readme", &new(800)), Match::Similar(5));
        let similar = [&shared[..3000], &new(100), &shared[3000..]].concat();
        assert_eq!(find("quite/different", &similar), Match::Similar(6));
        assert_eq!(find("c/readme", &similar), Match::Similar(6), "content beats a weak name");
        assert_eq!(find("quite/different", &new(5000)), Match::None);
    }

    #[test]
    fn a_name_does_not_make_a_small_file_of_a_large_one() {
        let file = |path: &str, size| MergedFile { path: path.as_bytes().into(), layer: 0, data: 0..size };
        let files = [file("data/0.bin", 64 << 20), file("lib/0.so", 1 << 20)];
        let fingerprints = [1, 2].map(|seed| fingerprint(&content(seed, 5000)));
        let matcher = Matcher::new(&files, &fingerprints, false);
        let find =
            |path: &str, size| matcher.best_source(path.as_bytes(), size, &fingerprint(&content(3, 5000)));
        assert_eq!(find("data/1.bin", 5000), Match::None);
        assert_eq!(find("data/1.bin", 1 << 20), Match::Similar(0));
        assert_eq!(find("data/1.bin", 128 << 20), Match::Similar(0));
        assert_eq!(find("lib/1.so", 10), Match::Similar(1), "a source of 1 MiB is never too large");
        // One path tells more, and each source has one.
        assert_eq!(find("data/0.bin", 5000), Match::Similar(0));
    }

    #[test]
    fn of_many_files_of_one_name_few_are_looked_at() {
        let files: Vec<(String, Vec<u8>)> = (0..50_000u64)
            .map(|index| (format!("{index:x}/index.js"), index.to_le_bytes().to_vec()))
            .collect();
        let named: Vec<(&str, Vec<u8>)> =
            files.iter().map(|(path, content)| (path.as_str(), content.clone())).collect();
        let (files, fingerprints) = old(&named);
        let matcher = Matcher::new(&files, &fingerprints, false);
        for index in 0..50_000u64 {
            let content = (index << 20).to_le_bytes();
            let path = format!("new/{index:x}/index.js");
            assert_ne!(matcher.best_source(path.as_bytes(), 8, &fingerprint(&content)), Match::None);
        }
        assert!(matcher.compared() <= 50_000 * 10, "{}", matcher.compared());
    }
}
