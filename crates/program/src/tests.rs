//! Programs that are made again, and payloads that nobody wrote.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arm;
mod call_sites;
mod hash_table;
mod icu;
mod icu_edges;
mod new_code;
mod overlaps;
mod packed;

use fixtures::programs::program;

use crate::{
    Block, Decoder, Error, FrameTable, Layouts, Payload, Prepared, Rule, Rules, Segment, Side, Strided,
    encode, reference,
};

/// Blocks of equal stretches, found the plain way.
fn blocks(old: &[u8], new: &[u8]) -> Vec<Block> {
    const SIZE: usize = 12;
    let mut places = std::collections::HashMap::new();
    for (place, gram) in old.windows(SIZE).enumerate().rev() {
        places.insert(gram, place);
    }
    let mut blocks = vec![Block { source: 0, add: 0, literal: 0 }];
    let mut position = 0;
    while position < new.len() {
        let last = blocks.last_mut().unwrap();
        let next = (last.source + last.add) as usize;
        // Goes on where half of the next bytes are alike.
        let ahead = new.len().min(position + 16) - position;
        let alike = |from: usize| {
            old.get(from..from + ahead)
                .map_or(0, |old| old.iter().zip(&new[position..]).filter(|(l, r)| l == r).count())
        };
        if last.literal == 0 && alike(next) * 2 >= ahead {
            last.add += 1;
            position += 1;
            continue;
        }
        match new.get(position..position + SIZE).and_then(|gram| places.get(gram)) {
            Some(place) => blocks.push(Block { source: u32::try_from(*place).unwrap(), add: 1, literal: 0 }),
            None => last.literal += 1,
        }
        position += 1;
    }
    blocks.retain(|block| block.add + block.literal > 0);
    blocks
}

pub(crate) fn decode(payload: &[u8], old: &[u8]) -> Result<Vec<u8>, Error> {
    let mut decoder = Decoder::new(payload, old)?;
    let mut made = Vec::new();
    while let Some(piece) = decoder.next_piece()? {
        made.extend_from_slice(piece);
    }
    Ok(made)
}

/// Two versions of a program: functions are new, gone and elsewhere.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let old: Vec<u32> = (0..400).collect();
    let mut new = old.clone();
    new.splice(50..52, [1000, 1001, 1002]);
    new.swap(100, 300);
    new.remove(250);
    (program(&old), program(&new))
}

#[test]
fn a_program_that_moved_is_predicted() {
    let (old, new) = pair();
    let blocks = blocks(&old, &new);
    let plain = encode(&old, &new, &blocks, None).unwrap();
    assert_eq!(decode(&plain.payload, &old).unwrap(), new);
    let layouts = Layouts::of(&old, &new).unwrap();
    let draft = layouts.encode(&old, &new, &blocks).unwrap();
    assert_eq!(decode(&draft.encoded.payload, &old).unwrap(), new);
    let (carried, predicted) = (plain.carried, draft.encoded.carried);
    // An address has four bytes, where a difference has fewer: what is carried compresses better than its size tells.
    assert!(predicted * 4 < carried * 3, "{predicted} of {carried}: {:?}", draft.encoded.outcomes);
}

#[test]
fn what_is_normalised_is_more_alike() {
    let (old, new) = pair();
    let layouts = Layouts::of(&old, &new).unwrap();
    let first = layouts.encode(&old, &new, &blocks(&old, &new)).unwrap();
    let (normal_old, normal_new) = (layouts.normalised_old(&old, &first), layouts.normalised_new(&new));
    let again = layouts.encode(&old, &new, &blocks(&normal_old, &normal_new)).unwrap();
    assert_eq!(decode(&again.encoded.payload, &old).unwrap(), new);
    let [first, again] = [first, again].map(|draft| draft.encoded.carried);
    assert!(again * 4 < first * 3, "{again} of {first}");
}

/// The blocks of a new file, which is no smaller: nothing of it is in the old one, all of that is at its start, and
/// those that are found.
fn ways_of_blocks(old: &[u8], new: &[u8]) -> [Vec<Block>; 3] {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    [
        vec![Block { source: 0, add: 0, literal: size(new) }],
        vec![Block { source: 0, add: size(old), literal: size(new) - size(old) }],
        blocks(old, new),
    ]
}

