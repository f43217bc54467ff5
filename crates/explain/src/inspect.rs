//! A summary of a delta, from the delta alone.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use delta_format::{Content, HeaderReader, Op, OpReader, SourcePath};

use crate::payload::{read_payload, stream_error};
use crate::{RelocatedParts, Result};

/// Most source files that are listed. A delta can name any number; a layer has fewer.
const MAX_SOURCES: usize = 1 << 18;
/// Most bytes of their paths, which are held twice.
const MAX_PATH_BYTES: usize = 64 << 20;

/// The ops and the sources of a delta. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Summary {
    /// The version: `tardf1`, `tardf2` or `tardf3`.
    pub version: &'static str,
    /// The delta itself.
    pub delta_size: u64,
    /// The op stream before compression.
    pub stream_size: u64,
    /// The layer that it makes. Where it has `zstd_dict` ops: what their frames announce; where it
    /// has `reencode` ops: what is encoded counts as it is before. Without the files that `entries` ops take whole.
    pub output_size: u64,
    /// `data` ops: bytes that the delta carries.
    pub data: OpTotals,
    /// `open` ops.
    pub open: OpTotals,
    /// `copy` ops: bytes taken from a source as they are.
    pub copy: OpTotals,
    /// `add_data` ops: bytes added to those of a source.
    pub add_data: OpTotals,
    /// Differences of `add_data` ops that are zero: source bytes that stay as they are.
    pub add_zeros: u64,
    /// `seek` ops.
    pub seek: OpTotals,
    /// `relocated` ops: files made of a whole source, with what moved in it predicted.
    pub relocated: OpTotals,
    /// The parts of the payloads of `relocated` ops, in bytes before compression.
    pub relocated_parts: RelocatedParts,
    /// `zstd_dict` ops: frames decoded with a source as their prefix.
    pub zstd_dict: OpTotals,
    /// `open_view` ops: sources read with their compressed streams decoded.
    pub open_view: OpTotals,
    /// `reencode` ops: their output is what stretches of the output of other ops are encoded from.
    pub reencode: OpTotals,
    /// `headers` ops: lists of tar headers.
    pub headers: OpTotals,
    /// `entries` ops. Their output is headers, long names and nothing else: files that are whole sources are
    /// not counted, as their sizes stand nowhere in the delta.
    pub entries: OpTotals,
    /// Entries whose content is a whole source.
    pub whole_sources: u64,
    /// The source files, most payload first, then most bytes read.
    pub sources: Vec<SourceUse>,
    /// `open` ops of files that are not in `sources` because it is full (2^18 files, 64 MiB of paths).
    pub unlisted_opens: u64,
}

/// All ops of one kind. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct OpTotals {
    /// The number of ops.
    pub ops: u64,
    /// Their payload in the op stream, before compression. Of `open_view` and `reencode` ops: all
    /// that they take there.
    pub payload: u64,
    /// Bytes that they emit. Of `reencode` ops: bytes that are encoded.
    pub output: u64,
}

/// The use that a delta makes of one source file. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SourceUse {
    /// The file.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize_path"))]
    pub path: SourcePath,
    /// `open` ops that name it.
    pub opens: u64,
    /// Bytes copied from it.
    pub copied: u64,
    /// Bytes of it that others are added to.
    pub added: u64,
    /// Frames that have it as their prefix, and `relocated` ops: each reads all of it.
    pub frames: u64,
    /// Payload that its `add_data`, `zstd_dict` and `relocated` ops carry.
    pub payload: u64,
}

#[cfg(feature = "serde")]
fn serialize_path<S: serde::Serializer>(path: &SourcePath, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(path)
}

impl Summary {
    /// Reads the whole delta. No source file is needed, and none of what the delta says about them
    /// can be checked.
    ///
    /// # Errors
    /// [`Error::Delta`](crate::Error::Delta) if the delta is broken.
    pub fn read(delta: impl Read) -> Result<Self> {
        let delta_size = Cell::new(0);
        let mut reader = OpReader::new(Counted { inner: delta, size: &delta_size })?;
        let mut summary = Self { version: reader.version().name(), ..Self::default() };
        let mut sources = Sources::default();
        let mut headers = HeaderReader::default();
        loop {
            let before = reader.position();
            let Some(op) = reader.next_op()? else { break };
            summary.count_list(&op, reader.position() - before);
            summary.count(&op, &mut reader, &mut sources, &mut headers)?;
        }
        summary.stream_size = reader.position();
        drop(reader);
        summary.delta_size = delta_size.get();
        summary.unlisted_opens = sources.unlisted_opens;
        summary.sources = sources.uses;
        summary
            .sources
            .sort_by_key(|file| std::cmp::Reverse((file.payload, file.copied.saturating_add(file.added))));
        Ok(summary)
    }

