//! The places of a window as tables have them: in 16 bits, so that the tables fit a near cache.
//!
//! An entry counts from a window before the base, which is a multiple of the size of a window, and less than a window
//! before the last string. Where the base moves on, all entries move, and those that are too far come to 0.

use super::super::history::WINDOW_SIZE;

/// The base of the entries.
#[derive(Debug, Default)]
pub(super) struct Base {
    at: usize,
}

impl Base {
    /// Goes on to a place at which a string is entered; tells whether all entries have to [slide].
    pub(super) const fn reach(&mut self, at: usize) -> bool {
        let is_far = at - self.at >= WINDOW_SIZE;
        if is_far {
            self.at += WINDOW_SIZE;
        }
        is_far
    }

    /// Places have moved by a multiple of the size of the window.
    pub(super) const fn shift(&mut self, gone: usize) {
        self.at = self.at.saturating_sub(gone);
    }

    /// A place of the last window as an entry.
    pub(super) fn entry(&self, at: usize) -> u16 {
        u16::try_from(at - self.at + WINDOW_SIZE).unwrap_or(0)
    }

    /// Returns the place of an entry, if it is less than a window before the place that was reached.
    pub(super) fn near(&self, entry: u16, at: usize) -> Option<usize> {
        let distance = (at - self.at + WINDOW_SIZE).wrapping_sub(usize::from(entry));
        if distance < WINDOW_SIZE { at.checked_sub(distance) } else { None }
    }
}

/// Moves entries by a window.
pub(super) fn slide(entries: &mut [u16]) {
    const GONE: u16 = 1 << 15;
    for entry in entries {
        *entry = entry.saturating_sub(GONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_near_for_less_than_a_window() {
        let (mut base, mut entries) = (Base::default(), [0; 1]);
        for at in 0..5 * WINDOW_SIZE {
            if base.reach(at) {
                slide(&mut entries);
            }
            let entered = 40_000;
            if at == entered {
                entries[0] = base.entry(at);
            }
            let is_near = (entered + 1..entered + WINDOW_SIZE).contains(&at);
            if at != entered {
                assert_eq!(base.near(entries[0], at), is_near.then_some(entered), "{at}");
            }
        }
    }
}
