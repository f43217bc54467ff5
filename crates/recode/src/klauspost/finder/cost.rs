//! The estimate of what a match costs and saves, in bits.

use super::best::{Candidate, Told};
use crate::klauspost::sequences::{SIZE_BITS, size_code};
use crate::zstd_blocks::sequences::Kind;

/// The cost of a match that saves nothing.
pub(super) const NO_GAIN: i32 = 131_074 * 8;
/// Base-2 logarithm of the parts of a bit in which the cost of a literal is told.
const PART_LOG: u32 = 10;

/// The costs of the parts of a sequence.
pub(super) struct Costs {
    /// Parts of a bit that a literal costs.
    literal: i32,
    offsets: [i32; 32],
    sizes: [i32; 64],
}

impl Costs {
    /// The costs in a block of these plain bytes.
    pub(super) fn new(block: &[u8]) -> Self {
        let bits = entropy_bits(block);
        let parts = (bits << PART_LOG).checked_div(block.len() as u64).unwrap_or(0);
        let mut costs = Self {
            // No code has less than a bit.
            literal: i32::try_from(parts).unwrap_or(i32::MAX).clamp(1 << PART_LOG, 9 << PART_LOG),
            offsets: [0; 32],
            sizes: [0; 64],
        };
        // An offset has as many bits as its code says.
        for ((cost, of_code), bits) in costs.offsets.iter_mut().zip(code_costs(Kind::Offsets)).zip(0..) {
            *cost = of_code + bits;
        }
        for ((cost, of_code), bits) in costs.sizes.iter_mut().zip(code_costs(Kind::Sizes)).zip(SIZE_BITS) {
            *cost = of_code + i32::from(bits);
        }
        costs
    }

    /// Sets the cost of a candidate. One that saves nothing has no bytes. `masks_numbers` is true if repeated distances
    /// without literals cost what the others do.
    pub(super) fn estimate(&self, candidate: &mut Candidate, no_gain: i32, masks_numbers: bool) {
        let offset = match candidate.told {
            Told::Repeated(number) if masks_numbers => usize::from(number & 3),
            Told::Repeated(number) => number.into(),
            Told::Nothing | Told::Distance => candidate.at - candidate.before + 3,
        };
        let size = super::small(candidate.size);
        let of_offset = self.offsets[offset.max(1).ilog2() as usize & 31];
        let of_size = self.sizes[usize::from(size_code(size.saturating_sub(3)) & 63)];
        candidate.cost = of_offset + of_size - self.of_literals(candidate.size);
        if candidate.cost > 0 {
            candidate.size = 0;
            candidate.cost = no_gain;
        }
    }

    /// Returns the bits that so many literals cost.
    fn of_literals(&self, number: usize) -> i32 {
        (i32::try_from(number).unwrap_or(0) * self.literal) >> PART_LOG
    }

    /// Tells whether a candidate costs less, with the literals before it.
    pub(super) fn is_less(&self, candidate: &Candidate, than: &Candidate) -> bool {
        candidate.cost - than.cost + self.of_literals_between(than, candidate) < 0
    }

    /// Returns the bits of the literals from the one to the other, which are negative if the other one comes first.
    pub(super) fn of_literals_between(&self, from: &Candidate, to: &Candidate) -> i32 {
        let number = to.at.wrapping_sub(from.at).cast_signed();
        (i32::try_from(number).unwrap_or(0) * self.literal) >> PART_LOG
    }
}

/// Returns the bits that each code of the table takes which nothing describes.
fn code_costs(kind: Kind) -> Vec<i32> {
    let frequencies = kind.fixed();
    let log = frequencies.log;
    let cost = |count: &i16| {
        let most = count.unsigned_abs().saturating_sub(1).checked_ilog2().unwrap_or(0);
        i32::try_from(log - most).unwrap_or(0) - 1
    };
    frequencies.counts().iter().map(cost).collect()
}

/// Returns the bits that the bytes take at least, each byte rounded up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a block is small"
)]
fn entropy_bits(block: &[u8]) -> u64 {
    let mut counts = [0u32; 256];
    block.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let part = 1.0 / block.len() as f64;
    let bits = counts.iter().filter(|count| **count > 0).map(|count| {
        let count = f64::from(*count);
        (-log2(count * part) * count).ceil()
    });
    bits.fold(0.0, |sum: f64, bits| sum + bits).ceil() as u64
}

/// Returns the base-2 logarithm of a number from 2^-1000 to 1, by the same steps on each machine (FreeBSD's
/// `e_log.c`): a recipe means the same frame for ever.
fn log2(number: f64) -> f64 {
    const FACTORS: [f64; 7] = [
        0.6666666666666735,
        0.3999999999940942,
        0.2857142874366239,
        0.22222198432149784,
        0.1818357216161805,
        0.15313837699209373,
        0.14798198605116586,
    ];
    let exponent = (number.to_bits() >> 52 & 0x7ff) as i32 - 1022;
    let fraction = f64::from_bits(number.to_bits() & !(0x7ff << 52) | 1022 << 52);
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    // Here the fraction is between the root of 1/2 and that of 2.
    let is_small = fraction < std::f64::consts::FRAC_1_SQRT_2;
    let f = if is_small { fraction * 2.0 } else { fraction } - 1.0;
    let k = if is_small { -1.0 } else { 0.0 };
    let s = f / (2.0 + f);
    let (square, fourth) = (s * s, (s * s) * (s * s));
    let odd = square * (FACTORS[0] + fourth * (FACTORS[2] + fourth * (FACTORS[4] + fourth * FACTORS[6])));
    let even = fourth * (FACTORS[1] + fourth * (FACTORS[3] + fourth * FACTORS[5]));
    let half = 0.5 * f * f;
    let (high, low) = (0.6931471803691238, 1.9082149292705877e-10);
    let natural = k * high - ((half - (s * (half + odd + even) + k * low)) - f);
    natural * (1.0 / std::f64::consts::LN_2) + f64::from(exponent)
}
