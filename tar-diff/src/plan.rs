//! The plan of a layer: the origin of each byte of the new tar.

use std::ops::Range;

use delta_format::SourcePath;
use layer::{Entry, EntryKind, MergedTree, Spool, clean_path};

use crate::fingerprint::fingerprint;
use crate::matching::{Match, Matcher};
use crate::meter::{FINGERPRINT_COST, LATER_COST, Meter};
use crate::{DiffOptions, Result, views};

/// A stretch of the new tar and what it is made of.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Byte offsets in the uncompressed new tar.
    pub(crate) target: Range<u64>,
    pub(crate) kind: SegmentKind,
}

#[derive(Debug, Clone)]
pub(crate) enum SegmentKind {
    /// Headers, padding, what follows the archive's end, and files without a source.
    Literal,
    /// A file whose content a source has.
    Same(Source),
    /// A file that is like a source.
    Similar(Source),
    /// A file without a source that may hold compressed streams, if those are seen through: what
    /// they hold may compress better with the rest of the delta.
    Compressed,
}

/// A source as the differ sees it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: SourcePath,
    /// Index of the old layer that holds it.
    pub(crate) layer: usize,
    /// Byte offsets in that layer's uncompressed tar.
    pub(crate) data: Range<u64>,
}

/// Segments in target order that cover every byte of the new tar once.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) segments: Vec<Segment>,
    /// Sources that were looked at to find the best one of each target.
    pub(crate) compared: u64,
}

impl Plan {
    /// Fingerprints both sides and finds a source for each file of the new layer.
    ///
    /// # Errors
    /// If a layer cannot be read.
    pub(crate) fn new(
        tree: &MergedTree,
        old: &[Spool],
        new: &Spool,
        entries: &[Entry],
        options: &DiffOptions,
        meter: &Meter<'_>,
    ) -> Result<Self> {
        let targets: Vec<&Entry> = entries
            .iter()
            .filter(|entry| {
                matches!(entry.kind, EntryKind::File | EntryKind::Sparse) && !entry.data.is_empty()
            })
            .collect();
        let files: Vec<_> = tree
            .files()
            .iter()
            .map(|file| (&old[file.layer], file.data.clone()))
            .chain(targets.iter().map(|entry| (new, entry.data.clone())))
            .collect();
        let size: u64 = files.iter().map(|(_, data)| data.end - data.start).sum();
        // Of what comes then nothing is known yet: most often a part of the layer has changed.
        meter.start(2 * size * FINGERPRINT_COST, new.size() * LATER_COST);
        let fingerprints = fingerprint(&files, tree.files().len(), options.jobs, &|bytes| {
            meter.advance(bytes * FINGERPRINT_COST);
        })?;
        let (of_sources, of_targets) = fingerprints.split_at(tree.files().len());
        let matcher = Matcher::new(tree.files(), of_sources, options.sees_through);
        let mut plan = Self { segments: Vec::with_capacity(2 * targets.len() + 1), compared: 0 };
        let mut position = 0;
        for (entry, fingerprint) in targets.iter().zip(of_targets) {
            let size = entry.data.end - entry.data.start;
            let path = clean_path(&entry.path).unwrap_or_default();
            // No name of the merged tree is refused; one that were would be no source.
            let source = |index: usize| {
                let file = &tree.files()[index];
                let path = SourcePath::new(&file.path).ok()?;
                Some(Source { path, layer: file.layer, data: file.data.clone() })
            };
            let source = match matcher.best_source(&path, size, fingerprint) {
                Match::Same(index) => source(index).map(SegmentKind::Same),
                Match::Similar(index) => source(index).map(SegmentKind::Similar),
                Match::None => None,
            };
            let kind = match source {
                Some(kind) => kind,
                None if options.sees_through && views::may_hold_streams(new, &entry.data)? => {
                    SegmentKind::Compressed
                }
                None => continue,
            };
            plan.push_literal(position..entry.data.start);
            plan.segments.push(Segment { target: entry.data.clone(), kind });
            position = entry.data.end;
        }
        plan.push_literal(position..new.size());
        plan.compared = matcher.compared();
        Ok(plan)
    }

    fn push_literal(&mut self, target: Range<u64>) {
        if !target.is_empty() {
            self.segments.push(Segment { target, kind: SegmentKind::Literal });
        }
    }
}
