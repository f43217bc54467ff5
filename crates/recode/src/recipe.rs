//! The recipe of a stream: the encoder that makes it, and its parameters.

use crate::wire::Fields;
use crate::{
    Codec, EncodingWork, Error, Result, bzip2_stream, chunked, deflate, klauspost, xz, zstd_corrections,
    zstd_frame,
};

/// Largest recipe in bytes: what an applier must hold in memory.
pub const MAX_RECIPE_SIZE: usize = 64 << 20;

/// A name of all encoders, which changes whenever one of them makes other bytes of the same recipe. A program that
/// remembers what recipes made keeps it beside them, and asks again where it is another one. A test compares it with a
/// digest of what the encoders make.
pub const ENCODERS: &str = "97029182745c7948";

/// The way in which a stream is made from its plain bytes. Opaque: one byte that names the encoder, then what the
/// encoder needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    bytes: Vec<u8>,
    encoder: Encoder,
}

/// The contents of a recipe, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encoder {
    Deflate(deflate::Plan),
    Xz(xz::Plan),
    Zstd(zstd_frame::Plan),
    Klauspost(klauspost::Plan),
    Bzip2(bzip2_stream::Plan),
    Chunked(chunked::Plan),
    ZstdBlocks,
    ZstdCorrections(zstd_corrections::Plan),
}

/// The first byte of a recipe. RECIPES.md has the table; a number keeps its meaning for ever.
mod id {
    pub(super) const ZLIB: u8 = 0;
    pub(super) const CORRECTIONS: u8 = 1;
    pub(super) const XZ: u8 = 2;
    pub(super) const ZSTD: u8 = 3;
    pub(super) const BZIP2: u8 = 4;
    pub(super) const GNU_GZIP: u8 = 5;
    pub(super) const PIECES: u8 = 6;
    pub(super) const ZSTD_BLOCKS: u8 = 7;
    pub(super) const KLAUSPOST_DEFAULT: u8 = 8;
    pub(super) const KLAUSPOST: u8 = 9;
    pub(super) const CHUNKED: u8 = 10;
    pub(super) const ZSTD_CORRECTIONS: u8 = 11;
    pub(super) const KLAUSPOST_CORRECTIONS: u8 = 12;
}

impl Encoder {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        match fields.byte()? {
            id::ZLIB => Ok(Self::Deflate(deflate::Plan::parse_zlib(fields, false)?)),
            id::GNU_GZIP => Ok(Self::Deflate(deflate::Plan::parse_zlib(fields, true)?)),
            id::CORRECTIONS => {
                Ok(Self::Deflate(deflate::Plan::parse_corrections(fields, deflate::Manner::Blocks)?))
            }
            id::PIECES => {
                Ok(Self::Deflate(deflate::Plan::parse_corrections(fields, deflate::Manner::Pieces)?))
            }
            id::XZ => Ok(Self::Xz(xz::Plan::parse(&mut fields)?)),
            id::ZSTD => Ok(Self::Zstd(zstd_frame::Plan::parse(&mut fields)?)),
            id::BZIP2 => Ok(Self::Bzip2(bzip2_stream::Plan::parse(&mut fields)?)),
            id::KLAUSPOST_DEFAULT => Ok(Self::Klauspost(klauspost::Plan::parse_default(fields)?)),
            id::KLAUSPOST => Ok(Self::Klauspost(klauspost::Plan::parse(fields)?)),
            id::CHUNKED => Ok(Self::Chunked(chunked::Plan::parse(fields)?)),
            id::ZSTD_CORRECTIONS => Ok(Self::ZstdCorrections(zstd_corrections::Plan::parse(fields)?)),
            id::KLAUSPOST_CORRECTIONS => {
                Ok(Self::ZstdCorrections(zstd_corrections::Plan::parse_of_klauspost(fields)?))
            }
            id::ZSTD_BLOCKS => fields.end().map(|()| Self::ZstdBlocks),
            id => Err(Error::UnknownEncoder { id }),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = vec![self.id()];
        match self {
            Self::Deflate(plan) => plan.write(&mut bytes),
            Self::Xz(plan) => plan.write(&mut bytes),
            Self::Zstd(plan) => plan.write(&mut bytes),
            Self::Klauspost(plan) => plan.write(&mut bytes),
            Self::Chunked(plan) => plan.write(&mut bytes),
            Self::Bzip2(plan) => plan.write(&mut bytes),
            Self::ZstdCorrections(plan) => plan.write(&mut bytes),
            Self::ZstdBlocks => {}
        }
        bytes
    }

