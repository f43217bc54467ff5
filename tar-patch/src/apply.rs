//! Applies a delta, and proves the result.

use std::io::{Read, Write};

use delta_format::{Limits, OpReader, SourceFiles};
use layer::{DiffId, DigestWriter};

use crate::{Error, Result};

/// What the caller knows about the layer before it is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The DiffId that the layer must have. `None` accepts what comes: the caller compares.
    pub expected: Option<DiffId>,
    /// Most bytes of output. A delta of a few kilobytes can announce any size, so set it wherever
    /// the size of the layer is known.
    pub max_output: u64,
}

impl Default for ApplyOptions {
    /// Nothing is known.
    fn default() -> Self {
        Self { expected: None, max_output: u64::MAX }
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
    let limits = Limits { max_output: options.max_output };
    // Hashing in a second thread saves a third of the time where a core is idle and costs a tenth
    // more work where none is; several layers are better rebuilt side by side.
    let mut output = DigestWriter::new(output);
    let size = delta_format::apply(OpReader::new(delta)?, sources, limits, &mut output)?;
    let (_, digest, _) = output.finish();
    let actual = DiffId(digest);
    match options.expected {
        Some(expected) if expected != actual => Err(Error::DiffIdMismatch { expected, actual }),
        _ => Ok(Applied { diff_id: actual, size }),
    }
}
