//! The two sides of a diff, and of an edit.

use std::ops::Range;

use delta_format::SourceRef;
use layer::Spool;

use crate::plan::{Segment, Source};

/// Both sides of a diff.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers<'l> {
    pub(crate) old: &'l [Spool],
    pub(crate) new: &'l Spool,
}

/// A target and the source that it is made of: how the source is called, and where the bytes of
/// both lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'p> {
    pub(crate) name: SourceRef<'p>,
    pub(crate) source: (&'p Spool, &'p Range<u64>),
    pub(crate) target: (&'p Spool, &'p Range<u64>),
}

impl<'p> Pair<'p> {
    /// A file of the new layer and its source, as they lie in the layers.
    pub(crate) fn of(segment: &'p Segment, source: &'p Source, layers: Layers<'p>) -> Self {
        Self {
            name: (&source.path).into(),
            source: (&layers.old[source.layer], &source.data),
            target: (layers.new, &segment.target),
        }
    }
}
