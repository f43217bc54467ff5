//! Reads a delta op by op.

mod payload;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

pub use payload::FrameHeader;
use payload::Unread;

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
    unread: Unread,
    /// The position in the source that a seek of tardf3 counts from.
    reached: u64,
}

impl<'a> OpReader<'a> {
    /// Starts reading: takes the magic and prepares the decoder.
    ///
    /// # Errors
    /// [`Error::NotADelta`] if the magic is none of the known ones, [`Error::Stream`] if it cannot
    /// be read.
    pub fn new(input: impl Read + 'a) -> Result<Self> {
        let (mut input, encoded) = counted(input);
        let mut magic = Vec::with_capacity(MAGIC_SIZE);
        (&mut input)
            .take(MAGIC_SIZE as u64)
            .read_to_end(&mut magic)
            .map_err(|source| stream_error(0, source))?;
        let version = <[u8; MAGIC_SIZE]>::try_from(magic.as_slice())
            .ok()
            .and_then(Version::from_magic)
            .ok_or(Error::NotADelta { magic })?;
        let stream = OpStream::new(input, encoded, version).map_err(|source| stream_error(0, source))?;
        Ok(Self { stream, version, op_index: 0, idle_ops: 0, unread: Unread::default(), reached: 0 })
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
            wire::OP_SEEK => Op::Seek { offset: self.seek_offset(size)? },
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
        self.follow(&op);
        self.unread = Unread::of(&op, self.version);
        self.op_index += 1;
        Ok(Some(op))
    }

    /// The error for the op that was given last and breaks a rule.
    pub(crate) fn corrupt_here(&self, kind: CorruptKind) -> Error {
        Error::Corrupt { op_index: self.op_index(), kind }
    }

    /// The error for the op that is being read and breaks a rule.
    fn corrupt(&self, kind: CorruptKind) -> Error {
        Error::Corrupt { op_index: self.op_index, kind }
    }

    /// Reads the code and the size of an op; `None` at the end of the delta.
    fn read_head(&mut self) -> Result<Option<(u8, u64)>> {
        let at_hand = match self.stream.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(at_hand) => at_hand,
            Err(source) => return Err(stream_error(self.op_index, source)),
        };
        // Nearly every op lies in the buffer whole, and there are many of them.
        if let [code, size @ 0..0x80, ..] = *at_hand {
            self.stream.consume(2);
            return Ok(Some((code, size.into())));
        }
        let mut code = [0];
        self.stream.read_exact(&mut code).map_err(|source| stream_error(self.op_index, source))?;
        let size =
            wire::read_uvarint(&mut self.stream).map_err(|source| integer_error(self.op_index, source))?;
        Ok(Some((code[0], size)))
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
        let path_size =
            wire::read_uvarint(&mut rest).map_err(|source| integer_error(self.op_index, source))?;
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
        let bytes =
            read_up_to(&mut self.stream, size).map_err(|source| stream_error(self.op_index, source))?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(self.corrupt(CorruptKind::Truncated)) }
    }

    /// The position that a seek op says: in tardf3 by how far it is from the one that was reached before, with the
    /// sign in the lowest bit.
    fn seek_offset(&self, size: u64) -> Result<u64> {
        if self.version < Version::V3 {
            return Ok(size);
        }
        let distance = size / 2;
        let offset = match size % 2 {
            0 => self.reached.checked_add(distance),
            _ => self.reached.checked_sub(distance).and_then(|offset| offset.checked_sub(1)),
        };
        offset.ok_or_else(|| self.corrupt(CorruptKind::PositionOverflow))
    }

    /// Follows an op to the position that it leads to. Nothing reads there if it overflows.
    const fn follow(&mut self, op: &Op) {
        match *op {
            Op::Open(_) | Op::OpenView { .. } | Op::Entries { .. } => self.reached = 0,
            Op::Copy { size } | Op::AddData { size } => self.reached = self.reached.saturating_add(size),
            Op::Seek { offset } => self.reached = offset,
            Op::Data { .. }
            | Op::ZstdDict { .. }
            | Op::Reencode(_)
            | Op::Relocated { .. }
            | Op::Headers { .. } => {}
        }
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

/// The error for a stream that cannot be read, told apart by what the decoder said.
fn stream_error(op_index: u64, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Corrupt { op_index, kind: CorruptKind::Truncated },
        _ => Error::Stream { op_index, source },
    }
}

/// The error for an integer that cannot be read.
fn integer_error(op_index: u64, source: io::Error) -> Error {
    // The decoder has other kinds of errors for what it finds.
    match source.kind() {
        io::ErrorKind::InvalidData if source.raw_os_error().is_none() => {
            Error::Corrupt { op_index, kind: CorruptKind::Integer }
        }
        _ => stream_error(op_index, source),
    }
}

fn check_limit(what: &'static str, size: u64, max: u64) -> Result<()> {
    if size > max { Err(Error::TooLarge { what, size, max }) } else { Ok(()) }
}
