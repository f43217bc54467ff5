//! Applies a delta, and proves the result.

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::thread;

use delta_format::{Budget, Limits, OpReader, SourceFiles, Version};
use derive_setters::Setters;
use layer::{DiffId, DigestWriter};

use crate::reencode::Reencoder;
use crate::views::Views;
use crate::{Error, Result};

/// The caller's knowledge of the layer before it is rebuilt.
#[derive(Debug, Clone, Copy, Setters)]
#[non_exhaustive]
pub struct ApplyOptions<'b> {
    /// The DiffId that the layer must have. `None` accepts what comes: the caller compares.
    #[setters(into)]
    pub expected: Option<DiffId>,
    /// Most bytes of output. A delta of a few kilobytes can announce any size, so set it wherever
    /// the size of the layer is known.
    pub max_output: u64,
    /// The bytes that the layer has, where they are known exactly. A delta that makes more ends where it
    /// does, and one that makes fewer is told as such.
    #[setters(into)]
    pub size: Option<u64>,
    /// The work that may be done, for several tries together or with a deadline. `None` is a budget of
    /// [`Budget::of_layer`] for as many bytes of output as are accepted.
    #[setters(into)]
    pub budget: Option<&'b Budget>,
    /// Threads that encode compressed streams (tardf3). The default is all cores.
    pub jobs: NonZeroUsize,
}

impl Default for ApplyOptions<'_> {
    /// Nothing is known.
    fn default() -> Self {
        let jobs = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { expected: None, max_output: u64::MAX, size: None, budget: None, jobs }
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
    options: ApplyOptions<'_>,
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
    options: ApplyOptions<'_>,
    output: &mut dyn Write,
) -> Result<u64> {
    let max_output = options.size.map_or(options.max_output, |size| size.min(options.max_output));
    let own = Budget::of_layer(max_output);
    let budget = options.budget.unwrap_or(&own);
    let limits = Limits { max_output, budget };
    let delta = OpReader::new(delta)?;
    let made = if delta.version() < Version::V3 {
        let mut output = output;
        delta_format::apply(delta, sources, limits, &mut output)?
    } else {
        thread::scope(|scope| {
            let mut output = Reencoder::new(scope, options.jobs, max_output, budget, output);
            delta_format::apply(delta, &mut Views::new(sources), limits, &mut output)
        })?
    };
    match options.size {
        Some(expected) if made < expected => Err(Error::TooShort { size: made, expected }),
        _ => Ok(made),
    }
}
