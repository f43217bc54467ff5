//! The first blocks of a stream, and the encoders that they leave.

use std::io::Read;

use super::super::parser::Parser;
use super::super::reader::{Block, BlockReader, Kind};
use super::super::settings::Settings;
use super::super::{BYTE_WORK, ahead, zlib};
use super::{LEVELS, MAX_START_TOKENS, PREFIX_TOKENS, SETUP_WORK};
use crate::charge::Charged;
use crate::compare::Plain;
use crate::{Budget, Refused};

/// Tokens that tell which level comes nearest.
const LEVEL_TOKENS: usize = 4 << 10;
/// Tokens of a block of zlib with its usual memory.
const USUAL_BLOCK: usize = (1 << 14) - 1;
/// Tokens of a block of GNU gzip, and of zlib with most memory.
const LARGE_BLOCK: usize = (1 << 15) - 1;

/// The turn in which an encoder is tried: those that are slow to look at, and those that are not likely, come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Later,
    Last,
}

/// The first blocks of a stream.
pub(super) struct Prefix {
    blocks: Vec<Block>,
}

impl Prefix {
    pub(super) fn read(encoded: &mut dyn Read) -> Result<Self, Refused> {
        let mut reader = BlockReader::new(encoded);
        let mut blocks = Vec::new();
        let mut count = 0;
        while count < PREFIX_TOKENS && blocks.len() < PREFIX_TOKENS {
            let broken = |_| Refused::Unsupported("deflate-block");
            let Some((kind, is_last)) = reader.begin().map_err(broken)? else { break };
            let mut tokens = Vec::new();
            let is_whole = reader.tokens(&mut tokens, MAX_START_TOKENS).map_err(broken)?;
            count += tokens.len();
            blocks.push(Block { kind, last: is_last.then_some(0), tokens });
            if !is_whole {
                break;
            }
        }
        Ok(Self { blocks })
    }

    /// Returns when the encoder of a number is tried.
    pub(super) fn turn(&self, number: u8) -> Turn {
        match ahead::most_of_block(number) {
            Some(most) if self.first_size().is_some_and(|size| size > most) => Turn::Last,
            _ if !self.is_likely(number) => Turn::Later,
            _ => Turn::First,
        }
    }

    /// The plain bytes of the first block, as far as its tokens are known.
    pub(super) fn first_size(&self) -> Option<usize> {
        self.blocks.first().map(|block| block.tokens.iter().map(|token| token.size()).sum())
    }

    /// Tells whether the encoder of a number may fill the first block as much as it is. Blocks that are stored, and the
    /// last one, tell nothing.
    fn is_likely(&self, number: u8) -> bool {
        let Some(first) = self.blocks.first() else { return true };
        if first.last.is_some() || matches!(first.kind, Kind::Stored { .. }) {
            return true;
        }
        let count = first.tokens.len();
        match ahead::block_size(number) {
            Some(size) => count == size || (ahead::goes_on(number) && count.is_multiple_of(size)),
            None => !ahead::BLOCK_SIZES.contains(&count),
        }
    }

    /// The parameters of zlib and GNU gzip that the size of the first block leaves.
    pub(super) fn candidates(&self) -> Vec<zlib::Plan> {
        let Some(first) = self.blocks.first() else { return Vec::new() };
        let is_stored = matches!(first.kind, Kind::Stored { .. });
        let count = first.tokens.len();
        let is_last = first.last.is_some();
        let mut plans = Vec::new();
        let of_zlib = |mem_level| LEVELS.map(|level| zlib::Plan::of_zlib(level, mem_level));
        if is_stored || (is_last && count <= USUAL_BLOCK) || count == USUAL_BLOCK {
            plans.extend(of_zlib(8));
        }
        if is_stored || is_last || count == LARGE_BLOCK || count.is_multiple_of(1 << 12) {
            plans.extend(LEVELS.map(zlib::Plan::of_gnu));
        }
        if is_stored || is_last || count == LARGE_BLOCK {
            plans.extend(of_zlib(9));
        }
        let of_level = |mem_level: &u8| (1 << (mem_level + 6)) - 1;
        if let Some(mem_level) = (1..8).find(|mem_level| count == of_level(mem_level)) {
            plans.extend(of_zlib(mem_level));
        }
        plans
    }

    /// Returns whether a parser predicts the first tokens, and the budget was enough to see it.
    pub(super) fn is_predicted(&self, settings: Settings, plain: &[u8], budget: &Budget) -> bool {
        self.are_predicted(self.blocks.len(), settings, plain, budget)
    }

    /// Returns whether a parser predicts the tokens of the first block, as [`is_predicted`](Self::is_predicted) does.
    pub(super) fn is_first_predicted(&self, settings: Settings, plain: &[u8], budget: &Budget) -> bool {
        self.are_predicted(1, settings, plain, budget)
    }

    fn are_predicted(&self, blocks: usize, settings: Settings, plain: &[u8], budget: &Budget) -> bool {
        if !budget.charge(SETUP_WORK) {
            return false;
        }
        let charge = |units| budget.take(units);
        let mut reader = Charged::new(plain, BYTE_WORK, &charge);
        let mut plain = Plain::new(&mut reader, plain.len() as u64).charged(&charge);
        let mut parser = Parser::new(settings);
        // What tokens zlib took before it stored a block is not told.
        let told =
            self.blocks.iter().take(blocks).take_while(|block| !matches!(block.kind, Kind::Stored { .. }));
        told.flat_map(|block| &block.tokens).take(PREFIX_TOKENS).all(|token| {
            let is_right = matches!(parser.predict(&mut plain), Ok(Some(predicted)) if predicted == *token);
            if is_right {
                parser.commit(*token);
            }
            is_right
        })
    }

    /// The start of the stream, enough to tell which effort comes nearest.
    pub(super) fn start(&self) -> Vec<Block> {
        let mut left = LEVEL_TOKENS;
        let mut start = Vec::new();
        for block in &self.blocks {
            let mut block = Block { last: None, ..block.clone() };
            block.tokens.truncate(left);
            left -= block.tokens.len();
            start.push(block);
            if left == 0 {
                break;
            }
        }
        start
    }
}
