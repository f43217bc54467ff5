//! The walk through the blocks of a stream that makes corrections and follows them.
//!
//! It codes for each token whether the parser predicted it, and if not, what it is. The walk is the
//! same when corrections are made and when they are followed; only the coder differs, so that the
//! two cannot drift apart. Followed corrections are hostile: each token takes plain bytes, each
//! block gives bits of output, and the output is bounded by the caller.

use super::parser::{MAX_RECORDS, Parser, Reason};
use super::range::{Coder, Model};
use super::reader::{Block, Kind, MAX_BLOCK_TOKENS};
use super::settings::of_corrections;
use super::token::{DISTANCE_BASE, DISTANCE_CODES, MIN_MATCH, Token, distance_extra};
use super::trees::{Frequencies, Header, LENGTH_ORDER, LENGTH_SYMBOLS, repeat_extra};
use super::zlib::{DYNAMIC, STATIC, STORED};
use super::{BLOCK_WORK, CORRECT_WORK};
use crate::compare::Plain;
use crate::{Error, Result};

/// Most strings that are looked at for a reference that was not predicted: those further off are
/// told by their distance.
const MAX_CHAIN: usize = 1024;

/// The models of all that is coded, and what was coded last.
pub(super) struct Walk<C> {
    pub(super) coder: C,
    pub(super) parser: Parser,
    /// The block that was coded last.
    pub(super) block: Block,
    /// Its plain bytes, if it is stored.
    pub(super) stored: Vec<u8>,
    frequencies: Frequencies,
    models: Models,
    /// A bit for each of the last predictions that was right, the last in the lowest bit.
    history: usize,
    last_count: usize,
}

struct Models {
    is_last: Model,
    kind: [Model; 4],
    is_same_count: Model,
    is_to_end: Model,
    count: [Model; 32],
    stored_size: [Model; 32],
    has_padding: Model,
    is_right: [[Model; 4]; SHAPES + 8],
    is_literal: [Model; SHAPES],
    is_record: [Model; MAX_RECORDS],
    record: [[[Model; 8]; MAX_RECORDS]; MAX_RECORDS + 1],
    is_whole: [Model; 2],
    size: [[Model; 256]; 2],
    is_in_chain: [Model; 2],
    hops: [[Model; 32]; 2],
    distance: [Model; 32],
    is_zlib_header: Model,
    counts: [[Model; 32]; 3],
    code_length: [[Model; 8]; 8],
    symbol: [[Model; 32]; 17],
    extra: [[Model; 128]; 3],
}

impl Models {
    const fn new() -> Self {
        const NEW: Model = Model::NEW;
        Self {
            is_last: NEW,
            kind: [NEW; 4],
            is_same_count: NEW,
            is_to_end: NEW,
            count: [NEW; 32],
            stored_size: [NEW; 32],
            has_padding: NEW,
            is_right: [[NEW; 4]; SHAPES + 8],
            is_literal: [NEW; SHAPES],
            is_record: [NEW; MAX_RECORDS],
            record: [[[NEW; 8]; MAX_RECORDS]; MAX_RECORDS + 1],
            is_whole: [NEW; 2],
            size: [[NEW; 256]; 2],
            is_in_chain: [NEW; 2],
            hops: [[NEW; 32]; 2],
            distance: [NEW; 32],
            is_zlib_header: NEW,
            counts: [[NEW; 32]; 3],
            code_length: [[NEW; 8]; 8],
            symbol: [[NEW; 32]; 17],
            extra: [[NEW; 128]; 3],
        }
    }
}

/// What is coded cannot be.
pub(super) const BROKEN: Error = Error::Mismatch { reason: "it does not follow them" };

impl<C: Coder> Walk<C> {
    pub(super) fn new(coder: C, level: u8) -> Self {
        Self {
            coder,
            parser: Parser::new(of_corrections(level)),
            block: Block { kind: Kind::Static, last: None, tokens: Vec::new() },
            stored: Vec::new(),
            frequencies: Frequencies::new(),
            models: Models::new(),
            history: 0,
            last_count: 0,
        }
    }

