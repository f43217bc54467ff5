//! The distances that were used last (RFC 8878, 3.1.1.5).

use crate::zstd_blocks::sequences::Sequence;

/// Numbers of distances that were used before; those above are distances and these.
pub(super) const NUMBERS: u32 = 3;

/// The last three distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeats([u32; 3]);

impl Default for Repeats {
    fn default() -> Self {
        Self([1, 4, 8])
    }
}

impl Repeats {
    /// Returns the distance that an offset value says behind some or no literals.
    pub(super) fn distance(self, offset: u32, has_literals: bool) -> Option<u32> {
        let distance = match (offset, has_literals) {
            (NUMBERS.., _) if offset > NUMBERS => offset - NUMBERS,
            (0, _) => 0,
            (3, false) => self.0[0].checked_sub(1)?,
            (_, false) => self.0[offset as usize],
            _ => self.0[offset as usize - 1],
        };
        (distance > 0).then_some(distance)
    }

    /// Returns the offset value that says a distance, by its number if it was used before.
    pub(super) fn offset(self, distance: u32, has_literals: bool) -> u32 {
        let by_number = (1..=NUMBERS).find(|number| self.distance(*number, has_literals) == Some(distance));
        by_number.unwrap_or_else(|| distance.saturating_add(NUMBERS))
    }

    /// Takes the distance of a sequence. Returns it, and whether it was told though it has a number.
    pub(super) fn take(&mut self, sequence: Sequence) -> Option<(u32, bool)> {
        let Sequence { literals, offset, .. } = sequence;
        let has_literals = literals > 0;
        let distance = self.distance(offset, has_literals)?;
        let is_told = offset > NUMBERS && self.offset(distance, has_literals) <= NUMBERS;
        let [first, second, third] = self.0;
        // An offset value may have all of 32 bits.
        self.0 = match offset.saturating_add(u32::from(!has_literals)) {
            _ if offset > NUMBERS => [distance, first, second],
            1 => [first, second, third],
            2 => [distance, first, third],
            _ => [distance, first, second],
        };
        Some((distance, is_told))
    }
}
