//! The meaning of the op that makes a file of a whole source, with what moved in it predicted.

use program::Prepared;

use crate::budget::cost;
use crate::cursor::{Cursor, SourceFile};
use crate::target::Target;
use crate::wire::MAX_RELOCATED_SIZE;
use crate::{CorruptKind, Error, OpReader, Result};

/// Bytes of a file that are made before they are handed on.
const PIECE_SIZE: usize = 256 << 10;

/// A file that is to be made of a whole source. Its work is charged already.
#[derive(Debug)]
pub struct Relocation {
    old: Vec<u8>,
    payload: Vec<u8>,
    size: usize,
    /// Bytes of it that are held back at once.
    held_back: usize,
    op_index: u64,
}

impl Relocation {
    /// Bytes of the file.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Bytes that are held until it is made, beside those that are made already.
    pub const fn held(&self) -> usize {
        self.old.len() + self.payload.len() + self.held_back
    }

    /// Makes the file in pieces of at most 256 KiB, or as large as what was held back.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the payload is broken, and those of `write`.
    pub fn make(&self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let broken = |error| broken(self.op_index, error);
        let mut decoder = Prepared::new(&self.payload, &self.old).map_err(broken)?.start().map_err(broken)?;
        // Most blocks have a few bytes, far fewer than are worth a call of the system.
        let mut gathered = Vec::with_capacity(PIECE_SIZE.min(self.size));
        while let Some(piece) = decoder.next_piece().map_err(broken)? {
            if gathered.len() + piece.len() > PIECE_SIZE {
                write(&gathered)?;
                gathered.clear();
            }
            if piece.len() < PIECE_SIZE {
                gathered.extend_from_slice(piece);
            } else {
                write(piece)?;
            }
        }
        write(&gathered)
    }
}

const fn broken(op_index: u64, error: program::Error) -> Error {
    Error::Corrupt { op_index, kind: CorruptKind::Relocated(error) }
}

/// Emits what the payload of the last op, of `size` bytes, makes of the whole source.
pub(crate) fn relocate<F: SourceFile>(
    source: &Cursor<F>,
    size: u64,
    target: &mut Target<'_>,
    delta: &mut OpReader<'_>,
) -> Result<()> {
    let old_size = source.size(delta)?;
    target.meter().charge(cost::RELOCATED + old_size + cost::RELOCATED_PAYLOAD * size)?;
    let old = source.read_whole(delta, "the source of a relocated op", MAX_RELOCATED_SIZE)?;
    let payload = delta.read_whole_payload(size)?;
    let op_index = delta.op_index();
    let prepared = Prepared::new(&payload, &old).map_err(|error| broken(op_index, error))?;
    let (size, held_back) = (prepared.size(), prepared.held());
    target.reserve(size as u64)?;
    target.meter().charge(prepared.work())?;
    target.relocate(Relocation { old, payload, size, held_back, op_index })
}
