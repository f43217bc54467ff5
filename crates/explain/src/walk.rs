//! Walks the ops of a delta along the files of the layer that it makes.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use delta_format::{CorruptKind, Error as DeltaError, Op, OpReader, SourcePath, Version};
use layer::Spool;

use crate::attribution::{Attribution, Part, PartCosts};
use crate::{Error, Result};

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
}

/// Walks all of `delta`, which makes `new`, whose files lie in the ranges of `files`.
///
/// # Errors
/// [`Error::Delta`] if the delta is broken, [`Error::OtherLayer`] if it makes another layer.
pub(crate) fn walk<R: Read + Clone>(delta: R, new: &Spool, files: &[Range<u64>]) -> Result<Walked> {
    let start_error = |source| DeltaError::Stream { op_index: 0, source };
    let mut reader = OpReader::new(delta.clone())?;
    if reader.version() > Version::V2 {
        return Err(Error::NotExplained { version: reader.version().name() });
    }
    let attribution = Attribution::new(delta, files.len() + 1).map_err(start_error)?;
    let mut walk = Walk {
        new,
        layout: Layout { files, next: 0, position: 0 },
        attribution,
        tallies: vec![Tally::default(); files.len() + 1],
        sources: Sources::default(),
        chunk: Vec::new(),
    };
    let mut before = 0;
    while let Some(op) = reader.next_op()? {
        walk.count_op(&op, reader.position() - before).map_err(|error| stream_error(&reader, error))?;
        walk.op(&op, &mut reader)?;
        before = reader.position();
    }
    if walk.layout.position != new.size() {
        return Err(walk.other_layer(walk.layout.position));
    }
    let op_index = reader.op_index();
    let version = reader.version().name();
    let (costs, delta_size) =
        walk.attribution.finish().map_err(|source| DeltaError::Stream { op_index, source })?;
    Ok(Walked { version, delta_size, tallies: walk.tallies, costs, sources: walk.sources.paths })
}

/// The position of the output among the files.
struct Layout<'f> {
    files: &'f [Range<u64>],
    /// The first file that does not end before the position.
    next: usize,
    /// Bytes of output so far.
    position: u64,
}

impl Layout<'_> {
    /// The item at the position, and the bytes up to where it ends.
    fn item(&mut self, end: u64) -> (usize, u64) {
        while self.files.get(self.next).is_some_and(|file| file.end <= self.position) {
            self.next += 1;
        }
        match self.files.get(self.next) {
            Some(file) if file.start <= self.position => (self.next + 1, file.end - self.position),
            Some(file) => (0, file.start - self.position),
            None => (0, end - self.position),
        }
    }
}

#[derive(Default)]
struct Sources {
    paths: Vec<SourcePath>,
    by_path: HashMap<SourcePath, usize>,
    path_bytes: usize,
    /// True if one is open, and its index if it is remembered.
    open: Option<Option<usize>>,
}

impl Sources {
    fn open(&mut self, path: &SourcePath) {
        let mut index = self.by_path.get(path).copied();
        if index.is_none() && self.path_bytes < MAX_PATH_BYTES {
            index = Some(self.paths.len());
            self.path_bytes += path.as_bytes().len() + 64;
            self.by_path.insert(path.clone(), self.paths.len());
            self.paths.push(path.clone());
        }
        self.open = Some(index);
    }
}

struct Walk<'f, R> {
    new: &'f Spool,
    layout: Layout<'f>,
    attribution: Attribution<R>,
    tallies: Vec<Tally>,
    sources: Sources,
    chunk: Vec<u8>,
}

