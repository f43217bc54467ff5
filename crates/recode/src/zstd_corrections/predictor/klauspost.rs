//! The matches that the encoder of klauspost/compress finds.
//!
//! The search begins anew with each block, so that it is told where the blocks of the frame end. It depends on nothing
//! else that differs: matches that another version took do not change what this one finds behind them.

use std::collections::VecDeque;

use super::Match;
use crate::klauspost::prediction::Matches;
use crate::zstd_blocks::headers::COMPRESSED;
use crate::zstd_corrections::history::History;
use crate::zstd_corrections::manner::Klauspost;
use crate::zstd_corrections::repeats::Repeats;

/// The prediction for one block.
pub(in crate::zstd_corrections) struct Predictor {
    search: Matches,
    block_size: u64,
    plain_size: u64,
    matches: VecDeque<Match>,
}

impl Predictor {
    pub(super) fn new(manner: Klauspost, plain_size: u64) -> Self {
        let Klauspost { settings, window_log, is_whole } = manner;
        Self {
            search: Matches::new(settings, window_log, is_whole, plain_size),
            block_size: settings.block_size() as u64,
            plain_size,
            matches: VecDeque::new(),
        }
    }

    /// Makes the matches of a block known. `repeats` are the distances that were used before it.
    pub(super) fn enter(&mut self, history: &History, from: u64, to: u64, mut repeats: Repeats) {
        self.matches.clear();
        let mut at = from;
        for sequence in self.search.find(history.bytes(from, to)) {
            let start = at + u64::from(sequence.literals);
            at = start + u64::from(sequence.size);
            if let Some((distance, is_told)) = repeats.take(sequence) {
                self.matches.push_back(Match { start, end: at, distance, is_told });
            }
        }
    }

    /// Returns the end and the kind of the block that is predicted at a place.
    pub(super) fn block(&self, at: u64) -> (u64, u8) {
        ((at + self.block_size).min(self.plain_size), COMPRESSED)
    }

    /// Returns the matches of the block, in rising order.
    pub(super) const fn matches(&self) -> &VecDeque<Match> {
        &self.matches
    }
}
