//! Makes a stream of its recipe and its plain bytes.

use std::io::{Read, Write};

use crate::compare::Plain;
use crate::recipe::Encoder;
use crate::{Recipe, Result};

/// Makes the stream of a recipe and of `plain_size` bytes that are read from `plain`.
///
/// # Errors
/// [`Error::PlainTooShort`](crate::Error::PlainTooShort) if `plain` ends early,
/// [`Error::Mismatch`](crate::Error::Mismatch) if the recipe is for other plain bytes,
/// [`Error::Io`](crate::Error::Io) if `plain` or `output` fails.
pub fn encode(recipe: &Recipe, plain: &mut dyn Read, plain_size: u64, output: &mut dyn Write) -> Result<()> {
    encode_plain(recipe, Plain::new(plain, plain_size), output)
}

pub(crate) fn encode_plain(recipe: &Recipe, mut plain: Plain<'_>, output: &mut dyn Write) -> Result<()> {
    match recipe.encoder() {
        Encoder::Deflate(plan) => plan.encode(&mut plain, output),
        Encoder::Xz(plan) => plan.encode(&mut plain, output),
        Encoder::Zstd(plan) => plan.encode(&mut plain, output),
        Encoder::Bzip2(plan) => plan.encode(&mut plain, output),
    }
}