    fn id(&self) -> u8 {
        match self {
            Self::Deflate(plan) if plan.is_by_pieces() => id::PIECES,
            Self::Deflate(plan @ deflate::Plan::Zlib(_)) if plan.is_gnu() => id::GNU_GZIP,
            Self::Deflate(deflate::Plan::Zlib(_)) => id::ZLIB,
            Self::Deflate(deflate::Plan::Corrections(_)) => id::CORRECTIONS,
            Self::Xz(_) => id::XZ,
            Self::Zstd(_) => id::ZSTD,
            Self::Klauspost(plan) if plan.is_default() => id::KLAUSPOST_DEFAULT,
            Self::Klauspost(_) => id::KLAUSPOST,
            Self::Chunked(_) => id::CHUNKED,
            Self::Bzip2(_) => id::BZIP2,
            Self::ZstdBlocks => id::ZSTD_BLOCKS,
            Self::ZstdCorrections(plan) if plan.is_of_klauspost() => id::KLAUSPOST_CORRECTIONS,
            Self::ZstdCorrections(_) => id::ZSTD_CORRECTIONS,
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

    /// Returns the codec of the streams that the recipe makes.
    pub const fn codec(&self) -> Codec {
        match self.encoder {
            Encoder::Deflate(_) => Codec::Deflate,
            Encoder::Xz(_) => Codec::Xz,
            Encoder::Zstd(_) | Encoder::Klauspost(_) | Encoder::ZstdCorrections(_) => Codec::Zstd,
            Encoder::Bzip2(_) => Codec::Bzip2,
            Encoder::Chunked(_) => Codec::ZstdChunked,
            Encoder::ZstdBlocks => Codec::ZstdBlocks,
        }
    }

    /// The encoder: a library and its version.
    pub fn encoder_name(&self) -> &'static str {
        match self.encoder.id() {
            id::ZLIB => "zlib 1.3",
            id::GNU_GZIP => "GNU gzip 1.12",
            id::CORRECTIONS => "corrections 1",
            id::PIECES => self.name_of_pieces(),
            id::XZ => "liblzma 5",
            id::ZSTD => "libzstd 1.5.7",
            id::KLAUSPOST_DEFAULT | id::KLAUSPOST => "klauspost/compress 1.19 zstd",
            id::CHUNKED => "containers/storage zstd:chunked",
            id::ZSTD_BLOCKS => "zstd blocks 1",
            id::ZSTD_CORRECTIONS => "corrections to libzstd 1.5.7",
            id::KLAUSPOST_CORRECTIONS => "corrections to klauspost/compress zstd",
            _ => "bzip2 1.0",
        }
    }

    /// The encoder that corrections by pieces are to.
    fn name_of_pieces(&self) -> &'static str {
        match self.bytes.get(1) {
            Some(16..32) => "corrections to Go 1.27",
            Some(32..48) => "corrections to Go 1.26",
            Some(48..64) => "corrections to klauspost/compress 1.18.0",
            Some(64..96) => "corrections to klauspost/pgzip 1.2",
            Some(96..112) => "corrections to zlib-ng 2.3",
            Some(160..192) => "corrections to libdeflate 1.25",
            Some(208..224) => "corrections to pigz",
            Some(224..240) => "corrections to klauspost/compress 1.15.12",
            Some(192..208) => "corrections to igzip 2.30",
            Some(112..160 | 240..) => "corrections to an earlier klauspost/pgzip",
            _ => "corrections 2",
        }
    }

    /// Most memory that [`encode`](crate::encode) takes, in bytes.
    pub fn memory(&self) -> u64 {
        match &self.encoder {
            Encoder::Deflate(_) => 48 << 20,
            Encoder::Xz(plan) => plan.memory(),
            Encoder::Zstd(plan) => plan.memory(),
            Encoder::Klauspost(plan) => plan.memory(),
            Encoder::Chunked(plan) => plan.memory(),
            Encoder::Bzip2(plan) => plan.memory(),
            Encoder::ZstdCorrections(plan) => plan.memory(),
            Encoder::ZstdBlocks => 16 << 20,
        }
    }

    pub(crate) const fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}

impl Recipe {
    /// Returns the cost of encoding `plain_size` bytes.
    pub fn encoding_work(&self, plain_size: u64) -> EncodingWork {
        match self.encoder() {
            // The parser charges its tokens and its searches itself.
            Encoder::Deflate(_) => {
                EncodingWork { setup: 32 << 10, byte: deflate::Plan::encoding_byte_work() }
            }
            Encoder::Xz(plan) => plan.encoding_work(),
            Encoder::Zstd(plan) => plan.encoding_work(plain_size),
            Encoder::Klauspost(plan) => plan.encoding_work(),
            Encoder::Chunked(plan) => plan.encoding_work(),
            Encoder::Bzip2(plan) => plan.encoding_work(),
            Encoder::ZstdCorrections(plan) => plan.encoding_work(plain_size),
            // Each block charges its tables itself.
            Encoder::ZstdBlocks => EncodingWork { setup: 1 << 20, byte: 8 },
        }
    }
}

impl Recipe {
    /// Estimates the work of encoding `plain_size` bytes to a usual stream of `encoded_size` bytes. Deflate charges its
    /// tokens and its searches beside what [`encoding_work`](Self::encoding_work) says.
    pub fn usual_work(&self, plain_size: u64, encoded_size: u64) -> u64 {
        let work = self.encoding_work(plain_size);
        let of_tokens = match self.encoder() {
            Encoder::Deflate(_) => encoded_size.saturating_mul(deflate::Plan::usual_token_work()),
            _ => 0,
        };
        let of_bytes = work.byte.saturating_mul(plain_size.saturating_add(encoded_size));
        work.setup.saturating_add(of_bytes).saturating_add(of_tokens)
    }

    /// The recipe of an encoder.
    pub(crate) fn new(encoder: Encoder) -> Self {
        Self { bytes: encoder.write(), encoder }
    }
}
