//! The tokens and the blocks of libdeflate: at level 1 of a table of two places for each hash, at the levels 2 to 9 of
//! chains, greedy up to 4, lazy up to 7 and lazy by two bytes at 8 and 9.
//!
//! The encoder has all plain bytes at once. Its choices depend on how far the end is, but not on more than that a block
//! of most bytes and one of least bytes are ahead: as many are held before a block is parsed.

mod chains;
mod lazy;
mod split;
mod table;
mod window;

use self::chains::Chains;
pub(super) use self::split::TINY;

use self::split::Split;
use self::table::Table;
use self::window::Bytes;
use super::super::libdeflate_codes::kind;
use super::super::reader::Kind;
use super::super::token::{MAX_MATCH, MAX_STORED, Token};
use super::super::trees::Frequencies;
use super::groups::{Group, Outline, may_be_stored};
use super::history::WINDOW_SIZE;
use super::writer::Contents;

/// Fewest plain bytes of a block that is not the last.
const MIN_BLOCK: usize = 5000;
/// A block ends with the token that reaches so many plain bytes, if there are enough behind it for another.
const MAX_BLOCK: usize = 300_000;
/// Most references of a block.
const MAX_MATCHES: usize = 50_000;
/// The same of level 1.
const FAST_MAX_BLOCK: usize = 65_535;
const FAST_MAX_MATCHES: usize = 8192;
/// No string with fewer bytes up to the end is looked for.
const MIN_AHEAD: usize = 5;
/// Bytes that are held before those that are ahead, at most, but for a window.
const MAX_PAST: usize = 1 << 20;

/// The effort of a level.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// A match of so many bytes ends the search.
    nice: usize,
    /// Most strings that are looked at.
    depth: usize,
    manner: Manner,
}

/// The way in which tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The first match, of the table.
    Fastest,
    /// The first match, of the chains.
    Greedy,
    /// The match at the next byte, or at one of the next two, if it is better.
    Lazy { is_by_two: bool },
}

impl Effort {
    const fn of(level: u8) -> Self {
        let (nice, depth) = match level {
            1 => (32, 2),
            2 => (10, 6),
            3 => (14, 12),
            4 | 5 => (30, 16),
            6 => (65, 35),
            7 => (130, 100),
            8 => (MAX_MATCH, 300),
            _ => (MAX_MATCH, 600),
        };
        let manner = match level {
            1 => Manner::Fastest,
            2..5 => Manner::Greedy,
            5..8 => Manner::Lazy { is_by_two: false },
            _ => Manner::Lazy { is_by_two: true },
        };
        Self { nice, depth, manner }
    }

    /// Most plain bytes of a block, but for the last token.
    const fn max_block(self) -> usize {
        if matches!(self.manner, Manner::Fastest) { FAST_MAX_BLOCK } else { MAX_BLOCK }
    }
}

/// Hashes a string to so many bits.
const fn hash(value: u32, bits: u32) -> usize {
    (value.wrapping_mul(0x1e35_a7bd) >> (32 - bits)) as usize
}

/// The plain bytes that are known, and where their strings were.
pub(super) struct Libdeflate {
    effort: Effort,
    /// A plain stream of no more bytes is stored.
    max_stored: usize,
    is_earlier: bool,
    bytes: Bytes,
    /// The start of the next block.
    at: usize,
    /// A block was made.
    has_begun: bool,
    strings: Strings,
}

/// The places of strings.
enum Strings {
    Table(Table),
    Chains(Box<Chains>),
}

impl Libdeflate {
    /// The encoder of a level; `is_earlier` before version 1.19.
    pub(super) fn new(level: u8, is_earlier: bool) -> Self {
        let effort = Effort::of(level);
        let strings = if effort.manner == Manner::Fastest {
            Strings::Table(Table::new())
        } else {
            Strings::Chains(Box::new(Chains::new()))
        };
        let max_stored = 55 - 4 * usize::from(level);
        let bytes = Bytes::new();
        Self { effort, max_stored, is_earlier, at: bytes.end(), bytes, has_begun: false, strings }
    }

    /// Takes plain bytes in; gives the blocks that are whole.
    pub(super) fn take(&mut self, bytes: &[u8], is_end: bool) -> Vec<Group> {
        self.forget();
        self.bytes.extend(bytes);
        let mut groups = Vec::new();
        loop {
            let ahead = self.bytes.end() - self.at;
            if ahead == 0 || (!is_end && ahead < self.effort.max_block() + MIN_BLOCK) {
                return groups;
            }
            if is_end && !self.has_begun && ahead <= self.max_stored {
                groups.extend(Group::stored(&self.bytes.padded()[self.at..self.bytes.end()], true));
                self.at = self.bytes.end();
            } else {
                self.block(is_end, &mut groups);
            }
            self.has_begun = true;
        }
    }

    /// The work since this was asked last, in units of about a nanosecond.
    pub(super) fn work(&mut self) -> u64 {
        match &mut self.strings {
            Strings::Table(_) => 0,
            Strings::Chains(chains) => std::mem::take(&mut chains.work),
        }
    }

    /// Leaves out bytes that no reference can be to.
    fn forget(&mut self) {
        if self.at <= MAX_PAST + 2 * WINDOW_SIZE {
            return;
        }
        // The base is less than a window before the place, and has a window before it.
        let gone = (self.at - 2 * WINDOW_SIZE) / WINDOW_SIZE * WINDOW_SIZE;
        self.bytes.forget(gone);
        self.at -= gone;
        match &mut self.strings {
            Strings::Table(table) => table.shift(gone),
            Strings::Chains(chains) => chains.shift(gone),
        }
    }

