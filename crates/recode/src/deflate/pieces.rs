//! The walk through a stream by pieces: what an encoder that runs ahead makes of a chunk, as a whole, or a part of a
//! block that is coded token by token.
//!
//! A block may have any number of tokens, of which no more than those of a chunk are held, or of what an encoder has
//! ahead.

use super::actual::Actual;
use super::ahead::{Ahead, CHUNK_SIZE, Piece};
use super::range::{Coder, Model};
use super::reader::{Kind, Start};
use super::token::Token;
use super::trees::{Frequencies, Header};
use super::walk::{BROKEN, Walk};
use super::zlib::{DYNAMIC, STATIC, STORED};
use crate::Result;
use crate::compare::Plain;

/// Work to decide what becomes of a chunk, in units of about a nanosecond.
const DECIDE_WORK: u64 = 64 << 10;

/// Most tokens of the rest of a block that is coded token by token. An encoder that runs ahead may have more plain
/// bytes ahead than a chunk.
const MAX_TOKENS: usize = 1 << 19;

/// The walk, and what was coded last.
pub(super) struct Pieces<C> {
    walk: Walk<C>,
    ahead: Option<Ahead>,
    /// A block has begun and not ended, and it is the last.
    is_open: bool,
    is_last: bool,
    is_other: [Model; 2],
    is_whole: Model,
    ends: Model,
    count: [Model; 32],
    was_other: usize,
    /// The header of the last block that had one.
    header: Header,
    /// What was coded last.
    made: Made,
}

/// A piece as it is written.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The end of the block before is written first.
    pub(super) ends_before: bool,
    /// The block that begins, and whether it is the last.
    pub(super) begin: Option<Start>,
    pub(super) tokens: Vec<Token>,
    /// Its plain bytes, if it is stored.
    pub(super) stored: Vec<u8>,
    /// The block ends, and the bits that fill the last byte of the stream if it does, too.
    pub(super) ends: bool,
    pub(super) padding: Option<u8>,
}

impl<C: Coder> Pieces<C> {
    /// A walk behind the encoder of a number, or none.
    pub(super) fn new(coder: C, level: u8) -> Self {
        Self {
            walk: Walk::new(coder, level),
            ahead: Ahead::of(level),
            is_open: false,
            is_last: false,
            is_other: [Model::NEW; 2],
            is_whole: Model::NEW,
            ends: Model::NEW,
            count: [Model::NEW; 32],
            was_other: 0,
            header: Header::of_zlib(&Frequencies::new()),
            made: Made::default(),
        }
    }

    pub(super) const fn made(&self) -> &Made {
        &self.made
    }

    pub(super) const fn coder(&self) -> &C {
        &self.walk.coder
    }

    pub(super) fn into_coder(self) -> C {
        self.walk.coder
    }

    /// Plain bytes that are read and in no piece yet.
    pub(super) const fn lookahead(&self) -> usize {
        self.walk.parser.lookahead()
    }

    /// Codes the next piece, of `actual` if the coder is an encoder. Tells whether it ends the stream.
    pub(super) fn piece(
        &mut self,
        plain: &mut Plain<'_>,
        mut actual: Option<&mut Actual<'_>>,
    ) -> Result<bool> {
        self.made = Made { tokens: std::mem::take(&mut self.made.tokens), ..Made::default() };
        self.made.tokens.clear();
        self.look_ahead(plain)?;
        let piece = self.ahead.as_ref().and_then(|ahead| ahead.piece(self.is_open));
        let mut expected = None;
        if let Some(piece) = piece {
            let is_right = match &mut actual {
                Some(actual) => actual.is(&piece, self.is_open)?,
                None => false,
            };
            // Zeros at the end of corrections are not written: where all is predicted, nothing is.
            let is_other = self.walk.coder.bit(&mut self.is_other[self.was_other], !is_right);
            self.was_other = usize::from(is_other);
            if !is_other {
                if let Some(actual) = actual {
                    actual.take(&piece);
                }
                return self.predicted(plain, piece);
            }
            expected = piece.begin;
        }
        if self.ahead.as_mut().is_some_and(Ahead::leave_flush) {
            self.look_ahead(plain)?;
        }
        self.other(plain, actual, expected)
    }

    fn look_ahead(&mut self, plain: &mut Plain<'_>) -> Result<()> {
        let Some(ahead) = &mut self.ahead else { return Ok(()) };
        while let Some((from, size)) = ahead.wants() {
            let parser = &mut self.walk.parser;
            let chunk = parser.chunk(from, size, plain)?;
            let left = parser.lookahead() as u64 + plain.left();
            let is_last = i64::try_from(left).unwrap_or(i64::MAX) <= from as i64 + chunk.len() as i64;
            plain.charge(ahead.parse(&chunk, is_last))?;
        }
        Ok(())
    }