    /// Codes a block, which is `actual` if the coder is an encoder. Says whether it is the last.
    pub(super) fn block(&mut self, plain: &mut Plain<'_>, actual: Option<&Block>) -> Result<bool> {
        self.block.tokens.clear();
        self.stored.clear();
        plain.charge(BLOCK_WORK)?;
        self.frequencies = Frequencies::new();
        let (is_last, kind) =
            self.start(actual.map(|block| &block.kind), actual.is_some_and(|block| block.last.is_some()));
        self.block.kind = match kind {
            STORED => self.code_stored(plain, actual.map(|block| &block.kind))?,
            STATIC | DYNAMIC => {
                self.tokens(plain, actual.map(|block| block.tokens.as_slice()))?;
                let header = actual.and_then(|block| match &block.kind {
                    Kind::Dynamic(header) => Some(header),
                    _ => None,
                });
                if kind == STATIC {
                    Kind::Static
                } else {
                    let of_zlib = Header::of_zlib(&self.frequencies);
                    Kind::Dynamic(self.header(header, of_zlib)?)
                }
            }
            _ => return Err(BROKEN),
        };
        let padding = actual.and_then(|block| block.last).unwrap_or(0);
        self.block.last = if is_last { Some(self.padding(padding)) } else { None };
        Ok(is_last)
    }

    /// Codes whether the block is the last, and its kind.
    pub(super) fn start(&mut self, kind: Option<&Kind>, is_last: bool) -> (bool, u32) {
        let is_last = self.coder.bit(&mut self.models.is_last, is_last);
        let kind = kind.map_or(0, |kind| match kind {
            Kind::Stored { .. } => STORED,
            Kind::Static => STATIC,
            Kind::Dynamic(_) => DYNAMIC,
        });
        (is_last, self.coder.tree(&mut self.models.kind, kind, 2))
    }

    /// Codes the bits that fill a byte.
    pub(super) fn padding(&mut self, padding: u8) -> u8 {
        if !self.coder.bit(&mut self.models.has_padding, padding != 0) {
            return 0;
        }
        self.coder.raw(u32::from(padding), 8).to_le_bytes()[0]
    }

    /// Codes a stored block.
    pub(super) fn code_stored(&mut self, plain: &mut Plain<'_>, actual: Option<&Kind>) -> Result<Kind> {
        let (size, padding) = match actual {
            Some(Kind::Stored { size, padding }) => (*size, *padding),
            _ => (0, 0),
        };
        let padding = self.padding(padding);
        let size = self.coder.number(&mut self.models.stored_size, u32::from(size));
        let size = u16::try_from(size).map_err(|_| BROKEN)?;
        if size == 0 {
            self.parser.flush();
        }
        for _ in 0..size {
            self.parser.read_on(plain)?;
            if self.parser.lookahead() == 0 {
                return Err(BROKEN);
            }
            self.stored.push(self.parser.byte());
            self.parser.commit(Token::literal(self.parser.byte()));
        }
        Ok(Kind::Stored { size, padding })
    }

    fn tokens(&mut self, plain: &mut Plain<'_>, actual: Option<&[Token]>) -> Result<()> {
        self.parser.read_on(plain)?;
        let left = self.parser.lookahead() as u64 + plain.left();
        let count = actual.map_or(0, <[Token]>::len);
        let is_same = self.coder.bit(&mut self.models.is_same_count, count == self.last_count);
        let mut count = if is_same { self.last_count } else { count };
        if !is_same {
            let is_to_end = actual
                .is_some_and(|tokens| tokens.iter().map(|token| token.size() as u64).sum::<u64>() == left);
            let is_to_end = self.coder.bit(&mut self.models.is_to_end, is_to_end);
            if is_to_end {
                count = MAX_BLOCK_TOKENS;
            } else {
                let number = u32::try_from(count).unwrap_or(u32::MAX);
                count = self.coder.number(&mut self.models.count, number) as usize;
                self.last_count = count;
            }
            if count > MAX_BLOCK_TOKENS {
                return Err(BROKEN);
            }
            if is_to_end && left == 0 {
                return Ok(());
            }
            return self.some_tokens(plain, actual, count, is_to_end);
        }
        self.some_tokens(plain, actual, count, false)
    }

