//! Writes a delta op by op.

use std::fmt;
use std::io::Write;

use crate::compressor::{Compressor, Encoding};
use crate::wire::{self, MAX_DICT_SIZE, MAX_WRITTEN_ADD_SIZE, MAX_WRITTEN_DATA_SIZE, put_uvarint};
use crate::{Error, Result, SourcePath, Version};

/// What a writer wrote, in bytes and ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Ops of all kinds.
    pub ops: u64,
    /// Bytes of the op stream before compression.
    pub stream_size: u64,
    /// Payload bytes of `Data` ops.
    pub data_size: u64,
    /// Output bytes of `Copy` ops.
    pub copy_size: u64,
    /// Output bytes of `AddData` ops.
    pub add_size: u64,
    /// Payload bytes of `ZstdDict` ops.
    pub zstd_dict_size: u64,
}

/// Writes the ops of a delta.
///
/// It owns the state of the applier: `Open` and `Seek` are written only where the source or the
/// position changes, neighbouring `Data`, `Copy` and `AddData` are merged, and each is split at
/// its limit, so that whatever is written, every reader accepts.
pub struct OpWriter<W: Write> {
    stream: Compressor<W>,
    version: Version,
    /// Ops that are encoded and not given to the compressor yet.
    buffer: Vec<u8>,
    pending: Pending,
    /// The source that the applier has open.
    open: Option<SourcePath>,
    /// The applier's position in it; `None` where the format leaves it undefined.
    position: Option<u64>,
    stats: WriterStats,
}

/// An op that may still grow.
enum Pending {
    None,
    Data(Vec<u8>),
    Copy(u64),
    Add(Vec<u8>),
}

/// Encoded ops that are given to the compressor at once.
const BUFFER_SIZE: usize = 64 << 10;

impl<W: Write> OpWriter<W> {
    /// Writes the magic and starts the frame.
    ///
    /// # Errors
    /// [`Error::Output`] if the output fails or zstd refuses the parameters.
    pub fn new(mut output: W, version: Version, encoding: Encoding) -> Result<Self> {
        output.write_all(&version.magic()).map_err(Error::Output)?;
        let stream = Compressor::new(output, encoding).map_err(Error::Output)?;
        Ok(Self {
            stream,
            version,
            buffer: Vec::with_capacity(2 * BUFFER_SIZE),
            pending: Pending::None,
            open: None,
            position: None,
            stats: WriterStats::default(),
        })
    }

