//! Streams of bits that are written forward and read backward (RFC 8878, 4.1).

/// Writes bits, the lowest first.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    held: u64,
    /// Bits that are held, fewer than 32.
    count: u32,
}

impl Writer {
    /// Begins behind some bytes.
    pub(crate) const fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes, held: 0, count: 0 }
    }

    /// Appends the low `count` bits of `value`, at most 32.
    pub(crate) fn put(&mut self, value: u32, count: u32) {
        let value = u64::from(value) & ((1 << count) - 1);
        self.held |= value << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&self.held.to_le_bytes()[..4]);
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Appends the bit that ends the stream. Gives its bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.put(1, 1);
        self.pad()
    }

    /// Fills the last byte with zeros. Gives the bytes.
    pub(crate) fn pad(mut self) -> Vec<u8> {
        let size = self.count.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.held.to_le_bytes()[..size]);
        self.bytes
    }
}

/// Reads bits, those that were written last first.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    /// Bits that are left; below zero once more were read than there are.
    left: i64,
}

impl<'b> Reader<'b> {
    /// `None` if the stream has no end.
    pub(crate) fn new(bytes: &'b [u8]) -> Option<Self> {
        let last = bytes.last().filter(|last| **last != 0)?;
        let left = i64::try_from(bytes.len()).ok()? * 8 - 1 - i64::from(last.leading_zeros());
        Some(Self { bytes, left })
    }

    /// The next `count` bits, at most 32, of which the missing ones are zero; they stay.
    pub(crate) fn peek(&self, count: u32) -> u32 {
        let end = self.left - i64::from(count);
        let mut window = [0; 8];
        let (from, shift) = if end >= 0 { (end / 8, end % 8) } else { (0, 0) };
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.bytes.len());
        let bytes = &self.bytes[from..self.bytes.len().min(from + 8)];
        window[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_le_bytes(window);
        let value = match u32::try_from(-end) {
            // Bits before the first are zero.
            Ok(missing) if missing > 0 => word << missing.min(63),
            _ => word >> shift,
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most 32 bits")]
        let value = (value & ((1 << count) - 1)) as u32;
        if self.left <= 0 { 0 } else { value }
    }

    pub(crate) fn skip(&mut self, count: u32) {
        self.left -= i64::from(count);
    }

    pub(crate) fn take(&mut self, count: u32) -> u32 {
        let value = self.peek(count);
        self.skip(count);
        value
    }

    /// Bits that are left; below zero if too many were read.
    pub(crate) const fn left(&self) -> i64 {
        self.left
    }
}
