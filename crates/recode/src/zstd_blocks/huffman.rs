//! The Huffman codes of literals (RFC 8878, 4.2).

use super::bits::{Reader, Writer};
use super::fse::{Frequencies, Table};
use super::weights::MAX_WEIGHT_LOG;

/// Most bits of a code.
const MAX_BITS: u32 = 11;
/// The number of weights.
const WEIGHTS: usize = 12 + 1;
const MAX_SYMBOLS: usize = 256;

/// A code: the bits of each symbol, and which symbol any bits are.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    log: u32,
    /// Code and number of bits of each symbol; none has zero bits.
    codes: Vec<(u16, u8)>,
    /// Symbol and number of bits, by the next bits.
    symbols: Vec<(u8, u8)>,
}

impl Code {
    /// Reads a description. Gives its size in bytes, too.
    #[expect(clippy::cast_possible_truncation, reason = "at most 11 bits")]
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (head, rest) = bytes.split_first()?;
        let (mut weights, size) = if *head >= 128 {
            let count = usize::from(*head) - 127;
            let packed = rest.get(..count.div_ceil(2))?;
            let mut weights: Vec<u8> = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect();
            weights.truncate(count);
            (weights, 1 + count.div_ceil(2))
        } else {
            let size = usize::from(*head);
            (weights(rest.get(..size)?)?, 1 + size)
        };
        if weights.iter().any(|weight| u32::from(*weight) > MAX_BITS) {
            return None;
        }
        let total: u32 = weights.iter().map(|weight| (1 << weight) >> 1).sum();
        // The last weight is what fills the code.
        let log = total.checked_ilog2()? + 1;
        let rest = (1u32 << log) - total;
        if log > MAX_BITS || !rest.is_power_of_two() || weights.len() >= MAX_SYMBOLS {
            return None;
        }
        weights.push(rest.ilog2() as u8 + 1);
        Some((Self::of_weights(log, &weights)?, size))
    }

    /// The code of at most `log` bits in which a symbol of weight _n_ has _n_ - 1 fewer bits than the longest one. All
    /// weights are there.
    #[expect(clippy::cast_possible_truncation, reason = "at most 11 bits, and 256 symbols")]
    pub(crate) fn of_weights(log: u32, weights: &[u8]) -> Option<Self> {
        let mut codes = vec![(0, 0); weights.len()];
        let mut symbols = vec![(0, 0); 1 << log];
        let mut next = 0usize;
        for weight in 1..=log {
            for (symbol, _) in weights.iter().enumerate().filter(|(_, of)| u32::from(**of) == weight) {
                let (bits, places) = ((log + 1 - weight) as u8, 1usize << (weight - 1));
                codes[symbol] = ((next >> (weight - 1)) as u16, bits);
                symbols.get_mut(next..next + places)?.fill((symbol as u8, bits));
                next += places;
            }
        }
        Some(Self { log, codes, symbols })
    }

    /// Returns how many bytes so many literals of each kind take; `None` if one has no code.
    pub(crate) fn size(&self, counts: &[u32]) -> Option<u32> {
        self.bits(counts).map(|bits| bits.div_ceil(8))
    }

    /// Returns how many bits so many literals of each kind take; `None` if one has no code.
    pub(crate) fn bits(&self, counts: &[u32]) -> Option<u32> {
        let mut bits = 0;
        for (symbol, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (_, size) = self.codes.get(symbol).filter(|code| code.1 > 0)?;
            bits += u32::from(*size) * count;
        }
        Some(bits)
    }

    /// Appends the literals of one stream.
    pub(crate) fn decode(&self, stream: &[u8], count: usize, literals: &mut Vec<u8>) -> Option<()> {
        let mut bits = Reader::new(stream)?;
        for _ in 0..count {
            let (symbol, size) = self.symbols[bits.peek(self.log) as usize];
            bits.skip(size.into());
            literals.push(symbol);
        }
        (bits.left() == 0).then_some(())
    }

    /// Makes one stream or four behind some bytes.
    pub(crate) fn encode_streams(
        &self,
        mut bytes: Vec<u8>,
        literals: &[u8],
        is_four: bool,
    ) -> Option<Vec<u8>> {
        bytes.reserve(literals.len());
        if !is_four {
            return self.encode_behind(bytes, literals);
        }
        let sizes = bytes.len();
        bytes.extend([0; 6]);
        let part = literals.len().div_ceil(4);
        for index in 0..4 {
            let before = bytes.len();
            let end = if index < 3 { (index + 1) * part } else { literals.len() };
            bytes = self.encode_behind(bytes, literals.get(index * part..end)?)?;
            if index < 3 {
                let size = u16::try_from(bytes.len() - before).ok()?;
                bytes[sizes + 2 * index..][..2].copy_from_slice(&size.to_le_bytes());
            }
        }
        Some(bytes)
    }

    /// Makes one stream behind some bytes.
    fn encode_behind(&self, bytes: Vec<u8>, literals: &[u8]) -> Option<Vec<u8>> {
        let mut bits = Writer::behind(bytes);
        let code = |literal: u8| self.codes.get(usize::from(literal)).filter(|code| code.1 > 0);
        let pairs = literals.rchunks_exact(2);
        let rest = pairs.remainder();
        // Two codes at once take at most 22 bits.
        for pair in pairs {
            let ((first, size), (second, more)) = (*code(pair[1])?, *code(pair[0])?);
            bits.put(u32::from(first) | u32::from(second) << size, u32::from(size) + u32::from(more));
        }
        for literal in rest {
            let (code, size) = *code(*literal)?;
            bits.put(code.into(), size.into());
        }
        Some(bits.finish())
    }
}

/// The weights that two states say in turn.
fn weights(bytes: &[u8]) -> Option<Vec<u8>> {
    let (frequencies, size) = Frequencies::read(bytes, MAX_WEIGHT_LOG, WEIGHTS)?;
    let table = Table::new(&frequencies);
    let mut bits = Reader::new(&bytes[size..])?;
    let mut states = [table.start(&mut bits), table.start(&mut bits)];
    let mut weights = Vec::new();
    loop {
        for turn in 0..2 {
            weights.push(table.symbol(states[turn]));
            states[turn] = table.follow(states[turn], &mut bits);
            if bits.left() < 0 {
                weights.push(table.symbol(states[1 - turn]));
                return (weights.len() < MAX_SYMBOLS).then_some(weights);
            }
            if weights.len() >= MAX_SYMBOLS {
                return None;
            }
        }
    }
}
