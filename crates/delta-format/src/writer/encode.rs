//! The bytes of ops: what changes the applier's state is written only where it changes.

use std::io::Write;

use super::{BUFFER_SIZE, OpWriter, Opened, Pending, SourceRef};
use crate::runs::put_runs;
use crate::view::put_view;
use crate::wire::{self, MAX_VIEW_PAYLOAD, put_uvarint};
use crate::{Error, Result, Version};

impl<W: Write> OpWriter<W> {
    pub(super) fn has_open(&self, source: SourceRef<'_>) -> bool {
        self.open.as_ref().is_some_and(|open| open.is(source))
    }

    pub(super) fn is_at(&self, source: SourceRef<'_>, offset: u64) -> bool {
        self.position == Some(offset) && self.has_open(source)
    }

    /// Brings the applier to `offset` in `source`.
    pub(super) fn move_to(&mut self, source: SourceRef<'_>, offset: u64) -> Result<()> {
        if !self.has_open(source) {
            self.write_open(source)?;
        }
        if self.position != Some(offset) {
            let size = if self.version < Version::V3 { offset } else { distance(self.reached, offset)? };
            self.write_op(wire::OP_SEEK, size)?;
            self.move_on(offset);
        }
        Ok(())
    }

    /// Follows the applier to a position in the source that it has open.
    pub(super) const fn move_on(&mut self, position: u64) {
        self.position = Some(position);
        self.reached = position;
    }

    pub(super) fn write_open(&mut self, source: SourceRef<'_>) -> Result<()> {
        let path = source.path.as_bytes();
        match source.view {
            None => {
                self.write_op(wire::OP_OPEN, path.len() as u64)?;
                self.write_bytes(path)?;
            }
            Some(view) => {
                let mut payload = Vec::new();
                put_uvarint(&mut payload, path.len() as u64);
                payload.extend_from_slice(path);
                put_view(&mut payload, view);
                self.write_listed(wire::OP_OPEN_VIEW, "an open_view op", &payload)?;
                self.stats.view_size += payload.len() as u64;
            }
        }
        self.open = Some(Opened { path: source.path.clone(), view: source.view.cloned() });
        self.move_on(0);
        Ok(())
    }

    /// Writes an op of tardf3 that carries a list.
    pub(super) fn write_listed(&mut self, code: u8, what: &'static str, payload: &[u8]) -> Result<()> {
        assert!(self.version >= Version::V3, "views and headers are ops of tardf3");
        let size = payload.len() as u64;
        if size > MAX_VIEW_PAYLOAD {
            return Err(Error::TooLarge { what, size, max: MAX_VIEW_PAYLOAD });
        }
        self.write_op(code, size)?;
        self.write_bytes(payload)
    }

    pub(super) fn flush_pending(&mut self) -> Result<()> {
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
                if self.version < Version::V3 {
                    return self.write_bytes(&bytes);
                }
                let mut runs = Vec::new();
                put_runs(&mut runs, &bytes);
                self.write_bytes(&runs)
            }
        }
    }

    pub(super) fn write_op(&mut self, code: u8, size: u64) -> Result<()> {
        self.buffer.push(code);
        put_uvarint(&mut self.buffer, size);
        self.stats.ops += 1;
        if self.buffer.len() >= BUFFER_SIZE { self.flush_buffer() } else { Ok(()) }
    }

    pub(super) fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() < BUFFER_SIZE {
            self.buffer.extend_from_slice(bytes);
            return if self.buffer.len() >= BUFFER_SIZE { self.flush_buffer() } else { Ok(()) };
        }
        self.flush_buffer()?;
        self.stats.stream_size += bytes.len() as u64;
        self.stream.write_all(bytes).map_err(Error::Output)
    }

    pub(super) fn flush_buffer(&mut self) -> Result<()> {
        self.stats.stream_size += self.buffer.len() as u64;
        self.stream.write_all(&self.buffer).map_err(Error::Output)?;
        self.buffer.clear();
        Ok(())
    }
}

/// The distance of one position from another, with the sign in the lowest bit: seeks of tardf3 say it.
const fn distance(from: u64, to: u64) -> Result<u64> {
    let (size, is_back) = if to >= from { (to - from, 0) } else { (from - to - 1, 1) };
    match size.checked_mul(2) {
        Some(distance) => Ok(distance + is_back),
        None => Err(Error::TooLarge { what: "the distance of a seek", size, max: u64::MAX / 2 }),
    }
}
