//! Makes the edits of a plan, in parallel, source by source.
//!
//! The targets of one source are a group. What costs time by the size of the source, reading and indexing
//! it, is done once for all of them, unless each needs but a small part of it; so the time of a
//! diff is bounded by the bytes on both sides, however many targets one source has.

mod editor;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::PoisonError;

use editor::Editor;
use layer::Spool;

use crate::edit::Edit;
use crate::meter::{MATCH_COST, Meter};
use crate::options::DiffOptions;
use crate::plan::{Plan, SegmentKind};
use crate::sides::Layers;
use crate::views::{self, Refusals};
use crate::{Error, Reduced, Result, budget, workers};

/// Bytes of the targets of one source from which on they are worked at by all threads.
const LARGE_GROUP: u64 = 16 << 20;

/// The edits of a plan, by segment, and what they need to be written.
pub(crate) struct Edits {
    pub(crate) by_segment: Vec<Option<Edit>>,
    /// The files that edits through views lie in, if any was looked for.
    pub(crate) decoded: Option<Spool>,
    /// The compressed streams that cannot be made again.
    pub(crate) refusals: Refusals,
    /// The effects of the budget of memory.
    pub(crate) reduced: Reduced,
}

/// The segments that are made of one source, or one that has none.
struct Group {
    segments: Vec<usize>,
    /// Bytes of memory that it takes with one of them at a time.
    memory: u64,
    /// Bytes of memory that each further segment takes that is worked at beside the others.
    each: u64,
    /// Bytes of all segments.
    total: u64,
}

/// Makes the edit of each segment that is made of a source, on several threads, largest first.
/// Segments of other kinds have none.
///
/// # Errors
/// If a layer cannot be read, or decoded files cannot be kept.
pub(crate) fn edits(
    plan: &Plan,
    layers: Layers<'_>,
    options: &DiffOptions,
    meter: &Meter<'_>,
) -> Result<Edits> {
    let store = options.sees_through.then(|| views::Store::new(&options.temp_dir)).transpose()?;
    let editor = Editor::new(plan, layers, options, store.as_ref())?;
    let mut groups = groups(plan, &editor)?;
    // The largest take longest; started last they would keep one thread busy alone.
    groups.sort_by_key(|group| std::cmp::Reverse(group.memory.max(group.total)));
    let jobs = budget::threads(options);
    let share = options.memory / jobs.get() as u64;
    let is_large =
        |group: &Group| group.memory > share || group.segments.len() > 1 && group.total > LARGE_GROUP;
    let (large, small): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(is_large);
    let make = |group: &Group, jobs: NonZeroUsize| {
        let edits = editor.edits(&group.segments, jobs, threads(group, jobs, options))?;
        meter.advance(cost(plan, group));
        Ok::<_, Error>(edits)
    };
    let mut by_segment: Vec<Option<Edit>> = vec![None; plan.segments.len()];
    // So large that there is no memory for as many of them as there are jobs, or no use in it: one after
    // the other, with all jobs on each.
    let mut made = large.iter().map(|group| make(group, jobs)).collect::<Result<Vec<_>>>()?;
    made.extend(workers::map(jobs, small.len(), |rank| make(&small[rank], NonZeroUsize::MIN))?);
    for (group, edits) in large.iter().chain(&small).zip(made) {
        for (index, edit) in group.segments.iter().zip(edits) {
            by_segment[*index] = edit;
        }
    }
    let refusals = editor.into_refusals().into_inner().unwrap_or_else(PoisonError::into_inner);
    let pairs = plan.segments.iter().filter_map(|segment| match &segment.kind {
        SegmentKind::Similar(source) => {
            Some((source.data.end - source.data.start, segment.target.end - segment.target.start))
        }
        _ => None,
    });
    let reduced = budget::reduced(pairs, options);
    Ok(Edits { by_segment, decoded: store.map(views::Store::into_spool), refusals, reduced })
}

/// Returns the cost of all edits of a plan, as the meter counts it.
pub(crate) fn expected_cost(plan: &Plan) -> u64 {
    let mut sources = BTreeMap::new();
    let mut size = 0;
    for segment in &plan.segments {
        match &segment.kind {
            SegmentKind::Similar(source) => {
                size += segment.target.end - segment.target.start;
                sources.insert((source.layer, source.data.start), source.data.end - source.data.start);
            }
            SegmentKind::Compressed => size += segment.target.end - segment.target.start,
            SegmentKind::Same(_) | SegmentKind::Literal => {}
        }
    }
    (size + sources.values().sum::<u64>()) * MATCH_COST
}

/// Returns the cost of the edits of a group.
fn cost(plan: &Plan, group: &Group) -> u64 {
    let source = match group.segments.first().map(|index| &plan.segments[*index].kind) {
        Some(SegmentKind::Similar(source)) => source.data.end - source.data.start,
        _ => 0,
    };
    (source + group.total) * MATCH_COST
}

/// Returns the number of segments of a group that are worked at side by side.
fn threads(group: &Group, jobs: NonZeroUsize, options: &DiffOptions) -> NonZeroUsize {
    let room = options.memory.saturating_sub(group.memory) / group.each.max(1);
    let more = usize::try_from(room).unwrap_or(usize::MAX).saturating_add(1);
    NonZeroUsize::new(more.min(group.segments.len())).map_or(NonZeroUsize::MIN, |most| most.min(jobs))
}

fn groups(plan: &Plan, editor: &Editor<'_>) -> Result<Vec<Group>> {
    let mut by_source: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, segment) in plan.segments.iter().enumerate() {
        match &segment.kind {
            SegmentKind::Similar(source) => {
                by_source.entry((source.layer, source.data.start)).or_default().push(index);
            }
            SegmentKind::Compressed => groups.push(vec![index]),
            SegmentKind::Same(_) | SegmentKind::Literal => {}
        }
    }
    groups.extend(by_source.into_values());
    let group = |segments: Vec<usize>| {
        let sizes = segments.iter().map(|index| {
            let target = &plan.segments[*index].target;
            target.end - target.start
        });
        let (each, total) = (editor.memory_of_each(&segments), sizes.sum());
        Ok(Group { memory: editor.memory(&segments)?, segments, each, total })
    };
    groups.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_one_source_are_realigned_side_by_side_only_where_there_is_memory() {
        let (source, target) = (20 << 20, 20 << 20);
        let options = DiffOptions::default();
        let each = target + budget::realigning(source, target, &options);
        assert!(each > 5 * target, "copies of both files, and an index of the source");
        let memory = 300 << 20;
        let group = Group { segments: (0..8).collect(), memory, each, total: 8 * target };
        let jobs = NonZeroUsize::new(8).unwrap();
        for (room, threads_wanted) in [(0, 1), (each - 1, 1), (each, 2), (3 * each, 4), (20 * each, 8)] {
            let options = options.clone().memory(memory + room);
            assert_eq!(threads(&group, jobs, &options).get(), threads_wanted, "{room}");
        }
        let skims = options.skims(true);
        assert_eq!(budget::realigning(source, target, &skims), 0, "nothing is realigned");
    }
}
