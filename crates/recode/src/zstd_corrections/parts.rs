//! The parts of a compressed block (RFC 8878, 3.1.1.3): all that its plain bytes do not say.

use crate::zstd_blocks::bits::Writer;
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::sequences::{Sequence, Source, Tables};

/// Most plain bytes of a block, and most bytes of its content.
pub(super) const MAX_BLOCK: usize = 128 << 10;
/// Literals that are coded with a description of their code, and with the code before.
pub(super) const OWN_CODE: u8 = 2;
pub(super) const CODE_BEFORE: u8 = 3;
/// Fewest bytes of a match.
const MIN_MATCH: usize = 3;
/// Number of sequences from which three bytes say it.
const LONG_COUNT: usize = 0x7f00;

/// The code and the tables that blocks leave to the next one.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) code: Option<Code>,
    pub(super) tables: Tables,
}

/// A compressed block without its literals, which follow from the plain bytes and the sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// The low four bits of the header of the literals: their kind and the format of their sizes.
    pub(super) form: u8,
    /// The description of the code of the literals, for [`OWN_CODE`] alone.
    pub(super) description: Vec<u8>,
    pub(super) sequences: Vec<Sequence>,
    /// The tables of literals, offsets and sizes, if there are sequences.
    pub(super) sources: Option<[Source; 3]>,
}

/// The bytes of the header of coded literals and the bits of each size in it, by their format.
const CODED_HEADERS: [(usize, u32); 4] = [(3, 10), (3, 10), (4, 14), (5, 18)];
/// The bytes of the header of other literals and the bits before their number, by their format.
const PLAIN_HEADERS: [(usize, u32); 4] = [(1, 3), (2, 4), (1, 3), (3, 4)];

impl Parts {
    /// Takes a block apart and returns the number of its literals, too; `None` if it is broken.
    pub(super) fn read(content: &[u8], known: &mut Known) -> Option<(Self, usize)> {
        let first = *content.first()?;
        let (kind, format) = (first & 3, usize::from(first >> 2 & 3));
        let number = |size: usize| {
            let bytes = content.get(..size)?;
            Some(bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
        };
        let index = |number: u64| usize::try_from(number).ok().filter(|number| *number <= MAX_BLOCK);
        let mut description = Vec::new();
        let (form, literals, mut at);
        if kind < OWN_CODE {
            let (size, shift) = PLAIN_HEADERS[format];
            form = if shift == 3 { first & 7 } else { first & 15 };
            literals = index(number(size)? >> shift)?;
            at = size + if kind == 0 { literals } else { 1 };
        } else {
            let (size, width) = CODED_HEADERS[format];
            let (head, mask) = (number(size)? >> 4, (1u64 << width) - 1);
            form = first & 15;
            literals = index(head & mask)?;
            at = size + index(head >> width & mask)?;
            if kind == OWN_CODE {
                let rest = content.get(size..at)?;
                let (code, of_code) = Code::read(rest)?;
                description = rest[..of_code].to_vec();
                known.code = Some(code);
            }
        }
        let (count, size) = match *content.get(at..)? {
            [few, ..] if few < 128 => (usize::from(few), 1),
            [high, low, ..] if high < 255 => ((usize::from(high) - 128) << 8 | usize::from(low), 2),
            [_, low, high, ..] => ((usize::from(high) << 8 | usize::from(low)) + LONG_COUNT, 3),
            _ => return None,
        };
        at += size;
        if count > MAX_BLOCK / MIN_MATCH {
            return None;
        }
        if count == 0 {
            let parts = Self { form, description, sequences: Vec::new(), sources: None };
            return (at == content.len()).then_some((parts, literals));
        }
        let (sources, size) = Source::read(content.get(at..)?)?;
        known.tables.take(&sources)?;
        let sequences = known.tables.decode(content.get(at + size..)?, count)?;
        Some((Self { form, description, sequences, sources: Some(sources) }, literals))
    }

    /// Makes the content of the block; `None` if no block has these parts.
    pub(super) fn write(&self, literals: &[u8], known: &mut Known) -> Option<Vec<u8>> {
        let (kind, format) = (self.form & 3, usize::from(self.form >> 2 & 3));
        let head = |size: usize, value: u64| value.to_le_bytes()[..size].to_vec();
        let number = literals.len() as u64;
        let mut content;
        if kind < OWN_CODE {
            let (size, shift) = PLAIN_HEADERS[format];
            if number >> (8 * size - shift as usize) != 0 {
                return None;
            }
            content = head(size, u64::from(self.form) | number << shift);
            content.extend_from_slice(if kind == 0 { literals } else { literals.get(..1)? });
        } else {
            let mut streams = self.description.clone();
            if kind == OWN_CODE {
                known.code = Some(Code::read(&self.description)?.0);
            }
            streams = coded(known.code.as_ref()?, literals, format != 0, streams)?;
            let (size, width) = CODED_HEADERS[format];
            let encoded = streams.len() as u64;
            if number >> width != 0 || encoded >> width != 0 {
                return None;
            }
            content = head(size, u64::from(self.form) | number << 4 | encoded << (4 + width));
            content.extend(streams);
        }
        let count = self.sequences.len();
        match (count, count.checked_sub(LONG_COUNT)) {
            (..128, _) => content.extend_from_slice(&count.to_le_bytes()[..1]),
            (_, Some(more)) => content.extend([255, more.to_le_bytes()[0], more.to_le_bytes()[1]]),
            _ => content.extend([128 + count.to_le_bytes()[1], count.to_le_bytes()[0]]),
        }
        if let Some(sources) = &self.sources {
            content.push(sources.iter().fold(0, |modes, source| modes << 2 | source.mode()) << 2);
            for source in sources {
                match source {
                    Source::One(symbol) => content.push(*symbol),
                    Source::Own(frequencies) => content.extend(frequencies.write()),
                    Source::Fixed | Source::Before => {}
                }
            }
            known.tables.take(sources)?;
            content.extend(known.tables.encode(&self.sequences)?);
        }
        (content.len() <= MAX_BLOCK).then_some(content)
    }
}

/// Codes literals behind the description of their code, in one stream or in four.
pub(super) fn coded(code: &Code, literals: &[u8], is_four: bool, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    if !is_four {
        return code.encode_behind(bytes, literals);
    }
    let sizes = bytes.len();
    bytes.extend([0; 6]);
    let part = literals.len().div_ceil(4);
    for index in 0..4 {
        let before = bytes.len();
        let end = if index < 3 { (index + 1) * part } else { literals.len() };
        bytes = code.encode_behind(bytes, literals.get(index * part..end)?)?;
        if index < 3 {
            let size = u16::try_from(bytes.len() - before).ok()?;
            bytes[sizes + 2 * index..][..2].copy_from_slice(&size.to_le_bytes());
        }
    }
    Some(bytes)
}

/// Codes symbols by two states in turn, behind the description of their table (RFC 8878, 4.2.1.2).
pub(super) fn coded_by_two_states(
    table: &crate::zstd_blocks::fse::Table,
    symbols: &[u8],
    bytes: Vec<u8>,
) -> Option<Vec<u8>> {
    let mut bits = Writer::behind(bytes);
    let mut states: [Option<u32>; 2] = [None; 2];
    for (index, symbol) in symbols.iter().enumerate().rev() {
        let state = &mut states[index % 2];
        *state = Some(match *state {
            None => table.last(*symbol)?,
            Some(state) => table.write(state, *symbol, &mut bits)?,
        });
    }
    table.end(states[1]?, &mut bits);
    table.end(states[0]?, &mut bits);
    Some(bits.finish())
}