    fn some_tokens(
        &mut self,
        plain: &mut Plain<'_>,
        actual: Option<&[Token]>,
        count: usize,
        is_to_end: bool,
    ) -> Result<()> {
        for index in 0..count {
            let Some(predicted) = self.parser.predict(plain)? else {
                return if is_to_end { Ok(()) } else { Err(BROKEN) };
            };
            let token = match actual {
                Some(tokens) => Some(*tokens.get(index).ok_or(BROKEN)?),
                None => None,
            };
            let token = self.token(predicted, token)?;
            self.parser.commit(token);
            self.frequencies.count(token);
            self.block.tokens.push(token);
        }
        Ok(())
    }

    /// Codes the token at the parser's place.
    pub(super) fn token(&mut self, predicted: Token, actual: Option<Token>) -> Result<Token> {
        self.parser.add_work(CORRECT_WORK);
        let context =
            if predicted.is_literal() { literal_context(self.parser.reason()) } else { shape(predicted) };
        let is_right =
            self.coder.bit(&mut self.models.is_right[context][self.history], actual == Some(predicted));
        self.history = (self.history << 1 | usize::from(!is_right)) & 3;
        if is_right {
            return Ok(predicted);
        }
        if !predicted.is_literal() {
            let is_literal = actual.is_some_and(Token::is_literal);
            if self.coder.bit(&mut self.models.is_literal[context], is_literal) {
                return Ok(Token::literal(self.parser.byte()));
            }
        }
        let records = self.parser.records(MAX_CHAIN);
        if let Some(distance) = self.record(&records, predicted, actual) {
            let record = records.iter().find(|record| record.distance() == distance).ok_or(BROKEN)?;
            let is_whole = actual == Some(*record);
            if self.coder.bit(&mut self.models.is_whole[usize::from(*record == predicted)], is_whole) {
                return Ok(*record);
            }
            let size = self.size(1, actual.map_or(0, Token::size))?;
            return Ok(Token::reference(size, distance));
        }
        let size = self.size(0, actual.map_or(0, Token::size))?;
        let distance = self.distance(size, actual.map_or(0, Token::distance))?;
        Ok(Token::reference(size, distance))
    }

    /// Codes which record a reference is, if it is one, by its distance; gives that.
    fn record(&mut self, records: &[Token], predicted: Token, actual: Option<Token>) -> Option<usize> {
        let count = records.len();
        if count == 0 {
            return None;
        }
        let of_predicted = records.iter().position(|record| *record == predicted).unwrap_or(MAX_RECORDS);
        let distance = actual.map_or(0, Token::distance);
        let index = records.iter().position(|record| record.distance() == distance);
        if !self.coder.bit(&mut self.models.is_record[count - 1], index.is_some()) {
            return None;
        }
        let models = &mut self.models.record[of_predicted][count - 1];
        let index = self.coder.tree(models, u32::try_from(index.unwrap_or(0)).unwrap_or(0), 3);
        records.get(index as usize).map(|record| record.distance())
    }

    fn size(&mut self, context: usize, actual: usize) -> Result<usize> {
        let number = u32::try_from(actual.saturating_sub(MIN_MATCH)).unwrap_or(0);
        let size = self.coder.tree(&mut self.models.size[context], number, 8) as usize + MIN_MATCH;
        if size > self.parser.lookahead() { Err(BROKEN) } else { Ok(size) }
    }

