//! Deflate as zlib and GNU gzip make it: the parser's own tokens, in blocks of a fixed number.

use std::io::Write;

use super::BLOCK_WORK;
use super::bits::BitWriter;
use super::parser::Parser;
use super::reader::Kind;
use super::settings::{Effort, Settings, Strategy};
use super::symbols::write_tokens;
use super::token::{DISTANCE_CODES, Token, distance_extra};
use super::trees::{Frequencies, Header, static_lengths};
use crate::compare::Plain;
use crate::wire::Fields;
use crate::{Error, Result};

pub(super) const STORED: u32 = 0;
pub(super) const STATIC: u32 = 1;
pub(super) const DYNAMIC: u32 = 2;
/// The memory level that zlib has by default.
pub(super) const USUAL_MEMORY: u8 = 8;

/// The parameters of an encoder of the zlib family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// 1 to 9.
    pub(super) level: u8,
    /// Base-2 logarithm of the window in bytes, 9 to 15.
    pub(super) window_bits: u8,
    /// The memory that zlib may take, 1 to 9: tokens of a block, and chains.
    pub(super) mem_level: u8,
    pub(super) strategy: Strategy,
    /// GNU gzip instead of zlib. It has one window and one memory level.
    pub(super) is_gnu: bool,
}

impl Plan {
    pub(super) const fn of_zlib(level: u8, mem_level: u8) -> Self {
        Self { level, window_bits: 15, mem_level, strategy: Strategy::Default, is_gnu: false }
    }

    /// Tells whether it is zlib as nearly everybody calls it, but for the level.
    pub(super) fn is_usual(self) -> bool {
        self == Self::of_zlib(self.level, USUAL_MEMORY)
    }

    pub(super) const fn of_gnu(level: u8) -> Self {
        Self { is_gnu: true, ..Self::of_zlib(level, 9) }
    }

    pub(crate) fn parse(fields: &mut Fields<'_>, is_gnu: bool) -> Result<Self> {
        let broken = |reason| Error::BadRecipe { reason };
        let level = fields.byte()?;
        if !(1..=9).contains(&level) {
            return Err(broken("no such level of deflate"));
        }
        let plan = if is_gnu {
            Self::of_gnu(level)
        } else {
            let (window_bits, mem_level) = (fields.byte()?, fields.byte()?);
            if !(9..=15).contains(&window_bits) || !(1..=9).contains(&mem_level) {
                return Err(broken("no such window or memory level of zlib"));
            }
            let strategy = match fields.byte()? {
                0 => Strategy::Default,
                1 => Strategy::Filtered,
                2 => Strategy::Huffman,
                3 => Strategy::Rle,
                4 => Strategy::Fixed,
                _ => return Err(broken("no such strategy of zlib")),
            };
            Self { level, window_bits, mem_level, strategy, is_gnu }
        };
        fields.end()?;
        Ok(plan)
    }

    pub(crate) fn write(self, bytes: &mut Vec<u8>) {
        bytes.push(self.level);
        if !self.is_gnu {
            let strategy = match self.strategy {
                Strategy::Default => 0,
                Strategy::Filtered => 1,
                Strategy::Huffman => 2,
                Strategy::Rle => 3,
                Strategy::Fixed => 4,
            };
            bytes.extend([self.window_bits, self.mem_level, strategy]);
        }
    }

    pub(super) fn settings(self) -> Settings {
        Settings {
            effort: Effort::of_level(self.level),
            strategy: self.strategy,
            window_bits: u32::from(self.window_bits),
            hash_bits: if self.is_gnu { 15 } else { u32::from(self.mem_level) + 7 },
            is_gnu: self.is_gnu,
            is_pgzip: false,
        }
    }

    /// Most tokens of a block.
    pub(super) const fn block_size(self) -> usize {
        (1 << (self.mem_level + 6)) - 1
    }

    const fn is_lazy(self) -> bool {
        self.level > 3 && !matches!(self.strategy, Strategy::Huffman | Strategy::Rle)
    }

    pub(crate) fn encode(self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let mut parser = Parser::new(self.settings());
        let mut output = BitWriter::new(output);
        let mut block = Block::new(self);
        while let Some(token) = parser.predict(plain)? {
            let is_full = block.push(token, parser.block_size());
            parser.commit(token);
            if self.ends_with(token, &mut parser, plain)? {
                break;
            }
            if is_full {
                plain.charge(BLOCK_WORK)?;
                block.write(&mut parser, false, &mut output)?;
            }
        }
        block.write(&mut parser, true, &mut output)?;
        output.align(0);
        output.flush()
    }

