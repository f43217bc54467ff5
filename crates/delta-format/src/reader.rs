//! Reads a delta op by op.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use crate::stream::{OpStream, counted};
use crate::view::{parse_reencodings, parse_view, read_up_to};
use crate::wire::{
    self, MAGIC_SIZE, MAX_ADD_DATA_SIZE, MAX_DICT_SIZE, MAX_IDLE_OPS, MAX_PATH_SIZE, MAX_RELOCATED_PAYLOAD,
    MAX_VIEW_PAYLOAD,
};
use crate::{CorruptKind, Error, Op, Result, SourcePath, Version};

/// Reads the ops of a delta in order.
///
/// Each limit of [`wire`] is checked before memory is taken for what it bounds. The input may end
/// only between two ops.
pub struct OpReader<'a> {
    stream: BufReader<OpStream<'a>>,
    version: Version,
    op_index: u64,
    idle_ops: u64,
    unread: u64,
}

impl<'a> OpReader<'a> {
    /// Starts reading: takes the magic and prepares the decoder.
    ///
    /// # Errors
    /// [`Error::NotADelta`] if the magic is none of the known ones, [`Error::Stream`] if it cannot
    /// be read.
    pub fn new(input: impl Read + 'a) -> Result<Self> {
        let (mut input, encoded) = counted(input);
        let stream_error = |source| Error::Stream { op_index: 0, source };
        let mut magic = Vec::with_capacity(MAGIC_SIZE);
        (&mut input).take(MAGIC_SIZE as u64).read_to_end(&mut magic).map_err(stream_error)?;
        let version = <[u8; MAGIC_SIZE]>::try_from(magic.as_slice())
            .ok()
            .and_then(Version::from_magic)
            .ok_or(Error::NotADelta { magic })?;
        let stream = OpStream::new(input, encoded, version).map_err(stream_error)?;
        Ok(Self { stream, version, op_index: 0, idle_ops: 0, unread: 0 })
    }

    /// The version that the magic announces.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Index of the op that [`next_op`](Self::next_op) gave last, from 0.
    pub const fn op_index(&self) -> u64 {
        self.op_index.saturating_sub(1)
    }

    /// Bytes of the op stream, before compression, that were taken so far: ops, paths and payload.
    pub fn position(&self) -> u64 {
        self.stream.get_ref().size() - self.stream.buffer().len() as u64
    }

    /// The units of work that it took so far to read and decode.
    pub(crate) fn work(&self) -> u64 {
        self.stream.get_ref().work()
    }

    /// The part of [`work`](Self::work) that is charged for what an ordinary delta does not hold.
    pub(crate) fn spare_work(&self) -> u64 {
        self.stream.get_ref().spare_work()
    }

    /// The next op, or `None` at the end of the delta. What is left of the payload of the op
    /// before it is skipped.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Stream`] or [`Error::TooLarge`].
    pub fn next_op(&mut self) -> Result<Option<Op>> {
        self.skip_payload()?;
        let Some((code, size)) = self.read_head()? else { return Ok(None) };
        let op = match code {
            wire::OP_DATA => Op::Data { size },
            wire::OP_OPEN => Op::Open(self.read_path(size)?),
            wire::OP_COPY => Op::Copy { size },
            wire::OP_ADD_DATA => {
                check_limit("an add_data op", size, MAX_ADD_DATA_SIZE)?;
                Op::AddData { size }
            }
            wire::OP_SEEK => Op::Seek { offset: size },
            wire::OP_ZSTD_DICT if self.version >= Version::V2 => {
                check_limit("the frame of a zstd_dict op", size, MAX_DICT_SIZE)?;
                Op::ZstdDict { size }
            }
            wire::OP_OPEN_VIEW if self.version >= Version::V3 => self.read_open_view(size)?,
            wire::OP_REENCODE if self.version >= Version::V3 => {
                check_limit("a reencode op", size, MAX_VIEW_PAYLOAD)?;
                let list = self.read_bytes(size)?;
                Op::Reencode(parse_reencodings(&list).map_err(|kind| self.corrupt(kind))?)
            }
            wire::OP_RELOCATED if self.version >= Version::V3 => {
                check_limit("the payload of a relocated op", size, MAX_RELOCATED_PAYLOAD)?;
                Op::Relocated { size }
            }
            wire::OP_HEADERS if self.version >= Version::V3 => {
                check_limit("a headers op", size, MAX_VIEW_PAYLOAD)?;
                Op::Headers { size }
            }
            wire::OP_ENTRIES if self.version >= Version::V3 => Op::Entries { count: size },
            other => return Err(self.corrupt(CorruptKind::UnknownOp(other))),
        };
        self.count_idle(&op)?;
        self.unread = op.payload_size();
        self.op_index += 1;
        Ok(Some(op))
    }

