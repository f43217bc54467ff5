//! The headers of a block, and of the two sections of a compressed one (RFC 8878, 3.1.1.2 and 3.1.1.3).

use super::MAX_BLOCK;

/// The kinds of blocks.
pub(crate) const RAW: u8 = 0;
pub(crate) const ONE: u8 = 1;
pub(crate) const COMPRESSED: u8 = 2;

/// Fewest bytes of a match.
const MIN_MATCH: usize = 3;
/// Most sequences of a block.
pub(crate) const MAX_SEQUENCES: usize = MAX_BLOCK / MIN_MATCH;
/// Number of sequences from which three bytes say it.
const LONG_COUNT: usize = 0x7f00;

/// The kind of literals that are coded with a description of their code. Those of kinds below have no code.
pub(crate) const OWN_CODE: u8 = 2;
/// The bytes of the header of coded literals and the bits of each size in it, by their format.
const CODED: [(usize, u32); 4] = [(3, 10), (3, 10), (4, 14), (5, 18)];
/// The bytes of the header of other literals and the bits before their number, by their format.
const PLAIN: [(usize, u32); 4] = [(1, 3), (2, 4), (1, 3), (3, 4)];

/// Returns the number that the first bytes are; `None` if there are fewer.
fn number(bytes: &[u8], size: usize) -> Option<u64> {
    Some(bytes.get(..size)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The header of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) is_last: bool,
    pub(crate) kind: u8,
    /// Bytes of a block that is compressed, and plain bytes of any other.
    pub(crate) size: usize,
}

impl BlockHeader {
    /// Its bytes.
    pub(crate) const SIZE: usize = 3;

    /// Reads the header that bytes begin with; `None` if they are too few.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let word = usize::try_from(number(bytes, Self::SIZE)?).ok()?;
        Some(Self { is_last: word & 1 != 0, kind: (word >> 1 & 3).to_le_bytes()[0], size: word >> 3 })
    }

    /// Returns the number of bytes that follow the header.
    pub(crate) const fn content_size(self) -> usize {
        if self.kind == ONE { 1 } else { self.size }
    }

    pub(crate) fn bytes(self) -> [u8; Self::SIZE] {
        let word = usize::from(self.is_last) | usize::from(self.kind) << 1 | self.size << 3;
        let [a, b, c, ..] = word.to_le_bytes();
        [a, b, c]
    }
}

/// The header of the literals of a compressed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiteralsHeader {
    /// Its low four bits: the kind of the literals, and the format of their sizes or, of some plain ones, a bit of it.
    pub(crate) form: u8,
    /// Its bytes.
    pub(crate) size: usize,
    /// The number of literals, and of the bytes that make them.
    pub(crate) literals: usize,
    pub(crate) encoded: usize,
}

impl LiteralsHeader {
    /// Reads the header of a block's content; `None` if it is broken.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        let form = content.first()? & 15;
        let index = |number: u64| usize::try_from(number).ok().filter(|number| *number <= MAX_BLOCK);
        if kind(form) < OWN_CODE {
            let (size, shift) = PLAIN[format(form)];
            let literals = index(number(content, size)? >> shift)?;
            let encoded = if kind(form) == 0 { literals } else { 1 };
            return Some(Self { form, size, literals, encoded });
        }
        let (size, width) = CODED[format(form)];
        let (head, mask) = (number(content, size)? >> 4, (1u64 << width) - 1);
        Some(Self { form, size, literals: index(head & mask)?, encoded: index(head >> width & mask)? })
    }

    pub(crate) const fn kind(self) -> u8 {
        kind(self.form)
    }

    /// Returns the form without a bit that is of a size.
    pub(crate) const fn own_form(self) -> u8 {
        own_form(self.form)
    }
}

const fn kind(form: u8) -> u8 {
    form & 3
}

const fn format(form: u8) -> usize {
    (form >> 2 & 3) as usize
}

const fn own_form(form: u8) -> u8 {
    if kind(form) < OWN_CODE && PLAIN[format(form)].1 == 3 { form & 7 } else { form }
}

/// Makes the header of so many literals, which so many bytes make; `None` if the form has no room for them.
pub(crate) fn literals_header(form: u8, literals: usize, encoded: usize) -> Option<Vec<u8>> {
    let (form, literals, encoded) = (own_form(form), literals as u64, encoded as u64);
    let is_plain = kind(form) < OWN_CODE;
    let (size, value) = if is_plain {
        let (size, shift) = PLAIN[format(form)];
        (size, (literals >> (8 * size - shift as usize) == 0).then_some(literals << shift)?)
    } else {
        let (size, width) = CODED[format(form)];
        let fits = literals >> width == 0 && encoded >> width == 0;
        (size, fits.then_some(literals << 4 | encoded << (4 + width))?)
    };
    Some((u64::from(form) | value).to_le_bytes()[..size].to_vec())
}

/// Tells whether the literals of a form lie in four streams.
pub(crate) const fn is_four(form: u8) -> bool {
    format(form) != 0
}

/// Reads the number of sequences, and how many bytes say it.
pub(crate) fn sequence_count(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [few, ..] if few < 128 => Some((usize::from(few), 1)),
        [high, low, ..] if high < 255 => Some(((usize::from(high) - 128) << 8 | usize::from(low), 2)),
        [_, low, high, ..] => Some(((usize::from(high) << 8 | usize::from(low)) + LONG_COUNT, 3)),
        _ => None,
    }
}

/// Appends the number of sequences; `None` if a block cannot have so many.
pub(crate) fn put_sequence_count(count: usize, content: &mut Vec<u8>) -> Option<()> {
    match (count, count.checked_sub(LONG_COUNT)) {
        (..128, _) => content.extend_from_slice(&count.to_le_bytes()[..1]),
        (_, Some(more)) => {
            content.push(255);
            content.extend(u16::try_from(more).ok()?.to_le_bytes());
        }
        _ => content.extend([128 + count.to_le_bytes()[1], count.to_le_bytes()[0]]),
    }
    Some(())
}
