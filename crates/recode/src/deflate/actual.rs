//! The stream that is being told, read as far as the walk asks.

use super::ahead::Piece;
use super::reader::{BlockReader, Start};
use super::token::Token;
use crate::Result;

/// Tokens that are read at once.
const READ_AHEAD: usize = 1 << 10;

/// The stream.
pub(super) struct Actual<'i> {
    reader: BlockReader<'i>,
    /// The block that begins next, once it was looked at; the tokens are its own then.
    start: Option<Start>,
    /// Tokens that were read, and the first that the walk has not passed.
    tokens: Vec<Token>,
    at: usize,
    /// The block ends behind the tokens, with these bits to fill the byte if it is the last.
    is_ended: bool,
    padding: u8,
}

impl<'i> Actual<'i> {
    pub(super) const fn new(reader: BlockReader<'i>) -> Self {
        Self { reader, start: None, tokens: Vec::new(), at: 0, is_ended: true, padding: 0 }
    }

    /// Bytes of the stream that were read.
    pub(super) const fn size(&self) -> u64 {
        self.reader.size()
    }

    /// The bits that fill the last byte, once it was read.
    pub(super) const fn padding(&self) -> u8 {
        self.padding
    }

    /// Tokens that were read ahead of the walk.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens[self.at..]
    }

    /// Reads ahead so many tokens, or as many as the block has.
    fn fill(&mut self, count: usize) -> Result<()> {
        if self.is_ended || self.tokens.len() - self.at >= count {
            return Ok(());
        }
        self.tokens.drain(..self.at);
        self.at = 0;
        self.is_ended = self.reader.tokens(&mut self.tokens, count)?;
        if self.is_ended && self.reader.is_last() {
            self.padding = self.reader.padding()?;
        }
        Ok(())
    }

    /// Looks at the start of the block behind the one that has ended.
    fn look(&mut self) -> Result<Option<&Start>> {
        if self.start.is_none() {
            self.start = self.reader.begin()?;
            self.tokens.clear();
            self.at = 0;
            self.is_ended = self.start.is_none();
            // A stored block has no tokens.
            self.fill(1)?;
        }
        Ok(self.start.as_ref())
    }

    /// Begins the next block.
    pub(super) fn begin(&mut self) -> Result<Option<Start>> {
        self.look()?;
        Ok(self.start.take())
    }

    /// Tells whether nothing is left of the block that the walk is in.
    fn has_ended(&mut self) -> Result<bool> {
        if self.start.is_none() {
            self.fill(1)?;
        }
        Ok(self.start.is_some() || (self.is_ended && self.at == self.tokens.len()))
    }

    /// Tells whether a piece comes next; `is_open` if the walk is in a block.
    pub(super) fn is(&mut self, piece: &Piece, is_open: bool) -> Result<bool> {
        if let Some(begin) = &piece.begin {
            if is_open && !self.has_ended()? {
                return Ok(false);
            }
            if self.look()?.is_none_or(|(kind, is_last)| kind != begin || *is_last != piece.is_last) {
                return Ok(false);
            }
        } else if !is_open || self.start.is_some() {
            return Ok(false);
        }
        self.fill(piece.tokens.len() + 1)?;
        let Some(rest) = self.tokens().strip_prefix(&*piece.tokens) else { return Ok(false) };
        Ok(!piece.ends || (rest.is_empty() && self.is_ended && self.padding == 0))
    }

    /// The walk passes a piece.
    pub(super) fn take(&mut self, piece: &Piece) {
        self.start = None;
        self.at += piece.tokens.len();
    }

    /// The walk passes so many tokens.
    pub(super) const fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// Returns how many tokens of the block make at least `size` plain bytes, if it has so many; otherwise all.
    /// Tells also whether it has, and whether the block ends behind them.
    pub(super) fn count(&mut self, size: usize) -> Result<(usize, bool, bool)> {
        if self.start.is_some() {
            // The walk is in the block before, of which nothing is left.
            return Ok((0, size == 0, true));
        }
        let (mut count, mut made) = (0, 0);
        while made < size {
            // No more is read than is needed, but for some tokens: the start of a stream may end soon.
            self.fill((count + READ_AHEAD).min(size + 1))?;
            let before = count;
            for token in &self.tokens()[before..] {
                if made >= size {
                    break;
                }
                made += token.size();
                count += 1;
            }
            if count == before {
                break;
            }
        }
        self.fill(count + 1)?;
        let ends = self.is_ended && count == self.tokens().len();
        Ok((count, made >= size, ends))
    }
}