    /// Tells whether a token is the last of the plain bytes, if that is known before the next one is looked for: a lazy
    /// parser has read on before it lets a literal go, and does not look whether the block is full when it lets the
    /// last one go.
    pub(super) fn ends_with(self, token: Token, parser: &mut Parser, plain: &mut Plain<'_>) -> Result<bool> {
        if !self.is_lazy() || !token.is_literal() {
            return Ok(false);
        }
        parser.read_on(plain)?;
        Ok(parser.lookahead() == 0)
    }
}

/// The kind of block that zlib makes of tokens with these frequencies: the one that takes fewest bytes. `stored` is the
/// number of their plain bytes, if these are still there. Gives also the bits of the block, if it is not stored.
pub(super) fn kind(frequencies: &Frequencies, stored: Option<usize>, is_fixed: bool) -> (Kind, u64) {
    let header = Header::of_zlib(frequencies);
    let (literals, distances) = static_lengths();
    let of_static = frequencies.bits(&literals, &distances) + 3;
    let (literals, distances) = header.lengths();
    let of_header = frequencies.bits(&literals, &distances) + header.bits() + 3;
    let is_static = is_fixed || of_static.div_ceil(8) <= of_header.div_ceil(8);
    let bits = if is_static { of_static } else { of_header };
    let is_least = |size: &usize| *size as u64 + 4 <= bits.div_ceil(8);
    let kind = match stored.filter(is_least).and_then(|size| u16::try_from(size).ok()) {
        Some(size) => Kind::Stored { size, padding: 0 },
        None if is_static => Kind::Static,
        None => Kind::Dynamic(header),
    };
    (kind, bits)
}

/// The block that is being filled.
struct Block {
    plan: Plan,
    tokens: Vec<Token>,
    references: usize,
    frequencies: Frequencies,
}

impl Block {
    const fn new(plan: Plan) -> Self {
        Self { plan, tokens: Vec::new(), references: 0, frequencies: Frequencies::new() }
    }

    /// Adds a token that begins `offset` bytes into the block; says whether the block is full.
    fn push(&mut self, token: Token, offset: usize) -> bool {
        self.tokens.push(token);
        self.references += usize::from(!token.is_literal());
        self.frequencies.count(token);
        let count = self.tokens.len();
        let is_full = count == self.plan.block_size();
        if self.plan.is_gnu {
            let pays = self.plan.level > 2 && count.is_multiple_of(1 << 12) && self.ends_well(offset);
            return is_full || self.references == self.plan.block_size() + 1 || pays;
        }
        is_full
    }

    /// GNU gzip's guess that a new block pays: few references, and it came to half of the plain.
    fn ends_well(&self, offset: usize) -> bool {
        let bits =
            |code: usize| u64::from(self.frequencies.distances[code]) * u64::from(5 + distance_extra(code));
        let estimate = (self.tokens.len() as u64 * 8 + (0..DISTANCE_CODES).map(bits).sum::<u64>()) / 8;
        let offset = offset + usize::from(self.plan.is_lazy());
        self.references < self.tokens.len() / 2 && estimate < offset as u64 / 2
    }

    fn write(&mut self, parser: &mut Parser, is_last: bool, output: &mut BitWriter<'_>) -> Result<()> {
        let stored = parser.block().map(<[u8]>::len);
        let last = u32::from(is_last);
        match kind(&self.frequencies, stored, self.plan.strategy == Strategy::Fixed).0 {
            Kind::Stored { .. } => {
                output.put(last | STORED << 1, 3);
                output.align(0);
                write_stored(parser.block().unwrap_or_default(), output)?;
            }
            Kind::Static => {
                output.put(last | STATIC << 1, 3);
                let (literals, distances) = static_lengths();
                write_tokens(&self.tokens, &literals, &distances, output)?;
            }
            Kind::Dynamic(header) => {
                output.put(last | DYNAMIC << 1, 3);
                header.write(output);
                let (literals, distances) = header.lengths();
                write_tokens(&self.tokens, &literals, &distances, output)?;
            }
        }
        parser.end_block();
        self.tokens.clear();
        self.references = 0;
        self.frequencies = Frequencies::new();
        Ok(())
    }
}

/// Writes what a stored block is behind its first bits: the size twice, and the bytes.
pub(super) fn write_stored(bytes: &[u8], output: &mut BitWriter<'_>) -> Result<()> {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    output.put_bytes(&size.to_le_bytes())?;
    output.put_bytes(&(!size).to_le_bytes())?;
    output.put_bytes(bytes)
}
