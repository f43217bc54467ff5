//! Copies the content of a file out of the tar.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use layer::{Entry, Spool};

use super::header::Details;
use crate::Result;

/// Bytes that are copied at once.
pub(super) const STEP: usize = 1 << 20;

/// Writes the content of a file entry to an empty file, holes as holes. The outer error is that of
/// the layer. `buffer` has room for [`STEP`] bytes.
pub(super) fn copy(
    spool: &Spool,
    entry: &Entry,
    details: &Details,
    file: &File,
    buffer: &mut [u8],
) -> Result<io::Result<()>> {
    let whole = [(0, entry.data.end - entry.data.start)];
    let (skip, segments) = match &details.sparse {
        None => (0, whole.as_slice()),
        Some(map) => {
            if let Err(error) = file.set_len(map.size) {
                return Ok(Err(error));
            }
            (map.skip, map.segments.as_slice())
        }
    };
    let mut at = entry.data.start + skip;
    for &(offset, size) in segments {
        let mut done = 0;
        while done < size {
            let step = usize::try_from(size - done).unwrap_or(STEP).min(STEP);
            spool.read_exact_at(&mut buffer[..step], at)?;
            if let Err(error) = file.write_all_at(&buffer[..step], offset + done) {
                return Ok(Err(error));
            }
            done += step as u64;
            at += step as u64;
        }
    }
    Ok(Ok(()))
}
