//! One compressed block (RFC 8878, 3.1.1.3): taken apart, and put together.

use super::MAX_BLOCK;
use super::headers::{
    LiteralsHeader, OWN_CODE, RAW, is_four, literals_header, put_sequence_count, sequence_count,
};
use super::huffman::Code;
use super::sequences::{Sequence, Tables};

/// Bytes of a sequence in the opened form.
const SEQUENCE_SIZE: usize = 10;

/// What a block may take from the ones before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) code: Option<Code>,
    pub(crate) tables: Tables,
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
    let header = LiteralsHeader::read(content)?;
    let count = header.literals;
    let mut opened = vec![header.form];
    opened.extend_from_slice(&count.to_le_bytes()[..3]);
    let mut at = header.size + header.encoded;
    let mut streams = content.get(header.size..at)?;
    if header.kind() < OWN_CODE {
        opened.extend_from_slice(streams);
    } else {
        if header.kind() == OWN_CODE {
            let (code, size) = Code::read(streams)?;
            opened.extend_from_slice(&streams[..size]);
            streams = &streams[size..];
            known.code = Some(code);
        }
        let code = known.code.as_ref()?;
        if !is_four(header.form) {
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
    let (count, size) = sequence_count(content.get(at..)?)?;
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
    let kind = first & 3;
    let literal_count = usize::try_from(number(1)?).ok().filter(|count| *count <= MAX_BLOCK)?;
    let mut at = 4;
    let mut content;
    if kind < OWN_CODE {
        let end = at + if kind == RAW { literal_count } else { 1 };
        let literals = opened.get(at..end)?;
        content = literals_header(first, literal_count, literals.len())?;
        content.extend_from_slice(literals);
        at = end;
    } else {
        let mut streams = Vec::new();
        if kind == OWN_CODE {
            let (code, size) = Code::read(opened.get(at..)?)?;
            streams.extend_from_slice(&opened[at..at + size]);
            at += size;
            known.code = Some(code);
        }
        let literals = opened.get(at..at + literal_count)?;
        at += literal_count;
        let streams = known.code.as_ref()?.encode_streams(streams, literals, is_four(first))?;
        content = literals_header(first, literal_count, streams.len())?;
        content.extend(streams);
    }
    let count = usize::try_from(number(at)?).ok()?;
    at += 3;
    put_sequence_count(count, &mut content)?;
    if count == 0 {
        return Some((content, at));
    }
    let size = known.tables.read(opened.get(at..)?)?;
    content.extend_from_slice(&opened[at..at + size]);
    at += size;
    let end = at + SEQUENCE_SIZE * count;
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
    (content.len() < MAX_BLOCK).then_some((content, end))
}
