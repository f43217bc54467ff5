//! Makes a stream of its recipe and its plain bytes.

use std::io::{Read, Write};

use crate::charge::{Charge, Charged};
use crate::compare::Plain;
use crate::recipe::Encoder;
use crate::{Recipe, Result, zstd_blocks};

/// Makes the stream of a recipe and of `plain_size` bytes that are read from `plain`.
///
/// # Errors
/// [`Error::PlainTooShort`](crate::Error::PlainTooShort) if `plain` ends early,
/// [`Error::Mismatch`](crate::Error::Mismatch) if the recipe is for other plain bytes,
/// [`Error::Io`](crate::Error::Io) if `plain` or `output` fails.
pub fn encode(recipe: &Recipe, plain: &mut dyn Read, plain_size: u64, output: &mut dyn Write) -> Result<()> {
    encode_plain(recipe, Plain::new(plain, plain_size), output)
}

/// Does what [`encode`] does, and charges [`EncodingWork::byte`](crate::EncodingWork::byte) for each byte
/// that is read or made, and the tokens and the searches of deflate beside it. The caller charges
/// [`EncodingWork::setup`](crate::EncodingWork::setup).
///
/// # Errors
/// As [`encode`], and what `charge` fails with.
pub fn encode_charged(
    recipe: &Recipe,
    plain: &mut dyn Read,
    plain_size: u64,
    output: &mut dyn Write,
    charge: Charge<'_>,
) -> Result<()> {
    let byte_work = recipe.encoding_work(plain_size).byte;
    let mut plain = Charged::new(plain, byte_work, charge);
    let plain = Plain::new(&mut plain, plain_size).charged(charge);
    encode_plain(recipe, plain, &mut Charged::new(output, byte_work, charge))
}

fn encode_plain(recipe: &Recipe, mut plain: Plain<'_>, output: &mut dyn Write) -> Result<()> {
    match recipe.encoder() {
        Encoder::Deflate(plan) => plan.encode(&mut plain, output),
        Encoder::Xz(plan) => plan.encode(&mut plain, output),
        Encoder::Zstd(plan) => plan.encode(&mut plain, output),
        Encoder::Klauspost(plan) => plan.encode(&mut plain, output),
        Encoder::Chunked(plan) => plan.encode(&mut plain, output),
        Encoder::Bzip2(plan) => plan.encode(&mut plain, output),
        Encoder::ZstdCorrections(plan) => plan.encode(&mut plain, output),
        Encoder::ZstdBlocks => zstd_blocks::encode(&mut plain, output),
    }
}
