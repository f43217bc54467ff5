//! New code for x86-64, as both decoders make it.

use super::{compare_decoders, decode, rules};
use crate::payload::Payload;
use crate::{Block, Rules, encode, reference};

/// Parts of instructions that have an operand, and others.
const PARTS: [&[u8]; 20] = [
    &[0xe8],
    &[0xe9],
    &[0x0f, 0x84],
    &[0x48, 0x8d, 0x05],
    &[0x80, 0x3d],
    &[0x66, 0x81, 0x3d],
    &[0x48, 0x8b, 0x84, 0x24],
    &[0x8b, 0x80],
    &[0x8b, 0x04, 0xc5],
    &[0x48, 0xb8],
    &[0xf6, 0x05],
    &[0xf7, 0x05],
    &[0xc5, 0xf8, 0x28, 0x05],
    &[0xc4, 0xe3, 0x7d, 0x39],
    &[0x62, 0xf1, 0x7c, 0x48, 0x10],
    &[0x66, 0x0f, 0x3a, 0x0f],
    &[0x0f, 0x38, 0x00],
    &[0xc3],
    &[0x66],
    &[0x41],
];

fn code(random: &mut fastrand::Rng, size: usize) -> Vec<u8> {
    let mut code = Vec::new();
    while code.len() < size {
        code.extend(PARTS[random.usize(..PARTS.len())]);
        match random.u8(..4) {
            0 => code.extend((0..random.usize(..4)).map(|_| random.u8(..))),
            1 => {}
            // Distances, few of which lead out of the file, and some of which look like a number of a target.
            _ => code.extend([
                random.u8(..),
                random.u8(..4),
                0,
                random.choice([0, 0, 0, 0x41, 0x60, 0xff]).unwrap_or(0),
            ]),
        }
    }
    code.truncate(size);
    code
}

#[test]
fn both_decoders_agree_about_new_code() {
    let mut random = fastrand::Rng::with_seed(17);
    let old = code(&mut random, 20_000);
    let (mut new, mut blocks) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        let source = random.usize(..old.len() - 100);
        let (add, literal) = (random.usize(..40), random.usize(1..80));
        new.extend_from_slice(&old[source..source + add]);
        new.extend(code(&mut random, literal));
        let [source, add, literal] = [source, add, literal].map(|number| u32::try_from(number).unwrap());
        blocks.push(Block { source, add, literal });
    }
    let literals: usize = blocks.iter().map(|block| block.literal as usize).sum();
    // Most of the file is code, with a hole and without its ends.
    let with = Rules { new_code: vec![100..9000, 9500..19_000], ..rules(Vec::new()) };
    let good = encode(&old, &new, &blocks, Some(&with)).unwrap().payload;
    let parsed = Payload::parse(&good, Some(old.len())).unwrap();
    let parts = parsed.new;
    for part in [parts.calls, parts.loads, parts.branches, parts.stack] {
        assert!(part.len() > 60, "{}", part.len());
    }
    assert!(parts.new.len() < literals * 19 / 20, "{} of {literals}", parts.new.len());
    assert!(decode(&good, &old).unwrap() == new);
    assert!(reference::decode(&good, &old).unwrap() == new);
    let made = compare_decoders(&good, &old, 400);
    assert!(made > 100, "{made} of 400 payloads make a file");
}
