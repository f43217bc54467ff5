//! Errors of payloads.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a payload cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The payload ends inside of something.
    #[error("the payload ends inside {0}")]
    Truncated(&'static str),
    /// Something has bytes after its end.
    #[error("bytes are left after {0}")]
    Left(&'static str),
    /// A number is over its limit.
    #[error("{what} is {value}, at most {max} is allowed")]
    TooLarge {
        /// The name of the number.
        what: &'static str,
        /// The number.
        value: u64,
        /// The limit.
        max: u64,
    },
    /// The kind of a rule is not known.
    #[error("rule kind {0} is not known")]
    UnknownRule(u64),
    /// A rule breaks a condition.
    #[error("bad rule: {0}")]
    Rule(&'static str),
    /// The rules find more fields than a program has.
    #[error("the rules find more than {max} fields")]
    TooManyFields {
        /// The limit.
        max: usize,
    },
    /// The blocks are empty, reach past the old file or do not cover the new one.
    #[error("bad block: {0}")]
    Block(&'static str),
    /// A row of a table of call sites reaches past the piece of new bytes that it begins in.
    #[error("a row of call sites reaches past its piece of new bytes")]
    Rows,
    /// New bytes that are packed are broken, or not as many as the rules say.
    #[error("the packed new bytes are broken")]
    Packed,
}
