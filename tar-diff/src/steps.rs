//! Writes the ops of the steps of an edit.

use std::io::Write;
use std::ops::Range;

use delta_format::{OpWriter, SourceRef};
use layer::Spool;

use crate::edit::Step;
use crate::sides::Pair;
use crate::weigh::{self, MAX_WEIGHED_SIZE, Ops, SNIFFED_SIZE, Weigher};
use crate::{Result, Stats};

/// Bytes of source and target that are compared at once.
const CHUNK_SIZE: usize = 256 << 10;
/// Equal bytes in a row from which on they are copied and not added: shorter runs cost more as ops
/// than as zeros. At an end of a stretch a copy is one op more, inside it two, and the differences
/// there, which often look alike for a long way, are torn apart.
const MIN_COPY_AT_END: usize = 64;
const MIN_COPY_INSIDE: usize = 1024;

/// Writes the ops of one file. With a weigher, short steps that cost more than they save are carried as
/// literals.
pub(crate) fn write_steps<W: Write>(
    writer: &mut OpWriter<W>,
    mut weigher: Option<&mut Weigher>,
    steps: &[Step],
    pair: Pair<'_>,
    stats: &mut Stats,
) -> Result<()> {
    let Pair { name, source: (old, source), target: (new, target) } = pair;
    let sniffed = new.read_range(target.start..target.end.min(target.start + SNIFFED_SIZE))?;
    let ops = Ops::of_file(steps.len() == 1, !sniffed.contains(&0));
    let mut position = target.start;
    let room = usize::try_from(target.end - target.start).unwrap_or(CHUNK_SIZE).min(CHUNK_SIZE);
    let (mut along, mut bytes) = (vec![0; room], vec![0; room]);
    // Tells whether the step before ends with a literal; `None` before the first.
    let mut last_carries = None;
    for (index, step) in steps.iter().enumerate() {
        let end = position + step.add;
        let mut offset = step.source;
        let mut carried = end..end + step.literal;
        while position < end {
            let size = usize::try_from(end - position).unwrap_or(CHUNK_SIZE).min(CHUNK_SIZE);
            let (along, bytes) = (&mut along[..size], &mut bytes[..size]);
            old.read_exact_at(along, source.start + offset)?;
            new.read_exact_at(bytes, position)?;
            if let Some(weigher) = weigher.as_deref().filter(|_| step.add <= MAX_WEIGHED_SIZE) {
                let seeks = index > 0 || step.source > 0;
                // Of the data ops before and after the step one would be left, or one made.
                let ops = ops.and([seeks, last_carries == Some(true), step.literal > 0]);
                if weigher.is_cheaper(bytes, along, ops) {
                    carried.start = position;
                    break;
                }
            }
            write_difference(writer, name, offset, along, bytes)?;
            offset += size as u64;
            position += size as u64;
        }
        position = carried.end;
        let is_joined = carried.start < end && last_carries.is_some();
        stats.steps += u64::from(!is_joined);
        stats.similar_literal_size += carried.end - carried.start;
        last_carries = Some(!carried.is_empty());
        write_literal(writer, weigher.as_deref_mut(), new, carried)?;
    }
    Ok(())
}

/// Writes bytes that the delta carries.
pub(crate) fn write_literal<W: Write>(
    writer: &mut OpWriter<W>,
    mut weigher: Option<&mut Weigher>,
    spool: &Spool,
    range: Range<u64>,
) -> Result<()> {
    spool.for_each_chunk(range, weigh::CHUNK_SIZE, |bytes| {
        if let Some(weigher) = &mut weigher {
            weigher.append(bytes);
        }
        Ok(writer.literal(bytes)?)
    })
}

/// Writes a stretch of the target that lies along the source from `offset` on: long equal runs as
/// copies, the rest as differences. `along` holds the source's bytes and is overwritten.
fn write_difference<W: Write>(
    writer: &mut OpWriter<W>,
    source: SourceRef<'_>,
    offset: u64,
    along: &mut [u8],
    target: &[u8],
) -> Result<()> {
    for (along, target) in along.iter_mut().zip(target) {
        *along = target.wrapping_sub(*along);
    }
    let mut start = 0;
    let mut zeros = 0;
    let add = |writer: &mut OpWriter<W>, from: usize, to: usize, difference: &[u8]| {
        writer.add(source, offset + from as u64, &difference[from..to])
    };
    for index in 0..=along.len() {
        if along.get(index) == Some(&0) {
            zeros += 1;
            continue;
        }
        let run = index - zeros;
        let at_end = run == 0 || index == along.len();
        let min_copy = if at_end { MIN_COPY_AT_END } else { MIN_COPY_INSIDE };
        // A run that fills the chunk may go on in the next one; the writer merges copies.
        if zeros >= min_copy || zeros == along.len() && zeros > 0 {
            add(writer, start, run, along)?;
            writer.copy(source, offset + run as u64, zeros as u64)?;
            start = index;
        }
        zeros = 0;
    }
    Ok(add(writer, start, along.len(), along)?)
}
