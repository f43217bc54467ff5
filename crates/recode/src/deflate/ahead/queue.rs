//! Tokens ahead of the walk.

use super::super::token::Token;

/// The tokens of a chunk, and where the walk is in it.
#[derive(Debug, Default)]
pub(in super::super) struct Queue {
    tokens: Vec<Token>,
    /// The first that is ahead.
    next: usize,
    /// The start of that, relative to the walk: before it if the walk stepped over a border of theirs.
    offset: isize,
    /// Plain bytes of the tokens that are ahead.
    size: usize,
}

impl Queue {
    /// Returns how many bytes before the walk's place the next tokens are to begin, if they are wanted now.
    pub(in super::super) fn wants(&self) -> Option<usize> {
        (self.next == self.tokens.len()).then(|| self.offset.unsigned_abs())
    }

    /// Adds the tokens of the next chunk.
    pub(in super::super) fn extend(&mut self, tokens: Vec<Token>) {
        self.size = tokens.iter().map(|token| token.size()).sum();
        (self.tokens, self.next) = (tokens, 0);
        // It may be that the walk is past the chunk's start.
        self.step(0);
    }

    /// The token that begins where the walk is.
    pub(in super::super) fn token(&self) -> Option<Token> {
        self.tokens.get(self.next).copied().filter(|_| self.offset == 0)
    }

    /// The tokens that are ahead, if they begin where the walk is.
    pub(super) fn rest(&self) -> Option<&[Token]> {
        self.tokens.get(self.next..).filter(|_| self.offset == 0)
    }

    /// Plain bytes from the walk's place to the end of the tokens.
    pub(super) fn left(&self) -> usize {
        self.size.saturating_add_signed(self.offset)
    }

    /// The walk takes a step of so many bytes.
    pub(in super::super) fn step(&mut self, size: usize) {
        self.offset -= isize::try_from(size).unwrap_or(isize::MAX);
        while self.offset < 0 {
            let Some(token) = self.tokens.get(self.next) else { break };
            self.next += 1;
            self.size -= token.size();
            self.offset += isize::try_from(token.size()).unwrap_or(0);
        }
    }

    /// The walk is where the tokens end, or they mean nothing any more.
    pub(in super::super) fn clear(&mut self) {
        self.tokens.clear();
        (self.next, self.offset, self.size) = (0, 0, 0);
    }
}
