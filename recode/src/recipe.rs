//! The recipe of a stream: which encoder makes it, and with what parameters.

use crate::compare::Compare;
use crate::wire::Fields;
use crate::{Codec, Error, Refused, Result, encode, xz};

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
pub(crate) enum Encoder {
    Xz(xz::Plan),
}

/// The first byte of a recipe. RECIPES.md has the table; a number keeps its meaning for ever.
mod id {
    pub(super) const XZ: u8 = 2;
}

impl Encoder {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        match fields.byte()? {
            id::XZ => Ok(Self::Xz(xz::Plan::parse(&mut fields)?)),
            id => Err(Error::UnknownEncoder { id }),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Xz(plan) => {
                bytes.push(id::XZ);
                plan.write(&mut bytes);
            }
        }
        bytes
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
        match self.encoder {
            Encoder::Xz(_) => Codec::Xz,
        }
    }

    /// The encoder: a library and its version.
    pub const fn encoder_name(&self) -> &'static str {
        match self.encoder {
            Encoder::Xz(_) => "liblzma 5.8",
        }
    }

    /// Most memory that [`encode`](crate::encode) takes, in bytes.
    pub fn memory(&self) -> u64 {
        match &self.encoder {
            Encoder::Xz(plan) => plan.memory(),
        }
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
    let candidates = match codec {
        Codec::Xz => xz::find(encoded)?.into_iter().map(Encoder::Xz),
        Codec::Deflate | Codec::Zstd | Codec::Bzip2 => return Err(Refused::NoEncoder),
    };
    for encoder in candidates {
        let recipe = Recipe { bytes: encoder.write(), encoder };
        if recipe.makes(encoded, plain) {
            return Ok(recipe);
        }
    }
    Err(Refused::NoEncoder)
}

impl Recipe {
    /// Whether the recipe makes `encoded` of `plain`; stops where it does not.
    fn makes(&self, encoded: &[u8], mut plain: &[u8]) -> bool {
        let mut output = Compare::new(encoded);
        let size = plain.len() as u64;
        encode(self, &mut plain, size, &mut output).is_ok() && output.is_whole()
    }
}
