//! The ops of tardf3 alone.

use std::io::Read;

use delta_format::wire::put_uvarint;
use delta_format::{Content, Error as DeltaError, HeaderReader, OpReader};
use layer::BLOCK_SIZE;

use super::Walk;
use crate::Result;
use crate::attribution::Part;
use crate::payload::{read_payload, stream_error};

/// The lists of headers so far.
#[derive(Default)]
pub(super) struct Entries {
    list: HeaderReader,
    /// Zeros that follow the content of the last entry.
    padding: u64,
    header: Vec<u8>,
}

impl<R: Read> Walk<'_, R> {
    /// Takes a file that is made of the whole source.
    pub(super) fn relocated(&mut self, size: u64, reader: &mut OpReader<'_>) -> Result<()> {
        let payload = read_payload(reader)?;
        let parsed = program::Payload::parse(&payload, None)
            .map_err(|kind| DeltaError::Corrupt { op_index: reader.op_index(), kind: kind.into() })?;
        if let Some(source) = self.sources.plain().filter(|_| parsed.has_rules()) {
            self.predictions.add(&payload, source)?;
        }
        let (made, sizes) = (parsed.size() as u64, parsed.sizes());
        let (differences, new) = (sizes.differences as u64, sizes.new as u64);
        // The differences and the new bytes are its last parts, each after its size.
        let rest = size - new - uvarint_size(new) - differences;
        let (item, _) = self.layout.place();
        let charges = [
            (Part::Relocated, rest),
            (Part::Add, differences),
            (Part::Relocated, uvarint_size(new)),
            (Part::Data, new),
        ];
        for (part, size) in charges {
            self.attribution
                .charge(item, part, size)
                .map_err(|error| stream_error(reader.op_index(), error))?;
        }
        let tally = &mut self.tallies[item];
        tally.relocated += made;
        tally.changed += differences;
        tally.data += new;
        tally.added += made.saturating_sub(new);
        self.advance(made, |_, _| ())
    }

    /// Takes a list of headers.
    pub(super) fn headers(&mut self, size: u64, reader: &mut OpReader<'_>) -> Result<()> {
        let payload = read_payload(reader)?;
        // They are for all headers together, wherever the op stands.
        self.attribution
            .charge(0, Part::Headers, size)
            .map_err(|error| stream_error(reader.op_index(), error))?;
        let started = self.entries.list.start(payload);
        Ok(started.map_err(|kind| DeltaError::Corrupt { op_index: reader.op_index(), kind })?)
    }

    /// Takes entries: the padding of the one before, their headers, and the files that are whole sources.
    pub(super) fn entries(&mut self, count: u64, reader: &OpReader<'_>) -> Result<()> {
        self.sources.close();
        self.pad()?;
        for _ in 0..count {
            self.sources.close();
            self.pad()?;
            self.entry(reader)?;
        }
        Ok(())
    }

    fn entry(&mut self, reader: &OpReader<'_>) -> Result<()> {
        let corrupt = |kind| DeltaError::Corrupt { op_index: reader.op_index(), kind };
        let draft = self.entries.list.next().map_err(corrupt)?;
        let is_whole = draft.content() == Content::Whole;
        // The source alone says how large it is; the layer has as much of it.
        let size = if is_whole { self.layout.next_file_size() } else { draft.size() };
        let mut header = std::mem::take(&mut self.entries.header);
        header.clear();
        self.entries.list.finish(&draft, size, &mut header).map_err(corrupt)?;
        self.check(&header)?;
        self.advance(header.len() as u64, |tally, size| tally.listed += size)?;
        self.entries.header = header;
        self.entries.padding = size.wrapping_neg() % BLOCK_SIZE;
        if let Some(path) = draft.path() {
            self.sources.open(path, false);
            let (item, _) = self.layout.place();
            self.tallies[item].opens += 1;
        }
        if is_whole {
            self.advance(size, |tally, size| tally.copied += size)?;
            self.sources.close();
        }
        Ok(())
    }

    /// Refuses bytes that are not those of the layer at the position, where they lie there as they are.
    fn check(&self, bytes: &[u8]) -> Result<()> {
        let position = self.layout.position();
        let end = position.saturating_add(bytes.len() as u64);
        if !self.layout.is_plain() {
            return Ok(());
        }
        if end > self.new.size() {
            return Err(self.layout.other_layer());
        }
        let there = self.new.read_range(position..end)?;
        match there.iter().zip(bytes).position(|(there, made)| there != made) {
            Some(at) => Err(self.layout.other_layer_at(position + at as u64)),
            None => Ok(()),
        }
    }

    fn pad(&mut self) -> Result<()> {
        let padding = std::mem::take(&mut self.entries.padding);
        self.advance(padding, |tally, size| tally.listed += size)
    }
}

/// Bytes of a LEB128 integer.
fn uvarint_size(value: u64) -> u64 {
    let mut bytes = Vec::new();
    put_uvarint(&mut bytes, value);
    bytes.len() as u64
}
