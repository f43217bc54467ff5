//! One header block of a tar, field by field.
//!
//! Each field is read as Go's archive/tar reads it, since container tools are written in Go. Where GNU
//! tar reads it otherwise, a second method gives its reading. Crate `tar` differs from both: it takes a
//! number that starts with a NUL for none, cuts base-256 numbers, and drops prefixes by the version field.

use std::borrow::Cow;
use std::ops::Range;

/// Size of a block in memory: [`BLOCK_SIZE`](crate::BLOCK_SIZE).
pub(crate) const BLOCK: usize = 512;

/// The places of the fields (POSIX.1-1988, ustar; the last three are GNU tar's and star's).
const NAME: Range<usize> = 0..100;
pub(crate) const MODE: Range<usize> = 100..108;
pub(crate) const UID: Range<usize> = 108..116;
pub(crate) const GID: Range<usize> = 116..124;
pub(crate) const SIZE: Range<usize> = 124..136;
pub(crate) const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
pub(crate) const DEVICE_MAJOR: Range<usize> = 329..337;
pub(crate) const DEVICE_MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const STAR_PREFIX: Range<usize> = 345..476;
const GNU_TIMES: [Range<usize>; 2] = [345..357, 357..369];
const STAR_TRAILER: Range<usize> = 508..512;

/// A header block.
#[derive(Debug, Clone)]
pub(crate) struct HeaderBlock {
    bytes: [u8; BLOCK],
}

/// The dialect of tar that a header's magic numbers name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// No magic: Unix V7.
    V7,
    /// POSIX, also with extended headers.
    Ustar,
    /// POSIX with the trailer of star.
    Star,
    /// GNU tar.
    Gnu,
}

impl HeaderBlock {
    pub(crate) const fn new(bytes: [u8; BLOCK]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.bytes.iter().all(|&byte| byte == 0)
    }

    /// The type of the entry.
    pub(crate) const fn type_flag(&self) -> u8 {
        self.bytes[TYPE]
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.bytes[MAGIC] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar\0") => match &self.bytes[STAR_TRAILER] {
                b"tar\0" => Dialect::Star,
                _ => Dialect::Ustar,
            },
            _ => Dialect::V7,
        }
    }

    /// Returns whether the stored checksum is that of the block.
    pub(crate) fn has_right_checksum(&self) -> bool {
        octal(&self.bytes[CHECKSUM]).is_some_and(|stored| self.checksums().contains(&stored))
    }

    /// Returns the same by the rules of GNU tar, which passes over one leading NUL and no more.
    pub(crate) fn has_right_checksum_for_gnu(&self) -> bool {
        let stored = gnu_number(&self.bytes[CHECKSUM]).and_then(|stored| i64::try_from(stored).ok());
        stored.is_some_and(|stored| self.checksums().contains(&stored))
    }

    /// The sums of all bytes, the checksum's own taken as blanks: of unsigned bytes as POSIX says, and
    /// of signed ones as some old writers did.
    fn checksums(&self) -> [i64; 2] {
        let sum = |bytes: &[u8]| {
            bytes.iter().fold((0_u32, 0_u32), |(sum, negative), &byte| {
                (sum + u32::from(byte), negative + u32::from(byte >> 7))
            })
        };
        let (all, negative) = sum(&self.bytes);
        let (own, own_negative) = sum(&self.bytes[CHECKSUM]);
        let blanks = CHECKSUM.len() as i64 * i64::from(b' ');
        let unsigned = i64::from(all - own) + blanks;
        [unsigned, unsigned - 256 * i64::from(negative - own_negative)]
    }

    /// The path, without what extension headers say.
    pub(crate) fn path(&self) -> Cow<'_, [u8]> {
        match self.dialect() {
            Dialect::V7 => Cow::Borrowed(self.text(NAME)),
            Dialect::Ustar => self.prefixed(PREFIX),
            Dialect::Star => self.prefixed(STAR_PREFIX),
            Dialect::Gnu => {
                // Go before 1.8 wrote a prefix where GNU tar has times, and Go still looks for it.
                let is_broken =
                    |field: Range<usize>| self.bytes[field.start] != 0 && self.number(field).is_none();
                let has_prefix = GNU_TIMES.into_iter().any(is_broken) && self.text(PREFIX).is_ascii();
                if has_prefix { self.prefixed(PREFIX) } else { Cow::Borrowed(self.text(NAME)) }
            }
        }
    }

    /// The path as GNU tar reads it.
    pub(crate) fn path_for_gnu(&self) -> Cow<'_, [u8]> {
        match self.dialect() {
            Dialect::V7 | Dialect::Gnu => Cow::Borrowed(self.text(NAME)),
            Dialect::Ustar | Dialect::Star => self.prefixed(PREFIX),
        }
    }

    fn prefixed(&self, prefix: Range<usize>) -> Cow<'_, [u8]> {
        match self.text(prefix) {
            b"" => Cow::Borrowed(self.text(NAME)),
            prefix => Cow::Owned([prefix, self.text(NAME)].join(&b'/')),
        }
    }

    /// The target of a link, without what extension headers say.
    pub(crate) fn link(&self) -> &[u8] {
        self.text(LINK)
    }

    /// The number in a field; `None` if there is none or it does not fit.
    pub(crate) fn number(&self, field: Range<usize>) -> Option<i64> {
        number(&self.bytes[field])
    }

    /// The number in a field as GNU tar reads it.
    pub(crate) fn number_for_gnu(&self, field: Range<usize>) -> Option<u64> {
        gnu_number(&self.bytes[field])
    }

    /// The bytes of a field.
    pub(crate) fn field(&self, field: Range<usize>) -> &[u8] {
        &self.bytes[field]
    }

    /// A field up to its first NUL.
    fn text(&self, field: Range<usize>) -> &[u8] {
        up_to_nul(&self.bytes[field])
    }
}

