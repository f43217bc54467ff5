//! Walks the chunks of LZMA2 in an xz stream: how many bytes each takes, and what it decodes to.
//!
//! A chunk says both in its header (The .xz File Format, 3 and 5.3.1). The bits that each byte costs in it are not told
//! apart by its range coder: they are taken from zstd blocks of the same bytes, which have them in about the same
//! proportions.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::rc::Rc;

use delta_format::wire::MAX_XZ_DICTIONARY_LOG;
use liblzma::stream::{Action, Filters, Stream};

use crate::blocks::{Block, Blocks};

/// Most bytes that a chunk decodes to.
const MAX_CHUNK_SIZE: usize = 2 << 20;
/// Bytes of the integrity check of a block, by its number: the highest number of each size has it.
const CHECK_SIZES: [usize; 16] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
/// The size of the header of a stream.
const STREAM_HEADER_SIZE: usize = 12;
const LZMA2: u8 = 0x21;
/// zstd level of the blocks that costs are taken from, and their window, which is that of a delta.
const LEVEL: i32 = 6;
const WINDOW_LOG: u32 = 25;

/// Reads the chunks of one xz stream in order.
pub(crate) struct Chunks<R> {
    input: BufReader<R>,
    /// The decoder of the block that is being read; `None` between blocks.
    decoder: Option<Stream>,
    /// Bytes of the chunks of the block so far.
    packed: u64,
    check_size: usize,
    content: Vec<u8>,
    output: Vec<u8>,
    costs: Costs,
    total_size: u64,
}

impl<R: Read> Chunks<R> {
    /// Starts after `skipped` bytes, such as a magic.
    pub(crate) fn new(input: R, skipped: usize) -> io::Result<Self> {
        let mut chunks = Self {
            input: BufReader::new(input),
            decoder: None,
            packed: 0,
            check_size: 0,
            content: Vec::new(),
            output: Vec::with_capacity(MAX_CHUNK_SIZE),
            costs: Costs::new()?,
            total_size: 0,
        };
        chunks.take(skipped)?;
        let header = chunks.take(STREAM_HEADER_SIZE)?;
        chunks.check_size = CHECK_SIZES[usize::from(header[7] & 15)];
        Ok(chunks)
    }

    /// Bytes of the delta that were read so far.
    pub(crate) const fn total_size(&self) -> u64 {
        self.total_size
    }

    /// The next chunk, or `None` at the end of the delta.
    pub(crate) fn next(&mut self) -> io::Result<Option<Block>> {
        loop {
            if self.decoder.is_none() && !self.start_block()? {
                self.total_size += io::copy(&mut self.input, &mut io::sink())?;
                return Ok(None);
            }
            match self.take(1)?[0] {
                0 => self.end_block()?,
                control => return self.chunk(control).map(Some),
            }
        }
    }

    /// Reads the header of a block. Gives false if there is none, but the index.
    fn start_block(&mut self) -> io::Result<bool> {
        let size = self.take(1)?[0];
        if size == 0 {
            return Ok(false);
        }
        let header = self.take(usize::from(size) * 4 + 3)?;
        let (flags, mut rest) =
            header.split_first().ok_or_else(|| broken("the header of a block is empty"))?;
        // The sizes of the block may stand there, each as an integer of several bytes.
        for _ in 0..(flags >> 6).count_ones() {
            let more = rest.iter().take_while(|byte| **byte & 0x80 != 0).count();
            rest = rest.get(more + 1..).unwrap_or(&[]);
        }
        let &[LZMA2, 1, dictionary, ..] = rest else {
            return Err(broken("a block has other filters than LZMA2"));
        };
        if flags & 0x3f != 0 || u32::from(dictionary) > 2 * (MAX_XZ_DICTIONARY_LOG - 12) {
            return Err(broken("a block has several filters, or a large dictionary"));
        }
        let mut filters = Filters::new();
        filters.lzma2_properties(&[dictionary])?;
        self.decoder = Some(Stream::new_raw_decoder(&filters)?);
        self.packed = 0;
        Ok(true)
    }

    /// Reads the padding and the check that follow the last chunk.
    fn end_block(&mut self) -> io::Result<()> {
        let padding = (self.packed + 1).wrapping_neg() & 3;
        self.take(usize::try_from(padding).unwrap_or(0) + self.check_size)?;
        self.decoder = None;
        Ok(())
    }

