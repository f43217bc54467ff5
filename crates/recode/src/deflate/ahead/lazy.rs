//! The tokens of the levels of Go that search chains, in blocks of a fixed number of tokens. Those up to 1.26
//! are greedy at 2 and 3 and lazy from 4 on. From 1.27 on, levels 7 to 9 search chains. They are lazy, try to
//! better a match from its end, and skip strings where nothing is found for long. So are those of klauspost/compress
//! 1.15.12, which better a match in another way and count other bits.
//!
//! The window is that of the encoder, since what it forgets, and when, shows in the stream.

mod chains;

use super::super::go_codes::lengths;
use super::super::token::{MAX_MATCH, Token};
use super::super::trees::MAX_BITS;
use super::blocks::{Block, Blocks, LOOKAHEAD, WINDOW_SIZE, Window};
use super::history::common;

const HASH_BITS: u32 = 17;
/// Bytes of the strings in the chains.
const STRING_SIZE: usize = 4;
/// Bytes at the start that a better match need not share.
const MAY_DIFFER: usize = 2;
/// Bytes ahead whose codes tell what a match saves.
const SAMPLE_SIZE: usize = 1 << 15;
/// The offset of places in the tables over which they are moved back.
const MAX_OFFSET: usize = 1 << 30;

/// The encoders that search so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Go up to 1.26.
    Go,
    /// klauspost/compress 1.15.12.
    Klauspost,
    /// klauspost/compress 1.18.0 and later, and Go from 1.27 on.
    New,
}

impl Version {
    /// Tells whether matches are bettered from their ends, and strings skipped.
    const fn is_new(self) -> bool {
        !matches!(self, Self::Go)
    }
}

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
    version: Version,
}

impl Effort {
    const fn of(level: u8, version: Version) -> Self {
        let is_new = version.is_new();
        let (lazy, nice, chain, entered) = match level {
            7 if is_new => (12, 16, 24, 0),
            8 if is_new => (30, 40, 64, 0),
            _ if is_new => (258, 258, 1024, 0),
            2 => (0, 16, 8, 5),
            3 => (0, 32, 32, 6),
            4 => (4, 16, 16, 0),
            5 => (16, 32, 32, 0),
            6 => (16, 128, 128, 0),
            7 => (32, 128, 256, 0),
            8 => (128, 258, 1024, 0),
            _ => (258, 258, 4096, 0),
        };
        Self { lazy, nice, chain, entered, version }
    }

    /// Tells whether matches are taken by the bits that they save.
    const fn is_by_gain(&self) -> bool {
        self.version.is_new() && self.chain > 100
    }
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
    window: Window,
    blocks: Blocks,
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
    /// Bytes without a match so far.
    unmatched: u16,
    /// The lengths of codes for the bytes ahead.
    code_lengths: [u8; 256],
    work: u64,
}

impl Lazy {
    pub(super) fn new(level: u8, version: Version) -> Self {
        let effort = Effort::of(level, version);
        Self {
            effort,
            window: Window::new(),
            blocks: Self::blocks(effort, Some(0)),
            head: vec![0; 1 << HASH_BITS],
            previous: vec![0; WINDOW_SIZE],
            offset: 1,
            found: 0,
            last: Match::default(),
            is_waiting: false,
            unmatched: 0,
            code_lengths: [0; 256],
            work: 0,
        }
    }

    const fn blocks(effort: Effort, start: Option<usize>) -> Blocks {
        Blocks::new(if effort.version.is_new() { 1 << 15 } else { 1 << 14 }, start)
    }

