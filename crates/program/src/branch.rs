//! The instructions that branch to a place relative to their own, of processors whose instructions are words.

mod arm;

/// The instruction sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Set {
    /// That of 64-bit ARM.
    Aarch64,
    /// That of 32-bit ARM whose instructions have 16 or 32 bits.
    Thumb,
    /// That of 32-bit ARM whose instructions have 32 bits.
    Arm,
}

impl Set {
    /// The set with a number.
    pub(crate) const fn of(number: u8) -> Self {
        match number {
            1 => Self::Thumb,
            2 => Self::Arm,
            _ => Self::Aarch64,
        }
    }

    /// Returns the address that the instruction `word` at the address `own` branches to; `None` if it does not branch.
    pub(crate) const fn target(self, word: u32, own: u64) -> Option<u64> {
        match self {
            Self::Aarch64 => match immediate(word) {
                Some(immediate) => Some(own.wrapping_add(immediate.distance(word))),
                None => None,
            },
            Self::Thumb => arm::target_of_thumb(word, own),
            Self::Arm => arm::target(word, own),
        }
    }

    /// Returns the instruction `word` at the address `own` as it is if it branches to `address`, of which it holds the
    /// low bits; `None` if it does not branch.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
    pub(crate) const fn put(self, word: u32, own: u64, address: u64) -> Option<u32> {
        match self {
            Self::Aarch64 => match immediate(word) {
                Some(immediate) => Some(immediate.put(word, (address.wrapping_sub(own) >> 2) as u32)),
                None => None,
            },
            Self::Thumb => arm::put_thumb(word, own, address),
            Self::Arm => arm::put(word, own, address),
        }
    }

    /// Returns true for a call.
    pub(crate) const fn is_call(self, word: u32) -> bool {
        match self {
            Self::Aarch64 => word & 0xfc00_0000 == 0x9400_0000,
            Self::Thumb => arm::is_call_of_thumb(word),
            Self::Arm => arm::is_call(word),
        }
    }

    /// Returns true for a branch that depends on a condition.
    pub(crate) const fn is_conditional(self, word: u32) -> bool {
        match self {
            Self::Aarch64 => !is_unconditional(word),
            Self::Thumb => arm::is_conditional_of_thumb(word),
            Self::Arm => arm::is_conditional(word),
        }
    }

    /// Returns the byte of an instruction that has most of its opcode.
    pub(crate) const fn opcode(self, word: u32) -> u8 {
        let bytes = word.to_le_bytes();
        match self {
            Self::Thumb => bytes[1],
            Self::Aarch64 | Self::Arm => bytes[3],
        }
    }
}

/// The bits of an aarch64 instruction that say how many words it branches forward, signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Immediate {
    first: u32,
    count: u32,
}

impl Immediate {
    const fn mask(self) -> u32 {
        (1 << self.count) - 1
    }

    /// The distance in bytes that `word` branches.
    pub(crate) const fn distance(self, word: u32) -> u64 {
        let above = u32::BITS - self.first - self.count;
        let words = (word << above).cast_signed() >> (u32::BITS - self.count);
        (words as i64 * 4).cast_unsigned()
    }

    /// Returns `word` with the low bits of `value` in place of its immediate.
    pub(crate) const fn put(self, word: u32, value: u32) -> u32 {
        let mask = self.mask();
        word & !(mask << self.first) | (value & mask) << self.first
    }
}

/// The immediate of B and BL.
pub(crate) const UNCONDITIONAL: Immediate = Immediate { first: 0, count: 26 };

/// Returns true for B and BL of aarch64.
const fn is_unconditional(word: u32) -> bool {
    word & 0x7c00_0000 == 0x1400_0000
}