    fn chunk(&mut self, control: u8) -> io::Result<Block> {
        let rest = match control {
            1 | 2 => 2,
            0x80..0xc0 => 4,
            0xc0.. => 5,
            _ => return Err(broken("a chunk of LZMA2 is of no known kind")),
        };
        let head = self.take(rest)?.to_vec();
        let number = |at: usize| usize::from(head[at]) << 8 | usize::from(head[at + 1]);
        let (plain, packed) = match control {
            1 | 2 => (number(0) + 1, number(0) + 1),
            _ => ((usize::from(control & 0x1f) << 16 | number(0)) + 1, number(2) + 1),
        };
        self.take(packed)?;
        let chunk = [&[control], head.as_slice(), &self.content].concat();
        self.packed += chunk.len() as u64;
        self.output.clear();
        self.output.reserve(plain);
        let decoder = self.decoder.as_mut().ok_or_else(|| broken("a chunk lies in no block"))?;
        let end = decoder.total_in() + chunk.len() as u64;
        let start = decoder.total_out();
        while decoder.total_in() < end || decoder.total_out() - start < plain as u64 {
            let left = usize::try_from(end - decoder.total_in()).unwrap_or(0);
            let before = (decoder.total_in(), decoder.total_out());
            decoder.process_vec(&chunk[chunk.len() - left..], &mut self.output, Action::Run)?;
            if (decoder.total_in(), decoder.total_out()) == before {
                return Err(broken("a chunk of LZMA2 does not decode to its size"));
            }
        }
        Ok(Block { size: chunk.len() as u64, costs: self.costs.of(&self.output)? })
    }

    /// Reads that many bytes.
    fn take(&mut self, size: usize) -> io::Result<&[u8]> {
        self.content.resize(size, 0);
        self.input.read_exact(&mut self.content)?;
        self.total_size += size as u64;
        Ok(&self.content)
    }
}

/// The costs of the bytes of a stream in zstd blocks.
struct Costs {
    encoder: zstd::Encoder<'static, Pipe>,
    blocks: Blocks<Pipe>,
}

impl Costs {
    fn new() -> io::Result<Self> {
        let pipe = Pipe::default();
        let mut encoder = zstd::Encoder::new(pipe.clone(), LEVEL)?;
        encoder.window_log(WINDOW_LOG)?;
        encoder.long_distance_matching(true)?;
        Ok(Self { encoder, blocks: Blocks::new(pipe, 0)? })
    }

    /// Bits of each of the next bytes.
    fn of(&mut self, bytes: &[u8]) -> io::Result<Vec<u32>> {
        self.encoder.write_all(bytes)?;
        self.encoder.flush()?;
        let mut costs = Vec::with_capacity(bytes.len());
        while costs.len() < bytes.len() {
            let block = self.blocks.next()?.ok_or(ErrorKind::UnexpectedEof)?;
            costs.extend(block.costs);
        }
        Ok(costs)
    }
}

/// Bytes that were written and not read yet.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<VecDeque<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(out)
    }
}

fn broken(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

impl<R> std::fmt::Debug for Chunks<R> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Chunks").field("total_size", &self.total_size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use delta_format::wire::MAGIC_SIZE;
    use delta_format::{Encoding, OpWriter, Version};

    use super::*;

    /// A delta that carries these bytes, which take one data op.
    fn delta(content: &[u8]) -> Vec<u8> {
        let encoding = Encoding { xz_dictionary: Some(1 << 20), ..Encoding::default() };
        let mut writer = OpWriter::new(Vec::new(), Version::V3, encoding).unwrap();
        writer.literal(content).unwrap();
        writer.finish().unwrap().0
    }

    /// Text, and noise that is stored.
    fn content() -> Vec<u8> {
        let mut rng = fixtures::Rng::new(5);
        let text = fixtures::contents::text(&mut rng, 300_000);
        [text, rng.bytes(150_000), vec![0; 200_000]].concat()
    }

    #[test]
    fn every_chunk_is_found_and_costs_something() {
        let content = content();
        let delta = delta(&content);
        let mut chunks = Chunks::new(delta.as_slice(), MAGIC_SIZE).unwrap();
        let (mut sizes, mut costs) = (0, Vec::new());
        while let Some(chunk) = chunks.next().unwrap() {
            assert!(chunk.costs.iter().any(|bits| *bits > 0));
            sizes += chunk.size;
            costs.extend(chunk.costs);
        }
        // The op has a code and a size of three bytes.
        assert_eq!(costs.len(), content.len() + 4);
        assert_eq!(chunks.total_size(), delta.len() as u64);
        let framing = delta.len() as u64 - sizes;
        assert!((40..80).contains(&framing), "{framing}");
        let bits =
            |range: std::ops::Range<usize>| costs[range].iter().map(|bits| u64::from(*bits)).sum::<u64>();
        assert!(bits(300_004..450_004) > 150_000 * 7, "noise costs what it has");
        assert!(bits(460_004..650_004) < 1000, "zeros cost nothing");
    }

    #[test]
    fn damaged_streams_end_in_an_error_or_with_a_sum() {
        let delta = delta(&content()[290_000..310_000]);
        for place in (MAGIC_SIZE..delta.len()).step_by(101).chain(MAGIC_SIZE..40) {
            let mut damaged = delta.clone();
            damaged[place] ^= 0x55;
            let Ok(mut chunks) = Chunks::new(damaged.as_slice(), MAGIC_SIZE) else { continue };
            let mut decoded = 0;
            while let Ok(Some(chunk)) = chunks.next() {
                decoded += chunk.costs.len();
            }
            assert!(decoded <= 4 * MAX_CHUNK_SIZE);
            let cut = Chunks::new(&delta[..place], MAGIC_SIZE).and_then(|mut chunks| {
                while chunks.next()?.is_some() {}
                Ok(chunks.total_size())
            });
            assert!(cut.is_err() || cut.is_ok_and(|size| size == place as u64));
        }
    }
}
