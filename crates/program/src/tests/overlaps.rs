//! Random files, blocks and rules, whose ranges of code, call sites and frames lie anywhere and on each other.

use std::ops::Range;

use fastrand::Rng;

use super::{compare_decoders, decode};
use crate::{Block, FrameTable, HashTable, Rule, Rules, Segment, Side, encode, reference};

/// Bytes that are like code, records of call sites, and records of frames.
fn random_bytes(random: &mut Rng, size: usize) -> Vec<u8> {
    let starts: [&[u8]; 8] = [
        &[0xff, 0xff, 1, 40],
        &[0xff, 0x9b, 60, 1, 30],
        &[0xff, 0x9b, 5, 1, 0],
        &[0xe8],
        &[0x0f, 0x84],
        &[0x48, 0x8b, 0x84, 0x24],
        &[0x48, 0x8d, 0x05],
        &[],
    ];
    let mut bytes = Vec::new();
    while bytes.len() < size {
        bytes.extend(starts[random.usize(..starts.len())]);
        bytes.extend(random.u32(..3000).wrapping_sub(1000).to_le_bytes());
        (0..random.usize(..8))
            .for_each(|_| bytes.push(random.choice([0, 1, 3, 9, 0x80, 0x94, 0xff]).unwrap()));
    }
    bytes.truncate(size);
    bytes
}

/// A range that may be empty, reach past a file of `size` bytes, or lie after it.
fn random_range(random: &mut Rng, size: u32) -> Range<u32> {
    let start = random.u32(..size + 10);
    match random.u8(..6) {
        0 => start..u32::MAX,
        1 => 0..size,
        2 => 0..0,
        _ => start..start + random.u32(..size),
    }
}

/// Blocks that read an old file anywhere, and the file that they make.
fn random_blocks(random: &mut Rng, old: &[u8]) -> (Vec<Block>, Vec<u8>) {
    let (mut blocks, mut new) = (Vec::new(), Vec::new());
    for _ in 0..random.usize(1..12) {
        let start = random.usize(..old.len());
        let along = &old[start..old.len().min(start + random.usize(..150))];
        let literal = random.usize(1..150);
        new.extend_from_slice(along);
        new.extend(random_bytes(random, literal));
        let [source, add, literal] = [start, along.len(), literal].map(|size| u32::try_from(size).unwrap());
        blocks.push(Block { source, add, literal });
    }
    let size = new.len();
    (0..random.usize(..10)).for_each(|_| new[random.usize(..size)] ^= 1);
    (blocks, new)
}

#[test]
fn both_decoders_agree_wherever_ranges_lie() {
    let mut random = Rng::with_seed(10);
    let (mut made, mut with_rows) = (0, 0);
    for round in 0..100 {
        let old_size = random.usize(50..800);
        let old = random_bytes(&mut random, old_size);
        let (blocks, new) = random_blocks(&mut random, &old);
        let [old_size, size] = [&old, &new].map(|bytes| u32::try_from(bytes.len()).unwrap());
        let side =
            |size| Side { segments: vec![Segment { address: 0x40_0000, size, place: 0 }], bases: Vec::new() };
        let mut places = [0; 3].map(|_| random.u32(..=size));
        places.sort_unstable();
        let [first, between, last] = places;
        let frames = random.u8(..4);
        let table = |table: Range<u32>, records| FrameTable {
            start: table.start,
            count: (table.end - table.start) / 8,
            records,
        };
        let rules = Rules {
            old: side(old_size),
            new: side(size),
            rules: vec![match round % 6 {
                0 | 3 => Rule::Aarch64(0..old_size),
                1 => Rule::Thumb(0..old_size),
                _ => Rule::X86_64(0..old_size),
            }],
            new_code: (0..random.usize(..3)).map(|_| random_range(&mut random, size)).collect(),
            frame_table: match frames {
                0 => Some(table(first..between, between..last)),
                1 => Some(table(between..last, first..between)),
                _ => None,
            },
            hash_table: (frames == 2 && between - first >= 16).then_some(HashTable {
                section: first..between,
                symbols: between..last,
                names: last..size,
            }),
            call_sites: random_range(&mut random, size),
            packed: None,
        };
        let payload = encode(&old, &new, &blocks, Some(&rules)).unwrap().payload;
        assert!(decode(&payload, &old).unwrap() == new, "round {round}");
        assert!(reference::decode(&payload, &old).unwrap() == new, "round {round}");
        let parsed = crate::Payload::parse(&payload, Some(old.len())).unwrap();
        with_rows += usize::from(parsed.rows[1].len() > 2);
        if payload.len() > 300 {
            made += compare_decoders(&payload, &old, 20);
        }
    }
    assert!(with_rows > 20, "{with_rows} of 100 files have rows");
    assert!(made > 300, "{made} payloads make a file");
}
