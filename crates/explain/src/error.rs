//! The errors of an explanation.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a delta could not be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer could not be read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The delta is broken or could not be read.
    #[error(transparent)]
    Delta(#[from] delta_format::Error),
    /// The delta makes another layer than the one given.
    #[error("the delta does not make `{name}`: the first difference is at byte {offset}")]
    OtherLayer {
        /// The layer that was given.
        name: String,
        /// Offset in the uncompressed layer, in bytes.
        offset: u64,
    },
}
