//! The encoders whose choices do not depend on how the stream was written, but on the plain bytes alone: they run
//! ahead of the walk, chunk by chunk, and say which tokens come next, in which kind of block, and with which codes.
//!
//! A stream of another version differs in places. There the walk goes its own way; the tokens that the encoder makes of
//! the rest of its chunk, and of the next one, are of use again.

mod blocks;
mod double;
mod encoders;
mod groups;
mod history;
mod igzip;
mod lazy;
mod libdeflate;
mod long;
mod ng;
mod numbers;
mod parts;
mod pigz;
mod queue;
mod recent;
mod single;
mod writer;

use std::collections::VecDeque;

pub(super) use self::double::{Double, Five};
pub(super) use self::numbers::{
    BLOCK_SIZES, NUMBERS, PIGZ, block_size, earlier_versions, goes_on, is_known, most_of_block, of_parts,
    of_tiny, other_version,
};
pub(super) use self::parts::{PART_SIZE, SMALL_PART_SIZE};
pub(super) use self::pigz::PART_SIZE as PIGZ_PART_SIZE;
pub(super) use self::queue::Queue;

use self::double::{EarlierFive, EarliestFive, Six};
use self::groups::{Group, Outline};
use self::igzip::Igzip;
use self::lazy::Lazy;
use self::libdeflate::Libdeflate;
use self::long::Long;
use self::ng::Ng;
use self::parts::Parts;
use self::pigz::Pigz;
use self::recent::Recent;
use self::single::{Go, One, Single, Two};
use self::writer::{Contents, Decision, Manner, Writer};
use super::TOKEN_WORK;
use super::igzip_codes;
use super::reader::Kind;
use super::token::{MAX_MATCH, Token};

/// Plain bytes that are parsed together.
pub(super) const CHUNK_SIZE: usize = 65_535;
/// Those of Go from 1.27 on, if no references are looked for.
const LITERALS_CHUNK_SIZE: usize = 32 << 10;
/// A last chunk of fewer bytes has no references.
const MIN_CHUNK: usize = 128;

/// The part of the encoder that finds tokens.
enum Finder {
    Literals,
    One(Single),
    Two(Single),
    Three(Recent),
    Four(Long),
    Five(Double),
    EarlierFive(Double),
    EarliestFive(Double),
    Six(Double),
    Go(Single),
    Lazy(Box<Lazy>),
    Ng(Box<Ng>),
    Libdeflate(Box<Libdeflate>),
    Igzip(Box<Igzip>),
    Pigz(Box<Pigz>),
}

/// The part of the stream that the encoder makes of the next plain bytes.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// The block that begins with it; none if it goes on with the one that is open.
    pub(super) begin: Option<Kind>,
    /// The block that begins is the last of the stream.
    pub(super) is_last: bool,
    /// None if they are stored.
    pub(super) tokens: Vec<Token>,
    /// Plain bytes.
    pub(super) size: usize,
    /// The block ends with it.
    pub(super) ends: bool,
    decision: Option<Decision>,
}

/// An encoder, ahead of the walk.
pub(super) struct Ahead {
    finder: Finder,
    manner: Manner,
    chunk_size: usize,
    writer: Writer,
    /// The group that the walk is in, and those behind it.
    queue: Queue,
    outline: Outline,
    /// An empty block of a flush comes next.
    is_flush: bool,
    groups: VecDeque<Group>,
    /// The parts between flushes, if there are any.
    parts: Option<Parts>,
    /// The end of the bytes that were parsed, relative to the walk.
    parsed: isize,
    /// No plain bytes follow them.
    is_last: bool,
}

impl Ahead {
    /// Returns where the next chunk begins, relative to the walk's place, and how many bytes it has, if it is wanted
    /// now.
    pub(super) fn wants(&mut self) -> Option<(isize, usize)> {
        while !self.is_flush
            && let Some(before) = self.queue.wants()
        {
            match self.groups.pop_front() {
                Some(group) if group.outline.is_flush => {
                    self.is_flush = before == 0 && self.writer.flushes();
                }
                Some(group) => {
                    self.outline = group.outline;
                    self.queue.extend(group.tokens);
                }
                None => {
                    let size = self.parts.as_ref().map_or(usize::MAX, Parts::left).min(self.chunk_size);
                    return (!self.is_last).then_some((self.parsed, size));
                }
            }
        }
        None
    }