    /// Begins anew, with the bytes before in the chains.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        self.window.restart(dictionary);
        // The window has other bytes than those of the first block.
        self.blocks = Self::blocks(self.effort, None);
        self.head.fill(0);
        (self.offset, self.found, self.last) = (1, 0, Match::default());
        (self.is_waiting, self.unmatched, self.code_lengths) = (false, 0, [0; 256]);
        for at in 0..(dictionary.len() + 1).saturating_sub(STRING_SIZE) {
            self.enter(at);
        }
    }

    /// Takes plain bytes in; gives the blocks that are full, at the end of all bytes also the last.
    pub(super) fn take(&mut self, mut bytes: &[u8], is_end: bool) -> Vec<Block> {
        while !bytes.is_empty() {
            if self.window.is_full() {
                self.parse();
            }
            if self.window.slide() {
                self.slide();
            }
            bytes = self.window.take(bytes);
        }
        if is_end {
            self.blocks.is_final = true;
            self.parse();
        }
        self.blocks.take()
    }

    /// The work since this was asked last, in units of about a nanosecond.
    pub(super) fn work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    fn slide(&mut self) {
        self.blocks.slide();
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
    fn parse(&mut self) {
        if self.effort.is_by_gain() && self.window.ahead() > 0 {
            self.sample();
        }
        loop {
            let ahead = self.window.ahead();
            if ahead < LOOKAHEAD && !self.blocks.is_final {
                return;
            }
            if ahead == 0 {
                if std::mem::take(&mut self.is_waiting) {
                    self.push_waiting();
                }
                if !self.blocks.is_empty() {
                    self.blocks.end(self.window.index, false);
                }
                return;
            }
            self.look_up();
            let last = std::mem::take(&mut self.last);
            let may_search = if self.is_greedy() {
                ahead >= STRING_SIZE
            } else {
                ahead > last.size.max(STRING_SIZE - 1) && last.size < self.effort.lazy
            };
            let found = if may_search { self.search(ahead) } else { Match::default() };
            if self.is_greedy() {
                self.greedy(found);
            } else if last.size >= STRING_SIZE && found.size <= last.size {
                let last = match self.effort.version {
                    Version::Go => last,
                    Version::Klauspost => self.longer(last, ahead),
                    Version::New => self.better(last, ahead),
                };
                let end = self.window.index + last.size - 1;
                self.enter_until(end);
                self.window.index = end;
                self.is_waiting = false;
                self.unmatched = 0;
                self.blocks.push(Token::reference(last.size, last.distance), end);
            } else {
                if found.size >= STRING_SIZE {
                    self.unmatched = 0;
                }
                self.last = found;
                if self.is_waiting {
                    self.push_waiting();
                    self.unmatched = self.unmatched.wrapping_add(1);
                    self.window.index += 1;
                    self.skip();
                } else {
                    self.window.index += 1;
                    self.is_waiting = true;
                }
            }
        }
    }

    /// Enters the next string, if the input has it whole.
    fn look_up(&mut self) {
        if self.window.index + STRING_SIZE <= self.window.end {
            self.found = self.enter(self.window.index);
        }
    }

    /// Makes the byte before a literal.
    fn push_waiting(&mut self) {
        self.blocks.push(Token::literal(self.window.bytes[self.window.index - 1]), self.window.index);
    }

    /// Passes more bytes the longer there is no match, in all encoders but Go up to 1.26.
    fn skip(&mut self) {
        let Some(over) = usize::from(self.unmatched).checked_sub(self.effort.chain + 1) else { return };
        if !self.effort.version.is_new() {
            return;
        }
        for _ in 0..1 + ((over + 1) >> 6) {
            if self.window.index + 1 >= self.window.end {
                break;
            }
            self.push_waiting();
            self.look_up();
            self.window.index += 1;
        }
        self.push_waiting();
        self.is_waiting = false;
    }

    /// Tries what the end of the match at the byte before leads to.
    fn better(&mut self, last: Match, ahead: usize) -> Match {
        let start = self.window.index - 1;
        let end = start + last.size;
        if last.size >= MAX_MATCH - MAY_DIFFER || end + STRING_SIZE > self.window.end {
            return last;
        }
        let place = (self.head[self.hash(end)] as usize).checked_sub(self.offset + last.size);
        let least = self.window.index.saturating_sub(WINDOW_SIZE);
        let Some(source) = place.filter(|place| *place > least + MAY_DIFFER && *place < start) else {
            return last;
        };
        if start - source == last.distance {
            return last;
        }
        let max = ahead.min(MAX_MATCH + MAY_DIFFER) - MAY_DIFFER;
        let mut size = common(&self.window.bytes, source + MAY_DIFFER, start + MAY_DIFFER, max);
        if size <= last.size {
            return last;
        }
        for differing in (0..MAY_DIFFER).rev() {
            if size >= MAX_MATCH
                || self.window.bytes[start + differing] != self.window.bytes[source + differing]
            {
                for _ in 0..=differing {
                    self.push_waiting();
                    self.window.index += 1;
                    self.look_up();
                }
                break;
            }
            size += 1;
        }
        Match { size, distance: start - source }
    }

    /// Takes what the end of the match at the byte before leads to, if it is a longer match of all its bytes.
    fn longer(&self, last: Match, ahead: usize) -> Match {
        let start = self.window.index - 1;
        let end = start + last.size;
        if end + STRING_SIZE + 1 >= self.window.end {
            return last;
        }
        let hash = self.hash(end - STRING_SIZE / 2);
        let place = (self.head[hash] as usize).checked_sub(self.offset + last.size - STRING_SIZE / 2);
        let least = self.window.index.saturating_sub(WINDOW_SIZE);
        let Some(source) = place.filter(|place| *place > least && *place < start) else { return last };
        let size = common(&self.window.bytes, source, start, ahead.min(MAX_MATCH));
        if size > last.size { Match { size, distance: start - source } } else { last }
    }

    /// Finds how long codes of the bytes ahead would be.
    fn sample(&mut self) {
        let mut counts = [0_u32; 256];
        let ahead = &self.window.bytes[self.window.index..self.window.end];
        let is_new = self.effort.version == Version::New;
        let size = if is_new { SAMPLE_SIZE } else { ahead.len() };
        ahead.iter().take(size).for_each(|byte| counts[usize::from(*byte)] += 1);
        if !is_new {
            // The encoder counts in 16 bits, and its window may hold one byte more often.
            counts.iter_mut().for_each(|count| *count &= 0xffff);
        }
        let least = u8::from(is_new);
        self.code_lengths = lengths(&counts, MAX_BITS).map(|length| length.max(least));
    }

    /// Takes what was found at once.
    fn greedy(&mut self, found: Match) {
        if found.size >= STRING_SIZE {
            let end = self.window.index + found.size;
            if found.size <= self.effort.entered {
                self.enter_until(end);
            }
            self.window.index = end;
            self.blocks.push(Token::reference(found.size, found.distance), end);
        } else {
            self.window.index += 1;
            self.blocks.push(Token::literal(self.window.bytes[self.window.index - 1]), self.window.index);
        }
    }
}
