//! Bits as deflate packs them: the lowest of a byte first (RFC 1951, 3.1.1).

use std::io::{Read, Write};

use crate::compare::put;
use crate::decode::read_some;
use crate::{Codec, Error, Result};

const BUFFER_SIZE: usize = 32 << 10;

/// Writes bits to the output of [`encode`](crate::encode).
pub(super) struct BitWriter<'o> {
    output: &'o mut dyn Write,
    bytes: Vec<u8>,
    bits: u64,
    /// Bits that are held in `bits`: under 32 between calls.
    count: u32,
    /// Bytes that were handed on.
    written: u64,
}

impl<'o> BitWriter<'o> {
    pub(super) fn new(output: &'o mut dyn Write) -> Self {
        Self { output, bytes: Vec::with_capacity(BUFFER_SIZE + 8), bits: 0, count: 0, written: 0 }
    }

    /// Appends up to 32 bits.
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.bits |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            let [a, b, c, d, ..] = self.bits.to_le_bytes();
            self.bytes.extend([a, b, c, d]);
            self.bits >>= 32;
            self.count -= 32;
        }
    }

    /// Fills the last byte with the lowest of these bits.
    pub(super) fn align(&mut self, padding: u8) {
        let free = self.free_bits();
        self.put(u32::from(padding) & ((1 << free) - 1), free);
        while self.count > 0 {
            self.bytes.push(self.bits.to_le_bytes()[0]);
            self.bits >>= 8;
            self.count -= 8;
        }
    }

    /// Bits that the last byte lacks: 0 to 7.
    pub(super) const fn free_bits(&self) -> u32 {
        (8 - self.count % 8) % 8
    }

    /// Appends bytes; the bits before must end at a byte.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(self.count, 0, "not aligned");
        self.bytes.extend_from_slice(bytes);
        self.hand_on()
    }

    /// Hands on what is whole, once it is enough.
    pub(super) fn hand_on(&mut self) -> Result<()> {
        if self.bytes.len() >= BUFFER_SIZE { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        put(self.output, &self.bytes)?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Whole bytes so far.
    pub(super) const fn size(&self) -> u64 {
        self.written + self.bytes.len() as u64
    }
}

/// Reads bits of a stream.
pub(super) struct BitReader<'i> {
    input: &'i mut dyn Read,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    bits: u64,
    count: u32,
    /// Bytes that were taken from the buffer.
    taken: u64,
    is_at_end: bool,
}

impl<'i> BitReader<'i> {
    pub(super) fn new(input: &'i mut dyn Read) -> Self {
        let buffer = vec![0; BUFFER_SIZE];
        Self { input, buffer, at: 0, end: 0, bits: 0, count: 0, taken: 0, is_at_end: false }
    }

    /// The next bits, zeros behind the end; at least 32 are held.
    pub(super) fn peek(&mut self) -> Result<u64> {
        while self.count <= 56 {
            if self.at == self.end {
                if self.is_at_end {
                    break;
                }
                self.end = read_some(self.input, &mut self.buffer)?;
                self.at = 0;
                self.is_at_end = self.end == 0;
                continue;
            }
            self.bits |= u64::from(self.buffer[self.at]) << self.count;
            self.at += 1;
            self.taken += 1;
            self.count += 8;
        }
        Ok(self.bits)
    }

    /// Takes bits that were looked at.
    pub(super) fn skip(&mut self, count: u32) -> Result<()> {
        if count > self.count {
            return Err(Error::Corrupt { codec: Codec::Deflate, reason: "it is cut off".into() });
        }
        self.bits >>= count;
        self.count -= count;
        Ok(())
    }

    /// Takes up to 32 bits.
    pub(super) fn take(&mut self, count: u32) -> Result<u32> {
        let bits = self.peek()? & ((1 << count) - 1);
        self.skip(count)?;
        Ok(u32::try_from(bits).unwrap_or(u32::MAX))
    }

    /// Takes the bits to the end of the byte.
    pub(super) fn align(&mut self) -> Result<u8> {
        let bits = self.take(self.count % 8)?;
        Ok(bits.to_le_bytes()[0])
    }

    /// Bytes that were taken, the last perhaps in part.
    pub(super) const fn size(&self) -> u64 {
        self.taken - (self.count / 8) as u64
    }
}