    /// Parses the next chunk; `is_last` if no plain bytes follow it. Returns the work that it was beside that of each
    /// byte.
    pub(super) fn parse(&mut self, chunk: &[u8], is_last: bool) -> u64 {
        let before = self.groups.len();
        let searching = self.parse_chunk(chunk, is_last);
        let is_charged = matches!(self.finder, Finder::Pigz(_));
        let found: usize = self.groups.iter().skip(before).map(|group| group.tokens.len()).sum();
        searching + if is_charged { 0 } else { TOKEN_WORK * found as u64 }
    }

    fn parse_chunk(&mut self, chunk: &[u8], is_last: bool) -> u64 {
        self.is_last = is_last;
        self.parsed += isize::try_from(chunk.len()).unwrap_or(isize::MAX);
        let Some(mut parts) = self.parts.take() else { return self.find(chunk, is_last) };
        let is_full = parts.take(chunk);
        let work = self.find(chunk, is_last || is_full);
        let flushes = usize::from(is_full) + usize::from(is_last);
        self.groups.extend(std::iter::repeat_with(Group::flush).take(flushes));
        if is_full && !is_last {
            self.restart(&parts.next());
        }
        self.parts = Some(parts);
        work
    }

    /// Begins anew, with the bytes before in the tables.
    fn restart(&mut self, dictionary: &[u8]) {
        let found = &mut Vec::new();
        match &mut self.finder {
            Finder::One(finder) => finder.restart().find::<One>(dictionary, found),
            Finder::Two(finder) => finder.restart().find::<Two>(dictionary, found),
            Finder::Three(finder) => finder.restart().find(dictionary, found),
            Finder::Four(finder) => finder.restart().find(dictionary, found),
            Finder::Five(finder) => finder.restart().find::<Five>(dictionary, found),
            Finder::EarlierFive(finder) => finder.restart().find::<EarlierFive>(dictionary, found),
            Finder::EarliestFive(finder) => finder.restart().find::<EarliestFive>(dictionary, found),
            Finder::Six(finder) => finder.restart().find::<Six>(dictionary, found),
            Finder::Lazy(finder) => finder.restart(dictionary),
            Finder::Literals
            | Finder::Go(_)
            | Finder::Ng(_)
            | Finder::Libdeflate(_)
            | Finder::Igzip(_)
            | Finder::Pigz(_) => {}
        }
    }

    /// Finds the tokens of a chunk; `is_last` if it is flushed or the stream ends with it.
    fn find(&mut self, chunk: &[u8], is_last: bool) -> u64 {
        let (blocks, work) = match &mut self.finder {
            Finder::Lazy(finder) => (finder.take(chunk, is_last), finder.work()),
            Finder::Ng(finder) => (finder.take(chunk, is_last), finder.work()),
            Finder::Libdeflate(finder) => {
                self.groups.extend(finder.take(chunk, is_last));
                return finder.work();
            }
            Finder::Igzip(finder) => {
                self.groups.extend(finder.take(chunk, is_last));
                return 0;
            }
            Finder::Pigz(finder) => {
                self.groups.extend(finder.take(chunk, is_last));
                return finder.work();
            }
            _ => return self.find_in_chunk(chunk, is_last),
        };
        self.groups.extend(blocks.into_iter().map(Group::of_block));
        work
    }

    /// Finds the tokens of a chunk that is a block, or a part of one.
    fn find_in_chunk(&mut self, chunk: &[u8], is_last: bool) -> u64 {
        let mut found = Vec::with_capacity(chunk.len() / 3);
        if chunk.len() >= MIN_CHUNK {
            match &mut self.finder {
                Finder::One(finder) => finder.find::<One>(chunk, &mut found),
                Finder::Two(finder) => finder.find::<Two>(chunk, &mut found),
                Finder::Three(finder) => finder.find(chunk, &mut found),
                Finder::Four(finder) => finder.find(chunk, &mut found),
                Finder::Five(finder) => finder.find::<Five>(chunk, &mut found),
                Finder::EarlierFive(finder) => finder.find::<EarlierFive>(chunk, &mut found),
                Finder::EarliestFive(finder) => finder.find::<EarliestFive>(chunk, &mut found),
                Finder::Six(finder) => finder.find::<Six>(chunk, &mut found),
                Finder::Go(finder) => finder.find::<Go>(chunk, &mut found),
                Finder::Lazy(_)
                | Finder::Ng(_)
                | Finder::Libdeflate(_)
                | Finder::Igzip(_)
                | Finder::Pigz(_)
                | Finder::Literals => {}
            }
        }
        let mut parsed: usize = found.iter().map(|token| token.size()).sum();
        let mut contents = Contents::Tokens;
        // What is hardly smaller is written without references.
        if chunk.len() < MIN_CHUNK || found.len() + chunk.len() - parsed > chunk.len() - (chunk.len() >> 4) {
            contents = self.without_references(chunk, found.is_empty());
            found.clear();
            parsed = 0;
        }
        found.extend(chunk[parsed..].iter().map(|byte| Token::literal(*byte)));
        if !found.is_empty() {
            self.groups.push_back(Group { outline: Outline::of(contents, is_last), tokens: found });
        }
        0
    }

