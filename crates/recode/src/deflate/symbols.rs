//! The codes of lengths, and the tokens of a block in them.

use super::bits::BitWriter;
use super::token::{END_OF_BLOCK, SHAPES, Token, of_each_size};
use super::trees::MAX_BITS;

/// The codes with which the tokens of a block are written. A word has the bits of a code, and the number of them from bit
/// [`COUNT_AT`] on.
pub(super) struct Symbols {
    /// The codes of literals and of sizes with the bits behind them, by [`Token::shape`].
    shapes: [u32; SHAPES],
    distances: [u32; DISTANCES],
    end: (u32, u32),
}

const COUNT_AT: u32 = 24;
/// Codes of distances that a header may tell, two more than there are.
const DISTANCES: usize = 32;
/// Tokens that are written at once.
const WRITTEN: usize = 1 << 12;

impl Symbols {
    /// The codes of these lengths.
    pub(super) fn new(literals: &[u8], distances: &[u8]) -> Self {
        let (literals, of_distances) = (codes(literals), codes(distances));
        let of = |symbol: usize| literals.get(symbol).copied().unwrap_or((0, 0));
        let mut shapes = [0; SHAPES];
        let (of_literals, of_sizes) = shapes.split_at_mut(END_OF_BLOCK);
        for (word, (bits, count)) in of_literals.iter_mut().zip(&literals) {
            *word = bits | count << COUNT_AT;
        }
        for (word, token) in of_sizes.iter_mut().zip(of_each_size()) {
            let (symbol, extra, extra_bits) = token.symbol();
            let (bits, count) = of(symbol);
            *word = bits | extra << count | (count + extra_bits) << COUNT_AT;
        }
        let mut distances = [0; DISTANCES];
        for (word, (bits, count)) in distances.iter_mut().zip(of_distances) {
            *word = bits | count << COUNT_AT;
        }
        Self { shapes, distances, end: of(END_OF_BLOCK) }
    }

    /// Writes tokens.
    pub(super) fn write(&self, tokens: &[Token], output: &mut BitWriter<'_>) -> crate::Result<()> {
        for chunk in tokens.chunks(WRITTEN) {
            output.put_all(chunk.len(), chunk.iter().map(|token| self.word(*token)));
            output.hand_on()?;
        }
        Ok(())
    }

    /// The bits of a token, and the number of them: at most 48. No branch tells literals, which come as they like.
    fn word(&self, token: Token) -> (u64, u32) {
        const BITS: u32 = (1 << COUNT_AT) - 1;
        let first = self.shapes[token.shape()];
        let (symbol, extra, extra_bits) = token.distance_symbol();
        let code = self.distances[symbol % DISTANCES];
        let (bits, count) = (code & BITS | extra << (code >> COUNT_AT), (code >> COUNT_AT) + extra_bits);
        let (bits, count) = if token.is_literal() { (0, 0) } else { (bits, count) };
        let of_first = first >> COUNT_AT;
        (u64::from(first & BITS) | u64::from(bits) << of_first, of_first + count)
    }

    /// Writes the end of the block.
    pub(super) fn end(&self, output: &mut BitWriter<'_>) {
        output.put(self.end.0, self.end.1);
    }
}

/// Writes the tokens of a block and its end, with codes of these lengths.
pub(super) fn write_tokens(
    tokens: &[Token],
    literals: &[u8],
    distances: &[u8],
    output: &mut BitWriter<'_>,
) -> crate::Result<()> {
    let symbols = Symbols::new(literals, distances);
    symbols.write(tokens, output)?;
    symbols.end(output);
    Ok(())
}

/// The canonical codes of these lengths, each with its lowest bit sent first, and their lengths.
pub(super) fn codes(lengths: &[u8]) -> Vec<(u32, u32)> {
    let mut counts = [0_u32; MAX_BITS + 1];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    counts[0] = 0;
    let mut next = [0_u32; MAX_BITS + 1];
    for bits in 1..=MAX_BITS {
        next[bits] = (next[bits - 1] + counts[bits - 1]) << 1;
    }
    let code_of = |length: &u8| {
        let bits = u32::from(*length);
        if bits == 0 {
            return (0, 0);
        }
        let code = next[usize::from(*length)];
        next[usize::from(*length)] += 1;
        // Lengths that no code can have give codes that do not fit: a recipe may say so.
        ((code << (32 - bits)).reverse_bits(), bits)
    };
    lengths.iter().map(code_of).collect()
}
