//! Reads the ops of a delta as ops that read the old layers.

use std::io::{Read, Write};
use std::ops::Range;

use delta_format::{Op, OpReader, OpWriter, SourcePath, Version};

use super::files::{Content, File};
use super::pieces::{Origin, Piece};
use super::{DeltaMerger, Reads, stored};
use crate::{Error, Result};

/// Most pieces of middle layers that are read: a layer of 64 GiB has a million of them.
const MAX_PIECES: u64 = 1 << 24;
/// Bytes that are read of literals and differences at one time.
const BUFFER_SIZE: usize = 256 << 10;
const CHUNK: u64 = BUFFER_SIZE as u64;
/// Differences of zero from here on are a copy: an op costs less than they do.
const MIN_COPY: usize = 256;

/// A place in a file of the old layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    /// The number of the file, and its path.
    pub(super) source: usize,
    pub(super) path: &'p SourcePath,
    pub(super) offset: u64,
}

/// The layer, or the delta, that ops are for.
pub(super) trait Sink {
    fn literal(&mut self, bytes: &[u8]) -> Result<()>;
    fn copy(&mut self, from: Place<'_>, size: u64) -> Result<()>;
    fn add(&mut self, to: Place<'_>, difference: &[u8]) -> Result<()>;
    /// Bytes of memory that it takes.
    fn memory(&self) -> u64;
    /// Bytes that it keeps in files.
    fn stored(&self) -> u64;
}

impl<W: Write> Sink for OpWriter<W> {
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(Self::literal(self, bytes)?)
    }

    fn copy(&mut self, from: Place<'_>, size: u64) -> Result<()> {
        Ok(Self::copy(self, from.path, from.offset, size)?)
    }

    /// Writes zeros as copies: the changes of two deltas that cancel each other leave them, and they cost the
    /// compressor much time.
    fn add(&mut self, to: Place<'_>, difference: &[u8]) -> Result<()> {
        let mut offset = to.offset;
        for part in difference.chunk_by(|one, other| (*one == 0) == (*other == 0)) {
            let size = part.len() as u64;
            if part.len() >= MIN_COPY && part[0] == 0 {
                Self::copy(self, to.path, offset, size)?;
            } else {
                Self::add(self, to.path, offset, part)?;
            }
            offset += size;
        }
        Ok(())
    }

    fn memory(&self) -> u64 {
        0
    }

    fn stored(&self) -> u64 {
        0
    }
}

/// The amount of work that was done, and of bytes that are kept.
#[derive(Debug, Default)]
pub(super) struct Written {
    pieces: u64,
    stored: u64,
}

/// Bytes of a file, some of which are read with a difference.
struct Stretch<'s> {
    file: &'s File,
    position: u64,
    size: u64,
    /// As many bytes, if there are any.
    difference: Option<&'s [u8]>,
}

impl DeltaMerger {
    /// Gives the ops of a delta to a sink, as ones that read the old layers. Returns the size of the layer
    /// that it makes.
    pub(super) fn compose(
        &mut self,
        which: &'static str,
        delta: impl Read,
        reads: &Reads,
        sink: &mut impl Sink,
    ) -> Result<u64> {
        let cannot = |reason: String| Error::CannotMerge { delta: which, reason };
        let mut reader = OpReader::new(delta)?;
        if reader.version() != Version::V1 {
            let name = reader.version().name();
            return Err(cannot(format!("it is a {name}, and a tardf1 alone can be merged")));
        }
        let tree = self.layers.tree(reads);
        let kept = self.layers.pieces_memory();
        let (mut file, mut position, mut made) = (None::<File>, 0_u64, 0_u64);
        let mut buffer = vec![0; BUFFER_SIZE];
        while let Some(op) = reader.next_op()? {
            let (is_read, size) = match op {
                Op::Open(path) => {
                    (file, position) = (Some(self.layers.open(&tree, path, which)?), 0);
                    continue;
                }
                Op::Seek { offset } => {
                    position = offset;
                    continue;
                }
                Op::Data { size } => (false, size),
                Op::Copy { size } | Op::AddData { size } => (true, size),
                other => return Err(cannot(format!("it has an op that no tardf1 has: {other:?}"))),
            };
            made = made.saturating_add(size);
            if made > self.options.max_size {
                return Err(cannot(format!("its layer has over {} bytes", self.options.max_size)));
            }
            if kept.saturating_add(self.layers.sources_memory()).saturating_add(sink.memory())
                > self.options.memory
            {
                let max = self.options.memory;
                return Err(cannot(format!("it has so many ops that they take over {max} bytes of memory")));
            }
            let file = match &file {
                Some(file) => file,
                None if !is_read => &File::Old { source: 0, size: None },
                None => return Err(cannot("it reads before it opens a file".into())),
            };
            if matches!(op, Op::Copy { .. }) {
                self.read(which, &Stretch { file, position, size, difference: None }, sink)?;
            } else {
                for start in (0..size).step_by(BUFFER_SIZE) {
                    let part = &mut buffer[..(size - start).min(CHUNK) as usize];
                    reader.read_payload(part)?;
                    if is_read {
                        let (position, size) = (position.saturating_add(start), part.len() as u64);
                        let difference = Some(&*part);
                        self.read(which, &Stretch { file, position, size, difference }, sink)?;
                    } else {
                        sink.literal(part)?;
                        self.check_stored(which, sink)?;
                    }
                }
            }
            if is_read {
                position = position
                    .checked_add(size)
                    .ok_or_else(|| cannot("it reads behind the end of any file".into()))?;
            }
        }
        self.written.stored = self.written.stored.saturating_add(sink.stored());
        Ok(made)
    }

