//! The matches that an encoder finds, by their places in the plain bytes.

mod klauspost;
mod libzstd;

use std::collections::VecDeque;

use super::history::History;
use super::manner::Manner;
use super::repeats::Repeats;
use crate::Result;
use crate::compare::Plain;

/// A match that is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// The places at which it begins and ends.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) distance: u32,
    /// True if its distance was told though it had been used just before.
    pub(super) is_told: bool,
}

/// The prediction at some place.
pub(super) enum Predictor {
    Libzstd(Box<libzstd::Predictor>),
    Klauspost(Box<klauspost::Predictor>),
}

impl Predictor {
    pub(super) fn new(manner: Manner, plain_size: u64) -> Result<Self> {
        Ok(match manner {
            Manner::Libzstd(manner) => Self::Libzstd(Box::new(libzstd::Predictor::new(manner, plain_size)?)),
            Manner::Klauspost(manner) => {
                Self::Klauspost(Box::new(klauspost::Predictor::new(manner, plain_size)))
            }
        })
    }

    /// Makes all plain bytes known that are before a place, and with libzstd the matches that begin before it. Forgets
    /// those that end up to another one.
    pub(super) fn advance(
        &mut self,
        history: &mut History,
        plain: &mut Plain<'_>,
        from: u64,
        to: u64,
    ) -> Result<()> {
        match self {
            Self::Libzstd(predictor) => predictor.advance(history, plain, from, to),
            Self::Klauspost(_) => history.read_to(plain, to),
        }
    }

    /// Makes the matches of a block known whose size was told.
    pub(super) fn enter(&mut self, history: &History, from: u64, to: u64, repeats: Repeats) {
        if let Self::Klauspost(predictor) = self {
            predictor.enter(history, from, to, repeats);
        }
    }

    /// Returns the end and the kind of the block that is predicted at a place.
    pub(super) fn block(&self, at: u64) -> Option<(u64, u8)> {
        match self {
            Self::Libzstd(predictor) => predictor.block(at),
            Self::Klauspost(predictor) => Some(predictor.block(at)),
        }
    }

    /// Returns the matches that are known, in rising order.
    pub(super) const fn matches(&self) -> &VecDeque<Match> {
        match self {
            Self::Libzstd(predictor) => predictor.matches(),
            Self::Klauspost(predictor) => predictor.matches(),
        }
    }
}
