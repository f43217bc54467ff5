//! The tokens of the levels of Go up to 1.26 that search chains: greedy at 2 and 3, lazy from 4 on, in blocks of a
//! fixed number of tokens.
//!
//! The window is that of the encoder, since what it forgets, and when, shows in the stream.

use super::super::token::{MAX_MATCH, Token};
use super::history::common;

/// Most tokens of a block.
const BLOCK_TOKENS: usize = 1 << 14;
const WINDOW_SIZE: usize = 1 << 15;
const MASK: usize = WINDOW_SIZE - 1;
const HASH_BITS: u32 = 17;
/// Bytes of the strings in the chains.
const STRING_SIZE: usize = 4;
/// A reference of the least size over a longer distance costs more than its literals.
const TOO_FAR: usize = 4096;
/// Bytes that are wanted ahead, but at the end.
const LOOKAHEAD: usize = STRING_SIZE + MAX_MATCH;
/// The offset of places in the tables over which they are moved back.
const MAX_OFFSET: usize = 1 << 30;
/// Work to look at a string of a chain, and to compare it, in units of about a nanosecond.
const STRING_WORK: u64 = 3;
const COMPARE_WORK: u64 = 12;

/// The effort of a level.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// No search behind a match of so many bytes; 0 is greedy.
    lazy: usize,
    /// A match of so many bytes ends the search.
    nice: usize,
    /// Most strings that are looked at.
    chain: usize,
    /// Strings of no longer matches are entered, where the level is greedy.
    entered: usize,
}

impl Effort {
    const fn of(level: u8) -> Self {
        let (lazy, nice, chain, entered) = match level {
            2 => (0, 16, 8, 5),
            3 => (0, 32, 32, 6),
            4 => (4, 16, 16, 0),
            5 => (16, 32, 32, 0),
            6 => (16, 128, 128, 0),
            7 => (32, 128, 256, 0),
            8 => (128, 258, 1024, 0),
            _ => (258, 258, 4096, 0),
        };
        Self { lazy, nice, chain, entered }
    }
}

/// The tokens of a block.
pub(super) struct Block {
    pub(super) tokens: Vec<Token>,
    /// The window holds its plain bytes, so that they can be stored.
    pub(super) is_known: bool,
}

/// A match that was found.
#[derive(Debug, Clone, Copy, Default)]
struct Match {
    /// Under [`STRING_SIZE`] is none.
    size: usize,
    distance: usize,
}

/// The window, and what is known of it.
pub(super) struct Lazy {
    effort: Effort,
    window: Vec<u8>,
    /// The end of the bytes in the window, and the next of them.
    end: usize,
    index: usize,
    /// The start of the block, if it is still there.
    block_start: Option<usize>,
    /// The last place of each hash, and the place before of each place, both with `offset` added: 0 is none.
    head: Vec<u32>,
    previous: Vec<u32>,
    offset: usize,
    /// The place that was last looked up, as it is in `head`.
    found: u32,
    /// The match at the byte before.
    last: Match,
    /// The byte before is in no token yet.
    is_waiting: bool,
    tokens: Vec<Token>,
    blocks: Vec<Block>,
    work: u64,
}

impl Lazy {
    pub(super) fn new(level: u8) -> Self {
        Self {
            effort: Effort::of(level),
            window: vec![0; 2 * WINDOW_SIZE],
            end: 0,
            index: 0,
            block_start: Some(0),
            head: vec![0; 1 << HASH_BITS],
            previous: vec![0; WINDOW_SIZE],
            offset: 1,
            found: 0,
            last: Match::default(),
            is_waiting: false,
            tokens: Vec::new(),
            blocks: Vec::new(),
            work: 0,
        }
    }

    /// Takes plain bytes in; gives the blocks that are full, at the end of all bytes also the last.
    pub(super) fn take(&mut self, mut bytes: &[u8], is_end: bool) -> Vec<Block> {
        while !bytes.is_empty() {
            if self.index >= 2 * WINDOW_SIZE - LOOKAHEAD {
                self.slide();
            }
            let size = bytes.len().min(2 * WINDOW_SIZE - self.end);
            let (now, later) = bytes.split_at(size);
            self.window[self.end..self.end + size].copy_from_slice(now);
            self.end += size;
            bytes = later;
            if self.end == 2 * WINDOW_SIZE {
                self.parse(false);
            }
        }
        if is_end {
            self.parse(true);
        }
        std::mem::take(&mut self.blocks)
    }

