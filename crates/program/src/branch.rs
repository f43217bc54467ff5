//! The instructions of aarch64 that branch to a place relative to their own.

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

/// Returns true for B and BL.
pub(crate) const fn is_unconditional(word: u32) -> bool {
    word & 0x7c00_0000 == 0x1400_0000
}

/// Returns true for BL, which is a call.
pub(crate) const fn is_call(word: u32) -> bool {
    word & 0xfc00_0000 == 0x9400_0000
}

/// The immediate of an aarch64 instruction that branches; `None` if it does not.
pub(crate) const fn branch_immediate(word: u32) -> Option<Immediate> {
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
            let immediate = branch_immediate(word).expect("a branch");
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
            assert_eq!(branch_immediate(word), None, "{word:x}");
        }
    }
}
