//! The tokens that are found, in the groups that become blocks.

use super::super::token::{MAX_STORED, Token};
use super::blocks::Block;
use super::writer::Contents;

/// The properties of a group of tokens that becomes a block, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outline {
    /// It is the empty block of a flush, and has no tokens.
    pub(super) is_flush: bool,
    pub(super) contents: Contents,
    /// It was found when no plain bytes were to come.
    pub(super) is_final: bool,
    /// The group begins a block: it is not the next part of one of static codes.
    pub(super) begins: bool,
    /// The stream ends with it.
    pub(super) is_last: bool,
}

impl Outline {
    pub(super) const fn of(contents: Contents, is_final: bool) -> Self {
        Self { is_flush: false, contents, is_final, begins: true, is_last: false }
    }
}

/// Tokens that become a block, or a part of one.
pub(super) struct Group {
    pub(super) outline: Outline,
    pub(super) tokens: Vec<Token>,
}

impl Group {
    pub(super) const fn flush() -> Self {
        let outline = Outline { is_flush: true, ..Outline::of(Contents::Plain, false) };
        Self { outline, tokens: Vec::new() }
    }

    /// The blocks of bytes that are stored, none too large.
    pub(super) fn stored(bytes: &[u8], is_last: bool) -> impl Iterator<Item = Self> {
        let count = bytes.len().div_ceil(MAX_STORED);
        bytes.chunks(MAX_STORED).enumerate().map(move |(index, part)| {
            let is_last = is_last && index + 1 == count;
            let outline = Outline { is_last, ..Outline::of(Contents::Plain, is_last) };
            Self { outline, tokens: part.iter().map(|byte| Token::literal(*byte)).collect() }
        })
    }

    pub(super) fn of_block(block: Block) -> Self {
        let contents = if block.is_known { Contents::Tokens } else { Contents::Unknown };
        let outline =
            Outline { begins: block.begins, is_last: block.is_last, ..Outline::of(contents, block.is_final) };
        Self { outline, tokens: block.tokens }
    }
}

/// Tells whether static codes may take as many bytes as storing `size` of them, for so many literals and references.
/// Most blocks are far from it.
pub(super) const fn may_be_stored(literals: usize, references: usize, size: usize) -> bool {
    const LITERAL_BITS: usize = 9;
    const REFERENCE_BITS: usize = 8 + 5 + 5 + 13;
    LITERAL_BITS * literals + REFERENCE_BITS * references + 10 >= 8 * size
}
