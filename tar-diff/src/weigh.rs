//! Weighs each short step against carrying its bytes as a literal.
//!
//! A step costs a seek, an add and most often one more data op, and ops hardly compress. The same
//! bytes as a literal may cost next to nothing: zstd finds what an earlier literal holds too. So the
//! bits of both are estimated, the literal's by what a simple compressor with the history of the
//! op stream's literals would need, and the cheaper one is taken.

use std::num::NonZeroUsize;

use crate::edit::Step;
use crate::gram_index::common_prefix;

/// The distance in bytes between the strings of the literals that are remembered to weigh others, when skimming. A
/// repeat that is found by one of them seems a few bytes shorter then.
pub(crate) const SKIMMED_LITERALS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// Longest step in bytes that is weighed: a longer one is worth its ops.
pub(crate) const MAX_WEIGHED_SIZE: u64 = 512;
/// Bits that an op costs in the compressed delta, with what it breaks up: matches of zstd that would
/// go on over it, here and where the same content comes again. Measured: in programs half as much
/// or twice as much makes deltas 0.5% larger; text repeats itself more.
const OP_BITS: u32 = 56;
const OP_BITS_IN_TEXT: u32 = 128;
/// The same for an op of a relocated op, where those of all blocks stand together.
const BLOCK_BITS: u32 = 40;
/// First bytes of a file that tell whether it is text: one that has no zero byte.
pub(crate) const SNIFFED_SIZE: u64 = 1024;
/// Ops that the cost of opening a file equals: its path is in the header just before, most often.
const OPEN_OPS: u32 = 2;
/// Bits that a differing byte of a step costs: its own, and what tells where it stands, less what it has
/// in common with others.
const DIFFERENCE_BITS: u32 = 8;
/// Bits that a match in the history costs, beside those of its distance.
const MATCH_BITS: u32 = 8;
/// Bytes that a match in the history must have.
const MIN_HISTORY_MATCH: usize = 6;
/// Bytes of history that are kept: the window of zstd's high levels.
const HISTORY_SIZE: usize = 8 << 20;
/// Bytes that are added to the history at once.
pub(crate) const CHUNK_SIZE: usize = HISTORY_SIZE / 8;
/// Base-2 logarithm of the places in the table of the history.
const TABLE_LOG: u32 = 19;
/// Literals after which their frequencies are counted anew, so that they follow the content.
const MAX_COUNTED: usize = 1 << 16;

/// The ops that a step costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ops {
    count: u32,
    bits_of_one: u32,
}

impl Ops {
    /// The ops of a file: of the opening of the source, if the delta reads nothing else of it.
    pub(crate) fn of_file(opens: bool, is_text: bool) -> Self {
        let bits_of_one = if is_text { OP_BITS_IN_TEXT } else { OP_BITS };
        Self { count: if opens { OPEN_OPS } else { 0 }, bits_of_one }
    }

    /// The same, and `others`.
    pub(crate) fn and(self, others: impl IntoIterator<Item = bool>) -> Self {
        let others: u32 = others.into_iter().map(u32::from).sum();
        Self { count: self.count + others, ..self }
    }

    const fn bits(self) -> u32 {
        self.count * self.bits_of_one
    }
}

/// The literals of the op stream so far, by which the cost of others is told.
#[derive(Debug)]
pub(crate) struct Weigher {
    history: Vec<u8>,
    /// Bytes of literals there were in all.
    total: usize,
    /// By the hash of six bytes, where they stood last: the value of `total` there.
    table: Vec<usize>,
    counts: [u32; 256],
    counted: usize,
    /// Bits of each byte as a literal without a match.
    bits: [u32; 256],
    /// Every how many bytes of the literals a string is remembered, and a byte counted.
    stride: usize,
}

impl Weigher {
    pub(crate) fn new(stride: NonZeroUsize) -> Self {
        Self {
            stride: stride.get(),
            history: Vec::new(),
            total: 0,
            table: vec![0; 1 << TABLE_LOG],
            counts: [1; 256],
            counted: 256,
            bits: [8; 256],
        }
    }

    /// Returns true if the stretch `target` costs less as a literal than as differences from `along`.
    pub(crate) fn is_cheaper(&self, target: &[u8], along: &[u8], ops: Ops) -> bool {
        self.is_cheaper_as(target, (target, along), ops)
    }

    /// The same of a stretch that is carried as `literal`.
    fn is_cheaper_as(&self, literal: &[u8], (target, along): (&[u8], &[u8]), ops: Ops) -> bool {
        let differing: u32 = target.iter().zip(along).map(|(left, right)| u32::from(left != right)).sum();
        self.literal_bits(literal) < ops.bits() + differing * DIFFERENCE_BITS
    }

    /// Bits that the bytes would cost as a literal here.
    fn literal_bits(&self, bytes: &[u8]) -> u32 {
        let (mut bits, mut position) = (0, 0);
        while let Some(&byte) = bytes.get(position) {
            let rest = &bytes[position..];
            match self.match_in_history(rest) {
                Some((distance, size)) => {
                    bits += MATCH_BITS + distance.ilog2();
                    position += size;
                }
                None => {
                    bits += self.bits[usize::from(byte)];
                    position += 1;
                }
            }
        }
        bits
    }