    /// Finds the tokens of the next block.
    fn block(&mut self, is_end: bool, groups: &mut Vec<Group>) {
        let (start, end) = (self.at, self.bytes.end());
        let max = self.effort.max_block();
        let max_end = if end - start < max + MIN_BLOCK { end } else { start + max };
        let mut block = Choices::new(&self.bytes, start, max_end);
        match (&mut self.strings, self.effort.manner) {
            (Strings::Table(table), _) => block.fastest(table, self.effort.nice),
            (Strings::Chains(chains), Manner::Lazy { is_by_two }) => {
                block.lazy(chains, self.effort, is_by_two, self.is_earlier);
            }
            (Strings::Chains(chains), _) => block.greedy(chains, self.effort, self.is_earlier),
        }
        let (tokens, matches, block_end) = (block.tokens, block.matches, block.at);
        let is_last = is_end && block_end == end;
        // A large block is stored as several. The bit at which it begins is not known here: it is taken to be the
        // first of a byte. Where both kinds take nearly as much, the other one may be right, and corrections tell so.
        let is_large = block_end - start > MAX_STORED;
        if is_large && may_be_stored(tokens.len() - matches, matches, block_end - start) {
            let frequencies = Frequencies::of(&tokens);
            if let (Kind::Stored { .. }, _) = kind(&frequencies, Some(block_end - start), 0, self.is_earlier)
            {
                groups.extend(Group::stored(&self.bytes.padded()[start..block_end], is_last));
                self.at = block_end;
                return;
            }
        }
        self.at = block_end;
        groups.push(Group { outline: Outline { is_last, ..Outline::of(Contents::Tokens, is_last) }, tokens });
    }
}

/// The tokens of a block, as they are chosen.
struct Choices<'b> {
    /// The plain bytes and what is behind them, and their end.
    bytes: &'b [u8],
    end: usize,
    start: usize,
    /// The place of the next token.
    at: usize,
    /// The block ends with the token that reaches this place.
    max_end: usize,
    tokens: Vec<Token>,
    matches: usize,
    /// The number of each literal.
    literals: [u32; 256],
    split: Split,
}

impl<'b> Choices<'b> {
    fn new(bytes: &'b Bytes, start: usize, max_end: usize) -> Self {
        let tokens = Vec::with_capacity((max_end - start) / 4);
        let (bytes, end) = (bytes.padded(), bytes.end());
        let split = Split::default();
        Self { bytes, end, start, at: start, max_end, tokens, matches: 0, literals: [0; 256], split }
    }

    /// Most bytes of a match that begins so many bytes behind the next, and the number of them that is enough.
    #[inline]
    fn limits(&self, nice: usize, offset: usize) -> (usize, usize) {
        let max = (self.end - self.at - offset).min(MAX_MATCH);
        (max, nice.min(max))
    }

    /// Takes the next byte as a literal.
    #[inline]
    fn literal(&mut self) {
        let byte = self.push_literal();
        self.literals[usize::from(byte)] += 1;
        self.split.literal(byte);
    }

    #[inline]
    fn push_literal(&mut self) -> u8 {
        let byte = self.bytes[self.at];
        self.tokens.push(Token::literal(byte));
        self.at += 1;
        byte
    }

    /// Takes a match at the next byte.
    #[inline]
    fn reference(&mut self, size: usize, source: usize) {
        self.push_reference(size, source);
        self.split.reference(size);
    }

    #[inline]
    fn push_reference(&mut self, size: usize, source: usize) {
        self.tokens.push(Token::reference(size, self.at - source));
        self.matches += 1;
        self.at += size;
    }

    /// Tells whether the block ends here.
    #[inline]
    fn ends(&mut self) -> bool {
        self.at >= self.max_end
            || self.matches >= MAX_MATCHES
            || (self.at - self.start >= MIN_BLOCK
                && self.end - self.at >= MIN_BLOCK
                && self.split.ends(self.at - self.start))
    }

    fn fastest(&mut self, table: &mut Table, nice: usize) {
        while self.at < self.max_end && self.matches < FAST_MAX_MATCHES {
            let (max, nice) = self.limits(nice, 0);
            if max < MIN_AHEAD {
                while self.at < self.end {
                    self.push_literal();
                }
                return;
            }
            let (size, source) = table.longest(self.bytes, self.at, max, nice);
            if size == 0 {
                self.push_literal();
            } else {
                table.enter(self.bytes, self.at + 1, size - 1, self.end);
                self.push_reference(size, source);
            }
        }
    }

    fn greedy(&mut self, chains: &mut Chains, effort: Effort, is_earlier: bool) {
        let min = split::min_size(&self.bytes[self.start..self.max_end], effort.depth, is_earlier);
        loop {
            let (max, nice) = self.limits(effort.nice, 0);
            let (size, source) = chains.longest(self.bytes, self.at, min - 1, (max, nice), effort.depth);
            if size >= min && !is_far(size, self.at - source, GREEDY_MAX_DISTANCE) {
                chains.enter(self.bytes, self.at + 1, size - 1, self.end);
                self.reference(size, source);
            } else {
                self.literal();
            }
            if self.ends() {
                return;
            }
        }
    }
}

/// Longest distance of a match of three bytes, if the first match is taken.
const GREEDY_MAX_DISTANCE: usize = 4096;

/// Tells whether a match is so short that it is of no use at its distance.
const fn is_far(size: usize, distance: usize, max: usize) -> bool {
    size == 3 && distance > max
}