    fn distance(&mut self, size: usize, actual: usize) -> Result<usize> {
        let is_short = usize::from(size == MIN_MATCH);
        let hops = if self.coder.is_decoder() { None } else { self.parser.hops(size, actual, MAX_CHAIN) };
        if self.coder.bit(&mut self.models.is_in_chain[is_short], hops.is_some()) {
            let hops = u32::try_from(hops.unwrap_or(0)).unwrap_or(0);
            let hops = self.coder.number(&mut self.models.hops[is_short], hops);
            if !self.coder.is_decoder() {
                return Ok(actual);
            }
            return self.parser.hop(size, hops as usize, MAX_CHAIN).ok_or(BROKEN);
        }
        let (code, extra, _) = Token::reference(size, actual).distance_symbol();
        let code = self.coder.tree(&mut self.models.distance, u32::try_from(code).unwrap_or(0), 5) as usize;
        if code >= DISTANCE_CODES {
            return Err(BROKEN);
        }
        let extra = self.coder.raw(extra, distance_extra(code));
        Ok(usize::from(DISTANCE_BASE[code]) + extra as usize + 1)
    }

    /// Codes a header, which is likely the expected one.
    pub(super) fn header(&mut self, actual: Option<&Header>, expected: Header) -> Result<Header> {
        if self.coder.bit(&mut self.models.is_zlib_header, actual == Some(&expected)) {
            return Ok(expected);
        }
        let (expected_literals, expected_distances) = expected.lengths();
        let fields =
            actual.map_or([0; 3], |header| [header.literals - 257, header.distances - 1, header.written - 4]);
        let mut counts = [0; 3];
        for (index, field) in fields.into_iter().enumerate() {
            let field = u32::try_from(field).unwrap_or(0);
            counts[index] = self.coder.tree(&mut self.models.counts[index], field, 5) as usize;
        }
        let (literals, distances, written) = (counts[0] + 257, counts[1] + 1, counts[2] + 4);
        if written > LENGTH_SYMBOLS {
            return Err(BROKEN);
        }
        let mut code_lengths = [0; LENGTH_SYMBOLS];
        for symbol in &LENGTH_ORDER[..written] {
            let models = &mut self.models.code_length[usize::from(expected.code_lengths[*symbol])];
            let length = actual.map_or(0, |header| header.code_lengths[*symbol]);
            code_lengths[*symbol] = self.coder.tree(models, u32::from(length), 3).to_le_bytes()[0];
        }
        let mut symbols = Vec::new();
        let mut at = 0;
        while at < literals + distances {
            let expected = match at.checked_sub(literals) {
                None => expected_literals.get(at),
                Some(at) => expected_distances.get(at),
            };
            let models = &mut self.models.symbol[usize::from(expected.copied().unwrap_or(16))];
            let (symbol, extra) =
                actual.and_then(|header| header.symbols.get(symbols.len())).copied().unwrap_or((0, 0));
            let symbol = self.coder.tree(models, u32::from(symbol), 5).to_le_bytes()[0];
            let (kind, base) = match symbol {
                0..16 => (None, 1),
                16 => (Some(0), 3),
                17 => (Some(1), 3),
                18 => (Some(2), 11),
                _ => return Err(BROKEN),
            };
            let extra = kind.map_or(0, |kind: usize| {
                self.coder.tree(&mut self.models.extra[kind], u32::from(extra), repeat_extra(symbol))
            });
            at += base + extra as usize;
            symbols.push((symbol, extra.to_le_bytes()[0]));
        }
        Ok(Header { literals, distances, written, code_lengths, symbols })
    }
}

/// A number for why a literal was predicted, behind those of [`shape`].
fn literal_context(reason: Reason) -> usize {
    SHAPES
        + match reason {
            Reason::Nothing => 0,
            Reason::Short => 1,
            Reason::Lazy { gain, is_farther } => 2 + (gain - 1).min(2) * 2 + usize::from(is_farther),
        }
}

/// The number of values that [`shape`] gives.
const SHAPES: usize = 15;

/// A small number for what references are alike in how often they are mispredicted.
fn shape(reference: Token) -> usize {
    let size = match reference.size() {
        3 => 0,
        4 => 1,
        5..8 => 2,
        8..16 => 3,
        _ => 4,
    };
    let distance = match reference.distance() {
        ..=256 => 0,
        257..=4096 => 1,
        _ => 2,
    };
    size * 3 + distance
}
