//! The tables of sequences as libzstd 1.5 chooses them.

use super::strategy::Strategy;
use crate::klauspost::prediction;
use crate::zstd_blocks::frequencies::{Rarest, frequencies_with, table_log};
use crate::zstd_blocks::fse::{Frequencies, Table};
use crate::zstd_blocks::sequences::{Kind, Sequence, Source, codes};

/// Most bits of a table of each kind.
pub(super) const MAX_LOGS: [u32; 3] = [9, 8, 9];
/// Largest offset code that the fixed table has.
const MAX_FIXED_OFFSET: usize = 28;
/// Symbols from which the rarest ones have the frequency -1.
const MANY: usize = 2048;

/// The tables that the blocks before leave, which the next one may be expected to use again.
#[derive(Debug, Default)]
pub(super) struct Before {
    tables: [Option<Table>; 3],
}

/// The tables that a block is expected to have.
pub(super) struct Expected {
    pub(super) sources: [Source; 3],
    /// The frequencies of a table of its own, also where another one is expected.
    pub(super) own: [Option<Frequencies>; 3],
}

impl Before {
    /// Returns the tables that are expected for sequences, of which there are some.
    pub(super) fn expected(&self, strategy: Strategy, sequences: &[Sequence]) -> Option<Expected> {
        let (mut counts, last) = counts_of(sequences)?;
        let mut own = [None, None, None];
        let mut sources = [Source::Fixed, Source::Fixed, Source::Fixed];
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let symbols = counts[index].iter().rposition(|count| *count > 0)? + 1;
            let counts = &mut counts[index][..symbols];
            let mode = self.mode(kind, strategy, counts, sequences.len());
            own[index] = own_frequencies(counts, last[index], sequences.len(), MAX_LOGS[index]);
            sources[index] = match (mode, &own[index]) {
                (Mode::One, _) => Source::One(last[index]),
                (Mode::Before, _) => Source::Before,
                (Mode::Own, Some(own)) => Source::Own(own.clone()),
                _ => Source::Fixed,
            };
        }
        Some(Expected { sources, own })
    }

    /// Returns the tables that klauspost/compress is expected to take for sequences, of which there are some.
    pub(super) fn expected_of_klauspost(&self, sequences: &[Sequence]) -> Option<Expected> {
        let (counts, _) = counts_of(sequences)?;
        let mut own = [None, None, None];
        let mut sources = [Source::Fixed, Source::Fixed, Source::Fixed];
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let before = self.tables[index].as_ref();
            let chosen = prediction::table(kind, &counts[index], sequences.len(), before);
            (sources[index], own[index]) = chosen.unwrap_or((Source::Fixed, None));
        }
        Some(Expected { sources, own })
    }

    fn mode(&self, kind: Kind, strategy: Strategy, counts: &[u32], count: usize) -> Mode {
        let most = counts.iter().copied().max().map_or(0, |most| most as usize);
        let may_be_fixed = kind != Kind::Offsets || counts.len() <= MAX_FIXED_OFFSET + 1;
        if most == count {
            return if may_be_fixed && count <= 2 { Mode::Fixed } else { Mode::One };
        }
        let fixed = kind.fixed();
        if !strategy.is_lazy() {
            let least = ((1usize << fixed.log) * (10 - strategy.number())) >> 3;
            let is_few = count < least || most < count >> (fixed.log - 1);
            return if may_be_fixed && is_few { Mode::Fixed } else { Mode::Own };
        }
        let before = self.tables[kind as usize].as_ref().and_then(|table| table.cost(counts));
        let before = before.map_or(u64::MAX, u64::from);
        let of_fixed = if may_be_fixed { cost_by(&fixed, counts) } else { u64::MAX };
        let log = table_log(count, count, counts.len(), MAX_LOGS[kind as usize]);
        let description =
            frequencies_with(counts, log, rarest(count)).map_or(1 << 20, |own| own.write().len());
        let own = description as u64 * 8 + own_cost(counts, count);
        if of_fixed <= before && of_fixed <= own {
            Mode::Fixed
        } else if before <= own {
            Mode::Before
        } else {
            Mode::Own
        }
    }

    /// Takes over the tables that a block has.
    pub(super) fn learn(&mut self, sources: &[Source; 3]) {
        for (before, source) in self.tables.iter_mut().zip(sources) {
            match source {
                Source::Own(frequencies) => *before = Some(Table::new(frequencies)),
                Source::Fixed | Source::One(_) => *before = None,
                Source::Before => {}
            }
        }
    }
}

/// Returns how often each code comes, and the codes of the last sequence.
fn counts_of(sequences: &[Sequence]) -> Option<([[u32; 64]; 3], [u8; 3])> {
    let (mut counts, mut last) = ([[0; 64]; 3], [0; 3]);
    for sequence in sequences {
        last = codes(*sequence)?;
        for (counts, code) in counts.iter_mut().zip(last) {
            counts[usize::from(code & 63)] += 1;
        }
    }
    Some((counts, last))
}

/// The ways to have a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Fixed,
    One,
    Own,
    Before,
}

const fn rarest(count: usize) -> Rarest {
    if count >= MANY { Rarest::LessThanOne } else { Rarest::One }
}

/// Returns the frequencies of a table of its own. The last symbol is not counted, since no state is left for it.
fn own_frequencies(counts: &mut [u32], last: u8, count: usize, max_log: u32) -> Option<Frequencies> {
    let log = table_log(count, count, counts.len(), max_log);
    let of_last = counts.get_mut(usize::from(last))?;
    let is_counted = *of_last > 1;
    *of_last -= u32::from(is_counted);
    frequencies_with(counts, log, rarest(count - usize::from(is_counted)))
}

/// Returns the bits that symbols take by fixed frequencies.
fn cost_by(fixed: &Frequencies, counts: &[u32]) -> u64 {
    let shift = 8 - fixed.log;
    let bits = counts.iter().zip(fixed.counts()).map(|(count, place)| {
        u64::from(*count) * u64::from(INVERSE_LOG[usize::from(place.unsigned_abs()) << shift])
    });
    bits.sum::<u64>() >> 8
}

/// Returns the bits that symbols take by their own frequencies, of 256.
fn own_cost(counts: &[u32], count: usize) -> u64 {
    let bits = counts.iter().filter(|count| **count > 0).map(|of| {
        let share = (256 * *of as usize / count.max(1)).clamp(1, 255);
        u64::from(*of) * u64::from(INVERSE_LOG[share])
    });
    bits.sum::<u64>() >> 8
}

/// The bits that a symbol of so many places of 256 takes, times 256 and rounded down.
const INVERSE_LOG: [u16; 257] = inverse_logs();

const fn inverse_logs() -> [u16; 257] {
    let mut logs = [0; 257];
    let mut places = 1u32;
    while places <= 256 {
        let whole = places.ilog2();
        let mut number = (places as u64) << (31 - whole);
        let (mut log, mut bit) = (whole * 256, 128);
        // The square of a number from 1 to 2 tells the next bit of its logarithm.
        while bit > 0 && !places.is_power_of_two() {
            number = (number * number) >> 31;
            if number >= 1 << 32 {
                number >>= 1;
                log += bit;
            }
            bit >>= 1;
        }
        // What is left of the logarithm makes the inverse less.
        let rest = if places.is_power_of_two() { 0 } else { 1 };
        let [low, high, ..] = (2048 - log - rest).to_le_bytes();
        logs[places as usize] = u16::from_le_bytes([low, high]);
        places += 1;
    }
    logs
}
