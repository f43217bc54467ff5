//! Applies a delta, and proves the result.

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::thread;

use delta_format::{Limits, OpReader, SourceFiles, Version};
use layer::{DiffId, DigestWriter};

use crate::reencode::Reencoder;
use crate::views::Views;
use crate::{Error, Result};

/// Bytes that may be decoded and encoded for each byte of output: what lies in compressed files is
/// rarely over ten times their size, and a bomb is a thousand times.
const MAX_PLAIN_RATIO: u64 = 64;
/// Bytes that may be decoded and encoded for any output.
const MIN_PLAIN_LIMIT: u64 = 1 << 30;

/// What the caller knows about the layer before it is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The DiffId that the layer must have. `None` accepts what comes: the caller compares.
    pub expected: Option<DiffId>,
    /// Most bytes of output. A delta of a few kilobytes can announce any size, so set it wherever
    /// the size of the layer is known.
    pub max_output: u64,
    /// Threads that encode compressed streams (tardf3). The default is all cores.
    pub jobs: NonZeroUsize,
}

impl Default for ApplyOptions {
    /// Nothing is known.
    fn default() -> Self {
        let jobs = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { expected: None, max_output: u64::MAX, jobs }
    }
}

/// A layer that was rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The digest of what was written.
    pub diff_id: DiffId,
    /// The bytes that were written.
    pub size: u64,
}

/// Rebuilds the layer that `delta` describes from `sources` and writes it to `output`, unbuffered
/// in pieces of up to 256 KiB.
///
/// # Errors
/// [`Error::Delta`] if the delta or the sources are bad or something cannot be read or written,
/// [`Error::DiffIdMismatch`] if the result is not the expected layer. On any error `output` holds
/// bytes that must not be used.
pub fn apply(
    delta: impl Read,
    sources: &mut impl SourceFiles,
    options: ApplyOptions,
    output: &mut dyn Write,
) -> Result<Applied> {
    // Hashing in a second thread saves a third of the time where a core is idle and costs a tenth
    // more work where none is; several layers are better rebuilt side by side.
    let mut output = DigestWriter::new(output);
    let size = rebuild(delta, sources, options, &mut output)?;
    let (_, digest, _) = output.finish();
    let actual = DiffId(digest);
    match options.expected {
        Some(expected) if expected != actual => Err(Error::DiffIdMismatch { expected, actual }),
        _ => Ok(Applied { diff_id: actual, size }),
    }
}

/// Does what [`apply`] does, but looks at no digest. Gives the size of the target in bytes.
///
/// # Errors
/// [`Error::Delta`].
pub fn rebuild(
    delta: impl Read,
    sources: &mut impl SourceFiles,
    options: ApplyOptions,
    output: &mut dyn Write,
) -> Result<u64> {
    let ApplyOptions { max_output, jobs, .. } = options;
    let max_plain = max_output.saturating_mul(MAX_PLAIN_RATIO).max(MIN_PLAIN_LIMIT);
    let limits = Limits { max_output, max_plain };
    let delta = OpReader::new(delta)?;
    if delta.version() < Version::V3 {
        let mut output = output;
        return Ok(delta_format::apply(delta, sources, limits, &mut output)?);
    }
    thread::scope(|scope| {
        let mut output = Reencoder::new(scope, jobs, max_output, output);
        Ok(delta_format::apply(delta, &mut Views::new(sources), limits, &mut output)?)
    })
}
