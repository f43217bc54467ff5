//! Raw deflate.
//!
//! Streams of zlib and GNU gzip are described by a few parameters. Those of others are described by how each
//! differs from what zlib would have made at each place.
//!
//! Both are written here and not taken from a library. The encoders must make the bytes of one
//! version for ever, and be fed and stopped at any place; and corrections are read from a recipe
//! that may be hostile, where libraries that are made for one's own data panic or do not end.
//!
//! The algorithms are those of zlib, by Jean-loup Gailly and Mark Adler.

mod actual;
mod ahead;
mod bits;
mod corrections;
mod go_codes;
mod igzip_codes;
mod libdeflate_codes;
mod parser;
mod pgzip;
mod pieces;
pub(crate) mod range;
mod reader;
mod search;
mod settings;
mod symbols;
mod token;
mod trees;
mod walk;
mod zlib;

use std::io::Write;

pub(crate) use self::corrections::Manner;
pub(crate) use self::search::Candidates;
use crate::Result;
use crate::compare::Plain;
use crate::wire::Fields;

/// Work for a plain byte and for a byte of the stream, in units of about a nanosecond. It is little, since runs of zeros
/// are a thousand times as large as their stream; the tokens are charged as they are found.
const BYTE_WORK: u64 = 8;
/// Work for a token that is found, and written.
const TOKEN_WORK: u64 = 64;
/// Work for a token that corrections tell, beside that of finding one.
const CORRECT_WORK: u64 = 80;
/// Work for the codes of a block.
const BLOCK_WORK: u64 = 2 << 10;

/// The parameters that make a deflate stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    Zlib(zlib::Plan),
    Corrections(corrections::Plan),
}

impl Plan {
    pub(crate) fn parse_zlib(mut fields: Fields<'_>, is_gnu: bool) -> Result<Self> {
        Ok(Self::Zlib(zlib::Plan::parse(&mut fields, is_gnu)?))
    }

    pub(crate) fn parse_corrections(fields: Fields<'_>, manner: Manner) -> Result<Self> {
        Ok(Self::Corrections(corrections::Plan::parse(fields, manner)?))
    }

    /// Tells whether it has corrections by pieces.
    pub(crate) fn is_by_pieces(&self) -> bool {
        matches!(self, Self::Corrections(plan) if plan.manner() == Manner::Pieces)
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Zlib(plan) => plan.write(bytes),
            Self::Corrections(plan) => plan.write(bytes),
        }
    }

    pub(crate) const fn is_gnu(&self) -> bool {
        matches!(self, Self::Zlib(plan) if plan.is_gnu)
    }

    /// Work for a byte, in units of about a nanosecond, without the tokens and the searches of the parser.
    pub(crate) const fn encoding_byte_work() -> u64 {
        BYTE_WORK
    }

    /// Work for a byte of a usual stream to find its tokens: they are about one for two bytes, and to search them takes as
    /// long again.
    pub(crate) const fn usual_token_work() -> u64 {
        TOKEN_WORK
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        match self {
            Self::Zlib(plan) => plan.encode(plain, output),
            Self::Corrections(plan) => plan.encode(plain, output),
        }
    }
}
