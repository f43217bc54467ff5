//! The hash table of dynamic symbols, as both decoders compute it.

use super::{compare_decoders, decode, rules, ways_of_blocks};
use crate::payload::Payload;
use crate::{Block, Error, HashTable, Prepared, Rules, encode, reference};

/// Bytes before the first part, which are no part of anything.
const BEFORE: usize = 40;
/// The number of the first symbol that has a hash.
const FIRST: usize = 3;

fn hash(name: &[u8]) -> u32 {
    name.iter().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add((*byte).into()))
}

/// A byte that tells symbols apart.
fn own_byte(index: usize) -> u8 {
    u8::try_from(index % 251).unwrap()
}

/// A file of a hash table, its symbols and their names, as a linker writes them, and where they lie.
fn file(count: usize, left_out: usize) -> (Vec<u8>, HashTable) {
    const BUCKETS: u32 = 67;
    const WORDS: usize = 16;
    const SHIFT: u32 = 9;
    let names =
        (0..count).filter(|number| *number != left_out).map(|number| format!("name_{}", number * number));
    let mut hashed: Vec<String> = names.collect();
    hashed.sort_by_key(|name| hash(name.as_bytes()) % BUCKETS);
    let (mut text, mut symbols) = (vec![0], vec![0; 24 * FIRST]);
    let (mut filter, mut buckets, mut chains) = ([0u64; WORDS], [0; BUCKETS as usize], Vec::new());
    for (index, name) in hashed.iter().enumerate() {
        symbols.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        symbols.extend([0x12, 0, 9, 0].into_iter().chain([own_byte(index); 16]));
        text.extend(name.bytes().chain([0]));
        let own = hash(name.as_bytes());
        filter[own as usize / 64 % WORDS] |= 1 << (own % 64) | 1 << ((own >> SHIFT) % 64);
        let bucket = (own % BUCKETS) as usize;
        if buckets[bucket] == 0 {
            buckets[bucket] = u32::try_from(index + FIRST).unwrap();
        }
        let next = hashed.get(index + 1).map(|name| (hash(name.as_bytes()) % BUCKETS) as usize);
        chains.push(own & !1 | u32::from(next != Some(bucket)));
    }
    let header = [BUCKETS, u32::try_from(FIRST).unwrap(), u32::try_from(WORDS).unwrap(), SHIFT];
    let mut bytes = vec![7; BEFORE];
    let mut put = |part: Vec<u8>| {
        let start = u32::try_from(bytes.len()).unwrap();
        bytes.extend(part);
        start..u32::try_from(bytes.len()).unwrap()
    };
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let filter: Vec<u8> = filter.into_iter().flat_map(u64::to_le_bytes).collect();
    let section = put([numbers(&header), filter, numbers(&buckets), numbers(&chains)].concat());
    let table = HashTable { section, symbols: put(symbols), names: put(text) };
    bytes.extend([7; BEFORE]);
    (bytes, table)
}

fn with(table: HashTable) -> Rules {
    Rules { hash_table: Some(table), ..rules(Vec::new()) }
}

#[test]
fn a_hash_table_is_computed_whatever_blocks_say_about_it() {
    let ((old, _), (new, table)) = (file(300, 300), file(320, 100));
    for blocks in ways_of_blocks(&old, &new) {
        let payload = encode(&old, &new, &blocks, Some(&with(table.clone()))).unwrap().payload;
        assert!(decode(&payload, &old).unwrap() == new);
        assert!(reference::decode(&payload, &old).unwrap() == new);
        let parsed = Payload::parse(&payload, Some(old.len())).unwrap();
        let own =
            |block: &&Block| block.add == 0 && block.literal == table.section.end - table.section.start - 16;
        assert_eq!(parsed.blocks.iter().filter(own).count(), 1);
        let held = Prepared::new(&payload, &old).unwrap().held();
        assert_eq!(held, new.len() - 2 * BEFORE);
        assert!(compare_decoders(&payload, &old, 300) > 20);
    }
    // All of the table is as it is computed: but for the first word of it, which differs here, nothing is carried.
    let all = [Block { source: 0, add: u32::try_from(new.len()).unwrap(), literal: 0 }];
    let mut other = new.clone();
    other[table.section.start as usize + 16] ^= 1;
    let encoded = encode(&new, &other, &all, Some(&with(table))).unwrap();
    assert_eq!(encoded.carried, 1);
    assert!(decode(&encoded.payload, &new).unwrap() == other);
}

