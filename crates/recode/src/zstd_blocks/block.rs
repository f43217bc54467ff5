//! One compressed block (RFC 8878, 3.1.1.3): taken apart, and put together.

use super::huffman::Code;
use super::sequences::{Sequence, Tables};

/// Bytes of a sequence in the opened form.
const SEQUENCE_SIZE: usize = 10;
/// Most bytes that a block makes.
const MAX_MADE: usize = 128 << 10;

/// What a block may take from the ones before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    code: Option<Code>,
    tables: Tables,
}

/// The opened form of a block: its literals and its sequences lie as they are.
///
/// ```text
/// form of literals:u8  number:u24  description of the code  literals
/// number of sequences:u24  modes and descriptions of tables  (literals:u24 size:u24 offset:u32)*
/// ```
///
/// The form is the low four bits of the header of literals. `None` if it does not come out the same again.
pub(super) fn open(content: &[u8], known: &mut Known) -> Option<Vec<u8>> {
    let before = known.clone();
    let opened = take_apart(content, known)?;
    let (again, size) = close(&opened, &mut before.clone())?;
    (again == content && size == opened.len()).then_some(opened)
}

fn take_apart(content: &[u8], known: &mut Known) -> Option<Vec<u8>> {
    let first = *content.first()?;
    let (kind, format) = (first & 3, first >> 2 & 3);
    let number = |size: usize| {
        let bytes = content.get(..size)?;
        Some(bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let index = |number: u64| usize::try_from(number).ok();
    let mut opened = vec![first & 15];
    let mut at;
    if kind < 2 {
        let (size, shift) = [(1, 3), (2, 4), (1, 3), (3, 4)][usize::from(format)];
        let count = index(number(size)? >> shift).filter(|count| *count <= MAX_MADE)?;
        opened.extend_from_slice(&count.to_le_bytes()[..3]);
        at = size + if kind == 0 { count } else { 1 };
        opened.extend_from_slice(content.get(size..at)?);
    } else {
        let (size, width) = [(3, 10), (3, 10), (4, 14), (5, 18)][usize::from(format)];
        let (head, mask) = (number(size)? >> 4, (1u64 << width) - 1);
        let count = index(head & mask).filter(|count| *count <= MAX_MADE)?;
        at = size + index(head >> width & mask)?;
        opened.extend_from_slice(&count.to_le_bytes()[..3]);
        let mut streams = content.get(size..at)?;
        if kind == 2 {
            let (code, size) = Code::read(streams)?;
            opened.extend_from_slice(&streams[..size]);
            streams = &streams[size..];
            known.code = Some(code);
        }
        let code = known.code.as_ref()?;
        if format == 0 {
            code.decode(streams, count, &mut opened)?;
        } else {
            let mut rest = streams.get(6..)?;
            let part = count.div_ceil(4);
            for stream in 0..4 {
                let size = match streams.get(2 * stream..2 * stream + 2) {
                    Some([low, high]) if stream < 3 => usize::from(u16::from_le_bytes([*low, *high])),
                    _ => rest.len(),
                };
                let (bytes, more) = rest.split_at_checked(size)?;
                let count = if stream < 3 { part } else { count.checked_sub(3 * part)? };
                code.decode(bytes, count, &mut opened)?;
                rest = more;
            }
        }
    }
    let head = content.get(at..)?;
    let (count, size) = match *head {
        [few, ..] if few < 128 => (usize::from(few), 1),
        [high, low, ..] if high < 255 => ((usize::from(high) - 128) << 8 | usize::from(low), 2),
        [_, low, high, ..] => ((usize::from(high) << 8 | usize::from(low)) + 0x7f00, 3),
        _ => return None,
    };
    at += size;
    opened.extend_from_slice(&count.to_le_bytes()[..3]);
    if count == 0 {
        return (at == content.len()).then_some(opened);
    }
    let size = known.tables.read(content.get(at..)?)?;
    opened.extend_from_slice(&content[at..at + size]);
    for Sequence { literals, size, offset } in known.tables.decode(&content[at + size..], count)? {
        opened.extend_from_slice(&literals.to_le_bytes()[..3]);
        opened.extend_from_slice(&size.to_le_bytes()[..3]);
        opened.extend_from_slice(&offset.to_le_bytes());
    }
    Some(opened)
}

/// Makes the content of a block of its opened form. Gives the size of the form, after which others may come.
pub(super) fn close(opened: &[u8], known: &mut Known) -> Option<(Vec<u8>, usize)> {
    let number = |at: usize| {
        let [a, b, c] = *opened.get(at..at + 3)?.first_chunk::<3>()?;
        Some(u32::from_le_bytes([a, b, c, 0]))
    };
    let first = *opened.first().filter(|first| **first < 16)?;
    let (kind, format) = (first & 3, first >> 2 & 3);
    let count = number(1)?;
    let literal_count = usize::try_from(count).ok().filter(|count| *count <= MAX_MADE)?;
    let mut at = 4;
    let head = |size: usize, value: u64| value.to_le_bytes()[..size].to_vec();
    let mut content;
    if kind < 2 {
        let (size, shift) = [(1, 3), (2, 4), (1, 3), (3, 4)][usize::from(format)];
        let value = u64::from(count) << shift | u64::from(first & if shift == 3 { 7 } else { 15 });
        if value >> (8 * size) != 0 {
            return None;
        }
        content = head(size, value);
        let end = at + if kind == 0 { literal_count } else { 1 };
        content.extend_from_slice(opened.get(at..end)?);
        at = end;
    } else {
        let mut streams = Vec::new();
        if kind == 2 {
            let (code, size) = Code::read(opened.get(at..)?)?;
            streams.extend_from_slice(&opened[at..at + size]);
            at += size;
            known.code = Some(code);
        }
        let code = known.code.as_ref()?;
        let literals = opened.get(at..at + literal_count)?;
        at += literal_count;
        if format == 0 {
            streams.extend(code.encode(literals)?);
        } else {
            let part = literal_count.div_ceil(4);
            let starts = [0, part, 2 * part, 3 * part, literal_count];
            let mut parts = Vec::new();
            for bounds in starts.windows(2) {
                parts.push(code.encode(literals.get(bounds[0]..bounds[1])?)?);
            }
            for part in &parts[..3] {
                streams.extend(u16::try_from(part.len()).ok()?.to_le_bytes());
            }
            streams.extend(parts.concat());
        }
        let (size, width) = [(3, 10), (3, 10), (4, 14), (5, 18)][usize::from(format)];
        let encoded = streams.len() as u64;
        if u64::from(count) >> width != 0 || encoded >> width != 0 {
            return None;
        }
        content = head(size, u64::from(first) | u64::from(count) << 4 | encoded << (4 + width));
        content.extend(streams);
    }
    let count = number(at)?;
    at += 3;
    content.extend(match count {
        0..128 => count.to_le_bytes()[..1].to_vec(),
        128..0x7f00 => vec![128 + count.to_le_bytes()[1], count.to_le_bytes()[0]],
        _ => [&[255], &(count - 0x7f00).to_le_bytes()[..2]].concat(),
    });
    if count > 0x7f00 + 0xffff {
        return None;
    }
    if count == 0 {
        return Some((content, at));
    }
    let size = known.tables.read(opened.get(at..)?)?;
    content.extend_from_slice(&opened[at..at + size]);
    at += size;
    let end = at + SEQUENCE_SIZE * usize::try_from(count).ok()?;
    let records = opened.get(at..end)?.chunks_exact(SEQUENCE_SIZE);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let sequences: Vec<Sequence> = records
        .map(|record| Sequence {
            literals: word(&record[..3]),
            size: word(&record[3..6]),
            offset: word(&record[6..]),
        })
        .collect();
    content.extend(known.tables.encode(&sequences)?);
    (content.len() < MAX_MADE).then_some((content, end))
}
