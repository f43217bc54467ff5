//! Hints at changes that would lower the costs. Each rests on something that was seen in the layers.

use std::collections::BTreeMap;
use std::fmt;

use delta_format::Version;

use crate::old::{Mtimes, NotLookedInto};
use crate::{ContentKind, Explanation, Finding, Reason};

/// Hints about less than this part of the delta are not given.
const MIN_SHARE: u64 = 200;

/// A change that would lower a part of the costs. Costs are bytes of the delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Hint {
    /// Files whose compression a tardf3 delta would see through.
    SeeThrough {
        /// The number of files.
        files: u64,
        /// Their cost.
        cost: u64,
        /// About what they would cost in a tardf3 delta.
        estimate: u64,
    },
    /// Files that hold the same as before, compressed to other bytes.
    SameContent {
        /// The kind of the files.
        kind: ContentKind,
        /// The number of files.
        files: u64,
        /// The number of files that differ in the gzip header alone.
        header_only: u64,
        /// Their cost.
        cost: u64,
    },
    /// Files whose contents changed less than their compressed bytes.
    StoreUnpacked {
        /// The kind of the files.
        kind: ContentKind,
        /// The number of files.
        files: u64,
        /// Their cost.
        cost: u64,
        /// About what they would cost if they were stored without compression.
        estimate: u64,
    },
    /// Files whose old version may not be read by appliers.
    UnusableSource {
        /// The number of files.
        files: u64,
        /// Their cost.
        cost: u64,
    },
    /// Files with the same content whose tar headers have another time.
    OtherMtime {
        /// The number of files.
        files: u64,
        /// All files with the same content.
        unchanged: u64,
        /// The cost of all tar headers.
        cost: u64,
    },
    /// Compressed files that were not looked into, as they are too large or too many.
    NotLookedInto {
        /// The number of files.
        files: u64,
        /// Their cost.
        cost: u64,
    },
}

impl fmt::Display for Hint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SeeThrough { files, cost, estimate } => write!(
                out,
                "{files} compressed {} {cost} bytes; a tardf3 delta (tar-diff --format tardf3) compares what is in \
                 {}: about {estimate} bytes, if the compression is one that can be made again. Only this \
                 project's tar-patch and registry-ext apply it. What follows is for deltas that other tools read.",
                if files == 1 { "file costs" } else { "files cost" },
                if files == 1 { "it" } else { "them" },
            ),
            Self::SameContent { kind, files, header_only, cost } => {
                let (were, they) =
                    if files == 1 { ("file holds", "It costs") } else { ("files hold", "They cost") };
                write!(out, "{files} {kind} {were} the same as before in other compressed bytes")?;
                if header_only > 0 {
                    write!(out, " ({header_only}: only the time or name in the gzip header)")?;
                }
                write!(out, ". {they} {cost} bytes, and nothing if built reproducibly")?;
                match kind {
                    ContentKind::Gzip => write!(out, ": gzip -n, one version and level of gzip."),
                    ContentKind::Zip => {
                        write!(out, ": fixed times and order of members (SOURCE_DATE_EPOCH).")
                    }
                    _ => write!(out, ": one version and level of the compressor."),
                }
            }
            Self::StoreUnpacked { kind, files, cost, estimate } => write!(
                out,
                "{files} {kind} {} changed inside and cost {cost} bytes; stored without compression, old and \
                 new, they would cost about {estimate}. The layer as a whole is compressed anyway.",
                if files == 1 { "file" } else { "files" },
            ),
            Self::UnusableSource { files, cost } => write!(
                out,
                "{files} {} {cost} bytes because the old file may not be read: it is not world-readable, or is \
                 sparse, or tools disagree about what lies at its path.",
                if files == 1 { "file costs" } else { "files cost" },
            ),
            Self::OtherMtime { files, unchanged, cost } => write!(
                out,
                "{files} of {unchanged} files with the same content have another time in their tar header. All \
                 headers cost {cost} bytes: keep the times (SOURCE_DATE_EPOCH, or a layer built with fixed times)."
            ),
            Self::NotLookedInto { files, cost } => write!(
                out,
                "{files} compressed {} {cost} bytes and {} not looked into: too large, or too many.",
                if files == 1 { "file costs" } else { "files cost" },
                if files == 1 { "was" } else { "were" },
            ),
        }
    }
}

/// The saving of a delta that sees through compression.
#[derive(Default)]
struct SeeThrough {
    files: u64,
    cost: u64,
    estimate: u64,
}

/// The hints that hold, most bytes first; before all of them the one that asks for no other layer.
pub(crate) fn hints(explanation: &Explanation, skipped: &NotLookedInto, mtimes: Mtimes) -> Vec<Hint> {
    let mut same = BTreeMap::new();
    let mut unpacked = BTreeMap::new();
    let (mut unusable, mut unusable_cost) = (0, 0);
    let mut seen = SeeThrough::default();
    for file in &explanation.files {
        let cost = file.cost.total;
        let estimate = match file.finding {
            Some(Finding::SameContent { .. } | Finding::SameMembers { .. }) => Some(0),
            Some(Finding::Unpacked { estimate, .. }) => Some(estimate).filter(|estimate| *estimate < cost),
            _ => None,
        };
        if let Some(estimate) = estimate {
            seen.files += 1;
            seen.cost += cost;
            seen.estimate += estimate;
        }
        match file.finding {
            Some(Finding::SameContent { header_only }) => {
                add(&mut same, file.kind, [1, u64::from(header_only), cost]);
            }
            Some(Finding::SameMembers { .. }) => add(&mut same, file.kind, [1, 0, cost]),
            Some(Finding::Unpacked { estimate, .. }) if estimate < cost => {
                add(&mut unpacked, file.kind, [1, cost, estimate]);
            }
            _ => {}
        }
        if file.reason == Reason::UnusableSource {
            unusable += 1;
            unusable_cost += cost;
        }
    }
    let mut hints = Vec::new();
    for (kind, [files, header_only, cost]) in same {
        hints.push((cost, Hint::SameContent { kind, files, header_only, cost }));
    }
    for (kind, [files, cost, estimate]) in unpacked {
        hints.push((cost - estimate, Hint::StoreUnpacked { kind, files, cost, estimate }));
    }
    if unusable > 0 {
        hints.push((unusable_cost, Hint::UnusableSource { files: unusable, cost: unusable_cost }));
    }
    if mtimes.other * 10 > mtimes.unchanged {
        let cost = explanation.headers.cost.total;
        let Mtimes { unchanged, other: files } = mtimes;
        hints.push((cost, Hint::OtherMtime { files, unchanged, cost }));
    }
    if skipped.files > 0 {
        let &NotLookedInto { files, cost } = skipped;
        hints.push((cost, Hint::NotLookedInto { files, cost }));
    }
    hints.retain(|(saved, _)| saved.saturating_mul(MIN_SHARE) >= explanation.delta_size);
    hints.sort_by_key(|(saved, _)| std::cmp::Reverse(*saved));
    let SeeThrough { files, cost, estimate } = seen;
    let sees_through = explanation.version == Version::V3.name();
    if !sees_through && (cost - estimate).saturating_mul(MIN_SHARE) >= explanation.delta_size && files > 0 {
        hints.insert(0, (cost - estimate, Hint::SeeThrough { files, cost, estimate }));
    }
    hints.into_iter().map(|(_, hint)| hint).collect()
}

fn add(sums: &mut BTreeMap<ContentKind, [u64; 3]>, kind: ContentKind, values: [u64; 3]) {
    let sum = sums.entry(kind).or_default();
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}
