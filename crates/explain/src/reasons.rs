//! The reason for the cost of a file, chosen by facts.

use std::fmt;

use crate::{FileMade, Finding};

/// Percent of a compressed file that must be carried for its compression to be the reason. In less,
/// nothing but a header changed.
const MIN_COMPRESSED: u64 = 1;
/// The same for a file that only looks compressed.
const MIN_DENSE: u64 = 10;
/// Percent of a file that must be carried for it to be unlike its source.
const MIN_DISSIMILAR: u64 = 25;

/// The reason for the cost of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// The old layers have no file of this path, and none that is alike. Told only where they are
    /// given.
    NewFile,
    /// Nothing of it is taken from an old file.
    NoSource,
    /// Nothing of it is taken from the old file of the same path, which may not be read: it is not
    /// world-readable, or it is sparse. Told only where the old layers are given.
    UnusableSource,
    /// It holds what the old file holds, in other compressed bytes. Told only where the old layers
    /// are given.
    Recompressed,
    /// It is compressed: a change inside changes all compressed bytes that follow.
    CompressedContent,
    /// It has a source, but a quarter or more of it is not in there.
    LowSimilarity,
    /// Most of it is in its source; the rest is many places.
    ManySmallChanges,
    /// All of it is in an old file of another path.
    Renamed,
    /// All of it is in an old file of the same path.
    Unchanged,
    /// Tar headers and padding.
    Headers,
}

impl Reason {
    /// The reason in two or three words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewFile => "new file",
            Self::NoSource => "no source",
            Self::UnusableSource => "unusable source",
            Self::Recompressed => "recompressed",
            Self::CompressedContent => "compressed content",
            Self::LowSimilarity => "low similarity",
            Self::ManySmallChanges => "many small changes",
            Self::Renamed => "renamed",
            Self::Unchanged => "unchanged",
            Self::Headers => "headers",
        }
    }

    /// Returns true if the delta carries bytes of the file.
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Renamed)
    }

    /// Returns the meaning of the reason, in a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NewFile => "no old file has this path or is alike",
            Self::NoSource => "no bytes come from an old file",
            Self::UnusableSource => {
                "the old file is not world-readable or is sparse, so appliers may not read it"
            }
            Self::Recompressed => "it holds what the old file holds, in other compressed bytes",
            Self::CompressedContent => "a change inside changes all compressed bytes that follow",
            Self::LowSimilarity => "a quarter or more of the bytes are not in the old file",
            Self::ManySmallChanges => "most bytes are in the old file, with changes in many places",
            Self::Renamed => "all bytes are in an old file of another path",
            Self::Unchanged => "all bytes are in the old file: the cost is that of naming it",
            Self::Headers => "names, modes, times and padding of all entries",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The state of the old file of the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SamePath {
    /// The old layers were not given.
    Unknown,
    Missing,
    Usable,
    Unusable,
}

/// The facts that a reason is chosen by.
#[derive(Debug)]
pub(crate) struct Facts<'f> {
    pub(crate) size: u64,
    pub(crate) made: &'f FileMade,
    /// True if its only source has its path.
    pub(crate) is_in_place: bool,
    pub(crate) same_path: SamePath,
    /// True if its magic is that of a compressed file, and the delta does not see through that.
    pub(crate) is_compressed: bool,
}

/// Chooses the reason. `is_dense` tells whether the content has the entropy of compressed bytes; it
/// is asked only if that matters.
pub(crate) fn choose(facts: &Facts<'_>, is_dense: impl FnOnce() -> bool) -> Reason {
    let made = facts.made;
    let carried = made.carried();
    let is_over = |percent| carried.saturating_mul(100) >= facts.size.saturating_mul(percent);
    let has_source = made.copied + made.added + made.framed > 0;
    if !has_source {
        return match facts.same_path {
            SamePath::Missing => Reason::NewFile,
            SamePath::Unusable => Reason::UnusableSource,
            _ if facts.is_compressed || is_dense() => Reason::CompressedContent,
            _ => Reason::NoSource,
        };
    }
    if carried == 0 && made.sources.len() == 1 && made.copied + made.added == facts.size {
        return if facts.is_in_place { Reason::Unchanged } else { Reason::Renamed };
    }
    if facts.is_compressed && is_over(MIN_COMPRESSED) || is_over(MIN_DENSE) && is_dense() {
        return Reason::CompressedContent;
    }
    if is_over(MIN_DISSIMILAR) { Reason::LowSimilarity } else { Reason::ManySmallChanges }
}

/// The reason once the file and the old one were looked into.
pub(crate) const fn choose_again(reason: Reason, cost: u64, finding: Finding) -> Reason {
    match finding {
        Finding::SameContent { .. } | Finding::SameMembers { .. } => Reason::Recompressed,
        Finding::Unpacked { estimate, .. } if estimate.saturating_mul(2) < cost => Reason::CompressedContent,
        // What is inside changed as much.
        Finding::Unpacked { .. } => match reason {
            Reason::CompressedContent => Reason::LowSimilarity,
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceShare;

    #[test]
    fn facts_make_the_reason() {
        let literal = FileMade { data: 100, ..FileMade::default() };
        let source = SourceShare { path: "a".into(), size: 100 };
        let from = |made: FileMade| FileMade { sources: vec![source.clone()], ..made };
        let same = from(FileMade { copied: 100, ..FileMade::default() });
        let half = from(FileMade { data: 50, copied: 50, ..FileMade::default() });
        let few = from(FileMade { data: 5, added: 95, changed: 6, ..FileMade::default() });
        use SamePath::{Missing, Unknown, Unusable, Usable};
        // Compressed by magic, compressed by the looks of it.
        let (magic, dense, plain) = ((true, false), (false, true), (false, false));
        for (made, is_in_place, same_path, (is_compressed, is_dense), reason) in [
            (&literal, false, Missing, magic, Reason::NewFile),
            (&literal, false, Unusable, magic, Reason::UnusableSource),
            (&literal, false, Usable, plain, Reason::NoSource),
            (&literal, false, Unknown, plain, Reason::NoSource),
            (&literal, false, Unknown, dense, Reason::CompressedContent),
            (&same, true, Usable, magic, Reason::Unchanged),
            (&same, false, Unknown, magic, Reason::Renamed),
            (&half, true, Usable, magic, Reason::CompressedContent),
            (&half, true, Usable, dense, Reason::CompressedContent),
            (&half, true, Usable, plain, Reason::LowSimilarity),
            (&few, true, Usable, magic, Reason::CompressedContent),
            (&few, true, Usable, plain, Reason::ManySmallChanges),
        ] {
            let facts = Facts { size: 100, made, is_in_place, same_path, is_compressed };
            assert_eq!(choose(&facts, || is_dense), reason, "{facts:?}");
        }
    }

    #[test]
    fn a_look_inside_changes_the_reason() {
        let unpacked = |estimate| Finding::Unpacked { size: 1000, estimate, members: None };
        for (finding, before, after) in [
            (Finding::SameMembers { members: 1 }, Reason::ManySmallChanges, Reason::Recompressed),
            (unpacked(10), Reason::ManySmallChanges, Reason::CompressedContent),
            (unpacked(90), Reason::CompressedContent, Reason::LowSimilarity),
            (unpacked(90), Reason::ManySmallChanges, Reason::ManySmallChanges),
        ] {
            assert_eq!(choose_again(before, 100, finding), after, "{finding:?}");
        }
    }
}
