//! The kinds of branches of the instruction sets, told by their halves and bytes.

use crate::branch::Set;

/// A branch, as far as predictions look at it.
pub(super) struct Branch {
    pub(super) is_call: bool,
    pub(super) is_conditional: bool,
    pub(super) opcode: u8,
}

impl Branch {
    /// The branch that a field of 4 bytes holds.
    pub(super) fn of(set: Set, value: u64) -> Self {
        let bytes = value.to_le_bytes();
        let [low, high] =
            [u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]])];
        match set {
            Set::Aarch64 => Self {
                is_call: matches!(bytes[3], 0x94..=0x97),
                is_conditional: matches!(bytes[3], 0x34..=0x37 | 0xb4..=0xb7 | 0x54),
                opcode: bytes[3],
            },
            Set::Thumb => {
                let is_branch = low / 0x800 == 0x1e;
                let kind = (high >> 15, high >> 14 & 1, high >> 12 & 1);
                Self {
                    is_call: is_branch && (kind == (1, 1, 1) || kind == (1, 1, 0) && high % 2 == 0),
                    is_conditional: is_branch && kind == (1, 0, 0) && low / 0x40 % 16 < 14,
                    opcode: bytes[1],
                }
            }
            Set::Arm => Self {
                is_call: matches!(bytes[3] % 16, 11) || matches!(bytes[3], 0xfa | 0xfb),
                is_conditional: bytes[3] < 0xe0 && bytes[3] % 16 == 10,
                opcode: bytes[3],
            },
        }
    }
}
