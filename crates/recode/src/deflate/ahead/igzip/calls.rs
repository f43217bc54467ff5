//! The calls of the library in which the program igzip gives the plain bytes: a MiB each, of which the first 64 KiB or
//! so go through a buffer of the library that has the bytes before them, in two calls.

pub(super) const PIECE: usize = 1 << 20;
/// Bytes of that buffer behind those of the window.
const BUFFER: usize = (1 << 15) + LOOKAHEAD;
const WINDOW: usize = 1 << 15;
/// Bytes at the end of a call that are left for the next one, but at the end of all bytes.
pub(super) const LOOKAHEAD: usize = 288;
const LAST_LOOKAHEAD: usize = 16;

/// The call that the encoder is in, by places.
pub(super) struct Calls {
    is_first: bool,
    /// The start and the end of the piece that was given, and the end of what a call has of it.
    piece_start: usize,
    piece_end: usize,
    end: usize,
}

/// The bytes that a call has, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The end of the bytes.
    pub(super) end: usize,
    /// The place at which the call ends, none if the bytes that are known come to their end before.
    pub(super) stop: Option<usize>,
    /// It is the last call.
    pub(super) is_last: bool,
}

impl Calls {
    pub(super) const fn new() -> Self {
        Self { is_first: true, piece_start: 0, piece_end: PIECE, end: PIECE }
    }

    /// Places have moved by so much. The start of a piece is of use within a window behind it alone.
    pub(super) const fn shift(&mut self, gone: usize) {
        self.piece_start = self.piece_start.saturating_sub(gone);
        self.piece_end -= gone;
        self.end -= gone;
    }

    pub(super) const fn is_first(&self) -> bool {
        self.is_first
    }

    /// Returns the bytes that the call has, of `len` that are known; no more will come if `is_end`.
    pub(super) fn extent(&self, len: usize, is_end: bool) -> Extent {
        if !is_end && len <= self.end {
            return Extent { end: len, stop: None, is_last: false };
        }
        let end = self.end.min(len);
        let is_last = is_end && end == len && len < self.piece_end;
        let lookahead = if is_last { LAST_LOOKAHEAD } else { LOOKAHEAD };
        Extent { end, stop: Some(end.saturating_sub(lookahead)), is_last }
    }

    /// Goes on to the next call, which begins at a place.
    pub(super) fn next(&mut self, at: usize) {
        self.is_first = false;
        let has_window = self.end - self.piece_start >= WINDOW + self.end.saturating_sub(at);
        if self.end == self.piece_end {
            self.piece_start = self.piece_end;
            self.piece_end += PIECE;
            self.end = (at + BUFFER).min(self.piece_end);
        } else if has_window {
            self.end = self.piece_end;
        } else {
            self.end = (at + BUFFER).min(self.piece_end);
        }
    }
}
