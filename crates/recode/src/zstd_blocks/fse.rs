//! Finite state entropy: its tables, to read and to write (RFC 8878, 4.1).

use super::bits::{Reader, Writer};

/// The frequencies of symbols: -1 is less than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frequencies {
    pub(crate) log: u32,
    counts: Vec<i16>,
}

/// A state as it is read.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    symbol: u8,
    bits: u8,
    base: u16,
}

/// A symbol as it is written.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    bits: u32,
    first: i32,
    is_there: bool,
}

/// The tables of one kind of symbols.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    log: u32,
    states: Vec<State>,
    written: Vec<Written>,
    next: Vec<u16>,
}

impl Frequencies {
    /// The frequencies that a table has which nothing describes.
    pub(crate) fn fixed(log: u32, counts: &[i16]) -> Self {
        Self { log, counts: counts.to_vec() }
    }

    /// The frequency of each symbol up to the last that has one.
    pub(crate) fn counts(&self) -> &[i16] {
        &self.counts
    }

    /// Makes the description.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bits = Writer::default();
        bits.put(self.log - 5, 4);
        let mut remaining = (1i32 << self.log) + 1;
        let mut threshold = 1i32 << self.log;
        let mut width = self.log + 1;
        let mut counts = self.counts.iter().peekable();
        while let Some(count) = counts.next().filter(|_| remaining > 1) {
            let max = 2 * threshold - 1 - remaining;
            remaining -= i32::from(count.unsigned_abs());
            let value = i32::from(*count) + 1;
            let value = if value >= threshold { value + max } else { value };
            bits.put(value.unsigned_abs(), if value < max { width - 1 } else { width });
            while remaining < threshold && threshold > 0 {
                width -= 1;
                threshold >>= 1;
            }
            if *count == 0 {
                let mut zeros = 0;
                while counts.next_if(|count| **count == 0).is_some() {
                    zeros += 1;
                }
                for _ in 0..zeros / 3 {
                    bits.put(3, 2);
                }
                bits.put(zeros % 3, 2);
            }
        }
        bits.pad()
    }

    /// Reads a description. Gives its size in bytes, too.
    pub(crate) fn read(bytes: &[u8], max_log: u32, symbols: usize) -> Option<(Self, usize)> {
        let mut at = 0usize;
        let peek = |at: usize| {
            let mut window = [0; 8];
            let rest = bytes.get(at / 8..).unwrap_or(&[]);
            let size = rest.len().min(4);
            window[..size].copy_from_slice(&rest[..size]);
            u64::from_le_bytes(window) >> (at % 8)
        };
        let log = (peek(at) & 15) as u32 + 5;
        at += 4;
        if log > max_log {
            return None;
        }
        let mut remaining = (1i32 << log) + 1;
        let mut threshold = 1i32 << log;
        let mut width = log as usize + 1;
        let mut counts: Vec<i16> = Vec::new();
        let mut was_zero = false;
        while remaining > 1 {
            if was_zero {
                loop {
                    let more = usize::try_from(peek(at) & 3).unwrap_or(0);
                    at += 2;
                    counts.resize(counts.len() + more, 0);
                    if counts.len() > symbols {
                        return None;
                    }
                    if more < 3 {
                        break;
                    }
                }
            }
            if counts.len() >= symbols || at / 8 >= bytes.len() {
                return None;
            }
            let max = 2 * threshold - 1 - remaining;
            let bits = (peek(at) & 0xffff) as i32;
            let low = bits & (threshold - 1);
            let value = if low < max {
                at += width - 1;
                low
            } else {
                at += width;
                let value = bits & (2 * threshold - 1);
                if value >= threshold { value - max } else { value }
            };
            let count = value - 1;
            remaining -= count.abs();
            if remaining < 1 {
                return None;
            }
            counts.push(i16::try_from(count).ok()?);
            was_zero = count == 0;
            while remaining < threshold {
                width -= 1;
                threshold >>= 1;
            }
        }
        let size = at.div_ceil(8);
        (size <= bytes.len()).then_some((Self { log, counts }, size))
    }
}

