//! The token that zlib takes at each place: its window, its chains of strings with equal hash, and its
//! rules of greed and laziness.
//!
//! One parser serves two ends: it says what zlib makes, and it predicts what another encoder makes,
//! which is then told what that encoder really made. So [`predict`](Parser::predict) and
//! [`commit`](Parser::commit) are apart. The window slides as zlib's does (deflate.c), because what
//! it forgets, and that position 0 of it is never matched, shows in the stream.

mod records;
mod search;
mod skip;

pub(super) use records::MAX_RECORDS;

use super::TOKEN_WORK;
use super::ahead::CHUNK_SIZE;
use super::pgzip::{DICTIONARY_SIZE, Pgzip};
use super::settings::{Settings, Strategy};
use super::token::{MAX_MATCH, MIN_MATCH, Token};
use crate::Result;
use crate::compare::Plain;

/// Bytes that zlib wants ahead, but at the end.
const MIN_LOOKAHEAD: usize = MAX_MATCH + MIN_MATCH + 1;
/// Bytes behind the window: GNU gzip puts zeros there at the end, and hashes them.
const SLACK: usize = 4;

/// The reason for which a literal was predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// No reference was found.
    Nothing,
    /// One was found that is too short for what it costs.
    Short,
    /// The next byte begins one that is longer, by so many bytes.
    Lazy { gain: usize, is_farther: bool },
}

/// A reference that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    size: usize,
    /// Bytes back from where it begins.
    distance: usize,
}

/// Work to look at a string of a chain, in units of about a nanosecond.
const STRING_WORK: u64 = 3;

pub(super) struct Parser {
    settings: Settings,
    window: Vec<u8>,
    /// The last string of each hash.
    head: Vec<u16>,
    /// The string before, of each string; 0 is none.
    previous: Vec<u16>,
    /// The start of the next token in the window.
    start: usize,
    /// Bytes that are read, from `start`.
    lookahead: usize,
    /// Strings before this place are in the chains, or left out for good.
    entered: usize,
    /// The start of the block in the window, if it is still there.
    block_start: Option<usize>,
    /// Plain bytes of the block so far.
    block_size: usize,
    is_at_end: bool,
    /// The match at `start` that a lazy search found from the byte before.
    pending: Option<Match>,
    /// The match that the prediction began with, and the one at the next byte that beats it.
    current: Option<Match>,
    next: Option<Match>,
    /// True if a reference was found and left as too short.
    was_short: bool,
    /// Work of tokens and of strings that were looked at, which is not charged yet.
    work: u64,
    /// Another parser, asked first.
    ahead: Option<Box<Pgzip>>,
    /// Steps were taken whose strings are not in the chains.
    is_stale: bool,
}

impl Parser {
    pub(super) fn new(settings: Settings) -> Self {
        let size = 1_usize << settings.window_bits;
        Self {
            settings,
            window: vec![0; size * 2 + SLACK],
            head: vec![0; 1 << settings.hash_bits],
            previous: vec![0; size],
            start: 0,
            lookahead: 0,
            entered: 0,
            block_start: Some(0),
            block_size: 0,
            is_at_end: false,
            pending: None,
            current: None,
            next: None,
            was_short: false,
            work: 0,
            ahead: settings.is_pgzip.then(|| Box::new(Pgzip::new())),
            is_stale: false,
        }
    }

    /// Begins anew behind a dictionary of at most a window, all of whose strings are entered
    /// (`deflateSetDictionary`), and reads the first bytes.
    pub(super) fn restart(&mut self, dictionary: &[u8], plain: &mut Plain<'_>) -> Result<()> {
        self.head.fill(0);
        self.start = dictionary.len();
        self.window[..self.start].copy_from_slice(dictionary);
        (self.lookahead, self.is_at_end, self.pending) = (0, false, None);
        self.end_block();
        self.read_on(plain)?;
        let end = self.start.min((self.start + self.lookahead + 1).saturating_sub(self.string_size()));
        (0..end).for_each(|at| {
            self.enter(at);
        });
        self.entered = self.start;
        Ok(())
    }

