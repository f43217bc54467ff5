//! Walks the blocks of zstd frames: how many bytes each takes, and what it decodes to.
//!
//! A block's header says how many bytes follow it, not how many they decode to (RFC 8878, 3.1.1.2),
//! so each block is decoded, alone, by the streaming decoder: it gives all of a block before it asks
//! for the next.

use std::io::{self, BufReader, ErrorKind, Read};

use delta_format::wire::MAX_WINDOW_LOG;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::block_cost::{self, Tables};

/// Most bytes that a block decodes to, and that it takes (RFC 8878, 3.1.1.2.4).
const MAX_BLOCK_SIZE: usize = 128 << 10;
const FRAME_MAGIC: u32 = 0xfd2f_b528;

/// One block of a frame, or one chunk of an xz stream.
#[derive(Debug)]
pub(crate) struct Block {
    /// Bytes of the delta that it takes, its header included.
    pub(crate) size: u64,
    /// Bits that each byte which it decodes to takes in it, or a number in proportion to them.
    pub(crate) costs: Vec<u32>,
}

/// Reads the blocks of frames in order.
pub(crate) struct Blocks<R> {
    input: BufReader<R>,
    decoder: Decoder<'static>,
    tables: Tables,
    /// True if the frame that is being read ends with a checksum; `None` between frames.
    frame: Option<bool>,
    content: Vec<u8>,
    output: Vec<u8>,
    total_size: u64,
}

