//! The sequences of a block: literals that are taken, and matches (RFC 8878, 3.1.1.3.2).

use super::bits::{Reader, Writer};
use super::fse::{Frequencies, Table};

/// A sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Literals before the match.
    pub(crate) literals: u32,
    /// Bytes of the match.
    pub(crate) size: u32,
    /// The distance and 3, or the number of a distance that was used before.
    pub(crate) offset: u32,
}

/// Bits that follow a code of 16 and more, for literals, and of 32 and more, for matches.
const LITERAL_BITS: [u8; 20] = [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const SIZE_BITS: [u8; 21] = [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const LEAST_SIZE: u32 = 3;
/// Largest code of an offset: their bits.
const MAX_OFFSET_CODE: u8 = 31;

const LITERALS: [i16; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1,
    -1, -1,
];
const OFFSETS: [i16; 29] =
    [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];
const SIZES: [i16; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];

/// The number of codes of each kind.
pub(crate) const MAX_SYMBOLS: [usize; 3] = [LITERALS.len(), MAX_OFFSET_CODE as usize + 1, SIZES.len()];

/// The kinds of symbols in the order of their tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Literals,
    Offsets,
    Sizes,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Literals, Self::Offsets, Self::Sizes];

    /// The frequencies that a table has which nothing describes.
    pub(crate) fn fixed(self) -> Frequencies {
        match self {
            Self::Literals => Frequencies::fixed(6, &LITERALS),
            Self::Offsets => Frequencies::fixed(5, &OFFSETS),
            Self::Sizes => Frequencies::fixed(6, &SIZES),
        }
    }
}

/// The place from which a block has a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Fixed,
    One(u8),
    Own(Frequencies),
    Before,
}

impl Source {
    /// Reads the modes and the descriptions of the three tables. Gives their size in bytes, too.
    pub(crate) fn read(bytes: &[u8]) -> Option<([Self; 3], usize)> {
        let (modes, _) = bytes.split_first()?;
        if modes & 3 != 0 {
            return None;
        }
        let mut at = 1;
        let mut next = |mode, max_log, symbols| {
            Some(match mode & 3 {
                0 => Self::Fixed,
                1 => {
                    let symbol = *bytes.get(at).filter(|symbol| usize::from(**symbol) < symbols)?;
                    at += 1;
                    Self::One(symbol)
                }
                2 => {
                    let (frequencies, size) = Frequencies::read(bytes.get(at..)?, max_log, symbols)?;
                    at += size;
                    Self::Own(frequencies)
                }
                _ => Self::Before,
            })
        };
        let literals = next(modes >> 6, 9, LITERALS.len())?;
        let offsets = next(modes >> 4, 8, usize::from(MAX_OFFSET_CODE) + 1)?;
        let sizes = next(modes >> 2, 9, SIZES.len())?;
        Some(([literals, offsets, sizes], at))
    }

    /// Its number in the byte of modes.
    pub(crate) const fn mode(&self) -> u8 {
        match self {
            Self::Fixed => 0,
            Self::One(_) => 1,
            Self::Own(_) => 2,
            Self::Before => 3,
        }
    }

    /// Sets a table; `None` if it ought to be there and is not.
    fn put(&self, kind: Kind, table: &mut Option<Table>) -> Option<()> {
        match self {
            Self::Fixed => *table = Some(Table::new(&kind.fixed())),
            Self::One(symbol) => *table = Some(Table::of_one(*symbol)),
            Self::Own(frequencies) => *table = Some(Table::new(frequencies)),
            Self::Before => table.as_ref().map(|_| ())?,
        }
        Some(())
    }
}

/// The tables of one block; the next may have the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    literals: Option<Table>,
    offsets: Option<Table>,
    sizes: Option<Table>,
}

