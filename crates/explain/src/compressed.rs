//! The two compressions of an op stream.

use std::io::{self, Chain, Cursor, Read};

use delta_format::wire::{MAGIC_SIZE, XZ_START};

use crate::blocks::{Block, Blocks};
use crate::chunks::Chunks;

/// A delta whose first bytes were looked at.
type Delta<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads a delta block by block.
pub(crate) enum Compressed<R> {
    Zstd(Box<Blocks<Delta<R>>>),
    Xz(Box<Chunks<Delta<R>>>),
}

impl<R: Read> Compressed<R> {
    pub(crate) fn new(mut delta: R) -> io::Result<Self> {
        let mut start = Vec::new();
        (&mut delta).take(MAGIC_SIZE as u64 + 1).read_to_end(&mut start)?;
        let is_xz = start.get(MAGIC_SIZE) == Some(&XZ_START);
        let delta = Cursor::new(start).chain(delta);
        Ok(if is_xz {
            Self::Xz(Box::new(Chunks::new(delta, MAGIC_SIZE)?))
        } else {
            Self::Zstd(Box::new(Blocks::new(delta, MAGIC_SIZE)?))
        })
    }

    /// Bytes of the delta that were read so far.
    pub(crate) fn total_size(&self) -> u64 {
        match self {
            Self::Zstd(blocks) => blocks.total_size(),
            Self::Xz(chunks) => chunks.total_size(),
        }
    }

    /// The next block, or `None` at the end of the delta. What frames an xz stream, or a zstd frame, belongs to none.
    pub(crate) fn next(&mut self) -> io::Result<Option<Block>> {
        match self {
            Self::Zstd(blocks) => blocks.next(),
            Self::Xz(chunks) => chunks.next(),
        }
    }
}
