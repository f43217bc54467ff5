//! Errors of applying a delta, and whose fault they are.

use std::io;
use std::path::PathBuf;

use layer::DiffId;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a layer could not be rebuilt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The delta could not be read or applied.
    #[error(transparent)]
    Delta(#[from] delta_format::Error),
    /// An old layer could not be read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The result is another layer than the expected one. What was written must not be published.
    #[error("the result is not the expected layer: its diff_id is {actual}, expected was {expected}")]
    DiffIdMismatch {
        /// The diff_id that the caller asked for.
        expected: DiffId,
        /// The diff_id of the bytes that were written.
        actual: DiffId,
    },
    /// The delta ends before the layer is whole.
    #[error("the delta makes {size} bytes, but the layer has {expected}")]
    TooShort {
        /// Bytes that were made.
        size: u64,
        /// Bytes of the layer.
        expected: u64,
    },
    /// The directory with the source files cannot be opened.
    #[error("cannot open the source directory {}", path.display())]
    OpenRoot {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// The input that an error is the fault of, and so what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The delta is broken or asks for more than it may: get the layer in another way.
    Delta,
    /// The old files are not those that the delta was made from: get the layer in another way.
    Base,
    /// All went well, but the result is another layer: get the layer in another way.
    Mismatch,
    /// The system refused to read or to write: another way fails alike.
    System,
}

impl Error {
    /// Returns the input that the error is the fault of.
    ///
    /// A delta that cannot be read and one that cannot be decoded are told apart by the
    /// [`io::Error`] beneath: the decoder's has no error number of the system.
    pub fn fault(&self) -> Fault {
        use delta_format::Error as D;
        match self {
            Self::DiffIdMismatch { .. } | Self::TooShort { .. } => Fault::Mismatch,
            Self::Delta(
                D::SourceMissing { .. }
                | D::SourceNotRegular { .. }
                | D::SourceTooShort { .. }
                | D::SourceUndecodable { .. },
            ) => Fault::Base,
            Self::Delta(D::Stream { source, .. }) if source.raw_os_error().is_some() => Fault::System,
            Self::Delta(D::Output(_) | D::SourceUnreadable { .. }) => Fault::System,
            Self::Delta(_) => Fault::Delta,
            Self::Layer(layer::Error::Decompress { source, .. }) if source.raw_os_error().is_some() => {
                Fault::System
            }
            Self::Layer(
                layer::Error::Decompress { .. }
                | layer::Error::BrokenTar { .. }
                | layer::Error::TooManyEntries { .. },
            ) => Fault::Base,
            Self::Layer(_) | Self::OpenRoot { .. } => Fault::System,
        }
    }
}