    /// The totals of each kind of op, by its name.
    pub fn by_kind(&self) -> [(&'static str, OpTotals); 11] {
        [
            ("data", self.data),
            ("open", self.open),
            ("copy", self.copy),
            ("add_data", self.add_data),
            ("seek", self.seek),
            ("zstd_dict", self.zstd_dict),
            ("open_view", self.open_view),
            ("reencode", self.reencode),
            ("relocated", self.relocated),
            ("headers", self.headers),
            ("entries", self.entries),
        ]
    }

    fn count(
        &mut self,
        op: &Op,
        reader: &mut OpReader<'_>,
        sources: &mut Sources,
        headers: &mut HeaderReader,
    ) -> Result<()> {
        let start = reader.position();
        let mut payload = match op {
            Op::Open(path) => path.as_bytes().len() as u64,
            other => other.payload_size(),
        };
        let (totals, output) = match *op {
            Op::Data { size } => (&mut self.data, size),
            Op::Open(ref path) => {
                sources.open(path);
                (&mut self.open, 0)
            }
            Op::Copy { size } => {
                sources.current(|file| file.copied = file.copied.saturating_add(size));
                (&mut self.copy, size)
            }
            Op::AddData { size } => {
                self.add_zeros +=
                    count_zeros(reader.payload()).map_err(|error| stream_error(reader.op_index(), error))?;
                // In a tardf3 it is written as runs.
                payload = reader.position() - start;
                sources.current(|file| {
                    file.added += size;
                    file.payload += payload;
                });
                (&mut self.add_data, size)
            }
            Op::Seek { .. } => (&mut self.seek, 0),
            Op::ZstdDict { size } => {
                let header =
                    reader.read_frame_header().map_err(|error| stream_error(reader.op_index(), error))?;
                let output = header.content_size.unwrap_or(0);
                sources.current(|file| {
                    file.frames += 1;
                    file.payload += size;
                });
                (&mut self.zstd_dict, output)
            }
            Op::OpenView { ref path, .. } => {
                sources.open(path);
                (&mut self.open_view, 0)
            }
            Op::Reencode(_) => (&mut self.reencode, 0),
            Op::Relocated { size } => {
                let payload = read_payload(reader)?;
                // One that is broken is told when it is applied.
                let output = program::Payload::parse(&payload, None).map_or(0, |payload| {
                    self.relocated_parts.add(&payload);
                    payload.size() as u64
                });
                sources.current(|file| {
                    file.frames += 1;
                    file.payload += size;
                });
                (&mut self.relocated, output)
            }
            Op::Headers { .. } => {
                let payload = read_payload(reader)?;
                // As above: what is broken is told when it is applied.
                if headers.start(payload).is_err() {
                    *headers = HeaderReader::default();
                }
                (&mut self.headers, 0)
            }
            Op::Entries { count } => {
                let mut output = 0;
                let mut made = Vec::new();
                sources.open = None;
                for _ in 0..count {
                    let Ok(draft) = headers.next() else { break };
                    sources.open = None;
                    if let Some(path) = draft.path() {
                        sources.open(path);
                    }
                    self.whole_sources += u64::from(draft.content() == Content::Whole);
                    made.clear();
                    if headers.finish(&draft, draft.size(), &mut made).is_err() {
                        break;
                    }
                    output += made.len() as u64;
                }
                (&mut self.entries, output)
            }
        };
        totals.ops += 1;
        // A delta can claim any size before its payload turns out to be missing.
        totals.payload = totals.payload.saturating_add(payload);
        totals.output = totals.output.saturating_add(output);
        self.output_size = self.output_size.saturating_add(output);
        Ok(())
    }

    /// Counts what the lists of tardf3 take in the op stream, and what they are for.
    fn count_list(&mut self, op: &Op, taken: u64) {
        match op {
            Op::OpenView { .. } => self.open_view.payload += taken,
            Op::Reencode(list) => {
                self.reencode.payload += taken;
                let plain = list.iter().map(|stretch| stretch.size).sum::<u64>();
                self.reencode.output = self.reencode.output.saturating_add(plain);
            }
            _ => {}
        }
    }
}

/// The source files so far, and which one is open.
#[derive(Default)]
struct Sources {
    uses: Vec<SourceUse>,
    by_path: HashMap<SourcePath, usize>,
    path_bytes: usize,
    open: Option<usize>,
    unlisted_opens: u64,
}

impl Sources {
    fn open(&mut self, path: &SourcePath) {
        self.open = self.by_path.get(path).copied();
        let has_room = self.uses.len() < MAX_SOURCES && self.path_bytes < MAX_PATH_BYTES;
        if self.open.is_none() && has_room {
            self.open = Some(self.uses.len());
            self.path_bytes += path.as_bytes().len();
            self.by_path.insert(path.clone(), self.uses.len());
            let path = path.clone();
            self.uses.push(SourceUse { path, opens: 0, copied: 0, added: 0, frames: 0, payload: 0 });
        }
        self.unlisted_opens += u64::from(self.open.is_none());
        self.current(|file| file.opens += 1);
    }