#[test]
fn the_table_of_frames_is_computed_whatever_blocks_say_about_it() {
    let (old, new) = pair();
    let layouts = Layouts::of(&old, &new).unwrap();
    for blocks in ways_of_blocks(&old, &new) {
        let payload = layouts.encode(&old, &new, &blocks).unwrap().encoded.payload;
        assert_eq!(decode(&payload, &old).unwrap(), new);
        assert_eq!(reference::decode(&payload, &old).unwrap(), new);
        // A table of entries of eight bytes, one for each function, none of which is carried.
        let parsed = Payload::parse(&payload, Some(old.len())).unwrap();
        let table = parsed.blocks.iter().filter(|block| block.add == 0 && block.literal == 400 * 8);
        assert_eq!(table.count(), 1);
        assert!(Prepared::new(&payload, &old).unwrap().held() > 400 * (8 + 24));
    }
    // What follows the table is its records: with less of them some entries are otherwise than computed.
    let mut other = new.clone();
    let start = new.windows(4).position(|bytes| bytes == [1, 0x1b, 3, 0x3b]).unwrap() + 12;
    other[start..start + 40].fill(7);
    let payload = layouts.encode(&old, &other, &blocks(&old, &other)).unwrap().encoded.payload;
    assert_eq!(decode(&payload, &old).unwrap(), other);
}

#[test]
fn tables_of_frames_that_cannot_be_are_refused() {
    let old = vec![0; 1000];
    let blocks = [Block { source: 0, add: 1000, literal: 0 }];
    let of = |start, count, records| {
        let frame_table = Some(FrameTable { start, count, records });
        encode(&old, &old, &blocks, Some(&Rules { frame_table, ..rules(Vec::new()) })).err()
    };
    assert_eq!(of(0, 10, 80..1000), None);
    assert_eq!(of(920, 10, 0..920), None);
    assert_eq!(of(0, 0, 0..0), None);
    for (start, count, records) in [(0, 10, 79..1000), (10, 10, 0..1000), (921, 10, 0..9), (0, 10, 80..1001)]
    {
        assert!(matches!(of(start, count, records), Some(Error::Rule(_))), "{start} {count}");
    }
    let large = vec![0; usize::try_from(crate::MAX_HELD).unwrap() + 1];
    let size = u32::try_from(large.len()).unwrap();
    let frame_table = Some(FrameTable { start: 0, count: 1, records: 8..size });
    let blocks = [Block { source: 0, add: 0, literal: size }];
    let found = encode(&old, &large, &blocks, Some(&Rules { frame_table, ..rules(Vec::new()) }));
    assert!(matches!(found, Err(Error::TooLarge { .. })));
}

#[test]
fn files_that_are_no_programs_have_no_layout() {
    let (old, _) = pair();
    assert!(Layouts::of(&old, b"text").is_none());
    assert!(Layouts::of(&[], &[]).is_none());
    assert!(Layouts::of(&old[..5000], &old).is_none());
}

/// Tells whether the reference reads on where the decoder fails: it allows bytes that no run is for, runs behind the
/// end of the file, and differences that end early.
fn is_lenient(error: Error) -> bool {
    let of_runs = ["the last run", "the runs"].map(Error::Left);
    of_runs.contains(&error) || error == Error::Truncated("the differences")
}

/// Changes bytes of a payload again and again, and compares what both decoders make. Returns how many payloads make a
/// file.
fn compare_decoders(good: &[u8], old: &[u8], rounds: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(4);
    let mut made = 0;
    for _ in 0..rounds {
        let mut payload = good.to_vec();
        for _ in 0..random.usize(1..4) {
            // The rules and the blocks come first, misses and rows last; between them lie new bytes, which are many.
            let place = match random.u8(..4) {
                0 | 1 => random.usize(..300),
                2 => payload.len() - random.usize(1..=300),
                _ => random.usize(..payload.len()),
            };
            payload[place] = random.u8(..);
        }
        match (decode(&payload, old), reference::decode(&payload, old)) {
            (Ok(found), expected) => {
                assert!(expected == Ok(found));
                made += 1;
            }
            (Err(error), expected) => assert!(expected.is_err() || is_lenient(error), "{error}"),
        }
    }
    made
}

#[test]
fn both_decoders_agree_whatever_the_payload_holds() {
    let (old, new) = pair();
    let layouts = Layouts::of(&old, &new).unwrap();
    let good = layouts.encode(&old, &new, &blocks(&old, &new)).unwrap().encoded.payload;
    assert_eq!(reference::decode(&good, &old).unwrap(), new);
    let made = compare_decoders(&good, &old, 400);
    assert!(made > 50, "{made} of 400 payloads make a file");
}

