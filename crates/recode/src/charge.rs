//! The costs of decoding and encoding, by which whoever does it for others bounds them.
//!
//! All numbers are units of about a nanosecond of one core; they do not depend on the machine.

use std::io::{self, Read, Write};

use crate::Codec;

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
            // Also blocks of a few bytes may have tables.
            Self::ZstdBlocks => (16 << 10, 64, 8),
            // A frame may have a few bytes.
            Self::ZstdChunked => (16 << 10, 128, 2),
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
