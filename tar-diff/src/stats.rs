//! The figures of a delta.

use std::collections::BTreeMap;

use delta_format::WriterStats;

/// Files, or stretches of the tar, of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Count {
    /// The number of files.
    pub count: u64,
    /// Their bytes in the uncompressed new tar.
    pub size: u64,
}

impl Count {
    pub(crate) const fn count(&mut self, size: u64) {
        self.count += 1;
        self.size += size;
    }
}

/// The effects of a budget of memory that is too small for the layers: the delta is larger than it could be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Reduced {
    /// Files that were matched in chunks, since they do not fit with an index of their source.
    pub in_chunks: Count,
    /// Files whose sources were indexed more sparsely.
    pub sparse: Count,
    /// The zstd level that the memory was enough for, if it is below the one of the options.
    pub level: Option<i32>,
    /// The memory in bytes that the entries of the layers and their names may take, if that alone is over the budget:
    /// then the diff takes more than its budget. It is estimated rather too high.
    pub entries: Option<u64>,
    /// The least memory in bytes with which nothing is reduced.
    pub wanted_memory: u64,
}

impl Reduced {
    /// Returns true if anything was reduced.
    pub const fn is_any(&self) -> bool {
        self.in_chunks.count > 0 || self.sparse.count > 0 || self.level.is_some() || self.entries.is_some()
    }
}

/// The figures of a delta. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// The uncompressed new tar.
    pub target_size: u64,
    /// Files whose content a source has.
    pub same: Count,
    /// Files that are made from a similar source.
    pub similar: Count,
    /// Stretches that the delta carries whole: headers, padding, files without a source.
    pub literal: Count,
    /// Sources that were looked at, by name or by content, to find the best one of each file.
    pub compared_sources: u64,
    /// Bytes of similar files that the delta carries.
    pub similar_literal_size: u64,
    /// Stretches of sources that similar files are made of.
    pub steps: u64,
    /// Similar files that are zstd frames.
    pub zstd_dict_files: u64,
    /// Similar files in which what moved is predicted, or the ops stand in columns.
    pub relocated: Count,
    /// Similar files that are made from what their compressed streams hold.
    pub seen_through: Count,
    /// Compressed streams that are made again, those in other streams not counted.
    pub streams: u64,
    /// Compressed streams that were not seen through, by the reason.
    pub refused_streams: BTreeMap<&'static str, u64>,
    /// The effects of the budget of memory.
    pub reduced: Reduced,
    /// The ops of the delta.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub written: WriterStats,
}
