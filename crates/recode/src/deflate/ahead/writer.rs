//! The decisions of the writers of blocks: what kind of block a chunk becomes, and whether it goes on with the codes
//! of the one before.

use super::super::go_codes::{Codes, lengths};
use super::super::reader::Kind;
use super::super::token::{DISTANCE_CODES, END_OF_BLOCK, LITERAL_CODES, MAX_STORED, Token};
use super::super::trees::{Frequencies, Header, MAX_BITS, static_lengths};
use super::super::{igzip_codes, libdeflate_codes, zlib};

/// A block of fewer tokens is compared with one of static codes.
const MAX_STATIC: usize = 250;
/// Bits that a header is thought to take.
const USUAL_HEADER: u64 = 70 * 8;
/// Plain bytes over which those that look random are stored at once.
const MIN_RANDOM: usize = 1024;

/// The kinds of writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Codes may go on with the next chunk, as in klauspost/compress and Go from 1.27 on. New ones must save more
    /// than a share of 2^-`penalty`. Earlier versions of klauspost/compress have all codes in the headers of blocks
    /// that may go on.
    GoingOn { penalty: u32, is_earlier: bool },
    /// Each chunk is a block, as at level 1 of Go up to 1.26. It is stored if coding saves less than a 16th.
    Alone,
    /// Each group of tokens is a block of the kind that takes least, as at the other levels.
    Compared,
    /// The same, as zlib chooses it and makes the codes.
    OfZlib,
    /// The same, and a flush that ends at the end of a byte, with as few empty blocks as that takes.
    OfPigz,
    /// The same, as libdeflate chooses it and makes the codes.
    OfLibdeflate { is_earlier: bool },
    /// The same, as igzip chooses it and makes the codes.
    OfIgzip,
    /// One block has codes that igzip has for all streams, and any number of groups.
    Preset,
    /// Blocks have static codes and any number of groups.
    Static,
}

/// The kind of tokens that a chunk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// Nothing was found, or it is too short for codes.
    Plain,
    /// Too little was found to be used.
    Literals,
    Tokens,
    /// The plain bytes are gone, so that they cannot be stored.
    Unknown,
}

/// The codes of a block that has not ended.
#[derive(Debug, Clone)]
struct Open {
    codes: Codes,
    header_bits: u64,
    /// The block holds literals only, and references cannot follow.
    is_of_literals: bool,
}

/// What becomes of a chunk.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    /// The block that begins with it; none if it goes on with the last.
    pub(super) begin: Option<Kind>,
    /// The block ends with it.
    pub(super) ends: bool,
    open: Option<Open>,
    /// Bits of the last byte that are written then, where they matter.
    bit: u8,
}

impl Decision {
    /// A block that ends.
    const fn whole(kind: Kind) -> Self {
        Self { begin: Some(kind), ends: true, open: None, bit: 0 }
    }

    fn stored(size: usize) -> Self {
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        Self::whole(Kind::Stored { size, padding: 0 })
    }

    /// A part of a block with codes that do not depend on it; `begin` if the block begins with it.
    pub(super) const fn of_part(begin: Option<Kind>, ends: bool) -> Self {
        Self { begin, ends, open: None, bit: 0 }
    }

    const fn fixed() -> Self {
        Self::whole(Kind::Static)
    }

    /// A block of new codes.
    fn new_codes(codes: Codes, header: Header, is_of_literals: bool, ends: bool) -> Self {
        let open = (!ends).then(|| Open { codes, header_bits: header.bits() + HEADER_START, is_of_literals });
        Self { begin: Some(Kind::Dynamic(header)), ends, open, bit: 0 }
    }
}

/// The end of a chunk.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// No plain bytes follow before a flush or the end of the stream.
    is_last: bool,
    /// The header of a new block has all codes.
    fills: bool,
}

/// Bits in front of what [`Header::bits`] counts.
const HEADER_START: u64 = 3;

/// A writer and the block that is open.
pub(super) struct Writer {
    manner: Manner,
    open: Option<Open>,
    /// Bits of the last byte that are written, where they matter and are known.
    bit: u8,
}

impl Writer {
    pub(super) const fn new(manner: Manner) -> Self {
        Self { manner, open: None, bit: 0 }
    }

    /// The stream was written otherwise: no block is open.
    pub(super) fn close(&mut self) {
        (self.open, self.bit) = (None, 0);
    }

    /// What was decided is done.
    pub(super) fn accept(&mut self, decision: &Decision) {
        self.open.clone_from(&decision.open);
        self.bit = decision.bit;
    }

    /// Tells whether a flush has a block. That of pigz has none at the end of a byte.
    pub(super) fn flushes(&self) -> bool {
        self.manner != Manner::OfPigz || self.is_unaligned()
    }

    /// Tells whether the last byte is known to be not full, which ends a flush of pigz alone.
    pub(super) fn is_unaligned(&self) -> bool {
        self.manner == Manner::OfPigz && self.bit != 0
    }

