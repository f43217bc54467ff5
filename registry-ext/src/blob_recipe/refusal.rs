//! The reasons why the blob of a layer cannot be made again.

use super::MAX_SEARCHED_SIZE;

/// The reason why there is no recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The blob or its tar is too large to be searched.
    #[error("it has {size} bytes, and over {max} are not searched")]
    TooLarge {
        /// Bytes of the larger of both.
        size: u64,
        /// The limit in bytes.
        max: u64,
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

impl Refusal {
    /// Refuses a blob or tar of so many bytes, if it is too large to be searched.
    pub(crate) const fn of_size(size: u64) -> Result<(), Self> {
        if size > MAX_SEARCHED_SIZE {
            return Err(Self::TooLarge { size, max: MAX_SEARCHED_SIZE });
        }
        Ok(())
    }
}
