//! Finds what makes a deflate stream.

use std::io::Read;

use super::corrections;
use super::parser::Parser;
use super::reader::{Block, BlockReader, Kind};
use super::settings::Settings;
use super::{Plan, zlib};
use crate::compare::{Plain, Source};
use crate::{MAX_RECIPE_SIZE, Refused};

/// Tokens at the start of a stream that tell the encoder.
const PREFIX_TOKENS: usize = 8 << 10;
/// Tokens that tell which level comes nearest.
const LEVEL_TOKENS: usize = 4 << 10;
/// Levels, the likely first.
const LEVELS: [u8; 9] = [6, 9, 1, 5, 4, 8, 7, 3, 2];
/// Efforts for corrections: the others differ little from them.
const NEAR_LEVELS: [u8; 12] = [6, 9, 4, 1, 3, 8, 10, 11, 12, 13, 14, corrections::PGZIP];
/// Tokens of a block of zlib with its usual memory.
const USUAL_BLOCK: usize = (1 << 14) - 1;
/// Tokens of a block of GNU gzip, and of zlib with most memory.
const LARGE_BLOCK: usize = (1 << 15) - 1;

/// Plain bytes that the tokens at the start are made of, and what a parser reads ahead of them.
const START_SIZE: u64 = PREFIX_TOKENS as u64 * 258 + (256 << 10);

/// Finds a plan that `makes` the stream.
pub(crate) fn find(
    source: &mut dyn Source,
    makes: impl Fn(&Plan, &mut dyn Source) -> bool,
) -> Result<Plan, Refused> {
    let unreadable = |_| Refused::Unreadable;
    let prefix = Prefix::read(&mut source.readers().map_err(unreadable)?.0)?;
    let (_, start) = source.starts(0, START_SIZE).map_err(unreadable)?;
    for plan in prefix.candidates() {
        if prefix.is_predicted(plan.settings(), &start) {
            let plan = Plan::Zlib(plan);
            if makes(&plan, source) {
                return Ok(plan);
            }
        }
    }
    let blocks = prefix.start();
    let level = NEAR_LEVELS.into_iter().min_by_key(|level| corrections::estimate(*level, &blocks, &start));
    let level = level.unwrap_or(NEAR_LEVELS[0]);
    let (encoded_size, plain_size) = (source.encoded_size(), source.plain_size());
    // Recipes of a few bytes may be a large part of a tiny stream.
    let max = (encoded_size / 4).max(64).min(MAX_RECIPE_SIZE as u64 - 32);
    let (mut encoded, mut plain) = source.readers().map_err(unreadable)?;
    let plan = corrections::Plan::make(level, &mut encoded, &mut Plain::new(&mut plain, plain_size), max)?;
    drop((encoded, plain));
    if plan.encoded_size() != encoded_size {
        return Err(Refused::NotTheStream);
    }
    if encoded_size > corrections::max_encoded_size(plain_size) {
        return Err(Refused::Unsupported("deflate-empty-blocks"));
    }
    let plan = Plan::Corrections(plan);
    if makes(&plan, source) { Ok(plan) } else { Err(Refused::NotTheStream) }
}

/// The first blocks of a stream.
struct Prefix {
    blocks: Vec<Block>,
}

impl Prefix {
    fn read(encoded: &mut dyn Read) -> Result<Self, Refused> {
        let mut reader = BlockReader::new(encoded);
        let mut blocks = Vec::new();
        let mut count = 0;
        while count < PREFIX_TOKENS && blocks.len() < PREFIX_TOKENS {
            let Some(block) = reader.next().map_err(|_| Refused::Unsupported("deflate-block"))? else {
                break;
            };
            count += block.tokens.len();
            blocks.push(block);
        }
        Ok(Self { blocks })
    }

    /// The parameters of zlib and GNU gzip that the size of the first block leaves.
    fn candidates(&self) -> Vec<zlib::Plan> {
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

    /// Whether a parser predicts the first tokens.
    fn is_predicted(&self, settings: Settings, plain: &[u8]) -> bool {
        let mut reader = plain;
        let mut plain = Plain::new(&mut reader, plain.len() as u64);
        let mut parser = Parser::new(settings);
        // What tokens zlib took before it stored a block is not told.
        let told = self.blocks.iter().take_while(|block| !matches!(block.kind, Kind::Stored { .. }));
        told.flat_map(|block| &block.tokens).take(PREFIX_TOKENS).all(|token| {
            let is_right = matches!(parser.predict(&mut plain), Ok(Some(predicted)) if predicted == *token);
            if is_right {
                parser.commit(*token);
            }
            is_right
        })
    }

    /// The start of the stream, enough to tell which effort comes nearest.
    fn start(&self) -> Vec<Block> {
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
