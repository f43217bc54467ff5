//! The frequencies that the tables of finite state entropy are made of: how counts become them.

use super::fse::Frequencies;

/// Fewest bits of a table.
const MIN_LOG: u32 = 5;
/// By how much of a place a small number of them is passed before it is rounded up, of 2^20.
const ROUND_UP: [u64; 8] = [0, 473_195, 504_333, 520_860, 550_000, 700_000, 750_000, 830_000];

/// Returns the base-2 logarithm of the size of the table for `length` symbols, which are below `symbols`: at
/// most `most`. `length_for_least` is the length by which few symbols make it smaller, which is another one
/// in the codes of literals.
pub(crate) fn table_log(length: usize, length_for_least: usize, symbols: usize, most: u32) -> u32 {
    let bits = |number: usize| number.checked_ilog2().unwrap_or(0);
    let least = (bits(length_for_least) + 1).min(bits(symbols.saturating_sub(1)) + 2);
    // Below four symbols the number wraps there, and the most is taken.
    let log = bits(length.saturating_sub(1)).checked_sub(2).map_or(most, |log| log.min(most));
    log.max(least).clamp(MIN_LOG, most)
}

/// Returns how often each byte comes.
pub(crate) fn byte_counts(bytes: &[u8]) -> [u32; 256] {
    // Bytes that follow one another are counted apart, so that no count waits for the one before.
    let mut counts = [[0u32; 256]; 4];
    let fours = bytes.chunks_exact(4);
    for byte in fours.remainder() {
        counts[0][usize::from(*byte)] += 1;
    }
    for four in fours {
        for (counts, byte) in counts.iter_mut().zip(four) {
            counts[usize::from(*byte)] += 1;
        }
    }
    std::array::from_fn(|byte| counts.iter().map(|counts| counts[byte]).sum())
}

/// The frequency of symbols that come less than once in as many symbols as a table has places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rarest {
    /// They have a place as others have.
    One,
    /// They have the frequency -1.
    LessThanOne,
}

/// Returns the frequencies for these counts, of which two or more are not zero, in a table of 2^`log` places.
pub(crate) fn frequencies(counts: &[u32], log: u32) -> Option<Frequencies> {
    frequencies_with(counts, log, Rarest::LessThanOne)
}

/// Returns the frequencies as [`frequencies`] does, with those of the rarest symbols.
pub(crate) fn frequencies_with(counts: &[u32], log: u32, rarest: Rarest) -> Option<Frequencies> {
    let rarest = if rarest == Rarest::One { 1 } else { -1 };
    let total: u32 = counts.iter().sum();
    let scale = 62 - log;
    let step = (1u64 << 62).checked_div(u64::from(total))?;
    let mut places = vec![0i16; counts.len()];
    let mut left = 1i16 << log;
    let (mut largest, mut most) = (0, 0);
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        if *count <= total >> log {
            places[index] = rarest;
            left -= 1;
            continue;
        }
        let exact = u64::from(*count) * step;
        let mut rounded = i16::try_from(exact >> scale).ok()?;
        if let Some(part) = usize::try_from(rounded).ok().and_then(|rounded| ROUND_UP.get(rounded)) {
            let rest = exact & ((1 << scale) - 1);
            rounded += i16::from(rest > part << (scale - 20));
        }
        if rounded > most {
            (most, largest) = (rounded, index);
        }
        places[index] = rounded;
        left -= rounded;
    }
    if -left >= places.get(largest)? >> 1 {
        places = other_frequencies(counts, total, log, rarest)?;
    } else {
        places[largest] += left;
    }
    let sum: u32 = places.iter().map(|places| u32::from(places.unsigned_abs())).sum();
    (sum == 1 << log).then(|| Frequencies::fixed(log, &places))
}

/// Returns the frequencies where rounding takes too many places from the most frequent symbol.
fn other_frequencies(counts: &[u32], mut total: u32, log: u32, rarest: i16) -> Option<Vec<i16>> {
    let mut places: Vec<Option<i16>> = vec![None; counts.len()];
    let least = total >> log;
    let mut one = (total * 3) >> (log + 1);
    let mut taken = 0;
    for (place, count) in places.iter_mut().zip(counts) {
        if *count == 0 {
            *place = Some(0);
        } else if *count <= one.max(least) {
            *place = Some(if *count <= least { rarest } else { 1 });
            taken += 1;
            total -= count;
        }
    }
    let mut left = (1u32 << log).checked_sub(taken)?;
    if total.checked_div(left)? > one {
        one = (total * 3) / (left * 2);
        for (place, count) in places.iter_mut().zip(counts) {
            if place.is_none() && *count <= one {
                *place = Some(1);
                taken += 1;
                total -= count;
            }
        }
        left = (1u32 << log).checked_sub(taken)?;
    }
    if total == 0 {
        // Each that has a place gets one more, in turn.
        let some: Vec<usize> =
            (0..places.len()).filter(|index| places[*index].is_some_and(|place| place > 0)).collect();
        for index in some.iter().cycle().take(if some.is_empty() { 0 } else { left as usize }) {
            places[*index] = places[*index].map(|place| place + 1);
        }
        return places.into_iter().collect();
    }
    let scale = 62 - log;
    let middle = (1u64 << (scale - 1)) - 1;
    let step = ((u64::from(left) << scale) + middle) / u64::from(total);
    let mut sum = middle;
    for (place, count) in places.iter_mut().zip(counts).filter(|(place, _)| place.is_none()) {
        let end = sum + u64::from(*count) * step;
        *place = i16::try_from((end >> scale) - (sum >> scale)).ok().filter(|place| *place >= 1);
        place.as_ref()?;
        sum = end;
    }
    places.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[u32], log: u32) -> Vec<i16> {
        frequencies(counts, log).expect("some counts").counts().to_vec()
    }

    #[test]
    fn frequencies_fill_the_table_whatever_the_counts() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..3000 {
            let symbols = random.usize(2..=53);
            let most = 1 << random.u32(1..14);
            let mut counts: Vec<u32> = (0..symbols).map(|_| random.u32(..most) * random.u32(..2)).collect();
            counts[0] += 1;
            counts[symbols - 1] += 1;
            let total: u32 = counts.iter().sum();
            let log = table_log(total as usize, total as usize, symbols, 8);
            let frequencies = of(&counts, log);
            assert!(counts.iter().zip(frequencies).all(|(count, place)| (*count == 0) == (place == 0)));
        }
    }

    #[test]
    fn small_numbers_are_rounded_up_late() {
        // 1.4 and 1.5 places of 32, and the rest for the most frequent.
        assert_eq!(of(&[900, 45, 55], 5), [29, 1, 2]);
        // Nothing is left for a symbol that has less than a place.
        assert_eq!(of(&[1000, 1, 40], 5), [30, -1, 1]);
    }
}
