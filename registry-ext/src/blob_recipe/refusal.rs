//! The reasons why the blob of a layer cannot be made again.

/// The reason why there is no recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The blob has more streams than are searched.
    #[error("it has more than {max} compressed streams")]
    TooManyStreams {
        /// The limit.
        max: usize,
    },
    /// A stream has no recipe.
    #[error("{} stream {index}: {refused}", codec.name())]
    Stream {
        /// The stream, counted from 0.
        index: usize,
        /// Its codec.
        codec: recode::Codec,
        /// The reason.
        refused: recode::Refused,
    },
    /// The recipe would be too large a part of the blob.
    #[error(
        "its recipe takes {size} bytes, which is over {max_share}% of the {blob_size} bytes of the blob; \
         `--max-recipe` allows more"
    )]
    NotWorthIt {
        /// Bytes of the recipe.
        size: u64,
        /// Bytes of the blob.
        blob_size: u64,
        /// The limit in percent of the blob.
        max_share: u64,
    },
    /// The streams that were found do not hold the tar.
    #[error("the streams that were found in it are not the layer")]
    OtherContent,
}
