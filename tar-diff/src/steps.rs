//! Writes the ops of the steps of an edit.

use std::io::Write;

use delta_format::{OpWriter, SourceRef};

use crate::edit::Step;
use crate::sides::Pair;
use crate::{Result, Stats};

/// Bytes of source and target that are compared at once.
const CHUNK_SIZE: usize = 256 << 10;
/// Equal bytes in a row from which on they are copied and not added: shorter runs cost more as ops
/// than as zeros. At an end of a stretch a copy is one op more, inside it two, and the differences
/// there, which often look alike for a long way, are torn apart.
const MIN_COPY_AT_END: usize = 64;
const MIN_COPY_INSIDE: usize = 1024;

/// Writes the ops of one file.
pub(crate) fn write_steps<W: Write>(
    writer: &mut OpWriter<W>,
    steps: &[Step],
    pair: Pair<'_>,
    stats: &mut Stats,
) -> Result<()> {
    let Pair { name, source: (old, source), target: (new, target) } = pair;
    let mut target = target.start;
    let mut along = vec![0; CHUNK_SIZE];
    for step in steps {
        let mut offset = step.source;
        new.for_each_chunk(target..target + step.add, CHUNK_SIZE, |bytes| -> Result<()> {
            let along = &mut along[..bytes.len()];
            old.read_exact_at(along, source.start + offset)?;
            write_difference(writer, name, offset, along, bytes)?;
            offset += bytes.len() as u64;
            Ok(())
        })?;
        target += step.add;
        new.for_each_chunk(target..target + step.literal, CHUNK_SIZE, |bytes| -> Result<()> {
            Ok(writer.literal(bytes)?)
        })?;
        target += step.literal;
        stats.steps += 1;
        stats.similar_literal_size += step.literal;
    }
    Ok(())
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
