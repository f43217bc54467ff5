//! The entropy tables of zstd: FSE tables and Huffman code lengths (RFC 8878, 4.1 and 4.2).
//!
//! Only what is needed to tell how many bits each symbol takes. Every function gives `None` for
//! bytes that are no such table.

/// Reads bits from the lowest of the first byte up, as table descriptions are written.
#[derive(Debug)]
pub(crate) struct ForwardBits<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl<'b> ForwardBits<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for index in 0..count {
            let byte = self.bytes.get(self.position / 8)?;
            value |= u32::from(byte >> (self.position % 8) & 1) << index;
            self.position += 1;
        }
        Some(value)
    }

    /// Returns the bytes after the last one that bits were read from.
    fn rest(&self) -> &'b [u8] {
        &self.bytes[self.position.div_ceil(8).min(self.bytes.len())..]
    }
}

/// Reads bits from the end, as FSE streams are written: below the highest set bit of the last byte.
#[derive(Debug)]
pub(crate) struct BackwardBits<'b> {
    bytes: &'b [u8],
    /// Bits that are left; negative once more were read than there are.
    left: i64,
}

impl<'b> BackwardBits<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Option<Self> {
        let marker = bytes.last().filter(|last| **last != 0)?.ilog2();
        Some(Self { bytes, left: (bytes.len() as i64 - 1) * 8 + i64::from(marker) })
    }

    /// The next bits; those past the start are zero.
    pub(crate) fn read(&mut self, count: u32) -> u32 {
        let mut value = 0;
        for _ in 0..count {
            self.left -= 1;
            let bit = usize::try_from(self.left).map_or(0, |at| self.bytes[at / 8] >> (at % 8) & 1);
            value = value << 1 | u32::from(bit);
        }
        value
    }

    pub(crate) const fn left(&self) -> i64 {
        self.left
    }
}

/// A decoding table of one FSE code.
#[derive(Debug, Clone)]
pub(crate) struct FseTable {
    states: Vec<State>,
    accuracy_log: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    symbol: u8,
    bits: u32,
    base: u32,
}

impl FseTable {
    /// Reads the description of a table; gives what follows it too.
    pub(crate) fn read(bytes: &[u8], max_accuracy_log: u32, symbols: usize) -> Option<(Self, &[u8])> {
        let mut bits = ForwardBits::new(bytes);
        let accuracy_log = bits.read(4)? + 5;
        if accuracy_log > max_accuracy_log {
            return None;
        }
        let mut remaining = 1i32 << accuracy_log;
        let mut probabilities: Vec<i16> = Vec::with_capacity(symbols);
        while remaining > 0 && probabilities.len() < symbols {
            let count = (remaining + 1).ilog2() + 1;
            let low = bits.read(count as usize - 1)?.cast_signed();
            let threshold = (1 << count) - 1 - (remaining + 1);
            let value = if low < threshold {
                low
            } else {
                let high = bits.read(1)?.cast_signed() << (count - 1);
                if high == 0 { low } else { low + high - threshold }
            };
            let probability = i16::try_from(value - 1).ok()?;
            remaining -= i32::from(probability.abs());
            probabilities.push(probability);
            // More symbols of no probability follow: 0 to 3, and more after 3.
            let mut zeros = if probability == 0 { 3 } else { 0 };
            while zeros == 3 {
                zeros = bits.read(2)?;
                probabilities.resize(probabilities.len() + zeros as usize, 0);
            }
        }
        if remaining != 0 || probabilities.len() > symbols {
            return None;
        }
        Some((Self::build(&probabilities, accuracy_log)?, bits.rest()))
    }

    /// A table of one symbol that takes no bits.
    pub(crate) fn single(symbol: u8) -> Self {
        Self { states: vec![State { symbol, bits: 0, base: 0 }], accuracy_log: 0 }
    }

