//! Makes one delta of two that follow each other, without any layer.
//!
//! The first delta says of each byte of the middle layer where it comes from: from the delta itself, or from a file of
//! the old layer, changed or not. The second delta reads files of the middle layer. So each of its ops is one that reads
//! the old layer: a copy of a copy is a copy, a copy of a literal is a literal, and differences add up. The headers of
//! the middle tar, which say where its files lie, are literals of the first delta.
//!
//! The time is linear in the first delta, and in the pieces of the middle layer that the second one reads, with a search
//! among them for each op.
//! The result is larger than a delta that is made of the layers: it carries what the middle layer had and the new one
//! changed again.

mod pieces;

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;

use delta_format::{Encoding, Op, OpReader, OpWriter, SourcePath, Version};
use derive_setters::Setters;
use layer::{MergeOptions, MergedTree, Spool, clean_path, entries};

use crate::{Error, Result};
use pieces::{Origin, Pieces};

/// Most pieces of the middle layer that are written: a layer of 64 GiB has a million of them.
const MAX_PIECES: u64 = 1 << 24;
/// Bytes that are read of literals and differences at one time.
const BUFFER_SIZE: usize = 256 << 10;
const CHUNK: u64 = BUFFER_SIZE as u64;

/// The options for merging deltas.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct DeltaMergeOptions {
    /// The zstd level of the delta.
    pub level: i32,
    /// The threads that compress it.
    pub jobs: NonZeroUsize,
    /// True if whiteouts of the middle layer hide files of its own, as those of an image's layer do.
    pub apply_whiteouts: bool,
    /// The directory for the literals of the middle layer.
    #[setters(into)]
    pub temp_dir: PathBuf,
    /// Most bytes of the middle layer, and of the new one: a delta of some hundred bytes can stand for any number.
    pub max_size: u64,
    /// Most bytes of memory for the origins of its bytes.
    pub memory: u64,
}

impl Default for DeltaMergeOptions {
    /// Level 19, one thread, a layer of at most 64 GiB, and 1 GiB of memory.
    fn default() -> Self {
        let temp_dir = std::env::temp_dir();
        Self {
            level: 19,
            jobs: NonZeroUsize::MIN,
            apply_whiteouts: false,
            temp_dir,
            max_size: 64 << 30,
            memory: 1 << 30,
        }
    }
}

/// The figures of a merge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MergeStats {
    /// Bytes of the middle layer.
    pub middle_size: u64,
    /// Bytes of the new layer.
    pub target_size: u64,
    /// Bytes of it that are copied from the old layer.
    pub copied: u64,
    /// Bytes of it that are differences from the old layer.
    pub added: u64,
    /// Bytes of it that the delta carries.
    pub literal: u64,
}

/// Writes the delta that does what `first` and then `second` do.
///
/// # Errors
/// [`Error::CannotMerge`] if a delta has ops of tardf2 or tardf3, or the second one reads a file that the first one does
/// not make; [`Error::Delta`], [`Error::Layer`] and [`Error::Store`].
pub fn merge<W: Write>(
    first: impl Read,
    second: impl Read,
    options: &DeltaMergeOptions,
    output: W,
) -> Result<(W, MergeStats)> {
    let middle = Middle::read(first, options)?;
    let encoding = Encoding {
        level: options.level,
        workers: u32::try_from(options.jobs.get()).unwrap_or(u32::MAX),
        long_distance: true,
        ..Encoding::default()
    };
    let writer = OpWriter::new(output, Version::V1, encoding)?;
    let mut merger = Merger {
        middle: &middle,
        writer,
        stats: MergeStats::default(),
        max_size: options.max_size,
        written: 0,
    };
    merger.merge(second)?;
    let Merger { writer, mut stats, .. } = merger;
    let (output, written) = writer.finish()?;
    (stats.middle_size, stats.copied, stats.added) =
        (middle.spool.size(), written.copy_size, written.add_size);
    stats.literal = stats.target_size.saturating_sub(stats.copied + stats.added);
    Ok((output, stats))
}

/// The middle layer: its tar, of which only the literals are there, and the origin of each of its bytes.
struct Middle {
    /// A sparse file: what comes from the old layer is a hole.
    spool: Spool,
    pieces: Pieces,
    tree: MergedTree,
}

