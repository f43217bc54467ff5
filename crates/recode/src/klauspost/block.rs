//! The writer of blocks: whether one is compressed, and with which codes and tables.

use super::finder::{Found, Sequence};
use super::settings::{Form, Settings};
use super::{literals, sequences};
use crate::zstd_blocks::frequencies::{frequencies, table_log};
use crate::zstd_blocks::fse::{Frequencies, Table};
use crate::zstd_blocks::headers::{COMPRESSED, ONE, RAW};
use crate::zstd_blocks::outline::Outline;
use crate::zstd_blocks::sequences::{Kind, Source};

/// Most bits of a table.
const MAX_LOG: u32 = 8;
/// Bytes that matches have to save beside the margin.
const MIN_SAVED: usize = 16;

/// The tables and codes that the blocks before leave, which the next one may use again.
#[derive(Clone)]
pub(super) struct Coder {
    settings: &'static Settings,
    literals: literals::Coder,
    /// The tables that the encoder made last of each kind, in the order of [`Kind::ALL`]; none if another one was used
    /// since.
    before: [Option<Table>; 3],
    fixed: [Table; 3],
}

impl Coder {
    pub(super) fn new(settings: &'static Settings) -> Self {
        Self {
            settings,
            literals: literals::Coder::new(settings.form),
            before: [None, None, None],
            fixed: Kind::ALL.map(|kind| Table::new(&kind.fixed())),
        }
    }

    /// Appends the block of `plain` with its header.
    pub(super) fn write(&mut self, plain: &[u8], found: &Found, is_last: bool, output: &mut Vec<u8>) {
        let start = output.len();
        let header = |kind: u8, size: usize| {
            let header = usize::from(is_last) | usize::from(kind) << 1 | size << 3;
            <[u8; 3]>::try_from(&header.to_le_bytes()[..3]).unwrap_or_default()
        };
        if let Some(byte) = self.one_byte(plain, found) {
            output.extend(header(ONE, plain.len()));
            output.push(byte);
            return;
        }
        if !found.sequences.is_empty() && self.saves_enough(plain, found) {
            output.extend([0; 3]);
            let is_written = self.compress(found, start + 3 + plain.len(), output);
            let size = output.len() - start - 3;
            if is_written.is_some() {
                output[start..start + 3].copy_from_slice(&header(COMPRESSED, size));
                return;
            }
            output.truncate(start);
            self.literals.give_up();
        } else if self.settings.codes_literals_alone() && !self.is_taken_for_noise(plain, found) {
            output.extend([0; 3]);
            let kind = self.literals.write_alone(plain, output);
            if let Some(kind) = kind {
                let size = if kind == ONE { plain.len() } else { output.len() - start - 3 };
                output[start..start + 3].copy_from_slice(&header(kind, size));
                return;
            }
            output.truncate(start);
        }
        output.extend(header(RAW, plain.len()));
        output.extend_from_slice(plain);
    }

    /// Tells whether a full block without matches is stored without a try.
    fn is_taken_for_noise(&self, plain: &[u8], found: &Found) -> bool {
        self.settings.form == Form::LargeMargin
            && found.sequences.is_empty()
            && plain.len() == self.settings.block_size()
    }

    /// Tells whether matches leave few enough literals.
    fn saves_enough(&self, plain: &[u8], found: &Found) -> bool {
        plain.len() >= found.literals.len() + (plain.len() >> self.settings.form.margin_log()) + MIN_SAVED
    }

    /// Returns the byte that a block consists of, if it is one match at distance 1.
    fn one_byte(&self, plain: &[u8], found: &Found) -> Option<u8> {
        match found.sequences[..] {
            [Sequence { literals, offset: 4, .. }]
                if self.settings.form.knows_one_byte()
                    && literals <= 1
                    && usize::try_from(literals) == Ok(found.literals.len()) =>
            {
                plain.first().copied()
            }
            _ => None,
        }
    }

