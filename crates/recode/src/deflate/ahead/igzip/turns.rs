//! The levels 0 to 2: a turn looks at two places, of which the second is entered before the first is decided on. A long
//! match at either comes first, then a short one.

use super::calls::Extent;
use super::skip::Skip;
use super::{Group, Igzip, LONG_SIZE, MAX_MATCH, MIN_SIZE, common, entry};

/// A longer match is cut into several at once, as far as so many bytes.
const MIN_RUN: usize = 264;
const MAX_RUN: usize = 258 * 16;
/// Bytes that are wanted ahead, but at the end of a call.
const WANTED: usize = MAX_RUN + 256;

impl Igzip {
    /// Looks at two places a turn, as far as the bytes of a call are known.
    pub(super) fn turns(&mut self, call: Extent, groups: &mut Vec<Group>) {
        let end = call.stop.unwrap_or_else(|| call.end.saturating_sub(WANTED));
        loop {
            let goes_on = call.stop.is_some() && self.goes_on;
            if self.at > end || (self.at == end && !goes_on) {
                return;
            }
            if self.is_full() {
                self.end_block(false, groups);
                self.begin();
            } else if self.is_new {
                self.is_new = false;
                self.skip = Skip::new(self.at);
                self.restart();
            } else if self.has_history {
                self.turn(call);
            } else {
                self.first();
                self.restart();
                if !self.is_preset {
                    // The encoder takes what it happens to have for the hash of the third byte.
                    self.hashes.1 = self.head.len() - 1;
                }
            }
        }
    }

    /// Looks at two places.
    fn turn(&mut self, call: Extent) {
        self.goes_on = !self.is_preset;
        let (first, second) = (self.at, self.at + 1);
        let of_first = self.candidate(self.hashes.0, first);
        let of_second = self.candidate(self.hashes.1, second);
        self.hashes = (self.hash(first + 2), self.hash(first + 3));
        let size = |source, at| common(&self.bytes, source, at, LONG_SIZE);
        let (size_of_first, size_of_second) = (size(of_first, first), size(of_second, second));
        if size_of_first == LONG_SIZE {
            self.long(of_first, false, call);
        } else if size_of_second == LONG_SIZE {
            self.literals(1);
            self.long(of_second, true, call);
        } else if size_of_first >= MIN_SIZE {
            self.reference(size_of_first, of_first, false, call);
        } else if size_of_second >= MIN_SIZE {
            self.literals(1);
            self.reference(size_of_second, of_second, true, call);
        } else {
            self.literals(2);
            if !self.is_preset {
                self.pass(call);
            }
        }
    }

    /// Leaves the search out where it found nothing for long. The hashes of the next turn stay as they are.
    fn pass(&mut self, call: Extent) {
        let Some(count) = self.skip.count(self.at) else { return };
        let is_enough =
            2 * self.max_entries.saturating_sub(self.entries) >= count && call.end - self.at >= count;
        let pass_end = self.at + count;
        loop {
            self.literals(2);
            if if is_enough {
                self.at >= pass_end
            } else {
                self.is_full() || call.stop.is_some_and(|stop| self.at >= stop)
            } {
                break;
            }
        }
        self.goes_on = false;
        self.skip.go_on(self.at);
    }

    /// Takes a match at the next byte; `is_second` if it is that of the second place of the turn.
    fn reference(&mut self, size: usize, source: usize, is_second: bool, call: Extent) {
        let (at, ahead) = (self.at, 2 - usize::from(is_second));
        self.head[self.hashes.0] = entry(at + ahead);
        self.head[self.hashes.1] = entry(at + ahead + 1);
        let is_at_stop = call.stop.is_some_and(|stop| at + size > stop);
        if is_second && (self.is_preset || !is_at_stop) {
            self.enter(at + 3);
        }
        self.push(size, at - source);
        self.skip.found(self.at, size);
        self.restart();
    }

    /// Takes a match of at least eight bytes, in several parts if it is very long.
    fn long(&mut self, source: usize, is_second: bool, call: Extent) {
        let mut size = common(&self.bytes, source, self.at, MAX_RUN.min(call.end - self.at));
        if size < MIN_RUN {
            self.reference(size.min(MAX_MATCH), source, is_second, call);
            return;
        }
        self.goes_on = false;
        let distance = self.at - source;
        // Of the second place of a turn, these are one too far.
        self.head[self.hashes.0] = entry(self.at + 2);
        self.head[self.hashes.1] = entry(self.at + 3);
        while size >= MIN_RUN {
            self.push(MAX_MATCH, distance);
            size -= MAX_MATCH;
            if self.is_full() {
                return;
            }
        }
        self.push(size.min(MAX_MATCH), distance);
        if call.stop.is_some_and(|stop| self.at >= stop) {
            return;
        }
        for at in self.at - 4..self.at {
            self.enter(at);
        }
        self.restart();
    }
}
