//! The search of level 9 (`longest_match_slow`): a longer match has all the strings of the one before, so that the chain
//! of any of them leads to it. The one whose next place is the farthest is followed.

use super::super::super::token::MIN_MATCH;
use super::Ng;
use super::chains::{COMPARE_WORK, MAX_DISTANCE, STRING_WORK};

/// The chain that is followed.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// The place of a string.
    place: usize,
    /// The place of that string in the match.
    offset: usize,
}

impl Ng {
    /// The longest match that is longer than `least`, and where it is; otherwise `least`, or 2. A match may reach over
    /// the bytes that are there where more bytes are ahead than it has.
    pub(super) fn search_farther(&mut self, head: usize, at: usize, least: usize) -> (usize, usize) {
        let ahead = self.window.ahead();
        let mut found = (if least == 0 { 2 } else { least }, at);
        let limit = at.saturating_sub(MAX_DISTANCE);
        let mut chain = self.effort.chain >> if found.0 >= self.effort.good { 2 } else { 0 };
        let Some(mut link) = self.first(head, at, found.0, limit) else { return (found.0.min(ahead), at) };
        loop {
            self.work += STRING_WORK;
            let source = link.place - link.offset;
            if self.looks_better(source, at, found.0) {
                self.work += COMPARE_WORK;
                let size = self.common(source, at);
                if size > found.0 {
                    found = (size, source);
                    if size > ahead {
                        return (ahead, source);
                    }
                    if size >= self.effort.nice {
                        return found;
                    }
                    if size > MIN_MATCH && source + size < at {
                        match self.farthest(source, at, size, limit) {
                            Some(farthest) => link = farthest,
                            None => return (size.min(ahead), source),
                        }
                        continue;
                    }
                }
            }
            chain -= 1;
            link.place = self.before(link.place);
            if chain == 0 || link.place <= limit + link.offset {
                return found;
            }
        }
    }

    /// The place before a place in its chain.
    fn before(&self, place: usize) -> usize {
        usize::from(self.previous[place & (self.previous.len() - 1)])
    }

    /// The chain to begin with. For a match of more than `size` bytes, it is one of all its first strings: those behind
    /// the first are not entered yet.
    fn first(&mut self, head: usize, at: usize, size: usize, limit: usize) -> Option<Link> {
        let mut link = Link { place: head, offset: 0 };
        if size < MIN_MATCH {
            return Some(link);
        }
        for offset in 1..size - 1 {
            let place = usize::from(self.head[self.hash(at + offset)]);
            if place < link.place {
                link = Link { place, offset };
            }
        }
        self.work += STRING_WORK * size as u64;
        (link.place > limit + link.offset).then_some(link)
    }

    /// Of the chains of all strings of a match, that whose next place is the farthest, unless the last place of the
    /// string of three bytes in front of its last byte is farther. None if its next place is too far.
    fn farthest(&mut self, source: usize, at: usize, size: usize, limit: usize) -> Option<Link> {
        self.work += STRING_WORK * size as u64;
        let mut link = Link { place: source, offset: 0 };
        for offset in 0..=size - MIN_MATCH {
            let place = self.before(source + offset);
            if place < link.place {
                if place <= limit + offset {
                    return None;
                }
                link = Link { place, offset };
            }
        }
        let offset = size - MIN_MATCH - 1;
        let place = usize::from(self.head[self.hash(at + offset)]);
        if place < link.place {
            if place <= limit + offset {
                return None;
            }
            link = Link { place, offset };
        }
        Some(link)
    }
}
