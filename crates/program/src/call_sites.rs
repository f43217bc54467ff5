//! The tables of call sites in `.gcc_except_table`, which unwinding reads: new rows of them are carried by column.
//!
//! ```text
//! record   = ff encoding:u8 (types:number)? 01 size:number row* rest    types: bytes from there to the end of rest
//! row      = start:number length:number pad:number action:number        rows have `size` bytes
//! ```
//!
//! A compiler writes such a record for each function with something to clean up. `start` and `pad` count from the
//! start of the function, so that they grow from row to row. As distances from the row before they are small, and
//! numbers of one meaning are alike.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::operands::is_within;
use crate::varint::{Reader, of_zigzag, put, zigzag};
use crate::wire;

/// The first byte of a record: its landing pads count from the start of the function.
const RECORD: u8 = 0xff;
/// The encoding of the types if there are none.
const OMITTED: u8 = 0xff;
/// The encoding of numbers in rows as LEB128.
const LEB128: u8 = 1;
/// Numbers of a row.
pub(crate) const COLUMNS: usize = 4;
const START: usize = 0;
const LENGTH: usize = 1;
const PAD: usize = 2;
const ACTION: usize = 3;
/// A start that says that the row stands among the new bytes.
const KEPT: u64 = 0;

/// The part of a record that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Record,
    TypeEncoding,
    Types,
    RowEncoding,
    Size,
    Row(usize),
    Rest,
}

/// Follows the records in a range of the new file, byte after byte.
#[derive(Debug, Clone)]
pub(crate) struct CallSites {
    range: Range<u32>,
    expected: Expected,
    /// The bits of a number that were read so far.
    number: u32,
    bits: u32,
    /// Bytes of rows that are left.
    rows: u32,
    /// Bytes up to the end of the record.
    rest: u32,
    row: [u32; COLUMNS],
    /// The end of the row before, and the last pad that is not 0.
    end: u32,
    pad: u32,
}

impl CallSites {
    pub(crate) const fn new(range: Range<u32>) -> Self {
        Self {
            range,
            expected: Expected::Record,
            number: 0,
            bits: 0,
            rows: 0,
            rest: 0,
            row: [0; COLUMNS],
            end: 0,
            pad: 0,
        }
    }

    /// Returns true if a piece of a literal lies in the range: then its rows are carried by column.
    pub(crate) fn holds(&self, position: u32, size: usize) -> bool {
        is_within(&self.range, position, size)
    }

    /// Takes in bytes of the new file, of which some may lie in the range.
    pub(crate) fn pass(&mut self, position: u32, bytes: &[u8]) {
        let within = |place: u32| (place.saturating_sub(position) as usize).min(bytes.len());
        let (start, end) = (within(self.range.start), within(self.range.end));
        bytes.get(start..end).unwrap_or_default().iter().for_each(|byte| self.step(*byte));
    }

    /// Returns true if a row begins here.
    fn is_at_row(&self) -> bool {
        self.expected == Expected::Row(START) && self.bits == 0
    }

    fn step(&mut self, byte: u8) {
        self.rest = self.rest.saturating_sub(1);
        self.expected = match self.expected {
            Expected::Record if byte == RECORD => Expected::TypeEncoding,
            Expected::Record => Expected::Record,
            Expected::TypeEncoding => {
                self.rest = 0;
                if byte == OMITTED { Expected::RowEncoding } else { Expected::Types }
            }
            Expected::Types => match self.number(byte) {
                Some(types) => {
                    self.rest = types;
                    Expected::RowEncoding
                }
                None => Expected::Types,
            },
            Expected::RowEncoding if byte == LEB128 => Expected::Size,
            Expected::RowEncoding => Expected::Record,
            Expected::Size => match self.number(byte) {
                Some(size) => {
                    (self.rows, self.end, self.pad) = (size, 0, 0);
                    self.after_row()
                }
                None => Expected::Size,
            },
            Expected::Row(column) => {
                self.rows = self.rows.saturating_sub(1);
                match self.number(byte) {
                    Some(number) => {
                        self.row[column] = number;
                        if column == ACTION { self.end_row() } else { Expected::Row(column + 1) }
                    }
                    None => Expected::Row(column),
                }
            }
            Expected::Rest if self.rest == 0 => Expected::Record,
            Expected::Rest => Expected::Rest,
        };
    }

    fn end_row(&mut self) -> Expected {
        self.end = self.row[START].wrapping_add(self.row[LENGTH]);
        if self.row[PAD] != 0 {
            self.pad = self.row[PAD];
        }
        self.after_row()
    }

