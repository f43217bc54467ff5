//! The Huffman codes and the kind of a block, as igzip (isa-l) chooses them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::go_codes::Codes;
use super::reader::Kind;
use super::token::{DISTANCE_CODES, LITERAL_CODES, MAX_STORED};
use super::trees::{Frequencies, Header, LENGTH_SYMBOLS, MAX_BITS, static_lengths};

/// Bits in front of what [`Header::bits`] counts.
const HEADER_START: u64 = 3;

/// The lengths of the codes at level 0, a hexadecimal digit each.
const PRESET_LITERALS: &[u8; LITERAL_CODES] = b"\
    68988999997998999aaaabbbabbbaba95a9aaaa999aa788a888999999999aa999889999999aa99999a999aaaaabaabba\
    a687768876a977767a66779898ababaa9bbbbbbbbbbabbbaabbbbbbbbbbbbbbbabbbababbbbbbbbbabbbabbbbbbbbabb\
    9a99bbbabbbbbbbaabbbbbbbbbbbbbbb9bbabbbaabbbbbbb9ababbbbaabbaa98ff2445677588889aaaaaabcddcdffb";
const PRESET_DISTANCES: &[u8; DISTANCE_CODES] = b"898987766655554445454535454556";

/// The lengths of the codes of these lengths.
const PRESET_CODES: [u8; LENGTH_SYMBOLS] = [0, 0, 6, 7, 6, 4, 4, 4, 4, 3, 2, 2, 7, 7, 0, 7, 4, 0, 0];

/// A tree of codes that is being made. A node is a leaf, by its symbol, or a pair of others.
struct Tree {
    /// The two nodes of each pair.
    pairs: Vec<(usize, usize)>,
    leaves: usize,
}

impl Tree {
    /// Joins the rarest two nodes until one is left. Of equally rare ones, a leaf comes before a pair, the lower symbol
    /// before the higher, and the pair that was made last before the others.
    fn new(frequencies: &[u32]) -> Self {
        let leaves = frequencies.len();
        let mut pairs = Vec::new();
        let mut nodes: BinaryHeap<_> = (0..leaves)
            .filter(|symbol| frequencies[*symbol] > 0)
            .map(|symbol| Reverse((frequencies[symbol], symbol.cast_signed(), symbol)))
            .collect();
        while let (Some(Reverse(first)), Some(Reverse(second))) = (nodes.pop(), nodes.pop()) {
            let node = leaves + pairs.len();
            pairs.push((first.2, second.2));
            let order = isize::MAX - node.cast_signed();
            if nodes.is_empty() {
                break;
            }
            nodes.push(Reverse((first.0.saturating_add(second.0), order, node)));
        }
        Self { pairs, leaves }
    }

    /// Returns the symbols and the lengths of their codes, from the root on: of a pair, the second node comes first.
    fn lengths(&self) -> Vec<(usize, usize)> {
        // The nodes stand as they were joined, the first at the end.
        let mut depths = vec![0; self.pairs.len()];
        let mut found = Vec::new();
        for (index, (first, second)) in self.pairs.iter().enumerate().rev() {
            let depth = depths[index] + 1;
            for node in [*second, *first] {
                match node.checked_sub(self.leaves) {
                    Some(pair) => depths[pair] = depth,
                    None => found.push((node, depth)),
                }
            }
        }
        found
    }
}

/// Returns the lengths of the codes for these frequencies, 0 where a symbol has none. At least two symbols have one.
fn lengths<const SYMBOLS: usize>(frequencies: &[u32; SYMBOLS], max_bits: usize) -> [u8; SYMBOLS] {
    let mut frequencies = *frequencies;
    let mut used = (0..SYMBOLS).filter(|symbol| frequencies[*symbol] > 0);
    match (used.next(), used.next()) {
        (None, _) => frequencies[..2].fill(1),
        (Some(symbol), None) => frequencies[usize::from(symbol == 0)] = 1,
        _ => {}
    }
    let mut leaves = Tree::new(&frequencies).lengths();
    limit(&mut leaves, max_bits);
    let mut lengths = [0; SYMBOLS];
    for (symbol, bits) in leaves {
        lengths[symbol] = u8::try_from(bits).unwrap_or(0);
    }
    lengths
}

/// Makes codes that are too long shorter: two of the longest become one and a half of the deepest that can be longer.
fn limit(leaves: &mut [(usize, usize)], max_bits: usize) {
    let mut longest = leaves.iter().map(|(_, bits)| *bits).max().unwrap_or(0);
    if longest <= max_bits {
        return;
    }
    let mut counts = vec![0_usize; longest + 1];
    leaves.iter().for_each(|(_, bits)| counts[*bits] += 1);
    while longest > max_bits {
        let Some(shorter) = (1..max_bits).rev().find(|bits| counts[*bits] > 0) else { return };
        counts[shorter] -= 1;
        counts[shorter + 1] += 2;
        counts[longest - 1] += 1;
        counts[longest] -= 2;
        if counts[longest] == 0 {
            longest -= 1;
        }
    }
    let all = (1..).zip(&counts[1..]).flat_map(|(bits, count)| std::iter::repeat_n(bits, *count));
    for ((_, bits), new) in leaves.iter_mut().zip(all) {
        *bits = new;
    }
}

/// Returns the kind of block with the codes of level 0. Its header has no runs of three.
pub(super) fn preset() -> Kind {
    let length = |digit: &u8| (*digit as char).to_digit(16).map_or(0, |length| length.to_le_bytes()[0]);
    let lengths: Vec<u8> = PRESET_LITERALS.iter().chain(PRESET_DISTANCES).map(length).collect();
    let mut symbols = Vec::new();
    for run in lengths.chunk_by(|last, next| last == next) {
        let mut left = run.len();
        while left > 0 {
            let count = if left < run.len() && left > 3 { left.min(6) } else { 1 };
            symbols.push(if count == 1 { (run[0], 0) } else { (16, u8::try_from(count - 3).unwrap_or(0)) });
            left -= count;
        }
    }
    Kind::Dynamic(Header {
        literals: LITERAL_CODES,
        distances: DISTANCE_CODES,
        written: LENGTH_SYMBOLS,
        code_lengths: PRESET_CODES,
        symbols,
    })
}

/// Returns the kind of block that takes fewest bits. `stored` is the number of plain bytes, if they may be stored.
pub(super) fn kind(frequencies: &Frequencies, stored: Option<usize>) -> Kind {
    let codes = Codes {
        literals: lengths(&frequencies.literals, MAX_BITS),
        distances: lengths(&frequencies.distances, MAX_BITS),
    };
    let header = codes.header_by(lengths);
    let new = HEADER_START + header.bits() + frequencies.bits(&codes.literals, &codes.distances);
    let (literals, distances) = static_lengths();
    let fixed = HEADER_START + frequencies.bits(&literals, &distances);
    let of_stored = |size: usize| (size + 5 * size.div_ceil(MAX_STORED)) as u64;
    if let Some(size) = stored.filter(|size| of_stored(*size) <= new.min(fixed) / 8) {
        let size = u16::try_from(size.min(MAX_STORED)).unwrap_or(u16::MAX);
        Kind::Stored { size, padding: 0 }
    } else if fixed <= new {
        Kind::Static
    } else {
        Kind::Dynamic(header)
    }
}