    /// Decides the next empty block of a flush. That of pigz is one of static codes where some of them end at the end
    /// of a byte: they have ten bits.
    pub(super) fn flush(&self) -> Decision {
        if self.is_unaligned() && self.bit.is_multiple_of(2) {
            Decision { bit: (self.bit + 2) % 8, ..Decision::fixed() }
        } else {
            Decision::stored(0)
        }
    }

    /// Decides what becomes of the tokens of a chunk of `size` bytes; `is_last` if no bytes were to come.
    pub(super) fn decide(
        &self,
        contents: Contents,
        tokens: &[Token],
        size: usize,
        is_last: bool,
    ) -> Decision {
        let frequencies = Frequencies::of(tokens);
        match (contents, self.manner) {
            (_, Manner::Static | Manner::Preset) => Decision::fixed(),
            (_, Manner::OfZlib) => {
                let stored = (contents == Contents::Tokens).then_some(size);
                Decision::whole(zlib::kind(&frequencies, stored, false).0)
            }
            (_, Manner::OfPigz) => {
                let stored = (contents == Contents::Tokens).then_some(size);
                let (kind, bits) = zlib::kind(&frequencies, stored, false);
                let is_stored = matches!(kind, Kind::Stored { .. });
                let bit = if is_stored { 0 } else { (u64::from(self.bit) + bits) % 8 };
                Decision { bit: bit.to_le_bytes()[0], ..Decision::whole(kind) }
            }
            (Contents::Plain, _) => Decision::stored(size),
            (_, Manner::OfLibdeflate { is_earlier }) => {
                let stored = (size <= MAX_STORED).then_some(size);
                let (kind, bit) = libdeflate_codes::kind(&frequencies, stored, self.bit, is_earlier);
                Decision { bit, ..Decision::whole(kind) }
            }
            (_, Manner::OfIgzip) => {
                let stored = (size <= MAX_STORED).then_some(size);
                Decision::whole(igzip_codes::kind(&frequencies, stored))
            }
            (Contents::Literals, Manner::GoingOn { penalty, .. }) => {
                self.literals(&frequencies, size, is_last, penalty)
            }
            (_, Manner::Compared) => compared(&frequencies, size, contents == Contents::Tokens),
            (_, Manner::GoingOn { penalty, is_earlier }) => {
                let is_storable = contents == Contents::Tokens && size <= MAX_STORED;
                let size = is_storable.then_some(size);
                let fills = is_earlier && !is_last;
                self.going_on(&frequencies, tokens.len(), size, Ending { is_last, fills }, penalty)
            }
            (_, Manner::Alone) => alone(&frequencies, size),
        }
    }

    fn going_on(
        &self,
        frequencies: &Frequencies,
        count: usize,
        size: Option<usize>,
        Ending { is_last, fills }: Ending,
        penalty: u32,
    ) -> Decision {
        let count = count + usize::from(is_last);
        // What cannot be stored would take any number of bits.
        let (size, stored) = size.map_or((0, u64::MAX), |size| (size, stored_bits(size)));
        let mut counted = frequencies.clone();
        if !fills && counted.distances.iter().all(|count| *count == 0) {
            counted.distances[0] = 1;
        }
        let fixed = |counted: &Frequencies| {
            let (literals, distances) = static_lengths();
            counted.bits(&literals, &distances) + 3
        };
        let open = self.open.as_ref().filter(|open| !open.is_of_literals && open.codes.has_all(frequencies));
        if let Some(open) = open {
            let of_end = u64::from(open.codes.literals[END_OF_BLOCK]);
            let new = open.header_bits + estimate(frequencies, count);
            let new = new + of_end + (new >> penalty);
            // Earlier versions count no end of the block here.
            let end = if fills { std::mem::take(&mut counted.literals[END_OF_BLOCK]) } else { 0 };
            let same = counted.bits(&open.codes.literals, &open.codes.distances);
            let bits = new.min(same);
            let of_fixed = fixed(&counted);
            counted.literals[END_OF_BLOCK] += end;
            if count < MAX_STATIC && of_fixed + 7 < bits {
                return if stored <= bits { Decision::stored(size) } else { Decision::fixed() };
            }
            if stored <= bits {
                return Decision::stored(size);
            }
            if new >= same {
                let open = (!is_last).then(|| open.clone());
                return Decision { begin: None, ends: is_last, open, bit: 0 };
            }
        }
        let codes = Codes::of(&counted);
        let header = if fills { codes.header_of_all() } else { codes.header() };
        let bits = HEADER_START + header.bits() + counted.bits(&codes.literals, &codes.distances);
        let of_fixed = fixed(&counted);
        if count < MAX_STATIC && of_fixed <= bits {
            return if stored <= of_fixed { Decision::stored(size) } else { Decision::fixed() };
        }
        if stored <= bits {
            return Decision::stored(size);
        }
        Decision::new_codes(codes, header, false, is_last)
    }

