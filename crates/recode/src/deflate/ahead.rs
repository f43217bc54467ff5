//! The encoders whose choices do not depend on how the stream was written, but on the plain bytes alone: they run
//! ahead of the walk, chunk by chunk, and say which tokens come next, in which kind of block, and with which codes.
//!
//! A stream of another version differs in places. There the walk goes its own way; the tokens that the encoder makes of
//! the rest of its chunk, and of the next one, are of use again.

mod double;
mod history;
mod lazy;
mod long;
mod queue;
mod recent;
mod single;
mod writer;

use std::collections::VecDeque;

pub(super) use self::double::{Double, Five};
pub(super) use self::queue::Queue;

use self::double::Six;
use self::lazy::Lazy;
use self::long::Long;
use self::recent::Recent;
use self::single::{Go, One, Single, Two};
use self::writer::{Contents, Decision, Manner, Writer};
use super::reader::Kind;
use super::token::{MAX_MATCH, Token};

/// Plain bytes that are parsed together.
pub(super) const CHUNK_SIZE: usize = 65_535;
/// Those of Go from 1.27 on, if no references are looked for.
const LITERALS_CHUNK_SIZE: usize = 32 << 10;
/// A last chunk of fewer bytes has no references.
const MIN_CHUNK: usize = 128;

/// Encoders by their numbers in recipes: 16 for each family, and the level; level 10 looks for no references.
const GO_1_27: u8 = 16;
const GO_1_26: u8 = 32;
const LITERALS: u8 = 10;

/// All numbers of encoders that run ahead, the likely first.
pub(super) const NUMBERS: [u8; 20] = [
    GO_1_27 + 6,
    GO_1_26 + 6,
    GO_1_26 + 1,
    GO_1_27 + 1,
    GO_1_26 + 9,
    GO_1_27 + 9,
    GO_1_27 + 5,
    GO_1_27 + 7,
    GO_1_27 + 8,
    GO_1_26 + 5,
    GO_1_26 + 4,
    GO_1_26 + 7,
    GO_1_26 + 8,
    GO_1_26 + 3,
    GO_1_26 + 2,
    GO_1_27 + 3,
    GO_1_27 + 4,
    GO_1_27 + 2,
    GO_1_27 + LITERALS,
    GO_1_26 + LITERALS,
];

/// The part of the encoder that finds tokens.
enum Finder {
    Literals,
    One(Single),
    Two(Single),
    Three(Recent),
    Four(Long),
    Five(Double),
    Six(Double),
    Go(Single),
    Lazy(Box<Lazy>),
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

/// Tokens that become a block, or a part of one.
struct Group {
    contents: Contents,
    /// It was found when no plain bytes were to come.
    is_final: bool,
    tokens: Vec<Token>,
}

/// An encoder, ahead of the walk.
pub(super) struct Ahead {
    finder: Finder,
    manner: Manner,
    chunk_size: usize,
    writer: Writer,
    /// The group that the walk is in, and those behind it.
    queue: Queue,
    contents: Contents,
    is_final: bool,
    groups: VecDeque<Group>,
    /// The end of the bytes that were parsed, relative to the walk.
    parsed: isize,
    /// No plain bytes follow them.
    is_last: bool,
}

impl Ahead {
    /// The encoder of a number, if it has one.
    pub(super) fn of(number: u8) -> Option<Self> {
        if !NUMBERS.contains(&number) {
            return None;
        }
        let is_new = number < GO_1_26;
        let level = number % 16;
        let finder = match (is_new, level) {
            (_, LITERALS) => Finder::Literals,
            (true, 1) => Finder::One(Single::new()),
            (true, 2) => Finder::Two(Single::new()),
            (true, 3) => Finder::Three(Recent::new()),
            (true, 4) => Finder::Four(Long::new()),
            (true, 5) => Finder::Five(Double::new()),
            (true, 6) => Finder::Six(Double::new()),
            (false, 1) => Finder::Go(Single::new()),
            (_, level) => Finder::Lazy(Box::new(Lazy::new(level, is_new))),
        };
        let manner = match (is_new, level) {
            (true, LITERALS) => Manner::GoingOn { penalty: 10 },
            (true, 7..) => Manner::GoingOn { penalty: 8 },
            (true, _) => Manner::GoingOn { penalty: 7 },
            (false, 1 | LITERALS) => Manner::Alone,
            (false, _) => Manner::Compared,
        };
        Some(Self {
            finder,
            manner,
            chunk_size: if is_new && level == LITERALS { LITERALS_CHUNK_SIZE } else { CHUNK_SIZE },
            writer: Writer::new(manner),
            queue: Queue::default(),
            contents: Contents::Plain,
            is_final: false,
            groups: VecDeque::new(),
            parsed: 0,
            is_last: false,
        })
    }