#[test]
fn a_header_of_another_table_computes_nothing() {
    let (new, table) = file(300, 300);
    let all = [Block { source: 0, add: u32::try_from(new.len()).unwrap(), literal: 0 }];
    let start = table.section.start as usize;
    // No buckets, more symbols before the first one than there are, sizes that are too large for any file.
    for (offset, value) in [(0, 0), (0, 68), (4, 400), (4, u32::MAX), (8, u32::MAX), (0, u32::MAX)] {
        let mut other = new.clone();
        other[start + offset..start + offset + 4].copy_from_slice(&u32::to_le_bytes(value));
        let encoded = encode(&new, &other, &all, Some(&with(table.clone()))).unwrap();
        assert!(encoded.carried > 800, "{}", encoded.carried);
        assert!(decode(&encoded.payload, &new).unwrap() == other);
        assert!(reference::decode(&encoded.payload, &new).unwrap() == other);
    }
    // Any shift, names that share their ends or lie after the last, and names without a zero at the end.
    let mut other = new.clone();
    other[start + 12] = 200;
    let symbol = |index: usize| table.symbols.start as usize + 24 * index;
    for (index, name) in [(10, 0), (11, 1), (12, 2), (13, 2), (14, u32::MAX)] {
        other[symbol(index)..symbol(index) + 4].copy_from_slice(&u32::to_le_bytes(name));
    }
    other[table.names.end as usize - 1] = b'x';
    for names in [table.names.clone(), table.names.start..table.names.start] {
        let encoded = encode(&new, &other, &all, Some(&with(HashTable { names, ..table.clone() }))).unwrap();
        assert!(decode(&encoded.payload, &new).unwrap() == other);
        assert!(reference::decode(&encoded.payload, &new).unwrap() == other);
    }
}

#[test]
fn hash_tables_that_cannot_be_are_refused() {
    let old = vec![0; 1000];
    let all = [Block { source: 0, add: 1000, literal: 0 }];
    let of = |section, symbols, names| {
        encode(&old, &old, &all, Some(&with(HashTable { section, symbols, names }))).err()
    };
    assert_eq!(of(0..100, 100..200, 150..1000), None);
    assert_eq!(of(900..1000, 0..900, 0..0), None);
    for (section, symbols, names) in [
        (0..15, 20..30, 20..30),
        (0..100, 99..200, 200..300),
        (0..100, 100..200, 50..60),
        (0..100, 100..200, 200..1001),
    ] {
        assert!(matches!(of(section, symbols, names), Some(Error::Rule(_))));
    }
    // Tables that are computed lie apart, with all that they are computed from.
    let both = |start| {
        let frame_table = Some(crate::FrameTable { start, count: 2, records: start + 16..start + 100 });
        let rules =
            Rules { frame_table, ..with(HashTable { section: 0..100, symbols: 100..200, names: 200..300 }) };
        encode(&old, &old, &all, Some(&rules)).err()
    };
    assert_eq!(both(300), None);
    assert!(matches!(both(299), Some(Error::Rule(_))));
}

#[test]
fn two_tables_are_computed_whichever_comes_first() {
    let mut random = fastrand::Rng::with_seed(12);
    let (hashed, table) = file(300, 300);
    let frames: Vec<u8> = (0..400).map(|_| random.u8(..)).collect();
    let at = |range: &std::ops::Range<u32>, by: u32| range.start + by..range.end + by;
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    for first in [true, false] {
        let parts = if first { [&frames[..], &hashed[..]] } else { [&hashed[..], &frames[..]] };
        let new = parts.concat();
        let (start, by) = if first { (0, size(&frames)) } else { (size(&hashed), 0) };
        let frame_table = Some(crate::FrameTable { start, count: 12, records: start + 96..start + 400 });
        let [section, symbols, names] =
            [&table.section, &table.symbols, &table.names].map(|range| at(range, by));
        let with = Rules { frame_table, ..with(HashTable { section, symbols, names }) };
        // Blocks whose ends lie within what is held for one of the tables or for both.
        let blocks = [
            Block { source: 0, add: 50, literal: 320 },
            Block { source: 100, add: 400, literal: size(&new) - 770 },
        ];
        let payload = encode(&hashed, &new, &blocks, Some(&with)).unwrap().payload;
        assert!(decode(&payload, &hashed).unwrap() == new);
        assert!(reference::decode(&payload, &hashed).unwrap() == new);
    }
}
