//! Copies the content of a file out of the tar.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use layer::{Entry, Spool};

use super::header::Details;
use crate::{Error, Result};

/// Bytes that are copied at once.
const STEP: usize = 1 << 20;

/// Writes the content of a file entry to an empty file, holes as holes. `failed` makes the error for a file that
/// cannot be written.
pub(super) fn copy(
    spool: &Spool,
    entry: &Entry,
    details: &Details,
    file: &File,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<()> {
    let whole = [(0, entry.data.end - entry.data.start)];
    let (skip, segments) = match &details.sparse {
        None => (0, whole.as_slice()),
        Some(map) => {
            file.set_len(map.size).map_err(failed)?;
            (map.skip, map.segments.as_slice())
        }
    };
    let mut at = entry.data.start + skip;
    for &(mut offset, size) in segments {
        spool.for_each_chunk(at..at + size, STEP, |bytes| {
            file.write_all_at(bytes, offset).map_err(failed)?;
            offset += bytes.len() as u64;
            Ok::<_, Error>(())
        })?;
        at += size;
    }
    Ok(())
}