    fn predicted(&mut self, plain: &mut Plain<'_>, piece: Piece) -> Result<bool> {
        let Some(ahead) = &mut self.ahead else { return Err(BROKEN) };
        if piece.begin.is_none() && !self.is_open {
            return Err(BROKEN);
        }
        ahead.accept(&piece);
        let is_stored = matches!(piece.begin, Some(Kind::Stored { .. }));
        let stored = is_stored.then_some(&mut self.made.stored);
        self.walk.parser.skip(piece.size, plain, stored)?;
        if let Some(begin) = piece.begin {
            self.begin(begin, piece.is_last)?;
        }
        self.made.tokens = piece.tokens;
        if piece.ends {
            self.end(0);
        }
        Ok(self.made.padding.is_some())
    }

    fn begin(&mut self, kind: Kind, is_last: bool) -> Result<()> {
        self.made.ends_before = self.is_open;
        if self.is_last {
            return Err(BROKEN);
        }
        if let Kind::Dynamic(header) = &kind {
            self.header.clone_from(header);
        }
        (self.is_open, self.is_last) = (true, is_last);
        self.made.begin = Some((kind, is_last));
        Ok(())
    }

    fn end(&mut self, padding: u8) {
        self.made.ends = true;
        self.is_open = false;
        self.made.padding = self.is_last.then_some(padding);
    }

    /// Codes a block that the encoder does not make, or what is left of one, as far as the chunk.
    fn other(
        &mut self,
        plain: &mut Plain<'_>,
        mut actual: Option<&mut Actual<'_>>,
        expected: Option<Kind>,
    ) -> Result<bool> {
        plain.charge(DECIDE_WORK)?;
        self.walk.parser.catch_up(plain)?;
        if let Some(ahead) = &mut self.ahead {
            ahead.close();
        }
        if !self.is_open {
            let start = match &mut actual {
                Some(actual) => actual.begin()?,
                None => None,
            };
            let (kind, is_last) =
                (start.as_ref().map(|(kind, _)| kind), start.as_ref().is_some_and(|start| start.1));
            let (is_last, code) = self.walk.start(kind, is_last);
            let kind = match code {
                STORED => {
                    self.walk.stored.clear();
                    let kind = self.walk.code_stored(plain, kind)?;
                    self.made.stored.clone_from(&self.walk.stored);
                    kind
                }
                STATIC => Kind::Static,
                DYNAMIC => {
                    let header = kind
                        .and_then(|kind| if let Kind::Dynamic(header) = kind { Some(header) } else { None });
                    let expected = match expected {
                        Some(Kind::Dynamic(expected)) => expected,
                        _ => self.header.clone(),
                    };
                    Kind::Dynamic(self.walk.header(header, expected)?)
                }
                _ => return Err(BROKEN),
            };
            self.begin(kind, is_last)?;
            if code == STORED {
                if let Some(ahead) = &mut self.ahead {
                    ahead.step(self.made.stored.len());
                }
                return self.padded_end(actual);
            }
        }
        self.tokens(plain, actual)
    }

    /// Codes tokens of the block that is open, as far as the chunk.
    fn tokens(&mut self, plain: &mut Plain<'_>, mut actual: Option<&mut Actual<'_>>) -> Result<bool> {
        let left = self.ahead.as_ref().map_or(CHUNK_SIZE, Ahead::left);
        let (mut count, mut is_whole, mut ends) = (0, false, false);
        if let Some(actual) = &mut actual {
            (count, is_whole, ends) = actual.count(left)?;
        }
        let is_whole = self.walk.coder.bit(&mut self.is_whole, is_whole);
        if is_whole {
            ends = self.walk.coder.bit(&mut self.ends, ends);
            if left == 0 && !ends {
                return Err(BROKEN);
            }
        } else {
            count =
                self.walk.coder.number(&mut self.count, u32::try_from(count).unwrap_or(u32::MAX)) as usize;
            ends = true;
            if count > MAX_TOKENS {
                return Err(BROKEN);
            }
        }
        let mut size = 0;
        while if is_whole { size < left } else { self.made.tokens.len() < count } {
            let ahead = self.ahead.as_ref().and_then(Ahead::token);
            let predicted = self.walk.parser.predict_or(ahead, plain)?.ok_or(BROKEN)?;
            self.walk.parser.enter_start();
            let token = match &actual {
                Some(actual) => Some(*actual.tokens().get(self.made.tokens.len()).ok_or(BROKEN)?),
                None => None,
            };
            let token = self.walk.token(predicted, token)?;
            self.walk.parser.commit(token);
            if let Some(ahead) = &mut self.ahead {
                ahead.step(token.size());
            }
            size += token.size();
            self.made.tokens.push(token);
        }
        if let Some(actual) = &mut actual {
            actual.skip(self.made.tokens.len());
        }
        if ends { self.padded_end(actual) } else { Ok(false) }
    }

    fn padded_end(&mut self, actual: Option<&mut Actual<'_>>) -> Result<bool> {
        if self.is_last {
            let padding = self.walk.padding(actual.map_or(0, |actual| actual.padding()));
            self.end(padding);
        } else {
            self.end(0);
        }
        Ok(self.made.padding.is_some())
    }
}

#[cfg(test)]
mod tests;
