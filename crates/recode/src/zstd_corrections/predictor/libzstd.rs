//! The matches that libzstd 1.5.7 finds, by their places in the plain bytes.
//!
//! The library makes a frame of its own of the plain bytes, of which the blocks are read. Where they end hardly
//! matters: a match that one block ends and the next one goes on with is one match again.

use std::collections::VecDeque;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, InBuffer, OutBuffer};

use super::Match;
use crate::compare::Plain;
use crate::zstd_blocks::headers::{BlockHeader, COMPRESSED};
use crate::zstd_blocks::{Known, MAX_BLOCK, header_sizes};
use crate::zstd_corrections::history::History;
use crate::zstd_corrections::manner::Libzstd;
use crate::zstd_corrections::parts::Parts;
use crate::zstd_corrections::repeats::Repeats;
use crate::zstd_frame::failed;
use crate::{Error, Result};

/// Most bytes of a block so that libzstd 1.5.7 does not split it before it looks for matches.
const WHOLE_BLOCK: usize = MAX_BLOCK - 1;

const BROKEN: Error = Error::Mismatch { reason: "libzstd made no frame of them" };

/// The prediction at some place.
pub(in crate::zstd_corrections) struct Predictor {
    encoder: CCtx<'static>,
    manner: Libzstd,
    /// The place up to which the library has the plain bytes.
    fed: u64,
    is_ended: bool,
    /// Bytes that the library has made, of which those before `start` are read.
    made: Vec<u8>,
    start: usize,
    has_header: bool,
    known: Known,
    repeats: Repeats,
    /// The place up to which matches are known.
    known_end: u64,
    matches: VecDeque<Match>,
    /// The places at which blocks end, and their kinds.
    blocks: VecDeque<(u64, u8)>,
}

impl Predictor {
    pub(super) fn new(manner: Libzstd, plain_size: u64) -> Result<Self> {
        let max_block = if manner.is_split { MAX_BLOCK } else { WHOLE_BLOCK };
        Ok(Self {
            encoder: manner.plan.encoder_of_blocks(plain_size, max_block).map_err(failed)?,
            manner,
            fed: 0,
            is_ended: false,
            made: Vec::new(),
            start: 0,
            has_header: false,
            known: Known::default(),
            repeats: Repeats::default(),
            known_end: 0,
            matches: VecDeque::new(),
            blocks: VecDeque::new(),
        })
    }

    /// Makes all matches known that begin before a place, and forgets those that end up to another one.
    pub(super) fn advance(
        &mut self,
        history: &mut History,
        plain: &mut Plain<'_>,
        from: u64,
        to: u64,
    ) -> Result<()> {
        while self.matches.front().is_some_and(|found| found.end <= from) {
            self.matches.pop_front();
        }
        while self.blocks.front().is_some_and(|(end, _)| *end <= from) {
            self.blocks.pop_front();
        }
        while self.known_end < to {
            if !self.read_block()? {
                if self.is_ended {
                    return Err(BROKEN);
                }
                self.feed(history, plain)?;
            }
        }
        Ok(())
    }

    /// Returns the end and the kind of the block that is predicted at a place.
    pub(super) fn block(&self, at: u64) -> Option<(u64, u8)> {
        self.blocks.iter().copied().find(|(end, _)| *end > at)
    }

    /// Returns the matches that are known, in rising order.
    pub(super) const fn matches(&self) -> &VecDeque<Match> {
        &self.matches
    }

    /// Has the library make some bytes, and gives it more only if it makes none of those that it has.
    fn feed(&mut self, history: &mut History, plain: &mut Plain<'_>) -> Result<()> {
        self.made.drain(..self.start);
        self.start = 0;
        let is_threaded = self.manner.plan.is_threaded();
        if is_threaded && self.fed > 0 && self.step(&[], ZSTD_EndDirective::ZSTD_e_continue)? > 0 {
            return Ok(());
        }
        if is_threaded || self.manner.is_split {
            return self.feed_piece(history, plain, MAX_BLOCK, ZSTD_EndDirective::ZSTD_e_continue);
        }
        // A block of one byte ends each stretch of the size of a block, so that all begin at the same places.
        self.feed_piece(history, plain, WHOLE_BLOCK, ZSTD_EndDirective::ZSTD_e_continue)?;
        if self.is_ended {
            return Ok(());
        }
        self.feed_piece(history, plain, MAX_BLOCK - WHOLE_BLOCK, ZSTD_EndDirective::ZSTD_e_flush)
    }

