//! The Huffman codes of literals (RFC 8878, 4.2).

use super::bits::{Reader, Writer};
use super::fse::{Frequencies, Table};

/// Most bits of a code.
const MAX_BITS: u32 = 11;
/// Most bits of the table by which weights are coded, and the number of weights.
const MAX_WEIGHT_LOG: u32 = 6;
const WEIGHTS: usize = 12 + 1;
const MAX_SYMBOLS: usize = 256;

/// A code: the bits of each symbol, and which symbol any bits are.
#[derive(Debug, Clone)]
pub(super) struct Code {
    log: u32,
    /// Code and number of bits of each symbol; none has zero bits.
    codes: Vec<(u16, u8)>,
    /// Symbol and number of bits, by the next bits.
    symbols: Vec<(u8, u8)>,
}

impl Code {
    /// Reads a description. Gives its size in bytes, too.
    #[expect(clippy::cast_possible_truncation, reason = "at most 11 bits, and 256 symbols")]
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
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
        Some((Self { log, codes, symbols }, size))
    }

    /// Appends the literals of one stream.
    pub(super) fn decode(&self, stream: &[u8], count: usize, literals: &mut Vec<u8>) -> Option<()> {
        let mut bits = Reader::new(stream)?;
        for _ in 0..count {
            let (symbol, size) = self.symbols[bits.peek(self.log) as usize];
            bits.skip(size.into());
            literals.push(symbol);
        }
        (bits.left() == 0).then_some(())
    }

    /// Makes one stream.
    pub(super) fn encode(&self, literals: &[u8]) -> Option<Vec<u8>> {
        let mut bits = Writer::default();
        for literal in literals.iter().rev() {
            let (code, size) = *self.codes.get(usize::from(*literal)).filter(|code| code.1 > 0)?;
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
