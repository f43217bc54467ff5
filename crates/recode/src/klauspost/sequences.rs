//! The sequences of a block: their codes, and the stream of all of them.

use super::finder::Sequence;
use crate::zstd_blocks::bits::Writer;
use crate::zstd_blocks::fse::Table;

/// Bits that follow the codes of numbers of literals.
const LITERAL_BITS: [u8; 36] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13,
    14, 15, 16,
];
/// Bits that follow the codes of sizes of matches less three.
pub(super) const SIZE_BITS: [u8; 53] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1,
    1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];
const SMALL_LITERALS: [u8; 64] = small_codes(&LITERAL_BITS);
const SMALL_SIZES: [u8; 128] = small_codes(&SIZE_BITS);
/// By how much the codes of larger numbers are above their base-2 logarithms.
const LARGE_LITERALS: u32 = 19;
const LARGE_SIZES: u32 = 36;

/// The codes of a sequence: of its literals, its offset and its size.
pub(super) type Codes = [u8; 3];

/// The number of times that each code comes, in the same order.
pub(super) type Counts = [[u32; 64]; 3];

/// Returns the codes of small numbers.
#[expect(clippy::cast_possible_truncation, reason = "there are at most 53 codes")]
const fn small_codes<const NUMBERS: usize>(bits: &[u8]) -> [u8; NUMBERS] {
    let mut codes = [0; NUMBERS];
    let (mut number, mut code, mut left) = (0, 0, 1usize << bits[0]);
    while number < NUMBERS {
        if left == 0 {
            code += 1;
            left = 1 << bits[code];
        }
        codes[number] = code as u8;
        left -= 1;
        number += 1;
    }
    codes
}

/// Returns the code of the size of a match less three.
#[expect(clippy::cast_possible_truncation, reason = "logarithms of 32 bits are below 32")]
pub(super) fn size_code(size: u32) -> u8 {
    let small = SMALL_SIZES.get(size as usize).copied();
    small.unwrap_or_else(|| (size.ilog2() + LARGE_SIZES) as u8)
}

/// Returns the codes of sequences, and how often each comes.
#[expect(clippy::cast_possible_truncation, reason = "logarithms of 32 bits are below 32")]
pub(super) fn codes(sequences: &[Sequence]) -> (Vec<Codes>, Counts) {
    let mut counts = [[0; 64]; 3];
    let codes = sequences.iter().map(|sequence| {
        let Sequence { literals, size, offset } = *sequence;
        let of_literals = SMALL_LITERALS.get(literals as usize).copied();
        let codes = [
            of_literals.unwrap_or_else(|| (literals.ilog2() + LARGE_LITERALS) as u8),
            offset.checked_ilog2().unwrap_or(0) as u8,
            size_code(size),
        ];
        for (counts, code) in counts.iter_mut().zip(codes) {
            counts[usize::from(code & 63)] += 1;
        }
        codes
    });
    (codes.collect(), counts)
}

/// Makes the stream of sequences behind some bytes; `None` if the tables lack a code.
pub(super) fn write(
    sequences: &[Sequence],
    codes: &[Codes],
    [of_literals, of_offsets, of_sizes]: [&Table; 3],
    behind: Vec<u8>,
) -> Option<Vec<u8>> {
    let mut bits = Writer::behind(behind);
    let mut states: Option<[u32; 3]> = None;
    for (sequence, [literals, offset, size]) in sequences.iter().zip(codes).rev() {
        states = Some(match states {
            None => [of_literals.last(*literals)?, of_offsets.last(*offset)?, of_sizes.last(*size)?],
            Some([state, state_of_offset, state_of_size]) => {
                let state_of_offset = of_offsets.write(state_of_offset, *offset, &mut bits)?;
                let state_of_size = of_sizes.write(state_of_size, *size, &mut bits)?;
                [of_literals.write(state, *literals, &mut bits)?, state_of_offset, state_of_size]
            }
        });
        let more = u32::from(*LITERAL_BITS.get(usize::from(*literals))?);
        let more_of_size = u32::from(*SIZE_BITS.get(usize::from(*size))?);
        bits.put(sequence.literals, more);
        bits.put(sequence.size, more_of_size);
        bits.put(sequence.offset, (*offset).into());
    }
    let [state, state_of_offset, state_of_size] = states?;
    of_sizes.end(state_of_size, &mut bits);
    of_offsets.end(state_of_offset, &mut bits);
    of_literals.end(state, &mut bits);
    Some(bits.finish())
}
