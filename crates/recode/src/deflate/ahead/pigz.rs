//! The tokens and the blocks of pigz: zlib compresses each part of the plain bytes on its own, with the bytes before it
//! as its dictionary. With one thread, which goes on without a dictionary, only the levels from 4 on are the same.

use std::cell::Cell;

use super::super::parser::Parser;
use super::super::token::Token;
use super::super::zlib;
use super::blocks::WINDOW_SIZE;
use super::groups::{Group, Outline};
use super::writer::Contents;
use crate::Result;
use crate::compare::Plain;

/// Plain bytes of a part (`-b`, 128 by default).
pub(in super::super) const PART_SIZE: usize = 128 << 10;

/// The encoder, and the plain bytes that it has not used up.
pub(super) struct Pigz {
    plan: zlib::Plan,
    parser: Parser,
    /// The last bytes of the parts before, and those that are not parsed yet.
    bytes: Vec<u8>,
    /// The number of bytes of the parts before.
    before: usize,
    work: Cell<u64>,
}

impl Pigz {
    /// The encoder of a level.
    pub(super) fn new(level: u8) -> Self {
        let plan = zlib::Plan::of_zlib(level, zlib::USUAL_MEMORY);
        let parser = Parser::new(plan.settings());
        Self { plan, parser, bytes: Vec::new(), before: 0, work: Cell::new(0) }
    }

    /// Takes plain bytes in; gives the blocks of the parts that are whole. How a part ends depends on whether it is the
    /// last.
    pub(super) fn take(&mut self, bytes: &[u8], is_end: bool) -> Vec<Group> {
        self.bytes.extend_from_slice(bytes);
        let mut groups = Vec::new();
        loop {
            let ahead = self.bytes.len() - self.before;
            if ahead == 0 || (!is_end && ahead <= PART_SIZE) {
                return groups;
            }
            let size = ahead.min(PART_SIZE);
            // A slice is read without an error.
            let _ = self.part(size, is_end && size == ahead, &mut groups);
            let end = self.before + size;
            self.before = end.min(WINDOW_SIZE);
            self.bytes.drain(..end - self.before);
        }
    }

    /// The work since this was asked last, in units of about a nanosecond.
    pub(super) fn work(&self) -> u64 {
        self.work.take()
    }

    /// Finds the tokens of the next part.
    fn part(&mut self, size: usize, is_last: bool, groups: &mut Vec<Group>) -> Result<()> {
        let Self { plan, parser, bytes, before, work } = self;
        let (dictionary, part) = bytes[..*before + size].split_at(*before);
        let charge = |units| {
            work.set(work.get() + units);
            Ok(())
        };
        let mut reader = part;
        let mut plain = Plain::new(&mut reader, size as u64).charged(&charge);
        parser.restart(dictionary, &mut plain)?;
        let mut tokens = Vec::with_capacity(plan.block_size());
        while let Some(token) = parser.predict(&mut plain)? {
            tokens.push(token);
            parser.commit(token);
            if plan.ends_with(token, parser, &mut plain)? {
                break;
            }
            if tokens.len() == plan.block_size() {
                groups.push(group(&mut tokens, parser, false));
            }
        }
        if is_last || !tokens.is_empty() {
            groups.push(group(&mut tokens, parser, is_last));
        }
        if !is_last {
            groups.push(Group::flush());
        }
        Ok(())
    }
}

/// The block of these tokens.
fn group(tokens: &mut Vec<Token>, parser: &mut Parser, is_last: bool) -> Group {
    let contents = if parser.block().is_some() { Contents::Tokens } else { Contents::Unknown };
    parser.end_block();
    let outline = Outline { is_last, ..Outline::of(contents, is_last) };
    Group { outline, tokens: std::mem::take(tokens) }
}
