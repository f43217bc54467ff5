//! What a delta's bytes go to: the files that cost most, and why.
//!
//! [`explain`] lays the ops of a delta along the files of the layer that it makes. Each byte of the
//! delta is charged to the file that it is for (`attribution.rs` over `blocks.rs` and
//! `block_cost.rs`, which read the zstd blocks), each file gets the reason for its cost
//! (`reasons.rs`), and where the old layers are given, compressed files are looked into
//! (`unpacked.rs`) for hints that can be acted on (`hints.rs`).

mod attribution;
mod block_cost;
mod blocks;
mod fse;
mod groups;
mod hints;
mod html;
mod kind;
mod note;
mod old;
mod reasons;
mod unpacked;
mod walk;
mod zip;

#[cfg(test)]
mod tests;

use std::io::Read;

use delta_format::escape_path;
use layer::{Entry, EntryKind, Spool, clean_path};

pub use groups::Group;
pub use hints::Hint;
pub use kind::FileKind;
pub use reasons::Reason;

use crate::Result;
use attribution::PartCosts;
use old::Old;
use reasons::Facts;
use walk::{Tally, Walked, walk};

/// What a delta's bytes go to. All sizes are in bytes; costs are bytes of the delta itself, as it is
/// stored and sent.
///
/// The costs of `files` and `headers` and `frame_size` add up to `delta_size`.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The version: `tardf1` or `tardf2`.
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
    /// Whether old layers were given.
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
    /// What could be done about the costs.
    pub hints: Vec<Hint>,
}

/// What one file costs, and why.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FileCost {
    /// Its path, with all that is no printable text escaped.
    pub path: String,
    /// Its size.
    pub size: u64,
    /// What it is.
    pub kind: FileKind,
    /// What it costs.
    pub cost: Cost,
    /// Its part of the delta, from 0 to 1.
    pub share: f64,
    /// Why it costs that.
    pub reason: Reason,
    /// What it is made of.
    pub made: FileMade,
    /// The old file to compare it with: that of its path, or else the one most of it comes from.
    pub old: Option<OldFile>,
    /// What a look into the compressed file and the old one showed.
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
    /// Payload of `data` ops: bytes that the delta carries.
    pub data: u64,
    /// Payload of `add_data` ops: differences to source bytes.
    pub add: u64,
    /// Payload of `zstd_dict` ops.
    pub frames: u64,
}

impl From<PartCosts> for Cost {
    fn from([ops, data, add, frames]: PartCosts) -> Self {
        Self { total: ops + data + add + frames, ops, data, add, frames }
    }
}

/// What a file is made of, in bytes before compression.
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
    /// Ops.
    pub ops: u64,
    /// Of those, `open` ops.
    pub opens: u64,
    /// The sources, most bytes first; at most 4.
    pub sources: Vec<SourceShare>,
    /// Whether there are more sources.
    pub has_more_sources: bool,
}

impl FileMade {
    /// Bytes that are not in the sources: carried, changed, or payload of frames.
    pub const fn carried(&self) -> u64 {
        self.data.saturating_add(self.changed).saturating_add(self.frames)
    }
}

/// What a file takes from one source.
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

/// What a look into a compressed file and the old one showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Finding {
    /// Both hold the same bytes.
    SameContent {
        /// Whether only the time or name in the gzip header differs.
        header_only: bool,
    },
    /// Both are zip archives whose members have the same names, sizes and CRC-32.
    SameMembers {
        /// How many.
        members: u64,
    },
    /// They hold different bytes.
    Unpacked {
        /// What the new one holds, in bytes.
        size: u64,
        /// About what the delta would carry for it, in bytes, if both were not compressed: a zstd
        /// frame with the old content as prefix.
        estimate: u64,
        /// Of a zip archive: members that changed, came or went, and all members.
        members: Option<(u64, u64)>,
    },
}

