//! The cost of each byte of a zstd block, in bits (RFC 8878, 3.1.1.3).
//!
//! A block is literals and sequences, each of which is a run of literals and a match with earlier
//! bytes. A literal costs its Huffman code, a match the bits of its sequence; these are laid on the
//! first byte of the match. The tables of the block are nobody's: callers scale the costs to the
//! size of the block.

use crate::fse::{BackwardBits, CodeSizes, FseTable, read_code_sizes};

/// Bits a byte where it is stored as it is.
const RAW: u32 = 8;

/// The tables that a block may take over from the one before it.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    literals: Option<CodeSizes>,
    literal_sizes: Option<FseTable>,
    offsets: Option<FseTable>,
    match_sizes: Option<FseTable>,
}

/// Bits that each byte of `output` takes in the compressed block `content`. `None` if that cannot
/// be told, which is so for no block that a decoder accepts.
pub(crate) fn compressed(content: &[u8], output: &[u8], tables: &mut Tables) -> Option<Vec<u32>> {
    let (literals, sequences) = Literals::read(content, tables)?;
    let mut costs = Costs { bits: Vec::with_capacity(output.len()), output, literals };
    let (count, rest) = sequence_count(sequences)?;
    if count > 0 {
        let (&modes, rest) = rest.split_first()?;
        let (lls, rest) = table(&LITERAL_SIZES, modes >> 6, rest, &mut tables.literal_sizes)?;
        let (ofs, rest) = table(&OFFSETS, modes >> 4 & 3, rest, &mut tables.offsets)?;
        let (mls, rest) = table(&MATCH_SIZES, modes >> 2 & 3, rest, &mut tables.match_sizes)?;
        let mut bits = BackwardBits::new(rest)?;
        let mut ll = lls.start(&mut bits);
        let mut of = ofs.start(&mut bits);
        let mut ml = mls.start(&mut bits);
        for index in 0..count {
            let before = bits.left();
            bits.read(u32::from(ofs.symbol(of)?));
            let match_size = size_of(&MATCH_BASES, mls.symbol(ml)?, 3, &mut bits)?;
            let literal_size = size_of(&LITERAL_BASES, lls.symbol(ll)?, 0, &mut bits)?;
            if index + 1 < count {
                ll = lls.next(ll, &mut bits)?;
                ml = mls.next(ml, &mut bits)?;
                of = ofs.next(of, &mut bits)?;
            }
            let taken = u32::try_from(before - bits.left()).ok()?;
            costs.take_literals(literal_size)?;
            costs.take_match(match_size, taken)?;
        }
    }
    costs.take_literals(output.len() - costs.bits.len())?;
    Some(costs.bits)
}

/// Bits of each byte of a block that is stored as it is.
pub(crate) fn raw(output: &[u8]) -> Vec<u32> {
    vec![RAW; output.len()]
}

/// Bits of each byte of a block that is one byte again and again.
pub(crate) fn repeated(output: &[u8]) -> Vec<u32> {
    let mut bits = vec![0; output.len()];
    if let Some(first) = bits.first_mut() {
        *first = RAW;
    }
    bits
}

struct Costs<'o> {
    bits: Vec<u32>,
    output: &'o [u8],
    literals: Literals,
}

impl Costs<'_> {
    fn take_literals(&mut self, size: usize) -> Option<()> {
        let start = self.bits.len();
        for byte in self.output.get(start..start.checked_add(size)?)? {
            self.bits.push(match &mut self.literals {
                Literals::Raw => RAW,
                Literals::Repeated(first) => std::mem::take(first),
                Literals::Coded(sizes) => u32::from(sizes[usize::from(*byte)]),
            });
        }
        Some(())
    }

    fn take_match(&mut self, size: usize, bits: u32) -> Option<()> {
        let end = self.bits.len().checked_add(size).filter(|end| *end <= self.output.len())?;
        self.bits.push(bits);
        self.bits.resize(end, 0);
        Some(())
    }
}

/// The encoding of the literals of a block.
enum Literals {
    Raw,
    /// One byte again and again; the bits that the first of them costs.
    Repeated(u32),
    Coded(Box<CodeSizes>),
}

