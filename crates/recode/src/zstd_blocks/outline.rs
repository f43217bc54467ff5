//! The outline of a compressed block: its numbers, its codes and tables, and where its sequences lie, but nothing of
//! what its streams say.

use super::MAX_BLOCK;
use super::huffman::Code;
use super::sequences::{Source, Tables};

/// Fewest bytes of a match.
const MIN_MATCH: usize = 3;

/// The outline of a compressed block.
pub(crate) struct Outline {
    /// Number of literals.
    literals: usize,
    /// The code of the literals, if they have one: their own, or none if it is the one before.
    pub(crate) code: Option<Option<Code>>,
    /// The tables, if there are sequences.
    pub(crate) tables: Option<[Source; 3]>,
    /// Number of sequences.
    sequences: usize,
    /// The offset at which their stream begins.
    start: usize,
}

impl Outline {
    /// Reads the outline of a block by its content; `None` if it is none.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        let first = *content.first()?;
        let (kind, format) = (first & 3, usize::from(first >> 2 & 3));
        let number = |size: usize| {
            let bytes = content.get(..size)?;
            Some(bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
        };
        let index = |number: u64| usize::try_from(number).ok().filter(|number| *number <= MAX_BLOCK);
        let (literals, mut at, code) = if kind < 2 {
            let (size, shift) = [(1, 3), (2, 4), (1, 3), (3, 4)][format];
            let literals = index(number(size)? >> shift)?;
            (literals, size + if kind == 0 { literals } else { 1 }, None)
        } else {
            let (size, width) = [(3, 10), (3, 10), (4, 14), (5, 18)][format];
            let head = number(size)? >> 4;
            let code = if kind == 2 { Some(Code::read(content.get(size..)?)?.0) } else { None };
            (index(head & ((1 << width) - 1))?, size + index(head >> width)?, Some(code))
        };
        let (sequences, size) = match *content.get(at..)? {
            [few, ..] if few < 128 => (usize::from(few), 1),
            [high, low, ..] if high < 255 => ((usize::from(high) - 128) << 8 | usize::from(low), 2),
            [_, low, high, ..] => ((usize::from(high) << 8 | usize::from(low)) + 0x7f00, 3),
            _ => return None,
        };
        at += size;
        let mut tables = None;
        if sequences > 0 {
            let (sources, size) = Source::read(content.get(at..)?)?;
            tables = Some(sources);
            at += size;
        }
        Some(Self { literals, code, tables, sequences, start: at })
    }

    /// Returns the number of plain bytes of the block, of which this is the outline. `tables` are those
    /// before the block, and become those of the block.
    pub(crate) fn plain_size(&self, content: &[u8], tables: &mut Tables) -> Option<usize> {
        let mut size = self.literals;
        if self.sequences > MAX_BLOCK / MIN_MATCH {
            return None;
        }
        if let Some(sources) = &self.tables {
            tables.take(sources)?;
            for sequence in tables.decode(content.get(self.start..)?, self.sequences)? {
                size = size.checked_add(usize::try_from(sequence.size).ok()?)?;
            }
        }
        Some(size).filter(|size| *size <= MAX_BLOCK)
    }
}