    /// Spreads symbols over the states. A probability of -1 is less than one state's.
    pub(crate) fn build(probabilities: &[i16], accuracy_log: u32) -> Option<Self> {
        let size = 1usize << accuracy_log;
        let mut states = vec![State::default(); size];
        let mut high = size;
        let mut next: Vec<u32> = Vec::with_capacity(probabilities.len());
        for (symbol, &probability) in probabilities.iter().enumerate() {
            if probability == -1 {
                high = high.checked_sub(1)?;
                states[high].symbol = u8::try_from(symbol).ok()?;
            }
            next.push(u32::from(probability.unsigned_abs()));
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for (symbol, &probability) in probabilities.iter().enumerate() {
            for _ in 0..probability.max(0) {
                states[at].symbol = u8::try_from(symbol).ok()?;
                loop {
                    at = (at + step) & (size - 1);
                    if at < high || high == 0 {
                        break;
                    }
                }
            }
        }
        for state in &mut states {
            let count = next.get_mut(usize::from(state.symbol))?;
            if *count == 0 {
                return None;
            }
            state.bits = accuracy_log.checked_sub(count.ilog2())?;
            state.base = (*count << state.bits).checked_sub(1 << accuracy_log)?;
            *count += 1;
        }
        Some(Self { states, accuracy_log })
    }

    pub(crate) fn start(&self, bits: &mut BackwardBits<'_>) -> usize {
        bits.read(self.accuracy_log) as usize
    }

    pub(crate) fn symbol(&self, state: usize) -> Option<u8> {
        self.states.get(state).map(|state| state.symbol)
    }

    pub(crate) fn next(&self, state: usize, bits: &mut BackwardBits<'_>) -> Option<usize> {
        let state = self.states.get(state)?;
        Some((state.base + bits.read(state.bits)) as usize)
    }
}

/// Longest code of a literal in bits (RFC 8878, 4.2.1).
const MAX_CODE_SIZE: u32 = 11;

/// Bits that each byte takes as a literal; 0 for bytes that have no code.
pub(crate) type CodeSizes = [u8; 256];

/// Reads the description of a Huffman tree; gives what follows it too.
pub(crate) fn read_code_sizes(bytes: &[u8]) -> Option<(CodeSizes, &[u8])> {
    let (&first, bytes) = bytes.split_first()?;
    let (mut weights, rest) = if first >= 128 {
        let count = usize::from(first) - 127;
        let (packed, rest) = bytes.split_at_checked(count.div_ceil(2))?;
        let nibbles = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        (nibbles.take(count).collect(), rest)
    } else {
        let (encoded, rest) = bytes.split_at_checked(usize::from(first))?;
        (read_weights(encoded)?, rest)
    };
    if weights.len() > 255 || weights.iter().any(|weight| u32::from(*weight) > MAX_CODE_SIZE) {
        return None;
    }
    let total: u32 = weights.iter().filter(|weight| **weight > 0).map(|weight| 1 << (weight - 1)).sum();
    if total == 0 {
        return None;
    }
    let longest = total.ilog2() + 1;
    // The weight of the last symbol is what completes a power of two.
    let left = (1 << longest) - total;
    weights.push(u8::try_from(left.ilog2()).ok()? + 1);
    let mut sizes = [0; 256];
    for (size, weight) in sizes.iter_mut().zip(weights).filter(|(_, weight)| *weight > 0) {
        *size = u8::try_from((longest + 1).checked_sub(u32::from(weight))?).ok()?;
    }
    Some((sizes, rest))
}

/// Weights that are an FSE stream of two states, which take turns until the bits are used up.
fn read_weights(encoded: &[u8]) -> Option<Vec<u8>> {
    let (table, stream) = FseTable::read(encoded, 6, 256)?;
    let mut bits = BackwardBits::new(stream)?;
    let mut states = [table.start(&mut bits), table.start(&mut bits)];
    let mut weights = Vec::new();
    while weights.len() < 255 {
        let turn = weights.len() % 2;
        weights.push(table.symbol(states[turn])?);
        states[turn] = table.next(states[turn], &mut bits)?;
        if bits.left() < 0 {
            weights.push(table.symbol(states[1 - turn])?);
            return Some(weights);
        }
    }
    None
}
