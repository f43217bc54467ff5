//! An explanation, as it is shown and written as JSON.

use crate::attribution::PartCosts;
use crate::{AddressGroup, ContentKind, Group, Hint, Reason, html};

/// The explanation of a delta. All sizes are in bytes; costs are bytes of the delta itself, as it is
/// stored and sent.
///
/// The costs of `files` and `headers` and `frame_size` add up to `delta_size`.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The version: `tardf1`, `tardf2` or `tardf3`.
    pub version: &'static str,
    /// The delta.
    pub delta_size: u64,
    /// The name of the layer that it makes.
    pub new: String,
    /// The names of the old layers that were given, lowest first.
    pub old: Vec<String>,
    /// Size of the uncompressed layer that it makes.
    pub new_size: u64,
    /// Size of that layer as it was given.
    pub new_blob_size: u64,
    /// True if old layers were given.
    pub has_old: bool,
    /// Bytes of the delta that are for no file: its magic, headers of zstd frames, checksums.
    pub frame_size: u64,
    /// All tar headers and padding.
    pub headers: FileCost,
    /// The files that have data, the costliest first.
    pub files: Vec<FileCost>,
    /// Costs by reason.
    pub reasons: Vec<Group>,
    /// Costs by kind of file.
    pub kinds: Vec<Group>,
    /// Costs by directory, two levels deep.
    pub directories: Vec<Group>,
    /// The addresses in programs that are predicted (tardf3), by their form. Empty without old layers; programs that
    /// lie in compressed files are not counted.
    pub addresses: Vec<AddressGroup>,
    /// The changes that would lower the costs.
    pub hints: Vec<Hint>,
}

/// The cost of one file, and its reason.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FileCost {
    /// Its path, with all that is no printable text escaped.
    pub path: String,
    /// Its size.
    pub size: u64,
    /// The kind of its content.
    pub kind: ContentKind,
    /// Its cost.
    pub cost: Cost,
    /// Its part of the delta, from 0 to 1.
    pub share: f64,
    /// The reason for its cost.
    pub reason: Reason,
    /// The parts that it is made from.
    pub made: FileMade,
    /// The old file to compare it with: that of its path, or else the one most of it comes from.
    pub old: Option<OldFile>,
    /// The result of a look into the compressed file and the old one.
    pub finding: Option<Finding>,
}

/// Bytes of the delta, by what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Cost {
    /// All of them.
    pub total: u64,
    /// Codes, sizes and source paths of ops.
    pub ops: u64,
    /// Payload of `data` ops, and new bytes of `relocated` ops: bytes that the delta carries.
    pub data: u64,
    /// Payload of `add_data` ops, and the like of `relocated` ops: differences to source bytes, or to what is predicted
    /// of them.
    pub add: u64,
    /// Payload of `zstd_dict` ops.
    pub frames: u64,
    /// The rest of `relocated` ops: the places of addresses, the stretches of sources, and the places of differences.
    pub relocated: u64,
    /// Streams of sources that are decoded, stretches that are encoded, and the recipes for that.
    pub streams: u64,
    /// Lists of headers.
    pub headers: u64,
}

impl From<PartCosts> for Cost {
    fn from(parts: PartCosts) -> Self {
        let [ops, data, add, frames, relocated, streams, headers] = parts;
        Self { total: parts.iter().sum(), ops, data, add, frames, relocated, streams, headers }
    }
}

/// The parts that a file is made from, in bytes before compression.
///
/// Of a file that holds compressed streams which are made again (tardf3), these are parts of the plain bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FileMade {
    /// Bytes that the delta carries.
    pub data: u64,
    /// Bytes copied from sources.
    pub copied: u64,
    /// Bytes of sources that others are added to.
    pub added: u64,
    /// Of those, bytes to which not zero is added.
    pub changed: u64,
    /// Bytes that frames make.
    pub framed: u64,
    /// Payload of these frames.
    pub frames: u64,
    /// Bytes that `relocated` ops make: those that they carry are in `data`, the others in `added`, and those
    /// of them that are not as predicted in `changed`.
    pub relocated: u64,
    /// Bytes that lists of headers make.
    pub listed: u64,
    /// Of all these, bytes that are compressed afterwards: the file holds what they are compressed to (tardf3).
    pub encoded: u64,
    /// Ops.
    pub ops: u64,
    /// Of those, `open` ops.
    pub opens: u64,
    /// The sources, most bytes first; at most 4.
    pub sources: Vec<SourceShare>,
    /// True if there are more sources.
    pub has_more_sources: bool,
}

impl FileMade {
    /// Bytes of all parts: the size of the file, unless some are compressed afterwards.
    pub const fn size(&self) -> u64 {
        let of_sources = self.copied.saturating_add(self.added).saturating_add(self.framed);
        self.data.saturating_add(of_sources).saturating_add(self.listed)
    }

    /// Bytes that are not in the sources: carried, changed, or payload of frames.
    pub const fn carried(&self) -> u64 {
        self.data.saturating_add(self.changed).saturating_add(self.frames)
    }
}

/// The bytes that a file takes from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SourceShare {
    /// Its path, escaped as that of the file.
    pub path: String,
    /// Bytes that come of it.
    pub size: u64,
}

/// An old file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct OldFile {
    /// Its path, escaped as that of the file.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

/// The result of a look into a compressed file and the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Finding {
    /// Both hold the same bytes.
    SameContent {
        /// True if only the time or name in the gzip header differs.
        header_only: bool,
    },
    /// Both are zip archives whose members have the same names, sizes and CRC-32.
    SameMembers {
        /// The number of files.
        members: u64,
    },
    /// They hold different bytes.
    Unpacked {
        /// The size of the new content, in bytes.
        size: u64,
        /// About what the delta would carry for it, in bytes, if both were not compressed: a zstd
        /// frame with the old content as prefix.
        estimate: u64,
        /// Of a zip archive: members that changed, came or went, and all members.
        members: Option<(u64, u64)>,
    },
}

impl Explanation {
    /// The `top` costliest items: files and, among them, the headers as one.
    pub fn costliest(&self, top: usize) -> impl Iterator<Item = &FileCost> {
        let before = self.files.partition_point(|file| file.cost.total >= self.headers.cost.total);
        let (before, after) = self.files.split_at(before);
        before.iter().chain([&self.headers]).chain(after).filter(|file| file.cost.total > 0).take(top)
    }

    /// A page that shows all of it, with the `top` costliest files: HTML that needs no other file.
    /// `title` names the delta.
    pub fn html(&self, title: &str, top: usize) -> String {
        html::page(self, title, top)
    }
}