impl Literals {
    /// Reads the literals section; gives the sequences section too.
    fn read<'c>(content: &'c [u8], tables: &mut Tables) -> Option<(Self, &'c [u8])> {
        let head = *content.first()?;
        let (kind, format) = (head & 3, head >> 2 & 3);
        let field = |size: usize| -> Option<u64> {
            let bytes = content.get(..size)?;
            Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        };
        let size =
            |value: u64, shift: u32, bits: u32| usize::try_from(value >> shift & ((1 << bits) - 1)).ok();
        if kind < 2 {
            let (header, shift, bits) = match format {
                0 | 2 => (1, 3, 5),
                1 => (2, 4, 12),
                _ => (3, 4, 20),
            };
            let regenerated = size(field(header)?, shift, bits)?;
            let stored = if kind == 0 { regenerated } else { 1 };
            let literals = if kind == 0 { Self::Raw } else { Self::Repeated(RAW) };
            return Some((literals, content.get(header.checked_add(stored)?..)?));
        }
        let (header, bits) = match format {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let compressed = size(field(header)?, 4 + bits, bits)?;
        let (section, sequences) = content.get(header..)?.split_at_checked(compressed)?;
        if kind == 2 {
            tables.literals = Some(read_code_sizes(section)?.0);
        }
        Some((Self::Coded(Box::new(tables.literals?)), sequences))
    }
}

fn sequence_count(section: &[u8]) -> Option<(usize, &[u8])> {
    match *section {
        [0, ref rest @ ..] => Some((0, rest)),
        [255, low, high, ref rest @ ..] => Some((usize::from(low) + (usize::from(high) << 8) + 0x7f00, rest)),
        [high @ 128..=254, low, ref rest @ ..] => {
            Some(((usize::from(high) - 128) << 8 | usize::from(low), rest))
        }
        [count @ 1..128, ref rest @ ..] => Some((usize::from(count), rest)),
        _ => None,
    }
}

/// One of the three codes of sequences.
struct Code {
    accuracy_log: u32,
    default: &'static [i16],
    max_accuracy_log: u32,
    symbols: usize,
}

/// Takes the table that a block's `mode` asks for and keeps it for the next block.
fn table<'b, 't>(
    code: &Code,
    mode: u8,
    bytes: &'b [u8],
    kept: &'t mut Option<FseTable>,
) -> Option<(&'t FseTable, &'b [u8])> {
    let mut rest = bytes;
    match mode {
        0 => *kept = FseTable::build(code.default, code.accuracy_log),
        1 => {
            let (&symbol, after) = bytes.split_first()?;
            rest = after;
            *kept = Some(FseTable::single(symbol));
        }
        2 => {
            let (read, after) = FseTable::read(bytes, code.max_accuracy_log, code.symbols)?;
            rest = after;
            *kept = Some(read);
        }
        _ => {}
    }
    Some((kept.as_ref()?, rest))
}

/// The size that a code and its extra bits stand for. Codes below those with extra bits are the
/// size itself, counted from `least`.
fn size_of(bases: &[(usize, u32)], code: u8, least: usize, bits: &mut BackwardBits<'_>) -> Option<usize> {
    let code = usize::from(code);
    let first = bases.first()?.0 - least;
    let Some(index) = code.checked_sub(first) else { return Some(code + least) };
    let &(base, extra) = bases.get(index)?;
    Some(base + bits.read(extra) as usize)
}

/// Base and extra bits of the literal size codes from 16 on (RFC 8878, table 16).
const LITERAL_BASES: [(usize, u32); 20] = [
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];
/// Base and extra bits of the match size codes from 32 on (RFC 8878, table 17).
const MATCH_BASES: [(usize, u32); 21] = [
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

// The default distributions (RFC 8878, 3.1.1.3.2.2).
const LITERAL_SIZES: Code = Code {
    accuracy_log: 6,
    default: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1,
        -1, -1, -1,
    ],
    max_accuracy_log: 9,
    symbols: 36,
};
const OFFSETS: Code = Code {
    accuracy_log: 5,
    default: &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
    max_accuracy_log: 8,
    symbols: 32,
};
const MATCH_SIZES: Code = Code {
    accuracy_log: 6,
    default: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
    max_accuracy_log: 9,
    symbols: 53,
};
