//! The recipe of a stream: which encoder makes it, and with what parameters.

use std::io::{Read, Seek};

use crate::compare::{Compare, Files, Slices, Source};
use crate::wire::Fields;
use crate::{Codec, Error, Refused, Result, bzip2_stream, deflate, encode, xz, zstd_frame};

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
    Zstd(zstd_frame::Plan),
    Bzip2(bzip2_stream::Plan),
}

/// The first byte of a recipe. RECIPES.md has the table; a number keeps its meaning for ever.
mod id {
    pub(super) const ZLIB: u8 = 0;
    pub(super) const CORRECTIONS: u8 = 1;
    pub(super) const XZ: u8 = 2;
    pub(super) const ZSTD: u8 = 3;
    pub(super) const BZIP2: u8 = 4;
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
            id::ZSTD => Ok(Self::Zstd(zstd_frame::Plan::parse(&mut fields)?)),
            id::BZIP2 => Ok(Self::Bzip2(bzip2_stream::Plan::parse(&mut fields)?)),
            id => Err(Error::UnknownEncoder { id }),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = vec![self.id()];
        match self {
            Self::Deflate(plan) => plan.write(&mut bytes),
            Self::Xz(plan) => plan.write(&mut bytes),
            Self::Zstd(plan) => plan.write(&mut bytes),
            Self::Bzip2(plan) => plan.write(&mut bytes),
        }
        bytes
    }

    const fn id(&self) -> u8 {
        match self {
            Self::Deflate(plan @ deflate::Plan::Zlib(_)) if plan.is_gnu() => id::GNU_GZIP,
            Self::Deflate(deflate::Plan::Zlib(_)) => id::ZLIB,
            Self::Deflate(deflate::Plan::Corrections(_)) => id::CORRECTIONS,
            Self::Xz(_) => id::XZ,
            Self::Zstd(_) => id::ZSTD,
            Self::Bzip2(_) => id::BZIP2,
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
            Encoder::Zstd(_) => Codec::Zstd,
            Encoder::Bzip2(_) => Codec::Bzip2,
        }
    }

    /// The encoder: a library and its version.
    pub const fn encoder_name(&self) -> &'static str {
        match self.encoder.id() {
            id::ZLIB => "zlib 1.3",
            id::GNU_GZIP => "GNU gzip 1.12",
            id::CORRECTIONS => "corrections 1",
            id::XZ => "liblzma 5",
            id::ZSTD => "libzstd 1.5.7",
            _ => "bzip2 1.0",
        }
    }

    /// Most memory that [`encode`](crate::encode) takes, in bytes.
    pub fn memory(&self) -> u64 {
        match &self.encoder {
            Encoder::Deflate(_) => 48 << 20,
            Encoder::Xz(plan) => plan.memory(),
            Encoder::Zstd(plan) => plan.memory(),
            Encoder::Bzip2(plan) => plan.memory(),
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
    find(codec, &mut Slices { encoded, plain })
}

/// As [`recipe`], of a stream that is too large to hold, such as a layer.
///
/// Both are read from position 0, several times: a level that the start rules out costs little,
/// the proof reads all. Memory is that of the encoder and a few megabytes; for xz, whose index is at
/// the end, also that of the encoded bytes.
///
/// # Errors
/// [`Refused`] with the reason, [`Refused::Unreadable`] if a file cannot be read.
pub fn recipe_of_files(
    codec: Codec,
    encoded: impl Read + Seek,
    encoded_size: u64,
    plain: impl Read + Seek,
    plain_size: u64,
) -> Result<Recipe, Refused> {
    find(codec, &mut Files { encoded, encoded_size, plain, plain_size })
}

fn find(codec: Codec, source: &mut dyn Source) -> Result<Recipe, Refused> {
    let (start, _) = source.starts(32, 0).map_err(|_| Refused::Unreadable)?;
    let matches = |encoder: &Encoder, source: &mut dyn Source| Recipe::new(encoder.clone()).matches(source);
    let makes =
        |encoder: &Encoder, source: &mut dyn Source| matches(encoder, source) == source.encoded_size();
    let encoder = match codec {
        Codec::Deflate => Encoder::Deflate(deflate::find(source, |plan, source| {
            makes(&Encoder::Deflate(plan.clone()), source)
        })?),
        Codec::Xz => {
            let (encoded, _) = source.starts(u64::MAX, 0).map_err(|_| Refused::Unreadable)?;
            let mut plans = xz::find(&encoded)?.into_iter().map(Encoder::Xz);
            drop(encoded);
            plans.find(|encoder| makes(encoder, source)).ok_or(Refused::NoEncoder)?
        }
        Codec::Zstd => {
            let (encoded_size, plain_size) = (source.encoded_size(), source.plain_size());
            let matches = |plan| matches(&Encoder::Zstd(plan), source);
            Encoder::Zstd(zstd_frame::find(&start, encoded_size, plain_size, matches)?)
        }
        Codec::Bzip2 => {
            let encoder = Encoder::Bzip2(bzip2_stream::find(&start)?);
            Some(encoder).filter(|encoder| makes(encoder, source)).ok_or(Refused::NoEncoder)?
        }
    };
    Ok(Recipe::new(encoder))
}

impl Recipe {
    fn new(encoder: Encoder) -> Self {
        Self { bytes: encoder.write(), encoder }
    }

    /// How many bytes of the stream the recipe makes, whole pieces of output only; stops where it
    /// makes others. All of them means that it makes no more, either.
    fn matches(&self, source: &mut dyn Source) -> u64 {
        let (encoded_size, plain_size) = (source.encoded_size(), source.plain_size());
        let Ok((mut encoded, mut plain)) = source.readers() else { return 0 };
        let mut output = Compare::new(&mut encoded);
        let is_made = encode(self, &mut plain, plain_size, &mut output).is_ok();
        // An encoder that failed behind the last byte has not made the stream.
        if is_made { output.matched() } else { output.matched().min(encoded_size.saturating_sub(1)) }
    }
}
