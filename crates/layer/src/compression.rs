//! The compression of a layer's bytes: told from magic bytes, never from a name.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use crate::sequence::Sequence;

/// A compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// None: the tar itself.
    None,
    /// gzip (RFC 1952), of one or more members.
    Gzip,
    /// bzip2, of one or more streams.
    Bzip2,
    /// xz, of one or more streams.
    Xz,
    /// zstd (RFC 8878), of one or more frames, skippable ones included.
    Zstd,
}

/// Base-2 logarithm of the largest zstd window that is accepted: it is memory, and a layer can come
/// from anywhere. `zstd -d` accepts 2^27 without being told, deltas may have 2^29.
const MAX_ZSTD_WINDOW_LOG: u32 = 29;
/// Most memory that an xz stream may ask of the decoder, in bytes: `xz -9` asks for 65 MiB, the
/// largest dictionaries in use for 256 MiB.
const MAX_XZ_MEMORY: u64 = 300 << 20;

impl Compression {
    /// Bytes that [`detect`](Self::detect) looks at.
    pub const MAGIC_SIZE: usize = 6;

    /// Tells the compression from the first bytes of the input, [`MAGIC_SIZE`](Self::MAGIC_SIZE)
    /// of them or, of a shorter input, all.
    pub fn detect(start: &[u8]) -> Self {
        let is_skippable = |bytes: &[u8]| {
            // RFC 8878, 3.1.2: magic numbers 0x184D2A50 to 0x184D2A5F, little endian.
            bytes.len() >= 4 && bytes[0] & 0xf0 == 0x50 && bytes[1..4] == [0x2a, 0x4d, 0x18]
        };
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            bytes if is_skippable(bytes) => Self::Zstd,
            _ => Self::None,
        }
    }

    /// A reader of the uncompressed bytes of `input`: of all its members, streams or frames.
    ///
    /// They may be followed by what the tools of the format take: zeros after gzip, anything after bzip2,
    /// zeros in fours after and between streams of xz, nothing after zstd.
    ///
    /// # Errors
    /// If the decoder cannot be made.
    pub fn decoder<'a>(self, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(Sequence::<_, GzDecoder<_>>::new(input)),
            Self::Bzip2 => Box::new(Sequence::<_, BzDecoder<_>>::new(input)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    MAX_XZ_MEMORY,
                    liblzma::stream::CONCATENATED,
                )?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }

    /// The usual name: `none`, `gzip`, `bzip2`, `xz` or `zstd`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        frame.extend(zstd::encode_all(bytes, 3).unwrap());
        frame
    }

    fn decode(bytes: &[u8]) -> (Compression, io::Result<Vec<u8>>) {
        let compression = Compression::detect(&bytes[..bytes.len().min(Compression::MAGIC_SIZE)]);
        let mut decoded = Vec::new();
        let read = compression.decoder(bytes).unwrap().read_to_end(&mut decoded);
        (compression, read.map(|_| decoded))
    }

    #[test]
    fn every_member_stream_and_frame_is_read() {
        type Encode = fn(&[u8]) -> Vec<u8>;
        let cases: [(Compression, Encode); 5] = [
            (Compression::None, <[u8]>::to_vec),
            (Compression::Gzip, gzip),
            (Compression::Bzip2, bzip2),
            (Compression::Xz, xz),
            (Compression::Zstd, zstd),
        ];
        for (compression, encode) in cases {
            let both = [encode(b"first"), encode(b"second")].concat();
            let (detected, decoded) = decode(&both);
            assert_eq!(detected, compression);
            assert_eq!(decoded.unwrap(), b"firstsecond", "{}", compression.name());
            let (_, empty) = decode(&encode(b""));
            assert_eq!(empty.unwrap(), b"", "{}", compression.name());
        }
    }

    #[test]
    fn padding_behind_the_last_stream_is_what_the_tools_pass_over() {
        let zeros = |count| vec![0; count];
        let takes = |encoded: Vec<u8>, tail: &[u8]| {
            let (compression, decoded) = decode(&[&encoded, tail].concat());
            let is_taken = decoded.as_deref().is_ok_and(|decoded| decoded == b"content");
            assert!(is_taken || decoded.is_err(), "{}: {decoded:?}", compression.name());
            is_taken
        };
        for count in [1, 4, 512, 100_000] {
            assert!(takes(gzip(b"content"), &zeros(count)), "{count}");
            assert!(takes(bzip2(b"content"), &zeros(count)), "{count}");
            assert_eq!(takes(xz(b"content"), &zeros(count)), count % 4 == 0, "{count}");
            assert!(!takes(zstd(b"content"), &zeros(count)), "{count}");
        }
        let junk = b"junk, junk";
        assert!(!takes(gzip(b"content"), junk) && !takes(gzip(b"content"), &[&zeros(9), &junk[..]].concat()));
        assert!(takes(bzip2(b"content"), junk) && takes(bzip2(b"content"), &[&zeros(9), &junk[..]].concat()));
        assert!(!takes(xz(b"content"), junk) && !takes(zstd(b"content"), junk));
        // The start of another stream is no padding.
        for encoded in [gzip(b"content"), bzip2(b"content"), xz(b"content"), zstd(b"content")] {
            assert!(!takes(encoded.clone(), &encoded[..4]));
        }
    }

    #[test]
    fn truncated_input_is_an_error() {
        for encoded in [gzip(b"some bytes"), bzip2(b"some bytes"), xz(b"some bytes"), zstd(b"some bytes")] {
            let (compression, decoded) = decode(&encoded[..encoded.len() - 3]);
            assert!(decoded.is_err(), "{}", compression.name());
        }
    }
}
