//! New bytes that are packed with what no block reads of the old file.

use super::{code, compare_decoders, decode, rules, table};
use crate::pack::{Search, compress};
use crate::packed::{dictionary, stretches};
use crate::payload::Payload;
use crate::{Block, Error, MAX_DICTIONARY, Prepared, Rule, Rules, encode, pack, reference};

const SIZE: u32 = 120_000;

fn block(source: u32, add: u32, literal: u32) -> Block {
    Block { source, add, literal }
}

/// Code, and other code in which every second stretch of the old one has a byte in 20 that differs. Blocks do not read
/// these.
fn pair() -> (Vec<u8>, Vec<u8>, Vec<Block>) {
    let mut random = fastrand::Rng::with_seed(23);
    let (old, _) = code(&mut random, 0..SIZE, SIZE);
    let (mut new, mut blocks) = (Vec::new(), Vec::new());
    for start in (0..SIZE).step_by(1000) {
        let stretch = &old[start as usize..start as usize + 1000];
        new.extend_from_slice(&stretch[..300]);
        let changed =
            stretch[300..].iter().map(|byte| if random.u8(..20) == 0 { random.u8(..) } else { *byte });
        new.extend(changed);
        blocks.push(block(start, 300, 700));
    }
    (old, new, blocks)
}

fn with(rule: Rule) -> Rules {
    Rules { new_code: vec![500..60_000, 60_500..SIZE - 500], ..rules(vec![rule]) }
}

#[test]
fn what_is_packed_is_smaller_and_makes_the_same_file() {
    let (old, new, blocks) = pair();
    for rule in [Rule::X86_64(0..SIZE), Rule::Aarch64(0..SIZE)] {
        let plain = encode(&old, &new, &blocks, Some(&with(rule))).unwrap().payload;
        let packed = pack(&plain, &old, 0).unwrap();
        let compressed = |bytes: &[u8]| compress(bytes, &[], Search::Thorough).unwrap().len();
        assert!(compressed(&packed) * 10 < compressed(&plain) * 7);
        assert!(decode(&packed, &old).unwrap() == new);
        assert!(reference::decode(&packed, &old).unwrap() == new);
        assert_eq!(pack(&packed, &old, 0), None, "they are packed already");
        assert!(decode(&packed, &new).is_err(), "another old file");
    }
}

#[test]
fn both_decoders_agree_about_packed_bytes() {
    let (old, new, blocks) = pair();
    let plain = encode(&old, &new, &blocks, Some(&with(Rule::X86_64(0..SIZE)))).unwrap().payload;
    let made = compare_decoders(&pack(&plain, &old, 0).unwrap(), &old, 300);
    assert!(made > 20, "{made} of 300 payloads make a file");
}

#[test]
fn few_new_bytes_and_new_bytes_like_no_old_ones_are_not_packed() {
    let (old, new, blocks) = pair();
    let of = |new: &[u8], blocks: &[Block]| {
        let rules = with(Rule::X86_64(0..SIZE));
        pack(&encode(&old, new, blocks, Some(&rules)).unwrap().payload, &old, 4096)
    };
    assert!(of(&new[..30_000], &blocks[..30]).is_some());
    assert_eq!(of(&new[..5000], &blocks[..5]), None);
    let mut random = fastrand::Rng::with_seed(1);
    let unlike: Vec<u8> = (0..30_000).map(|_| random.u8(..)).collect();
    assert_eq!(of(&unlike, &[block(0, 0, 30_000)]), None);
    let without = encode(&old, &new, &blocks, None).unwrap().payload;
    assert_eq!(pack(&without, &old, 0), None, "a payload without rules says nothing of them");
}

#[test]
fn the_dictionary_has_what_no_block_reads_and_some_bytes_around_it() {
    let of = |blocks: &[Block]| {
        let found = stretches(blocks, 1000).unwrap().into_iter();
        found.map(|stretch| (stretch.start, stretch.end)).collect::<Vec<_>>()
    };
    assert_eq!(of(&[block(0, 1000, 0)]), []);
    assert_eq!(of(&[block(5, 0, 1)]), [(0, 1000)]);
    assert_eq!(of(&[block(500, 100, 0), block(0, 400, 0), block(50, 200, 0)]), [(384, 516), (584, 1000)]);
    assert_eq!(
        of(&[block(0, 100, 0), block(101, 32, 0), block(134, 33, 0), block(168, 832, 0)]),
        [(84, 150), (151, 184)]
    );
    let far = stretches(&[], usize::try_from(MAX_DICTIONARY).unwrap());
    assert_eq!(far.unwrap().len(), 1);
    let too_far = stretches(&[], usize::try_from(MAX_DICTIONARY + 1).unwrap());
    assert!(matches!(too_far, Err(Error::TooLarge { .. })));
    // The operand of the call is taken out, also of one that begins before the stretch.
    let old = [&[0x90; 60][..], &[0xe8, 1, 0, 0, 0], &[0x90; 30], &[0xe8, 1, 0, 0, 0], &[0x90; 60]].concat();
    let end = u32::try_from(old.len()).unwrap();
    let rules = rules(vec![Rule::X86_64(0..end)]);
    let made = dictionary(&old, &[61..70, 90..102], &rules);
    assert_eq!(made, [&[0x90; 5][..], &[0x90; 5], &[0xe8], &[0x90; 2]].concat());
    assert_eq!(
        dictionary(&old, &[61..70, 80..81], &super::rules(vec![table(0, 3)])),
        [&old[61..70], &old[80..81]].concat()
    );
}

#[test]
fn packed_bytes_that_are_broken_are_refused_and_their_work_is_told() {
    let (old, new, blocks) = pair();
    let mut rules = with(Rule::X86_64(0..SIZE));
    let plain = encode(&old, &new, &blocks, Some(&rules)).unwrap().payload;
    let packed = pack(&plain, &old, 0).unwrap();
    let size = Payload::parse(&packed, None).unwrap().new.new.len();
    let told = |payload: &[u8]| {
        let prepared = Prepared::new(payload, &old).unwrap();
        (prepared.work(), prepared.held())
    };
    assert!(told(&packed).0 >= told(&plain).0 + 70 * size as u64 + 10 * 80_000);
    assert!(told(&packed).1 >= told(&plain).1 + 2 * 80_000);
    // A byte in the middle, and another number of new bytes.
    let part = Payload::parse(&packed, None).unwrap().new.new;
    let middle = packed.windows(size).position(|bytes| bytes == part).unwrap() + size / 2;
    let mut broken = packed.clone();
    broken[middle] ^= 1;
    assert!(decode(&broken, &old).is_err());
    let parsed = Payload::parse(&plain, None).unwrap().new.new.len();
    for other in [0, parsed - 1, parsed + 1, new.len()] {
        let other = crate::pack::with_size(&packed, &old, u32::try_from(other).unwrap()).unwrap();
        assert_eq!(decode(&other, &old), Err(Error::Packed));
    }
    let over = crate::pack::with_size(&packed, &old, SIZE + 1).unwrap();
    assert!(matches!(decode(&over, &old), Err(Error::TooLarge { .. })));
    rules.packed = Some(5);
    assert_eq!(encode(&old, &new, &blocks, Some(&rules)).err(), Some(Error::Packed));
}
