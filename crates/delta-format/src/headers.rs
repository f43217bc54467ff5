//! The headers of a tar (tardf3): each is made of one that came before, of the name of its entry and of the size of the
//! entry's content, which the source tells where the content is a whole source.
//!
//! FORMAT.md says what the parts of a list mean. Both sides make headers with [`Templates`], so that they have the same
//! ones at any time.

mod list;
mod write;

use std::collections::VecDeque;
use std::ops::Range;

pub use list::{EntryDraft, HeaderReader};
pub use write::{HeaderList, HeaderLists, TarEntry};

/// Bytes of a header, and the unit that contents are padded to.
pub(crate) const BLOCK: usize = 512;

/// Headers that are remembered.
const REMEMBERED: usize = 8;
/// The places of fields in a header (POSIX.1-1988, ustar).
const NAME: Range<usize> = 0..100;
const SIZE_DIGITS: Range<usize> = 124..135;
const CHECKSUM: Range<usize> = 148..156;
const CHECKSUM_DIGITS: Range<usize> = 148..154;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const PREFIX: Range<usize> = 345..500;
/// The magic of headers whose long names are split.
const USTAR: &[u8] = b"ustar\0";
/// The name of a header before which a name of any size lies as content, as GNU tar has it.
const LONG_NAME: &[u8] = b"././@LongLink";

/// Bits of the kind of an entry.
const CONTENT: u8 = 3;
const IS_PATCHED: u8 = 1 << 2;
const HAS_PATH: u8 = 1 << 3;
const TEMPLATE_SHIFT: u32 = 4;
const TEMPLATE: u8 = 7;
const IS_LONG: u8 = 1 << 7;

/// A header.
pub(crate) type Header = [u8; BLOCK];

/// The content of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// There is none: the size of the entry is 0.
    None,
    /// A whole source.
    Whole,
    /// Ops make it, and the entry opens the source of the first of them.
    Opened,
    /// Ops make it, and the entry opens no source.
    Ops,
}

impl Content {
    const ALL: [Self; 4] = [Self::None, Self::Whole, Self::Opened, Self::Ops];

    const fn of_bits(kind: u8) -> Self {
        Self::ALL[(kind & CONTENT) as usize]
    }

    const fn bits(self) -> u8 {
        self as u8
    }

    /// Returns true if the entry has the path of a source.
    const fn has_source(self) -> bool {
        matches!(self, Self::Whole | Self::Opened)
    }

    /// Returns true if the list says the size.
    const fn has_size(self) -> bool {
        matches!(self, Self::Opened | Self::Ops)
    }
}

/// The headers that others are made of, the one that was used last first, and the last name.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    headers: VecDeque<Header>,
    /// The header before long names, once there was one.
    long: Option<Header>,
    name: Vec<u8>,
}

impl Default for Templates {
    fn default() -> Self {
        Self { headers: VecDeque::from([[0; BLOCK]; REMEMBERED]), long: None, name: Vec::new() }
    }
}

impl Templates {
    /// The header of the last template with a name and a size, without its checksum.
    fn draft(&self, template: usize, name: &[u8], size: u64) -> Header {
        let mut header = self.headers[template];
        put_name(&mut header, name);
        put_size(&mut header, size);
        header
    }

    /// Remembers a header that was made of a template.
    fn remember(&mut self, template: usize, is_patched: bool, header: Header) {
        let dropped = if is_patched { REMEMBERED - 1 } else { template };
        self.headers.remove(dropped);
        self.headers.push_front(header);
    }

    /// The header before a name that is too long for the header of its entry.
    fn long(&self, name: &[u8]) -> Header {
        let mut header = self.long.unwrap_or([0; BLOCK]);
        put_name(&mut header, LONG_NAME);
        put_size(&mut header, name.len() as u64 + 1);
        header
    }
}

/// Zeros after `size` bytes of content.
pub(crate) fn padding(size: u64) -> usize {
    usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0)
}

/// Writes a name, which may lie in two fields.
fn put_name(header: &mut Header, name: &[u8]) {
    let is_ustar = &header[MAGIC] == USTAR;
    let (prefix, name) = if is_ustar { split(name) } else { (&[][..], name) };
    put_text(&mut header[NAME], name);
    if is_ustar {
        put_text(&mut header[PREFIX], prefix);
    }
}

/// Splits a name that is too long for its field at a slash, if it can be: the last one after which both parts fit.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    if name.len() <= NAME.len() {
        return (&[], name);
    }
    // A directory ends with a slash, which is no place to split.
    let searched = name.len().saturating_sub(1).min(PREFIX.len() + 1);
    match name[..searched].iter().rposition(|byte| *byte == b'/') {
        Some(slash) if slash > 0 && name.len() - slash - 1 <= NAME.len() => {
            (&name[..slash], &name[slash + 1..])
        }
        _ => (&[], name),
    }
}

/// Writes as much of a text as fits, and zeros after it.
fn put_text(field: &mut [u8], text: &[u8]) {
    let size = text.len().min(field.len());
    field[..size].copy_from_slice(&text[..size]);
    field[size..].fill(0);
}

fn put_size(header: &mut Header, size: u64) {
    put_octal(&mut header[SIZE_DIGITS], size);
}

/// Writes the checksum of a header.
fn put_checksum(header: &mut Header) {
    let spaces = u64::from(b' ') * CHECKSUM.len() as u64;
    let others = header[..CHECKSUM.start].iter().chain(&header[CHECKSUM.end..]);
    let sum = others.map(|byte| u64::from(*byte)).sum::<u64>() + spaces;
    put_octal(&mut header[CHECKSUM_DIGITS], sum);
}

/// Writes the low digits of a number.
fn put_octal(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (number & 7) as u8;
        number >>= 3;
    }
}

/// Returns true if the header is of a link, whose target stands in the list.
const fn is_link(header: &Header) -> bool {
    matches!(header[TYPE], b'1' | b'2')
}

#[cfg(test)]
mod tests;
