//! Errors of deltas and of their application.

use std::io;

use crate::{Exhausted, PathError, SourcePath};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a delta could not be read, written or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input does not start with the magic of a known version.
    #[error("not a delta: the first 8 bytes are {}, not `tardf1`, `tardf2` or `tardf3`", magic.escape_ascii())]
    NotADelta {
        /// The bytes found, fewer than 8 if the input is shorter.
        magic: Vec<u8>,
    },
    /// The delta breaks a rule of the format.
    #[error("corrupt delta: op {op_index}: {kind}")]
    Corrupt {
        /// Index of the op, from 0.
        op_index: u64,
        /// The rule that is broken.
        kind: CorruptKind,
    },
    /// The delta's compressed stream ends early or cannot be decoded.
    #[error("corrupt delta: op {op_index}: the compressed stream cannot be read")]
    Stream {
        /// Index of the op that was being read, from 0.
        op_index: u64,
        /// The error of the decoder, or of the input below it.
        source: io::Error,
    },
    /// The old tree lacks a file that the delta reads.
    #[error("the base does not match: source file `{path}` is missing or cannot be opened")]
    SourceMissing {
        /// The file.
        path: SourcePath,
        /// The error of the system.
        source: io::Error,
    },
    /// A source file is no regular file.
    #[error("the base does not match: source `{path}` is not a regular file")]
    SourceNotRegular {
        /// The file.
        path: SourcePath,
    },
    /// A source file ends before the bytes that the delta reads.
    #[error(
        "the base does not match: source file `{path}` has {size} bytes, the delta reads up to byte {wanted}"
    )]
    SourceTooShort {
        /// The file.
        path: SourcePath,
        /// Its size in bytes.
        size: u64,
        /// End of the wanted range, in bytes from the start of the file.
        wanted: u64,
    },
    /// A source file could not be read.
    #[error("cannot read source file `{path}`")]
    SourceUnreadable {
        /// The file.
        path: SourcePath,
        /// The error of the system.
        source: io::Error,
    },
    /// A source holds no such compressed stream as the delta reads.
    #[error("the base does not match: source file `{path}` cannot be decoded as the delta asks")]
    SourceUndecodable {
        /// The file.
        path: SourcePath,
        /// The message of the decoder.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stretch cannot be encoded as the delta asks.
    #[error("a compressed stream cannot be made again")]
    Reencode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The caller of [`apply`](crate::apply()) has no codecs.
    #[error("the delta sees through compression, which is not supported here")]
    NoCodecs,
    /// Something is larger than its limit.
    #[error("{what} is too large: {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// The name of the thing that it is about.
        what: &'static str,
        /// Its size in bytes; for output, a size that it has at least.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The delta asks for more work than it may, or the caller stopped it.
    #[error("the delta is not applied to its end: {0}")]
    OverBudget(#[from] Exhausted),
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

/// The rule of the format that an op breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptKind {
    /// The op code is not one of this version.
    #[error("unknown op code {0}")]
    UnknownOp(u8),
    /// An integer does not fit in 64 bits.
    #[error("an integer over 64 bits")]
    Integer,
    /// The stream ends inside an op.
    #[error("the delta ends inside the op")]
    Truncated,
    /// A source path is not allowed.
    #[error("bad source path: {0}")]
    Path(#[from] PathError),
    /// An op reads the source before any `Open`.
    #[error("the source is read before one is opened")]
    NoSource,
    /// Position and size do not fit in 64 bits.
    #[error("the position in the source overflows")]
    PositionOverflow,
    /// The runs of an `AddData` op (tardf3) do not make as many bytes as it says.
    #[error("the runs of an add_data op do not fit its size")]
    Runs,
    /// Too many ops in a row emit nothing.
    #[error("too many ops in a row that emit nothing")]
    Idle,
    /// The list of an `OpenView` or `Reencode` op is not allowed.
    #[error("bad view: {0}")]
    View(&'static str),
    /// A `Reencode` op comes before the stretches of the last one are complete.
    #[error("stretches to encode overlap")]
    OverlappingStretches,
    /// The delta ends before the stretches of the last `Reencode` op are complete.
    #[error("a stretch to encode is incomplete")]
    IncompleteStretch,
    /// The list of a `Headers` op is not allowed, or does not fit the `Entries` ops.
    #[error("bad list of headers: {0}")]
    Headers(&'static str),
    /// A `ZstdDict` payload is no valid frame.
    #[error("the zstd frame of a zstd_dict op is broken: {0}")]
    Frame(String),
    /// The payload of a `Relocated` op is broken, or does not fit its source.
    #[error("the payload of a relocated op is broken: {0}")]
    Relocated(#[from] program::Error),
    /// A `ZstdDict` payload is a frame whose header says another size, in bytes, than it decodes to.
    #[error("the zstd frame of a zstd_dict op says {declared} bytes and holds {size}")]
    FrameSize {
        /// The size in the header.
        declared: u64,
        /// The size that its blocks hold.
        size: u64,
    },
}
