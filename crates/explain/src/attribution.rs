//! Charges each byte of a delta to a file, exactly.
//!
//! The ops are read from one decoder, the blocks (or chunks of LZMA2) beneath them from another, side by
//! side. Each byte of the op stream costs its bits in the block that holds it. Once a block is used up, its
//! size in bytes is divided among the files in proportion to their bits; what rounding leaves goes to the
//! largest remainders. So the costs add up to the size of the delta.

use std::io::{self, Read};

use crate::blocks::Block;
use crate::compressed::Compressed;

/// The parts of the op stream that cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Codes, sizes and source paths of ops.
    Ops,
    /// Payload of `data` ops, and new bytes of `relocated` ops.
    Data,
    /// Payload of `add_data` ops, and differences to predicted bytes.
    Add,
    /// Payload of `zstd_dict` ops.
    Frames,
    /// Payload of `relocated` ops but for the differences and the new bytes.
    Relocated,
    /// Lists of streams of sources that are decoded, and of stretches that are encoded, with their recipes.
    Streams,
    /// Lists of headers.
    Headers,
}

/// The number of parts.
const PARTS: usize = 7;

/// Bytes of the delta, by part.
pub(crate) type PartCosts = [u64; PARTS];

pub(crate) struct Attribution<R> {
    blocks: Compressed<R>,
    block: Block,
    /// Bytes of the block that are charged.
    charged: usize,
    /// The items that share the block, and their bits.
    shares: Vec<Share>,
    costs: Vec<PartCosts>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    item: usize,
    part: Part,
    bits: u64,
}

impl<R: Read> Attribution<R> {
    pub(crate) fn new(delta: R, items: usize) -> io::Result<Self> {
        let block = Block { size: 0, costs: Vec::new() };
        let blocks = Compressed::new(delta)?;
        Ok(Self { blocks, block, charged: 0, shares: Vec::new(), costs: vec![[0; PARTS]; items] })
    }

    /// Charges the next `size` bytes of the op stream to a part of an item.
    pub(crate) fn charge(&mut self, item: usize, part: Part, mut size: u64) -> io::Result<()> {
        while size > 0 {
            let left = &self.block.costs[self.charged..];
            if left.is_empty() {
                self.settle();
                self.block = self.blocks.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                self.charged = 0;
                continue;
            }
            let taken = usize::try_from(size).map_or(left.len(), |size| size.min(left.len()));
            let bits = left[..taken].iter().map(|bits| u64::from(*bits)).sum();
            match self.shares.last_mut() {
                Some(share) if (share.item, share.part) == (item, part) => share.bits += bits,
                _ => self.shares.push(Share { item, part, bits }),
            }
            self.charged += taken;
            size -= taken as u64;
        }
        Ok(())
    }

    /// Reads what is left of the delta. Gives the costs of all items, and the size of the delta.
    pub(crate) fn finish(mut self) -> io::Result<(Vec<PartCosts>, u64)> {
        self.settle();
        while self.blocks.next()?.is_some() {}
        Ok((self.costs, self.blocks.total_size()))
    }

    fn settle(&mut self) {
        let weights: Vec<u64> = self.shares.iter().map(|share| share.bits).collect();
        for (share, bytes) in self.shares.iter().zip(divide(self.block.size, &weights)) {
            self.costs[share.item][share.part as usize] += bytes;
        }
        self.shares.clear();
    }
}

/// Divides `total` in proportion to `weights`, evenly if all are 0. The parts add up to `total`.
fn divide(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let even = u128::from(sum == 0);
    let sum = sum + even * weights.len() as u128;
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let product = u128::from(total) * (u128::from(*weight) + even);
        parts.push(u64::try_from(product / sum).expect("a share of a 64 bit number"));
        remainders.push((std::cmp::Reverse(product % sum), index));
    }
    remainders.sort_unstable();
    let rest = total - parts.iter().sum::<u64>();
    for (_, index) in remainders.into_iter().zip(0..rest).map(|(remainder, _)| remainder) {
        parts[index] += 1;
    }
    parts
}

impl<R> std::fmt::Debug for Attribution<R> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Attribution").field("charged", &self.charged).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        for (total, weights, parts) in [
            (10, &[1, 1, 1][..], &[4, 3, 3][..]),
            (10, &[0, 0], &[5, 5]),
            (3, &[0, 5, 0], &[0, 3, 0]),
            (1, &[1, 2, 4], &[0, 0, 1]),
            (0, &[1, 2], &[0, 0]),
            (u64::MAX, &[u64::MAX, u64::MAX], &[u64::MAX / 2 + 1, u64::MAX / 2]),
            (7, &[], &[]),
        ] {
            let divided = divide(total, weights);
            assert_eq!(divided, parts);
            assert!(weights.is_empty() || divided.iter().sum::<u64>() == total);
        }
    }
}
