//! The recipe of a stream: which encoder makes it, and with what parameters.

use crate::{Codec, Error, Refused, Result};

/// Largest recipe in bytes: what an applier must hold in memory.
pub const MAX_RECIPE_SIZE: usize = 64 << 20;

/// How a stream is made of its plain bytes. Opaque: one byte that names the encoder, then what the
/// encoder needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    bytes: Vec<u8>,
    encoder: Encoder,
}

/// What a recipe says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encoder {}

impl Encoder {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let (id, _) = bytes.split_first().ok_or(Error::BadRecipe { reason: "it is empty" })?;
        Err(Error::UnknownEncoder { id: *id })
    }
}

impl Recipe {
    /// Reads a recipe from the wire and checks all of it.
    ///
    /// # Errors
    /// [`Error::UnknownEncoder`] if this version lacks the encoder, [`Error::BadRecipe`] if the
    /// recipe breaks the rules of the wire.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_RECIPE_SIZE {
            return Err(Error::BadRecipe { reason: "it is too large" });
        }
        Ok(Self { encoder: Encoder::parse(bytes)?, bytes: bytes.to_vec() })
    }

    /// The bytes for the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the recipe makes a stream of.
    pub const fn codec(&self) -> Codec {
        match self.encoder {}
    }

    /// The encoder: a library and its version.
    pub const fn encoder_name(&self) -> &'static str {
        match self.encoder {}
    }

    pub(crate) const fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}

/// Finds how `encoded` is made of `plain`, and proves it: the stream was made and compared.
///
/// # Errors
/// [`Refused`] with the reason, if no encoder makes these bytes.
pub fn recipe(codec: Codec, encoded: &[u8], plain: &[u8]) -> Result<Recipe, Refused> {
    let _ = (codec, encoded, plain);
    Err(Refused::NoEncoder)
}