/// Explains what the bytes of `delta`, which makes `new`, go to.
///
/// With the `old` layers, lowest first, it can say more: whether a path existed, what changed
/// inside compressed files, and hints. `delta` is read twice, side by side, hence the `Clone`.
/// Memory is bounded by the number of files, two zstd windows and a few files of 64 MiB.
///
/// # Errors
/// [`Error::OtherLayer`](crate::Error::OtherLayer) if `delta` does not make `new`,
/// [`Error::Delta`](crate::Error::Delta) if it is broken, [`Error::Layer`](crate::Error::Layer) if a
/// layer is broken or cannot be read.
pub fn explain<R: Read + Clone>(delta: R, new: &Spool, old: &[Spool]) -> Result<Explanation> {
    let mut entries = layer::entries(new)?;
    entries
        .retain(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Sparse) && !entry.data.is_empty());
    let ranges: Vec<_> = entries.iter().map(|entry| entry.data.clone()).collect();
    let walked = walk(delta, new, &ranges)?;
    let old_names = old.iter().map(|layer| layer.name().to_owned()).collect();
    let old = Old::new(old)?;
    let mut files = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        files.push((file_cost(entry, index + 1, &walked, new, &old)?, index));
    }
    files.sort_by(|(left, _), (right, _)| {
        right.cost.total.cmp(&left.cost.total).then_with(|| left.path.cmp(&right.path))
    });
    let entry_of: Vec<&Entry> = files.iter().map(|(_, index)| &entries[*index]).collect();
    let mut files: Vec<_> = files.into_iter().map(|(file, _)| file).collect();
    let not_looked_into = old.look_into(&mut files, &entry_of, new)?;
    let other_mtimes = old.count_other_mtimes(&files, &entry_of, new)?;

    let headers = headers_cost(&walked, new, &entries);
    let spent = files.iter().chain([&headers]).map(|file| file.cost.total).sum::<u64>();
    let groups = |name: &dyn Fn(&FileCost) -> String| groups::groups(&files, &headers, name);
    let mut explanation = Explanation {
        version: walked.version,
        delta_size: walked.delta_size,
        new: new.name().to_owned(),
        old: old_names,
        new_size: new.size(),
        new_blob_size: new.blob_size(),
        has_old: old.is_given(),
        frame_size: walked.delta_size - spent,
        reasons: groups(&|file| file.reason.name().to_owned()),
        kinds: groups(&|file| file.kind.name().to_owned()),
        directories: groups(&|file| groups::directory(&file.path)),
        hints: Vec::new(),
        headers,
        files,
    };
    explanation.hints = hints::hints(&explanation, &not_looked_into, other_mtimes);
    Ok(explanation)
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

fn file_cost(entry: &Entry, item: usize, walked: &Walked, new: &Spool, old: &Old<'_>) -> Result<FileCost> {
    let size = entry.data.end - entry.data.start;
    let head_end = entry.data.end.min(entry.data.start + kind::HEAD_SIZE);
    let kind = FileKind::detect(&new.read_range(entry.data.start..head_end)?);
    let path = clean_path(&entry.path);
    let tally = &walked.tallies[item];
    let made = made(tally, walked);
    let mut by_size: Vec<_> = tally.sources.iter().collect();
    by_size.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let main_source = by_size.first().map(|(index, _)| walked.sources[*index].as_bytes());
    let facts = Facts {
        size,
        made: &made,
        is_in_place: path.is_some() && main_source == path.as_deref(),
        same_path: old.same_path(path.as_deref()),
        is_compressed: kind.is_compressed(),
    };
    let mut sample = Ok(Vec::new());
    let reason = reasons::choose(&facts, || {
        kind.is_compressed() || {
            sample =
                new.read_range(entry.data.start..entry.data.end.min(entry.data.start + kind::SAMPLE_SIZE));
            sample.as_ref().is_ok_and(|sample| kind::is_dense(sample))
        }
    });
    sample?;
    let cost = Cost::from(walked.costs[item]);
    Ok(FileCost {
        path: escape_path(&entry.path).to_string(),
        size,
        kind,
        cost,
        share: share(cost.total, walked.delta_size),
        reason,
        made,
        old: old.counterpart(path.as_deref(), main_source),
        finding: None,
    })
}

fn headers_cost(walked: &Walked, new: &Spool, files: &[Entry]) -> FileCost {
    let of_files: u64 = files.iter().map(|entry| entry.data.end - entry.data.start).sum();
    let cost = Cost::from(walked.costs[0]);
    FileCost {
        path: "(tar headers)".to_owned(),
        size: new.size() - of_files,
        kind: FileKind::Headers,
        cost,
        share: share(cost.total, walked.delta_size),
        reason: Reason::Headers,
        made: made(&walked.tallies[0], walked),
        old: None,
        finding: None,
    }
}

fn made(tally: &Tally, walked: &Walked) -> FileMade {
    let &Tally { data, copied, added, changed, framed, frames, ops, opens, more_sources, .. } = tally;
    let share = |&(index, size): &(usize, u64)| SourceShare { path: walked.sources[index].to_string(), size };
    let mut sources: Vec<_> = tally.sources.iter().map(share).collect();
    sources.sort_by_key(|source| std::cmp::Reverse(source.size));
    FileMade {
        data,
        copied,
        added,
        changed,
        framed,
        frames,
        ops,
        opens,
        sources,
        has_more_sources: more_sources,
    }
}

fn share(cost: u64, of: u64) -> f64 {
    cost as f64 / of.max(1) as f64
}