    /// Returns where the next chunk begins, relative to the walk's place, and how many bytes it has, if it is wanted
    /// now.
    pub(super) fn wants(&mut self) -> Option<(isize, usize)> {
        while self.queue.wants().is_some() {
            match self.groups.pop_front() {
                Some(group) => {
                    (self.contents, self.is_final) = (group.contents, group.is_final);
                    self.queue.extend(group.tokens);
                }
                None => return (!self.is_last).then_some((self.parsed, self.chunk_size)),
            }
        }
        None
    }

    /// Parses the next chunk; `is_last` if no plain bytes follow it. Returns the work that it was beside that of each
    /// byte.
    pub(super) fn parse(&mut self, chunk: &[u8], is_last: bool) -> u64 {
        self.is_last = is_last;
        self.parsed += isize::try_from(chunk.len()).unwrap_or(isize::MAX);
        if let Finder::Lazy(finder) = &mut self.finder {
            let contents = |is_known| if is_known { Contents::Tokens } else { Contents::Unknown };
            let blocks = finder.take(chunk, is_last).into_iter();
            self.groups.extend(blocks.map(|block| Group {
                contents: contents(block.is_known),
                is_final: block.is_final,
                tokens: block.tokens,
            }));
            return finder.work();
        }
        let mut found = Vec::with_capacity(chunk.len() / 3);
        if chunk.len() >= MIN_CHUNK {
            match &mut self.finder {
                Finder::One(finder) => finder.find::<One>(chunk, &mut found),
                Finder::Two(finder) => finder.find::<Two>(chunk, &mut found),
                Finder::Three(finder) => finder.find(chunk, &mut found),
                Finder::Four(finder) => finder.find(chunk, &mut found),
                Finder::Five(finder) => finder.find::<Five>(chunk, &mut found),
                Finder::Six(finder) => finder.find::<Six>(chunk, &mut found),
                Finder::Go(finder) => finder.find::<Go>(chunk, &mut found),
                Finder::Lazy(_) | Finder::Literals => {}
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
            self.groups.push_back(Group { contents, is_final: is_last, tokens: found });
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

    /// The piece that comes next, if a token begins at the place of the walk.
    pub(super) fn piece(&self) -> Option<Piece> {
        let tokens = self.queue.rest()?;
        if tokens.is_empty() {
            return self.is_last.then(|| self.end());
        }
        let size = self.queue.left();
        let decision = self.writer.decide(self.contents, tokens, size, self.is_final);
        let is_stored = matches!(decision.begin, Some(Kind::Stored { .. }));
        Some(Piece {
            begin: decision.begin.clone(),
            is_last: false,
            tokens: if is_stored { Vec::new() } else { tokens.to_vec() },
            size,
            ends: decision.ends,
            decision: Some(decision),
        })
    }

    /// The end of the stream: an empty block.
    fn end(&self) -> Piece {
        let begin = match self.manner {
            Manner::GoingOn { .. } => Kind::Static,
            Manner::Alone | Manner::Compared => Kind::Stored { size: 0, padding: 0 },
        };
        Piece { begin: Some(begin), is_last: true, tokens: Vec::new(), size: 0, ends: true, decision: None }
    }

    /// The stream has what came next.
    pub(super) fn accept(&mut self, piece: &Piece) {
        match &piece.decision {
            Some(decision) => self.writer.accept(decision),
            None => self.writer.close(),
        }
        self.pass(piece.size);
        self.queue.clear();
    }

    /// The walk takes a step of so many bytes on its own.
    pub(super) fn step(&mut self, size: usize) {
        self.pass(size);
        self.queue.step(size);
        if self.parsed < -(MAX_MATCH as isize) {
            // The walk left what was parsed by a stored block: the next chunk begins here.
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
