//! Operands that are taken out of new code, and that come back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::Segment;
use crate::scan::{CALL, JUMP};

const RANGES: [Range<u32>; 2] = [100..1_000_000, 1_500_000..1_600_000];
const SEGMENTS: [Segment; 1] = [Segment { address: 0x40_0000, size: 2_000_000, place: 0 }];
const CODE: Code<'static> = Code { machine: Machine::X86_64, ranges: &RANGES, space: Space(&SEGMENTS) };

fn read(taken: &Taken, position: u32, size: usize, machine: Machine) -> Result<Vec<u8>> {
    let Taken { new, calls, loads, branches, stack, .. } = taken;
    let mut new = New { new, calls, loads, branches, stack };
    let mut fresh = new.new;
    let mut before = Before::default();
    let (mut out, mut position, mut left) = (Vec::new(), position, size);
    while left > 0 {
        let size = left.min(PIECE_SIZE as usize);
        let mut piece = Vec::new();
        new.read(&mut fresh, &mut piece, size, CODE.address(position, size), machine, &mut before)?;
        before.pass(&piece);
        out.extend(piece);
        position += PIECE_SIZE;
        left -= size;
    }
    new.end()?;
    if fresh.is_empty() { Ok(out) } else { Err(Error::Left("the new bytes")) }
}

/// Takes a literal at place 200 apart, after some bytes of the new file.
fn taken(before: &[u8], code: &[u8]) -> Taken {
    let mut taken = Taken::default();
    taken.pass(before);
    taken.literal(code, 200, CODE, &mut CallSites::new(0..0), &mut Rows::default());
    taken
}

#[test]
fn operands_stand_apart_as_addresses() {
    // A call, a load of an address, a jump on a condition, a variable of the stack, a call that leads nowhere, and a
    // comparison with an immediate that looks like a call.
    let code = [
        &[0xe8, 0, 1, 0, 0, 0x48, 0x8d, 0x05, 0, 2, 0, 0, 0x0f, 0x84, 9, 0, 0, 0][..],
        &[0x48, 0x8b, 0x84, 0x24, 0x10, 2, 0, 0, 0xe8, 0, 0, 0, 0x70, 0x3c, 0xe8],
        &[0x80, 0x3d, 0, 2, 0, 0, 7, 0xc3],
    ]
    .concat();
    let taken = taken(&[], &code);
    let address = |place: u32| (0x40_0000 + place).to_be_bytes();
    assert_eq!(taken.calls, [&address(200 + 5 + 0x100)[..], &[KEPT]].concat());
    // The second load counts from the end of an instruction whose immediate follows the operand.
    assert_eq!(taken.loads, [address(200 + 12 + 0x200), address(200 + 40 + 0x200)].concat());
    assert_eq!(taken.branches, [0, 0, 0, 9]);
    assert_eq!(taken.stack, [0, 0, 2, 0x10]);
    let new = [
        &[0xe8, 0x48, 0x8d, 0x05, 0x0f, 0x84, 0x48, 0x8b, 0x84, 0x24, 0xe8, 0, 0, 0, 0x70, 0x3c, 0xe8][..],
        &[0x80, 0x3d, 7, 0xc3],
    ]
    .concat();
    assert_eq!(taken.new, new);
    assert_eq!(read(&taken, 200, code.len(), Machine::X86_64), Ok(code));
}

#[test]
fn a_target_that_was_jumped_to_shortly_before_has_a_number() {
    // Three jumps to two targets, and one whose distance looks like a number: it stands where it was.
    let jump = |opcode: &[u8], distance: u32| [opcode, &distance.to_le_bytes()].concat();
    let code = [
        jump(&[0xe9], 100 - 5),
        jump(&[0x0f, 0x85], 200 - 11),
        jump(&[0x0f, 0x84], 100 - 17),
        jump(&[0xe9], 0x4100_0000),
        jump(&[0xe9], 200 - 27),
    ];
    let code = code.concat();
    let taken = taken(&[], &code);
    assert_eq!(taken.branches, [0, 0, 0, 95, 0, 0, 0, 189, 0x41, 0x60, 0x41]);
    assert_eq!(taken.new, [0xe9, 0x0f, 0x85, 0x0f, 0x84, 0xe9, 0, 0, 0, 0x41, 0xe9]);
    assert_eq!(read(&taken, 200, code.len(), Machine::X86_64), Ok(code));
}

#[test]
fn the_bytes_before_a_literal_tell_where_its_instructions_begin() {
    // The operand of a call that lies before the literal, the rest of one, and a byte of an immediate.
    let operand = [0, 1, 0, 0];
    for (before, is_taken) in [(&[0xe8][..], true), (&[0xb0, 0xe8], false), (&[0xe8, 5], false), (&[], false)]
    {
        let taken = taken(before, &operand);
        assert_eq!(taken.calls.len(), if is_taken { SIZE } else { 0 }, "{before:x?}");
    }
    // Only the last ones count.
    let far = [&[0xe8][..], &[0xff; 4], &[0x90; 19], &[0xe8]].concat();
    let near = [&[0xb8][..], &[0x90; 3], &[0xe8]].concat();
    assert_eq!((taken(&far, &operand).calls.len(), taken(&near, &operand).calls.len()), (SIZE, 0));
    let hidden = [&[0xb8][..], &[0; 3], &[0xe8; 1], &[0x90; 23], &[0xe8]].concat();
    assert_eq!(taken(&hidden, &operand).calls.len(), SIZE);
}

#[test]
fn any_bytes_come_out_the_same_and_what_is_cut_fails() {
    let mut random = fastrand::Rng::with_seed(5);
    let opcodes = [CALL, JUMP, 0x0f, 0x84, 0x24, 0x8d, 0x05, 0xc7, 0x0d, 0, 0xff, 0x94, 0x90, 0xf9, 0x91, 1];
    for round in 0..400 {
        let machine = if round % 2 == 0 { Machine::X86_64 } else { Machine::Aarch64 };
        let size = if round < 2 { 200_000 } else { random.usize(1..300) };
        let byte = |random: &mut fastrand::Rng| match random.bool() {
            true => opcodes[random.usize(..opcodes.len())],
            false => random.u8(..),
        };
        let bytes: Vec<u8> = (0..size).map(|_| byte(&mut random)).collect();
        let position = random.u32(..150);
        let mut taken = Taken::default();
        let code = Code { machine, ..CODE };
        taken.literal(&bytes, position, code, &mut CallSites::new(0..0), &mut Rows::default());
        assert!(read(&taken, position, size, machine).unwrap() == bytes);
        taken.new.pop();
        assert_eq!(read(&taken, position, size, machine), Err(Error::Truncated("the new bytes")));
        taken.new.extend([1, 2]);
        assert!(read(&taken, position, size, machine).is_err(), "bytes are left");
    }
}