impl<R: Read> Walk<'_, R> {
    /// Counts an op, and its bytes before the payload, to the item that is being made.
    fn count_op(&mut self, op: &Op, size: u64) -> io::Result<()> {
        let (item, _) = self.layout.item(self.new.size());
        self.tallies[item].ops += 1;
        self.tallies[item].opens += u64::from(matches!(op, Op::Open(_)));
        self.attribution.charge(item, Part::Ops, size)
    }

    fn op(&mut self, op: &Op, reader: &mut OpReader<'_>) -> Result<()> {
        let needs_source = !matches!(op, Op::Data { .. } | Op::Open(_));
        if needs_source && self.sources.open.is_none() {
            let op_index = reader.op_index();
            return Err(DeltaError::Corrupt { op_index, kind: CorruptKind::NoSource }.into());
        }
        match *op {
            Op::Data { size } | Op::AddData { size } => {
                self.check_room(size)?;
                self.payload(matches!(op, Op::AddData { .. }), size, reader)
            }
            Op::Open(ref path) => {
                self.sources.open(path);
                Ok(())
            }
            Op::Seek { .. } => Ok(()),
            Op::Copy { size } => {
                self.check_room(size)?;
                self.advance(size, |tally, size| tally.copied += size);
                Ok(())
            }
            Op::ZstdDict { size } => self.frame(size, reader),
            Op::OpenView { .. }
            | Op::Reencode(_)
            | Op::Relocated { .. }
            | Op::Headers { .. }
            | Op::Entries { .. } => {
                unreachable!("ops of tardf3 alone")
            }
        }
    }

    /// Takes the payload of a `data` or `add_data` op.
    fn payload(&mut self, is_add: bool, size: u64, reader: &mut OpReader<'_>) -> Result<()> {
        let op_index = reader.op_index();
        let failed = |source| DeltaError::Stream { op_index, source };
        let mut left = size;
        while left > 0 {
            let (item, room) = self.layout.item(self.new.size());
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
            } else {
                self.chunk.resize(taken, 0);
                self.new.read_exact_at(&mut self.chunk, self.layout.position)?;
                if let Some(at) = self.chunk.iter().zip(bytes).position(|(new, made)| new != made) {
                    return Err(self.other_layer(self.layout.position + at as u64));
                }
            }
            payload.consume(taken);
            let part = if is_add { Part::Add } else { Part::Data };
            self.attribution.charge(item, part, taken as u64).map_err(failed)?;
            left -= taken as u64;
            if is_add {
                self.advance(taken as u64, |tally, size| tally.added += size);
            } else {
                self.tallies[item].data += taken as u64;
                self.layout.position += taken as u64;
            }
        }
        Ok(())
    }

    /// Takes a frame. What it makes cannot be known without its source: what its header announces,
    /// or else the rest of the file.
    fn frame(&mut self, size: u64, reader: &mut OpReader<'_>) -> Result<()> {
        let op_index = reader.op_index();
        let failed = |source| DeltaError::Stream { op_index, source };
        let header = reader.read_frame_header().map_err(failed)?;
        let rest = io::copy(&mut reader.payload(), &mut io::sink()).map_err(failed)?;
        if header.bytes.len() as u64 + rest < size {
            return Err(DeltaError::Corrupt { op_index, kind: CorruptKind::Truncated }.into());
        }
        let (item, room) = self.layout.item(self.new.size());
        self.tallies[item].frames += size;
        self.attribution.charge(item, Part::Frames, size).map_err(failed)?;
        let output = header.content_size.unwrap_or(room);
        self.check_room(output)?;
        self.advance(output, |tally, size| tally.framed += size);
        Ok(())
    }

    /// Moves on by output of the open source, of which `count` is told item by item.
    fn advance(&mut self, mut size: u64, count: impl Fn(&mut Tally, u64)) {
        let source = self.sources.open.flatten();
        while size > 0 {
            let (item, room) = self.layout.item(self.new.size());
            let taken = room.min(size);
            let tally = &mut self.tallies[item];
            count(tally, taken);
            match tally.sources.iter_mut().find(|(index, _)| Some(*index) == source) {
                Some((_, used)) => *used += taken,
                None => match source {
                    Some(index) if tally.sources.len() < MAX_SOURCES => tally.sources.push((index, taken)),
                    _ => tally.more_sources = true,
                },
            }
            self.layout.position += taken;
            size -= taken;
        }
    }

    /// Refuses output past the end of the layer.
    fn check_room(&self, size: u64) -> Result<()> {
        let end = self.layout.position.checked_add(size);
        if end.is_none_or(|end| end > self.new.size()) {
            return Err(self.other_layer(self.new.size()));
        }
        Ok(())
    }

    /// The error for a delta whose output differs from the layer at this offset.
    fn other_layer(&self, offset: u64) -> Error {
        Error::OtherLayer { name: self.new.name().to_owned(), offset }
    }
}

fn stream_error(reader: &OpReader<'_>, source: io::Error) -> DeltaError {
    DeltaError::Stream { op_index: reader.op_index(), source }
}
