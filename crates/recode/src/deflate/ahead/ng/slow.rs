//! Levels 7 to 9: a match is taken if the one that begins at the next byte is no longer.

use super::super::super::token::{MIN_MATCH, Token};
use super::{MIN_SIZE, Ng};

/// The choice of these levels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slow {
    /// The size and the distance of the match at the byte before.
    last: (usize, usize),
    /// The byte before is in no token yet.
    is_waiting: bool,
}

impl Slow {
    pub(super) fn step(&mut self, ng: &mut Ng) {
        let (at, ahead) = (ng.window.index, ng.window.ahead());
        let head = if ahead >= MIN_SIZE { ng.enter(at) } else { 0 };
        let (last, distance) = self.last;
        let mut found = (MIN_MATCH - 1, 0);
        if last < ng.effort.lazy && head > 0 && ng.is_near(head, at) {
            let (size, source) =
                if ng.is_of_three { ng.search_farther(head, at, last) } else { ng.search(head, at, last) };
            found = (size, at - source);
        }
        if last >= MIN_MATCH && found.0 <= last {
            let count = (last - 2).min(ahead.saturating_sub(MIN_MATCH));
            ng.enter_all(at + 1, count);
            *self = Self::default();
            ng.window.index = at + last - 1;
            ng.blocks.push(Token::reference(last, distance), at + last - 1);
            return;
        }
        if self.is_waiting {
            ng.blocks.push(Token::literal(ng.window.bytes[at - 1]), at);
        }
        *self = Self { last: found, is_waiting: true };
        ng.window.index = at + 1;
    }

    /// The byte before is the last.
    pub(super) fn end(&mut self, ng: &mut Ng) {
        if std::mem::take(&mut self.is_waiting) {
            ng.blocks.add(Token::literal(ng.window.bytes[ng.window.index - 1]));
        }
    }
}