    const fn after_row(&self) -> Expected {
        match (self.rows, self.rest) {
            (0, 0) => Expected::Record,
            (0, _) => Expected::Rest,
            _ => Expected::Row(START),
        }
    }

    /// Takes in a byte of a number, modulo 2^32, and returns the number after its last byte.
    const fn number(&mut self, byte: u8) -> Option<u32> {
        if self.bits < u32::BITS {
            self.number |= ((byte & 0x7f) as u32) << self.bits;
            self.bits += 7;
        }
        if byte & 0x80 != 0 {
            return None;
        }
        let number = self.number;
        (self.number, self.bits) = (0, 0);
        Some(number)
    }
}

/// The columns of new rows that are written.
#[derive(Debug, Default)]
pub(crate) struct Rows([Vec<u8>; COLUMNS]);

impl Rows {
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    pub(crate) fn into_parts(self) -> [Vec<u8>; COLUMNS] {
        self.0
    }

    /// Adds a piece of a literal that lies in the range. What is no row goes to the new bytes.
    pub(crate) fn put(&mut self, sites: &mut CallSites, piece: &[u8], new: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some((byte, after)) = rest.split_first() {
            if sites.is_at_row() {
                if let Some((row, size)) = whole_row(rest) {
                    self.put_row(sites, row);
                    let (bytes, after) = rest.split_at(size);
                    bytes.iter().for_each(|byte| sites.step(*byte));
                    rest = after;
                    continue;
                }
                put(&mut self.0[START], KEPT);
            }
            new.push(*byte);
            sites.step(*byte);
            rest = after;
        }
    }

    fn put_row(&mut self, sites: &CallSites, row: [u32; COLUMNS]) {
        let pad = match row[PAD] {
            0 => 0,
            pad => 1 + difference(pad, sites.pad),
        };
        let written = [1 + difference(row[START], sites.end), row[LENGTH].into(), pad, row[ACTION].into()];
        self.0.iter_mut().zip(written).for_each(|(column, number)| put(column, number));
    }
}

/// Returns the numbers and the size of a row that begins some bytes, if it is one that [`put`] writes.
fn whole_row(bytes: &[u8]) -> Option<([u32; COLUMNS], usize)> {
    let mut reader = Reader::new(bytes, "a row");
    let (mut row, mut written) = ([0; COLUMNS], Vec::new());
    for number in &mut row {
        *number = u32::try_from(reader.next().ok()?).ok()?;
        put(&mut written, (*number).into());
    }
    bytes.starts_with(&written).then_some((row, written.len()))
}

/// The columns of new rows that are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowReader<'r>([Reader<'r>; COLUMNS]);

