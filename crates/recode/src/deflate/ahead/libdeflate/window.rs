//! The places of a window as tables have them: in 16 bits, so that the tables fit a near cache.
//!
//! An entry counts from a window before the base, which is a multiple of the size of a window, and less than a window
//! before the last string. Where the base moves on, all entries move, and those that are too far come to 0.
//!
//! The plain bytes stand with a window in front of the first base and with enough behind their end for the bytes from
//! the window before the base on to be an array of one size. Its indices need no checks.

use super::super::super::token::MAX_MATCH;
use super::super::history::WINDOW_SIZE;

/// The number of indices that a view takes: a power of two, over the sum of any entry and the size of a match.
const VIEW_PLACES: usize = 1 << 17;
/// Bytes of a view. The last index has a word behind it.
const VIEW_SIZE: usize = VIEW_PLACES + MAX_WORDS * size_of::<u64>();
/// Words that hold the longest match.
const MAX_WORDS: usize = MAX_MATCH.div_ceil(size_of::<u64>());

/// The plain bytes that are known, from a multiple of the size of a window on.
pub(super) struct Bytes {
    /// The bytes, and zeros behind them.
    padded: Vec<u8>,
}

impl Bytes {
    /// No bytes, behind a window of zeros.
    pub(super) fn new() -> Self {
        Self { padded: vec![0; WINDOW_SIZE + VIEW_SIZE] }
    }

    /// The end of the bytes.
    pub(super) const fn end(&self) -> usize {
        self.padded.len() - VIEW_SIZE
    }

    /// Appends bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let start = self.end();
        let end = start + bytes.len();
        self.padded.resize(end + VIEW_SIZE, 0);
        self.padded[start..end].copy_from_slice(bytes);
    }

    /// Leaves out so many bytes at the start.
    pub(super) fn forget(&mut self, count: usize) {
        self.padded.drain(..count);
    }

    /// The bytes, and at least a view of zeros behind them.
    pub(super) fn padded(&self) -> &[u8] {
        &self.padded
    }
}

/// The base of the entries.
#[derive(Debug)]
pub(super) struct Base {
    at: usize,
}

impl Base {
    /// The base behind the window of zeros.
    pub(super) const fn new() -> Self {
        Self { at: WINDOW_SIZE }
    }

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

    /// Places from the one that was reached up to the one where the base moves on.
    pub(super) const fn left(&self, at: usize) -> usize {
        (self.at + WINDOW_SIZE).saturating_sub(at)
    }

    /// A place of the last window as an entry.
    #[inline]
    pub(super) fn entry(&self, at: usize) -> u16 {
        u16::try_from((at - self.at + WINDOW_SIZE) % (2 * WINDOW_SIZE)).unwrap_or(0)
    }

    /// The bytes that the entries are indices of.
    #[inline]
    pub(super) fn view<'b>(&self, padded: &'b [u8]) -> Option<View<'b>> {
        padded.get(self.at.checked_sub(WINDOW_SIZE)?..)?.first_chunk().map(View)
    }
}

/// Returns the entry up to which all are a window or more before an entry of the place that was reached.
#[inline]
pub(super) const fn too_far(entry: u16) -> u16 {
    entry.wrapping_sub(1 << 15)
}

/// The bytes from a window before the base on.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'b>(&'b [u8; VIEW_SIZE]);

impl View<'_> {
    /// The four bytes at an index.
    #[inline]
    pub(super) const fn four(self, index: usize) -> u32 {
        let index = index % VIEW_PLACES;
        u32::from_le_bytes([self.0[index], self.0[index + 1], self.0[index + 2], self.0[index + 3]])
    }

    /// The words at an index, enough for a match.
    #[inline]
    fn words(&self, index: u16) -> &[[u8; 8]; MAX_WORDS] {
        const NONE: [[u8; 8]; MAX_WORDS] = [[0; 8]; MAX_WORDS];
        self.0[usize::from(index)..].as_chunks().0.first_chunk().unwrap_or(&NONE)
    }

    /// Returns how many bytes are the same at two entries, at most `max`, which is at most [`MAX_MATCH`].
    #[inline]
    pub(super) fn common(self, source: u16, at: u16, max: usize) -> usize {
        let words = self.words(source).iter().zip(self.words(at));
        for (index, (left, right)) in words.enumerate() {
            let differing = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
            if differing != 0 {
                return max.min(index * 8 + differing.trailing_zeros() as usize / 8);
            }
        }
        max
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
        let (mut base, mut entries) = (Base::new(), [0; 1]);
        let entered = 40_000;
        for at in WINDOW_SIZE..5 * WINDOW_SIZE {
            if base.reach(at) {
                slide(&mut entries);
            }
            let entry = base.entry(at);
            if at == entered {
                entries[0] = entry;
            }
            if at != entered {
                let is_near = (entered + 1..entered + WINDOW_SIZE).contains(&at);
                assert_eq!(entries[0] > too_far(entry), is_near, "{at}");
                assert!(!is_near || usize::from(entry - entries[0]) == at - entered, "{at}");
            }
        }
    }

    #[test]
    fn a_view_has_the_bytes_of_all_entries_even_at_the_end() {
        let (mut bytes, mut base) = (Bytes::new(), Base::new());
        let plain: Vec<u8> = (0..=u8::MAX).cycle().take(3 * WINDOW_SIZE).collect();
        bytes.extend(&plain[..WINDOW_SIZE + 7]);
        bytes.extend(&plain[WINDOW_SIZE + 7..]);
        for at in WINDOW_SIZE..bytes.end() {
            base.reach(at);
        }
        let (last, view) = (base.entry(bytes.end() - 1), base.view(bytes.padded()).expect("it is padded"));
        assert_eq!(view.four(usize::from(last)).to_le_bytes(), [u8::MAX, 0, 0, 0]);
        assert_eq!(view.common(last - 256, last, 1), 1);
        assert_eq!(view.common(last - 300, last - 300 - 256, MAX_MATCH), MAX_MATCH);
        // The byte behind the end is like the one that begins each 256.
        assert_eq!(view.common(last - 3 - 256, last - 3, MAX_MATCH), 5);
        assert_eq!(view.common(last - 3 - 256, last - 3, 4), 4);
    }
}
