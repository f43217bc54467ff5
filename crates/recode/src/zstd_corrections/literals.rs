//! The codes of literals as libzstd 1.5 chooses them.

use std::cmp::Reverse;

use super::parts::{CODE_BEFORE, OWN_CODE, coded, coded_by_two_states};
use super::strategy::Strategy;
use crate::zstd_blocks::frequencies::{Rarest, frequencies_with, table_log};
use crate::zstd_blocks::fse::Table;
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::lengths::{MAX_LOG, lengths_of};

/// Fewest bits that the longest code may be granted.
const MIN_LOG: u32 = 5;
/// Most bits of the table by which weights are coded.
const MAX_WEIGHT_LOG: u32 = 6;
/// Most weights that may be described without a table.
const MAX_PLAIN_WEIGHTS: usize = 128;
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
    let counts = counts(literals);
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
        let most: u32 = samples.iter().filter_map(|sample| self::counts(sample).into_iter().max()).sum();
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
        (_, Some((code, _))) if is_before => coded(code, literals, is_four, Vec::new()),
        (Some(new), _) if new.description.len() + 12 < size => {
            coded(&new.code, literals, is_four, new.description.clone())
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

/// Returns how often each byte comes.
fn counts(literals: &[u8]) -> [u32; 256] {
    // Bytes that follow one another are counted apart, so that no count waits for the one before.
    let mut counts = [[0u32; 256]; 2];
    for pair in literals.chunks(2) {
        for (counts, byte) in counts.iter_mut().zip(pair) {
            counts[usize::from(*byte)] += 1;
        }
    }
    std::array::from_fn(|byte| counts[0][byte] + counts[1][byte])
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
    Some((Own { code, description: description(&weights)? }, log.into()))
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

/// Makes the description of a code by its weights, of which the last follows from the others.
fn description(weights: &[u8]) -> Option<Vec<u8>> {
    let (_, weights) = weights.split_last()?;
    if let Some(coded) = coded_weights(weights).filter(|coded| coded.len() < weights.len() / 2) {
        let mut description = vec![u8::try_from(coded.len()).ok()?];
        description.extend(coded);
        return Some(description);
    }
    if weights.len() > MAX_PLAIN_WEIGHTS {
        return None;
    }
    let mut description = vec![u8::try_from(127 + weights.len()).ok()?];
    description.extend(weights.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)));
    Some(description)
}

fn coded_weights(weights: &[u8]) -> Option<Vec<u8>> {
    let mut counts = [0u32; 16];
    for weight in weights {
        *counts.get_mut(usize::from(*weight))? += 1;
    }
    let most = *counts.iter().max()?;
    let symbols = counts.iter().rposition(|count| *count > 0)? + 1;
    if weights.len() < 3 || most == 1 || usize::try_from(most) == Ok(weights.len()) {
        return None;
    }
    let log = table_log(weights.len(), weights.len(), symbols, MAX_WEIGHT_LOG);
    let frequencies = frequencies_with(&counts[..symbols], log, Rarest::One)?;
    coded_by_two_states(&Table::new(&frequencies), weights, frequencies.write())
        .filter(|coded| coded.len() > 1)
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
