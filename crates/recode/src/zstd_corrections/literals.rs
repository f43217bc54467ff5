//! The codes of literals as libzstd 1.5 chooses them.

use std::cmp::Reverse;

use super::parts::CODE_BEFORE;
use super::strategy::Strategy;
use crate::zstd_blocks::frequencies::{Rarest, byte_counts};
use crate::zstd_blocks::headers::OWN_CODE;
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::lengths::{MAX_LOG, lengths_of};
use crate::zstd_blocks::weights;

/// Fewest bits that the longest code may be granted.
const MIN_LOG: u32 = 5;
/// Literals from which there are four streams.
const FOUR_STREAMS: usize = 256;
/// Literals up to which the faster strategies take the code before.
const FEW: usize = 1024;
/// Literals of a sample that tells whether all are noise, and how many samples there have to be.
const SAMPLE: usize = 4096;
const SAMPLES: usize = 10;
/// Counts from which symbols are sorted by the logarithm of their counts before they are sorted by the counts.
const LARGE_COUNT: u32 = 165;
/// Symbols up to which those of one logarithm are sorted by insertion.
const FEW_SYMBOLS: usize = 8;

/// The literals that a block is expected to have.
pub(super) struct Expected {
    pub(super) form: u8,
    /// The descriptions of a code of their own: the one that libzstd has had always, and the one that it
    /// has from 1.5.5 on where it searches for the best depth.
    pub(super) descriptions: [Option<Vec<u8>>; 2],
}

/// Returns the form that is expected. `is_suspect` says that sequences save little, so that samples are looked at.
pub(super) fn expected(
    strategy: Strategy,
    literals: &[u8],
    before: Option<&Code>,
    is_suspect: bool,
) -> Expected {
    let size = literals.len();
    let plain_format = if size < 32 {
        0
    } else if size < 4096 {
        1
    } else {
        3
    };
    let plain = |kind: u8, descriptions| Expected { form: kind | plain_format << 2, descriptions };
    let counts = byte_counts(literals);
    let most = counts.iter().copied().max().map_or(0, |most| most as usize);
    if size < 2 || most == size {
        let is_one = size >= strategy.least_literals();
        return plain(u8::from(is_one), [None, None]);
    }
    let symbols = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let counts = &counts[..symbols];
    let own = own_code(counts, standard_log(size, symbols));
    let searched = if strategy.searches_depth() { searched_code(counts) } else { None };
    let descriptions = [&own, &searched].map(|own| own.as_ref().map(|own| own.description.clone()));
    let is_noise = is_suspect && size >= SAMPLE * SAMPLES && {
        let samples = [&literals[..SAMPLE], &literals[size - SAMPLE..]];
        let most: u32 = samples.iter().filter_map(|sample| byte_counts(sample).into_iter().max()).sum();
        most as usize <= ((2 * SAMPLE) >> 7) + 4
    };
    if size < strategy.least_literals() || is_noise || most <= (size >> 7) + 4 {
        return plain(0, descriptions);
    }
    let is_four = size >= FOUR_STREAMS;
    let format = if size < 1 << 10 {
        u8::from(is_four)
    } else if size < 1 << 14 {
        2
    } else {
        3
    };
    let before = before.and_then(|code| Some((code, code.bits(counts)? >> 3)));
    let new = searched.or(own);
    let is_before = before.is_some_and(|(_, size_before)| {
        let prefers = !strategy.is_lazy() && size <= FEW;
        prefers
            || new.as_ref().is_some_and(|new| {
                let of_new = new.description.len() + (new.code.bits(counts).unwrap_or(0) >> 3) as usize;
                size_before as usize <= of_new || new.description.len() + 12 >= size
            })
    });
    let streams = match (&new, before) {
        (_, Some((code, _))) if is_before => code.encode_streams(Vec::new(), literals, is_four),
        (Some(new), _) if new.description.len() + 12 < size => {
            new.code.encode_streams(new.description.clone(), literals, is_four)
        }
        _ => None,
    };
    let most_coded = size.saturating_sub(strategy.least_gain(size)).min(size - 1);
    match streams {
        Some(streams) if streams.len() < most_coded => {
            let kind = if is_before { CODE_BEFORE } else { OWN_CODE };
            Expected { form: kind | format << 2, descriptions }
        }
        _ => plain(0, descriptions),
    }
}

