//! Code for x86-64.
//!
//! No instruction is decoded as a whole: what looks like an operand relative to the next instruction and
//! means a place is taken for one, and the scan goes on behind it.

use std::ops::Range;

use super::Found;
use crate::form::{Form, sign_extend, word32};

pub(crate) const CALL: u8 = 0xe8;
pub(crate) const JUMP: u8 = 0xe9;
const TWO_BYTES: u8 = 0x0f;
const LOAD_ADDRESS: u8 = 0x8d;
/// Bytes of the longest form that is looked at.
const LOOK_AHEAD: usize = 6;

pub(super) fn scan(found: &mut Found<'_>, range: &Range<u32>) {
    let base = found.space.address(range.start).wrapping_sub(range.start.into());
    let range = found.range(range);
    let code = &found.bytes[..range.end];
    let mut position = range.start;
    loop {
        position = next_operand(code, position);
        if position + LOOK_AHEAD > range.end || found.is_full() {
            break;
        }
        let (first, second) = (code[position], code[position + 1]);
        let (operand, constant, is_jump) = if first == CALL || first == JUMP {
            (position + 1, 4, true)
        } else if first == TWO_BYTES && second & 0xf0 == 0x80 {
            (position + 2, 4, true)
        } else if second & 0xc7 == 5
            && let Some(immediate) = immediate(code, range.start, position)
        {
            (position + 2, 4 + immediate, false)
        } else {
            position += 1;
            continue;
        };
        let next = base.wrapping_add(operand as u64 + u64::from(constant));
        let address = next.wrapping_add(sign_extend(word32(code, operand)));
        let place = if is_jump && !found.code.contains(&address) { None } else { found.space.place(address) };
        match place {
            Some(place) => {
                let form = Form::relative(constant);
                found.put(operand, form, place);
                if first == LOAD_ADDRESS && !is_jump {
                    found.loaded.push(place);
                    found.is_sorted = false;
                }
                position = operand + 4;
            }
            None => position += 1,
        }
    }
}

/// Eight bytes of one.
const ONES: u64 = u64::MAX / 0xff;

/// Returns a position at which an instruction with an operand may begin: the next one or one before it, or one near the
/// end.
fn next_operand(code: &[u8], mut position: usize) -> usize {
    let word = |position: usize| code.get(position..)?.first_chunk().copied().map(u64::from_le_bytes);
    // Eight bytes that are masked and compared with one value. The highest bit of each that is equal is set, and that of
    // some after such a byte.
    let equal = |bytes: u64, mask: u8, value: u8| {
        let difference = (bytes & (ONES * u64::from(mask))) ^ (ONES * u64::from(value));
        difference.wrapping_sub(ONES) & !difference & (ONES << 7)
    };
    while let (Some(first), Some(second)) = (word(position), word(position + 1)) {
        let is_jump = equal(first, 0xfe, CALL);
        let is_conditional = equal(first, 0xff, TWO_BYTES) & equal(second, 0xf0, 0x80);
        let found = is_jump | is_conditional | equal(second, 0xc7, 5);
        if found != 0 {
            return position + found.trailing_zeros() as usize / 8;
        }
        position += 8;
    }
    position
}

/// Bytes of the immediate after the displacement of the instruction whose opcode is at `position`, if its
/// operand may be relative to the next one.
fn immediate(code: &[u8], start: usize, position: usize) -> Option<u8> {
    let opcode = code[position];
    let register = code[position + 1] >> 3 & 7;
    let before = |back: usize| position.checked_sub(back).filter(|at| *at >= start).map(|at| code[at]);
    let is_long = before(1) == Some(TWO_BYTES)
        || before(2) == Some(0xc5)
        || before(3) == Some(0xc4)
        || before(4) == Some(0x62);
    if is_long {
        return Some(match opcode {
            0x70 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4 | 0xc6 => 1,
            _ => 0,
        });
    }
    let of_operand_size = if before(1) == Some(0x66) { 2 } else { 4 };
    match opcode {
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => Some(1),
        0x69 | 0x81 | 0xc7 => Some(of_operand_size),
        0xf6 => Some(if register < 2 { 1 } else { 0 }),
        0xf7 => Some(if register < 2 { of_operand_size } else { 0 }),
        0x63 | 0x84..=0x8b | 0x8d | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => Some(0),
        0..=0x3f if opcode & 7 < 4 => Some(0),
        _ => None,
    }
}