/// Code with a call, a jump, a jump on a condition or a load after some bytes of others, whose operands lead to code;
/// and the positions of the operands of jumps.
fn code(random: &mut fastrand::Rng, range: std::ops::Range<u32>, size: u32) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut jumps) = (Vec::new(), Vec::new());
    let count = range.len();
    while bytes.len() + 30 < count {
        (0..random.usize(4..8)).for_each(|_| bytes.extend([0x48, 0x89, 0xc0 | random.u8(..64)]));
        let opcodes: [&[u8]; 4] = [&[0xe8], &[0xe9], &[0x0f, 0x84], &[0x48, 0x8d, 0x0d]];
        let kind = random.usize(..4);
        bytes.extend(opcodes[kind]);
        if matches!(kind, 1 | 2) {
            jumps.push(bytes.len());
        }
        let next = range.start + u32::try_from(bytes.len()).unwrap() + 4;
        bytes.extend(random.u32(..size).wrapping_sub(next).to_le_bytes());
    }
    bytes.resize(count, 0x90);
    (bytes, jumps)
}

/// Makes the payload of a changed file with code that is added at a position, and compares both decoders. Calls and
/// loads of new code take at least so many bytes, and some fields and jumps lead elsewhere.
fn assert_decoders_agree(
    old: &[u8],
    changed: &[u8],
    (at, added): (u32, &[u8]),
    list: Vec<Rule>,
    [least_calls, least_loads]: [usize; 2],
) {
    let (before, after) = changed.split_at(at as usize);
    let new = [before, added, after].concat();
    let [old_size, literal, size] = [old, added, &new].map(|bytes| u32::try_from(bytes.len()).unwrap());
    let side = |size| Side { segments: vec![Segment { address: 0, size, place: 0 }], bases: Vec::new() };
    let blocks =
        [Block { source: 0, add: at, literal }, Block { source: at, add: old_size - at, literal: 0 }];
    let rules = Rules {
        old: side(old_size),
        new: side(size),
        rules: list,
        new_code: std::iter::once(at..at + literal).collect(),
        ..Rules::default()
    };
    let good = encode(old, &new, &blocks, Some(&rules)).unwrap().payload;
    let parsed = Payload::parse(&good, Some(old.len())).unwrap();
    assert!(!parsed.misses[0].is_empty() && !parsed.misses[2].is_empty());
    assert!(parsed.new.calls.len() >= least_calls && parsed.new.loads.len() >= least_loads);
    assert!(decode(&good, old).unwrap() == new);
    assert!(reference::decode(&good, old).unwrap() == new);
    let made = compare_decoders(&good, old, 60);
    assert!(made > 5, "{made} of 60 payloads make a file");
}

#[test]
fn both_decoders_agree_about_jumps_that_lead_elsewhere_and_about_large_new_code() {
    const OLD: u32 = 40_000;
    const AT: u32 = 20_000;
    const ADDED: u32 = 100_000;
    let mut random = fastrand::Rng::with_seed(6);
    let (old, jumps) = code(&mut random, 0..OLD, OLD);
    let mut changed = old.clone();
    for operand in jumps.iter().step_by(7) {
        let next = u32::try_from(*operand).unwrap() + 4;
        let meant = random.u32(..AT);
        changed[*operand..operand + 4].copy_from_slice(&meant.wrapping_sub(next).to_le_bytes());
    }
    let (added, _) = code(&mut random, AT..AT + ADDED, OLD + ADDED);
    assert_decoders_agree(&old, &changed, (AT, &added), vec![Rule::X86_64(0..OLD)], [1, 1]);
}

fn table(start: u32, count: u32) -> Rule {
    Rule::Strided(Strided { start, count, stride: 8, is_wide: true, base: None, scale: 1, is_column: false })
}

fn rules(rules: Vec<Rule>) -> Rules {
    let side = Side { segments: vec![Segment { address: 0, size: 1 << 20, place: 0 }], bases: Vec::new() };
    Rules { old: side.clone(), new: side, rules, ..Rules::default() }
}

