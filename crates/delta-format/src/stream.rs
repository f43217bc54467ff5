//! Decompresses the op stream: zstd frames or, in a tardf3, one xz stream.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use crate::Version;
use crate::wire::{MAX_WINDOW_LOG, MAX_XZ_DICTIONARY_LOG, XZ_START};

/// Decoded bytes that are buffered: a zstd block is at most 128 KiB.
const BUFFER_SIZE: usize = 128 << 10;
/// Work of a byte of zstd frames: a frame or a block of no bytes takes few of them.
const ZSTD_BYTE_WORK: u64 = 16;
/// Work of a byte of an xz stream: LZMA2 may start its model of some 14,000 numbers anew every dozen bytes.
const XZ_BYTE_WORK: u64 = 512;
/// Memory of a decoder of LZMA2 beside its dictionary, with much to spare.
const XZ_DECODER_MEMORY: u64 = 1 << 20;

/// A compressed delta, after its magic.
pub(crate) type Input<'a> = BufReader<Box<dyn Read + 'a>>;

/// The op stream.
pub(crate) struct OpStream<'a> {
    decoder: Decoder<'a>,
    /// Bytes of the op stream that were given.
    size: u64,
    /// Bytes of the delta that were read.
    encoded: Rc<Cell<u64>>,
}

enum Decoder<'a> {
    Zstd(zstd::Decoder<'static, Input<'a>>),
    Xz(XzDecoder<Input<'a>>),
}

/// Takes a delta that was not read yet. Gives it with the count of the bytes that are read of it.
pub(crate) fn counted<'a>(delta: impl Read + 'a) -> (Input<'a>, Rc<Cell<u64>>) {
    let encoded = Rc::new(Cell::new(0));
    let delta = Counted { inner: delta, size: Rc::clone(&encoded) };
    (BufReader::with_capacity(BUFFER_SIZE, Box::new(delta)), encoded)
}

impl<'a> OpStream<'a> {
    /// Prepares the decoder. `encoded` counts what is read of the input.
    pub(crate) fn new(
        mut input: Input<'a>,
        encoded: Rc<Cell<u64>>,
        version: Version,
    ) -> io::Result<BufReader<Self>> {
        let is_xz = version >= Version::V3 && input.fill_buf()?.first() == Some(&XZ_START);
        let decoder = if is_xz {
            let max_memory = (1 << MAX_XZ_DICTIONARY_LOG) + XZ_DECODER_MEMORY;
            Decoder::Xz(XzDecoder::new_stream(input, Stream::new_stream_decoder(max_memory, 0)?))
        } else {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Decoder::Zstd(decoder)
        };
        Ok(BufReader::with_capacity(BUFFER_SIZE, Self { decoder, size: 0, encoded }))
    }

    /// Bytes that were given so far.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that were read and decoded so far, in units of work: a byte of the op stream is one. A byte of
    /// the compressed delta is more, since frames and blocks of no bytes take their time as well.
    pub(crate) fn work(&self) -> u64 {
        let byte_work = match self.decoder {
            Decoder::Zstd(_) => ZSTD_BYTE_WORK,
            Decoder::Xz(_) => XZ_BYTE_WORK,
        };
        self.size + byte_work * self.encoded.get()
    }
}

impl Read for OpStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Zstd(decoder) => decoder.read(out)?,
            Decoder::Xz(decoder) => read_xz(decoder, out)?,
        };
        self.size += read as u64;
        Ok(read)
    }
}

/// Reads from an xz stream, which nothing may follow.
fn read_xz(decoder: &mut XzDecoder<Input<'_>>, out: &mut [u8]) -> io::Result<usize> {
    let read = decoder.read(out).map_err(|error| match error.kind() {
        // An integer of the op stream that is too large is `InvalidData`.
        io::ErrorKind::InvalidData => io::Error::other(error),
        _ => error,
    })?;
    if read == 0 && !out.is_empty() && !decoder.get_mut().fill_buf()?.is_empty() {
        return Err(io::Error::other("bytes follow the xz stream"));
    }
    Ok(read)
}

/// Counts what is read through it for somebody who cannot reach it.
struct Counted<R> {
    inner: R,
    size: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.size.set(self.size.get() + read as u64);
        Ok(read)
    }
}
