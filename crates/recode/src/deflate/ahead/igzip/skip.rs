//! The bytes that are not looked at, where nothing was found for long.

/// Bytes without a match in front of the first that are left out.
const PATIENCE: usize = 2 << 10;
/// Bytes that are left out at first; later there are a multiple of them.
const STEP: usize = 32;
/// Times that bytes were left out from which on they become more, and most such times.
const START: i64 = 512;
const MAX: i64 = START + 48;

/// The patience that is left.
pub(super) struct Skip {
    /// The place up to which nothing need be found.
    patience_end: usize,
    /// Times that bytes were left out, less the bytes of matches.
    level: i64,
}

impl Skip {
    pub(super) const fn new(at: usize) -> Self {
        Self { patience_end: at + PATIENCE, level: 0 }
    }

    /// Places have moved by so much.
    pub(super) const fn shift(&mut self, gone: usize) {
        self.patience_end = self.patience_end.saturating_sub(gone);
    }

    /// A match of so many bytes was found, which ends at a place.
    pub(super) fn found(&mut self, end: usize, size: usize) {
        self.patience_end = end + PATIENCE;
        self.level = self.level.saturating_sub_unsigned(size as u64);
    }

    /// Returns how many bytes are left out at a place, if any are.
    pub(super) fn count(&mut self, at: usize) -> Option<usize> {
        if at <= self.patience_end {
            return None;
        }
        self.level = (self.level + 1).clamp(0, MAX);
        let more = usize::try_from(self.level - START).unwrap_or(0);
        Some((2 * more + STEP) / STEP * STEP)
    }

    /// The search goes on at a place, with less patience the more often bytes were left out.
    pub(super) fn go_on(&mut self, at: usize) {
        self.patience_end =
            at + u32::try_from(self.level).ok().and_then(|level| PATIENCE.checked_shr(level)).unwrap_or(0);
    }
}
