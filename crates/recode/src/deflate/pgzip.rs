//! The tokens that the gzip writer of container tools takes: the Go package klauspost/pgzip at its
//! default level, with which skopeo, podman and buildah compress layers.
//!
//! Its parser does not depend on the tokens before, but on the plain bytes alone, and works on chunks
//! of 65,535 bytes. So it runs ahead of the walk, which takes from it a token at each place; where the
//! stream was made otherwise, because another version made it, corrections say so, and the next token
//! that begins at the same place is of use again. Between two flushes, a MiB apart, nothing is
//! remembered but the last 16 KiB.

use super::ahead::{CHUNK_SIZE, Double, Five, Queue};
use super::token::Token;

/// A chunk of fewer bytes, before a flush, has no references.
const MIN_CHUNK: usize = 128;
/// Bytes before a flush that references behind it may be to.
pub(super) const DICTIONARY_SIZE: usize = 16 << 10;
/// Fewest bytes between two flushes behind which the parser begins anew. It would cost a hostile
/// recipe nothing to ask for it at every byte.
const MIN_FLUSH: usize = 64 << 10;

/// The parser, ahead of the walk.
pub(super) struct Pgzip {
    finder: Double,
    queue: Queue,
    /// Plain bytes since the start, or the last flush.
    since_flush: usize,
    is_flushed: bool,
}

impl Pgzip {
    pub(super) fn new() -> Self {
        Self { finder: Double::new(), queue: Queue::default(), since_flush: 0, is_flushed: false }
    }

    /// Returns how many bytes before the walk's place the next chunk begins, if it is wanted now.
    pub(super) fn wants(&self) -> Option<usize> {
        self.queue.wants()
    }

    /// Tells whether a flush came, so that the dictionary is wanted before the next chunk.
    pub(super) const fn wants_dictionary(&self) -> bool {
        self.is_flushed
    }

    /// The stream was flushed where the walk is.
    pub(super) fn flush(&mut self) {
        if self.since_flush >= MIN_FLUSH {
            self.is_flushed = true;
            self.since_flush = 0;
            self.queue.clear();
        }
    }

    /// Begins anew, with the last bytes before the flush.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        self.finder.restart();
        self.is_flushed = false;
        self.parse(dictionary);
        self.queue.clear();
    }

    /// The token that is taken where the walk is, if one begins there.
    pub(super) fn token(&self) -> Option<Token> {
        self.queue.token()
    }

    /// The walk takes a step of so many bytes.
    pub(super) fn step(&mut self, size: usize) {
        self.since_flush += size;
        self.queue.step(size);
    }

    /// Parses the next chunk.
    pub(super) fn parse(&mut self, chunk: &[u8]) {
        debug_assert!(chunk.len() <= CHUNK_SIZE, "a chunk is too large");
        let mut found = Vec::new();
        if chunk.len() >= MIN_CHUNK {
            self.finder.find::<Five>(chunk, &mut found);
        } else {
            self.finder.skip(chunk);
        }
        let mut parsed: usize = found.iter().map(|token| token.size()).sum();
        // What is hardly smaller is written without references.
        if found.len() + chunk.len() - parsed > chunk.len() - (chunk.len() >> 4) {
            found.clear();
            parsed = 0;
        }
        found.extend(chunk[parsed..].iter().map(|byte| Token::literal(*byte)));
        self.queue.extend(found);
    }
}

#[cfg(test)]
mod tests;
