//! The Huffman codes of literals: how counts become lengths, and how the lengths are described.

use super::frequencies::{frequencies, table_log};
use crate::zstd_blocks::bits::Writer;
use crate::zstd_blocks::fse::Table;
use crate::zstd_blocks::huffman::Code;

/// Fewest and most bits that the longest code may be granted.
const MIN_LOG: u32 = 5;
const MAX_LOG: u32 = 11;
/// Most bits of the table by which weights are coded.
const MAX_WEIGHT_LOG: u32 = 6;
/// Most weights that may be described without a table.
const MAX_PLAIN_WEIGHTS: usize = 128;

/// Makes the code for literals of these counts, and its description. `counts` ends with the last symbol that is there,
/// and two or more are.
///
/// `None` if there is no such code, or none that can be described.
pub(super) fn code(counts: &[u32]) -> Option<Made> {
    let lengths = lengths(counts)?;
    let log = lengths.iter().copied().max()?;
    let weights: Vec<u8> =
        lengths.iter().map(|length| if *length == 0 { 0 } else { log + 1 - length }).collect();
    let code = Code::of_weights(log.into(), &weights)?;
    Some(Made { code, weights })
}

/// A code, and the weights that describe it.
pub(super) struct Made {
    pub(super) code: Code,
    weights: Vec<u8>,
}

impl Made {
    /// Makes the description; `None` if there are too many symbols.
    pub(super) fn description(&self) -> Option<Vec<u8>> {
        // The last weight follows from the others.
        let (_, weights) = self.weights.split_last()?;
        if let Some(coded) = coded(weights).filter(|coded| coded.len() < self.weights.len() / 2) {
            let mut description = vec![u8::try_from(coded.len()).ok()?];
            description.extend(coded);
            return Some(description);
        }
        if weights.len() > MAX_PLAIN_WEIGHTS {
            return None;
        }
        let mut description = vec![u8::try_from(127 + weights.len()).ok()?];
        description.extend(weights.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)));
        Some(description)
    }
}

/// Codes weights by two states in turn; `None` if that is no use.
fn coded(weights: &[u8]) -> Option<Vec<u8>> {
    let mut counts = [0u32; 16];
    for weight in weights {
        *counts.get_mut(usize::from(*weight))? += 1;
    }
    let most = *counts.iter().max()?;
    let symbols = counts.iter().rposition(|count| *count > 0)? + 1;
    // Two weights are too few for two states.
    if weights.len() < 3 || most == 1 || usize::try_from(most) == Ok(weights.len()) {
        return None;
    }
    let log = table_log(weights.len(), weights.len() - 1, symbols, MAX_WEIGHT_LOG);
    let frequencies = frequencies(&counts[..symbols], log)?;
    let table = Table::new(&frequencies);
    let mut bits = Writer::behind(frequencies.write());
    let mut states: [Option<u32>; 2] = [None; 2];
    for (index, weight) in weights.iter().enumerate().rev() {
        let state = &mut states[index % 2];
        *state = Some(match *state {
            None => table.last(*weight)?,
            Some(state) => table.write(state, *weight, &mut bits)?,
        });
    }
    table.end(states[1]?, &mut bits);
    table.end(states[0]?, &mut bits);
    Some(bits.finish()).filter(|coded| coded.len() < weights.len())
}

/// Returns the length of the code of each symbol, 0 where it has none.
fn lengths(counts: &[u32]) -> Option<Vec<u8>> {
    let total: u32 = counts.iter().sum();
    let bits = |number: u32| number.checked_ilog2().unwrap_or(0);
    let symbols = u32::try_from(counts.len()).ok()?;
    let least = (bits(total) + 1).min(bits(symbols.saturating_sub(1)) + 2);
    let most = bits(total.saturating_sub(1)).checked_sub(1).map_or(MAX_LOG, |most| most.min(MAX_LOG));
    let most = most.max(least).clamp(MIN_LOG, MAX_LOG);

    let mut leaves: Vec<(u32, usize)> = counts.iter().copied().zip(0..).filter(|leaf| leaf.0 > 0).collect();
    // Symbols that are as frequent stay in their order.
    leaves.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let mut sizes = depths(&leaves)?;
    limit(&mut sizes, &leaves, most)?;
    let mut lengths = vec![0; counts.len()];
    for ((_, symbol), size) in leaves.iter().zip(sizes) {
        lengths[*symbol] = u8::try_from(size).ok()?;
    }
    Some(lengths)
}

