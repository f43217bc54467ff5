//! The Huffman codes of literals: how counts become lengths, and how the lengths are described.

use crate::zstd_blocks::frequencies::Rarest;
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::lengths::{MAX_LOG, lengths_of};
use crate::zstd_blocks::weights::{coded, description};

/// Fewest bits that the longest code may be granted.
const MIN_LOG: u32 = 5;

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
        let coded = coded(weights, weights.len().saturating_sub(1), Rarest::LessThanOne);
        description(weights, coded.filter(|coded| coded.len() < self.weights.len() / 2))
    }
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
    lengths_of(&leaves, counts.len(), most)
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
                let [read, made] =
                    [&read, &made.code].map(|code| code.encode_streams(Vec::new(), &literals, false));
                assert_eq!((size, read), (description.len(), made));
                described += 1;
            }
        }
        assert!(described > 400, "{described}");
    }
}