/// The immediate of an aarch64 instruction that branches; `None` if it does not.
const fn immediate(word: u32) -> Option<Immediate> {
    let (first, count) = if is_unconditional(word) {
        return Some(UNCONDITIONAL);
    } else if word & 0xff00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 {
        (5, 19)
    } else if word & 0x7e00_0000 == 0x3600_0000 {
        (5, 14)
    } else {
        return None;
    };
    Some(Immediate { first, count })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn branches_lead_as_far_as_their_immediates_say() {
        let cases = [
            (0x1400_0000, 26, 0),
            (0x97ff_ffff, 26, 0),
            (0x5400_000d, 19, 5),
            (0xb400_0003, 19, 5),
            (0x3500_0007, 19, 5),
            (0xb6f8_0001, 14, 5),
            (0x3700_001f, 14, 5),
        ];
        for (word, count, first) in cases {
            let immediate = immediate(word).expect("a branch");
            let furthest = 1i64 << (count - 1);
            for words in [0, 1, -1, 57, furthest - 1, -furthest] {
                #[expect(clippy::cast_possible_truncation, reason = "the low bits count")]
                let made = immediate.put(word, words.cast_unsigned() as u32);
                assert_eq!(immediate.distance(made).cast_signed(), 4 * words, "{word:x}");
                assert_eq!((made ^ word) & !(((1 << count) - 1) << first), 0, "{word:x}");
            }
        }
        // ADRP, RET, LDR, and the word next to B.cond that branches in a way of its own.
        for word in [0x9000_0000, 0xd65f_03c0, 0xf940_0000, 0x5500_0000] {
            assert_eq!(immediate(word), None, "{word:x}");
        }
    }

    /// By an assembler: `armv7` at address 0x1000, each with where it leads.
    #[test]
    fn branches_of_32_bit_arm_are_read_as_an_assembler_writes_them() {
        let halves = |first: u32, second: u32| second << 16 | first;
        let thumb = [
            // bl, blx, b.w, beq.w, bl back, bne.w back.
            (halves(0xf000, 0xf87e), 0x1100, true, false),
            (halves(0xf000, 0xe87e), 0x1100, true, false),
            (halves(0xf000, 0xb87e), 0x1100, false, false),
            (halves(0xf000, 0x807e), 0x1100, false, true),
            (halves(0xf7ff, 0xfbfe), 0x0800, true, false),
            (halves(0xf47f, 0xabfe), 0x0800, false, true),
            // The furthest ones.
            (halves(0xf3ff, 0xd7ff), 0x0100_1002, true, false),
            (halves(0xf400, 0xd000), 0x1004 - 0x0100_0000, true, false),
        ];
        let arm = [
            // bl, blne, b, beq, blx to 0x1102.
            (0xeb00_003e, 0x1100, true, false),
            (0x1b00_003e, 0x1100, true, false),
            (0xea00_003e, 0x1100, false, false),
            (0x0a00_003e, 0x1100, false, true),
            (0xfb00_003e, 0x1102, true, false),
            (0xebff_fdfe, 0x0800, true, false),
        ];
        for (set, cases) in [(Set::Thumb, &thumb[..]), (Set::Arm, &arm)] {
            for (word, meant, is_call, is_conditional) in cases.iter().copied() {
                let address = i64::from(meant).cast_unsigned();
                assert_eq!(set.target(word, 0x1000), Some(address), "{word:x}");
                assert_eq!(set.put(word, 0x1000, address), Some(word), "{word:x}");
                assert_eq!(
                    (set.is_call(word), set.is_conditional(word)),
                    (is_call, is_conditional),
                    "{word:x}"
                );
                let elsewhere = set.put(word, 0x1000, 0x4_2000).unwrap();
                assert_eq!(set.target(elsewhere, 0x1000), Some(0x4_2000), "{word:x}");
            }
        }
        // A load, a push of many registers, a barrier, an instruction without a branch.
        for word in [halves(0xf8df, 0x1234), halves(0xe92d, 0x4ff0), halves(0xf3bf, 0x8f5f)] {
            assert_eq!(Set::Thumb.target(word, 0), None, "{word:x}");
            assert_eq!(Set::Thumb.put(word, 0, 0), None, "{word:x}");
        }
        assert_eq!((Set::Arm.target(0xe59f_1004, 0), Set::Arm.put(0xe59f_1004, 0, 0)), (None, None));
    }

    #[test]
    fn any_word_keeps_what_is_none_of_its_branch() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200_000 {
            let word = random.u32(..) | if random.bool() { 0x8000_f000 } else { 0x0a00_0000 };
            let own = u64::from(random.u32(..)) & !1;
            for set in [Set::Aarch64, Set::Thumb, Set::Arm] {
                let Some(target) = set.target(word, own) else {
                    assert!(!set.is_call(word) || set == Set::Aarch64, "{word:x}");
                    continue;
                };
                assert_eq!(set.put(word, own, target), Some(word), "{set:?} {word:x} at {own:x}");
                let other = set.put(word, own, random.u64(..)).unwrap();
                assert_eq!(set.opcode(other) & 0xf0, set.opcode(word) & 0xf0, "{set:?} {word:x}");
                assert_eq!(set.is_call(other), set.is_call(word));
                assert_eq!(set.is_conditional(other), set.is_conditional(word));
            }
        }
    }
}