    fn feed_piece(
        &mut self,
        history: &mut History,
        plain: &mut Plain<'_>,
        size: usize,
        directive: ZSTD_EndDirective,
    ) -> Result<()> {
        let to = self.fed + size as u64;
        history.read_to(plain, to)?;
        let to = to.min(history.end());
        let is_end = plain.left() == 0 && to == history.end();
        let from = self.fed;
        self.fed = to;
        self.is_ended = is_end;
        match (is_end, self.manner.plan.has_size()) {
            (false, _) => self.step(history.bytes(from, to), directive)?,
            (true, true) => self.step(history.bytes(from, to), ZSTD_EndDirective::ZSTD_e_end)?,
            (true, false) => {
                self.step(history.bytes(from, to), ZSTD_EndDirective::ZSTD_e_continue)?;
                self.step(&[], ZSTD_EndDirective::ZSTD_e_end)?
            }
        };
        Ok(())
    }

    /// Gives plain bytes to the library and takes what it makes of them. Returns how many bytes those are.
    fn step(&mut self, plain: &[u8], directive: ZSTD_EndDirective) -> Result<usize> {
        let mut input = InBuffer::around(plain);
        let mut buffer = vec![0; MAX_BLOCK + 64];
        let mut made = 0;
        loop {
            let mut output = OutBuffer::around(buffer.as_mut_slice());
            let left = self.encoder.compress_stream2(&mut output, &mut input, directive).map_err(failed)?;
            let size = output.pos();
            made += size;
            self.made.extend_from_slice(&buffer[..size]);
            let is_done = match directive {
                ZSTD_EndDirective::ZSTD_e_continue => input.pos() == plain.len(),
                _ => left == 0,
            };
            if is_done {
                return Ok(made);
            }
        }
    }

    /// Reads the next block, if it is there as a whole.
    fn read_block(&mut self) -> Result<bool> {
        let mut bytes = &self.made[self.start..];
        if !self.has_header {
            let Some(size) = frame_header_size(bytes).filter(|size| *size <= bytes.len()) else {
                return Ok(false);
            };
            self.has_header = true;
            self.start += size;
            bytes = &self.made[self.start..];
        }
        let Some(header) = BlockHeader::read(bytes) else { return Ok(false) };
        let BlockHeader { kind, size, .. } = header;
        let end = BlockHeader::SIZE + header.content_size();
        let Some(content) = bytes.get(BlockHeader::SIZE..end) else { return Ok(false) };
        let start = self.known_end;
        let mut plain_size = size;
        if kind == COMPRESSED {
            let (parts, literals) = Parts::read(content, &mut self.known).ok_or(BROKEN)?;
            plain_size = literals;
            let mut at = start;
            for sequence in &parts.sequences {
                at += u64::from(sequence.literals);
                let (distance, is_told) = self.repeats.take(*sequence).ok_or(BROKEN)?;
                let end = at + u64::from(sequence.size);
                match self.matches.back_mut() {
                    Some(last) if at == start && last.end == at && last.distance == distance => {
                        last.end = end
                    }
                    _ => self.matches.push_back(Match { start: at, end, distance, is_told }),
                }
                at = end;
                plain_size += sequence.size as usize;
            }
        }
        self.start += end;
        self.known_end += plain_size as u64;
        if plain_size > 0 {
            self.blocks.push_back((self.known_end, kind));
        }
        Ok(true)
    }
}

fn frame_header_size(bytes: &[u8]) -> Option<usize> {
    bytes.get(4).map(|descriptor| header_sizes(*descriptor).0)
}