    /// The contents of the block of a chunk without references: stored or coded.
    const fn without_references(&self, chunk: &[u8], is_nothing_found: bool) -> Contents {
        let is_stored = match (&self.finder, self.manner) {
            (Finder::Literals, _) => false,
            (_, Manner::GoingOn { .. }) if chunk.len() >= MIN_CHUNK => is_nothing_found,
            (_, Manner::GoingOn { .. }) => chunk.len() <= 32,
            _ => chunk.len() <= 16,
        };
        if is_stored { Contents::Plain } else { Contents::Literals }
    }

    /// The token that is taken where the walk is, if one begins there.
    pub(super) fn token(&self) -> Option<Token> {
        self.queue.token()
    }

    /// Plain bytes up to the end of the chunk.
    pub(super) fn left(&self) -> usize {
        self.queue.left()
    }

    /// Returns the piece that comes next, if a token begins at the place of the walk; `is_open` if the walk is in a
    /// block.
    pub(super) fn piece(&self, is_open: bool) -> Option<Piece> {
        if self.is_flush {
            let decision = self.writer.flush();
            let begin = decision.begin.clone();
            let decision = Some(decision);
            return Some(Piece { begin, is_last: false, tokens: Vec::new(), size: 0, ends: true, decision });
        }
        let tokens = self.queue.rest()?;
        if tokens.is_empty() {
            return self.is_last.then(|| self.end());
        }
        let size = self.queue.left();
        let Outline { contents, is_final, begins, is_last, .. } = self.outline;
        // Where corrections ended the block, its next part begins another.
        let begins = begins || !is_open;
        let decision = match self.manner {
            Manner::Static => Decision::of_part(begins.then_some(Kind::Static), is_last),
            Manner::Preset => Decision::of_part(begins.then(igzip_codes::preset), is_final),
            _ => self.writer.decide(contents, tokens, size, is_final),
        };
        let is_stored = matches!(decision.begin, Some(Kind::Stored { .. }));
        Some(Piece {
            begin: decision.begin.clone(),
            is_last,
            tokens: if is_stored { Vec::new() } else { tokens.to_vec() },
            size,
            ends: decision.ends,
            decision: Some(decision),
        })
    }

    /// The end of the stream: an empty block.
    fn end(&self) -> Piece {
        let begin = match self.manner {
            Manner::GoingOn { .. }
            | Manner::OfZlib
            | Manner::OfPigz
            | Manner::OfIgzip
            | Manner::Preset
            | Manner::Static => Kind::Static,
            Manner::Alone | Manner::Compared | Manner::OfLibdeflate { .. } => {
                Kind::Stored { size: 0, padding: 0 }
            }
        };
        Piece { begin: Some(begin), is_last: true, tokens: Vec::new(), size: 0, ends: true, decision: None }
    }

    /// The stream has no flush here; tells whether one was to come.
    pub(super) fn leave_flush(&mut self) -> bool {
        std::mem::take(&mut self.is_flush)
    }

    /// The stream has what came next.
    pub(super) fn accept(&mut self, piece: &Piece) {
        match &piece.decision {
            Some(decision) => self.writer.accept(decision),
            None => self.writer.close(),
        }
        self.is_flush = self.is_flush && self.writer.is_unaligned();
        self.pass(piece.size);
        self.queue.clear();
    }

    /// The walk takes a step of so many bytes on its own.
    pub(super) fn step(&mut self, size: usize) {
        self.pass(size);
        self.queue.step(size);
        if self.parsed < -(MAX_MATCH as isize) {
            // The walk left what was parsed by a stored block: the next chunk begins here.
            if let Some(parts) = &mut self.parts {
                parts.skip(self.parsed.unsigned_abs());
            }
            self.queue.clear();
            self.groups.clear();
            self.parsed = 0;
        }
    }

    fn pass(&mut self, size: usize) {
        self.parsed -= isize::try_from(size).unwrap_or(isize::MAX);
    }

    /// The block was ended otherwise.
    pub(super) fn close(&mut self) {
        self.writer.close();
    }
}
