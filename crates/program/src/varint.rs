//! The integers of a payload: LEB128, signed ones in zigzag.

use crate::{Error, Result};

/// Appends an integer.
#[expect(clippy::cast_possible_truncation, reason = "masked to 7 bits")]
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns the difference of two integers, a signed one of 64 bits that wraps, in zigzag.
pub(crate) const fn zigzag(value: u64, from: u64) -> u64 {
    let difference = value.wrapping_sub(from).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

/// Returns the integer whose difference to another one is this in zigzag.
pub(crate) const fn of_zigzag(difference: u64, from: u64) -> u64 {
    from.wrapping_add((difference >> 1) ^ (difference & 1).wrapping_neg())
}

/// Appends the difference of two integers.
pub(crate) fn put_difference(out: &mut Vec<u8>, value: u64, from: u64) {
    put(out, zigzag(value, from));
}

/// Bytes that are read from their start on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The bytes that are not read yet.
    #[cfg(feature = "writer")]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads an integer of 64 bits.
    pub(crate) fn next(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Error::Truncated(self.what))?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if bits != 0 && bits > u64::MAX >> shift {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::TooLarge { what: "an integer", value: u64::MAX, max: u64::MAX })
    }

    /// Reads an integer of at most `max`.
    pub(crate) fn at_most(&mut self, what: &'static str, max: usize) -> Result<usize> {
        let value = self.next()?;
        match usize::try_from(value) {
            Ok(size) if size <= max => Ok(size),
            _ => Err(Error::TooLarge { what, value, max: max as u64 }),
        }
    }

    /// Reads what [`put_difference`] wrote.
    pub(crate) fn difference(&mut self, from: u64) -> Result<u64> {
        Ok(of_zigzag(self.next()?, from))
    }

    /// Takes bytes.
    pub(crate) fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(Error::Truncated(self.what))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Takes a part that its size precedes.
    pub(crate) fn part(&mut self) -> Result<&'a [u8]> {
        let size = self.next()?;
        self.take(usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// Fails if bytes are left.
    pub(crate) const fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::Left(self.what)) }
    }
}
