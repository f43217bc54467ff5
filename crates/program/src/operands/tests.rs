//! Operands that are taken out of new code, and that come back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::Segment;

const RANGES: [Range<u32>; 2] = [100..1_000_000, 1_500_000..1_600_000];
const SEGMENTS: [Segment; 1] = [Segment { address: 0x40_0000, size: 2_000_000, place: 0 }];
const CODE: Code<'static> = Code { machine: Machine::X86_64, ranges: &RANGES, space: Space(&SEGMENTS) };

fn read(taken: &Taken, position: u32, size: usize, machine: Machine) -> Result<Vec<u8>> {
    let Taken { new, calls, loads, conditions, stack } = taken;
    let mut new = New { new, calls, loads, conditions, stack };
    let (mut out, mut position, mut left) = (Vec::new(), position, size);
    while left > 0 {
        let size = left.min(PIECE_SIZE as usize);
        new.read(&mut out, size, CODE.address(position, size), machine)?;
        position += PIECE_SIZE;
        left -= size;
    }
    new.end()?;
    Ok(out)
}

#[test]
fn operands_stand_apart_as_addresses() {
    // A call, a load of an address, a jump on a condition, a variable of the stack, and a call that leads nowhere.
    let code = [
        &[0xe8, 0, 1, 0, 0, 0x48, 0x8d, 0x05, 0, 2, 0, 0, 0x0f, 0x84, 9, 0, 0, 0][..],
        &[0x48, 0x8b, 0x84, 0x24, 0x10, 2, 0, 0, 0xe8, 0, 0, 0, 0x70, 0xc3],
    ]
    .concat();
    let mut taken = Taken::default();
    taken.literal(&code, 200, CODE, &mut CallSites::new(0..0), &mut Rows::default());
    let address = |place: u32| (0x40_0000 + place).to_be_bytes();
    assert_eq!(taken.calls, [&address(200 + 5 + 0x100)[..], &[KEPT]].concat());
    assert_eq!(taken.loads, address(200 + 12 + 0x200));
    assert_eq!(taken.conditions, [0, 0, 0, 9]);
    assert_eq!(taken.stack, [0, 0, 2, 0x10]);
    let new = [0xe8, 0x48, 0x8d, 0x05, 0x0f, 0x84, 0x48, 0x8b, 0x84, 0x24, 0xe8, 0, 0, 0, 0x70, 0xc3];
    assert_eq!(taken.new, new);
    assert_eq!(read(&taken, 200, code.len(), Machine::X86_64), Ok(code));
}

#[test]
fn any_bytes_come_out_the_same_and_what_is_cut_fails() {
    let mut random = fastrand::Rng::with_seed(5);
    let opcodes = [
        CALL,
        JUMP,
        TWO_BYTES,
        0x84,
        STACK_POINTER,
        0x8d,
        0x05,
        0xc7,
        0x0d,
        0,
        0xff,
        0x94,
        0x90,
        0xf9,
        0x91,
        1,
    ];
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