    /// Adds bytes that the delta itself carries.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn literal(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if !matches!(self.pending, Pending::Data(_)) {
                self.flush_pending()?;
                self.pending = Pending::Data(Vec::new());
            }
            let Pending::Data(data) = &mut self.pending else { continue };
            let (now, later) = bytes.split_at(bytes.len().min(MAX_WRITTEN_DATA_SIZE - data.len()));
            data.extend_from_slice(now);
            bytes = later;
            if data.len() == MAX_WRITTEN_DATA_SIZE {
                self.flush_pending()?;
            }
        }
        Ok(())
    }

    /// Adds `size` bytes of `source` that start at `offset`, unchanged.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn copy(&mut self, source: &SourcePath, offset: u64, size: u64) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        if !(matches!(self.pending, Pending::Copy(_)) && self.is_at(source, offset)) {
            self.flush_pending()?;
            self.move_to(source, offset)?;
            self.pending = Pending::Copy(0);
        }
        if let Pending::Copy(pending) = &mut self.pending {
            *pending += size;
        }
        self.position = Some(offset + size);
        self.stats.copy_size += size;
        Ok(())
    }

    /// Adds the bytes of `source` that start at `offset`, each plus the byte of `difference`.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn add(&mut self, source: &SourcePath, offset: u64, difference: &[u8]) -> Result<()> {
        let mut offset = offset;
        let mut rest = difference;
        while !rest.is_empty() {
            if !(matches!(self.pending, Pending::Add(_)) && self.is_at(source, offset)) {
                self.flush_pending()?;
                self.move_to(source, offset)?;
                self.pending = Pending::Add(Vec::new());
            }
            let Pending::Add(pending) = &mut self.pending else { continue };
            let (now, later) = rest.split_at(rest.len().min(MAX_WRITTEN_ADD_SIZE - pending.len()));
            pending.extend_from_slice(now);
            let full = pending.len() == MAX_WRITTEN_ADD_SIZE;
            offset += now.len() as u64;
            self.position = Some(offset);
            self.stats.add_size += now.len() as u64;
            rest = later;
            if full {
                self.flush_pending()?;
            }
        }
        Ok(())
    }

    /// Adds what `frame`, a zstd frame made with the whole of `source` as prefix, decodes to.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the frame is over the limit, [`Error::Output`].
    ///
    /// # Panics
    /// If the delta's version is below [`Version::V2`].
    pub fn zstd_dict(&mut self, source: &SourcePath, frame: &[u8]) -> Result<()> {
        assert!(self.version >= Version::V2, "zstd_dict is an op of tardf2");
        let size = frame.len() as u64;
        if size > MAX_DICT_SIZE {
            return Err(Error::TooLarge { what: "the frame of a zstd_dict op", size, max: MAX_DICT_SIZE });
        }
        self.flush_pending()?;
        if self.open.as_ref() != Some(source) {
            self.write_open(source)?;
        }
        self.write_op(wire::OP_ZSTD_DICT, size)?;
        self.write_bytes(frame)?;
        self.stats.zstd_dict_size += size;
        self.position = None;
        Ok(())
    }

    /// Ends the frame and gives back the output and what was written.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn finish(mut self) -> Result<(W, WriterStats)> {
        self.flush_pending()?;
        self.flush_buffer()?;
        let output = self.stream.finish().map_err(Error::Output)?;
        Ok((output, self.stats))
    }

    fn is_at(&self, source: &SourcePath, offset: u64) -> bool {
        self.position == Some(offset) && self.open.as_ref() == Some(source)
    }

    /// Brings the applier to `offset` in `source`.
    fn move_to(&mut self, source: &SourcePath, offset: u64) -> Result<()> {
        if self.open.as_ref() != Some(source) {
            self.write_open(source)?;
        }
        if self.position != Some(offset) {
            self.write_op(wire::OP_SEEK, offset)?;
            self.position = Some(offset);
        }
        Ok(())
    }

    fn write_open(&mut self, source: &SourcePath) -> Result<()> {
        self.write_op(wire::OP_OPEN, source.as_bytes().len() as u64)?;
        self.write_bytes(source.as_bytes())?;
        self.open = Some(source.clone());
        self.position = Some(0);
        Ok(())
    }

    fn flush_pending(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.pending, Pending::None) {
            Pending::None => Ok(()),
            Pending::Data(bytes) => {
                self.stats.data_size += bytes.len() as u64;
                self.write_op(wire::OP_DATA, bytes.len() as u64)?;
                self.write_bytes(&bytes)
            }
            Pending::Copy(size) => self.write_op(wire::OP_COPY, size),
            Pending::Add(bytes) => {
                self.write_op(wire::OP_ADD_DATA, bytes.len() as u64)?;
                self.write_bytes(&bytes)
            }
        }
    }

    fn write_op(&mut self, code: u8, size: u64) -> Result<()> {
        self.buffer.push(code);
        put_uvarint(&mut self.buffer, size);
        self.stats.ops += 1;
        if self.buffer.len() >= BUFFER_SIZE { self.flush_buffer() } else { Ok(()) }
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() < BUFFER_SIZE {
            self.buffer.extend_from_slice(bytes);
            return if self.buffer.len() >= BUFFER_SIZE { self.flush_buffer() } else { Ok(()) };
        }
        self.flush_buffer()?;
        self.stats.stream_size += bytes.len() as u64;
        self.stream.write_all(bytes).map_err(Error::Output)
    }

    fn flush_buffer(&mut self) -> Result<()> {
        self.stats.stream_size += self.buffer.len() as u64;
        self.stream.write_all(&self.buffer).map_err(Error::Output)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> fmt::Debug for OpWriter<W> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpWriter")
            .field("version", &self.version)
            .field("open", &self.open)
            .field("position", &self.position)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
