//! Tokens in blocks of a fixed number, and the window that they are found in.

use super::super::token::{MAX_MATCH, Token};

pub(super) const WINDOW_SIZE: usize = 1 << 15;
/// Bytes that are wanted ahead, but at the end.
pub(super) const LOOKAHEAD: usize = MAX_MATCH + 4;
/// Bytes behind the window that are read, but never as part of a match.
const SLACK: usize = LOOKAHEAD;

/// Twice the plain bytes that references reach over.
pub(super) struct Window {
    pub(super) bytes: Vec<u8>,
    /// The end of the bytes that are there, and the next of them.
    pub(super) end: usize,
    pub(super) index: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 2 * WINDOW_SIZE + SLACK], end: 0, index: 0 }
    }

    /// Has only these bytes before the next.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        (self.end, self.index) = (dictionary.len(), dictionary.len());
        self.bytes[..self.end].copy_from_slice(dictionary);
    }

    pub(super) const fn ahead(&self) -> usize {
        self.end - self.index
    }

    pub(super) const fn is_full(&self) -> bool {
        self.end == 2 * WINDOW_SIZE
    }

    /// Takes in as many bytes as fit; gives the others.
    pub(super) fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (now, later) = bytes.split_at(bytes.len().min(2 * WINDOW_SIZE - self.end));
        self.bytes[self.end..self.end + now.len()].copy_from_slice(now);
        self.end += now.len();
        later
    }

    /// Moves the second half to the first, if so few bytes are ahead that it is time; tells whether.
    pub(super) fn slide(&mut self) -> bool {
        if self.index < 2 * WINDOW_SIZE - LOOKAHEAD {
            return false;
        }
        self.bytes.copy_within(WINDOW_SIZE..2 * WINDOW_SIZE, 0);
        self.index -= WINDOW_SIZE;
        self.end -= WINDOW_SIZE;
        true
    }
}

/// The tokens of a block, or of a part of one.
pub(super) struct Block {
    pub(super) tokens: Vec<Token>,
    /// It was found when no bytes were to come.
    pub(super) is_final: bool,
    /// The window holds its plain bytes, so that they can be stored.
    pub(super) is_known: bool,
    /// It is not the next part of the block before.
    pub(super) begins: bool,
    /// The stream ends with it.
    pub(super) is_last: bool,
}

/// The blocks that are filled.
pub(super) struct Blocks {
    tokens: Vec<Token>,
    /// Tokens of a block.
    max: usize,
    /// The start of the block in the window, if it is still there.
    start: Option<usize>,
    pub(super) is_final: bool,
    full: Vec<Block>,
}

impl Blocks {
    pub(super) const fn new(max: usize, start: Option<usize>) -> Self {
        Self { tokens: Vec::new(), max, start, is_final: false, full: Vec::new() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Adds a token; `end` is where it ends in the window. Ends the block if it is full; tells whether.
    pub(super) fn push(&mut self, token: Token, end: usize) -> bool {
        self.add(token);
        let is_full = self.tokens.len() == self.max;
        if is_full {
            self.end(end, false);
        }
        is_full
    }

    /// Adds a token to a block that does not end, even if it is full.
    pub(super) fn add(&mut self, token: Token) {
        self.tokens.push(token);
    }

    /// Ends the block.
    pub(super) fn end(&mut self, end: usize, is_last: bool) {
        let is_known = self.start.is_some_and(|start| start <= end);
        let tokens = std::mem::take(&mut self.tokens);
        self.full.push(Block { tokens, is_final: self.is_final, is_known, begins: true, is_last });
        self.start = Some(end);
    }

    /// Ends a part of a block that may have more of them.
    pub(super) fn end_part(&mut self, begins: bool, is_last: bool) {
        let tokens = std::mem::take(&mut self.tokens);
        self.full.push(Block { tokens, is_final: self.is_final, is_known: false, begins, is_last });
    }

    /// The window slides.
    pub(super) fn slide(&mut self) {
        self.start = self.start.and_then(|start| start.checked_sub(WINDOW_SIZE));
    }

    /// Gives the blocks that have ended.
    pub(super) fn take(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.full)
    }
}