#[test]
fn rules_that_ask_for_too_much_are_refused() {
    let old = 0x2000u64.to_le_bytes().repeat(10_000);
    let blocks = [Block { source: 0, add: 80_000, literal: 0 }];
    let of = |list: Vec<Rule>| encode(&old, &old, &blocks, Some(&rules(list))).err();
    assert_eq!(of(vec![table(0, 10_000)]), None);
    assert_eq!(of(vec![table(0, 10_000); 2]), Some(Error::TooManyFields { max: 80_000 / 6 }));
    assert!(matches!(of(vec![table(0, 10_000); 9]), Some(Error::Rule(_))));
    assert!(matches!(of(vec![Rule::Sections { start: 0, count: 1 }; 5]), Some(Error::Rule(_))));
    let past = encode(&old, &old, &blocks, Some(&rules(vec![table(0, 100)]))).unwrap().payload;
    assert!(matches!(decode(&past, &old[..79_000]), Err(Error::Block(_))));
}

#[test]
fn work_is_told_before_it_is_done() {
    let old = 0x2000u64.to_le_bytes().repeat(10_000);
    let blocks = [Block { source: 0, add: 80_000, literal: 0 }];
    let work = |list: Vec<Rule>| {
        let payload = encode(&old, &old, &blocks, Some(&rules(list))).unwrap().payload;
        Prepared::new(&payload, &old).unwrap().work()
    };
    let one = work(vec![Rule::X86_64(0..40_000)]);
    assert!(work(vec![Rule::X86_64(0..80_000)]) >= one + 3 * 40_000);
    assert!(work(vec![Rule::X86_64(0..80_000); 3]) >= one + 3 * 200_000);
}

/// A rule that looked ahead without end would take minutes for these.
#[test]
fn the_worst_bytes_for_each_rule_are_scanned_once() {
    let words = |word: u32, count: usize| word.to_le_bytes().repeat(count);
    let size = 400_000u32;
    let all = 0..size;
    let count = usize::try_from(size / 4).unwrap();
    let btf = [words(0, 2), words(0, 1), words(u32::MAX, count - 3)].concat();
    let go = crate::GoFunctions { start: 0, count: size / 8, end: size, is_old: true, bases: 0 };
    let cases = [
        (words(0xe8e8_e8e8, count), vec![Rule::X86_64(all.clone())]),
        // Each loads the address of the next four bytes; all are jump tables.
        (words(0x0000_058d, count), vec![Rule::X86_64(all.clone()), Rule::JumpTables(all.clone())]),
        (words(0x9000_0000, count), vec![Rule::Aarch64(all.clone())]),
        // Each half loads a constant, and none adds the program counter to it.
        (words(0x4801_4801, count), vec![Rule::Thumb(all.clone())]),
        (words(0xebff_fffe, count), vec![Rule::Arm(all.clone()), Rule::ArmUnwinding(all.clone())]),
        (words(4, count), vec![Rule::EhFrame(all.clone())]),
        (btf, vec![Rule::Btf { range: all.clone(), ids: 0, names: 0 }]),
        (words(0, count), vec![Rule::GoFunctions(go)]),
        (words(0x0808_0801, count), vec![Rule::GoTypes { range: all, types: 0 }]),
        (words(4, count), vec![Rule::Sections { start: 0, count: 4000 }]),
    ];
    for (old, list) in cases {
        let side =
            Side { segments: vec![Segment { address: 0, size: 1 << 20, place: 0 }], bases: vec![0; 8] };
        let rules = Rules { old: side.clone(), new: side, rules: list, ..Rules::default() };
        let blocks = [Block { source: 0, add: size, literal: 0 }];
        match encode(&old, &old, &blocks, Some(&rules)) {
            Ok(encoded) => assert_eq!(decode(&encoded.payload, &old).unwrap(), old),
            Err(error) => assert!(matches!(error, Error::TooManyFields { .. }), "{error}"),
        }
    }
}

#[test]
fn a_payload_that_is_cut_off_makes_nothing() {
    let (old, new) = pair();
    let payload = encode(&old, &new, &blocks(&old, &new), None).unwrap().payload;
    assert_eq!(Payload::parse(&payload, None).unwrap().size(), new.len());
    for end in [0, 1, 5, 100, payload.len() - 1] {
        assert!(decode(&payload[..end], &old).is_err(), "{end}");
    }
    let longer = [&payload[..], &[0]].concat();
    assert_eq!(decode(&longer, &old), Err(Error::Left("the payload")));
    assert!(decode(&payload, &old[..100]).is_err());
}
