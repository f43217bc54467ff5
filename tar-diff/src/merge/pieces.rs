//! The origin of each byte of the middle layer.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use delta_format::SourcePath;

/// The origin of the bytes of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The delta itself: the bytes lie in the tar.
    Literal,
    /// A file of the old layer, from this offset on.
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

/// The pieces of the middle layer.
#[derive(Debug)]
pub(super) struct Pieces {
    /// The end of each piece, and its origin.
    ends: Vec<(u64, Origin)>,
    sources: Vec<SourcePath>,
    /// Bytes of their paths, each of which is kept twice.
    paths_size: usize,
    indexes: HashMap<SourcePath, usize>,
    /// The differences, one after the other.
    differences: File,
    differences_size: u64,
}

impl Pieces {
    pub(super) fn new(differences: File) -> Self {
        Self {
            ends: Vec::new(),
            sources: Vec::new(),
            paths_size: 0,
            indexes: HashMap::new(),
            differences,
            differences_size: 0,
        }
    }

    /// Bytes of all pieces.
    pub(super) fn size(&self) -> u64 {
        self.ends.last().map_or(0, |(end, _)| *end)
    }

    /// Bytes of memory that the pieces take.
    pub(super) fn memory(&self) -> u64 {
        (self.ends.len() * size_of::<(u64, Origin)>() + self.paths_size + self.sources.len() * 100) as u64
    }

    /// The number of a source.
    pub(super) fn source(&mut self, path: SourcePath) -> usize {
        *self.indexes.entry(path).or_insert_with_key(|path| {
            self.sources.push(path.clone());
            self.paths_size += 2 * path.as_bytes().len();
            self.sources.len() - 1
        })
    }

    /// The path of a source.
    pub(super) fn path(&self, source: usize) -> &SourcePath {
        &self.sources[source]
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
    pub(super) fn push_add(
        &mut self,
        size: u64,
        (source, offset): (usize, u64),
        payload: &mut impl Read,
    ) -> io::Result<()> {
        let difference = self.differences_size;
        let copied = io::copy(payload, &mut self.differences)?;
        if copied != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the delta is truncated"));
        }
        self.differences.flush()?;
        self.differences_size += size;
        self.push(size, Origin::Add { source, offset, difference });
        Ok(())
    }

    /// Reads differences.
    pub(super) fn difference(&self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.differences.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
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

    /// Returns true if the delta itself has all bytes of a range.
    pub(super) fn are_literals(&self, range: Range<u64>) -> bool {
        self.of(range).all(|piece| piece.origin == Origin::Literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_out_of_its_pieces() {
        let mut pieces = Pieces::new(tempfile::tempfile().unwrap());
        let source = pieces.source(SourcePath::new(b"a").unwrap());
        pieces.push(10, Origin::Literal);
        pieces.push(10, Origin::Copy { source, offset: 100 });
        pieces.push(5, Origin::Copy { source, offset: 110 });
        pieces.push_add(3, (source, 7), &mut &[1, 2, 3][..]).unwrap();
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
        assert_eq!(pieces.difference(1, 2).unwrap(), [2, 3]);
        assert!(pieces.are_literals(0..10) && !pieces.are_literals(9..11) && pieces.are_literals(3..3));
    }
}
