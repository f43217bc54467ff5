//! The Huffman codes of a block, as zlib makes them of the frequencies of its symbols.
//!
//! Any encoder may choose other lengths; which of two equal frequencies gets the longer code is
//! what makes zlib's choice its own, and is followed here to the letter (`build_tree`, `gen_bitlen`
//! and `scan_tree` in zlib's trees.c).

use super::bits::BitWriter;
use super::symbols::codes;
use super::token::{
    DISTANCE_CODES, END_OF_BLOCK, LITERAL_CODES, SHAPES, Token, distance_extra, length_extra, of_each_size,
};

/// Longest code of literals and distances, in bits.
pub(super) const MAX_BITS: usize = 15;
/// Longest code of code lengths, in bits.
pub(super) const MAX_LENGTH_BITS: usize = 7;
/// Symbols of code lengths: 0 to 15, repeat the last, and two kinds of zeros.
pub(super) const LENGTH_SYMBOLS: usize = 19;
/// In which order the lengths of the codes of code lengths are written (RFC 1951, 3.2.7).
pub(super) const LENGTH_ORDER: [usize; LENGTH_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The frequencies of the symbols in a block.
#[derive(Debug, Clone)]
pub(super) struct Frequencies {
    pub(super) literals: [u32; LITERAL_CODES],
    pub(super) distances: [u32; DISTANCE_CODES],
}

impl Frequencies {
    /// Of an empty block: its end only.
    pub(super) const fn new() -> Self {
        let mut literals = [0; LITERAL_CODES];
        literals[END_OF_BLOCK] = 1;
        Self { literals, distances: [0; DISTANCE_CODES] }
    }

    /// Those of tokens, and the end of a block.
    pub(super) fn of(tokens: &[Token]) -> Self {
        // Literals count as distances of their own, not all the same: a branch would cost more, and so would waiting for
        // the last count of the same number.
        const OF_LITERALS: usize = 32;
        let (mut shapes, mut distances) = ([0; SHAPES], [0; 2 * OF_LITERALS]);
        for token in tokens {
            let shape = token.shape();
            shapes[shape] += 1;
            let of_literal = OF_LITERALS + shape % OF_LITERALS;
            let of_reference = token.distance_symbol().0 % OF_LITERALS;
            distances[if token.is_literal() { of_literal } else { of_reference }] += 1;
        }
        let mut all = Self::new();
        let (literals, sizes) = shapes.split_at(END_OF_BLOCK);
        all.literals[..END_OF_BLOCK].copy_from_slice(literals);
        for (size, count) in of_each_size().zip(sizes) {
            all.literals[size.symbol().0] += count;
        }
        all.distances.copy_from_slice(&distances[..DISTANCE_CODES]);
        all
    }

    pub(super) fn count(&mut self, token: Token) {
        self.literals[token.symbol().0] += 1;
        if !token.is_literal() {
            self.distances[token.distance_symbol().0] += 1;
        }
    }

    /// Bits of what follows the symbols.
    pub(super) fn extra_bits(&self) -> u64 {
        self.bits(&[0; LITERAL_CODES], &[0; DISTANCE_CODES])
    }

    /// Bits of the symbols, and of what follows them, with codes of these lengths.
    pub(super) fn bits(&self, literals: &[u8], distances: &[u8]) -> u64 {
        let extra = |symbol: usize| symbol.checked_sub(END_OF_BLOCK + 1).map_or(0, length_extra);
        let of_literals =
            self.literals.iter().zip(literals).enumerate().map(|(symbol, (count, bits))| {
                u64::from(*count) * (u64::from(*bits) + u64::from(extra(symbol)))
            });
        let of_distances = self.distances.iter().zip(distances).enumerate().map(|(code, (count, bits))| {
            u64::from(*count) * (u64::from(*bits) + u64::from(distance_extra(code)))
        });
        of_literals.sum::<u64>() + of_distances.sum::<u64>()
    }
}

/// The lengths of the codes of static blocks (RFC 1951, 3.2.6).
pub(super) fn static_lengths() -> (Vec<u8>, Vec<u8>) {
    let of = |symbol| match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    };
    ((0..288).map(of).collect(), vec![5; 32])
}

/// The lengths of the codes of a block with dynamic codes, as its header says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Codes of literals: 257 and up.
    pub(super) literals: usize,
    /// Codes of distances: 1 and up.
    pub(super) distances: usize,
    /// Lengths of codes of lengths that are written: 4 to 19.
    pub(super) written: usize,
    /// Lengths of the codes of the lengths.
    pub(super) code_lengths: [u8; LENGTH_SYMBOLS],
    /// The lengths: symbols, each with the value of the extra bits behind it.
    pub(super) symbols: Vec<(u8, u8)>,
}

