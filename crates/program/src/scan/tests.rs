//! Each rule finds its fields in bytes that were written by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::{GoFunctions, Segment, Strided};

/// Positions and targets of the fields that a rule finds, in a file whose addresses are `address` more than
/// its offsets.
fn found(bytes: &[u8], address: u64, bases: &[u64], rules: &[Rule]) -> Vec<(u32, u32)> {
    let segments = vec![
        Segment { address, size: u32::try_from(bytes.len()).unwrap(), place: 0 },
        Segment { address: 1 << 40, size: 1 << 20, place: 1 << 28 },
    ];
    let scanned = scan(bytes, &Side { segments, bases: bases.to_vec() }, rules).unwrap();
    scanned.fields.iter().map(|field| (field.position, field.target)).collect()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Puts words at a position.
fn put(bytes: &mut [u8], position: usize, list: &[u32]) {
    bytes[position..position + 4 * list.len()].copy_from_slice(&words(list));
}

#[test]
fn code_for_x86_64() {
    let mut code = vec![0x90; 64];
    // call 40; je 0; lea rax, [32]; cmp dword [36], imm8; a call that leads nowhere.
    code[0..5].copy_from_slice(&[0xe8, 35, 0, 0, 0]);
    code[5..11].copy_from_slice(&[0x0f, 0x84, 0xf5, 0xff, 0xff, 0xff]);
    code[11..18].copy_from_slice(&[0x48, 0x8d, 0x05, 14, 0, 0, 0]);
    code[18..25].copy_from_slice(&[0x83, 0x3d, 11, 0, 0, 0, 1]);
    code[25..30].copy_from_slice(&[0xe8, 0xff, 0xff, 0xff, 0x7f]);
    // A jump table where the address was loaded from: two entries that lead to code, and one that does not.
    put(&mut code, 32, &[0u32.wrapping_sub(32), 8, 1 << 30]);
    let fields = found(&code, 0x1000, &[], &[Rule::X86_64(0..30), Rule::JumpTables(32..64)]);
    // Nothing but code is called.
    assert_eq!(fields, [(7, 0), (14, 32), (20, 36), (32, 0)]);
    let fields = found(&code, 0x1000, &[], &[Rule::X86_64(0..64), Rule::JumpTables(32..64)]);
    assert_eq!(fields, [(1, 40), (7, 0), (14, 32), (20, 36), (32, 0), (36, 40)]);
}

#[test]
fn code_for_aarch64() {
    // bl +12; b -4; adrp x1, 0; nop; add x1, x1, #24; adrp x2, 0; ldr x3, [x2, #16]; adrp x9, 0 without a low part.
    let code = words(&[
        0x9400_0003,
        0x17ff_ffff,
        0x9000_0001,
        0xd503_201f,
        0x9100_6021,
        0x9000_0002,
        0xf940_0843,
        0x9000_0009,
    ]);
    let fields = found(&code, 0x40_0000, &[], &[Rule::Aarch64(0..32)]);
    assert_eq!(fields, [(0, 12), (4, 0), (8, 24), (16, 24), (20, 16), (24, 16)]);
}

#[test]
fn conditional_branches_of_aarch64() {
    // b.ne +12; cbz w1, -4; cbnz x2, +8; tbz w3, #31, -12; tbnz x4, #33, +4; ret.
    let code = words(&[0x5400_0061, 0x34ff_ffe1, 0xb500_0042, 0x36ff_ffa3, 0xb708_0024, 0xd65f_03c0]);
    let fields = found(&code, 0x40_0000, &[], &[Rule::Aarch64(0..24)]);
    assert_eq!(fields, [(0, 12), (4, 0), (8, 16), (12, 0), (16, 20)]);
}

#[test]
fn tables_of_a_stride() {
    let mut table = vec![0; 72];
    for (record, value) in [0x2010u64, 0x10, 0].into_iter().enumerate() {
        table[24 * record + 8..24 * record + 16].copy_from_slice(&value.to_le_bytes());
        put(&mut table, 24 * record + 16, &[u32::try_from(record).unwrap()]);
    }
    let plain =
        Strided { start: 8, count: 3, stride: 24, is_wide: true, base: None, scale: 1, is_column: false };
    // Small numbers are no addresses.
    assert_eq!(found(&table, 0x2000, &[], &[Rule::Strided(plain)]), [(8, 16)]);
    let based = Strided { start: 16, is_wide: false, base: Some(0), scale: 24, ..plain };
    assert_eq!(found(&table, 0x2000, &[0x2000], &[Rule::Strided(based)]), [(40, 24), (64, 48)]);
    let no_base = Strided { base: Some(7), ..based };
    assert_eq!(found(&table, 0x2000, &[0x2000], &[Rule::Strided(no_base)]), []);
}

#[test]
fn unwind_records() {
    let mut bytes = vec![0; 96];
    // A common record with addresses relative to the field, for code and for data.
    put(&mut bytes, 0, &[20, 0]);
    bytes[8..20].copy_from_slice(b"\x01zLR\0\x01\x78\x10\x02\x1b\x1b\0");
    // One that refers to it: code at 80, 8 bytes; data at 88.
    put(&mut bytes, 24, &[20, 28, 80 - 32, 8]);
    bytes[40] = 4;
    bytes[41..45].copy_from_slice(&(88u32 - 41).to_le_bytes());
    assert_eq!(found(&bytes, 0, &[], &[Rule::EhFrame(0..64)]), [(28, 0), (32, 80), (41, 88)]);
}

#[test]
fn types_of_the_kernel() {
    let mut btf = words(&[0x1_eb9f, 24, 0, 44, 44, 0]);
    // A pointer to type 7; a structure with one member; an integer.
    btf.extend(words(&[0, 2 << 24, 7]));
    btf.extend(words(&[11, 4 << 24 | 1, 8, 12, 9, 0]));
    btf.extend(words(&[13, 1 << 24, 4, 32]));
    let bases = [1 << 40, (1 << 40) + 1000];
    let range = 0..u32::try_from(btf.len()).unwrap();
    let (id, name) = (1 << 28, (1 << 28) + 1000);
    let fields = found(&btf, 0, &bases, &[Rule::Btf { range, ids: 0, names: 1 }]);
    assert_eq!(fields, [(32, id + 7), (36, name + 11), (48, name + 12), (52, id + 9)]);
}

#[test]
fn relocations_and_symbols_of_object_files() {
    let mut bytes = vec![0; 1024];
    let header = |bytes: &mut Vec<u8>, index: usize, kind, start, size, link, info| {
        put(bytes, 512 + 64 * index, &[0, kind, 0, 0, 0, 0, start, 0, size, 0, link, info]);
    };
    // No section, code, symbols, names of symbols, relocations of the code.
    header(&mut bytes, 1, 1, 64, 64, 0, 0);
    header(&mut bytes, 2, 2, 128, 72, 3, 0);
    header(&mut bytes, 3, 3, 200, 40, 0, 0);
    header(&mut bytes, 4, 4, 240, 24, 2, 1);
    // A symbol for the section of code, and a function at its byte 16, called by the name at 5.
    put(&mut bytes, 152, &[0, 1 << 16 | 3]);
    put(&mut bytes, 176, &[5, 1 << 16 | 0x12, 16]);
    // At byte 8 of the code goes the address of its byte 32, by the symbol of the section.
    put(&mut bytes, 240, &[8, 0, 1, 1, 32, 0]);
    let fields = found(&bytes, 0, &[], &[Rule::Sections { start: 512, count: 5 }]);
    assert_eq!(fields, [(176, 205), (184, 80), (240, 72), (252, 152), (256, 96)]);
}

#[test]
fn functions_of_go() {
    let mut bytes = vec![0; 512];
    // Two functions at 16 and 64 of the code, whose records lie 40 and 104 bytes from the table.
    put(&mut bytes, 0, &[16, 40, 64, 104, 128]);
    // Entry, name, three tables of which one is there, one more table, a unit; stack objects, and the inline tree.
    put(&mut bytes, 40, &[16, 3, 0, 0, 9, 0, 0, 1, 2, 0, 4 << 24, 10, u32::MAX, u32::MAX, u32::MAX, 4]);
    put(&mut bytes, 104, &[64, 7]);
    // One inlined call, of the name at 5.
    put(&mut bytes, 404, &[0, 5, 0, 0, 1, 0]);
    // Table, code, names, tables, units, data, constants.
    let bases = [0, 300, 310, 320, 330, 400, 500];
    let go = GoFunctions { start: 0, count: 2, end: 256, is_old: false, bases: 0 };
    let fields = found(&bytes, 0, &bases, &[Rule::GoFunctions(go)]);
    let functions = [(0, 316), (4, 40), (8, 364), (12, 104), (16, 428)];
    let record = [(40, 316), (44, 313), (56, 329), (72, 338), (84, 320 + 10), (100, 404), (104, 364)];
    assert_eq!(fields[..5], functions, "{fields:?}");
    assert!(record.iter().all(|field| fields.contains(field)), "{fields:?}");
    assert!(fields.contains(&(408, 315)), "{fields:?}");
}

#[cfg(feature = "writer")]
#[test]
fn bundles_of_icu() {
    let file = [vec![0xcc; 32], fixtures::icu::package(&(0..30).collect::<Vec<_>>(), 4)].concat();
    let address = 0x4000u64;
    let size = u32::try_from(file.len()).unwrap();
    let range = 32..file.len();
    let at = |place: usize| address + u64::try_from(place).unwrap();
    let (_, [keys, strings]) = icu::pools(&file, range.clone()).next().unwrap();
    let side = Side {
        segments: vec![Segment { address, size, place: 0 }],
        bases: vec![at(64), at(keys), at(strings)],
    };
    let scanned = scan(&file, &side, &[Rule::Icu { range: 32..size, bases: 0 }]).unwrap();
    assert_eq!((icu::items(&file, range).count(), scanned.bundles.len()), (5, 5));
    let text = |place: usize| {
        let units = file[place..].chunks(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        String::from_utf16(&units).unwrap()
    };
    let mut counts = [0; 4];
    for field in &scanned.fields {
        let target = field.target as usize;
        match field.form.kind() {
            crate::Kind::Key => {
                let is_key = [&b"key"[..], b"own\0"].iter().any(|start| file[target..].starts_with(start));
                assert!(is_key, "{field:?}");
                counts[0] += 1;
            }
            crate::Kind::String => {
                assert!(text(target).ends_with(" of all") || text(target).contains(" has "), "{field:?}");
                counts[1] += 1;
            }
            crate::Kind::Resource => counts[2] += 1,
            crate::Kind::Index => counts[3] += 1,
            kind => assert_eq!(kind, crate::Kind::Based),
        }
    }
    // Of each locale: two tables; a table and an array; an array, five of the six in the table, and the root.
    assert_eq!(counts, [4 * (30 + 6), 4 * 60, 4 * (30 + 5 + 1), 5 * 4]);
}

#[test]
fn code_for_32_bit_arm() {
    let mut code = vec![0; 64];
    let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<_>>();
    // ldr r1, [pc, #40]; nop; add r1, pc; bl 48; ldr.w r9, [pc, #36]; add r9, pc; beq.w 0; ldr r2, [pc, #32]; nop.
    let instructions = halves(&[
        0x490a, 0xbf00, 0x4479, 0xf000, 0xf813, 0xf8df, 0x9024, 0x44f9, 0xf43f, 0xaff6, 0x4a08, 0xbf00,
        0xbf00,
    ]);
    code[..instructions.len()].copy_from_slice(&instructions);
    // What the first two load means 56 and 4; nothing is added to the third.
    put(&mut code, 44, &[48, 0u32.wrapping_sub(14), 56]);
    let fields = found(&code, 0x1_0000, &[], &[Rule::Thumb(0..64)]);
    assert_eq!(fields, [(6, 48), (16, 0), (44, 56), (48, 4)]);
    // bl 40; an add; bne 0; blx 6.
    let words = words(&[0xeb00_0008, 0xe080_1001, 0x1aff_fffc, 0xfbff_fffb, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(found(&words, 0x1_0000, &[], &[Rule::Arm(0..44)]), [(0, 40), (8, 0), (12, 2 + 12 + 8 - 20)]);
}

#[test]
fn records_of_exidx() {
    // Code at 32 and its data at 40, code at 36 that says itself how it is unwound, and code that cannot be.
    let short = |distance: i32| distance.cast_unsigned() & 0x7fff_ffff;
    let mut bytes =
        words(&[0, 0, short(32 - 8), short(40 - 12), short(36 - 16), 0x80b0_b0b0, short(4 - 24), 1]);
    bytes.resize(48, 0);
    let fields = found(&bytes, 0x1_0000, &[], &[Rule::ArmUnwinding(8..32)]);
    assert_eq!(fields, [(8, 32), (12, 40), (16, 36), (24, 4)]);
}
