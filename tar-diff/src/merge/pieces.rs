//! The origin of each byte of a middle layer.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::{Error, Result};

/// The origin of the bytes of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The delta itself: the bytes lie in the tar.
    Literal,
    /// A file of the old layers, from this offset on.
    Copy { source: usize, offset: u64 },
    /// The same, plus differences that are kept from this offset on.
    Add { source: usize, offset: u64, difference: u64 },
}

impl Origin {
    /// The origin of the bytes behind the first `size` ones.
    fn skip(self, size: u64) -> Self {
        match self {
            Self::Literal => Self::Literal,
            Self::Copy { source, offset } => Self::Copy { source, offset: offset + size },
            Self::Add { source, offset, difference } => {
                Self::Add { source, offset: offset + size, difference: difference + size }
            }
        }
    }
}

/// Bytes of one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Their number.
    pub(super) size: u64,
    /// Their origin.
    pub(super) origin: Origin,
}

/// The pieces of a middle layer.
#[derive(Debug)]
pub(super) struct Pieces {
    /// The end of each piece, and its origin.
    ends: Vec<(u64, Origin)>,
    /// The differences, one after the other.
    differences: BufWriter<File>,
    differences_size: u64,
}

impl Pieces {
    pub(super) fn new(differences: File) -> Self {
        Self {
            ends: Vec::new(),
            differences: BufWriter::with_capacity(64 << 10, differences),
            differences_size: 0,
        }
    }

    /// Bytes of all pieces.
    pub(super) fn size(&self) -> u64 {
        self.ends.last().map_or(0, |(end, _)| *end)
    }

    /// Bytes of memory that the pieces take.
    pub(super) const fn memory(&self) -> u64 {
        (self.ends.len() * size_of::<(u64, Origin)>()) as u64
    }

    /// Appends a piece; to the last one if its bytes go on there.
    pub(super) fn push(&mut self, size: u64, origin: Origin) {
        let start = self.size();
        let before = self.ends.len().checked_sub(2).map_or(0, |index| self.ends[index].0);
        match self.ends.last_mut() {
            _ if size == 0 => {}
            Some((end, last)) if last.skip(start - before) == origin => *end += size,
            _ => self.ends.push((start + size, origin)),
        }
    }

    /// Appends a piece of differences from a source.
    pub(super) fn push_add(&mut self, source: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let difference = self.differences_size;
        self.differences.write_all(bytes)?;
        self.differences_size += bytes.len() as u64;
        self.push(bytes.len() as u64, Origin::Add { source, offset, difference });
        Ok(())
    }

    /// Writes all differences to their file, from which they are read.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.differences.flush()
    }

    /// Reads differences.
    pub(super) fn read_difference(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.differences.get_ref().read_exact_at(bytes, offset)
    }

    /// The pieces of a range of bytes.
    pub(super) fn of(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let first = self.ends.partition_point(|(end, _)| *end <= range.start);
        let mut at = range.start;
        let mut start = first.checked_sub(1).map_or(0, |before| self.ends[before].0);
        self.ends[first..].iter().map_while(move |(end, origin)| {
            if at >= range.end {
                return None;
            }
            let size = (*end).min(range.end) - at;
            let piece = Piece { size, origin: origin.skip(at - start) };
            (at, start) = (at + size, *end);
            Some(piece)
        })
    }

    /// Checks that the delta itself has all bytes of a range, in which there is no content of files.
    pub(super) fn check_literals(&self, range: Range<u64>) -> Result<()> {
        if self.of(range).all(|piece| piece.origin == Origin::Literal) {
            return Ok(());
        }
        let reason =
            "it copies the headers of the middle tar from a file, so that only the old layer has them";
        Err(Error::CannotMerge { delta: "first", reason: reason.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_out_of_its_pieces() {
        let mut pieces = Pieces::new(tempfile::tempfile().unwrap());
        let source = 0;
        pieces.push(10, Origin::Literal);
        pieces.push(10, Origin::Copy { source, offset: 100 });
        pieces.push(5, Origin::Copy { source, offset: 110 });
        pieces.push_add(source, 7, &[1, 2, 3]).unwrap();
        assert_eq!((pieces.size(), pieces.ends.len()), (28, 3));
        let of = |range| pieces.of(range).collect::<Vec<_>>();
        assert_eq!(
            of(5..27),
            [
                Piece { size: 5, origin: Origin::Literal },
                Piece { size: 15, origin: Origin::Copy { source, offset: 100 } },
                Piece { size: 2, origin: Origin::Add { source, offset: 7, difference: 0 } },
            ]
        );
        assert_eq!(of(12..14), [Piece { size: 2, origin: Origin::Copy { source, offset: 102 } }]);
        assert_eq!(of(26..28), [Piece { size: 2, origin: Origin::Add { source, offset: 8, difference: 1 } }]);
        assert!(of(10..10).is_empty());
        pieces.flush().unwrap();
        let mut read = [0; 2];
        pieces.read_difference(&mut read, 1).unwrap();
        assert_eq!(read, [2, 3]);
        let are_literals = |range| pieces.check_literals(range).is_ok();
        assert!(are_literals(0..10) && !are_literals(9..11) && are_literals(3..3));
    }
}
