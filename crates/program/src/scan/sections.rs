//! Relocatable ELF files: their relocations and symbols tell where things lie in sections.

use super::Found;
use crate::form::{Form, word, word32, word64};

const HEADER_SIZE: usize = 64;
const RECORD_SIZE: usize = 24;
const SYMBOLS: u32 = 2;
const RELOCATIONS: u32 = 4;
/// A section without bytes in the file.
const EMPTY: u32 = 8;
/// Section indices from here on mean something else.
const RESERVED: usize = 0xff00;
/// The type of a symbol that stands for a section.
const OF_SECTION: u8 = 3;

/// A section header, as far as it matters.
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    start: usize,
    size: usize,
    link: usize,
    info: usize,
}

pub(super) fn scan(found: &mut Found<'_>, start: u32, count: u16) {
    let bytes = found.bytes;
    let headers: Vec<Header> =
        (0..usize::from(count)).map(|index| header(bytes, start as usize + HEADER_SIZE * index)).collect();
    let first = found.bases.len();
    found.bases.extend(headers.iter().map(|header| header.start as u64));
    let base = |section: usize| u16::try_from(first + section).unwrap_or(u16::MAX);
    // Sections may lie on each other in a file that is made up.
    let mut left = bytes.len();
    for header in &headers {
        let records = header.size / RECORD_SIZE;
        if !matches!(header.kind, SYMBOLS | RELOCATIONS) || records * RECORD_SIZE > left {
            continue;
        }
        left -= records * RECORD_SIZE;
        let positions = (0..records).map(|record| header.start + RECORD_SIZE * record);
        if header.kind == SYMBOLS {
            for position in positions {
                found.read(position, Form::based(base(header.link), 1, false));
                let section = section_of(bytes, position);
                if bytes[position + 4] & 15 != OF_SECTION
                    && headers.get(section).is_some_and(|section| section.kind != EMPTY)
                {
                    found.read_any(
                        position + 8,
                        Form::based(base(section), 1, true),
                        word64(bytes, position + 8),
                    );
                }
            }
            continue;
        }
        let (Some(symbols), Some(target)) = (headers.get(header.link), headers.get(header.info)) else {
            continue;
        };
        for position in positions {
            if target.kind != EMPTY {
                found.read_any(position, Form::based(base(header.info), 1, true), word64(bytes, position));
            }
            let symbol = word32(bytes, position + 12) as usize;
            if symbol == 0 || symbol >= symbols.size / RECORD_SIZE {
                continue;
            }
            found.read(position + 12, Form::based(base(header.link), 24, false));
            let symbol = symbols.start + RECORD_SIZE * symbol;
            let section = section_of(bytes, symbol);
            if bytes.get(symbol + 4).is_some_and(|info| info & 15 == OF_SECTION)
                && headers.get(section).is_some_and(|section| section.kind != EMPTY)
            {
                let form = Form::based(base(section), 1, true);
                found.read_any(position + 16, form, word64(bytes, position + 16));
            }
        }
    }
}

/// The section of the symbol at `position`; an index that no section has, if it has none.
fn section_of(bytes: &[u8], position: usize) -> usize {
    match usize::try_from(word(bytes, position + 6, 2)) {
        Ok(section) if section > 0 && section < RESERVED => section,
        _ => usize::MAX,
    }
}

/// Reads the header at `position`. A section that does not lie in the file is empty.
fn header(bytes: &[u8], position: usize) -> Header {
    let number = |offset| usize::try_from(word64(bytes, position + offset)).unwrap_or(usize::MAX);
    let (start, size) = (number(24), number(32));
    let kind = word32(bytes, position + 4);
    let lies_within = start.checked_add(size).is_some_and(|end| end <= bytes.len());
    let (start, size) =
        if lies_within || kind == EMPTY && start <= bytes.len() { (start, size) } else { (0, 0) };
    Header {
        kind,
        start,
        size: if kind == EMPTY { 0 } else { size },
        link: word32(bytes, position + 40) as usize,
        info: word32(bytes, position + 44) as usize,
    }
}