/// Extra bits behind a symbol of lengths.
pub(super) const fn repeat_extra(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

impl Header {
    /// The header that zlib writes for a block with these frequencies.
    pub(super) fn of_zlib(frequencies: &Frequencies) -> Self {
        let literals = Tree::lengths(&frequencies.literals, MAX_BITS);
        let distances = Tree::lengths(&frequencies.distances, MAX_BITS);
        let mut symbols = Vec::new();
        run_lengths(&literals, &mut symbols);
        run_lengths(&distances, &mut symbols);
        let mut counts = [0; LENGTH_SYMBOLS];
        for (symbol, _) in &symbols {
            counts[usize::from(*symbol)] += 1;
        }
        let mut code_lengths = [0; LENGTH_SYMBOLS];
        let of_codes = Tree::lengths(&counts, MAX_LENGTH_BITS);
        code_lengths[..of_codes.len()].copy_from_slice(&of_codes);
        let last = LENGTH_ORDER.iter().rposition(|symbol| code_lengths[*symbol] != 0).unwrap_or(0);
        Self {
            literals: literals.len(),
            distances: distances.len(),
            written: (last + 1).max(4),
            code_lengths,
            symbols,
        }
    }

    /// Bits of the header.
    pub(super) fn bits(&self) -> u64 {
        let symbols = self.symbols.iter().map(|(symbol, _)| {
            u64::from(self.code_lengths[usize::from(*symbol)]) + u64::from(repeat_extra(*symbol))
        });
        14 + 3 * self.written as u64 + symbols.sum::<u64>()
    }

    /// The lengths of the codes, of literals and of distances, as a decoder understands the header.
    pub(super) fn lengths(&self) -> (Vec<u8>, Vec<u8>) {
        let mut lengths = Vec::with_capacity(LITERAL_CODES + DISTANCE_CODES);
        for (symbol, extra) in &self.symbols {
            let (length, count) = match symbol {
                16 => (lengths.last().copied().unwrap_or(0), 3 + extra),
                17 => (0, 3 + extra),
                18 => (0, 11 + extra),
                length => (*length, 1),
            };
            lengths.resize(lengths.len() + usize::from(count), length);
        }
        lengths.resize(self.literals + self.distances, 0);
        let distances = lengths.split_off(self.literals);
        (lengths, distances)
    }

    #[expect(clippy::cast_possible_truncation, reason = "each count fits its field")]
    pub(super) fn write(&self, output: &mut BitWriter<'_>) {
        output.put(self.literals.wrapping_sub(257) as u32 & 31, 5);
        output.put(self.distances.wrapping_sub(1) as u32 & 31, 5);
        output.put(self.written.wrapping_sub(4) as u32 & 15, 4);
        for symbol in &LENGTH_ORDER[..self.written] {
            output.put(u32::from(self.code_lengths[*symbol] & 7), 3);
        }
        let codes = codes(&self.code_lengths);
        for (symbol, extra) in &self.symbols {
            let (code, bits) = codes[usize::from(*symbol)];
            output.put(code, bits);
            output.put(u32::from(*extra), repeat_extra(*symbol));
        }
    }
}

/// zlib's heap of the nodes of a tree.
struct Tree {
    /// Of each node: leaves first, then inner nodes as they are made.
    frequencies: Vec<u32>,
    depths: Vec<u8>,
    /// From index 1.
    heap: Vec<u16>,
}

impl Tree {
    /// The lengths of an optimal code for these frequencies, up to the last symbol that has one.
    fn lengths(frequencies: &[u32], max_bits: usize) -> Vec<u8> {
        let mut tree =
            Self { frequencies: frequencies.to_vec(), depths: vec![0; frequencies.len()], heap: vec![0] };
        let used = (0_u16..).zip(frequencies).filter(|(_, count)| **count > 0).map(|(symbol, _)| symbol);
        tree.heap.extend(used);
        let mut last = usize::from(*tree.heap.last().unwrap_or(&0));
        // At least two codes, so that each takes a bit.
        if tree.heap.len() == 1 {
            last = 1;
            tree.heap.extend([0, 1]);
            tree.frequencies[..2].fill(1);
        } else if tree.heap.len() == 2 {
            let forced = if last < 2 { last + 1 } else { 0 };
            last = last.max(forced);
            tree.heap.push(u16::try_from(forced).unwrap_or(0));
            tree.frequencies[forced] = 1;
        }
        for index in (1..=(tree.heap.len() - 1) / 2).rev() {
            tree.sink(index);
        }
        let leaves = frequencies.len();
        let mut parents = vec![0_u16; leaves];
        let mut order = Vec::with_capacity(2 * leaves);
        while tree.heap.len() > 2 {
            let first = tree.take_least();
            let second = tree.heap[1];
            order.extend([first, second]);
            let node = u16::try_from(tree.frequencies.len()).unwrap_or(u16::MAX);
            let (a, b) = (usize::from(first), usize::from(second));
            tree.frequencies.push(tree.frequencies[a].saturating_add(tree.frequencies[b]));
            tree.depths.push(tree.depths[a].max(tree.depths[b]).saturating_add(1));
            parents.push(0);
            (parents[a], parents[b]) = (node, node);
            tree.heap[1] = node;
            tree.sink(1);
        }
        let bits = bit_lengths(&order, &parents, leaves, max_bits);
        bits[..=last].to_vec()
    }

    fn take_least(&mut self) -> u16 {
        let least = self.heap[1];
        let moved = self.heap.pop().unwrap_or(least);
        if self.heap.len() > 1 {
            self.heap[1] = moved;
            self.sink(1);
        }
        least
    }

    /// Tells whether the first of two nodes comes first: by frequency, then the less deep, then the first.
    fn is_less(&self, a: u16, b: u16) -> bool {
        let (a, b) = (usize::from(a), usize::from(b));
        (self.frequencies[a], self.depths[a]) <= (self.frequencies[b], self.depths[b])
    }

    fn sink(&mut self, mut index: usize) {
        let node = self.heap[index];
        let end = self.heap.len();
        let mut child = index * 2;
        while child < end {
            if child + 1 < end && self.is_less(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if self.is_less(node, self.heap[child]) {
                break;
            }
            self.heap[index] = self.heap[child];
            index = child;
            child *= 2;
        }
        self.heap[index] = node;
    }
}

/// The lengths of the codes of the leaves. `order` has the nodes but the root as they were joined;
/// too long codes are made shorter as zlib does it.
fn bit_lengths(order: &[u16], parents: &[u16], leaves: usize, max_bits: usize) -> Vec<u8> {
    let mut bits = vec![0_usize; parents.len()];
    let mut counts = [0_usize; MAX_BITS + 1];
    let mut overflow = 0;
    for node in order.iter().rev().map(|node| usize::from(*node)) {
        let mut own = bits[usize::from(parents[node])] + 1;
        if own > max_bits {
            own = max_bits;
            overflow += 1;
        }
        bits[node] = own;
        if node < leaves {
            counts[own] += 1;
        }
    }
    if overflow > 0 {
        while overflow > 0 {
            let mut shorter = max_bits - 1;
            while counts[shorter] == 0 && shorter > 1 {
                shorter -= 1;
            }
            counts[shorter] = counts[shorter].saturating_sub(1);
            counts[shorter + 1] += 2;
            counts[max_bits] -= 1;
            overflow -= 2_i32.min(overflow);
        }
        // The rarest leaves get the longest codes.
        let mut rising = order.iter().map(|node| usize::from(*node)).filter(|node| *node < leaves);
        for own in (1..=max_bits).rev() {
            for node in rising.by_ref().take(counts[own]) {
                bits[node] = own;
            }
        }
    }
    bits[..leaves].iter().map(|bits| u8::try_from(*bits).unwrap_or(0)).collect()
}

/// Writes lengths as symbols, with runs of the same length and of zeros.
pub(super) fn run_lengths(lengths: &[u8], symbols: &mut Vec<(u8, u8)>) {
    let mut at = 0;
    let mut previous = None;
    while at < lengths.len() {
        let length = lengths[at];
        let run = lengths[at..].iter().take_while(|next| **next == length).count();
        // A run continues behind a break at its greatest count, with the shorter minimum.
        let (max, min) = match previous {
            _ if length == 0 => (138, 3),
            Some(previous) if previous == length => (6, 3),
            _ => (7, 4),
        };
        let count = run.min(max);
        let extra = |base: usize| u8::try_from(count - base).unwrap_or(0);
        if count < min {
            symbols.extend(std::iter::repeat_n((length, 0), count));
        } else if length != 0 {
            let is_first = previous != Some(length);
            if is_first {
                symbols.push((length, 0));
            }
            symbols.push((16, extra(3 + usize::from(is_first))));
        } else if count <= 10 {
            symbols.push((17, extra(3)));
        } else {
            symbols.push((18, extra(11)));
        }
        previous = Some(length);
        at += count;
    }
}
