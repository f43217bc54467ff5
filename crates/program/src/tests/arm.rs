//! Code of 64- and 32-bit ARM, and the table by which the stack of the latter is unwound.

use std::ops::Range;

use fastrand::Rng;

use super::assert_decoders_agree;
use crate::Rule;
use crate::branch::Set;

/// Code for aarch64: calls, branches, and pairs of instructions that load an address, which begin at every second
/// word or so.
fn aarch64_code(random: &mut Rng, range: Range<u32>, size: u32) -> Vec<u8> {
    let words = range.step_by(4).map(|own| {
        let meant = random.u32(..size / 4) * 4;
        let register = random.u32(..4);
        // The immediate of a conditional branch, which leads to a place that is near.
        let near = (random.u32(..400).wrapping_sub(200) & 0x3fff) << 5;
        match random.u8(..8) {
            0 => 0x9400_0000 | meant.wrapping_sub(own) >> 2 & 0x03ff_ffff,
            1 => 0x1400_0000 | meant.wrapping_sub(own) >> 2 & 0x03ff_ffff,
            2 => {
                let pages = (meant >> 12).wrapping_sub(own >> 12);
                0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5 | register
            }
            3 => 0x9100_0000 | (meant & 0xfff) << 10 | register << 5 | register,
            4 => 0xf940_0000 | (meant & 0xfff) << 10 | register << 5,
            5 => 0x3dc0_0000 | (meant & 0xfff) << 10 | register << 5,
            6 => {
                random.choice([0x5400_0000, 0x3400_0000, 0xb500_0000, 0x3600_0000, 0xb700_0000]).unwrap()
                    | near
            }
            _ => 0xaa00_03e0 | random.u32(..32) << 16,
        }
    });
    words.flat_map(u32::to_le_bytes).collect()
}

#[test]
fn both_decoders_agree_about_new_code_for_aarch64() {
    const OLD: u32 = 40_000;
    const AT: u32 = 20_000;
    const ADDED: u32 = 100_003;
    let mut random = Rng::with_seed(7);
    let old = aarch64_code(&mut random, 0..OLD, OLD);
    let mut changed = old.clone();
    for (index, word) in changed[..AT as usize].chunks_exact_mut(4).enumerate() {
        // Every third call or branch leads elsewhere.
        let is_branch = matches!(word[3] & 0xfc, 0x94 | 0x14 | 0x34 | 0xb4) || word[3] == 0x54;
        if is_branch && index % 3 == 0 {
            word[0] ^= 8;
        }
    }
    // The code ends within a word, so that what follows it is no code at other addresses.
    let mut added = aarch64_code(&mut random, AT..AT + ADDED, OLD + ADDED);
    added.truncate(ADDED as usize);
    assert_decoders_agree(&old, &changed, (AT, &added), vec![Rule::Aarch64(0..OLD)], [8001, 4001]);
}

/// Branches of a set to anywhere in a file of `size` bytes, and other instructions between them.
fn branches(random: &mut Rng, set: Set, range: Range<u32>, size: u32) -> Vec<u8> {
    // Calls, jumps and conditional jumps; in Thumb also a load of a constant, which the next instruction adds to.
    let (branches, others): (&[u32], &[u32]) = match set {
        Set::Thumb => (&[0xd000_f000, 0xc000_f000, 0x9000_f000, 0x8000_f040], &[0x4479_4901, 0x44f9_bf00]),
        _ => (&[0xeb00_0000, 0xfa00_0000, 0xea00_0000, 0x1a00_0000], &[0xe080_1001, 0xe12f_ff1e]),
    };
    let words = range.step_by(4).map(|own| {
        if random.bool() {
            return random.choice(others.iter().copied()).unwrap();
        }
        let kind = random.usize(..branches.len());
        let is_near = kind == 3;
        let meant = if is_near { own.saturating_sub(100) + random.u32(..200) } else { random.u32(..size) };
        set.put(branches[kind], own.into(), u64::from(meant & !3)).unwrap()
    });
    words.flat_map(u32::to_le_bytes).collect()
}

/// The same, of which every third branch leads elsewhere.
fn changed(code: &[u8]) -> Vec<u8> {
    let mut changed = code.to_vec();
    changed.chunks_exact_mut(4).step_by(3).for_each(|word| word[0] ^= 8);
    changed
}

#[test]
fn both_decoders_agree_about_code_of_32_bit_arm() {
    const OLD: u32 = 40_000;
    const AT: u32 = 20_000;
    for (set, rule) in [(Set::Thumb, Rule::Thumb(0..OLD)), (Set::Arm, Rule::Arm(0..OLD))] {
        let mut random = Rng::with_seed(11);
        let old = branches(&mut random, set, 0..OLD, OLD);
        let added = branches(&mut random, set, AT..AT + 3000, OLD + 3000);
        assert_decoders_agree(&old, &changed(&old), (AT, &added), vec![rule], [1, 0]);
    }
}

#[test]
fn both_decoders_agree_about_records_of_exidx() {
    const OLD: u32 = 40_000;
    const TABLE: u32 = 24_000;
    let mut random = Rng::with_seed(12);
    let mut old = branches(&mut random, Set::Arm, 0..OLD, OLD);
    for own in (TABLE..OLD).step_by(8) {
        let code = random.u32(..TABLE).wrapping_sub(own) & 0x7fff_ffff;
        let data = match random.u8(..3) {
            0 => 1,
            1 => 0x80b0_b0b0,
            _ => random.u32(..TABLE).wrapping_sub(own + 4) & 0x7fff_ffff,
        };
        let record = [code, data].map(u32::to_le_bytes).concat();
        old[own as usize..own as usize + 8].copy_from_slice(&record);
    }
    let added = branches(&mut random, Set::Arm, 0..1000, OLD);
    let rules = vec![Rule::Arm(0..TABLE), Rule::ArmUnwinding(TABLE..OLD)];
    assert_decoders_agree(&old, &changed(&old), (8000, &added), rules, [1, 0]);
}
