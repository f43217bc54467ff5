//! The errors of this crate, by what the caller can do about them.

use std::io;
use std::path::PathBuf;

use layer::Digest;

use crate::blob_recipe::refusal::Refusal;
use crate::registry::RegistryError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why something could not be published, found, pulled or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text names no image and no store.
    #[error("`{text}`: {reason}")]
    Reference {
        /// The text that was given.
        text: String,
        /// The fault in it.
        reason: String,
    },
    /// There is no such image, manifest or blob.
    #[error("{what} does not exist")]
    NotFound {
        /// The thing that was looked for.
        what: String,
    },
    /// The index holds no image for the wanted platform.
    #[error("{what} has no image for {wanted}, only for: {available}")]
    NoPlatform {
        /// The index.
        what: String,
        /// The platform that was asked for.
        wanted: String,
        /// The platforms that the index has.
        available: String,
    },
    /// The registry cannot be reached, refuses, or breaks its protocol.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Bytes do not have the digest that names them.
    #[error("{what} has digest {actual}, expected was {expected}")]
    DigestMismatch {
        /// The name of the bytes.
        what: String,
        /// The digest that names them.
        expected: Digest,
        /// The digest that they have.
        actual: Digest,
    },
    /// There are more or fewer bytes than the descriptor says.
    #[error("{what} has {actual} bytes, expected were {expected}")]
    SizeMismatch {
        /// The thing that has the wrong size.
        what: String,
        /// The size in the descriptor, in bytes.
        expected: u64,
        /// The size found, in bytes. What is too long is not read to its end.
        actual: u64,
    },
    /// The holder of the key has not signed the image.
    #[error("{what} is not signed with the given key: {reason}")]
    NotSigned {
        /// The image.
        what: String,
        /// The finding instead of a signature.
        reason: String,
    },
    /// Something is larger than its limit.
    #[error("{what} is too large: {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// The thing that is too large.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A manifest, an index, a config or a store's own file breaks its rules.
    #[error("{what}: {reason}")]
    Malformed {
        /// The document.
        what: String,
        /// The fault in it.
        reason: String,
    },
    /// A part of a store breaks its rules, and the other parts are used.
    #[error("{what}: {reason}")]
    BrokenPart {
        /// The part.
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
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// A layer cannot be unpacked into a tree.
    #[error(transparent)]
    Unpack(#[from] rootfs::Error),
    /// A delta cannot be made, or the one that was made is wrong.
    #[error(transparent)]
    Diff(#[from] tar_diff::Error),
    /// A delta cannot be applied.
    #[error(transparent)]
    Patch(#[from] tar_patch::Error),
    /// The compressed blob of a layer cannot be made of its tar.
    #[error(transparent)]
    Recode(#[from] recode::Error),
    /// It is not known how the compressed blob of a layer is made of its tar.
    #[error("the blob cannot be made again: {0}")]
    NoRecipe(#[from] Refusal),
    /// Other publishers changed an index each time that it was written.
    #[error("{what} was changed by others each time that it was written; try again")]
    Contended {
        /// The index.
        what: String,
    },
    /// The directory of a daemon cannot be read by this user.
    #[error(
        "cannot read {store}: it belongs to another user; run registry-ext as root, or leave this source out"
    )]
    StoreOfOthers {
        /// The store.
        store: String,
        /// The answer of the system.
        source: io::Error,
    },
    /// None of the programs that write to a containers-storage is installed.
    #[error(
        "podman, skopeo or buildah has to write the image to {storage}, and $PATH has none of them: install podman, or \
         pull into oci:DIR"
    )]
    NoStorageWriter {
        /// The storage.
        storage: String,
    },
    /// A program that owns a store failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// The program.
        program: &'static str,
        /// The message of the program.
        reason: String,
    },
    /// A thread that did the work panicked.
    #[error("a worker thread panicked")]
    Panicked,
}

impl Error {
    /// Wraps an error of the system.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Returns the error and its causes on one line.
    pub fn one_line(&self) -> String {
        let first: &dyn std::error::Error = self;
        let causes = std::iter::successors(Some(first), |error| error.source());
        let mut lines: Vec<String> = causes.map(ToString::to_string).collect();
        lines.dedup();
        lines.join(": ")
    }

    /// Tells whether it concerns one layer, its tar or its delta, and neither the machine nor the registry:
    /// others can still be dealt with.
    pub(crate) fn is_of_one_layer(&self) -> bool {
        use layer::Error as OfLayer;
        use tar_diff::Error as OfDiff;
        match self {
            Self::Layer(error) | Self::Diff(OfDiff::Layer(error)) => matches!(
                error,
                OfLayer::Decompress { .. }
                    | OfLayer::BrokenTar { .. }
                    | OfLayer::TooManyEntries { .. }
                    | OfLayer::NotATar { .. }
                    | OfLayer::TooLarge { .. }
            ),
            // The machine may fail while a delta is verified, too: that says nothing of the delta.
            Self::Diff(OfDiff::Verify(error)) => error.fault() != tar_patch::Fault::System,
            Self::Diff(error) => matches!(error, OfDiff::ZstdDict { .. } | OfDiff::Differs { .. }),
            Self::Panicked | Self::NoRecipe(_) => true,
            _ => false,
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed { what: what.into(), reason: reason.to_string() }
    }
}

/// Runs blocking work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked)?
}