/// The bytes before the first NUL.
pub(crate) fn up_to_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&byte| byte == 0).map_or(bytes, |end| &bytes[..end])
}

/// Reads a number in octal digits, with NULs and blanks around it, or in base 256: two's complement, the
/// highest byte first, with the top bit of the field set. A field of NULs and blanks is 0.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let Some((first, rest)) = field.split_first().filter(|(first, _)| *first & 0x80 != 0) else {
        return octal(field);
    };
    let is_negative = first & 0x40 != 0;
    // The top bit is no part of the number; the next one is its sign.
    let mut number = if is_negative { i64::from(first | 0x80) - 0x100 } else { i64::from(first & 0x7f) };
    for byte in rest {
        number = number.checked_mul(0x100)? | i64::from(*byte);
    }
    Some(number)
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_filler(byte));
    let Some(digits) = start.map(|start| up_to_nul(&field[start..])) else { return Some(0) };
    let end = digits.iter().rposition(|byte| !is_filler(byte)).map_or(0, |last| last + 1);
    digits[..end].iter().try_fold(0i64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads a number as GNU tar does (`from_header`): it passes over one NUL, then over blanks, and what
/// follows the digits may be anything after a blank or a NUL. Blanks alone are no number. Numbers below
/// zero are left out: no size is one.
fn gnu_number(field: &[u8]) -> Option<u64> {
    let field = field.strip_prefix(&[0]).unwrap_or(field);
    let start = field.iter().position(|&byte| !is_space(byte))?;
    let field = &field[start..];
    if let [0x80, number @ ..] = field {
        return number.iter().try_fold(0u64, |sum, &byte| Some(sum.checked_mul(0x100)? | u64::from(byte)));
    }
    let digits = field.iter().position(|byte| !matches!(byte, b'0'..=b'7')).unwrap_or(field.len());
    if field.get(digits).is_some_and(|&byte| byte != 0 && !is_space(byte)) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(8)?.checked_add(u64::from(digit - b'0'));
    field[..digits].iter().try_fold(0, add)
}

/// Tells whether isspace(3) takes a byte for a blank.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_go_and_gnu_tar_read() {
        for (field, go, gnu) in [
            (&b"00000001274\0"[..], Some(700), Some(700)),
            (b"000000001274", Some(700), Some(700)),
            (b"    1274   \0", Some(700), Some(700)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0), Some(0)),
            (b"\0 000001274\0", Some(700), Some(700)),
            (b"0001274\0junk", Some(700), Some(700)),
            // GNU tar alone stops at a second NUL, wants more than blanks, and reads up to a blank.
            (b"\0\x00000001274\0", Some(700), Some(0)),
            (b" \x00000001274\0", Some(700), Some(0)),
            (b"            ", Some(0), None),
            (b"\0           ", Some(0), None),
            (b"001274 0012\0", None, Some(700)),
            (b"0000000127x\0", None, None),
            (b"0000000128\0\0", None, None),
            (b"-0000001274\0", None, None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x02\xbc", Some(700), Some(700)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX), Some(u64::MAX >> 1)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None, Some(1 << 63)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None, None),
            (b"\x81\0\0\0\0\0\0\0\0\0\x02\xbc", None, None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfd\x44", Some(-700), None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN), None),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None, None),
            (b"\xc0\0\0\0\0\0\0\0", Some(-1 << 62), None),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", None, None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2), None),
            (b"1777777777777777777777", None, Some(u64::MAX)),
            (b"777777777777777777777", Some(i64::MAX), Some(u64::MAX >> 1)),
        ] {
            assert_eq!(number(field), go, "{}", field.escape_ascii());
            assert_eq!(gnu_number(field), gnu, "{} by GNU tar", field.escape_ascii());
        }
    }
}
