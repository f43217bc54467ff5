//! What identifies a file in the matching: the digest of its content and a sketch of it.

use std::num::NonZeroUsize;
use std::ops::Range;

use layer::Spool;

use crate::sketch::{Sketch, Sketcher};
use crate::{Result, workers};

/// Digest of a file's content: BLAKE3, of which 16 bytes are kept. Two contents with one digest
/// cannot be made on purpose.
pub(crate) type ContentDigest = [u8; 16];

/// What identifies a file in the matching.
#[derive(Debug, Clone)]
pub(crate) struct Fingerprint {
    pub(crate) digest: ContentDigest,
    pub(crate) sketch: Sketch,
}

/// Bytes of a file that are read at once.
const CHUNK_SIZE: usize = 256 << 10;

/// The fingerprints of files, given as the layer and the byte range of each.
///
/// # Errors
/// If a layer cannot be read.
pub(crate) fn fingerprint(files: &[(&Spool, Range<u64>)], jobs: NonZeroUsize) -> Result<Vec<Fingerprint>> {
    workers::map(jobs, files.len(), |index| {
        let (spool, range) = &files[index];
        let mut hasher = blake3::Hasher::new();
        let mut sketcher = Sketcher::default();
        for_each_chunk(spool, range.clone(), CHUNK_SIZE, |chunk| {
            hasher.update(chunk);
            sketcher.update(chunk);
            Ok(())
        })?;
        let mut digest = ContentDigest::default();
        hasher.finalize_xof().fill(&mut digest);
        Ok(Fingerprint { digest, sketch: sketcher.finish() })
    })
}

/// Reads a range in chunks of at most `chunk_size` bytes.
pub(crate) fn for_each_chunk(
    spool: &Spool,
    mut range: Range<u64>,
    chunk_size: usize,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let first = usize::try_from(range.end - range.start).map_or(chunk_size, |size| size.min(chunk_size));
    let mut chunk = vec![0; first];
    while !range.is_empty() {
        let size = usize::try_from(range.end - range.start).map_or(chunk_size, |size| size.min(chunk_size));
        let chunk = &mut chunk[..size];
        spool.read_exact_at(chunk, range.start)?;
        take(chunk)?;
        range.start += size as u64;
    }
    Ok(())
}
