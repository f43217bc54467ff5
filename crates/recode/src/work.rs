//! The costs of decoding and encoding, so that somebody who does it for others can bound them.
//!
//! All numbers are units of about a nanosecond of one core; they do not depend on the machine.

use std::io::{self, Read, Write};

use crate::compare::Plain;
use crate::encode::encode_plain;
use crate::recipe::Encoder;
use crate::{Codec, Decoded, Recipe, Result, decode};

/// Takes the work that is done next, and refuses it where there is too much. What it fails with comes back
/// as the source of an [`Error::Io`](crate::Error::Io).
pub type Charge<'c> = &'c dyn Fn(u64) -> io::Result<()>;

/// The cost of decoding a stream: a part for any stream, one for each encoded byte and one for each
/// plain byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodingWork {
    /// To set the decoder up.
    pub setup: u64,
    /// For an encoded byte. Blocks of nothing cost, too.
    pub encoded_byte: u64,
    /// For a plain byte.
    pub plain_byte: u64,
}

impl Codec {
    /// Returns the cost of decoding.
    pub const fn decoding_work(self) -> DecodingWork {
        let (setup, encoded_byte, plain_byte) = match self {
            Self::Deflate => (8 << 10, 4, 4),
            Self::Xz => (16 << 10, 48, 2),
            Self::Zstd => (16 << 10, 8, 2),
            Self::Bzip2 => (256 << 10, 64, 24),
        };
        DecodingWork { setup, encoded_byte, plain_byte }
    }
}

/// The cost of encoding with a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingWork {
    /// To set the encoders up that the recipe names, all of them, one after the other.
    pub setup: u64,
    /// For a plain byte, and for a byte that is made: there are streams of no plain bytes.
    pub byte: u64,
}

impl Recipe {
    /// Returns the cost of encoding `plain_size` bytes.
    pub fn encoding_work(&self, plain_size: u64) -> EncodingWork {
        match self.encoder() {
            // The parser charges its searches itself.
            Encoder::Deflate(plan) => EncodingWork { setup: 32 << 10, byte: plan.encoding_byte_work() },
            Encoder::Xz(plan) => plan.encoding_work(),
            Encoder::Zstd(plan) => plan.encoding_work(plain_size),
            Encoder::Bzip2(plan) => plan.encoding_work(),
        }
    }
}

/// Does what [`decode`] does, and charges it piece by piece: [`Codec::decoding_work`].
///
/// # Errors
/// As [`decode`], and what `charge` fails with.
pub fn decode_charged(
    codec: Codec,
    encoded: &mut dyn Read,
    max_plain: u64,
    plain: &mut dyn Write,
    charge: Charge<'_>,
) -> Result<Decoded> {
    let work = codec.decoding_work();
    let refused = |source| crate::Error::Io { action: "decode as much", source };
    charge(work.setup).map_err(refused)?;
    let mut encoded = Charged::new(encoded, work.encoded_byte, charge);
    decode(codec, &mut encoded, max_plain, &mut Charged::new(plain, work.plain_byte, charge))
}

/// Does what [`encode`](crate::encode) does, and charges [`EncodingWork::byte`] for each byte that is read or
/// made, and the searches of deflate beside it. The caller charges [`EncodingWork::setup`].
///
/// # Errors
/// As [`encode`](crate::encode), and what `charge` fails with.
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

/// Bytes that are charged at once: some hundredths of a second, where encoding is slowest.
const PIECE: usize = 16 << 10;

/// Charges bytes before they are used.
pub(crate) struct Charged<'c, I> {
    inner: I,
    byte_work: u64,
    charge: Charge<'c>,
}

impl<'c, I> Charged<'c, I> {
    pub(crate) const fn new(inner: I, byte_work: u64, charge: Charge<'c>) -> Self {
        Self { inner, byte_work, charge }
    }
}

impl<R: Read> Read for Charged<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = buffer.len().min(PIECE);
        let read = self.inner.read(&mut buffer[..size])?;
        (self.charge)(self.byte_work * read as u64)?;
        Ok(read)
    }
}

impl<W: Write> Write for Charged<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(PIECE)];
        (self.charge)(self.byte_work * bytes.len() as u64)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
