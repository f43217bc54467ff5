//! Bits as deflate packs them: the lowest of a byte first (RFC 1951, 3.1.1).

use std::io::{Read, Write};

use crate::compare::put;
use crate::decode::read_some;
use crate::{Codec, Error, Result};

const BUFFER_SIZE: usize = 32 << 10;

/// Bytes of the buffer of a writer: more than it hands on at once, so that it seldom has to grow.
const ROOM: usize = 2 * BUFFER_SIZE;

/// Writes bits to the output of [`encode`](crate::encode).
pub(super) struct BitWriter<'o> {
    output: &'o mut dyn Write,
    /// The buffer, which is longer than what is in it: a word is stored at once, and the bytes that are not whole yet are
    /// stored over.
    bytes: Vec<u8>,
    /// Bytes of the buffer that are whole.
    end: usize,
    bits: u64,
    /// Bits that are held in `bits`: under 8 between calls.
    count: u32,
    /// Bytes that were handed on.
    written: u64,
}

impl<'o> BitWriter<'o> {
    pub(super) fn new(output: &'o mut dyn Write) -> Self {
        Self { output, bytes: vec![0; ROOM], end: 0, bits: 0, count: 0, written: 0 }
    }

    /// Appends up to 32 bits.
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.put_all(1, std::iter::once((u64::from(bits), count)));
    }

    /// Appends at most `most` words of up to 56 bits each, which are given with the number of their bits.
    #[inline]
    pub(super) fn put_all(&mut self, most: usize, words: impl Iterator<Item = (u64, u32)>) {
        let needed = self.end + (most + 1) * size_of::<u64>();
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        let (mut held, mut count, mut end) = (self.bits, self.count, self.end);
        let room = &mut self.bytes[..];
        for (bits, more) in words {
            held |= bits << count;
            count += more;
            let Some(place) = room.get_mut(end..).and_then(<[u8]>::first_chunk_mut) else { break };
            *place = held.to_le_bytes();
            end += (count / 8) as usize;
            held >>= count & 56;
            count %= 8;
        }
        (self.bits, self.count, self.end) = (held, count, end);
    }

    /// Fills the last byte with the lowest of these bits.
    pub(super) fn align(&mut self, padding: u8) {
        let free = self.free_bits();
        self.put(u32::from(padding) & ((1 << free) - 1), free);
    }

    /// Bits that the last byte lacks: 0 to 7.
    pub(super) const fn free_bits(&self) -> u32 {
        (8 - self.count % 8) % 8
    }

    /// Appends bytes; the bits before must end at a byte.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(self.count, 0, "not aligned");
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(bytes);
        self.end = self.bytes.len();
        self.hand_on()
    }

    /// Hands on what is whole, once it is enough.
    pub(super) fn hand_on(&mut self) -> Result<()> {
        if self.end >= BUFFER_SIZE { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        put(self.output, &self.bytes[..self.end])?;
        self.written += self.end as u64;
        self.end = 0;
        Ok(())
    }

    /// Whole bytes so far.
    pub(super) const fn size(&self) -> u64 {
        self.written + self.end as u64
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
