//! The tokens that an encoder may have taken in place of the predicted ones: references to the strings of a chain.

use super::{Parser, STRING_WORK};
use crate::deflate::token::{MAX_MATCH, MIN_MATCH, Token, common};

/// Most references that [`records`](Parser::records) gives.
pub(in super::super) const MAX_RECORDS: usize = 8;

impl Parser {
    /// The references at the next token that are longer than all nearer ones, of a chain of at most
    /// so many strings. Whatever an encoder takes, it is most likely one of them. If there are over
    /// [`MAX_RECORDS`], the last is the longest.
    pub(in super::super) fn records(&mut self, max_chain: usize) -> Vec<Token> {
        let mut records = Vec::with_capacity(MAX_RECORDS);
        let size = self.lookahead.min(MAX_MATCH);
        let Some(scan) = self.window[self.start..].first_chunk::<MAX_MATCH>() else { return records };
        let (mut best, mut searched) = (MIN_MATCH - 1, 0);
        for place in self.places(max_chain) {
            if best >= size {
                break;
            }
            searched += 1;
            let Some(other) = self.window[place..].first_chunk::<MAX_MATCH>() else { break };
            if other[best] == scan[best] {
                let common = common(scan, other).min(size);
                if common > best {
                    best = common;
                    if records.len() == MAX_RECORDS {
                        records.pop();
                    }
                    records.push(Token::reference(common, self.start - place));
                }
            }
        }
        self.work += searched * STRING_WORK;
        records
    }

    /// The `hops`-th nearest reference of this size, of at most so many strings; nearest is 0.
    pub(in super::super) fn hop(&mut self, size: usize, hops: usize, max_chain: usize) -> Option<usize> {
        let mut searched = 0;
        let found = self.chain(size, max_chain, &mut searched).nth(hops);
        self.work += searched * STRING_WORK;
        found
    }

    /// Returns how many references of this size are nearer than this distance.
    pub(in super::super) fn hops(&mut self, size: usize, distance: usize, max_chain: usize) -> Option<usize> {
        let mut searched = 0;
        let found = self.chain(size, max_chain, &mut searched).position(|near| near == distance);
        self.work += searched * STRING_WORK;
        found
    }

    /// The distances of references of this size in the chain of the next string. `searched` counts the strings that are
    /// looked at.
    fn chain<'p>(
        &'p self,
        size: usize,
        max_chain: usize,
        searched: &'p mut u64,
    ) -> impl Iterator<Item = usize> + 'p {
        let scan = &self.window[self.start..self.start + size];
        self.places(max_chain)
            .inspect(|_| *searched += 1)
            .filter(move |place| self.window[*place..*place + size] == *scan)
            .map(|place| self.start - place)
    }

    /// Returns the places of the strings of the next string's chain in the window, the nearest first.
    fn places(&self, max_chain: usize) -> impl Iterator<Item = usize> + '_ {
        let (at, mask) = (self.start, self.size() - 1);
        let limit = at.saturating_sub(self.size());
        let first = if self.entered > at { self.previous[at & mask] } else { 0 };
        std::iter::successors(Some(usize::from(first)), move |place| {
            Some(usize::from(self.previous[place & mask])).filter(|next| next < place)
        })
        .take_while(move |place| *place > limit)
        .take(max_chain)
    }
}
