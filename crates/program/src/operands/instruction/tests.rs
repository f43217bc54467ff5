//! Instructions whose lengths are known.

use super::*;

#[test]
fn instructions_end_where_processors_say() {
    // One instruction each, as disassemblers show them.
    let instructions: [&[u8]; 32] = [
        &[0xc3],
        &[0x50],
        &[0x41, 0x57],
        &[0x48, 0x89, 0xe5],
        &[0x8b, 0x45, 0xf8],
        &[0x8b, 0x04, 0x24],
        &[0x48, 0x8b, 0x04, 0xc5, 1, 2, 3, 4],
        &[0x48, 0x8d, 0x84, 0x24, 1, 2, 3, 4],
        &[0x48, 0x8d, 0x3d, 1, 2, 3, 4],
        &[0x8b, 0x80, 1, 2, 3, 4],
        &[0x8b, 0x44, 0x24, 8],
        &[0xb8, 1, 2, 3, 4],
        &[0x66, 0xb8, 1, 2],
        &[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x66, 0xc7, 0x05, 1, 2, 3, 4, 5, 6],
        &[0xc7, 0x44, 0x24, 8, 1, 2, 3, 4],
        &[0x83, 0x7d, 0xfc, 1],
        &[0xf6, 0xc1, 1],
        &[0xf6, 0xd9],
        &[0xf7, 0xc1, 1, 2, 3, 4],
        &[0xf7, 0xd9],
        &[0xe8, 1, 2, 3, 4],
        &[0x0f, 0x84, 1, 2, 3, 4],
        &[0x75, 1],
        &[0x0f, 0xb6, 0xc0],
        &[0x0f, 0x0b],
        &[0x66, 0x0f, 0x38, 0x00, 0xc1],
        &[0x66, 0x0f, 0x3a, 0x0f, 0xc1, 8],
        &[0xc5, 0xf8, 0x77],
        &[0xc5, 0xfd, 0x70, 0xc0, 1],
        &[0xc4, 0xe3, 0x7d, 0x39, 0xc0, 1],
        &[0x62, 0xf1, 0x7c, 0x48, 0x10, 0x44, 0x24, 1],
    ];
    let is_start = |bytes: &[u8]| {
        let Instruction { part, has_66, has_rex_w, .. } = Instruction::after(bytes);
        part == Part::Start && !has_66 && !has_rex_w
    };
    for instruction in instructions {
        for cut in 1..instruction.len() {
            assert!(!is_start(&instruction[..cut]), "{instruction:x?} up to {cut}");
        }
        assert!(is_start(instruction), "{instruction:x?}");
    }
}

#[test]
fn bytes_that_go_by_together_are_like_one_after_the_other() {
    let mut random = fastrand::Rng::with_seed(16);
    let bytes: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
    let (mut single, mut together, mut rest) = (Instruction::after(&[]), Instruction::after(&[]), &*bytes);
    while !rest.is_empty() {
        let size = random.usize(1..=together.together().into()).min(rest.len());
        let (now, after) = rest.split_at(size);
        now.iter().for_each(|byte| single.pass(*byte));
        together.pass_together(now);
        assert_eq!((single.part, single.four()), (together.part, together.four()));
        rest = after;
    }
}