    const fn size(&self) -> usize {
        1 << self.settings.window_bits
    }

    /// Bytes of the strings that are in the chains.
    const fn string_size(&self) -> usize {
        if self.settings.effort.is_wide { MIN_MATCH + 1 } else { MIN_MATCH }
    }

    const fn max_distance(&self) -> usize {
        self.size() - MIN_LOOKAHEAD
    }

    /// Bytes that are read and not yet in a token: none at the end only, after a prediction.
    pub(super) const fn lookahead(&self) -> usize {
        self.lookahead
    }

    /// The next byte.
    pub(super) fn byte(&self) -> u8 {
        self.window[self.start]
    }

    /// The plain bytes of the block so far, if the window holds them all.
    pub(super) fn block(&self) -> Option<&[u8]> {
        self.block_start.map(|start| &self.window[start..self.start])
    }

    /// Plain bytes of the block so far.
    pub(super) const fn block_size(&self) -> usize {
        self.block_size
    }

    pub(super) const fn end_block(&mut self) {
        self.block_start = Some(self.start);
        self.block_size = 0;
    }

    /// Reads ahead as for the next prediction.
    pub(super) fn read_on(&mut self, plain: &mut Plain<'_>) -> Result<()> {
        self.fill(0, plain)?;
        self.look_ahead(plain)
    }

    /// The token that zlib takes next; `None` at the end.
    pub(super) fn predict(&mut self, plain: &mut Plain<'_>) -> Result<Option<Token>> {
        self.predict_or(None, plain)
    }

    /// The token `ahead` that another parser takes, if it is possible, or the one that zlib takes next; `None` at
    /// the end.
    pub(super) fn predict_or(
        &mut self,
        ahead: Option<Token>,
        plain: &mut Plain<'_>,
    ) -> Result<Option<Token>> {
        (self.current, self.next, self.was_short) = (None, None, false);
        self.read_on(plain)?;
        if self.lookahead == 0 {
            return Ok(None);
        }
        if let Some(token) =
            ahead.or_else(|| self.ahead.as_ref()?.token()).filter(|token| self.is_possible(*token))
        {
            return Ok(Some(token));
        }
        let literal = Token::literal(self.byte());
        match self.settings.strategy {
            Strategy::Huffman => return Ok(Some(literal)),
            Strategy::Rle => return Ok(Some(self.run().unwrap_or(literal))),
            _ => {}
        }
        let found = self.pending.take().or_else(|| self.search(0, MIN_MATCH - 1));
        let Some(found) = found else { return Ok(Some(literal)) };
        self.current = Some(found);
        if self.settings.effort.is_lazy {
            self.fill(1, plain)?;
            if found.size < usize::from(self.settings.effort.lazy) {
                self.next = self.search(1, found.size);
            }
            if self.next.is_some() {
                return Ok(Some(literal));
            }
        }
        Ok(self.current())
    }

    /// Has the parser that runs ahead be ahead.
    fn look_ahead(&mut self, plain: &mut Plain<'_>) -> Result<()> {
        let Some(mut ahead) = self.ahead.take() else { return Ok(()) };
        if ahead.wants_dictionary() {
            ahead.restart(&self.window[self.start.saturating_sub(DICTIONARY_SIZE)..self.start]);
        }
        if let Some(before) = ahead.wants() {
            ahead.parse(&self.chunk(-before.cast_signed(), CHUNK_SIZE, plain)?);
        }
        self.ahead = Some(ahead);
        Ok(())
    }

    /// Returns the next `size` plain bytes from a place relative to the next token, or all that are left.
    pub(super) fn chunk(&self, from: isize, size: usize, plain: &mut Plain<'_>) -> Result<Vec<u8>> {
        let (from, end) = (self.start.saturating_add_signed(from), self.start + self.lookahead);
        let mut chunk = Vec::with_capacity(size);
        chunk.extend(self.window[from.min(end)..end].iter().take(size));
        let skipped = from.saturating_sub(end);
        let ahead = plain.look_ahead(skipped + size - chunk.len())?;
        chunk.extend_from_slice(ahead.get(skipped..).unwrap_or_default());
        Ok(chunk)
    }

