//! The notation of recipes: bytes, and numbers of seven bits a byte, the lowest first.

use crate::{Error, Result};

/// Reads the fields of a recipe.
#[derive(Debug)]
pub(crate) struct Fields<'r> {
    rest: &'r [u8],
}

const CUT_OFF: Error = Error::BadRecipe { reason: "it is cut off" };

impl<'r> Fields<'r> {
    pub(crate) const fn new(bytes: &'r [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Error::BadRecipe { reason: "a number is too large" })
    }

    pub(crate) fn bytes(&mut self, size: usize) -> Result<&'r [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'r [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    pub(crate) const fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::BadRecipe { reason: "it is too long" }) }
    }
}

/// Appends a number.
pub(crate) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), (1 << 63) - 1] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut fields = Fields::new(&bytes);
            assert_eq!(fields.number().unwrap(), number);
            fields.end().unwrap();
            assert!(Fields::new(&bytes[..bytes.len() - 1]).number().is_err());
        }
        assert!(Fields::new(&[0xff; 10]).number().is_err());
    }
}
