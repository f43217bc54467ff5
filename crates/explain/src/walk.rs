//! Walks the ops of a delta along the files of the layer that it makes.

mod layout;
mod tardf3;

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use delta_format::{CorruptKind, Error as DeltaError, Op, OpReader, SourcePath};
use layer::Spool;

use crate::addresses::Predictions;
use crate::attribution::{Attribution, Part, PartCosts};
use crate::old::Old;
use crate::payload::stream_error;
use crate::{AddressGroup, Result};
use layout::Layout;
use tardf3::Entries;

/// Most source files of one target that are remembered.
const MAX_SOURCES: usize = 4;
/// Most bytes of source paths that are remembered. A delta can name any number.
const MAX_PATH_BYTES: usize = 64 << 20;

/// The parts that one file, or all headers together, are made from. Sizes are in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) data: u64,
    pub(crate) copied: u64,
    pub(crate) added: u64,
    /// Bytes added that are not zero.
    pub(crate) changed: u64,
    /// Output of frames.
    pub(crate) framed: u64,
    /// Payload of frames.
    pub(crate) frames: u64,
    /// Output of relocated ops. It is counted as data, added and changed, too.
    pub(crate) relocated: u64,
    /// Output of lists of headers.
    pub(crate) listed: u64,
    /// Output, of all kinds, that is encoded afterwards.
    pub(crate) encoded: u64,
    pub(crate) ops: u64,
    pub(crate) opens: u64,
    /// Sources by index, and the bytes that come of each.
    pub(crate) sources: Vec<(usize, u64)>,
    /// Sources that are not in the list because it is full.
    pub(crate) more_sources: bool,
}

/// The ops of a delta, counted for each item: item 0 is everything between the files, item `i + 1` is file `i`.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) version: &'static str,
    pub(crate) delta_size: u64,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) costs: Vec<PartCosts>,
    pub(crate) sources: Vec<SourcePath>,
    pub(crate) addresses: Vec<AddressGroup>,
}

/// Walks all of `delta`, which makes `new`, whose files lie in the ranges of `files`, of files of the old layers.
///
/// # Errors
/// [`Error::Delta`] if the delta is broken, [`Error::OtherLayer`] if it makes another layer.
pub(crate) fn walk<R: Read + Clone>(
    delta: R,
    new: &Spool,
    files: &[Range<u64>],
    old: &Old<'_>,
) -> Result<Walked> {
    let start_error = |source| DeltaError::Stream { op_index: 0, source };
    let mut reader = OpReader::new(delta.clone())?;
    let attribution = Attribution::new(delta, files.len() + 1).map_err(start_error)?;
    let mut walk = Walk {
        new,
        layout: Layout::new(new, files),
        attribution,
        tallies: vec![Tally::default(); files.len() + 1],
        sources: Sources::default(),
        entries: Entries::default(),
        predictions: Predictions::new(old, new.size()),
        chunk: Vec::new(),
    };
    let mut before = 0;
    while let Some(op) = reader.next_op()? {
        walk.count_op(&op, reader.position() - before)
            .map_err(|error| stream_error(reader.op_index(), error))?;
        walk.op(&op, &mut reader)?;
        before = reader.position();
    }
    if !walk.layout.is_complete() {
        return Err(walk.layout.other_layer());
    }
    let op_index = reader.op_index();
    let version = reader.version().name();
    let (costs, delta_size) =
        walk.attribution.finish().map_err(|source| DeltaError::Stream { op_index, source })?;
    let addresses = walk.predictions.groups();
    Ok(Walked { version, delta_size, tallies: walk.tallies, costs, sources: walk.sources.paths, addresses })
}

#[derive(Default)]
struct Sources {
    paths: Vec<SourcePath>,
    by_path: HashMap<SourcePath, usize>,
    path_bytes: usize,
    /// True if one is open, and its index if it is remembered.
    open: Option<Option<usize>>,
    /// True if the streams of that one are decoded.
    is_view: bool,
}

impl Sources {
    fn open(&mut self, path: &SourcePath, is_view: bool) {
        let mut index = self.by_path.get(path).copied();
        if index.is_none() && self.path_bytes < MAX_PATH_BYTES {
            index = Some(self.paths.len());
            self.path_bytes += path.as_bytes().len() + 64;
            self.by_path.insert(path.clone(), self.paths.len());
            self.paths.push(path.clone());
        }
        self.open = Some(index);
        self.is_view = is_view;
    }

    const fn close(&mut self) {
        self.open = None;
    }

    /// The source that is open, if it is a file as it is.
    fn plain(&self) -> Option<&SourcePath> {
        self.open.flatten().filter(|_| !self.is_view).map(|index| &self.paths[index])
    }
}

struct Walk<'f, R> {
    new: &'f Spool,
    layout: Layout<'f>,
    attribution: Attribution<R>,
    tallies: Vec<Tally>,
    sources: Sources,
    entries: Entries,
    predictions: Predictions<'f>,
    chunk: Vec<u8>,
}