    fn current(&mut self, change: impl FnOnce(&mut SourceUse)) {
        if let Some(file) = self.open.and_then(|index| self.uses.get_mut(index)) {
            change(file);
        }
    }
}

fn count_zeros(mut payload: impl BufRead) -> io::Result<u64> {
    let mut zeros = 0;
    loop {
        let bytes = payload.fill_buf()?;
        let size = bytes.len();
        if size == 0 {
            return Ok(zeros);
        }
        zeros += bytes.iter().map(|&byte| u64::from(byte == 0)).sum::<u64>();
        payload.consume(size);
    }
}

/// Counts what is read through it.
struct Counted<'c, R> {
    inner: R,
    size: &'c Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.size.set(self.size.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use delta_format::{Encoding, OpWriter, Version};

    use super::*;

    fn path(text: &str) -> SourcePath {
        SourcePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn agrees_with_the_writer() {
        let mut writer = OpWriter::new(Vec::new(), Version::V2, Encoding::default()).unwrap();
        writer.literal(b"header").unwrap();
        writer.copy(&path("a"), 300, 20).unwrap();
        writer.add(&path("b"), 0, &[0, 1, 0]).unwrap();
        writer.zstd_dict(&path("b"), &zstd::bulk::compress(&[7; 50], 3).unwrap()).unwrap();
        let (delta, stats) = writer.finish().unwrap();
        let summary = Summary::read(delta.as_slice()).unwrap();
        assert_eq!(summary.version, "tardf2");
        assert_eq!(summary.delta_size, delta.len() as u64);
        assert_eq!(summary.stream_size, stats.stream_size);
        assert_eq!(summary.output_size, 6 + 20 + 3 + 50);
        assert_eq!(summary.by_kind().iter().map(|(_, totals)| totals.ops).sum::<u64>(), stats.ops);
        assert_eq!(summary.add_zeros, 2);
        assert_eq!(summary.zstd_dict.payload, stats.zstd_dict_size);
        let used: Vec<_> = summary.sources.iter().map(|file| (&file.path, file.copied, file.added)).collect();
        assert_eq!(used, [(&path("b"), 0, 3), (&path("a"), 20, 0)]);
        assert_eq!(summary.sources[0].payload, 3 + stats.zstd_dict_size);
        assert_eq!(summary.sources[0].frames, 1);
    }

    #[test]
    fn the_parts_of_relocated_ops_are_told() {
        let block = program::Block { source: 0, add: 4, literal: 3 };
        let segment = program::Segment { address: 0x1000, size: 4, place: 0 };
        let side = || program::Side { segments: vec![segment], bases: Vec::new() };
        let rules = program::Rules {
            old: side(),
            new: side(),
            rules: vec![
                program::Rule::X86_64(0..2),
                program::Rule::EhFrame(2..3),
                program::Rule::X86_64(3..4),
            ],
            frame_table: Some(program::FrameTable { start: 4, count: 0, records: 4..7 }),
            ..Default::default()
        };
        let made = program::encode(b"abcd", b"abxdnew", &[block], Some(&rules)).unwrap();
        let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default()).unwrap();
        writer.relocated(&path("a"), &made.payload).unwrap();
        let (delta, stats) = writer.finish().unwrap();
        let summary = Summary::read(delta.as_slice()).unwrap();
        assert_eq!((summary.relocated.ops, summary.relocated.output), (1, 7));
        assert_eq!(summary.relocated.payload, stats.relocated_size);
        let parts = summary.relocated_parts;
        assert!(parts.rules > 0);
        assert_eq!([parts.blocks, parts.runs, parts.differences, parts.new], [3, 1, 1, 3]);
        let kinds = [("computed frames", 1), ("eh_frame", 1), ("x86-64 code", 2)];
        assert_eq!(Vec::from_iter(parts.rule_kinds), kinds);
        assert_eq!((summary.sources[0].frames, summary.sources[0].payload), (1, stats.relocated_size));
    }
}
