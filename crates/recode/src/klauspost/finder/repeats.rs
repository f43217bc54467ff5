//! Matches without literals, right behind another, at the distance of the match before that one.

use super::Block;

impl Block<'_> {
    /// Takes such matches as long as there are any, from `at` on, and hands their places to `push`. Returns the place
    /// behind them.
    pub(super) fn put_repeats<const DISTANCES: usize>(
        &mut self,
        mut at: usize,
        distances: &mut [usize; DISTANCES],
        mut push: impl FnMut(&Self, usize),
    ) -> usize {
        while at < self.limit && self.repeats(at, distances[1]) {
            push(self, at);
            let end = self.end(at, at - distances[1], 4);
            self.put(at, end, 1);
            distances.swap(0, 1);
            at = end;
        }
        at
    }
}