impl<R: Read> Blocks<R> {
    /// Starts after `skipped` bytes, such as a magic.
    pub(crate) fn new(input: R, skipped: usize) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
        let input = BufReader::with_capacity(MAX_BLOCK_SIZE, input);
        let output = vec![0; MAX_BLOCK_SIZE];
        let tables = Tables::default();
        let mut blocks =
            Self { input, decoder, tables, frame: None, content: Vec::new(), output, total_size: 0 };
        blocks.take(skipped)?;
        Ok(blocks)
    }

    /// Bytes of the delta that were read so far.
    pub(crate) const fn total_size(&self) -> u64 {
        self.total_size
    }

    /// The next block, or `None` at the end of the delta. Frame headers, checksums and skippable
    /// frames belong to no block.
    pub(crate) fn next(&mut self) -> io::Result<Option<Block>> {
        while self.frame.is_none() {
            if !self.start_frame()? {
                return Ok(None);
            }
        }
        let header = self.take(3)?.iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte));
        let mut produced = self.decode()?;
        let (is_last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
        let stored = if kind == 1 { 1 } else { size };
        if stored > MAX_BLOCK_SIZE {
            return Err(broken("a block is over 128 KiB"));
        }
        self.take(stored)?;
        produced += self.decode_after(produced)?;
        let output = &self.output[..produced];
        let costs = match kind {
            0 => block_cost::raw(output),
            1 => block_cost::repeated(output),
            // Bytes of a block that cannot be read share its size evenly.
            _ => block_cost::compressed(&self.content, output, &mut self.tables)
                .unwrap_or_else(|| block_cost::raw(output)),
        };
        if is_last {
            if self.frame == Some(true) {
                self.take(4)?;
                self.decode()?;
            }
            self.frame = None;
        }
        Ok(Some(Block { size: 3 + stored as u64, costs }))
    }

    /// Reads a frame header, or skips a skippable frame; gives whether there was one.
    fn start_frame(&mut self) -> io::Result<bool> {
        let mut magic = Vec::with_capacity(4);
        (&mut self.input).take(4).read_to_end(&mut magic)?;
        self.total_size += magic.len() as u64;
        if magic.is_empty() {
            return Ok(false);
        }
        let magic: [u8; 4] = magic.try_into().map_err(|_| io::Error::from(ErrorKind::UnexpectedEof))?;
        let number = u32::from_le_bytes(magic);
        if number & 0xffff_fff0 == 0x184d_2a50 {
            let size = self.take(4)?.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            self.total_size += io::copy(&mut (&mut self.input).take(size), &mut io::sink())?;
            return Ok(true);
        }
        if number != FRAME_MAGIC {
            return Err(broken("no zstd frame follows"));
        }
        let descriptor = self.take(1)?[0];
        let is_single_segment = descriptor & 0x20 != 0;
        let window = usize::from(!is_single_segment);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content = [usize::from(is_single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
        let rest = self.take(window + dictionary + content)?.to_vec();
        self.content = [&magic[..], &[descriptor], &rest].concat();
        self.decode()?;
        self.tables = Tables::default();
        self.frame = Some(descriptor & 4 != 0);
        Ok(true)
    }

    /// Reads that many bytes.
    fn take(&mut self, size: usize) -> io::Result<&[u8]> {
        self.content.resize(size, 0);
        self.input.read_exact(&mut self.content)?;
        self.total_size += size as u64;
        Ok(&self.content)
    }

    fn decode(&mut self) -> io::Result<usize> {
        self.decode_after(0)
    }

    /// Decodes what was taken last into the output from byte `start` on; gives how much it was.
    fn decode_after(&mut self, start: usize) -> io::Result<usize> {
        let mut input = InBuffer::around(&self.content);
        let mut output = OutBuffer::around_pos(&mut self.output[..], start);
        loop {
            let before = (input.pos(), output.pos());
            self.decoder.run(&mut input, &mut output)?;
            if (input.pos(), output.pos()) == before {
                let is_done = input.pos() == self.content.len();
                let produced = output.pos() - start;
                return if is_done { Ok(produced) } else { Err(broken("a block decodes to over 128 KiB")) };
            }
        }
    }
}

fn broken(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

impl<R> std::fmt::Debug for Blocks<R> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Blocks").field("total_size", &self.total_size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use delta_format::wire::MAGIC_SIZE;

    use super::*;

    /// Text, numbers, zeros and noise: all kinds of blocks and tables.
    fn stream(size: usize) -> Vec<u8> {
        let mut rng = fixtures::Rng::new(5);
        let mut bytes = Vec::new();
        while bytes.len() < size {
            bytes.extend(fixtures::contents::text(&mut rng, 30_000));
            bytes.extend(rng.bytes(150_000));
            bytes.resize(bytes.len() + 300_000, 0);
            bytes.extend((0..9000u32).flat_map(|number| (number * 7).to_le_bytes()));
            bytes.extend(fixtures::contents::source_code(&mut rng, 200_000));
        }
        bytes
    }

    fn delta(level: i32, stream: &[u8]) -> Vec<u8> {
        let skippable = [0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
        encoder.include_checksum(level % 2 == 0).unwrap();
        io::copy(&mut &stream[..], &mut encoder).unwrap();
        let second = zstd::bulk::compress(b"a frame of its own", 1).unwrap();
        [b"tardf1\n\0".as_slice(), &encoder.finish().unwrap(), &skippable, &second].concat()
    }

    #[test]
    fn every_block_is_found_and_every_bit_of_it_told() {
        let stream = stream(1_500_000);
        for level in [-5, 1, 3, 9, 19] {
            let delta = delta(level, &stream);
            let mut blocks = Blocks::new(delta.as_slice(), MAGIC_SIZE).unwrap();
            let (mut sizes, mut decoded) = (0, 0);
            while let Some(block) = blocks.next().unwrap() {
                sizes += block.size;
                decoded += block.costs.len();
                let bits: u64 = block.costs.iter().map(|bits| u64::from(*bits)).sum();
                let content = block.size * 8;
                assert!(bits <= content, "level {level}: {bits} bits of {content}");
                // The rest are tables, which are small, and headers.
                assert!(bits + 8 * 700 >= content, "level {level}: {bits} bits of {content}");
            }
            assert_eq!(decoded, stream.len() + 18);
            assert_eq!(blocks.total_size(), delta.len() as u64);
            assert!(sizes < delta.len() as u64);
        }
    }

    #[test]
    fn broken_input_is_an_error() {
        let delta = delta(3, &stream(400_000));
        for end in [9, 13, 20, 1000, delta.len() - 1] {
            let mut blocks = Blocks::new(&delta[..end], MAGIC_SIZE).unwrap();
            assert!(std::iter::from_fn(|| blocks.next().transpose()).any(|block| block.is_err()));
        }
        let mut garbage = delta;
        garbage.extend(b"garbage");
        let mut blocks = Blocks::new(garbage.as_slice(), MAGIC_SIZE).unwrap();
        assert!(std::iter::from_fn(|| blocks.next().transpose()).any(|block| block.is_err()));
    }
}
