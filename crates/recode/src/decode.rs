//! Decodes one stream, within bounds of output and of memory.

use std::io::{Read, Write};

use flate2::FlushDecompress;
use liblzma::stream as lzma;
use zstd::stream::raw::Operation;

use crate::charge::{Charge, Charged};
use crate::{Codec, Error, Result, chunked, zstd_blocks};

/// Most memory that an xz stream may ask of the decoder, in bytes: `xz -9` asks for 65 MiB.
const MAX_XZ_MEMORY: u64 = 128 << 20;
/// Base-2 logarithm of the largest zstd window: what `zstd --long` makes.
pub(crate) const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// Bytes of the input and of the output that are held at a time.
pub(crate) const BUFFER_SIZE: usize = 32 << 10;

/// The outcome of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the stream, to its end.
    pub encoded_size: u64,
    /// Bytes that were written.
    pub plain_size: u64,
}

/// Decodes the one stream at the start of `encoded`, and stops at its end.
///
/// More may have been read of `encoded` than [`Decoded::encoded_size`], never less. Memory is that
/// of the codec's window: at most 128 MiB and a bit.
///
/// # Errors
/// [`Error::TooLarge`] before more than `max_plain` bytes are written, [`Error::Corrupt`] for a
/// broken or cut off stream, or one that asks for too much memory, [`Error::Io`] if `encoded` or
/// `plain` fails.
pub fn decode(
    codec: Codec,
    encoded: &mut dyn Read,
    max_plain: u64,
    plain: &mut dyn Write,
) -> Result<Decoded> {
    let Some(mut decoder) = Decoder::new(codec)? else {
        return match codec {
            Codec::ZstdChunked => chunked::decode(encoded, max_plain, plain),
            _ => zstd_blocks::decode(encoded, max_plain, plain),
        };
    };
    let mut input = vec![0; BUFFER_SIZE];
    let mut output = vec![0; BUFFER_SIZE];
    let (mut start, mut end, mut is_at_end) = (0, 0, false);
    let mut decoded = Decoded { encoded_size: 0, plain_size: 0 };
    loop {
        if start == end && !is_at_end {
            (start, end) = (0, read_some(encoded, &mut input)?);
            is_at_end = end == 0;
        }
        let step = decoder.step(&input[start..end], &mut output)?;
        start += step.used;
        decoded.encoded_size += step.used as u64;
        decoded.plain_size += step.made as u64;
        if decoded.plain_size > max_plain {
            return Err(Error::TooLarge { max: max_plain });
        }
        plain
            .write_all(&output[..step.made])
            .map_err(|source| Error::Io { action: "write the plain bytes", source })?;
        if step.is_end {
            return Ok(decoded);
        }
        if step.used == 0 && step.made == 0 && is_at_end {
            return Err(Error::Corrupt { codec, reason: "it is cut off".into() });
        }
    }
}

/// Reads some bytes; none at the end only.
pub(crate) fn read_some(input: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read.map_err(|source| Error::Io { action: "read the encoded bytes", source }),
        }
    }
}

/// One step of a decoder: bytes taken and given, and whether the stream ended.
pub(crate) struct Step {
    pub(crate) used: usize,
    pub(crate) made: usize,
    pub(crate) is_end: bool,
}

/// Makes the decoder of zstd, which goes on with the next frame behind the end of one.
pub(crate) fn zstd_decoder() -> Result<Decoder> {
    Decoder::new(Codec::Zstd)?.ok_or(Error::Corrupt { codec: Codec::Zstd, reason: "no decoder".into() })
}

pub(crate) enum Decoder {
    Deflate(flate2::Decompress),
    Xz(lzma::Stream),
    Zstd(zstd::stream::raw::Decoder<'static>),
    Bzip2(bzip2::Decompress),
}

impl Decoder {
    /// `None` if the codec has none that goes step by step.
    fn new(codec: Codec) -> Result<Option<Self>> {
        let failed = |reason: String| Error::Corrupt { codec, reason };
        Ok(Some(match codec {
            Codec::ZstdBlocks | Codec::ZstdChunked => return Ok(None),
            Codec::Deflate => Self::Deflate(flate2::Decompress::new(false)),
            Codec::Xz => Self::Xz(
                lzma::Stream::new_stream_decoder(MAX_XZ_MEMORY, 0)
                    .map_err(|error| failed(error.to_string()))?,
            ),
            Codec::Zstd => {
                let mut decoder =
                    zstd::stream::raw::Decoder::new().map_err(|error| failed(error.to_string()))?;
                decoder
                    .set_parameter(zstd::stream::raw::DParameter::WindowLogMax(MAX_ZSTD_WINDOW_LOG))
                    .map_err(|error| failed(error.to_string()))?;
                Self::Zstd(decoder)
            }
            Codec::Bzip2 => Self::Bzip2(bzip2::Decompress::new(false)),
        }))
    }

    fn codec(&self) -> Codec {
        match self {
            Self::Deflate(_) => Codec::Deflate,
            Self::Xz(_) => Codec::Xz,
            Self::Zstd(_) => Codec::Zstd,
            Self::Bzip2(_) => Codec::Bzip2,
        }
    }

    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        let codec = self.codec();
        let corrupt = |reason: String| Error::Corrupt { codec, reason };
        let size = |before: u64, after: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
        match self {
            Self::Deflate(decoder) => {
                let (taken, given) = (decoder.total_in(), decoder.total_out());
                let status = decoder
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(|error| corrupt(error.to_string()))?;
                Ok(Step {
                    used: size(taken, decoder.total_in()),
                    made: size(given, decoder.total_out()),
                    is_end: status == flate2::Status::StreamEnd,
                })
            }
            Self::Xz(decoder) => {
                let (taken, given) = (decoder.total_in(), decoder.total_out());
                let status = match decoder.process(input, output, lzma::Action::Run) {
                    Ok(status) => status,
                    Err(lzma::Error::MemLimit) => return Err(corrupt("it asks for too much memory".into())),
                    Err(error) => return Err(corrupt(error.to_string())),
                };
                Ok(Step {
                    used: size(taken, decoder.total_in()),
                    made: size(given, decoder.total_out()),
                    is_end: status == lzma::Status::StreamEnd,
                })
            }
            Self::Zstd(decoder) => {
                let status =
                    decoder.run_on_buffers(input, output).map_err(|error| corrupt(error.to_string()))?;
                Ok(Step {
                    used: status.bytes_read,
                    made: status.bytes_written,
                    is_end: status.remaining == 0,
                })
            }
            Self::Bzip2(decoder) => {
                let (taken, given) = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output).map_err(|error| corrupt(error.to_string()))?;
                Ok(Step {
                    used: size(taken, decoder.total_in()),
                    made: size(given, decoder.total_out()),
                    is_end: status == bzip2::Status::StreamEnd,
                })
            }
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
    let refused = |source| Error::Io { action: "decode as much", source };
    charge(work.setup).map_err(refused)?;
    let mut encoded = Charged::new(encoded, work.encoded_byte, charge);
    decode(codec, &mut encoded, max_plain, &mut Charged::new(plain, work.plain_byte, charge))
}