    /// Tells whether a token can stand here.
    fn is_possible(&self, token: Token) -> bool {
        if token.is_literal() { token == Token::literal(self.byte()) } else { token.size() <= self.lookahead }
    }

    /// The encoder flushed what it had.
    pub(super) fn flush(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.flush();
        }
    }

    fn current(&self) -> Option<Token> {
        self.current.map(|found| Token::reference(found.size, found.distance))
    }

    /// The reason for which the prediction was a literal.
    pub(super) fn reason(&self) -> Reason {
        match (self.current, self.next) {
            (Some(current), Some(next)) => Reason::Lazy {
                gain: next.size - current.size,
                is_farther: next.distance > current.distance * 4,
            },
            _ if self.was_short => Reason::Short,
            _ => Reason::Nothing,
        }
    }

    /// Goes on behind a token, which need not be the predicted one but must fit the lookahead.
    pub(super) fn commit(&mut self, token: Token) {
        self.work += TOKEN_WORK;
        let size = token.size();
        let end = self.start + size;
        if matches!(self.settings.strategy, Strategy::Huffman | Strategy::Rle) {
            // They have no use for chains.
        } else if token.is_literal() {
            self.pending = self.next.take();
            self.enter_until(end);
        } else {
            (self.pending, self.next) = (None, None);
            let left = self.lookahead - size;
            let effort = &self.settings.effort;
            let is_short = size <= usize::from(effort.lazy);
            if effort.is_lazy || (is_short && (self.settings.is_gnu || left >= MIN_MATCH)) {
                self.enter_until(end);
            }
        }
        if let Some(ahead) = &mut self.ahead {
            ahead.step(size);
        }
        self.entered = self.entered.max(end);
        self.start = end;
        self.lookahead -= size;
        self.block_size += size;
    }

    /// Has work be charged beside that of each token.
    pub(super) const fn add_work(&mut self, work: u64) {
        self.work += work;
    }

    /// Reads ahead, for a token that begins `offset` bytes behind the next, and slides the window
    /// when zlib does.
    fn fill(&mut self, offset: usize, plain: &mut Plain<'_>) -> Result<()> {
        let size = self.size();
        let is_full = |lookahead: usize| lookahead - offset >= MIN_LOOKAHEAD;
        if is_full(self.lookahead) || (self.settings.is_gnu && self.is_at_end) {
            return Ok(());
        }
        plain.charge(std::mem::take(&mut self.work))?;
        if self.start + offset >= size + self.max_distance() {
            self.slide();
        }
        while !self.is_at_end && !is_full(self.lookahead) {
            let end = self.start + self.lookahead;
            let read = plain.read(&mut self.window[end..size * 2])?;
            self.lookahead += read;
            if read == 0 {
                self.is_at_end = true;
                // GNU gzip hashes what is behind the end, and puts zeros there first.
                self.window[end..end + MIN_MATCH - 1].fill(0);
            }
        }
        Ok(())
    }

    fn slide(&mut self) {
        let size = self.size();
        self.window.copy_within(size..size * 2, 0);
        self.start -= size;
        self.entered = self.entered.saturating_sub(size);
        self.block_start = self.block_start.and_then(|start| start.checked_sub(size));
        if self.is_stale {
            return;
        }
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        for place in self.head.iter_mut().chain(&mut self.previous) {
            *place = place.saturating_sub(size);
        }
    }

    /// The run of the last byte, if it is long enough for a reference.
    fn run(&self) -> Option<Token> {
        let last = self.window[self.start.checked_sub(1)?];
        let ahead = &self.window[self.start..self.start + self.lookahead.min(MAX_MATCH)];
        let size = ahead.iter().take_while(|byte| **byte == last).count();
        (size >= MIN_MATCH).then(|| Token::reference(size, 1))
    }
}