impl<'r> RowReader<'r> {
    pub(crate) fn new(columns: [&'r [u8]; COLUMNS]) -> Self {
        Self(columns.map(|column| Reader::new(column, "the rows of call sites")))
    }

    /// Appends a piece of a literal that lies in the range, of `size` bytes. What is no row comes from `new`.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::TooLarge`] for a number of over 32 bits, and [`Error::Rows`] for a row that
    /// reaches past the piece.
    pub(crate) fn read(
        &mut self,
        sites: &mut CallSites,
        out: &mut Vec<u8>,
        size: usize,
        new: &mut &[u8],
    ) -> Result<()> {
        let end = out.len() + size;
        while out.len() < end {
            let start = out.len();
            match if sites.is_at_row() { self.row(sites)? } else { None } {
                Some(row) => {
                    row.iter().for_each(|number| put(out, (*number).into()));
                    if out.len() > end {
                        return Err(Error::Rows);
                    }
                }
                None => {
                    let (byte, rest) = new.split_first().ok_or(Error::Truncated("the new bytes"))?;
                    out.push(*byte);
                    *new = rest;
                }
            }
            out[start..].iter().for_each(|byte| sites.step(*byte));
        }
        Ok(())
    }

    /// Reads a row; `None` if it stands among the new bytes.
    fn row(&mut self, sites: &CallSites) -> Result<Option<[u32; COLUMNS]>> {
        let [starts, lengths, pads, actions] = &mut self.0;
        let start = match starts.next()? {
            KEPT => return Ok(None),
            start => moved(start - 1, sites.end)?,
        };
        let length = narrow(lengths.next()?)?;
        let pad = match pads.next()? {
            0 => 0,
            pad => moved(pad - 1, sites.pad)?,
        };
        Ok(Some([start, length, pad, narrow(actions.next()?)?]))
    }

    /// Fails if something is left.
    pub(crate) fn end(&self) -> Result<()> {
        self.0.iter().try_for_each(Reader::end)
    }
}

fn difference(number: u32, from: u32) -> u64 {
    zigzag(number.into(), from.into())
}

fn moved(difference: u64, from: u32) -> Result<u32> {
    narrow(of_zigzag(difference, from.into()))
}

fn narrow(number: u64) -> Result<u32> {
    wire::narrow("a number of a row", number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn written(pieces: &[&[u8]], range: Range<u32>) -> (Rows, Vec<u8>) {
        let (mut rows, mut new, mut sites) = (Rows::default(), Vec::new(), CallSites::new(range));
        pieces.iter().for_each(|piece| rows.put(&mut sites, piece, &mut new));
        (rows, new)
    }

    fn read(rows: &Rows, mut new: &[u8], sizes: &[usize], range: Range<u32>) -> Result<Vec<u8>> {
        let mut reader = RowReader::new([0, 1, 2, 3].map(|column| rows.0[column].as_slice()));
        let (mut sites, mut out) = (CallSites::new(range), Vec::new());
        sizes.iter().try_for_each(|size| reader.read(&mut sites, &mut out, *size, &mut new))?;
        reader.end()?;
        assert!(new.is_empty());
        Ok(out)
    }

    #[test]
    fn rows_stand_by_column_as_distances() {
        // Padding, a record with types, a row that is not written in its fewest bytes, and a record without types.
        let table = [
            &[0, 0, 0xff, 0x9b, 18, 1, 13][..],
            &[4, 5, 0x80, 1, 0, 11, 5, 0x8a, 1, 3, 0x85, 0, 5, 0],
            &[1, 2, 3, 0xff, 0xff, 1, 4, 7, 1, 9, 0],
        ]
        .concat();
        let (rows, new) = written(&[&table], 0..100);
        // The first row ends at 9, and the second begins at 11; their pads are 128 and 138.
        assert_eq!(rows.0[START], [1 + 8, 1 + 4, 0, 1 + 14]);
        assert_eq!(rows.0[LENGTH], [5, 5, 1]);
        assert_eq!(rows.0[PAD], [0x81, 2, 1 + 20, 1 + 18]);
        assert_eq!(rows.0[ACTION], [0, 3, 0]);
        assert_eq!(
            new,
            [0, 0, 0xff, 0x9b, 18, 1, 13, 0x85, 0, 5, 0, 1, 2, 3, 0xff, 0xff, 1, 4],
            "what is no row"
        );
        assert_eq!(read(&rows, &new, &[table.len()], 0..100), Ok(table));
    }

    #[test]
    fn any_bytes_come_out_the_same_and_rows_do_not_reach_past_a_piece() {
        let mut random = fastrand::Rng::with_seed(8);
        let bytes = [0xff, 0xff, 1, 1, 0, 3, 9, 40, 0x9b, 0x80];
        for _ in 0..400 {
            let sizes: Vec<usize> = (0..random.usize(1..4)).map(|_| random.usize(1..200)).collect();
            let byte = |random: &mut fastrand::Rng| match random.u8(..8) {
                0 => random.u8(..),
                _ => bytes[random.usize(..bytes.len())],
            };
            let table: Vec<u8> = (0..sizes.iter().sum()).map(|_| byte(&mut random)).collect();
            let (mut pieces, mut rest) = (Vec::new(), &*table);
            for size in &sizes {
                let (piece, after) = rest.split_at(*size);
                pieces.push(piece);
                rest = after;
            }
            let (mut rows, new) = written(&pieces, 0..1 << 20);
            assert!(read(&rows, &new, &sizes, 0..1 << 20).unwrap() == table);
            rows.0[START].push(1);
            assert!(read(&rows, &new, &sizes, 0..1 << 20).is_err(), "something is left");
        }
        let mut sites = CallSites::new(0..100);
        sites.pass(0, &[0xff, 0xff, 1, 9]);
        let mut reader = RowReader::new([&[1], &[5], &[0], &[0]]);
        assert_eq!(reader.read(&mut sites, &mut Vec::new(), 3, &mut &[][..]), Err(Error::Rows));
    }

    #[test]
    fn bytes_outside_of_the_range_do_not_count() {
        let mut sites = CallSites::new(10..20);
        sites.pass(6, &[0xff, 0xff, 1, 9, 0xff, 0xff]);
        sites.pass(12, &[1, 9]);
        assert!(sites.is_at_row());
        sites.pass(14, &[1, 2, 3, 4, 1, 2, 3, 4, 1]);
        assert_eq!((sites.end, sites.pad, sites.row[START]), (3, 3, 1));
        assert_eq!(sites.expected, Expected::Row(2), "the range ends within a row");
        assert!(sites.holds(10, 10) && !sites.holds(9, 2) && !sites.holds(19, 2));
    }
}
