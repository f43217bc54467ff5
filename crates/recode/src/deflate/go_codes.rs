//! The Huffman codes of a block, as Go's compress/flate and klauspost/compress make them of the frequencies of its
//! symbols: by package-merge, with the codes of one length in the order of the symbols.

use super::token::{DISTANCE_CODES, END_OF_BLOCK, LITERAL_CODES};
use super::trees::{
    Frequencies, Header, LENGTH_ORDER, LENGTH_SYMBOLS, MAX_BITS, MAX_LENGTH_BITS, run_lengths,
};

/// Returns the lengths of the codes for these frequencies, 0 where a symbol has none.
pub(super) fn lengths<const SYMBOLS: usize>(frequencies: &[u32; SYMBOLS], max_bits: usize) -> [u8; SYMBOLS] {
    let mut lengths = [0; SYMBOLS];
    let mut leaves: Vec<(u32, u16)> =
        (0..).zip(frequencies).map(|(symbol, count)| (*count, symbol)).collect();
    leaves.retain(|(count, _)| *count > 0);
    if leaves.len() <= 2 {
        for (_, symbol) in leaves {
            lengths[usize::from(symbol)] = 1;
        }
        return lengths;
    }
    leaves.sort_unstable();
    for (leaves_here, _) in of_levels(&leaves, max_bits.min(leaves.len() - 1)) {
        // Each level makes the codes of its leaves, the rarest, longer by a bit.
        for (_, symbol) in &leaves[..leaves_here] {
            lengths[usize::from(*symbol)] += 1;
        }
    }
    lengths
}

/// Returns how many leaves and pairs are taken of each level of the merge, from the last to the first.
fn of_levels(leaves: &[(u32, u16)], levels: usize) -> Vec<(usize, usize)> {
    // Of each level but the first: which of its items are leaves.
    let mut are_leaves: Vec<Vec<bool>> = vec![vec![true; leaves.len()]];
    let mut items: Vec<u32> = leaves.iter().map(|(count, _)| *count).collect();
    for _ in 1..levels {
        let mut pairs = items.chunks_exact(2).map(|pair| pair[0].saturating_add(pair[1])).peekable();
        let mut single = leaves.iter().map(|(count, _)| *count).peekable();
        let (mut merged, mut is_leaf) = (Vec::new(), Vec::new());
        while single.peek().is_some() || pairs.peek().is_some() {
            let takes_leaf = match (single.peek(), pairs.peek()) {
                (Some(leaf), Some(pair)) => leaf < pair,
                (leaf, _) => leaf.is_some(),
            };
            merged.extend(if takes_leaf { single.next() } else { pairs.next() });
            is_leaf.push(takes_leaf);
        }
        items = merged;
        are_leaves.push(is_leaf);
    }
    let mut needed = 2 * leaves.len() - 2;
    let mut taken = Vec::with_capacity(levels);
    for level in are_leaves.iter().rev() {
        let count = level.iter().take(needed).filter(|is_leaf| **is_leaf).count();
        let pairs = needed.min(level.len()) - count;
        taken.push((count, pairs));
        needed = 2 * pairs;
    }
    taken
}

/// Makes the codes of the lengths of codes, of their frequencies and of the most bits.
type OfLengths = fn(&[u32; LENGTH_SYMBOLS], usize) -> [u8; LENGTH_SYMBOLS];

/// The codes of a block: lengths of literals and of distances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Codes {
    pub(super) literals: [u8; LITERAL_CODES],
    pub(super) distances: [u8; DISTANCE_CODES],
}

impl Codes {
    /// The codes for these frequencies.
    pub(super) fn of(frequencies: &Frequencies) -> Self {
        Self {
            literals: lengths(&frequencies.literals, MAX_BITS),
            distances: lengths(&frequencies.distances, MAX_BITS),
        }
    }

    /// The codes for these frequencies. A block without references has one code of a distance.
    pub(super) fn with_distance(frequencies: &Frequencies) -> Self {
        let mut frequencies = frequencies.clone();
        if frequencies.distances.iter().all(|count| *count == 0) {
            frequencies.distances[0] = 1;
        }
        Self::of(&frequencies)
    }

    /// Tells whether each symbol that comes has a code.
    pub(super) fn has_all(&self, frequencies: &Frequencies) -> bool {
        let has = |counts: &[u32], lengths: &[u8]| {
            counts.iter().zip(lengths).all(|(count, length)| *count == 0 || *length > 0)
        };
        has(&frequencies.literals, &self.literals) && has(&frequencies.distances, &self.distances)
    }

    /// The header that says these lengths.
    pub(super) fn header(&self) -> Header {
        self.header_by(lengths)
    }

    /// The header that says these lengths, with codes of lengths that are made by `of_lengths`.
    pub(super) fn header_by(&self, of_lengths: OfLengths) -> Header {
        let end = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(1, |last| last + 1);
        self.header_of(end(&self.literals).max(END_OF_BLOCK + 1), end(&self.distances), of_lengths)
    }

    /// The header that says the lengths of all codes, also of those that are not there at the end.
    pub(super) fn header_of_all(&self) -> Header {
        self.header_of(LITERAL_CODES, DISTANCE_CODES, lengths)
    }

    fn header_of(&self, literals: usize, distances: usize, of_lengths: OfLengths) -> Header {
        let all = [&self.literals[..literals], &self.distances[..distances]].concat();
        let mut symbols = Vec::new();
        // A run goes on from the literals to the distances.
        run_lengths(&all, &mut symbols);
        let mut counts = [0; LENGTH_SYMBOLS];
        for (symbol, _) in &symbols {
            counts[usize::from(*symbol)] += 1;
        }
        let code_lengths = of_lengths(&counts, MAX_LENGTH_BITS);
        let last = LENGTH_ORDER.iter().rposition(|symbol| code_lengths[*symbol] != 0).unwrap_or(0);
        Header { literals, distances, written: (last + 1).max(4), code_lengths, symbols }
    }
}
