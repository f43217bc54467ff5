//! The map of a sparse file: which parts of it the tar holds ("Sparse Formats" in the GNU tar
//! manual). The rest of the file is a hole and reads as zeros.

use std::ops::Range;

use crate::header::{BLOCK, HeaderBlock, number};
use crate::pax::{PaxHeader, signed_decimal};
use crate::{BLOCK_SIZE, Result, Spool};

/// Most parts of one file: 16 MiB of memory.
const MAX_SEGMENTS: usize = 1 << 20;
const TOO_MANY: &str = "the sparse map has over a million parts";
const BROKEN: &str = "the sparse map is malformed";

/// The place of the map in an old GNU header, and in the blocks that extend it.
const IN_HEADER: Range<usize> = 386..482;
const IN_BLOCK: Range<usize> = 0..504;
/// Size of the file in an old GNU header.
const REAL_SIZE: Range<usize> = 483..495;
/// An offset and a size of 12 bytes each.
const SEGMENT_SIZE: usize = 24;

/// The places of the parts of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparseMap {
    /// Size of the file in bytes, holes included.
    pub size: u64,
    /// Offset in the file and size of each part, in the order of their data.
    pub segments: Vec<(u64, u64)>,
    /// Bytes in front of the data that hold the map.
    pub skip: u64,
}

/// The form of a sparse file in PAX records, as Go tells it.
enum PaxFormat {
    /// 0.0 and 0.1: the map is in the records.
    InRecords,
    /// 1.0: the map is in front of the data.
    InData,
}

fn pax_format(pax: &PaxHeader) -> Option<PaxFormat> {
    let value = |key| pax.get(key).unwrap_or_default();
    match (value("GNU.sparse.major"), value("GNU.sparse.minor")) {
        (b"0", b"0" | b"1") => Some(PaxFormat::InRecords),
        (b"1", b"0") => Some(PaxFormat::InData),
        (b"", b"") => has_map(pax).then_some(PaxFormat::InRecords),
        _ => None,
    }
}

fn has_map(pax: &PaxHeader) -> bool {
    pax.get("GNU.sparse.map").is_some()
        || pax.records().any(|(key, _)| matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes"))
}

/// Returns whether an entry with these records is a sparse file for Go.
pub(crate) fn is_pax_sparse(pax: &PaxHeader) -> bool {
    !pax.is_empty() && pax_format(pax).is_some()
}

impl SparseMap {
    /// Reads the map of a file whose records are `pax`. The outer error is that of the layer.
    pub(crate) fn of_pax(
        pax: &PaxHeader,
        spool: &Spool,
        data: &Range<u64>,
    ) -> Result<Result<Self, &'static str>> {
        let (numbers, skip) = match pax_format(pax) {
            None => return Ok(Err(BROKEN)),
            Some(PaxFormat::InRecords) => (numbers_of_records(pax), 0),
            Some(PaxFormat::InData) => match read_map(spool, data)? {
                Ok((numbers, skip)) => (Ok(numbers), skip),
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let record = pax.get("GNU.sparse.size").or_else(|| pax.get("GNU.sparse.realsize"));
        let size = match record {
            Some(record) => unsigned(record).ok_or(BROKEN),
            // Without a record, the file is as long as what is stored.
            None => Ok(data.end - data.start),
        };
        Ok(numbers.and_then(|numbers| {
            let segments = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            Self { size: size?, segments, skip }.checked(data)
        }))
    }

    /// Reads the map in an old GNU header, and in the blocks between it and the `data`. The outer error is
    /// that of the layer.
    pub(crate) fn of_header(
        header: &HeaderBlock,
        spool: &Spool,
        (mut position, data): (u64, &Range<u64>),
    ) -> Result<Result<Self, &'static str>> {
        let Some(size) = unsigned_field(header.field(REAL_SIZE)) else { return Ok(Err(BROKEN)) };
        let mut map = Self { size, ..Self::default() };
        let mut added = map.add(header.field(IN_HEADER));
        while position < data.start && added.is_ok() {
            let mut block = [0; BLOCK];
            spool.read_exact_at(&mut block, position)?;
            position += BLOCK_SIZE;
            added = map.add(&block[IN_BLOCK]);
        }
        Ok(added.and_then(|()| map.checked(data)))
    }

    /// Takes the segments of a block, up to one that starts with a NUL.
    fn add(&mut self, block: &[u8]) -> Result<(), &'static str> {
        for segment in block.chunks_exact(SEGMENT_SIZE).take_while(|segment| segment[0] != 0) {
            let (offset, size) = segment.split_at(SEGMENT_SIZE / 2);
            let (Some(offset), Some(size)) = (unsigned_field(offset), unsigned_field(size)) else {
                return Err(BROKEN);
            };
            self.segments.push((offset, size));
        }
        if self.segments.len() > MAX_SEGMENTS { Err(TOO_MANY) } else { Ok(()) }
    }

    /// Checks that the parts are one behind the other within the file, and fill the data.
    fn checked(self, data: &Range<u64>) -> Result<Self, &'static str> {
        let (mut end, mut stored) = (0u64, self.skip);
        for &(offset, size) in &self.segments {
            if offset < end {
                return Err("the parts of a sparse file overlap");
            }
            end = offset.checked_add(size).ok_or(BROKEN)?;
            stored = stored.checked_add(size).ok_or(BROKEN)?;
        }
        if end > self.size || stored != data.end - data.start {
            return Err("the sparse map disagrees with the size of the file or with its data");
        }
        Ok(self)
    }
}

