//! Reads the blocks and tokens of a deflate stream, with all that a decoder forgets.

use std::io::Read;

use super::bits::BitReader;
use super::symbols::codes;
use super::token::{DISTANCE_BASE, DISTANCE_CODES, END_OF_BLOCK, LENGTH_BASE, MIN_MATCH, Token};
use super::token::{distance_extra, length_extra};
use super::trees::{Header, LENGTH_ORDER, LENGTH_SYMBOLS, MAX_BITS, repeat_extra, static_lengths};
use crate::{Codec, Error, Result};

/// Most tokens of a block, which are held together: the blocks of encoders in use are under 2^19.
pub(super) const MAX_BLOCK_TOKENS: usize = 1 << 22;

/// A block without its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Plain bytes: how many, and the bits before them that are there to fill a byte.
    Stored { size: u16, padding: u8 },
    /// The codes that every decoder knows.
    Static,
    /// Codes of its own.
    Dynamic(Header),
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// The bits that fill its last byte, if the stream ends with it.
    pub(super) last: Option<u8>,
    /// None if it is stored.
    pub(super) tokens: Vec<Token>,
}

pub(super) struct BlockReader<'i> {
    input: BitReader<'i>,
    /// The tables of the block whose tokens come next.
    tables: Option<(Table, Table)>,
    /// The block that began last is the last.
    is_last: bool,
}

/// The start of a block: its kind, and whether it is the last.
pub(super) type Start = (Kind, bool);

fn corrupt(reason: &str) -> Error {
    Error::Corrupt { codec: Codec::Deflate, reason: reason.into() }
}

impl<'i> BlockReader<'i> {
    pub(super) fn new(input: &'i mut dyn Read) -> Self {
        Self { input: BitReader::new(input), tables: None, is_last: false }
    }

    /// Bytes of the stream so far.
    pub(super) const fn size(&self) -> u64 {
        self.input.size()
    }

