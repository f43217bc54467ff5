//! Tells what the bytes of a delta go to.
//!
//! - [`Summary::read`] counts the ops and the sources of a delta. It needs the delta alone.
//! - [`explain`] lays the ops of a delta along the files of the layer that it makes. Each byte of the delta is
//!   charged to the file that it is for (`attribution.rs` over `blocks.rs` and `block_cost.rs`, which read the
//!   zstd blocks, and `chunks.rs`, which reads xz streams), each file gets the reason for its cost
//!   (`reasons.rs`), and where the old layers are given, compressed files are looked into (`unpacked.rs`) for
//!   hints that can be acted on (`hints.rs`).
//! - [`Explanation::html`] is a page of it for a browser.

mod addresses;
mod attribution;
mod block_cost;
mod blocks;
mod chunks;
mod compressed;
mod error;
mod explanation;
mod fse;
mod groups;
mod hints;
mod html;
mod inspect;
mod kind;
mod members;
mod note;
mod old;
mod payload;
mod reasons;
mod relocated_parts;
mod unpacked;
mod walk;

use std::io::Read;

use delta_format::escape_path;
use layer::{Entry, EntryKind, Spool, clean_path};

pub use addresses::AddressGroup;
pub use error::{Error, Result};
pub use explanation::{Cost, Explanation, FileCost, FileMade, Finding, OldFile, SourceShare};
pub use groups::Group;
pub use hints::Hint;
pub use inspect::{OpTotals, SourceUse, Summary};
pub use kind::ContentKind;
pub use reasons::Reason;
pub use relocated_parts::RelocatedParts;

use old::Old;
use reasons::Facts;
use walk::{Tally, Walked, walk};

/// Explains what the bytes of `delta`, which makes `new`, go to.
///
/// With the `old` layers, lowest first, it can say more: whether a path existed, what changed
/// inside compressed files, and hints. Of a stretch that is encoded (tardf3), all that ops emit for it is
/// charged to the file that holds its beginning. `delta` is read twice, side by side, hence the `Clone`.
/// Memory is bounded by the number of files, two zstd windows and a few files of 64 MiB.
///
/// # Errors
/// [`Error::OtherLayer`] if `delta` does not make `new`,
/// [`Error::Delta`] if it is broken, [`Error::Layer`] if a
/// layer is broken or cannot be read.
pub fn explain<R: Read + Clone>(delta: R, new: &Spool, old: &[Spool]) -> Result<Explanation> {
    let mut entries = layer::entries(new)?;
    entries
        .retain(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Sparse) && !entry.data.is_empty());
    let ranges: Vec<_> = entries.iter().map(|entry| entry.data.clone()).collect();
    let old_names = old.iter().map(|layer| layer.name().to_owned()).collect();
    let old = Old::new(old)?;
    let walked = walk(delta, new, &ranges, &old)?;
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
        addresses: walked.addresses,
        hints: Vec::new(),
        headers,
        files,
    };
    explanation.hints = hints::hints(&explanation, &not_looked_into, other_mtimes);
    Ok(explanation)
}

fn file_cost(entry: &Entry, item: usize, walked: &Walked, new: &Spool, old: &Old<'_>) -> Result<FileCost> {
    let size = entry.data.end - entry.data.start;
    let head_end = entry.data.end.min(entry.data.start + kind::HEAD_SIZE);
    let kind = ContentKind::detect(&new.read_range(entry.data.start..head_end)?);
    let path = clean_path(&entry.path);
    let tally = &walked.tallies[item];
    let made = made(tally, walked);
    let mut by_size: Vec<_> = tally.sources.iter().collect();
    by_size.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let main_source = by_size.first().map(|(index, _)| walked.sources[*index].as_bytes());
    // A stream that is made again costs what changed inside it.
    let is_compressed = kind.is_compressed() && made.encoded == 0;
    let facts = Facts {
        size: if made.encoded == 0 { size } else { made.size() },
        made: &made,
        is_in_place: path.is_some() && main_source == path.as_deref(),
        same_path: old.same_path(path.as_deref()),
        is_compressed,
    };
    let mut sample = Ok(Vec::new());
    let reason = reasons::choose(&facts, || {
        is_compressed
            || made.encoded == 0 && {
                sample = new
                    .read_range(entry.data.start..entry.data.end.min(entry.data.start + kind::SAMPLE_SIZE));
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
        kind: ContentKind::Headers,
        cost,
        share: share(cost.total, walked.delta_size),
        reason: Reason::Headers,
        made: made(&walked.tallies[0], walked),
        old: None,
        finding: None,
    }
}

fn made(tally: &Tally, walked: &Walked) -> FileMade {
    let &Tally { data, copied, added, changed, framed, frames, relocated, listed, encoded, .. } = tally;
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
        relocated,
        listed,
        encoded,
        ops: tally.ops,
        opens: tally.opens,
        sources,
        has_more_sources: tally.more_sources,
    }
}

fn share(cost: u64, of: u64) -> f64 {
    cost as f64 / of.max(1) as f64
}
