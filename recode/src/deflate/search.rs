//! Finds what makes a deflate stream.

use super::corrections;
use super::parser::{Parser, Settings};
use super::reader::{Block, BlockReader, Kind};
use super::token::Token;
use super::{Plan, zlib};
use crate::Refused;
use crate::compare::Plain;

/// Tokens at the start of a stream that tell the encoder.
const PREFIX_TOKENS: usize = 8 << 10;
/// Tokens that tell which level comes nearest.
const LEVEL_TOKENS: usize = 4 << 10;
/// Levels, the likely first.
const LEVELS: [u8; 9] = [6, 9, 1, 5, 4, 8, 7, 3, 2];
/// Levels for corrections: the others differ little from them.
const NEAR_LEVELS: [u8; 6] = [6, 9, 4, 1, 3, 8];
/// Tokens of a block of zlib with its usual memory.
const USUAL_BLOCK: usize = (1 << 14) - 1;
/// Tokens of a block of GNU gzip, and of zlib with most memory.
const LARGE_BLOCK: usize = (1 << 15) - 1;

/// Finds a plan that `makes` the stream.
pub(crate) fn find(encoded: &[u8], plain: &[u8], makes: impl Fn(&Plan) -> bool) -> Result<Plan, Refused> {
    let prefix = Prefix::read(encoded)?;
    for plan in prefix.candidates() {
        if prefix.mispredictions(plan.settings(), plain, PREFIX_TOKENS, 0) == 0 {
            let plan = Plan::Zlib(plan);
            if makes(&plan) {
                return Ok(plan);
            }
        }
    }
    let (mut level, mut least) = (NEAR_LEVELS[0], usize::MAX);
    for near in NEAR_LEVELS {
        let settings = corrections::settings(near);
        let count = prefix.mispredictions(settings, plain, LEVEL_TOKENS, least);
        if count < least {
            (level, least) = (near, count);
        }
    }
    // Recipes of a few bytes may be a large part of a tiny stream.
    let max = (encoded.len() as u64 / 4).max(64);
    let (mut input, mut reader) = (encoded, plain);
    let plan =
        corrections::Plan::make(level, &mut input, &mut Plain::new(&mut reader, plain.len() as u64), max)?;
    if plan.encoded_size() != encoded.len() as u64 {
        return Err(Refused::NotTheStream);
    }
    let plan = Plan::Corrections(plan);
    if makes(&plan) { Ok(plan) } else { Err(Refused::NotTheStream) }
}

/// The first blocks of a stream.
struct Prefix {
    blocks: Vec<Block>,
}

impl Prefix {
    fn read(mut encoded: &[u8]) -> Result<Self, Refused> {
        let mut reader = BlockReader::new(&mut encoded);
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

    /// How many of the first tokens a parser mispredicts; gives up over `max`.
    fn mispredictions(&self, settings: Settings, plain: &[u8], tokens: usize, max: usize) -> usize {
        let mut reader = plain;
        let mut plain = Plain::new(&mut reader, plain.len() as u64);
        let mut parser = Parser::new(settings);
        let mut count = 0;
        // What tokens zlib took before it stored a block is not told.
        let told = self.blocks.iter().take_while(|block| !matches!(block.kind, Kind::Stored { .. }));
        for token in told.flat_map(|block| &block.tokens).take(tokens) {
            let Ok(Some(predicted)) = parser.predict(&mut plain) else { return usize::MAX };
            if predicted != *token {
                count += 1;
                if count > max || !fits(*token, &parser) {
                    return count;
                }
            }
            parser.commit(*token);
        }
        count
    }
}

fn fits(token: Token, parser: &Parser) -> bool {
    token.size() <= parser.lookahead()
}