    /// The next block; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Block>> {
        let Some((kind, is_last)) = self.begin()? else { return Ok(None) };
        let mut tokens = Vec::new();
        if !self.tokens(&mut tokens, MAX_BLOCK_TOKENS + 1)? || tokens.len() > MAX_BLOCK_TOKENS {
            return Err(corrupt("a block has too many tokens"));
        }
        let last = if is_last { Some(self.padding()?) } else { None };
        Ok(Some(Block { kind, last, tokens }))
    }

    /// Begins the next block, and reads over its bytes if it is stored; `None` behind the last. The tokens of the
    /// block before are all read.
    pub(super) fn begin(&mut self) -> Result<Option<Start>> {
        if self.is_last {
            return Ok(None);
        }
        self.is_last = self.input.take(1)? == 1;
        let kind = match self.input.take(2)? {
            0 => self.stored()?,
            1 => {
                let (literals, distances) = static_lengths();
                self.tables = Some((Table::new(&literals)?, Table::new(&distances)?));
                Kind::Static
            }
            2 => {
                let header = self.header()?;
                let (literals, distances) = header.lengths();
                self.tables = Some((Table::new(&literals)?, Table::new(&distances)?));
                Kind::Dynamic(header)
            }
            _ => return Err(corrupt("no such kind of block")),
        };
        Ok(Some((kind, self.is_last)))
    }

    /// Tells whether the block that began last is the last of the stream.
    pub(super) const fn is_last(&self) -> bool {
        self.is_last
    }

    /// Reads the bits that fill the last byte of the stream.
    pub(super) fn padding(&mut self) -> Result<u8> {
        self.input.align()
    }

    fn stored(&mut self) -> Result<Kind> {
        let padding = self.input.align()?;
        let sizes = self.input.take(32)?;
        let [a, b, c, d] = sizes.to_le_bytes();
        let size = u16::from_le_bytes([a, b]);
        if size != !u16::from_le_bytes([c, d]) {
            return Err(corrupt("the sizes of a stored block differ"));
        }
        for _ in 0..size {
            self.input.take(8)?;
        }
        Ok(Kind::Stored { size, padding })
    }

    fn header(&mut self) -> Result<Header> {
        let mut field = |bits| self.input.take(bits).map(|value| value as usize);
        let (literals, distances, written) = (field(5)? + 257, field(5)? + 1, field(4)? + 4);
        let mut code_lengths = [0; LENGTH_SYMBOLS];
        for symbol in &LENGTH_ORDER[..written] {
            code_lengths[*symbol] = self.input.take(3)?.to_le_bytes()[0];
        }
        let table = Table::new(&code_lengths)?;
        let mut symbols = Vec::new();
        let mut count = 0;
        while count < literals + distances {
            let symbol = u8::try_from(table.read(&mut self.input)?).unwrap_or(0);
            let extra = self.input.take(repeat_extra(symbol))?;
            symbols.push((symbol, extra.to_le_bytes()[0]));
            count += match symbol {
                16 | 17 => 3 + extra as usize,
                18 => 11 + extra as usize,
                _ => 1,
            };
        }
        if count > literals + distances {
            return Err(corrupt("a run of lengths goes over the end"));
        }
        Ok(Header { literals, distances, written, code_lengths, symbols })
    }

    /// Reads tokens of the block up to so many in `tokens`. Tells whether the block ends behind them.
    pub(super) fn tokens(&mut self, tokens: &mut Vec<Token>, max: usize) -> Result<bool> {
        let Some((literals, distances)) = &self.tables else { return Ok(true) };
        while tokens.len() < max {
            let symbol = literals.read(&mut self.input)?;
            let token = match symbol.checked_sub(END_OF_BLOCK) {
                None => Token::literal(u8::try_from(symbol).unwrap_or(0)),
                Some(0) => {
                    self.tables = None;
                    return Ok(true);
                }
                Some(code) => {
                    let code = code - 1;
                    let base = *LENGTH_BASE.get(code).ok_or_else(|| corrupt("no such length"))?;
                    let size = usize::from(base) + MIN_MATCH + self.input.take(length_extra(code))? as usize;
                    // The longest size has a code of its own; that of 284 with all extra bits is as long.
                    if code == 27 && size == 258 {
                        return Err(corrupt("the longest size has an odd code"));
                    }
                    let code = distances.read(&mut self.input)?;
                    if code >= DISTANCE_CODES {
                        return Err(corrupt("no such distance"));
                    }
                    let extra = self.input.take(distance_extra(code))? as usize;
                    Token::reference(size, usize::from(DISTANCE_BASE[code]) + extra + 1)
                }
            };
            tokens.push(token);
        }
        Ok(false)
    }
}

/// Symbols by the bits that begin with their codes.
struct Table {
    /// Symbol and length of the code; length 0 is no code.
    entries: Vec<(u16, u8)>,
}

impl Table {
    fn new(lengths: &[u8]) -> Result<Self> {
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1);
        let space: u64 =
            lengths.iter().filter(|bits| **bits > 0).map(|bits| 1 << (MAX_BITS - usize::from(*bits))).sum();
        if space > 1 << MAX_BITS {
            return Err(corrupt("the codes of a block do not fit"));
        }
        let mut entries = vec![(0, 0); 1 << longest];
        for ((code, bits), symbol) in codes(lengths).into_iter().zip(0..) {
            if bits > 0 {
                let length = bits.to_le_bytes()[0];
                for entry in entries.iter_mut().skip(code as usize).step_by(1 << bits) {
                    *entry = (symbol, length);
                }
            }
        }
        Ok(Self { entries })
    }

    fn read(&self, input: &mut BitReader<'_>) -> Result<usize> {
        let bits = usize::try_from(input.peek()? & (self.entries.len() as u64 - 1)).unwrap_or(0);
        let (symbol, length) = self.entries[bits];
        if length == 0 {
            return Err(corrupt("no such code"));
        }
        input.skip(u32::from(length))?;
        Ok(usize::from(symbol))
    }
}
