//! Fingerprints, by which files are matched: the digest of its content and a sketch of it.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Range;

use layer::Spool;

use crate::sketch::{Sketch, Sketcher};
use crate::{Result, workers};

/// Digest of a file's content: BLAKE3, of which 16 bytes are kept. Two contents with one digest
/// cannot be made on purpose.
pub(crate) type ContentDigest = [u8; 16];

/// The fingerprint of a file.
#[derive(Debug, Clone)]
pub(crate) struct Fingerprint {
    pub(crate) digest: ContentDigest,
    pub(crate) sketch: Sketch,
}

/// Bytes of a file that are read at once.
const CHUNK_SIZE: usize = 256 << 10;

/// The fingerprints of files, given as the layer and the byte range of each: `sources` of old
/// files, then the targets. A file whose content the other side has, too, needs no likeness: it has
/// an empty sketch. `progress` is told the bytes that are read, twice for each file: each is hashed, and
/// sketched if need be.
///
/// # Errors
/// If a layer cannot be read.
pub(crate) fn fingerprint(
    files: &[(&Spool, Range<u64>)],
    sources: usize,
    jobs: NonZeroUsize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Fingerprint>> {
    let done = |range: &Range<u64>| progress(range.end - range.start);
    let digests = workers::map(jobs, files.len(), |index| {
        let (spool, range) = &files[index];
        digest(spool, range.clone()).inspect(|_| done(range))
    })?;
    let (of_sources, of_targets) = digests.split_at(sources);
    let [of_sources, of_targets]: [HashSet<&ContentDigest>; 2] =
        [of_sources, of_targets].map(|digests| digests.iter().collect());
    workers::map(jobs, files.len(), |index| {
        let digest = digests[index];
        let other_side = if index < sources { &of_targets } else { &of_sources };
        let sketch = if other_side.contains(&digest) {
            Sketch::default()
        } else {
            sketch(files[index].0, files[index].1.clone())?
        };
        done(&files[index].1);
        Ok(Fingerprint { digest, sketch })
    })
}

fn digest(spool: &Spool, range: Range<u64>) -> Result<ContentDigest> {
    let mut hasher = blake3::Hasher::new();
    spool.for_each_chunk(range, CHUNK_SIZE, |chunk| -> Result<()> {
        hasher.update(chunk);
        Ok(())
    })?;
    let mut digest = ContentDigest::default();
    hasher.finalize_xof().fill(&mut digest);
    Ok(digest)
}

fn sketch(spool: &Spool, range: Range<u64>) -> Result<Sketch> {
    let mut sketcher = Sketcher::default();
    spool.for_each_chunk(range, CHUNK_SIZE, |chunk| -> Result<()> {
        sketcher.update(chunk);
        Ok(())
    })?;
    Ok(sketcher.finish())
}
