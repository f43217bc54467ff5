//! Decompresses the op stream: zstd frames or, in a tardf3, one xz stream.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use liblzma::stream::{Action, Status, Stream};

use crate::Version;
use crate::wire::{MAX_IDLE_XZ, MAX_WINDOW_LOG, MAX_XZ_DICTIONARY_LOG, XZ_START};

/// Decoded bytes that are buffered: a zstd block is at most 128 KiB.
const BUFFER_SIZE: usize = 128 << 10;
/// Work of a byte of zstd frames: a frame or a block of no bytes takes few of them.
const ZSTD_BYTE_WORK: u64 = 16;
/// Work of a byte of an xz stream: blocks of no bytes that have large dictionaries of two sizes in turn take 850 ns for
/// each of their bytes, chunks of LZMA2 that start the model anew 75 ns.
const XZ_BYTE_WORK: u64 = 896;
/// Work of a byte of an xz stream of one block, as a writer makes it.
const USUAL_XZ_BYTE_WORK: u64 = 75;
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
    Xz { input: Input<'a>, stream: Stream },
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
            Decoder::Xz { input, stream: Stream::new_stream_decoder(max_memory, 0)? }
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
            Decoder::Xz { .. } => XZ_BYTE_WORK,
        };
        self.size + byte_work * self.encoded.get()
    }

    /// The part of [`work`](Self::work) that an ordinary stream does not take, and a hostile one may.
    pub(crate) fn spare_work(&self) -> u64 {
        match self.decoder {
            Decoder::Zstd(_) => 0,
            Decoder::Xz { .. } => (XZ_BYTE_WORK - USUAL_XZ_BYTE_WORK) * self.encoded.get(),
        }
    }
}

impl Read for OpStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Zstd(decoder) => decoder.read(out)?,
            Decoder::Xz { input, stream } => read_xz(input, stream, out)?,
        };
        self.size += read as u64;
        Ok(read)
    }
}

/// Reads from an xz stream, which nothing may follow. Errors of the decoder are of the kind `Other`, as an integer of
/// the op stream that is too large is `InvalidData`.
fn read_xz(input: &mut Input<'_>, stream: &mut Stream, out: &mut [u8]) -> io::Result<usize> {
    let mut idle = 0;
    while !out.is_empty() {
        let bytes = input.fill_buf()?;
        let is_end = bytes.is_empty();
        let (taken, given) = (stream.total_in(), stream.total_out());
        let action = if is_end { Action::Finish } else { Action::Run };
        let status = stream.process(bytes, out, action).map_err(io::Error::other)?;
        let taken = usize::try_from(stream.total_in() - taken).unwrap_or(usize::MAX);
        let read = usize::try_from(stream.total_out() - given).unwrap_or(usize::MAX);
        input.consume(taken);
        idle += taken;
        if read > 0 {
            return Ok(read);
        }
        if matches!(status, Status::StreamEnd) {
            return if input.fill_buf()?.is_empty() {
                Ok(0)
            } else {
                Err(refused("bytes follow the xz stream"))
            };
        }
        if is_end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if taken == 0 || idle > MAX_IDLE_XZ {
            return Err(refused("the xz stream goes on and decodes to nothing"));
        }
    }
    Ok(0)
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::other(reason)
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
