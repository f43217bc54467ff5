//! The errors of unpacking.

use std::io;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// An entry of a layer cannot be unpacked as it is.
    #[error("{what}: {reason}")]
    Malformed {
        /// The layer and the entry.
        what: String,
        /// The fault in it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that was tried: a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
}

impl Error {
    /// Wraps an error of the system.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed { what: what.into(), reason: reason.to_string() }
    }
}