impl Table {
    /// A table in which every symbol is the same.
    pub(crate) fn of_one(symbol: u8) -> Self {
        let mut written = vec![Written::default(); usize::from(symbol) + 1];
        written[usize::from(symbol)] = Written { bits: 0, first: 0, is_there: true };
        Self { log: 0, states: vec![State { symbol, bits: 0, base: 0 }], written, next: vec![0] }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "tables have at most 512 states and 256 symbols"
    )]
    pub(crate) fn new(frequencies: &Frequencies) -> Self {
        let Frequencies { log, counts } = frequencies;
        let (log, size) = (*log, 1usize << *log);
        let mut spread = vec![0u8; size];
        let mut high = size;
        for (symbol, _) in counts.iter().enumerate().filter(|(_, count)| **count == -1) {
            high = high.saturating_sub(1);
            spread[high] = symbol as u8;
        }
        let (step, mask, mut place) = ((size >> 1) + (size >> 3) + 3, size - 1, 0);
        for (symbol, count) in counts.iter().enumerate() {
            for _ in 0..(*count).max(0) {
                spread[place] = symbol as u8;
                loop {
                    place = (place + step) & mask;
                    // All places are below if no symbol is rare.
                    if place < high || high == 0 {
                        break;
                    }
                }
            }
        }
        let mut written = vec![Written::default(); counts.len()];
        let mut sums = Vec::with_capacity(counts.len());
        let mut sum = 0u32;
        for (written, count) in written.iter_mut().zip(counts) {
            sums.push(sum);
            let count = u32::from(count.unsigned_abs());
            if count > 0 {
                let most = if count == 1 { log } else { log - (count - 1).ilog2() };
                let bits = (most << 16).wrapping_sub(count << most);
                *written = Written { bits, first: sum as i32 - count as i32, is_there: true };
            }
            sum += count;
        }
        let mut counted: Vec<u32> = counts.iter().map(|count| u32::from(count.unsigned_abs())).collect();
        let (mut states, mut next) = (vec![State::default(); size], vec![0u16; size]);
        for (index, symbol) in spread.iter().enumerate() {
            let of = usize::from(*symbol);
            let count = counted[of];
            counted[of] += 1;
            let bits = log - count.ilog2();
            states[index] =
                State { symbol: *symbol, bits: bits as u8, base: ((count << bits) - size as u32) as u16 };
            next[sums[of] as usize] = (size + index) as u16;
            sums[of] += 1;
        }
        Self { log, states, written, next }
    }

    /// Returns about how many bits symbols take that come so often; `None` if one has no place in the table.
    pub(crate) fn cost(&self, counts: &[u32]) -> Option<u32> {
        const ONE: u32 = 1 << 8;
        let mut cost = 0u32;
        for (symbol, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let written = self.written.get(symbol).filter(|written| written.is_there)?;
            let bits = (written.bits >> 16) + 1;
            // How far the frequency is above the next power of two makes a part of a bit.
            let part = (bits << 16).wrapping_sub(written.bits.wrapping_add(1 << self.log));
            let of_one = (bits * ONE).wrapping_sub(part.wrapping_mul(ONE) >> self.log);
            if of_one > (self.log + 1) * ONE {
                return None;
            }
            cost = cost.wrapping_add(count.wrapping_mul(of_one));
        }
        Some(cost / ONE)
    }

    pub(crate) fn start(&self, bits: &mut Reader<'_>) -> usize {
        bits.take(self.log) as usize
    }

    pub(crate) fn symbol(&self, state: usize) -> u8 {
        self.states[state].symbol
    }

    pub(crate) fn follow(&self, state: usize, bits: &mut Reader<'_>) -> usize {
        let State { bits: count, base, .. } = self.states[state];
        usize::from(base) + bits.take(count.into()) as usize
    }

    /// The state to which the last symbol leads, which is written first.
    pub(crate) fn last(&self, symbol: u8) -> Option<u32> {
        let written = self.written.get(usize::from(symbol)).filter(|written| written.is_there)?;
        let count = written.bits.wrapping_add(1 << 15) >> 16;
        let value = (count << 16).wrapping_sub(written.bits);
        self.after(value >> count, *written)
    }

    /// Writes what leads to `state`. Gives the state before it, of `symbol`.
    pub(crate) fn write(&self, state: u32, symbol: u8, bits: &mut Writer) -> Option<u32> {
        let written = self.written.get(usize::from(symbol)).filter(|written| written.is_there)?;
        let count = state.wrapping_add(written.bits) >> 16;
        bits.put(state, count.min(32));
        self.after(state.checked_shr(count)?, *written)
    }

    fn after(&self, value: u32, written: Written) -> Option<u32> {
        if self.log == 0 {
            return Some(0);
        }
        let index = i32::try_from(value).ok()?.checked_add(written.first)?;
        self.next.get(usize::try_from(index).ok()?).map(|next| u32::from(*next))
    }

    /// Writes the state that the first symbol has.
    pub(crate) fn end(&self, state: u32, bits: &mut Writer) {
        bits.put(state, self.log);
    }
}
