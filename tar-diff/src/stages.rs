//! The stages of a diff one by one, for the benches. No part of the interface.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::Range;

use layer::{Entry, MergedTree, Spool, clean_path};

use crate::fingerprint::{Fingerprint, fingerprint};
use crate::gram_index::GramIndex;
use crate::matching::{Match, Matcher};
use crate::{DiffOptions, Result, bsdiff, budget};

/// The fingerprints of files.
#[derive(Debug)]
pub struct Fingerprints(Vec<Fingerprint>);

/// Fingerprints files, given as the layer and the byte range of each: first so many `sources`, then
/// the targets.
///
/// # Errors
/// If a layer cannot be read.
pub fn fingerprints(
    files: &[(&Spool, Range<u64>)],
    sources: usize,
    jobs: NonZeroUsize,
) -> Result<Fingerprints> {
    Ok(Fingerprints(fingerprint(files, sources, jobs, &|_| ())?))
}

/// Finds a source for each target; tells how many have one. The fingerprints are those of the files
/// of `tree` and then of `targets`, in their order.
pub fn match_all(tree: &MergedTree, targets: &[&Entry], fingerprints: &Fingerprints) -> usize {
    let (of_sources, of_targets) = fingerprints.0.split_at(tree.files().len());
    let matcher = Matcher::new(tree.files(), of_sources, false);
    let has_source = |(entry, fingerprint): &(&&Entry, &Fingerprint)| {
        let path = clean_path(&entry.path).unwrap_or_default();
        matcher.best_source(&path, entry.data.end - entry.data.start, fingerprint) != Match::None
    };
    targets.iter().zip(of_targets).filter(has_source).count()
}

/// Indexes a whole source, as for a target of its size, if it fits in the budget.
pub fn index(source: &[u8], options: &DiffOptions) {
    let size = source.len() as u64;
    if let Some((effort, _)) = budget::effort(size, size, options) {
        black_box(GramIndex::new(source, 0..source.len(), effort));
    }
}

/// Makes the edit of a target; tells how many steps it has: none if the pair does not fit in the
/// budget.
pub fn edit(source: &[u8], target: &[u8], options: &DiffOptions) -> usize {
    let effort = budget::effort(source.len() as u64, target.len() as u64, options);
    effort.map_or(0, |(effort, _)| bsdiff::edit(source, target, effort, options.jobs).len())
}