impl Middle {
    fn read(delta: impl Read, options: &DeltaMergeOptions) -> Result<Self> {
        let file = |action| tempfile::tempfile_in(&options.temp_dir).map_err(|error| stored(error, action));
        let mut tar = file("make")?;
        let mut pieces = Pieces::new(file("make")?);
        let mut reader = open(delta, "first")?;
        let (mut source, mut position) = (None, 0_u64);
        while let Some(op) = reader.next_op()? {
            if pieces.memory() > options.memory {
                let reason =
                    format!("it has so many ops that they take over {} bytes of memory", options.memory);
                return Err(Error::CannotMerge { delta: "first", reason });
            }
            let at = pieces.size();
            let grown = at.checked_add(output_size(&op)).filter(|size| *size <= options.max_size);
            if grown.is_none() {
                let reason = format!("the middle layer has over {} bytes", options.max_size);
                return Err(Error::CannotMerge { delta: "first", reason });
            }
            match op {
                Op::Open(path) => (source, position) = (Some(pieces.source(path)), 0),
                Op::Seek { offset } => position = offset,
                Op::Data { size } => {
                    tar.seek(SeekFrom::Start(at))
                        .and_then(|_| io::copy(&mut reader.payload(), &mut tar))
                        .map_err(|error| stored(error, "write"))?;
                    pieces.push(size, Origin::Literal);
                }
                Op::Copy { size } => {
                    let source = opened(source, "first")?;
                    pieces.push(size, Origin::Copy { source, offset: position });
                    position = advanced(position, size)?;
                }
                Op::AddData { size } => {
                    let source = opened(source, "first")?;
                    pieces
                        .push_add(size, (source, position), &mut reader.payload())
                        .map_err(|error| stored(error, "write"))?;
                    position = advanced(position, size)?;
                }
                other => return Err(unsupported("first", &other)),
            }
        }
        tar.set_len(pieces.size()).map_err(|error| stored(error, "write"))?;
        let spool = Spool::of_file("the middle layer".into(), tar, pieces.size());
        let entries = entries(&spool)?;
        let mut end = 0;
        for entry in &entries {
            if !pieces.are_literals(end..entry.data.start) {
                return Err(headers_are_copied());
            }
            end = entry.data.end.max(end);
        }
        if !pieces.are_literals(end..pieces.size()) {
            return Err(headers_are_copied());
        }
        let merge = MergeOptions::default().apply_whiteouts(options.apply_whiteouts);
        let tree = MergedTree::merge(&[entries], &merge);
        Ok(Self { spool, pieces, tree })
    }
}

/// Writes the merged delta.
struct Merger<'m, W: Write> {
    middle: &'m Middle,
    writer: OpWriter<W>,
    stats: MergeStats,
    /// Most bytes of the new layer.
    max_size: u64,
    /// Pieces that were written so far.
    written: u64,
}

