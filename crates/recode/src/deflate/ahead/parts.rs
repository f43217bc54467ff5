//! The parts into which klauspost/pgzip cuts the plain bytes. Each is compressed on its own, but that the last bytes of
//! the part before are in the tables, and is flushed.

/// Plain bytes of a part, and of one as umoci asks for it.
pub(in super::super) const PART_SIZE: usize = 1 << 20;
pub(in super::super) const SMALL_PART_SIZE: usize = 256 << 10;
/// Bytes before a part that references in it may be to.
const DICTIONARY_SIZE: usize = 16 << 10;

/// The part that is parsed.
pub(super) struct Parts {
    /// Plain bytes of it.
    size: usize,
    /// Plain bytes up to its end.
    left: usize,
    /// The last plain bytes.
    tail: Vec<u8>,
}

impl Parts {
    pub(super) const fn new(size: usize) -> Self {
        Self { size, left: size, tail: Vec::new() }
    }

    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Takes plain bytes in, at most those that are left; tells whether the part is full.
    pub(super) fn take(&mut self, chunk: &[u8]) -> bool {
        let chunk_tail = &chunk[chunk.len().saturating_sub(DICTIONARY_SIZE)..];
        self.tail.drain(..(self.tail.len() + chunk_tail.len()).saturating_sub(DICTIONARY_SIZE));
        self.tail.extend_from_slice(chunk_tail);
        self.left = self.left.saturating_sub(chunk.len());
        self.left == 0
    }

    /// Goes on to the next part; gives the bytes before it.
    pub(super) fn next(&mut self) -> Vec<u8> {
        self.left = self.size;
        std::mem::take(&mut self.tail)
    }

    /// Passes plain bytes that are not parsed.
    pub(super) const fn skip(&mut self, size: usize) {
        self.left = self.size - (self.size - self.left + size) % self.size;
    }
}
