//! The hash table of dynamic symbols, symbol after symbol as a loader looks them up.

use crate::HashTable;

/// The bytes of the table after its header; none if the header is that of another table.
fn table(made: &[u8], table: &HashTable) -> Option<Vec<u8>> {
    let word = |place: usize| u32::from_le_bytes(made[place..place + 4].try_into().unwrap());
    let start = table.section.start as usize;
    let [buckets, first, words, shift] = [0, 4, 8, 12].map(|offset| word(start + offset));
    let count = u64::from((table.symbols.end - table.symbols.start) / 24);
    let chains = count.checked_sub(first.into())?;
    let size = u128::from(words) * 8 + (u128::from(buckets) + u128::from(chains)) * 4;
    if buckets == 0 || size != u128::from(table.section.end - table.section.start - 16) {
        return None;
    }
    let names = &made[table.names.start as usize..table.names.end as usize];
    let hash = |symbol: u64| {
        let name = word(table.symbols.start as usize + usize::try_from(symbol).unwrap() * 24) as usize;
        let bytes = names.get(name..).unwrap_or_default().iter().take_while(|byte| **byte != 0);
        bytes.fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add((*byte).into()))
    };
    let mut filter = vec![0u64; words as usize];
    let mut starts = vec![None; buckets as usize];
    let mut ends = vec![];
    for symbol in first.into()..count {
        let own = hash(symbol);
        let bits = [own, if shift < 32 { own >> shift } else { 0 }];
        for bit in bits.into_iter().filter(|_| words > 0) {
            filter[own as usize / 64 % words as usize] |= 1 << (bit % 64);
        }
        starts[(own % buckets) as usize].get_or_insert(u32::try_from(symbol).unwrap());
        let is_last = symbol + 1 == count || hash(symbol + 1) % buckets != own % buckets;
        ends.push(own / 2 * 2 + u32::from(is_last));
    }
    let numbers = starts.into_iter().map(|start| start.unwrap_or(0)).chain(ends);
    Some(filter.into_iter().flat_map(u64::to_le_bytes).chain(numbers.flat_map(u32::to_le_bytes)).collect())
}

/// Adds the table to the zeros, or what else was made, in its place.
pub(super) fn add(made: &mut [u8], of: &HashTable) {
    let computed = table(made, of).unwrap_or_default();
    let places = made[of.section.start as usize + 16..].iter_mut().zip(computed);
    places.for_each(|(byte, computed)| *byte = byte.wrapping_add(computed));
}
