//! The Huffman codes and the kind of a block, as libdeflate chooses them of the frequencies of its symbols.

use super::go_codes::Codes;
use super::reader::Kind;
use super::token::MAX_STORED;
use super::trees::{Frequencies, Header, MAX_BITS, static_lengths};

/// Longest code of a literal or a length. Four of them fit a word that the encoder fills.
const MAX_LITERAL_BITS: usize = 14;
/// Bits in front of what [`Header::bits`] counts.
const HEADER_START: u64 = 3;

/// Returns the lengths of the codes for these frequencies, 0 where a symbol has none. At least two symbols have one.
fn lengths<const SYMBOLS: usize>(frequencies: &[u32; SYMBOLS], max_bits: usize) -> [u8; SYMBOLS] {
    let mut lengths = [0; SYMBOLS];
    let mut leaves: Vec<(u32, u16)> =
        (0..).zip(frequencies).map(|(symbol, count)| (*count, symbol)).collect();
    leaves.retain(|(count, _)| *count > 0);
    if leaves.len() < 2 {
        let used = leaves.first().map_or(0, |(_, symbol)| usize::from(*symbol));
        lengths[0] = 1;
        lengths[used.max(1)] = 1;
        return lengths;
    }
    leaves.sort_unstable();
    let mut rarest = leaves.iter().map(|(_, symbol)| usize::from(*symbol));
    for (bits, count) in of_bits(&parents(&leaves), max_bits).into_iter().enumerate().skip(1).rev() {
        for symbol in rarest.by_ref().take(count) {
            lengths[symbol] = u8::try_from(bits).unwrap_or(0);
        }
    }
    lengths
}

/// Returns the parent of each inner node, by number, in the order in which they are joined; the root is the last, and
/// has none. Of equal ones, a leaf is joined before an inner node.
fn parents(leaves: &[(u32, u16)]) -> Vec<usize> {
    let mut counts: Vec<u32> = Vec::with_capacity(leaves.len() - 1);
    let mut parents = vec![0; leaves.len() - 1];
    let (mut leaf, mut inner) = (0, 0);
    for node in 0..leaves.len() - 1 {
        let mut sum = 0_u32;
        for _ in 0..2 {
            let is_leaf = match (leaves.get(leaf), counts.get(inner)) {
                (Some((of_leaf, _)), Some(of_inner)) => of_leaf <= of_inner,
                (of_leaf, _) => of_leaf.is_some(),
            };
            let count = if is_leaf {
                leaf += 1;
                leaves[leaf - 1].0
            } else {
                parents[inner] = node;
                inner += 1;
                counts[inner - 1]
            };
            sum = sum.saturating_add(count);
        }
        counts.push(sum);
    }
    parents
}

/// Returns how many codes have each number of bits. A node that is too deep takes the place of the deepest code that
/// can be longer.
fn of_bits(parents: &[usize], max_bits: usize) -> [usize; MAX_BITS + 1] {
    let mut counts = [0; MAX_BITS + 1];
    counts[1] = 2;
    let mut depths = vec![0; parents.len()];
    for node in (0..parents.len() - 1).rev() {
        let mut depth = depths[parents[node]] + 1;
        depths[node] = depth;
        if depth >= max_bits {
            depth = max_bits - 1;
            while counts[depth] == 0 {
                depth -= 1;
            }
        }
        counts[depth] -= 1;
        counts[depth + 1] += 2;
    }
    counts
}

/// Returns the header of a block of new codes. Before version 1.19 a block without references has no code of a
/// distance.
fn header(frequencies: &Frequencies, is_earlier: bool) -> (Codes, Header) {
    let mut codes = Codes {
        literals: lengths(&frequencies.literals, MAX_LITERAL_BITS),
        distances: lengths(&frequencies.distances, MAX_BITS),
    };
    if is_earlier && frequencies.distances.iter().all(|count| *count == 0) {
        codes.distances.fill(0);
    }
    let header = codes.header_by(lengths);
    (codes, header)
}

/// Returns the kind of block that takes fewest bits, and the bits of the last byte that are written then. `stored` is
/// the number of plain bytes, if they may be stored, and `bit` the number of bits that are written of the byte in which
/// the block begins. What is stored in several blocks begins with a full one.
pub(super) fn kind(
    frequencies: &Frequencies,
    stored: Option<usize>,
    bit: u8,
    is_earlier: bool,
) -> (Kind, u8) {
    let (codes, header) = header(frequencies, is_earlier);
    let new = HEADER_START + header.bits() + frequencies.bits(&codes.literals, &codes.distances);
    let (literals, distances) = static_lengths();
    let fixed = HEADER_START + frequencies.bits(&literals, &distances);
    let padding = (u64::from(bit) + HEADER_START).next_multiple_of(8) - u64::from(bit) - HEADER_START;
    let of_stored = |size: usize| {
        let further = (size.div_ceil(MAX_STORED) as u64).saturating_sub(1);
        HEADER_START + padding + 32 + 40 * further + 8 * size as u64
    };
    let behind = |bits: u64| u8::try_from((u64::from(bit) + bits) % 8).unwrap_or(0);
    if let Some(size) = stored.filter(|size| of_stored(*size) <= new.min(fixed)) {
        let size = u16::try_from(size.min(MAX_STORED)).unwrap_or(u16::MAX);
        (Kind::Stored { size, padding: 0 }, 0)
    } else if fixed <= new {
        (Kind::Static, behind(fixed))
    } else {
        (Kind::Dynamic(header), behind(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_deep_codes_are_made_of_the_deepest_that_can_be_longer() {
        let frequencies: [u32; 20] = std::array::from_fn(|symbol| 1 << symbol);
        let lengths = lengths(&frequencies, 7);
        assert_eq!(lengths.iter().max(), Some(&7));
        let filled: u32 = lengths.iter().map(|bits| 1 << (7 - bits)).sum();
        assert_eq!(filled, 1 << 7, "{lengths:?}");
    }

    #[test]
    fn two_symbols_have_codes_at_least() {
        assert_eq!(lengths(&[0, 0, 0], 7), [1, 1, 0]);
        assert_eq!(lengths(&[5, 0, 0], 7), [1, 1, 0]);
        assert_eq!(lengths(&[0, 0, 5], 7), [1, 0, 1]);
    }
}
