//! Writes a delta op by op.

mod encode;

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use crate::compressor::{Compressor, Encoding};
use crate::view::put_reencodings;
use crate::wire::{self, MAX_DICT_SIZE, MAX_RELOCATED_PAYLOAD, MAX_WRITTEN_ADD_SIZE, MAX_WRITTEN_DATA_SIZE};
use crate::{Error, HeaderList, Reencoding, Result, SourcePath, Version, View};

/// The amount that a writer wrote, in bytes and ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct WriterStats {
    /// Ops of all kinds.
    pub ops: u64,
    /// Bytes of the op stream before compression.
    pub stream_size: u64,
    /// Bytes of the op stream that were compressed with all the effort that was asked for, where stretches may
    /// get less ([`Encoding::skip_incompressible`]).
    pub full_effort_size: u64,
    /// Payload bytes of `Data` ops.
    pub data_size: u64,
    /// Output bytes of `Copy` ops.
    pub copy_size: u64,
    /// Output bytes of `AddData` ops.
    pub add_size: u64,
    /// Payload bytes of `ZstdDict` ops.
    pub zstd_dict_size: u64,
    /// Payload bytes of `OpenView` ops.
    pub view_size: u64,
    /// Payload bytes of `Relocated` ops.
    pub relocated_size: u64,
    /// Payload bytes of `Reencode` ops.
    pub reencode_size: u64,
    /// Payload bytes of `Headers` ops.
    pub headers_size: u64,
}

/// A source as ops read it: a file, and the streams of it that are decoded.
#[derive(Debug, Clone, Copy)]
pub struct SourceRef<'s> {
    /// The file.
    pub path: &'s SourcePath,
    /// The view that it is read through, if any.
    pub view: Option<&'s Arc<View>>,
}

impl<'s> From<&'s SourcePath> for SourceRef<'s> {
    fn from(path: &'s SourcePath) -> Self {
        Self { path, view: None }
    }
}

/// The source that the applier has open.
struct Opened {
    path: SourcePath,
    view: Option<Arc<View>>,
}

impl Opened {
    fn is(&self, source: SourceRef<'_>) -> bool {
        self.path == *source.path && self.view.as_ref() == source.view
    }
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
    open: Option<Opened>,
    /// The applier's position in it; `None` where the format leaves it undefined.
    position: Option<u64>,
    /// The last position that was defined: seeks of tardf3 count from it.
    reached: u64,
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
    /// Writes the magic and starts the frame, or the xz stream.
    ///
    /// # Errors
    /// [`Error::Output`] if the output fails or zstd or liblzma refuses the parameters.
    ///
    /// # Panics
    /// If the delta's version is below [`Version::V3`] and the encoding is that of an xz stream.
    pub fn new(mut output: W, version: Version, encoding: Encoding) -> Result<Self> {
        assert!(version >= Version::V3 || encoding.xz_dictionary.is_none(), "tardf3 alone has xz streams");
        output.write_all(&version.magic()).map_err(Error::Output)?;
        let stream = Compressor::new(output, encoding).map_err(Error::Output)?;
        Ok(Self {
            stream,
            version,
            buffer: Vec::with_capacity(2 * BUFFER_SIZE),
            pending: Pending::None,
            open: None,
            position: None,
            reached: 0,
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
    pub fn copy<'s>(&mut self, source: impl Into<SourceRef<'s>>, offset: u64, size: u64) -> Result<()> {
        let source = source.into();
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
        self.move_on(offset + size);
        self.stats.copy_size += size;
        Ok(())
    }

    /// Adds the bytes of `source` that start at `offset`, each plus the byte of `difference`.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn add<'s>(
        &mut self,
        source: impl Into<SourceRef<'s>>,
        offset: u64,
        difference: &[u8],
    ) -> Result<()> {
        let source = source.into();
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
            self.move_on(offset);
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
    /// If the delta's version is below [`Version::V2`], or the source is a view and it is below
    /// [`Version::V3`].
    pub fn zstd_dict<'s>(&mut self, source: impl Into<SourceRef<'s>>, frame: &[u8]) -> Result<()> {
        assert!(self.version >= Version::V2, "zstd_dict is an op of tardf2");
        let source = source.into();
        let size = frame.len() as u64;
        if size > MAX_DICT_SIZE {
            return Err(Error::TooLarge { what: "the frame of a zstd_dict op", size, max: MAX_DICT_SIZE });
        }
        self.flush_pending()?;
        if !self.has_open(source) {
            self.write_open(source)?;
        }
        self.write_op(wire::OP_ZSTD_DICT, size)?;
        self.write_bytes(frame)?;
        self.stats.zstd_dict_size += size;
        self.position = None;
        Ok(())
    }

    /// Adds what `payload` makes of the whole of `source`: a file of `size` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the payload is over the limit, [`Error::Output`].
    ///
    /// # Panics
    /// If the delta's version is below [`Version::V3`].
    pub fn relocated<'s>(&mut self, source: impl Into<SourceRef<'s>>, payload: &[u8]) -> Result<()> {
        assert!(self.version >= Version::V3, "relocated is an op of tardf3");
        let source = source.into();
        let (size, max) = (payload.len() as u64, MAX_RELOCATED_PAYLOAD);
        if size > max {
            return Err(Error::TooLarge { what: "the payload of a relocated op", size, max });
        }
        self.flush_pending()?;
        if !self.has_open(source) {
            self.write_open(source)?;
        }
        self.write_op(wire::OP_RELOCATED, size)?;
        self.write_bytes(payload)?;
        self.stats.relocated_size += size;
        self.position = None;
        Ok(())
    }

