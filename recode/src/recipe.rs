//! The recipe of a stream: which encoder makes it, and with what parameters.

use crate::compare::Compare;
use crate::wire::Fields;
use crate::{Codec, Error, Refused, Result, deflate, encode, xz};

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
    Deflate(deflate::Plan),
    Xz(xz::Plan),
}

/// The first byte of a recipe. RECIPES.md has the table; a number keeps its meaning for ever.
mod id {
    pub(super) const ZLIB: u8 = 0;
    pub(super) const CORRECTIONS: u8 = 1;
    pub(super) const XZ: u8 = 2;
    pub(super) const GNU_GZIP: u8 = 5;
}

impl Encoder {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        match fields.byte()? {
            id::ZLIB => Ok(Self::Deflate(deflate::Plan::parse_zlib(fields, false)?)),
            id::GNU_GZIP => Ok(Self::Deflate(deflate::Plan::parse_zlib(fields, true)?)),
            id::CORRECTIONS => Ok(Self::Deflate(deflate::Plan::parse_corrections(fields)?)),
            id::XZ => Ok(Self::Xz(xz::Plan::parse(&mut fields)?)),
            id => Err(Error::UnknownEncoder { id }),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = vec![self.id()];
        match self {
            Self::Deflate(plan) => plan.write(&mut bytes),
            Self::Xz(plan) => plan.write(&mut bytes),
        }
        bytes
    }

    const fn id(&self) -> u8 {
        match self {
            Self::Deflate(plan @ deflate::Plan::Zlib(_)) if plan.is_gnu() => id::GNU_GZIP,
            Self::Deflate(deflate::Plan::Zlib(_)) => id::ZLIB,
            Self::Deflate(deflate::Plan::Corrections(_)) => id::CORRECTIONS,
            Self::Xz(_) => id::XZ,
        }
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
            Encoder::Deflate(_) => Codec::Deflate,
            Encoder::Xz(_) => Codec::Xz,
        }
    }

    /// The encoder: a library and its version.
    pub const fn encoder_name(&self) -> &'static str {
        match self.encoder.id() {
            id::ZLIB => "zlib 1.3",
            id::GNU_GZIP => "GNU gzip 1.12",
            id::CORRECTIONS => "corrections 1",
            _ => "liblzma 5.8",
        }
    }

    /// Most memory that [`encode`](crate::encode) takes, in bytes.
    pub fn memory(&self) -> u64 {
        match &self.encoder {
            Encoder::Deflate(_) => 48 << 20,
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
    let makes = |encoder: &Encoder| Recipe::new(encoder.clone()).makes(encoded, plain);
    let encoder = match codec {
        Codec::Deflate => {
            let plan = deflate::find(encoded, plain, |plan| makes(&Encoder::Deflate(plan.clone())))?;
            Encoder::Deflate(plan)
        }
        Codec::Xz => {
            let plans = xz::find(encoded)?.into_iter().map(Encoder::Xz);
            plans.into_iter().find(makes).ok_or(Refused::NoEncoder)?
        }
        Codec::Zstd | Codec::Bzip2 => return Err(Refused::NoEncoder),
    };
    Ok(Recipe::new(encoder))
}

impl Recipe {
    fn new(encoder: Encoder) -> Self {
        Self { bytes: encoder.write(), encoder }
    }

    /// Whether the recipe makes `encoded` of `plain`; stops where it does not.
    fn makes(&self, encoded: &[u8], mut plain: &[u8]) -> bool {
        let mut output = Compare::new(encoded);
        let size = plain.len() as u64;
        encode(self, &mut plain, size, &mut output).is_ok() && output.is_whole()
    }
}
