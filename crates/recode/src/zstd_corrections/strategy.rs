//! The strategies of libzstd: how it looks for matches, on which the choice of codes depends.

use crate::zstd_frame;

/// A strategy by its number in `zstd.h`, 1 (fast) to 9 (btultra2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Strategy(u8);

/// The strategies of the levels from 0 on (`ZSTD_defaultCParameters`): where more than 256 KiB are to be expected or
/// the size is not known, for up to 256 KiB, for up to 128 KiB, and for up to 16 KiB.
const BY_LEVEL: [[u8; 23]; 4] = [
    [1, 1, 1, 2, 2, 3, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6, 7, 7, 8, 9, 9, 9, 9],
    [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9, 9, 9, 9, 9],
    [1, 1, 1, 2, 2, 3, 4, 5, 5, 5, 5, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 9],
    [1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 6, 7, 7, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9],
];
const LAZY: u8 = 4;
const BTULTRA: u8 = 8;

impl Strategy {
    pub(super) fn new(number: u8) -> Option<Self> {
        (1..=9).contains(&number).then_some(Self(number))
    }

    /// Returns the strategy of a plan for so many plain bytes.
    pub(super) fn of(plan: zstd_frame::Plan, plain_size: u64) -> Self {
        let by_size = match plain_size {
            _ if !plan.has_size() => &BY_LEVEL[0],
            ..0x4001 => &BY_LEVEL[3],
            0x4001..0x2_0001 => &BY_LEVEL[2],
            0x2_0001..0x4_0001 => &BY_LEVEL[1],
            _ => &BY_LEVEL[0],
        };
        Self(by_size.get(usize::from(plan.level())).copied().unwrap_or(9))
    }

    pub(super) fn number(self) -> usize {
        usize::from(self.0)
    }

    pub(super) const fn byte(self) -> u8 {
        self.0
    }

    pub(super) const fn is_lazy(self) -> bool {
        self.0 >= LAZY
    }

    /// Tells whether the depth of the code of literals is searched.
    pub(super) const fn searches_depth(self) -> bool {
        self.0 >= BTULTRA
    }

    /// Returns the fewest literals that are coded.
    pub(super) fn least_literals(self) -> usize {
        8 << (9 - self.0).min(3)
    }

    /// Returns the bytes that coding so many has to save.
    pub(super) const fn least_gain(self, size: usize) -> usize {
        let log = if self.0 >= BTULTRA { self.0 - 1 } else { 6 };
        (size >> log) + 2
    }
}