impl Tables {
    /// Reads the modes and the descriptions of the tables. Gives their size in bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let (sources, size) = Source::read(bytes)?;
        self.take(&sources)?;
        Some(size)
    }

    /// Sets the tables.
    pub(crate) fn take(&mut self, [literals, offsets, sizes]: &[Source; 3]) -> Option<()> {
        literals.put(Kind::Literals, &mut self.literals)?;
        offsets.put(Kind::Offsets, &mut self.offsets)?;
        sizes.put(Kind::Sizes, &mut self.sizes)
    }

    /// Reads all sequences.
    pub(crate) fn decode(&self, stream: &[u8], count: usize) -> Option<Vec<Sequence>> {
        let Self { literals, offsets, sizes } = self;
        let (literals, offsets, sizes) = (literals.as_ref()?, offsets.as_ref()?, sizes.as_ref()?);
        let mut bits = Reader::new(stream)?;
        let mut states = [literals.start(&mut bits), offsets.start(&mut bits), sizes.start(&mut bits)];
        let mut sequences = Vec::with_capacity(count);
        for index in 0..count {
            let codes = [literals.symbol(states[0]), offsets.symbol(states[1]), sizes.symbol(states[2])];
            let offset = (1 << codes[1]) | bits.take(codes[1].into());
            let (base, more) = size_of(codes[2])?;
            let size = base + bits.take(more);
            let (base, more) = literals_of(codes[0])?;
            sequences.push(Sequence { literals: base + bits.take(more), size, offset });
            if index + 1 < count {
                states[0] = literals.follow(states[0], &mut bits);
                states[2] = sizes.follow(states[2], &mut bits);
                states[1] = offsets.follow(states[1], &mut bits);
            }
            if bits.left() < 0 {
                return None;
            }
        }
        (bits.left() == 0).then_some(sequences)
    }

    /// Makes the stream of sequences; `None` if the tables lack a symbol of them.
    pub(crate) fn encode(&self, sequences: &[Sequence]) -> Option<Vec<u8>> {
        let Self { literals, offsets, sizes } = self;
        let (literals, offsets, sizes) = (literals.as_ref()?, offsets.as_ref()?, sizes.as_ref()?);
        let mut bits = Writer::default();
        let mut states: Option<[u32; 3]> = None;
        for sequence in sequences.iter().rev() {
            let (of_literals, of_size) = (code_of_literals(sequence.literals)?, code_of_size(sequence.size)?);
            let of_offset = u8::try_from(sequence.offset.checked_ilog2()?).ok()?;
            states = Some(match states {
                None => [literals.last(of_literals)?, offsets.last(of_offset)?, sizes.last(of_size)?],
                Some([of_literal, of, of_sizes]) => {
                    let of = offsets.write(of, of_offset, &mut bits)?;
                    let of_sizes = sizes.write(of_sizes, of_size, &mut bits)?;
                    [literals.write(of_literal, of_literals, &mut bits)?, of, of_sizes]
                }
            });
            let (base, more) = literals_of(of_literals)?;
            bits.put(sequence.literals - base, more);
            let (base, more) = size_of(of_size)?;
            bits.put(sequence.size - base, more);
            bits.put(sequence.offset, of_offset.into());
        }
        let [of_literals, of_offsets, of_sizes] = states?;
        sizes.end(of_sizes, &mut bits);
        offsets.end(of_offsets, &mut bits);
        literals.end(of_literals, &mut bits);
        Some(bits.finish())
    }
}

/// The least number that a code stands for, and the bits that follow it. Codes below `plain` stand for one number.
fn range(code: u8, plain: u8, least: u32, bits: &[u8]) -> Option<(u32, u32)> {
    let Some(above) = code.checked_sub(plain) else { return Some((least + u32::from(code), 0)) };
    let before = bits.get(..usize::from(above))?;
    let base = before.iter().map(|bits| 1u32 << bits).sum::<u32>();
    Some((least + u32::from(plain) + base, u32::from(*bits.get(usize::from(above))?)))
}

fn code(number: u32, plain: u8, least: u32, bits: &[u8]) -> Option<u8> {
    let mut rest = number.checked_sub(least)?;
    if rest < u32::from(plain) {
        return u8::try_from(rest).ok();
    }
    rest -= u32::from(plain);
    for (above, bits) in (plain..).zip(bits) {
        match rest.checked_sub(1 << bits) {
            Some(less) => rest = less,
            None => return Some(above),
        }
    }
    None
}

/// Returns the codes of a sequence, in the order of [`Kind::ALL`]; `None` if one of its numbers has none.
pub(crate) fn codes(sequence: Sequence) -> Option<[u8; 3]> {
    let of_offset = u8::try_from(sequence.offset.checked_ilog2()?).ok()?;
    Some([code_of_literals(sequence.literals)?, of_offset, code_of_size(sequence.size)?])
}

fn literals_of(code: u8) -> Option<(u32, u32)> {
    range(code, 16, 0, &LITERAL_BITS)
}

fn size_of(code: u8) -> Option<(u32, u32)> {
    range(code, 32, LEAST_SIZE, &SIZE_BITS)
}

fn code_of_literals(number: u32) -> Option<u8> {
    code(number, 16, 0, &LITERAL_BITS)
}

fn code_of_size(number: u32) -> Option<u8> {
    code(number, 32, LEAST_SIZE, &SIZE_BITS)
}