    /// The payload of the op that [`next_op`](Self::next_op) gave last: at most
    /// [`Op::payload_size`] bytes, fewer where they were read before or the delta is truncated.
    pub fn payload(&mut self) -> impl BufRead + '_ {
        Payload { stream: &mut self.stream, unread: &mut self.unread }
    }

    /// Reads the header of the frame that is the payload of a `ZstdDict` op.
    ///
    /// # Errors
    /// Those of the stream. A header that is cut off or broken announces no size.
    pub fn read_frame_header(&mut self) -> io::Result<FrameHeader> {
        let mut bytes = Vec::new();
        self.payload().take(MAX_FRAME_HEADER_SIZE).read_to_end(&mut bytes)?;
        let content_size = zstd::zstd_safe::get_frame_content_size(&bytes).ok().flatten();
        Ok(FrameHeader { bytes, content_size })
    }

    /// Fills `out` from the payload of the op that [`next_op`](Self::next_op) gave last.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the payload is shorter, [`Error::Stream`].
    pub fn read_payload(&mut self, out: &mut [u8]) -> Result<()> {
        let read = self.payload().read_exact(out);
        read.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt_here(CorruptKind::Truncated),
            _ => Error::Stream { op_index: self.op_index(), source },
        })
    }

    /// The error for the op that was given last and breaks a rule.
    pub(crate) fn corrupt_here(&self, kind: CorruptKind) -> Error {
        Error::Corrupt { op_index: self.op_index(), kind }
    }

    /// The error for the op that is being read and breaks a rule.
    fn corrupt(&self, kind: CorruptKind) -> Error {
        Error::Corrupt { op_index: self.op_index, kind }
    }

    /// The error for a stream that cannot be read, told apart by what the decoder said.
    fn stream_error(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(CorruptKind::Truncated),
            _ => Error::Stream { op_index: self.op_index, source },
        }
    }

    /// The error for an integer that cannot be read.
    fn integer_error(&self, source: io::Error) -> Error {
        // The decoder has other kinds of errors for what it finds.
        match source.kind() {
            io::ErrorKind::InvalidData if source.raw_os_error().is_none() => {
                self.corrupt(CorruptKind::Integer)
            }
            _ => self.stream_error(source),
        }
    }

    /// Reads the code and the size of an op; `None` at the end of the delta.
    fn read_head(&mut self) -> Result<Option<(u8, u64)>> {
        let at_hand = match self.stream.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(at_hand) => at_hand,
            Err(source) => return Err(self.stream_error(source)),
        };
        // Nearly every op lies in the buffer whole, and there are many of them.
        if let [code, size @ 0..0x80, ..] = *at_hand {
            self.stream.consume(2);
            return Ok(Some((code, size.into())));
        }
        let mut code = [0];
        self.stream.read_exact(&mut code).map_err(|source| self.stream_error(source))?;
        let size = wire::read_uvarint(&mut self.stream).map_err(|source| self.integer_error(source))?;
        Ok(Some((code[0], size)))
    }

    /// The part of the payload of the op that was given last that is buffered: at least a byte, where a
    /// byte of it is left.
    pub(crate) fn payload_at_hand(&mut self) -> Result<&[u8]> {
        let op_index = self.op_index();
        match self.stream.fill_buf() {
            Ok([]) => Err(Error::Corrupt { op_index, kind: CorruptKind::Truncated }),
            Ok(bytes) => {
                Ok(&bytes
                    [..usize::try_from(self.unread).map_or(bytes.len(), |unread| unread.min(bytes.len()))])
            }
            Err(source) => Err(Error::Stream { op_index, source }),
        }
    }

    /// Takes bytes that [`payload_at_hand`](Self::payload_at_hand) gave.
    pub(crate) fn consume_payload(&mut self, size: usize) {
        self.stream.consume(size);
        self.unread -= size as u64;
    }

    /// Reads the whole payload of the op that was given last, whose limit was checked.
    pub(crate) fn read_whole_payload(&mut self, size: u64) -> Result<Vec<u8>> {
        let op_index = self.op_index();
        let bytes =
            read_up_to(&mut self.payload(), size).map_err(|source| Error::Stream { op_index, source })?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(self.corrupt_here(CorruptKind::Truncated)) }
    }

    fn read_path(&mut self, size: u64) -> Result<SourcePath> {
        check_limit("a source path", size, MAX_PATH_SIZE)?;
        let bytes = self.read_bytes(size)?;
        SourcePath::new(&bytes).map_err(|error| self.corrupt(error.into()))
    }

    /// Reads the path and the view that an `OpenView` op of `size` bytes carries.
    fn read_open_view(&mut self, size: u64) -> Result<Op> {
        check_limit("an open_view op", size, MAX_VIEW_PAYLOAD)?;
        let payload = self.read_bytes(size)?;
        let mut rest = payload.as_slice();
        let path_size = wire::read_uvarint(&mut rest).map_err(|source| self.integer_error(source))?;
        check_limit("a source path", path_size, MAX_PATH_SIZE)?;
        let path_size = usize::try_from(path_size).unwrap_or(usize::MAX);
        let (path, view) =
            rest.split_at_checked(path_size).ok_or_else(|| self.corrupt(CorruptKind::Truncated))?;
        let path = SourcePath::new(path).map_err(|error| self.corrupt(error.into()))?;
        let view = parse_view(view).map_err(|kind| self.corrupt(kind))?;
        Ok(Op::OpenView { path, view })
    }

    /// Reads exactly `size` bytes, whose limit was checked.
    fn read_bytes(&mut self, size: u64) -> Result<Vec<u8>> {
        let bytes = read_up_to(&mut self.stream, size).map_err(|source| self.stream_error(source))?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(self.corrupt(CorruptKind::Truncated)) }
    }

    fn count_idle(&mut self, op: &Op) -> Result<()> {
        let emits = match *op {
            Op::Data { size } | Op::Copy { size } | Op::AddData { size } | Op::Entries { count: size } => {
                size > 0
            }
            Op::Open(_)
            | Op::Seek { .. }
            | Op::ZstdDict { .. }
            | Op::OpenView { .. }
            | Op::Reencode(_)
            | Op::Headers { .. }
            | Op::Relocated { .. } => false,
        };
        self.idle_ops = if emits { 0 } else { self.idle_ops + 1 };
        if self.idle_ops > MAX_IDLE_OPS {
            return Err(self.corrupt(CorruptKind::Idle));
        }
        Ok(())
    }

    fn skip_payload(&mut self) -> Result<()> {
        while self.unread > 0 {
            let available = self
                .stream
                .fill_buf()
                .map_err(|source| Error::Stream { op_index: self.op_index, source })?
                .len();
            if available == 0 {
                return Err(self.corrupt(CorruptKind::Truncated));
            }
            let skipped = usize::try_from(self.unread).map_or(available, |unread| unread.min(available));
            self.stream.consume(skipped);
            self.unread -= skipped as u64;
        }
        Ok(())
    }
}