    fn literals(&self, frequencies: &Frequencies, size: usize, is_last: bool, penalty: u32) -> Decision {
        let stored = stored_bits(size);
        if size > MIN_RANDOM && looks_random(frequencies, size) {
            return Decision::stored(size);
        }
        let mut of_literals = [0; END_OF_BLOCK + 1];
        of_literals.copy_from_slice(&frequencies.literals[..=END_OF_BLOCK]);
        let codes = lengths(&of_literals, MAX_BITS);
        let bits = |lengths: &[u8]| {
            let taken = of_literals.iter().zip(lengths);
            taken.map(|(count, length)| u64::from(*count) * u64::from(*length)).sum::<u64>()
        };
        let new = bits(&codes) + self.open.as_ref().map_or(USUAL_HEADER, |open| open.header_bits);
        let new = new + (new >> penalty);
        if stored <= new {
            return Decision::stored(size);
        }
        if let Some(open) = &self.open {
            let is_possible = of_literals
                .iter()
                .zip(&open.codes.literals)
                .all(|(count, length)| *count == 0 || *length > 0);
            let same = bits(&open.codes.literals) - u64::from(open.codes.literals[END_OF_BLOCK]);
            if is_possible && new >= same {
                let open = (!is_last).then(|| open.clone());
                return Decision { begin: None, ends: is_last, open, bit: 0 };
            }
        }
        let mut all = Codes { literals: [0; LITERAL_CODES], distances: [0; DISTANCE_CODES] };
        all.literals[..=END_OF_BLOCK].copy_from_slice(&codes);
        all.distances[0] = 1;
        let header = all.header();
        Decision::new_codes(all, header, true, is_last)
    }
}

/// The block of a chunk that stands alone.
fn alone(frequencies: &Frequencies, size: usize) -> Decision {
    let codes = Codes::with_distance(frequencies);
    let of_symbols = frequencies.bits(&codes.literals, &codes.distances) - frequencies.extra_bits();
    let of_no_distance = u64::from(frequencies.distances.iter().all(|count| *count == 0));
    let header = codes.header();
    let bits = HEADER_START + header.bits() + of_symbols + of_no_distance;
    if stored_bits(size) < bits + (bits >> 4) {
        Decision::stored(size)
    } else {
        Decision::new_codes(codes, header, false, true)
    }
}

/// The block of a group of tokens, which takes the kind of block that takes least. Bits behind the symbols count
/// where storing is possible.
fn compared(frequencies: &Frequencies, size: usize, is_known: bool) -> Decision {
    let is_storable = is_known && size <= MAX_STORED;
    let extra = if is_storable { 0 } else { frequencies.extra_bits() };
    let of_no_distance = u64::from(frequencies.distances.iter().all(|count| *count == 0));
    let bits = |literals: &[u8], distances: &[u8]| {
        let of_distance = of_no_distance * u64::from(distances.first().copied().unwrap_or(0));
        HEADER_START + frequencies.bits(literals, distances) + of_distance - extra
    };
    let codes = Codes::with_distance(frequencies);
    let header = codes.header();
    let new = header.bits() + bits(&codes.literals, &codes.distances);
    let (literals, distances) = static_lengths();
    let fixed = bits(&literals, &distances);
    if is_storable && stored_bits(size) < new.min(fixed) {
        Decision::stored(size)
    } else if new < fixed {
        Decision::new_codes(codes, header, false, true)
    } else {
        Decision::fixed()
    }
}

const fn stored_bits(size: usize) -> u64 {
    (size as u64 + 5) * 8
}

/// Tells whether literals are spread so evenly that no code saves anything.
#[expect(clippy::cast_precision_loss, reason = "sizes are under 2^17")]
fn looks_random(frequencies: &Frequencies, size: usize) -> bool {
    let (average, max) = (size as f64 / 256.0, size as f64 * 2.0);
    let mut sum = 0.0;
    for count in &frequencies.literals[..END_OF_BLOCK] {
        let difference = f64::from(*count) - average;
        sum += difference * difference;
        if sum > max {
            break;
        }
    }
    sum < max
}

/// The bits that best codes would take, by a fast logarithm in single precision: what the encoder compares.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as the encoder"
)]
fn estimate(frequencies: &Frequencies, count: usize) -> u64 {
    let add = |counts: &[u32], total: f32, sum: f32| {
        let part = 1.0 / total;
        counts.iter().filter(|count| **count > 0).fold(sum, |sum, count| {
            let count = *count as f32;
            sum + (-fast_log2(count * part)).clamp(1.0, 15.0) * count
        })
    };
    let (of_literals, of_sizes) = frequencies.literals.split_at(END_OF_BLOCK);
    let mut bits = add(of_literals, count as f32, 0.0);
    // The end of the block.
    bits += 15.0;
    bits = add(&of_sizes[1..], count as f32, bits);
    let matches: u32 = of_sizes[1..].iter().sum();
    if matches > 0 {
        bits = add(&frequencies.distances, matches as f32, bits);
    }
    bits as u64 + frequencies.extra_bits()
}

/// A logarithm by the exponent and a parabola for the rest.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "exponents are small")]
fn fast_log2(value: f32) -> f32 {
    let bits = value.to_bits();
    let exponent = ((bits >> 23 & 255) as i32 - 128) as f32;
    let rest = f32::from_bits((bits & 0x807f_ffff).wrapping_add(127 << 23));
    exponent + ((-0.344_848_43 * rest + 2.024_665_8) * rest - 0.674_877_6)
}