/// A code and its description.
struct Own {
    code: Code,
    description: Vec<u8>,
}

/// Returns the most bits of a code by the numbers of literals and of symbols (`FSE_optimalTableLog_internal`).
fn standard_log(size: usize, symbols: usize) -> u32 {
    let bits = |number: usize| number.checked_ilog2().unwrap_or(0);
    let least = (bits(size) + 1).min(bits(symbols.saturating_sub(1)) + 2);
    let most = bits(size.saturating_sub(1)).checked_sub(1).map_or(MAX_LOG, |most| most.min(MAX_LOG));
    most.max(least).clamp(MIN_LOG, MAX_LOG)
}

/// Makes a code of at most so many bits.
fn own_code(counts: &[u32], most: u32) -> Option<Own> {
    own_code_of(counts, &leaves(counts), most).map(|(own, _)| own)
}

fn own_code_of(counts: &[u32], leaves: &[(u32, usize)], most: u32) -> Option<(Own, u32)> {
    let lengths = lengths_of(leaves, counts.len(), most)?;
    let log = lengths.iter().copied().max()?;
    let weights: Vec<u8> =
        lengths.iter().map(|length| if *length == 0 { 0 } else { log + 1 - length }).collect();
    let code = Code::of_weights(log.into(), &weights)?;
    // The last weight follows from the others.
    let (_, told) = weights.split_last()?;
    let coded = weights::coded(told, told.len(), Rarest::One);
    let coded = coded.filter(|coded| coded.len() > 1 && coded.len() < told.len() / 2);
    Some((Own { code, description: weights::description(told, coded)? }, log.into()))
}

/// Makes the code of the depth by which it and its description are smallest (`HUF_optimalTableLog`).
fn searched_code(counts: &[u32]) -> Option<Own> {
    let leaves = leaves(counts);
    let least = u32::try_from(leaves.len()).ok()?.ilog2() + 1;
    let (mut best, mut size_of_best) = (None, u32::MAX - 1);
    for most in least..=MAX_LOG {
        let Some((own, log)) = own_code_of(counts, &leaves, most) else { continue };
        if log < most && most > least {
            break;
        }
        let size = (own.code.bits(counts)? >> 3) + u32::try_from(own.description.len()).ok()?;
        if size > size_of_best.saturating_add(1) {
            break;
        }
        if size < size_of_best {
            (best, size_of_best) = (Some(own), size);
        }
    }
    best
}

/// Returns the symbols that are there with their counts, the most frequent first. Those that are as frequent are in the
/// order in which libzstd leaves them (`HUF_sort`).
fn leaves(counts: &[u32]) -> Vec<(u32, usize)> {
    let bucket = |count: u32| if count < LARGE_COUNT { count } else { LARGE_COUNT + count.ilog2() };
    let mut leaves: Vec<(u32, usize)> = counts.iter().copied().zip(0..).filter(|leaf| leaf.0 > 0).collect();
    leaves.sort_by_key(|(count, _)| Reverse(bucket(*count)));
    let large = leaves.iter().take_while(|leaf| leaf.0 >= LARGE_COUNT).count();
    for bucket in leaves[..large].chunk_by_mut(|a, b| bucket(a.0) == bucket(b.0)) {
        sort(bucket);
    }
    leaves
}

/// Sorts by falling counts, small stretches by insertion and others by the last count as a pivot.
fn sort(leaves: &mut [(u32, usize)]) {
    if leaves.len() <= FEW_SYMBOLS {
        leaves.sort_by_key(|(count, _)| Reverse(*count));
        return;
    }
    let mut rest = leaves;
    while rest.len() > 1 {
        let last = rest.len() - 1;
        let mut larger = 0;
        for index in 0..last {
            if rest[index].0 > rest[last].0 {
                rest.swap(larger, index);
                larger += 1;
            }
        }
        rest.swap(larger, last);
        let (before, behind) = rest.split_at_mut(larger);
        let behind = &mut behind[1..];
        // The shorter part is sorted as a whole, the other one by further pivots whatever its size.
        if before.len() < behind.len() {
            sort(before);
            rest = behind;
        } else {
            sort(behind);
            rest = before;
        }
    }
}
