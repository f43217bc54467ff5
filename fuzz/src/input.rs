//! The input of a target: fields one after the other, so that every input means something.
//!
//! Fields that are missing at the end are zero or empty. [`Fields`] writes what [`Input`] reads, for
//! seeds.

use std::ops::RangeInclusive;

/// The bytes that libFuzzer gives, as far as they are not taken.
#[derive(Debug, Clone, Copy)]
pub struct Input<'i> {
    rest: &'i [u8],
}

impl<'i> Input<'i> {
    /// All of the input.
    pub const fn new(bytes: &'i [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns true if all is taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// A number in a range of at most 256.
    pub fn within(&mut self, range: RangeInclusive<u8>) -> u8 {
        let count = range.end() - range.start();
        let byte = self.byte();
        range.start() + if count == u8::MAX { byte } else { byte % (count + 1) }
    }

    /// A number of two bytes, the lowest first.
    pub fn word(&mut self) -> u16 {
        u16::from(self.byte()) | u16::from(self.byte()) << 8
    }

    /// One of some things.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[usize::from(self.byte()) % choices.len()]
    }

    /// So many bytes, or those that are left.
    pub fn bytes(&mut self, size: usize) -> &'i [u8] {
        let (bytes, rest) = self.rest.split_at(size.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// Bytes whose number stands before them.
    pub fn sized(&mut self) -> &'i [u8] {
        let size = self.word();
        self.bytes(usize::from(size))
    }

    /// All that is left.
    pub const fn rest(self) -> &'i [u8] {
        self.rest
    }
}

/// Writes an input.
#[derive(Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    /// An empty input.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a byte.
    #[must_use]
    pub fn byte(mut self, byte: u8) -> Self {
        self.bytes.push(byte);
        self
    }

    /// Appends a number of two bytes.
    #[must_use]
    pub fn word(mut self, word: u16) -> Self {
        self.bytes.extend(word.to_le_bytes());
        self
    }

    /// Appends bytes with their number, at most 65535 of them.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Self {
        let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.word(size).rest(&bytes[..usize::from(size)])
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn rest(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The input.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