    /// Distance and size of a match of a prefix of `bytes` that the history ends with.
    fn match_in_history(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let place = place(bytes.first_chunk()?);
        let distance = self.total - self.table[place];
        let start = self.history.len().checked_sub(distance)?;
        let size = common_prefix(&self.history[start..], bytes);
        (size >= MIN_HISTORY_MATCH).then_some((distance, size))
    }

    /// Adds bytes that the delta carries to the history: a stretch whole, or in pieces of
    /// [`CHUNK_SIZE`], since what begins in one and ends in the next is not found again.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.history.len() + bytes.len() > 2 * HISTORY_SIZE {
            self.history.drain(..self.history.len() - HISTORY_SIZE);
        }
        for (offset, window) in bytes.windows(MIN_HISTORY_MATCH).enumerate().step_by(self.stride) {
            self.table[window.first_chunk().map_or(0, place)] = self.total + offset;
        }
        self.total += bytes.len();
        self.history.extend_from_slice(bytes);
        for &byte in bytes.iter().step_by(self.stride) {
            self.counts[usize::from(byte)] += 1;
        }
        self.counted += bytes.len().div_ceil(self.stride);
        if self.counted > MAX_COUNTED {
            self.set_bits();
        }
    }

    /// Sets the bits of each byte from how often it came, and halves what was counted.
    fn set_bits(&mut self) {
        let sum: u32 = self.counts.iter().sum();
        for (bits, count) in self.bits.iter_mut().zip(&mut self.counts) {
            *bits = (sum / *count).ilog2().max(1);
            *count = (*count / 2).max(1);
        }
        self.counted = MAX_COUNTED / 2;
    }
}

/// Returns the steps with those that cost more than they save carried as literals. `carried` is the target as it is
/// carried, where source and target are compared in other forms.
pub(crate) fn settled(
    steps: &[Step],
    (source, target): (&[u8], &[u8]),
    carried: &[u8],
    stride: NonZeroUsize,
) -> Vec<Step> {
    let index = |size: u64| usize::try_from(size).expect("files in memory");
    let mut weigher = Weigher::new(stride);
    let mut settled: Vec<Step> = Vec::with_capacity(steps.len());
    let mut position = 0;
    for (number, step) in steps.iter().enumerate() {
        let (start, add) = (index(step.source), index(step.add));
        let end = position + add + index(step.literal);
        let ops = Ops { count: 0, bits_of_one: BLOCK_BITS }.and([
            number > 0 || step.source > 0,
            settled.last().is_some_and(|last| last.literal > 0),
            step.literal > 0,
        ]);
        let is_short = add > 0 && step.add <= MAX_WEIGHED_SIZE;
        let is_carried = is_short
            && weigher.is_cheaper_as(
                &carried[position..position + add],
                (&target[position..position + add], &source[start..start + add]),
                ops,
            );
        let new = if is_carried { position..end } else { position + add..end };
        match settled.last_mut() {
            Some(last) if is_carried => last.literal += step.add + step.literal,
            _ if is_carried => settled.push(Step { source: 0, add: 0, literal: step.add + step.literal }),
            _ => settled.push(*step),
        }
        carried[new].chunks(CHUNK_SIZE).for_each(|chunk| weigher.append(chunk));
        position = end;
    }
    settled
}

/// Place of six bytes in the table.
fn place(gram: &[u8; MIN_HISTORY_MATCH]) -> usize {
    let mut word = [0; 8];
    word[..MIN_HISTORY_MATCH].copy_from_slice(gram);
    let hash = u64::from_le_bytes(word).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TABLE_LOG);
    usize::try_from(hash).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gear::mix;

    fn noise(size: u64) -> Vec<u8> {
        (0..size).map(|index| mix(index).to_be_bytes()[0]).collect()
    }

    #[test]
    fn what_the_history_holds_is_cheap() {
        let content = noise(40_000);
        let mut weigher = Weigher::new(NonZeroUsize::MIN);
        content.chunks(999).for_each(|chunk| weigher.append(chunk));
        let repeated = &content[500..620];
        let changed: Vec<u8> = repeated.iter().map(|byte| byte ^ 0x55).collect();
        assert!(weigher.literal_bits(repeated) < 100, "{}", weigher.literal_bits(repeated));
        assert!(weigher.literal_bits(&changed) > 700, "{}", weigher.literal_bits(&changed));
        let ops = Ops::of_file(false, false).and([true; 3]);
        assert!(weigher.is_cheaper(repeated, repeated, ops));
        assert!(!weigher.is_cheaper(&changed, &changed, ops));
    }

    #[test]
    fn frequent_bytes_cost_less() {
        let mut weigher = Weigher::new(NonZeroUsize::MIN);
        for _ in 0..40 {
            weigher.append(&[b'a'; 1500]);
            weigher.append(&noise(500));
        }
        assert!(weigher.bits[usize::from(b'a')] < 3);
        assert!(weigher.bits[usize::from(b'b')] > 6);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut weigher = Weigher::new(NonZeroUsize::MIN);
        let chunk = noise(1 << 20);
        for _ in 0..40 {
            weigher.append(&chunk);
        }
        assert!(weigher.history.len() <= 2 * HISTORY_SIZE);
        assert!(weigher.literal_bits(&chunk[1000..1100]) < 100);
    }
}