/// Offsets and sizes by turns, as many as the records say there are.
fn numbers_of_records(pax: &PaxHeader) -> Result<Vec<u64>, &'static str> {
    let mut numbers = Vec::new();
    for (key, value) in pax.records() {
        let is_offset = match key {
            b"GNU.sparse.offset" => true,
            b"GNU.sparse.numbytes" => false,
            _ => continue,
        };
        if is_offset != numbers.len().is_multiple_of(2) {
            return Err(BROKEN);
        }
        numbers.push(unsigned(value).ok_or(BROKEN)?);
    }
    if numbers.is_empty()
        && let Some(map) = pax.get("GNU.sparse.map")
    {
        numbers = map.split(|&byte| byte == b',').map(unsigned).collect::<Option<_>>().ok_or(BROKEN)?;
    }
    let count = pax.get("GNU.sparse.numblocks").and_then(unsigned).and_then(|count| count.checked_mul(2));
    if count == Some(numbers.len() as u64) { Ok(numbers) } else { Err(BROKEN) }
}

/// Reads the numbers of the map in front of the data (format 1.0), one a line, their count first; and the
/// bytes that they take, whole blocks. The outer error is that of the layer.
fn read_map(spool: &Spool, data: &Range<u64>) -> Result<Result<(Vec<u64>, u64), &'static str>> {
    let (mut count, mut numbers, mut line) = (None, Vec::new(), Vec::new());
    let mut at = data.start;
    while count.is_none_or(|count| numbers.len() < count) {
        if at >= data.end {
            return Ok(Err(BROKEN));
        }
        let block = spool.read_range(at..data.end.min(at + BLOCK_SIZE))?;
        at += block.len() as u64;
        for byte in block {
            if count == Some(numbers.len()) {
                break;
            }
            if byte != b'\n' {
                // No number has more digits.
                if line.len() == 20 {
                    return Ok(Err(BROKEN));
                }
                line.push(byte);
                continue;
            }
            let Some(read) = unsigned(&line) else { return Ok(Err(BROKEN)) };
            line.clear();
            match (count, usize::try_from(read)) {
                (Some(_), _) => numbers.push(read),
                (None, Ok(segments)) if segments <= MAX_SEGMENTS => count = Some(2 * segments),
                (None, _) => return Ok(Err(TOO_MANY)),
            }
        }
    }
    Ok(Ok((numbers, at - data.start)))
}

fn unsigned(text: &[u8]) -> Option<u64> {
    signed_decimal(text).and_then(|number| u64::try_from(number).ok())
}

fn unsigned_field(field: &[u8]) -> Option<u64> {
    number(field).and_then(|number| u64::try_from(number).ok())
}