    /// Says which stretches of what is added from here on are encoded: the gap of the first starts
    /// here. Stretches of an earlier call must be complete.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the list is over the limit, [`Error::Output`].
    ///
    /// # Panics
    /// If the delta's version is below [`Version::V3`].
    pub fn reencode(&mut self, stretches: &[Reencoding]) -> Result<()> {
        self.flush_pending()?;
        let mut payload = Vec::new();
        put_reencodings(&mut payload, stretches);
        self.stats.reencode_size += payload.len() as u64;
        self.write_listed(wire::OP_REENCODE, "a reencode op", &payload)
    }

    /// Gives the next list of headers. The list before must be used up.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the list is over the limit, [`Error::Output`].
    ///
    /// # Panics
    /// If the delta's version is below [`Version::V3`].
    pub fn headers(&mut self, list: &HeaderList) -> Result<()> {
        self.flush_pending()?;
        self.stats.headers_size += list.payload.len() as u64;
        self.write_listed(wire::OP_HEADERS, "a headers op", &list.payload)
    }

    /// Adds the padding of the entry before and the next `count` entries of the list. `opened` is the source that the
    /// last of them opens for the ops that follow, if it opens one.
    ///
    /// # Errors
    /// [`Error::Output`].
    ///
    /// # Panics
    /// If the delta's version is below [`Version::V3`].
    pub fn entries(&mut self, count: u64, opened: Option<&SourcePath>) -> Result<()> {
        assert!(self.version >= Version::V3, "entries is an op of tardf3");
        self.flush_pending()?;
        self.write_op(wire::OP_ENTRIES, count)?;
        self.open = opened.map(|path| Opened { path: path.clone(), view: None });
        self.move_on(0);
        self.position = opened.map(|_| 0);
        Ok(())
    }

    /// Bytes of the op stream so far, and how many of them are compressed: of the others, threads hold
    /// some and the writer holds some.
    pub fn progress(&self) -> (u64, u64) {
        (self.stats.stream_size, self.stream.compressed())
    }

    /// Ends the frame and gives back the output and what was written.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn finish(self) -> Result<(W, WriterStats)> {
        self.finish_watched(&|_| ())
    }

    /// Does what [`finish`](Self::finish) does. Most of the compression may happen here: `progress` is told
    /// the bytes of the op stream that are compressed so far, again and again.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn finish_watched(mut self, progress: &dyn Fn(u64)) -> Result<(W, WriterStats)> {
        self.flush_pending()?;
        self.flush_buffer()?;
        self.stream.end_stretch().map_err(Error::Output)?;
        self.stats.full_effort_size = self.stream.full_effort();
        let output = self.stream.finish(progress).map_err(Error::Output)?;
        Ok((output, self.stats))
    }
}

impl<W: Write> fmt::Debug for OpWriter<W> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpWriter")
            .field("version", &self.version)
            .field("open", &self.open.as_ref().map(|open| &open.path))
            .field("position", &self.position)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
