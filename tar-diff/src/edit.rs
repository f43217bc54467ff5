//! Edits, each of which makes one target file from one source.

use std::ops::Range;
use std::sync::Arc;

use delta_format::{Reencoding, View};

/// An edit: it makes one target file from one source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Stretches of the source with differences, and literals between them.
    Steps(Vec<Step>),
    /// A zstd frame whose prefix is the whole source.
    ZstdFrame(Vec<u8>),
    /// Steps, and the payload of a relocated op that may take their place.
    Relocated(Vec<Step>, Payload),
    /// Steps between both with their compressed streams decoded.
    Viewed(Viewed),
}

/// The payload of a relocated op, which is smaller than steps if both are compressed alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    /// Its size in bytes, compressed alone.
    pub(crate) compressed_size: u64,
    /// True if it is smaller by far.
    pub(crate) saves_much: bool,
}

/// Steps between a source and a target as they are with compressed streams decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Viewed {
    pub(crate) steps: Vec<Step>,
    /// The payload of a relocated op that may take the place of the steps.
    pub(crate) payload: Option<Payload>,
    /// The range of the decoded source among the decoded files.
    pub(crate) source: Range<u64>,
    /// Its streams; `None` if it is read as it is.
    pub(crate) view: Option<Arc<View>>,
    /// The range of the decoded target among the decoded files.
    pub(crate) target: Range<u64>,
    /// The stretches of it that are encoded again.
    pub(crate) stretches: Vec<Reencoding>,
}

/// A stretch of the target that lies along a stretch of the source, and the literal after it.
///
/// The steps of an edit follow each other in the target: the first starts at its byte 0, each
/// covers `add + literal` bytes, and together they cover it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Offset in the source that the stretch starts at, in bytes.
    pub(crate) source: u64,
    /// Bytes of the stretch: source and target may differ in some.
    pub(crate) add: u64,
    /// Bytes of the target that the delta carries.
    pub(crate) literal: u64,
}

/// Rebuilds the target as an applier would, with the differences taken from the target itself: the
/// oracle of the tests. Panics where a step leaves the source or the target.
#[cfg(test)]
pub(crate) fn covered(steps: &[Step], source: &[u8], target: &[u8]) -> usize {
    let mut position = 0;
    for step in steps {
        let [start, add, literal] =
            [step.source, step.add, step.literal].map(|size| usize::try_from(size).unwrap());
        let along = &source[start..start + add];
        let made = &target[position..position + add];
        assert_eq!(along.len(), made.len());
        assert!(add + literal > 0, "an empty step");
        position += add + literal;
    }
    assert_eq!(position, target.len(), "the steps cover the target");
    position
}
