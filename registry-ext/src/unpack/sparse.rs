//! The map of a sparse file: which parts of it the tar holds ("Sparse Formats" in the GNU tar
//! manual). The rest of the file is a hole and reads as zeros.

use std::ops::Range;

use layer::{BLOCK_SIZE, Spool};
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::header::number;
use crate::{Error, Result};

/// Most parts of one file: 16 MiB of memory.
const MAX_SEGMENTS: usize = 1 << 20;
const TOO_MANY: &str = "the sparse map has over a million parts";
const BROKEN: &str = "the sparse map is malformed";

/// Makes an error that names the entry.
type Fail<'f> = &'f dyn Fn(&'static str) -> Error;

/// Where the parts of a file are.
#[derive(Debug, Default)]
pub(super) struct SparseMap {
    /// Size of the file in bytes, holes included.
    pub(super) size: u64,
    /// Offset in the file and size of each part, in the order of their data.
    pub(super) segments: Vec<(u64, u64)>,
    /// Bytes in front of the data that hold the map.
    pub(super) skip: u64,
}

impl SparseMap {
    /// The map in an old GNU header, and in the blocks between it and the `data`.
    pub(super) fn of_header(
        header: &Header,
        spool: &Spool,
        data: (u64, &Range<u64>),
        fail: Fail<'_>,
    ) -> Result<Self> {
        let (mut position, data) = data;
        let gnu = header.as_gnu().ok_or_else(|| fail(BROKEN))?;
        let size = gnu.real_size().map_err(|_| fail(BROKEN))?;
        let mut map = Self { size, ..Self::default() };
        map.add(&gnu.sparse).map_err(fail)?;
        while position < data.start {
            let mut block = GnuExtSparseHeader::new();
            spool.read_exact_at(block.as_mut_bytes(), position)?;
            position += BLOCK_SIZE;
            map.add(block.sparse()).map_err(fail)?;
        }
        map.checked(data).map_err(fail)
    }

    fn add(&mut self, fields: &[GnuSparseHeader]) -> Result<(), &'static str> {
        for field in fields.iter().filter(|field| !field.is_empty()) {
            let (Ok(offset), Ok(size)) = (field.offset(), field.length()) else { return Err(BROKEN) };
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

/// The PAX records of a sparse file, of the formats 0.0, 0.1 and 1.0.
#[derive(Debug, Clone, Default)]
pub(super) struct SparseRecords {
    size: Option<u64>,
    /// Offsets and sizes by turns.
    numbers: Vec<u64>,
    is_in_data: bool,
}

impl SparseRecords {
    /// Takes a record whose key, without `GNU.sparse.`, is `key`.
    pub(super) fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"size" | b"realsize" => self.size = Some(number(value).ok_or(BROKEN)?),
            b"offset" | b"numbytes" => {
                if (key == b"offset") != self.numbers.len().is_multiple_of(2) {
                    return Err(BROKEN);
                }
                self.numbers.push(number(value).ok_or(BROKEN)?);
            }
            b"map" => {
                let numbers = value.split(|&byte| byte == b',').map(number);
                self.numbers = numbers.collect::<Option<_>>().ok_or(BROKEN)?;
            }
            b"major" => self.is_in_data = value == b"1",
            // The name is the entry's; the count says what the map itself says.
            _ => {}
        }
        Ok(())
    }

    /// The map of the file that is stored at `data`.
    pub(super) fn map(self, spool: &Spool, data: &Range<u64>, fail: Fail<'_>) -> Result<SparseMap> {
        let size = self.size.ok_or_else(|| fail(BROKEN))?;
        let (numbers, skip) = if self.is_in_data { read_map(spool, data, fail)? } else { (self.numbers, 0) };
        if !numbers.len().is_multiple_of(2) {
            return Err(fail(BROKEN));
        }
        let segments = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        SparseMap { size, segments, skip }.checked(data).map_err(fail)
    }
}

/// The numbers of the map in front of the data (format 1.0), one a line, their count first; and the
/// bytes that they take, whole blocks.
fn read_map(spool: &Spool, data: &Range<u64>, fail: Fail<'_>) -> Result<(Vec<u64>, u64)> {
    let (mut count, mut numbers, mut line) = (None, Vec::new(), Vec::new());
    let mut at = data.start;
    while count.is_none_or(|count| numbers.len() < count) {
        if at >= data.end {
            return Err(fail(BROKEN));
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
                    return Err(fail(BROKEN));
                }
                line.push(byte);
                continue;
            }
            let read = number(&line).ok_or_else(|| fail(BROKEN))?;
            line.clear();
            match (count, usize::try_from(read)) {
                (Some(_), _) => numbers.push(read),
                (None, Ok(segments)) if segments <= MAX_SEGMENTS => count = Some(2 * segments),
                (None, _) => return Err(fail(TOO_MANY)),
            }
        }
    }
    Ok((numbers, at - data.start))
}
