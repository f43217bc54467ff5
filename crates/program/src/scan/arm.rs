//! Code for 32-bit ARM, and the table by which its stack is unwound.

use std::ops::Range;

use super::Found;
use crate::branch::Set;
use crate::form::{Form, word32};

/// Bytes before an instruction that adds the program counter in which its register was loaded.
const LOOK_BACK: usize = 64;
/// Bytes of a record of `.ARM.exidx`.
const RECORD_SIZE: usize = 8;
/// The second word of a record of code that cannot be unwound.
const CANNOT_UNWIND: u32 = 1;

/// Finds the branches of code in Thumb, and the constants among it that hold how far something lies from an instruction:
/// one loads the constant into a register, and a later one adds the program counter to it.
pub(super) fn scan_thumb(found: &mut Found<'_>, range: &Range<u32>) {
    let base = found.space.address(range.start).wrapping_sub(range.start.into());
    let range = found.range(range);
    let code = &found.bytes[..range.end];
    // By the register: where it was loaded last, and the position of the constant.
    let mut loads = [None; 16];
    let mut position = range.start;
    while position + 4 <= range.end && !found.is_full() {
        let word = word32(code, position);
        let own = base.wrapping_add(position as u64);
        if let Some(place) = branch(found, Set::Thumb, word, own) {
            found.put(position, Form::branch(Set::Thumb), place);
        } else if let Some((register, distance)) = load(word) {
            let counter = position + 4 - usize::try_from(own & 3).unwrap_or(0);
            let constant = counter.checked_add_signed(distance).filter(|at| *at >= range.start);
            loads[register] = constant.map(|constant| (position, constant));
        } else if let Some(register) = counter_adds_to(word)
            && let Some((_, constant)) =
                loads[register].take().filter(|(loaded, _)| position - loaded <= LOOK_BACK)
        {
            put_constant(found, range.end, position + 4, constant);
        }
        position += size(word);
    }
}

/// Finds the branches of code in words.
pub(super) fn scan_words(found: &mut Found<'_>, range: &Range<u32>) {
    let base = found.space.address(range.start).wrapping_sub(range.start.into());
    let range = found.range(range);
    for position in range.clone().step_by(4).take(range.len() / 4) {
        let own = base.wrapping_add(position as u64);
        if let Some(place) = branch(found, Set::Arm, word32(found.bytes, position), own) {
            found.put(position, Form::branch(Set::Arm), place);
        }
    }
}

/// Finds the addresses in `.ARM.exidx`: of each function, and of how it is unwound unless the record says that itself.
pub(super) fn scan_unwinding(found: &mut Found<'_>, range: &Range<u32>) {
    let range = found.range(range);
    for position in range.clone().step_by(RECORD_SIZE).take(range.len() / RECORD_SIZE) {
        let [code, data] = [0, 4].map(|offset| word32(found.bytes, position + offset));
        found.read_any(position, Form::short(), code.into());
        if data >> 31 == 0 && data != CANNOT_UNWIND {
            found.read_any(position + 4, Form::short(), data.into());
        }
    }
}

/// The place of the code that an instruction branches to.
fn branch(found: &Found<'_>, set: Set, word: u32, own: u64) -> Option<u32> {
    let target = set.target(word, own).filter(|target| found.code.contains(target))?;
    found.space.place(target)
}

/// Bytes of the instruction that begins with the low half of `word`.
const fn size(word: u32) -> usize {
    if word & 0xf800 >= 0xe800 { 4 } else { 2 }
}

/// The register that an instruction loads with a constant, and how far that lies from the program counter, which is
/// rounded down to a multiple of 4.
fn load(word: u32) -> Option<(usize, isize)> {
    let (register, distance, is_before) = match word & 0xffff {
        half if half & 0xf800 == 0x4800 => (half >> 8 & 7, (half & 0xff) * 4, false),
        half @ (0xf8df | 0xf85f) => (word >> 28, word >> 16 & 0xfff, half == 0xf85f),
        _ => return None,
    };
    let distance = isize::try_from(distance).ok()?;
    Some((usize::try_from(register).ok()?, if is_before { -distance } else { distance }))
}

/// The register to which an instruction adds the program counter.
fn counter_adds_to(word: u32) -> Option<usize> {
    let low = word & 7 | word >> 4 & 8;
    if word & 0xff78 == 0x4478 { usize::try_from(low).ok() } else { None }
}

/// Adds the field of a constant that counts from the position `counter`.
fn put_constant(found: &mut Found<'_>, end: usize, counter: usize, constant: usize) {
    let [from, own] = [counter, constant].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
    if let Ok(distance) = i16::try_from(from - own)
        && constant + 4 <= end
    {
        found.read(constant, Form::pooled(distance));
    }
}