    /// Gives bytes of a file to a sink, by the places in the old layers that they come from.
    fn read(&mut self, which: &'static str, stretch: &Stretch<'_>, sink: &mut impl Sink) -> Result<()> {
        let Stretch { file, position, size, difference } = *stretch;
        let behind = || {
            let reason = "it reads behind the end of a file of the layers before".to_owned();
            Error::CannotMerge { delta: which, reason }
        };
        let end = position.checked_add(size).ok_or_else(behind)?;
        let (layer, range): (usize, Range<u64>) = match file {
            File::Old { source, size: max } => {
                if max.is_some_and(|max| end > max) {
                    return Err(behind());
                }
                let (source, path) = (*source, self.layers.path(*source));
                let place = Place { source, path, offset: position };
                return match difference {
                    Some(difference) => sink.add(place, difference),
                    None => sink.copy(place, size),
                };
            }
            File::InLayer { layer, data } => {
                let end = data.start.checked_add(end).filter(|end| *end <= data.end).ok_or_else(behind)?;
                (*layer, end - size..end)
            }
        };
        let of_layer = self.layers.get(layer);
        let whole = Piece { size, origin: Origin::Literal };
        let pieces: &mut dyn Iterator<Item = Piece> = match &of_layer.content {
            Content::Tar => &mut std::iter::once(whole),
            Content::Made(pieces) => &mut pieces.of(range.clone()),
        };
        let (mut at, mut bytes) = (range.start, Vec::new());
        for piece in pieces {
            self.written.pieces += 1;
            if self.written.pieces > MAX_PIECES {
                let reason = format!("over {MAX_PIECES} pieces of the layers before would be read");
                return Err(Error::CannotMerge { delta: which, reason });
            }
            for skipped in (0..piece.size).step_by(BUFFER_SIZE) {
                let part = (piece.size - skipped).min(CHUNK);
                let more = difference.map(|bytes| {
                    let from = usize::try_from(at - range.start).unwrap_or(usize::MAX);
                    &bytes[from..from + part as usize]
                });
                let place = |source: usize, offset: u64| Place {
                    source,
                    path: self.layers.path(source),
                    offset: offset + skipped,
                };
                bytes.resize(part as usize, 0);
                match piece.origin {
                    Origin::Literal => {
                        of_layer.spool.read_exact_at(&mut bytes, at)?;
                        sink.literal(sum(&mut bytes, more))?;
                    }
                    Origin::Copy { source, offset } => match more {
                        Some(more) => sink.add(place(source, offset), more)?,
                        None => sink.copy(place(source, offset), part)?,
                    },
                    Origin::Add { source, offset, difference } => {
                        if let Content::Made(pieces) = &of_layer.content {
                            let read = pieces.read_difference(&mut bytes, difference + skipped);
                            read.map_err(|error| stored(error, "read"))?;
                        }
                        sink.add(place(source, offset), sum(&mut bytes, more))?;
                    }
                }
                at += part;
                self.check_stored(which, sink)?;
            }
        }
        Ok(())
    }

    /// Refuses to keep more bytes of middle layers than the options allow.
    fn check_stored(&self, which: &'static str, sink: &impl Sink) -> Result<()> {
        let max = self.options.max_size;
        if self.written.stored.saturating_add(sink.stored()) <= max {
            return Ok(());
        }
        let reason = format!("over {max} bytes of the middle layers would be kept");
        Err(Error::CannotMerge { delta: which, reason })
    }
}

/// Adds the bytes of `more` to those of `bytes`, wrapping.
fn sum<'b>(bytes: &'b mut [u8], more: Option<&[u8]>) -> &'b [u8] {
    for (byte, more) in bytes.iter_mut().zip(more.into_iter().flatten()) {
        *byte = byte.wrapping_add(*more);
    }
    bytes
}
