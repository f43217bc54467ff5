//! The encoders whose choices do not depend on how the stream was written, but on the plain bytes alone: they run
//! ahead of the walk, chunk by chunk, and say which tokens come next, in which kind of block, and with which codes.
//!
//! Where the stream was made otherwise, because another version made it, the walk goes its own way, and what the
//! encoder makes of the rest of its chunk, and of the next, is of use again.

mod double;
mod history;
mod queue;
mod single;
mod writer;

pub(super) use self::double::{Double, Five};
pub(super) use self::queue::Queue;

use self::double::Six;
use self::single::{Go, Klauspost, Single};
use self::writer::{Contents, Decision, Manner, Writer};
use super::reader::Kind;
use super::token::{MAX_MATCH, Token};

/// Plain bytes that are parsed together.
pub(super) const CHUNK_SIZE: usize = 65_535;
/// A last chunk of fewer bytes has no references.
const MIN_CHUNK: usize = 128;

/// Encoders by their numbers in recipes: 16 for each family, and the level.
mod number {
    pub(super) const GO_1_27: u8 = 16;
    pub(super) const GO_1_26: u8 = 32;
}

/// All numbers of encoders that run ahead.
pub(super) const NUMBERS: [u8; 3] = [number::GO_1_27 + 6, number::GO_1_27 + 1, number::GO_1_26 + 1];

/// The encoder that finds tokens.
enum Finder {
    Six(Box<Double>),
    One(Box<Single>),
    Go(Box<Single>),
}

/// What the encoder makes of the next plain bytes.
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
    writer: Writer,
    queue: Queue,
    /// The kind of tokens in the queue, and whether no plain bytes follow them.
    contents: Contents,
    is_last: bool,
}

impl Ahead {
    /// The encoder of a number, if it has one.
    pub(super) fn of(number: u8) -> Option<Self> {
        let going_on = Manner::GoingOn { penalty: 7 };
        let (finder, manner) = match number {
            22 => (Finder::Six(Box::new(Double::new())), going_on),
            17 => (Finder::One(Box::new(Single::new())), going_on),
            33 => (Finder::Go(Box::new(Single::new())), Manner::Alone),
            _ => return None,
        };
        let (writer, queue) = (Writer::new(manner), Queue::default());
        Some(Self { finder, manner, writer, queue, contents: Contents::Plain, is_last: false })
    }

    /// Returns how many bytes before the walk's place the next chunk begins, if it is wanted now.
    pub(super) fn wants(&self) -> Option<usize> {
        self.queue.wants().filter(|_| !self.is_last)
    }

    /// Parses the next chunk; `is_last` if no plain bytes follow it.
    pub(super) fn parse(&mut self, chunk: &[u8], is_last: bool) {
        self.is_last = is_last;
        let mut found = Vec::with_capacity(chunk.len() / 3);
        self.contents = Contents::Plain;
        let least = if self.manner == Manner::Alone { 16 } else { 32 };
        if chunk.len() >= MIN_CHUNK {
            match &mut self.finder {
                Finder::Six(finder) => finder.find::<Six>(chunk, &mut found),
                Finder::One(finder) => finder.find::<Klauspost>(chunk, &mut found),
                Finder::Go(finder) => finder.find::<Go>(chunk, &mut found),
            }
        }
        let mut parsed: usize = found.iter().map(|token| token.size()).sum();
        let is_stored = match self.manner {
            Manner::Alone => chunk.len() <= least,
            Manner::GoingOn { .. } => {
                if chunk.len() < MIN_CHUNK {
                    chunk.len() <= least
                } else {
                    found.is_empty()
                }
            }
        };
        // What is hardly smaller is written without references.
        if chunk.len() < MIN_CHUNK || found.len() + chunk.len() - parsed > chunk.len() - (chunk.len() >> 4) {
            found.clear();
            parsed = 0;
            self.contents = if is_stored { Contents::Plain } else { Contents::Literals };
        } else {
            self.contents = Contents::Tokens;
        }
        found.extend(chunk[parsed..].iter().map(|byte| Token::literal(*byte)));
        self.queue.extend(found);
    }

    /// The token that is taken where the walk is, if one begins there.
    pub(super) fn token(&self) -> Option<Token> {
        self.queue.token()
    }

    /// Plain bytes up to the end of the chunk.
    pub(super) fn left(&self) -> usize {
        self.queue.left()
    }

    /// What comes next, if a token begins where the walk is.
    pub(super) fn piece(&self) -> Option<Piece> {
        let tokens = self.queue.rest()?;
        if tokens.is_empty() {
            return self.is_last.then(|| self.end());
        }
        let size = self.queue.left();
        let decision = self.writer.decide(self.contents, tokens, size, self.is_last);
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
            Manner::Alone => Kind::Stored { size: 0, padding: 0 },
        };
        Piece { begin: Some(begin), is_last: true, tokens: Vec::new(), size: 0, ends: true, decision: None }
    }

    /// The stream has what came next.
    pub(super) fn accept(&mut self, piece: &Piece) {
        match &piece.decision {
            Some(decision) => self.writer.accept(decision),
            None => self.writer.close(),
        }
        self.queue.clear();
    }

    /// The walk takes a step of so many bytes on its own.
    pub(super) fn step(&mut self, size: usize) {
        self.queue.step(size);
        if self.queue.wants().is_some_and(|before| before > MAX_MATCH) {
            // The walk left the chunk by a stored block: the next one begins here.
            self.queue.clear();
        }
    }

    /// The block was ended otherwise.
    pub(super) fn close(&mut self) {
        self.writer.close();
    }
}