    /// The work since this was asked last, in units of about a nanosecond.
    pub(super) fn work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW_SIZE.., 0);
        self.index -= WINDOW_SIZE;
        self.end -= WINDOW_SIZE;
        self.block_start = self.block_start.and_then(|start| start.checked_sub(WINDOW_SIZE));
        self.offset += WINDOW_SIZE;
        if self.offset > MAX_OFFSET {
            let gone = u32::try_from(self.offset - 1).unwrap_or(u32::MAX);
            for place in self.head.iter_mut().chain(&mut self.previous).chain([&mut self.found]) {
                *place = place.saturating_sub(gone);
            }
            self.offset = 1;
        }
    }

    const fn is_greedy(&self) -> bool {
        self.effort.lazy == 0
    }

    /// Finds tokens as far as enough bytes are ahead, or to the end.
    fn parse(&mut self, is_end: bool) {
        loop {
            let ahead = self.end - self.index;
            if ahead < LOOKAHEAD && !is_end {
                return;
            }
            if ahead == 0 {
                if std::mem::take(&mut self.is_waiting) {
                    self.push(Token::literal(self.window[self.index - 1]), self.index);
                }
                if !self.tokens.is_empty() {
                    self.end_block(self.index);
                }
                return;
            }
            if self.index + STRING_SIZE <= self.end {
                self.found = self.enter(self.index);
            }
            let last = std::mem::take(&mut self.last);
            let may_search = if self.is_greedy() {
                ahead >= STRING_SIZE
            } else {
                ahead > last.size.max(3) && last.size < self.effort.lazy
            };
            let found = if may_search { self.search(ahead) } else { Match::default() };
            if self.is_greedy() {
                self.greedy(found);
            } else if last.size >= STRING_SIZE && found.size <= last.size {
                let end = self.index + last.size - 1;
                self.enter_until(end);
                self.index = end;
                self.is_waiting = false;
                self.push(Token::reference(last.size, last.distance), end);
            } else {
                if self.is_waiting {
                    self.push(Token::literal(self.window[self.index - 1]), self.index);
                }
                self.last = found;
                self.index += 1;
                self.is_waiting = true;
            }
        }
    }

    /// Takes what was found at once.
    fn greedy(&mut self, found: Match) {
        if found.size >= STRING_SIZE {
            let end = self.index + found.size;
            if found.size <= self.effort.entered {
                self.enter_until(end);
            }
            self.index = end;
            self.push(Token::reference(found.size, found.distance), end);
        } else {
            self.index += 1;
            self.push(Token::literal(self.window[self.index - 1]), self.index);
        }
    }

    fn push(&mut self, token: Token, end: usize) {
        self.tokens.push(token);
        if self.tokens.len() == BLOCK_TOKENS {
            self.end_block(end);
        }
    }

    fn end_block(&mut self, end: usize) {
        let is_known = self.block_start.is_some_and(|start| start <= end);
        self.blocks.push(Block { tokens: std::mem::take(&mut self.tokens), is_known });
        self.block_start = Some(end);
    }

    /// Enters the string at a place into its chain; gives the one before.
    fn enter(&mut self, at: usize) -> u32 {
        let bytes = self.window[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let hash = (bytes.wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS)) as usize;
        let place = u32::try_from(at + self.offset).unwrap_or(0);
        let before = std::mem::replace(&mut self.head[hash], place);
        self.previous[at & MASK] = before;
        before
    }

    /// Enters the strings behind the next place up to `end`.
    fn enter_until(&mut self, end: usize) {
        for at in self.index + 1..end.min((self.end + 1).saturating_sub(STRING_SIZE)) {
            self.enter(at);
        }
    }

    /// The longest match in the chain that was looked up last.
    fn search(&mut self, ahead: usize) -> Match {
        let at = self.index;
        let max = ahead.min(MAX_MATCH);
        let nice = self.effort.nice.min(max);
        let least = at.saturating_sub(WINDOW_SIZE);
        let place = |entry: u32| (entry as usize).checked_sub(self.offset).filter(|place| *place >= least);
        let mut found = Match { size: STRING_SIZE - 1, distance: 0 };
        let mut next = place(self.found);
        let mut work = 0;
        for _ in 0..self.effort.chain {
            let Some(source) = next.filter(|source| *source < at) else { break };
            work += STRING_WORK;
            if self.window[source + found.size] == self.window[at + found.size] {
                work += COMPARE_WORK;
                let size = common(&self.window, source, at, max);
                if size > found.size && (size > STRING_SIZE || at - source <= TOO_FAR) {
                    found = Match { size, distance: at - source };
                    if size >= nice {
                        break;
                    }
                }
            }
            if source + WINDOW_SIZE == at {
                // What was before it is overwritten.
                break;
            }
            next = place(self.previous[source & MASK]);
        }
        self.work += work;
        if found.distance == 0 { Match::default() } else { found }
    }
}