    /// Appends a compressed block without its header; `None` if it has no use below `max` bytes of output.
    fn compress(&mut self, found: &Found, max: usize, output: &mut Vec<u8>) -> Option<()> {
        self.literals.write(&found.literals, output)?;
        let count = found.sequences.len();
        match (count, count.checked_sub(0x7f00)) {
            (..128, _) => output.extend_from_slice(&count.to_le_bytes()[..1]),
            (_, Some(more)) => {
                output.push(255);
                output.extend_from_slice(&more.to_le_bytes()[..2]);
            }
            _ => output.extend([128 + count.to_le_bytes()[1], count.to_le_bytes()[0]]),
        }
        let (codes, counts) = sequences::codes(&found.sequences);
        let choose =
            |kind: usize| choose(&counts[kind], count, &self.fixed[kind], self.before[kind].as_ref());
        let [first, second, third] = [0, 1, 2].map(choose);
        let sources = [first?, second?, third?];
        let modes = sources.iter().fold(0, |modes, source| modes << 2 | source.mode());
        output.push(modes << 2);
        for source in &sources {
            match source {
                Choice::One(symbol, _) => output.push(*symbol),
                Choice::Own(frequencies, _) => output.extend(frequencies.write()),
                Choice::Fixed | Choice::Before => {}
            }
        }
        let tables = [0, 1, 2].map(|kind| self.table(kind, &sources[kind]));
        let [Some(literals), Some(offsets), Some(sizes)] = tables else { return None };
        let behind = std::mem::take(output);
        *output = sequences::write(&found.sequences, &codes, [literals, offsets, sizes], behind)?;
        if output.len() >= max {
            return None;
        }
        for (before, choice) in self.before.iter_mut().zip(sources) {
            match choice {
                Choice::Own(_, table) => *before = Some(table),
                Choice::Fixed | Choice::One(..) => *before = None,
                Choice::Before => {}
            }
        }
        Some(())
    }

    fn table<'t>(&'t self, kind: usize, choice: &'t Choice) -> Option<&'t Table> {
        match choice {
            Choice::Fixed => Some(&self.fixed[kind]),
            Choice::Before => self.before[kind].as_ref(),
            Choice::One(_, table) | Choice::Own(_, table) => Some(table),
        }
    }

    /// Takes over what a block leaves that was written otherwise than the encoder would have written it.
    pub(super) fn learn(&mut self, outline: Outline) {
        if let Some(own) = outline.code {
            self.literals.learn(own);
        }
        for (before, source) in self.before.iter_mut().zip(outline.tables.into_iter().flatten()) {
            match source {
                Source::Own(frequencies) => *before = Some(Table::new(&frequencies)),
                Source::Fixed | Source::One(_) => *before = None,
                Source::Before => {}
            }
        }
    }
}

/// Chooses the table for `count` sequences whose codes of one kind have these counts.
pub(super) fn choose(
    counts: &[u32; 64],
    count: usize,
    fixed: &Table,
    before: Option<&Table>,
) -> Option<Choice> {
    let last = counts.iter().rposition(|count| *count > 0)?;
    if usize::try_from(counts[last]) == Ok(count) {
        let symbol = u8::try_from(last).ok()?;
        return Some(Choice::One(symbol, Table::of_one(symbol)));
    }
    let counts = &counts[..=last];
    let log = own_log(counts, count);
    let own = frequencies(counts, log)?;
    let table = Table::new(&own);
    let description = (((u32::try_from(counts.len()).ok()? * log) >> 3) + 3) * 8;
    let size = table.cost(counts).map_or(u32::MAX, |cost| cost.saturating_add(description));
    // A table of its own has to save a part of what it takes, and some bytes.
    let size = size.saturating_add(size.saturating_add(256) >> 4);
    let cost = |table: &Table| table.cost(counts).unwrap_or(u32::MAX);
    let fixed = cost(fixed);
    let before = before.map_or(u32::MAX, cost);
    Some(if fixed <= before && fixed <= size {
        Choice::Fixed
    } else if before <= size {
        Choice::Before
    } else {
        Choice::Own(own, table)
    })
}

/// Returns the base-2 logarithm of the places of a table of its own. The counts end with the last one that is not zero.
pub(super) fn own_log(counts: &[u32], count: usize) -> u32 {
    table_log(count, count, counts.len(), MAX_LOG)
}

/// The choice of a table.
pub(super) enum Choice {
    Fixed,
    One(u8, Table),
    Own(Frequencies, Table),
    Before,
}

impl Choice {
    /// Its number in the byte of modes.
    const fn mode(&self) -> u8 {
        match self {
            Self::Fixed => 0,
            Self::One(..) => 1,
            Self::Own(..) => 2,
            Self::Before => 3,
        }
    }
}
