//! New rows of tables of call sites, as both decoders make them.

use super::{compare_decoders, decode, rules};
use crate::payload::Payload;
use crate::varint::put;
use crate::{Block, Prepared, Rules, encode, reference};

/// Tables of call sites of so many functions, one with types in three, with padding.
fn tables(random: &mut fastrand::Rng, functions: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..functions {
        let (mut rows, mut end) = (Vec::new(), 0);
        for _ in 0..random.usize(1..12) {
            let start = end + random.u64(..20);
            let length = random.u64(1..200);
            end = start + length;
            let pad = if random.bool() { 0 } else { 1000 + random.u64(..300) };
            [start, length, pad, random.u64(..2)].iter().for_each(|number| put(&mut rows, *number));
        }
        let types = random.choice([0, 0, 4]).unwrap();
        let mut size = Vec::new();
        put(&mut size, rows.len() as u64);
        bytes.extend([0xff, if types > 0 { 0x9b } else { 0xff }]);
        if types > 0 {
            put(&mut bytes, (1 + size.len() + rows.len() + types) as u64);
        }
        bytes.push(1);
        bytes.extend(size);
        bytes.extend(rows);
        bytes.extend(std::iter::repeat_n(0x7f, types));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[test]
fn both_decoders_agree_about_new_rows_of_call_sites() {
    let mut random = fastrand::Rng::with_seed(9);
    let old = [vec![0; 200], tables(&mut random, 60), vec![1; 200]].concat();
    let size = u32::try_from(old.len()).unwrap();
    let (at, end) = (old.len() / 2, old.len() - 200);
    // New tables within a record, and bytes that differ before and after them, some of which break a row.
    let mut new = [&old[..at], &tables(&mut random, 40), &old[at..]].concat();
    let literal = u32::try_from(new.len() - old.len()).unwrap();
    (0..30).for_each(|_| new[200 + random.usize(..at - 300)] ^= 1);
    let at = u32::try_from(at).unwrap();
    let blocks = [
        Block { source: 0, add: at, literal },
        Block { source: at, add: u32::try_from(end).unwrap() - at, literal: 200 },
    ];
    let call_sites = 200..size + literal - 200;
    let with = Rules { call_sites, ..rules(Vec::new()) };
    let good = encode(&old, &new, &blocks, Some(&with)).unwrap().payload;
    let parsed = Payload::parse(&good, Some(old.len())).unwrap();
    assert!(parsed.rows[0].len() > 200, "rows {}", parsed.rows[0].len());
    assert!(parsed.new.new.len() < literal as usize / 3 + 200, "rows are no new bytes");
    assert!(decode(&good, &old).unwrap() == new);
    assert!(reference::decode(&good, &old).unwrap() == new);
    let made = compare_decoders(&good, &old, 200);
    assert!(made > 20, "{made} of 200 payloads make a file");
}

#[test]
fn work_for_call_sites_is_told_for_those_within_the_file() {
    let file = vec![0xff; 1000];
    let blocks = [Block { source: 0, add: 600, literal: 400 }];
    let work = |call_sites| {
        let with = Rules { call_sites, ..rules(Vec::new()) };
        let payload = encode(&file, &file, &blocks, Some(&with)).unwrap().payload;
        Prepared::new(&payload, &file).unwrap().work()
    };
    let none = work(0..0);
    assert_eq!(work(0..1000) - none, 8 * 1000);
    assert_eq!(work(900..u32::MAX) - none, 8 * 100);
    assert_eq!(work(1000..2000), none);
}
