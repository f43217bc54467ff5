//! The rules by which an encoder chooses the codes and tables of a block.

use super::literals;
use super::strategy::Strategy;
use super::tables::{self, Before};
use crate::klauspost::{self, Settings};
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::sequences::Sequence;

/// The rules of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    Libzstd(Strategy),
    Klauspost(&'static Settings),
}

impl Rules {
    /// Returns the literals that are expected. `is_suspect` says that sequences save little.
    pub(super) fn literals(
        self,
        literals: &[u8],
        before: Option<&Code>,
        is_suspect: bool,
    ) -> literals::Expected {
        match self {
            Self::Libzstd(strategy) => literals::expected(strategy, literals, before, is_suspect),
            Self::Klauspost(settings) => {
                let (form, description) = klauspost::prediction::literals(settings, literals, before);
                literals::Expected { form, descriptions: [description, None] }
            }
        }
    }

    /// Returns the tables that are expected for sequences, of which there are some.
    pub(super) fn tables(self, before: &Before, sequences: &[Sequence]) -> Option<tables::Expected> {
        match self {
            Self::Libzstd(strategy) => before.expected(strategy, sequences),
            Self::Klauspost(_) => before.expected_of_klauspost(sequences),
        }
    }

    /// Tells whether the depth of the code of literals is searched.
    pub(super) const fn searches_depth(self) -> bool {
        match self {
            Self::Libzstd(strategy) => strategy.searches_depth(),
            Self::Klauspost(_) => false,
        }
    }
}
