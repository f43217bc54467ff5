//! The errors of this crate.

use std::io;

use crate::Codec;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a stream could not be decoded or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader or the writer failed.
    #[error("cannot {action}")]
    Io {
        /// The verb and the object of the action that failed.
        action: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The encoded bytes are no stream of the codec.
    #[error("broken {} stream: {reason}", codec.name())]
    Corrupt {
        /// The codec.
        codec: Codec,
        /// The message of the decoder.
        reason: String,
    },
    /// The stream has more plain bytes than the bound.
    #[error("the stream has over {max} plain bytes")]
    TooLarge {
        /// The bound in bytes.
        max: u64,
    },
    /// The recipe breaks the rules of the wire.
    #[error("broken recipe: {reason}")]
    BadRecipe {
        /// The rule.
        reason: &'static str,
    },
    /// The recipe is for an encoder that this version lacks.
    #[error("the recipe is for encoder {id}, which this version does not have")]
    UnknownEncoder {
        /// The first byte of the recipe.
        id: u8,
    },
    /// The plain bytes end early.
    #[error("the plain bytes end after {size} of {expected}")]
    PlainTooShort {
        /// Bytes there were.
        size: u64,
        /// Bytes that the caller stated.
        expected: u64,
    },
    /// The recipe does not fit these plain bytes: it was made of others.
    #[error("the recipe is not for these plain bytes: {reason}")]
    Mismatch {
        /// The part that does not fit.
        reason: &'static str,
    },
    /// The encoder itself failed.
    #[error("the {} encoder failed: {reason}", codec.name())]
    Encoder {
        /// The codec.
        codec: Codec,
        /// The message of the encoder.
        reason: String,
    },
}

/// The reason why a stream has no recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No encoder makes these bytes.
    #[error("no known encoder makes these bytes")]
    NoEncoder,
    /// The recipe would be too large a part of what it is for.
    #[error("the corrections take {size} bytes, over the bound of {max}")]
    CorrectionsTooLarge {
        /// Bytes of the recipe, or of what of it was made until the bound.
        size: u64,
        /// The bound in bytes.
        max: u64,
    },
    /// The stream uses something that no recipe says.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// The search ended before every encoder was tried.
    #[error("the search for its encoder takes too long")]
    OverBudget,
    /// An encoder was not tried that takes more memory than is granted.
    #[error("its encoder takes too much memory")]
    TooMuchMemory,
    /// A file could not be read.
    #[error("the stream or its plain bytes cannot be read")]
    Unreadable,
    /// The encoded bytes are not one whole stream of these plain bytes.
    #[error("the encoded bytes are not one whole stream of the plain bytes")]
    NotTheStream,
}

impl Refused {
    /// A short name, for counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoEncoder => "no-encoder",
            Self::CorrectionsTooLarge { .. } => "corrections-too-large",
            Self::Unsupported(what) => what,
            Self::OverBudget => "over-budget",
            Self::TooMuchMemory => "too-much-memory",
            Self::Unreadable => "unreadable",
            Self::NotTheStream => "not-the-stream",
        }
    }
}