impl<W: Write> Merger<'_, W> {
    fn merge(&mut self, second: impl Read) -> Result<()> {
        let mut reader = open(second, "second")?;
        let (mut source, mut position) = (None, 0_u64);
        let mut buffer = vec![0; BUFFER_SIZE];
        while let Some(op) = reader.next_op()? {
            self.stats.target_size = self.stats.target_size.saturating_add(output_size(&op));
            if self.stats.target_size > self.max_size {
                let reason = format!("the new layer has over {} bytes", self.max_size);
                return Err(Error::CannotMerge { delta: "second", reason });
            }
            match op {
                Op::Open(path) => (source, position) = (Some(self.find(&path)?), 0),
                Op::Seek { offset } => position = offset,
                Op::Data { size } => {
                    let mut left = size;
                    while left > 0 {
                        let part = &mut buffer[..left.min(CHUNK) as usize];
                        reader.read_payload(part)?;
                        self.writer.literal(part)?;
                        left -= part.len() as u64;
                    }
                }
                Op::Copy { size } => {
                    let file: Range<u64> = opened(source.clone(), "second")?;
                    self.read(&file, position, size, None)?;
                    position = advanced(position, size)?;
                }
                Op::AddData { size } => {
                    let file = opened(source.clone(), "second")?;
                    let mut left = size;
                    while left > 0 {
                        let part = &mut buffer[..left.min(CHUNK) as usize];
                        reader.read_payload(part)?;
                        self.read(&file, position, part.len() as u64, Some(part))?;
                        position = advanced(position, part.len() as u64)?;
                        left -= part.len() as u64;
                    }
                }
                other => return Err(unsupported("second", &other)),
            }
        }
        Ok(())
    }

    /// Finds the file of the middle layer that the second delta reads.
    fn find(&self, path: &SourcePath) -> Result<Range<u64>> {
        let clean = clean_path(path.as_bytes());
        let file = clean.as_ref().and_then(|path| self.middle.tree.find(path));
        file.map(|file| file.data.clone()).ok_or_else(|| Error::CannotMerge {
            delta: "second",
            reason: format!(
                "it reads `{}`, which the first delta does not make: it is made from another layer, or from several",
                delta_format::escape_path(path.as_bytes())
            ),
        })
    }

    /// Emits bytes of a file of the middle layer, each plus the byte of `difference` if there is one.
    fn read(&mut self, file: &Range<u64>, position: u64, size: u64, difference: Option<&[u8]>) -> Result<()> {
        let start = file.start.checked_add(position);
        let end = start.and_then(|start| start.checked_add(size)).filter(|end| *end <= file.end);
        let (Some(start), Some(end)) = (start, end) else {
            let reason = "it reads behind the end of a file of the middle layer".to_owned();
            return Err(Error::CannotMerge { delta: "second", reason });
        };
        let mut at = start;
        for piece in self.middle.pieces.of(start..end) {
            self.written += 1;
            if self.written > MAX_PIECES {
                let reason = format!("it reads over {MAX_PIECES} pieces of the middle layer");
                return Err(Error::CannotMerge { delta: "second", reason });
            }
            let mut left = piece.size;
            while left > 0 {
                let part = left.min(CHUNK);
                let skipped = piece.size - left;
                let more = difference.map(|bytes| {
                    let from = usize::try_from(at - start).unwrap_or(usize::MAX);
                    &bytes[from..from + part as usize]
                });
                match piece.origin {
                    Origin::Literal => {
                        let bytes = self.middle.spool.read_range(at..at + part)?;
                        self.writer.literal(&sum(bytes, more))?;
                    }
                    Origin::Copy { source, offset } => {
                        let path = self.middle.pieces.path(source);
                        match more {
                            Some(more) => self.writer.add(path, offset + skipped, more)?,
                            None => self.writer.copy(path, offset + skipped, part)?,
                        }
                    }
                    Origin::Add { source, offset, difference } => {
                        let bytes = self.middle.pieces.difference(difference + skipped, part);
                        let bytes = sum(bytes.map_err(|error| stored(error, "read"))?, more);
                        self.writer.add(self.middle.pieces.path(source), offset + skipped, &bytes)?;
                    }
                }
                (at, left) = (at + part, left - part);
            }
        }
        Ok(())
    }
}

fn open<'a>(delta: impl Read + 'a, which: &'static str) -> Result<OpReader<'a>> {
    let reader = OpReader::new(delta)?;
    match reader.version() {
        Version::V1 => Ok(reader),
        version => {
            let reason = format!("it is a {}, and a tardf1 alone can be merged", version.name());
            Err(Error::CannotMerge { delta: which, reason })
        }
    }
}

fn unsupported(delta: &'static str, op: &Op) -> Error {
    Error::CannotMerge { delta, reason: format!("it has an op that no tardf1 has: {op:?}") }
}

/// Bytes that an op of a tardf1 emits.
fn output_size(op: &Op) -> u64 {
    match op {
        Op::Data { size } | Op::Copy { size } | Op::AddData { size } => *size,
        _ => 0,
    }
}

fn headers_are_copied() -> Error {
    let reason = "it copies the headers of the middle tar from a file, so that only the old layer has them";
    Error::CannotMerge { delta: "first", reason: reason.into() }
}

fn opened<S>(source: Option<S>, delta: &'static str) -> Result<S> {
    let reason = || "it reads before it opens a file".to_owned();
    source.ok_or_else(|| Error::CannotMerge { delta, reason: reason() })
}

fn advanced(position: u64, size: u64) -> Result<u64> {
    let reason = || "it reads behind the end of any file".to_owned();
    position.checked_add(size).ok_or_else(|| Error::CannotMerge { delta: "first", reason: reason() })
}

fn stored(error: io::Error, action: &str) -> Error {
    Error::Store(io::Error::new(error.kind(), format!("cannot {action} a temporary file: {error}")))
}

/// Adds the bytes of `more` to those of `bytes`, wrapping.
fn sum(mut bytes: Vec<u8>, more: Option<&[u8]>) -> Vec<u8> {
    for (byte, more) in bytes.iter_mut().zip(more.into_iter().flatten()) {
        *byte = byte.wrapping_add(*more);
    }
    bytes
}