/// Returns the depth of each leaf in the tree of Huffman. The most frequent leaf is the first.
fn depths(leaves: &[(u32, usize)]) -> Option<Vec<u32>> {
    const NONE: u32 = 1 << 30;
    let inner = leaves.len().checked_sub(1).filter(|inner| *inner > 0)?;
    let mut counts: Vec<u32> = Vec::with_capacity(inner);
    let mut parent_of_leaf = vec![0; leaves.len()];
    let mut parent_of_inner = vec![0; inner];
    // Leaves are taken from the last to the first, and the nodes above them in the order in which they were made.
    let (mut leaf, mut node) = (leaves.len(), 0);
    for parent in 0..inner {
        let mut count = 0;
        for _ in 0..2 {
            let of_leaf = leaf.checked_sub(1).map_or(2 * NONE, |leaf| leaves[leaf].0);
            let of_node = counts.get(node).copied().unwrap_or(NONE);
            // Where both are as frequent, the node is taken.
            if of_leaf < of_node {
                leaf -= 1;
                parent_of_leaf[leaf] = parent;
                count += of_leaf;
            } else {
                parent_of_inner[node] = parent;
                count += of_node;
                node += 1;
            }
        }
        counts.push(count);
    }
    let mut depth_of_inner = vec![0; inner];
    for node in (0..inner - 1).rev() {
        depth_of_inner[node] = depth_of_inner[parent_of_inner[node]] + 1;
    }
    Some(parent_of_leaf.iter().map(|parent| depth_of_inner[*parent] + 1).collect())
}

/// Makes no code longer than `most` bits: longer ones are cut, and others pay for it, from the rarest on of those that
/// cost least. `None` if there are too few places for that.
fn limit(sizes: &mut [u32], leaves: &[(u32, usize)], most: u32) -> Option<()> {
    let longest = *sizes.last()?;
    if longest <= most {
        return Some(());
    }
    // What is owed is counted in places of codes of `most` bits.
    let mut owed: i64 = 0;
    let mut kept = sizes.len();
    while *sizes.get(kept.checked_sub(1)?)? > most {
        kept -= 1;
        owed += (1 << (longest - most)) - (1i64 << (longest - sizes[kept]));
        sizes[kept] = most;
    }
    while kept > 0 && sizes[kept - 1] == most {
        kept -= 1;
    }
    owed >>= longest - most;
    // The rarest symbol of those that are so many bits shorter than `most`.
    let mut rarest: [Option<usize>; MAX_LOG as usize + 2] = [None; MAX_LOG as usize + 2];
    let mut size = most;
    for index in (0..kept).rev().filter(|index| sizes[*index] < most) {
        if sizes[index] < size {
            size = sizes[index];
            *rarest.get_mut((most - size) as usize)? = Some(index);
        }
    }
    while owed > 0 {
        let mut shorter = owed.ilog2() as usize + 1;
        while shorter > 1 {
            let (far, near) = (rarest.get(shorter).copied().flatten(), rarest[shorter.min(13) - 1]);
            if let Some(far) = far {
                let Some(near) = near else { break };
                if leaves[far].0 <= 2 * leaves[near].0 {
                    break;
                }
            }
            shorter -= 1;
        }
        while rarest.get(shorter)?.is_none() {
            shorter += 1;
        }
        owed -= 1 << (shorter - 1);
        let index = rarest[shorter]?;
        if rarest[shorter - 1].is_none() {
            rarest[shorter - 1] = Some(index);
        }
        sizes[index] += 1;
        let is_there = |before: &usize| most - sizes[*before] == u32::try_from(shorter).unwrap_or(0);
        rarest[shorter] = index.checked_sub(1).filter(is_there);
    }
    // More may have been paid than was owed.
    while owed < 0 {
        let longer = match rarest[1] {
            Some(index) => index + 1,
            None => {
                while kept > 0 && sizes[kept - 1] == most {
                    kept -= 1;
                }
                kept
            }
        };
        *sizes.get_mut(longer)? -= 1;
        rarest[1] = Some(longer);
        owed += 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_make_a_whole_code_whatever_the_counts() {
        let mut random = fastrand::Rng::with_seed(3);
        for turn in 0..2000 {
            let symbols = random.usize(2..=256);
            // Counts of all sizes, so that many codes would be too long.
            let mut counts: Vec<u32> = (0..symbols)
                .map(|_| {
                    let bits = random.u32(..if turn % 2 == 0 { 4 } else { 12 });
                    random.u32(..1 << bits)
                })
                .collect();
            counts[0] += 1;
            counts[symbols - 1] += 1;
            let lengths = lengths(&counts).expect("two symbols");
            let places: u32 = lengths.iter().filter(|length| **length > 0).map(|size| 1 << (11 - size)).sum();
            assert_eq!(places, 1 << 11, "{counts:?}");
            assert!(counts.iter().zip(&lengths).all(|(count, length)| (*count > 0) == (*length > 0)));
        }
    }

    #[test]
    fn a_description_says_the_code() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut described = 0;
        for _ in 0..500 {
            let symbols = random.usize(2..=256);
            let mut counts: Vec<u32> = (0..symbols)
                .map(|_| {
                    let bits = random.u32(..10);
                    random.u32(..1 << bits)
                })
                .collect();
            counts[0] += 1;
            counts[symbols - 1] += 1;
            let made = code(&counts).expect("two symbols");
            if let Some(description) = made.description() {
                let (read, size) = Code::read(&description).expect("a description");
                let literals: Vec<u8> =
                    (0..=255).zip(&counts).filter(|(_, count)| **count > 0).map(|(byte, _)| byte).collect();
                assert_eq!((size, read.encode(&literals)), (description.len(), made.code.encode(&literals)));
                described += 1;
            }
        }
        assert!(described > 400, "{described}");
    }
}
