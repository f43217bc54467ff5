//! The figures of a delta that was made, for people and for machines.

use cli::Text;
use layer::{DiffId, Spool};
use tar_diff::{Count, DiffOptions, Reduced, Stats};

/// Says by how much a budget of memory that is too small for the layers made the delta larger, and what to do
/// about it.
pub(super) fn memory_warning(reduced: &Reduced, options: &DiffOptions) -> Option<String> {
    const MIB: u64 = 1 << 20;
    if !reduced.is_any() {
        return None;
    }
    let mut costs = Vec::new();
    let files = |count: &Count| {
        let plural = if count.count == 1 { "file" } else { "files" };
        format!("{} {plural} ({} bytes)", count.count, count.size)
    };
    if reduced.in_chunks.count > 0 {
        costs.push(format!("{} matched in chunks instead of by bsdiff", files(&reduced.in_chunks)));
    }
    if reduced.sparse.count > 0 {
        costs.push(format!("{} matched more sparsely", files(&reduced.sparse)));
    }
    if let Some(level) = reduced.level {
        costs.push(format!("zstd level {level} instead of {}", options.level));
    }
    let (given, wanted) = (options.memory / MIB, reduced.wanted_memory.div_ceil(MIB));
    let mut warning = match costs.is_empty() {
        true => String::new(),
        false => format!("{given} MiB of memory make the delta larger: {}; ", costs.join(", ")),
    };
    if let Some(entries) = reduced.entries {
        let entries = entries / MIB;
        warning +=
            &format!("the entries of the layers alone take up to {entries} MiB, over the {given} given; ");
    }
    Some(format!("{warning}--memory {wanted} avoids that"))
}

/// The figures of a delta that was made.
pub(super) struct Figures<'l> {
    pub(super) stats: Stats,
    pub(super) delta_size: u64,
    pub(super) diff_id: Option<DiffId>,
    pub(super) old: &'l [Spool],
    pub(super) new: &'l Spool,
    pub(super) seconds: f64,
    pub(super) warning: Option<String>,
}

impl Figures<'_> {
    /// Size of the delta as a share of the layer as it was given: what a pull saves.
    fn ratio(&self) -> f64 {
        self.delta_size as f64 / self.new.blob_size().max(1) as f64
    }

    /// The figures for people.
    pub(super) fn summary(&self) -> Text {
        let Stats { same, similar, literal, seen_through, .. } = &self.stats;
        let seen_through = match seen_through.count {
            0 => String::new(),
            count => format!(" ({count} seen through)"),
        };
        let mut text = Text::of(format_args!(
            "delta {} bytes, {:.2}% of the {} bytes of {}; {} files unchanged, {} similar{seen_through}, {} bytes new; {:.1} s",
            self.delta_size,
            100.0 * self.ratio(),
            self.new.blob_size(),
            self.new.name(),
            same.count,
            similar.count,
            literal.size,
            self.seconds,
        ));
        if let Some(diff_id) = self.diff_id {
            text.line(format_args!("diff_id {diff_id}: give it to tar-patch --diff-id"));
        }
        text
    }

    /// The figures for machines. Sizes are of uncompressed tars, as in `explain`; `blob` sizes are those of
    /// the layers as given.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "delta_size": self.delta_size,
            "diff_id": self.diff_id.map(|diff_id| diff_id.to_string()),
            "old_size": self.old.iter().map(Spool::size).sum::<u64>(),
            "old_blob_size": self.old.iter().map(Spool::blob_size).sum::<u64>(),
            "new_size": self.new.size(),
            "new_blob_size": self.new.blob_size(),
            "ratio": self.ratio(),
            "seconds": self.seconds,
            "cpu_seconds": cli::resources::cpu_seconds(),
            "peak_memory": cli::resources::peak_memory(),
            "warnings": self.warning.iter().collect::<Vec<_>>(),
            "segments": self.stats,
        })
    }
}
