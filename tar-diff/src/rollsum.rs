//! Content-defined chunks: for files too large for a suffix array.
//!
//! Both files are cut where a rolling hash says so; a chunk of the target whose digest the source
//! has is taken from there. Memory is about 1% of the source, whatever its size.

use std::collections::HashMap;
use std::ops::Range;

use layer::Spool;

use crate::Result;
use crate::edit::Step;
use crate::gear::Gear;

/// Smallest chunk in bytes: bounds the number of chunks.
const MIN_CHUNK: u64 = 512;
/// Largest chunk in bytes: bounds what one change costs where the hash never cuts.
const MAX_CHUNK: u64 = 16 << 10;
/// Bits of the hash that must be zero at a cut: chunks of 2 KiB on average beyond the smallest.
const CUT_BITS: u32 = 11;
/// Bytes that are read at once.
const READ_SIZE: usize = 1 << 20;

/// The chunks of a source: one table for all the targets that are made of it.
#[derive(Debug)]
pub(crate) struct Chunks(HashMap<u64, u64>);

impl Chunks {
    /// Cuts the file at `source`.
    ///
    /// # Errors
    /// If the layer cannot be read.
    pub(crate) fn of(source: (&Spool, Range<u64>)) -> Result<Self> {
        let mut known: HashMap<u64, u64> = HashMap::new();
        for_each_cut(source, |chunk, digest| {
            known.entry(digest).or_insert(chunk.start);
        })?;
        Ok(Self(known))
    }

    /// The steps that make the file at `target` of the source.
    ///
    /// # Errors
    /// If the layer cannot be read.
    pub(crate) fn edit(&self, target: (&Spool, Range<u64>)) -> Result<Vec<Step>> {
        let mut steps: Vec<Step> = Vec::new();
        for_each_cut(target, |chunk, digest| {
            push(&mut steps, self.0.get(&digest).copied(), chunk.end - chunk.start);
        })?;
        Ok(steps)
    }
}

/// Adds a chunk: from the source if it has it. A digest that collides costs bytes, not exactness:
/// what is emitted is the difference.
fn push(steps: &mut Vec<Step>, source: Option<u64>, size: u64) {
    match (steps.last_mut(), source) {
        (Some(last), Some(source)) if last.literal == 0 && last.source + last.add == source => {
            last.add += size
        }
        (_, Some(source)) => steps.push(Step { source, add: size, literal: 0 }),
        (Some(last), None) => last.literal += size,
        (None, None) => steps.push(Step { source: 0, add: 0, literal: size }),
    }
}

/// Calls `take` with the range, relative to the file, and the digest of each chunk.
fn for_each_cut(file: (&Spool, Range<u64>), mut take: impl FnMut(Range<u64>, u64)) -> Result<()> {
    let (spool, range) = file;
    let size = range.end - range.start;
    let mut gear = Gear::<1>::default();
    let mut hasher = blake3::Hasher::new();
    let (mut start, mut position) = (0, 0);
    spool.for_each_chunk(range, READ_SIZE, |bytes| -> Result<()> {
        let mut unhashed = 0;
        for (index, &byte) in bytes.iter().enumerate() {
            position += 1;
            let is_cut = gear.roll(byte) >> (u64::BITS - CUT_BITS) == 0;
            let chunk_size = position - start;
            if is_cut && chunk_size >= MIN_CHUNK || chunk_size == MAX_CHUNK || position == size {
                hasher.update(&bytes[unhashed..=index]);
                take(start..position, short_digest(&hasher));
                hasher.reset();
                unhashed = index + 1;
                start = position;
            }
        }
        hasher.update(&bytes[unhashed..]);
        Ok(())
    })
}

fn short_digest(hasher: &blake3::Hasher) -> u64 {
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::covered;
    use crate::gear::mix;

    fn spool(bytes: &[u8]) -> Spool {
        Spool::read("test".into(), bytes, &layer::SpoolOptions::default()).unwrap()
    }

    fn edit(source: &Spool, target: &Spool) -> Vec<Step> {
        let chunks = Chunks::of((source, 0..source.size())).unwrap();
        chunks.edit((target, 0..target.size())).unwrap()
    }

    #[test]
    fn unchanged_parts_come_from_the_source() {
        let source: Vec<u8> = (0..300_000).map(|index| mix(index).to_be_bytes()[0]).collect();
        let target = [&source[..100_000], b"inserted", &source[150_000..], &source[..50_000]].concat();
        let (old, new) = (spool(&source), spool(&target));
        let steps = edit(&old, &new);
        covered(&steps, &source, &target);
        let literal: u64 = steps.iter().map(|step| step.literal).sum();
        assert!(literal < 40_000, "{literal} of {} bytes are literal", target.len());
    }

    #[test]
    fn empty_files_have_no_steps() {
        let empty = spool(b"");
        assert_eq!(edit(&empty, &empty), []);
    }
}