impl<R: Read> Walk<'_, R> {
    /// Counts an op, and its bytes before the payload, to the item that is being made.
    fn count_op(&mut self, op: &Op, size: u64) -> io::Result<()> {
        let (item, _) = self.layout.place();
        self.tallies[item].ops += 1;
        self.tallies[item].opens += u64::from(matches!(op, Op::Open(_) | Op::OpenView { .. }));
        let is_of_streams = matches!(op, Op::OpenView { .. } | Op::Reencode(_));
        self.attribution.charge(item, if is_of_streams { Part::Streams } else { Part::Ops }, size)
    }

    fn op(&mut self, op: &Op, reader: &mut OpReader<'_>) -> Result<()> {
        let needs_source = matches!(
            op,
            Op::Copy { .. }
                | Op::AddData { .. }
                | Op::Seek { .. }
                | Op::ZstdDict { .. }
                | Op::Relocated { .. }
        );
        if needs_source && self.sources.open.is_none() {
            let op_index = reader.op_index();
            return Err(DeltaError::Corrupt { op_index, kind: CorruptKind::NoSource }.into());
        }
        match *op {
            Op::Data { size } | Op::AddData { size } => {
                self.payload(matches!(op, Op::AddData { .. }), size, reader)
            }
            Op::Open(ref path) | Op::OpenView { ref path, .. } => {
                self.sources.open(path, matches!(op, Op::OpenView { .. }));
                Ok(())
            }
            Op::Seek { .. } => Ok(()),
            Op::Copy { size } => self.advance(size, |tally, size| tally.copied += size),
            Op::ZstdDict { size } => self.frame(size, reader),
            Op::Reencode(ref list) => self.layout.expect(list.clone()),
            Op::Relocated { size } => self.relocated(size, reader),
            Op::Headers { size } => self.headers(size, reader),
            Op::Entries { count } => self.entries(count, reader),
        }
    }

    /// Takes the payload of a `data` or `add_data` op.
    fn payload(&mut self, is_add: bool, size: u64, reader: &mut OpReader<'_>) -> Result<()> {
        let op_index = reader.op_index();
        let failed = |source| stream_error(op_index, source);
        let mut left = size;
        while left > 0 {
            let (item, room) = self.layout.place();
            if room == 0 {
                return Err(self.layout.other_layer());
            }
            let before = reader.position();
            let mut payload = reader.payload();
            let bytes = payload.fill_buf().map_err(failed)?;
            if bytes.is_empty() {
                return Err(DeltaError::Corrupt { op_index, kind: CorruptKind::Truncated }.into());
            }
            let taken = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let bytes = &bytes[..taken];
            let tally = &mut self.tallies[item];
            if is_add {
                tally.changed += bytes.iter().map(|byte| u64::from(*byte != 0)).sum::<u64>();
            } else if self.layout.is_plain() {
                let position = self.layout.position();
                self.chunk.resize(taken, 0);
                self.new.read_exact_at(&mut self.chunk, position)?;
                if let Some(at) = self.chunk.iter().zip(bytes).position(|(new, made)| new != made) {
                    return Err(self.layout.other_layer_at(position + at as u64));
                }
            }
            payload.consume(taken);
            drop(payload);
            let part = if is_add { Part::Add } else { Part::Data };
            self.attribution.charge(item, part, reader.position() - before).map_err(failed)?;
            left -= taken as u64;
            if is_add {
                self.advance(taken as u64, |tally, size| tally.added += size)?;
            } else {
                let tally = &mut self.tallies[item];
                tally.data += taken as u64;
                tally.encoded += if self.layout.is_plain() { 0 } else { taken as u64 };
                self.layout.advance(taken as u64)?;
            }
        }
        Ok(())
    }

    /// Takes a frame. What it makes cannot be known without its source: what its header announces,
    /// or else the rest of the file.
    fn frame(&mut self, size: u64, reader: &mut OpReader<'_>) -> Result<()> {
        let op_index = reader.op_index();
        let failed = |source| stream_error(op_index, source);
        let header = reader.read_frame_header().map_err(failed)?;
        let rest = io::copy(&mut reader.payload(), &mut io::sink()).map_err(failed)?;
        if header.bytes.len() as u64 + rest < size {
            return Err(DeltaError::Corrupt { op_index, kind: CorruptKind::Truncated }.into());
        }
        let (item, room) = self.layout.place();
        self.tallies[item].frames += size;
        self.attribution.charge(item, Part::Frames, size).map_err(failed)?;
        let output = header.content_size.unwrap_or(room);
        self.advance(output, |tally, size| tally.framed += size)
    }

    /// Moves on by output of the open source, of which `count` is told item by item.
    ///
    /// # Errors
    /// [`Error::OtherLayer`](crate::Error::OtherLayer) for output past the end of the layer.
    fn advance(&mut self, mut size: u64, count: impl Fn(&mut Tally, u64)) -> Result<()> {
        let open = self.sources.open;
        while size > 0 {
            let (item, room) = self.layout.place();
            let taken = room.min(size);
            if taken == 0 {
                return Err(self.layout.other_layer());
            }
            let tally = &mut self.tallies[item];
            count(tally, taken);
            tally.encoded += if self.layout.is_plain() { 0 } else { taken };
            if let Some(source) = open {
                match tally.sources.iter_mut().find(|(index, _)| Some(*index) == source) {
                    Some((_, used)) => *used += taken,
                    None => match source {
                        Some(index) if tally.sources.len() < MAX_SOURCES => {
                            tally.sources.push((index, taken));
                        }
                        _ => tally.more_sources = true,
                    },
                }
            }
            self.layout.advance(taken)?;
            size -= taken;
        }
        Ok(())
    }
}