impl fmt::Debug for OpReader<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpReader")
            .field("version", &self.version)
            .field("op_index", &self.op_index)
            .field("unread", &self.unread)
            .finish_non_exhaustive()
    }
}

/// The start of a zstd frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHeader {
    /// Its first bytes: at least the header, at most the longest one.
    pub bytes: Vec<u8>,
    /// The size of the decoded frame in bytes, if the header says it.
    pub content_size: Option<u64>,
}

/// Most bytes of a zstd frame header (RFC 8878, 3.1.1: 4 + 14).
const MAX_FRAME_HEADER_SIZE: u64 = 18;

/// The rest of one op's payload.
struct Payload<'r, S> {
    stream: &'r mut S,
    unread: &'r mut u64,
}

impl<S: BufRead> Read for Payload<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let allowed = usize::try_from(*self.unread).map_or(out.len(), |unread| unread.min(out.len()));
        let read = self.stream.read(&mut out[..allowed])?;
        *self.unread -= read as u64;
        Ok(read)
    }
}

impl<S: BufRead> BufRead for Payload<'_, S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if *self.unread == 0 {
            return Ok(&[]);
        }
        let bytes = self.stream.fill_buf()?;
        let allowed = usize::try_from(*self.unread).map_or(bytes.len(), |unread| unread.min(bytes.len()));
        Ok(&bytes[..allowed])
    }

    fn consume(&mut self, amount: usize) {
        self.stream.consume(amount);
        *self.unread -= amount as u64;
    }
}

fn check_limit(what: &'static str, size: u64, max: u64) -> Result<()> {
    if size > max { Err(Error::TooLarge { what, size, max }) } else { Ok(()) }
}
