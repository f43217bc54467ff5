//! The payload of the op that was read last. That of an add_data op of tardf3 is written as runs, and is given as the
//! differences that they stand for.

use std::io::{self, BufRead, Read};

use super::{OpReader, integer_error, stream_error};
use crate::runs::RunReader;
use crate::view::read_up_to;
use crate::{CorruptKind, Error, Op, Result, Version};

/// The part of a payload that was not read yet.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Bytes that are to be given.
    size: u64,
    /// The run that they are in; `None` if the payload is written as it is.
    runs: Option<RunReader>,
}

impl Unread {
    /// The whole payload of an op.
    pub(super) fn of(op: &Op, version: Version) -> Self {
        let is_runs = version >= Version::V3 && matches!(op, Op::AddData { .. });
        Self { size: op.payload_size(), runs: is_runs.then(RunReader::default) }
    }

    /// The bytes of a buffer of the op stream that belong to it, or to its run.
    fn within<'b>(&self, buffered: &'b [u8]) -> &'b [u8] {
        let size = self.runs.as_ref().map_or(self.size, |runs| runs.others);
        &buffered[..usize::try_from(size).map_or(buffered.len(), |size| size.min(buffered.len()))]
    }

    /// Takes bytes that were given, and returns those of them that stand in the op stream.
    fn take(&mut self, size: usize) -> usize {
        self.size -= size as u64;
        self.runs.as_mut().map_or(size, |runs| runs.take(size))
    }
}

impl OpReader<'_> {
    /// The payload of the op that [`next_op`](Self::next_op) gave last: at most
    /// [`Op::payload_size`] bytes, fewer where they were read before or the delta is truncated. Where the runs of an
    /// `AddData` op of tardf3 are broken or cut off, reading fails with an error that holds an [`Error`].
    pub fn payload(&mut self) -> impl BufRead + '_ {
        Payload(self)
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
        let mut filled = 0;
        while filled < out.len() {
            let bytes = match self.unread.size {
                0 => return Err(self.corrupt_here(CorruptKind::Truncated)),
                _ => self.payload_at_hand()?,
            };
            let size = bytes.len().min(out.len() - filled);
            out[filled..filled + size].copy_from_slice(&bytes[..size]);
            self.consume_payload(size);
            filled += size;
        }
        Ok(())
    }

    /// The part of the payload of the op that was given last that is at hand: at least a byte, where a
    /// byte of it is left.
    pub(crate) fn payload_at_hand(&mut self) -> Result<&[u8]> {
        self.start_run()?;
        if let Some(zeros) = self.unread.runs.as_ref().and_then(RunReader::zeros) {
            return Ok(zeros);
        }
        let op_index = self.op_index();
        match self.stream.fill_buf() {
            Ok([]) => Err(Error::Corrupt { op_index, kind: CorruptKind::Truncated }),
            Ok(bytes) => Ok(self.unread.within(bytes)),
            Err(source) => Err(stream_error(op_index, source)),
        }
    }

    /// Takes bytes that [`payload_at_hand`](Self::payload_at_hand) gave.
    pub(crate) fn consume_payload(&mut self, size: usize) {
        let in_stream = self.unread.take(size);
        self.stream.consume(in_stream);
    }

    /// Reads the whole payload of the op that was given last, whose limit was checked.
    pub(crate) fn read_whole_payload(&mut self, size: u64) -> Result<Vec<u8>> {
        let op_index = self.op_index();
        let bytes =
            read_up_to(&mut self.payload(), size).map_err(|source| Error::Stream { op_index, source })?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(self.corrupt_here(CorruptKind::Truncated)) }
    }

    /// Skips what is left of the payload.
    pub(super) fn skip_payload(&mut self) -> Result<()> {
        while self.unread.size > 0 {
            let skipped = self.payload_at_hand()?.len();
            self.consume_payload(skipped);
        }
        Ok(())
    }

    /// Reads the sizes of the next run, where the payload consists of runs and the one before is at its end.
    fn start_run(&mut self) -> Result<()> {
        let Some(runs) = &mut self.unread.runs else { return Ok(()) };
        if self.unread.size == 0 || !runs.is_at_end() {
            return Ok(());
        }
        match runs.start(&mut self.stream, self.unread.size) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.corrupt_here(CorruptKind::Runs)),
            Err(source) => Err(integer_error(self.op_index(), source)),
        }
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
struct Payload<'r, 'a>(&'r mut OpReader<'a>);

impl Read for Payload<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let size = bytes.len().min(out.len());
        out[..size].copy_from_slice(&bytes[..size]);
        self.consume(size);
        Ok(size)
    }
}

impl BufRead for Payload<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.start_run().map_err(io::Error::other)?;
        let unread = &self.0.unread;
        if let Some(zeros) = unread.runs.as_ref().and_then(RunReader::zeros) {
            return Ok(zeros);
        }
        if unread.size == 0 { Ok(&[]) } else { Ok(unread.within(self.0.stream.fill_buf()?)) }
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume_payload(amount);
    }
}
