//! The descriptions of Huffman codes by the weights of their symbols (RFC 8878, 4.2.1).

use super::bits::Writer;
use super::frequencies::{Rarest, frequencies_with, table_log};
use super::fse::Table;

/// Most bits of the table by which weights are coded.
pub(super) const MAX_WEIGHT_LOG: u32 = 6;
/// Most weights that may be described without a table.
const MAX_PLAIN_WEIGHTS: usize = 128;

/// Makes the description of a code by its weights, of which the last is not told, or by what they are coded as; `None`
/// if there are too many.
pub(crate) fn description(weights: &[u8], coded: Option<Vec<u8>>) -> Option<Vec<u8>> {
    if let Some(coded) = coded {
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

/// Codes weights by two states in turn, behind the description of their table; `None` if that is no use.
/// `length_for_least` is that of [`table_log`].
pub(crate) fn coded(weights: &[u8], length_for_least: usize, rarest: Rarest) -> Option<Vec<u8>> {
    let mut counts = [0u32; 16];
    for weight in weights {
        *counts.get_mut(usize::from(*weight))? += 1;
    }
    let most = *counts.iter().max()?;
    let symbols = counts.iter().rposition(|count| *count > 0)? + 1;
    // Two weights are too few for two states.
    if weights.len() < 3 || most == 1 || usize::try_from(most) == Ok(weights.len()) {
        return None;
    }
    let log = table_log(weights.len(), length_for_least, symbols, MAX_WEIGHT_LOG);
    let frequencies = frequencies_with(&counts[..symbols], log, rarest)?;
    let table = Table::new(&frequencies);
    let mut bits = Writer::behind(frequencies.write());
    let mut states: [Option<u32>; 2] = [None; 2];
    for (index, weight) in weights.iter().enumerate().rev() {
        let state = &mut states[index % 2];
        *state = Some(match *state {
            None => table.last(*weight)?,
            Some(state) => table.write(state, *weight, &mut bits)?,
        });
    }
    table.end(states[1]?, &mut bits);
    table.end(states[0]?, &mut bits);
    Some(bits.finish())
}
