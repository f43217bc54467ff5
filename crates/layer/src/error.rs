//! Errors of layers.

use std::io;

use crate::{FileKind, ImageArchive};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a layer could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("cannot {action} {name}")]
    Io {
        /// The verb for the action that failed.
        action: &'static str,
        /// The file or directory.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The compressed bytes cannot be decoded.
    #[error("{name}: cannot decompress past byte {offset} of the uncompressed tar")]
    Decompress {
        /// The layer.
        name: String,
        /// Uncompressed bytes that could be read.
        offset: u64,
        /// The message of the decoder.
        source: io::Error,
    },
    /// A header of the tar is broken, or an entry is cut off.
    #[error("{name}: broken tar at byte {offset}: {reason}")]
    BrokenTar {
        /// The layer.
        name: String,
        /// Offset of the header in the uncompressed tar, in bytes.
        offset: u64,
        /// The rule that it breaks.
        reason: String,
    },
    /// The entries and their names would take more memory than layers of this size are granted
    /// ([`Listing`](crate::Listing)).
    #[error(
        "{name}: its entries and their names take over {max} bytes of memory, which is more than is granted to \
         layers of this size; if they are meant so, give the uncompressed tars"
    )]
    TooManyEntries {
        /// The layer whose entries went over the limit.
        name: String,
        /// The limit in bytes.
        max: u64,
    },
    /// There is no tar: not even a first header.
    #[error("{name} is no tar: {what}")]
    NotATar {
        /// The name of the file that was given as a layer.
        name: String,
        /// The kind of the file.
        what: FileKind,
    },
    /// It is a tar, but of whole images.
    #[error("{name} is no layer, but {archive}")]
    ImageArchive {
        /// The name of the file that was given as a layer.
        name: String,
        /// The kind of the archive.
        archive: ImageArchive,
    },
    /// The uncompressed tar is over the bound that the caller set.
    #[error("{name}: the uncompressed tar is over {max} bytes")]
    TooLarge {
        /// The layer.
        name: String,
        /// Bytes seen so far.
        size: u64,
        /// The bound in bytes.
        max: u64,
    },
}
