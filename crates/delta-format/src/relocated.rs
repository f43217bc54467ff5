//! The meaning of the op that makes a file of a whole source, with what moved in it predicted.

use program::Prepared;

use crate::budget::cost;
use crate::cursor::{Cursor, SourceFile};
use crate::target::Target;
use crate::wire::MAX_RELOCATED_SIZE;
use crate::{CorruptKind, Error, OpReader, Result};

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
    let broken = |error| Error::Corrupt { op_index, kind: CorruptKind::Relocated(error) };
    let prepared = Prepared::new(&payload, &old).map_err(broken)?;
    target.reserve(prepared.size() as u64)?;
    target.meter().charge(prepared.work())?;
    let mut decoder = prepared.start().map_err(broken)?;
    while let Some(piece) = decoder.next_piece().map_err(broken)? {
        target.write(piece)?;
    }
    Ok(())
}
