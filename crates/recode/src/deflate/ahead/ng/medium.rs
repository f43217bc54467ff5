//! Levels 3 to 6: the first match, which ends earlier if all but a byte of it belong to the match behind it, too.

use super::super::super::token::Token;
use super::super::blocks::{LOOKAHEAD, WINDOW_SIZE};
use super::chains::MAX_DISTANCE;
use super::{MIN_SIZE, Ng};

/// Strings of matches that are longer by this factor than the effort says are not entered.
const MAX_ENTERED: usize = 16;

/// A match, or a literal.
#[derive(Debug, Clone, Copy, Default)]
struct Match {
    at: usize,
    /// A literal has one byte; none at all is 0.
    size: usize,
    source: usize,
    /// Strings before this place were entered when it was found.
    entered: usize,
}

/// The choice of these levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Medium {
    /// It looks for the match behind, too.
    looks_ahead: bool,
    /// The match behind the last one.
    next: Match,
}

impl Medium {
    pub(super) fn new(looks_ahead: bool) -> Self {
        Self { looks_ahead, next: Match::default() }
    }

    /// More bytes were read.
    pub(super) const fn begin(&mut self) {
        self.next.size = 0;
    }

    pub(super) fn step(&mut self, ng: &mut Ng) {
        let ahead = ng.window.ahead();
        if ahead < LOOKAHEAD {
            self.begin();
        }
        let mut current = std::mem::take(&mut self.next);
        if current.size == 0 {
            let at = ng.window.index;
            let head = if ahead >= MIN_SIZE { ng.enter(at) } else { 0 };
            current = found(ng, head, at);
        }
        enter(ng, current);
        let end = current.at + current.size;
        if self.looks_ahead && ahead > LOOKAHEAD && end < 2 * WINDOW_SIZE - LOOKAHEAD {
            let head = ng.enter(end);
            self.next = found(ng, head, end);
            if self.next.size >= MIN_SIZE {
                give(&ng.window.bytes, &mut current, &mut self.next);
            }
        }
        let at = ng.window.index;
        ng.window.index = at + current.size;
        let token = match current.size {
            0 => return,
            1 => Token::literal(ng.window.bytes[at]),
            size => Token::reference(size, current.at - current.source),
        };
        if ng.blocks.push(token, ng.window.index) {
            // Whoever takes the block asks for more, and what was found is forgotten.
            self.begin();
        }
    }
}

/// Enters the strings of a match.
fn enter(ng: &mut Ng, Match { at, size, entered, .. }: Match) {
    let ahead = ng.window.ahead();
    if ahead <= size + MIN_SIZE || size < MIN_SIZE {
        return;
    }
    if size > MAX_ENTERED * ng.effort.lazy {
        ng.enter(at + size - 1);
        return;
    }
    let (at, count) = (at + 1, size - 1);
    if at < entered {
        let end = at + count;
        ng.enter_all(entered, end.saturating_sub(entered));
    } else {
        ng.enter_all(at, count);
    }
}

/// The match at a place, or a literal.
fn found(ng: &mut Ng, head: usize, at: usize) -> Match {
    let (size, source) = ng.search(head, at, 0);
    let size = if size < MIN_SIZE || source >= at { 1 } else { size };
    Match { at, size, source, entered: at }
}

/// Gives the bytes of a match to the one behind it, if it can have all of them, or all but one.
fn give(bytes: &[u8], current: &mut Match, next: &mut Match) {
    let reach = current.size.saturating_sub(1);
    if reach == 0 || reach > next.source || reach > next.at {
        return;
    }
    if bytes[next.source - reach] != bytes[next.at - reach] {
        return;
    }
    let limit = next.at.saturating_sub(MAX_DISTANCE);
    let (mut shorter, mut longer) = (*current, *next);
    while bytes[longer.source - 1] == bytes[longer.at - 1]
        && shorter.size > 0
        && longer.at > limit
        && longer.size < 256
        && longer.source > 1
    {
        longer.at -= 1;
        longer.source -= 1;
        longer.size += 1;
        shorter.size -= 1;
    }
    if shorter.size <= 1 && longer.size > next.size {
        longer.entered += 1;
        (*current, *next) = (shorter, longer);
    }
}
