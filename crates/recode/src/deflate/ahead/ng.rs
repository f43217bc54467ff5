//! The tokens of zlib-ng and zlib-rs at the levels that are not those of zlib: quick at level 1, fast at 2, medium at 3
//! to 6, slow at 7 to 9.
//!
//! The window is that of the encoder when all plain bytes are given to it at once, and its output is taken little by
//! little, so that it stops at the end of each block. Given piece by piece, it reads on more often, and at such places
//! some tokens differ.

mod chains;
mod farther;
mod medium;
mod slow;

use self::medium::Medium;
use super::super::token::Token;
use super::blocks::{Block, Blocks, LOOKAHEAD, WINDOW_SIZE, Window};

/// Shortest match at the levels up to 6.
const MIN_SIZE: usize = 4;
/// Tokens of a block.
const BLOCK_SIZE: usize = (1 << 14) - 1;
const HASH_SIZE: usize = 1 << 16;

/// The effort of a level.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// The search is a quarter behind a match of so many bytes.
    good: usize,
    /// No search behind a match of so many bytes; strings of no longer matches are entered, if the level is not lazy.
    lazy: usize,
    /// A match of so many bytes ends the search.
    nice: usize,
    /// Most strings that are looked at.
    chain: usize,
    /// The search ends at the first string that is no better than it looked.
    is_short: bool,
}

impl Effort {
    const fn of(level: u8) -> Self {
        let (good, lazy, nice, chain) = match level {
            2 => (4, 4, 8, 4),
            3 => (4, 6, 16, 6),
            4 => (4, 12, 32, 24),
            5 => (8, 16, 32, 32),
            6 => (8, 16, 128, 128),
            7 => (8, 32, 128, 256),
            8 => (32, 128, 258, 1024),
            _ => (32, 258, 258, 4096),
        };
        Self { good, lazy, nice, chain, is_short: level < 5 }
    }
}

/// The way in which tokens are chosen.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// The last place of each hash, in one block of static codes.
    Quick,
    /// The first match.
    Fast,
    /// The first match, that may end earlier for one that begins there.
    Medium(Medium),
    /// The longer of the matches at two places.
    Slow(slow::Slow),
}

/// The window, and what is known of it.
pub(super) struct Ng {
    effort: Effort,
    choice: Choice,
    window: Window,
    blocks: Blocks,
    /// The last place of each hash, and the place before of each place; 0 is none.
    head: Vec<u16>,
    previous: Vec<u16>,
    /// Chains are of strings of three bytes, as at level 9.
    is_of_three: bool,
    /// Bytes were parsed.
    has_begun: bool,
    work: u64,
}

impl Ng {
    pub(super) fn new(level: u8) -> Self {
        let effort = Effort::of(level);
        let choice = match level {
            1 => Choice::Quick,
            2 => Choice::Fast,
            3..7 => Choice::Medium(Medium::new(level > 4)),
            _ => Choice::Slow(slow::Slow::default()),
        };
        Self {
            effort,
            choice,
            window: Window::new(),
            blocks: Blocks::new(BLOCK_SIZE, Some(0)),
            head: vec![0; HASH_SIZE],
            previous: vec![0; WINDOW_SIZE],
            is_of_three: level == 9,
            has_begun: false,
            work: 0,
        }
    }

    /// Tells whether all is one block of static codes.
    pub(super) const fn is_quick(&self) -> bool {
        matches!(self.choice, Choice::Quick)
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
            // Whenever the encoder reads on, it enters the last string, which may be within a match; not at level 9.
            if let Some(at) = self.window.index.checked_sub(1).filter(|_| !self.is_of_three) {
                self.enter(at);
            }
        }
        if is_end && self.is_quick() {
            // What the encoder was given before it was told of the end is in a block of its own.
            self.parse();
            self.end_part(false);
            self.has_begun = false;
        }
        if is_end {
            self.blocks.is_final = true;
            self.parse();
        }
        if self.is_quick() {
            self.end_part(is_end);
        } else if is_end {
            self.blocks.end(self.window.index, true);
        }
        self.blocks.take()
    }

    fn end_part(&mut self, is_last: bool) {
        if !self.blocks.is_empty() {
            self.blocks.end_part(!self.has_begun, is_last);
            self.has_begun = true;
        }
    }

    /// The work since this was asked last, in units of about a nanosecond.
    pub(super) fn work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    fn slide(&mut self) {
        self.blocks.slide();
        let gone = u16::try_from(WINDOW_SIZE).unwrap_or(u16::MAX);
        for place in self.head.iter_mut().chain(&mut self.previous) {
            *place = place.saturating_sub(gone);
        }
    }

    /// Finds tokens as far as enough bytes are ahead, or to the end.
    fn parse(&mut self) {
        match self.choice {
            Choice::Quick => self.each(Self::quick),
            Choice::Fast => self.each(Self::fast),
            Choice::Medium(mut medium) => {
                medium.begin();
                self.each(|ng| medium.step(ng));
                self.choice = Choice::Medium(medium);
            }
            Choice::Slow(mut slow) => {
                self.each(|ng| slow.step(ng));
                if self.blocks.is_final {
                    slow.end(self);
                }
                self.choice = Choice::Slow(slow);
            }
        }
    }

    fn each(&mut self, mut step: impl FnMut(&mut Self)) {
        loop {
            let ahead = self.window.ahead();
            if ahead == 0 || (ahead < LOOKAHEAD && !self.blocks.is_final) {
                return;
            }
            step(self);
        }
    }

    fn quick(&mut self) {
        let (at, ahead) = (self.window.index, self.window.ahead());
        if ahead >= MIN_SIZE {
            let source = self.enter(at);
            let size = if self.is_near(source, at) { self.common(source, at).min(ahead) } else { 0 };
            if size >= MIN_SIZE {
                self.window.index = at + size;
                self.blocks.add(Token::reference(size, at - source));
                return;
            }
        }
        self.window.index = at + 1;
        self.blocks.add(Token::literal(self.window.bytes[at]));
    }

    fn fast(&mut self) {
        let (at, ahead) = (self.window.index, self.window.ahead());
        if ahead >= MIN_SIZE {
            let head = self.enter(at);
            let (size, source) = self.search(head, at, 0);
            if size >= MIN_SIZE {
                let end = at + size;
                if size <= self.effort.lazy && ahead - size >= MIN_SIZE {
                    self.enter_all(at + 1, size - 1);
                } else {
                    self.enter(end - 1);
                }
                self.window.index = end;
                self.blocks.push(Token::reference(size, at - source), end);
                return;
            }
        }
        self.window.index = at + 1;
        self.blocks.push(Token::literal(self.window.bytes[at]), at + 1);
    }
}
