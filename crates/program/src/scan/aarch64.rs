//! Code for aarch64.

use std::ops::Range;

use super::Found;
use crate::branch::Set;
use crate::form::{Form, low_scale, word32};

/// Instructions after an ADRP among which the one is looked for that adds the low bits.
pub(crate) const LOOK_AHEAD: usize = 5;

pub(super) fn scan(found: &mut Found<'_>, range: &Range<u32>) {
    let base = found.space.address(range.start).wrapping_sub(range.start.into());
    let range = found.range(range);
    let code = &found.bytes[..range.end];
    let mut position = range.start;
    while position + 4 <= range.end && !found.is_full() {
        let word = word32(code, position);
        let own = base.wrapping_add(position as u64);
        if let Some(target) = Set::Aarch64.target(word, own) {
            if let Some(place) = found.space.place(target) {
                found.put(position, Form::branch(Set::Aarch64), place);
            }
        } else if word & 0x9f00_0000 == 0x9000_0000
            && let Some((second, low)) = low_part(code, position, word & 31)
            && let Some(place) = found.space.place(page(own, word).wrapping_add(low.into()))
        {
            found.put(position, Form::page(), place);
            found.put(second, Form::low(), place);
        }
        position += 4;
    }
}

/// The page that an ADRP at `own` names.
pub(crate) const fn page(own: u64, word: u32) -> u64 {
    let pages = (word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3;
    let pages = ((pages << 11).cast_signed() >> 11) as i64;
    (own & !0xfff).wrapping_add((pages << 12).cast_unsigned())
}

/// The instruction that adds low bits to `register`, and these bits.
fn low_part(code: &[u8], position: usize, register: u32) -> Option<(usize, u32)> {
    for index in 1..=LOOK_AHEAD {
        let position = position + 4 * index;
        if position + 4 > code.len() {
            return None;
        }
        let word = word32(code, position);
        if adds_low(word, register) {
            return Some((position, (word >> 10 & 0xfff) << low_scale(word)));
        }
    }
    None
}

/// Returns true for an instruction that adds low bits to a register: an ADD, or an access to memory.
pub(crate) const fn adds_low(word: u32, register: u32) -> bool {
    let is_add = word & 0x7fc0_0000 == 0x1100_0000;
    let is_access = word & 0x3b00_0000 == 0x3900_0000;
    (is_add || is_access) && word >> 5 & 31 == register
}
