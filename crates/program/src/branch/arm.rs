//! The branches of 32-bit ARM (Arm Architecture Reference Manual, ARMv7-A: A8.8.18 B, A8.8.25 BL and BLX).
//!
//! An instruction of Thumb is a word whose low half comes first. An address of Thumb code stands here without the bit
//! that marks it as such.

/// The ways in which Thumb holds the distance of a branch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// BL and B: 24 bits, in units of 2 bytes.
    Long,
    /// BLX: 23 bits, in units of 4 bytes, to code that is not Thumb.
    Exchange,
    /// B with a condition: 20 bits, in units of 2 bytes.
    Conditional,
}

const fn shape(word: u32) -> Option<Shape> {
    if word & 0x8000_f800 != 0x8000_f000 {
        return None;
    }
    let second = word >> 16;
    match second & 0xd000 {
        0xd000 | 0x9000 => Some(Shape::Long),
        0xc000 if second & 1 == 0 => Some(Shape::Exchange),
        // The conditions 14 and 15 stand for other instructions.
        0x8000 if word >> 6 & 15 < 14 => Some(Shape::Conditional),
        _ => None,
    }
}

/// The address that distances count from.
const fn origin_of_thumb(own: u64, shape: Shape) -> u64 {
    let after = own.wrapping_add(4);
    if matches!(shape, Shape::Exchange) { after & !3 } else { after }
}

pub(super) const fn target_of_thumb(word: u32, own: u64) -> Option<u64> {
    let Some(shape) = shape(word) else { return None };
    let second = word >> 16;
    let (sign, first, other) = (word >> 10 & 1, second >> 13 & 1, second >> 11 & 1);
    let low = (second & 0x7ff) << 1;
    let distance = match shape {
        Shape::Conditional => {
            let bits = sign << 20 | other << 19 | first << 18 | (word & 0x3f) << 12 | low;
            (bits << 11).cast_signed() >> 11
        }
        Shape::Long | Shape::Exchange => {
            let high = (1 ^ first ^ sign) << 23 | (1 ^ other ^ sign) << 22;
            let bits = sign << 24 | high | (word & 0x3ff) << 12 | low;
            (bits << 7).cast_signed() >> 7
        }
    };
    Some(origin_of_thumb(own, shape).wrapping_add((distance as i64).cast_unsigned()))
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits")]
pub(super) const fn put_thumb(word: u32, own: u64, address: u64) -> Option<u32> {
    let Some(shape) = shape(word) else { return None };
    let distance = address.wrapping_sub(origin_of_thumb(own, shape)) as u32;
    let low = distance >> 1 & 0x7ff;
    Some(match shape {
        Shape::Conditional => {
            let [sign, other, first] = [distance >> 20 & 1, distance >> 19 & 1, distance >> 18 & 1];
            let second = first << 13 | other << 11 | low;
            word & 0xd000_fbc0 | sign << 10 | distance >> 12 & 0x3f | second << 16
        }
        Shape::Long | Shape::Exchange => {
            let sign = distance >> 24 & 1;
            let [first, other] = [1 ^ sign ^ distance >> 23 & 1, 1 ^ sign ^ distance >> 22 & 1];
            let low = if matches!(shape, Shape::Exchange) { low & !1 } else { low };
            let second = first << 13 | other << 11 | low;
            word & 0xd000_f800 | sign << 10 | distance >> 12 & 0x3ff | second << 16
        }
    })
}

pub(super) const fn is_call_of_thumb(word: u32) -> bool {
    match shape(word) {
        Some(Shape::Long) => word & 0x4000_0000 != 0,
        Some(Shape::Exchange) => true,
        _ => false,
    }
}

pub(super) const fn is_conditional_of_thumb(word: u32) -> bool {
    matches!(shape(word), Some(Shape::Conditional))
}

/// The condition of BLX, which is none.
const EXCHANGE: u32 = 15;
const ALWAYS: u32 = 14;

const fn branches(word: u32) -> bool {
    word & 0x0e00_0000 == 0x0a00_0000
}

pub(super) const fn target(word: u32, own: u64) -> Option<u64> {
    if !branches(word) {
        return None;
    }
    let half = if word >> 28 == EXCHANGE { word >> 23 & 2 } else { 0 };
    let distance = ((word << 8).cast_signed() >> 6) as i64 + half as i64;
    Some(own.wrapping_add(8).wrapping_add(distance.cast_unsigned()))
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits")]
pub(super) const fn put(word: u32, own: u64, address: u64) -> Option<u32> {
    if !branches(word) {
        return None;
    }
    let distance = address.wrapping_sub(own.wrapping_add(8)) as u32;
    let words = distance >> 2 & 0xff_ffff;
    Some(match word >> 28 {
        EXCHANGE => word & 0xfe00_0000 | (distance & 2) << 23 | words,
        _ => word & 0xff00_0000 | words,
    })
}

pub(super) const fn is_call(word: u32) -> bool {
    branches(word) && (word >> 28 == EXCHANGE || word & 0x0100_0000 != 0)
}

pub(super) const fn is_conditional(word: u32) -> bool {
    branches(word) && word >> 28 < ALWAYS && word & 0x0100_0000 == 0
}
