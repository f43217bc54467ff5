//! The errors of a diff.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a delta could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer could not be read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The delta could not be written or read.
    #[error(transparent)]
    Delta(#[from] delta_format::Error),
    /// zstd could not make a frame of a file.
    #[error("cannot compress `{path}` with its source as dictionary")]
    ZstdDict {
        /// The target file.
        path: String,
        /// The error of zstd.
        source: std::io::Error,
    },
    /// The temporary file of decoded files could not be made or written.
    #[error("cannot keep decoded files in a temporary file")]
    Store(#[source] std::io::Error),
    /// Two deltas cannot be merged into one.
    #[error("the {delta} delta cannot be merged: {reason}")]
    CannotMerge {
        /// The one that stands in the way: `first` or `second`.
        delta: &'static str,
        /// The reason.
        reason: String,
    },
    /// The finished delta cannot be applied.
    #[error("the delta does not rebuild the new layer")]
    Verify(#[source] tar_patch::Error),
    /// The finished delta rebuilds another layer than the new one.
    #[error("the delta rebuilds a layer that differs from the new one at byte {offset}")]
    Differs {
        /// Offset in the uncompressed new layer of the first byte that differs, in bytes.
        offset: u64,
    },
}

impl Error {
    /// Tells whether the delta is right, as far as is known, and appliers refuse it since it costs them more than
    /// its result is worth. One that does not see through compression costs less.
    pub const fn is_of_cost(&self) -> bool {
        matches!(self, Self::Verify(tar_patch::Error::Delta(delta_format::Error::OverBudget(_))))
    }
}
