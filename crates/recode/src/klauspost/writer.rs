//! A writer of frames that follow one another: its tables are made once.

use std::io::Write;

use super::{Encoder, MAX_BLOCK_SIZE, MISMATCH, Settings, header};
use crate::Result;
use crate::checksum::Checksum;
use crate::compare::{Plain, put};

/// Makes frames as the writer of the library does, each with a checksum.
pub(crate) struct FrameWriter {
    settings: &'static Settings,
    encoder: Encoder,
    buffer: Vec<u8>,
    made: Vec<u8>,
}

impl FrameWriter {
    pub(crate) fn new(settings: &'static Settings) -> Self {
        let encoder = Encoder::new(settings, false, u64::MAX);
        Self { settings, encoder, buffer: vec![0; MAX_BLOCK_SIZE], made: Vec::new() }
    }

    /// Makes the frame of the next `plain_size` bytes, which are shown to `observe`.
    pub(crate) fn write(
        &mut self,
        plain: &mut Plain<'_>,
        plain_size: u64,
        output: &mut dyn Write,
        observe: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let block_size = self.settings.block_size();
        // What is less than a block is there at once when the frame is closed.
        let is_whole = (1..block_size as u64).contains(&plain_size);
        put(output, &header(self.settings.window_log(), is_whole, true, plain_size))?;
        self.encoder.restart(is_whole, plain_size);
        let mut checksum = Checksum::new();
        let mut left = plain_size;
        loop {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(block_size);
            let buffer = &mut self.buffer[..size];
            if plain.read(buffer)? < size {
                return Err(MISMATCH);
            }
            left -= size as u64;
            checksum.update(buffer);
            observe(buffer);
            let is_last = self.encoder.is_last(size, left);
            self.made.clear();
            self.encoder.make(buffer, is_last, &mut self.made);
            put(output, &self.made)?;
            if is_last {
                return put(output, &checksum.finish());
            }
        }
    }

    /// Makes the frame of these bytes.
    pub(crate) fn frame_of(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let (mut frame, size) = (Vec::new(), bytes.len() as u64);
        let mut reader = bytes;
        self.write(&mut Plain::new(&mut reader, size), size, &mut frame, &mut |_| {})?;
        Ok(frame)
    }
}
