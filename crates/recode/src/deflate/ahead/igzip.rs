//! The tokens and the blocks of igzip (isa-l), as it finds them on x86-64 with SSE4.2, at level 3 with AVX2 or AVX-512.
//!
//! A table has the last place of each hash, in 16 bits. The encoder is given the plain bytes as the program igzip gives
//! them. Given otherwise, some tokens differ at borders.

mod calls;
mod hash;
mod map;
mod skip;
mod turns;

use self::calls::Calls;
use self::hash::hash;
use self::map::Map;
use self::skip::Skip;
use super::super::igzip_codes::kind;
use super::super::reader::Kind;
use super::super::token::{MAX_MATCH, MAX_STORED, Token};
use super::super::trees::Frequencies;
use super::groups::{Group, Outline, may_be_stored};
use super::history::{common, four};
use super::writer::Contents;

const WINDOW_SIZE: usize = 1 << 15;
/// Shortest match, and one that is looked for first.
const MIN_SIZE: usize = 4;
const LONG_SIZE: usize = 8;
/// Entries of a block, up to level 2 and at level 3. A match is one, and so are two literals of a turn.
const BLOCK_ENTRIES: usize = 65_380;
const MAP_BLOCK_ENTRIES: usize = 65_089;
/// Bytes that are held before those that are ahead, at most.
const MAX_PAST: usize = 1 << 19;
/// Numbers that an entry of 16 bits can hold: places are moved by a multiple of it.
const PLACES: usize = 1 << 16;
/// Most plain bytes of a block that may be stored. A larger one has so long matches that it is not.
const MAX_STORED_BLOCK: usize = 1 << 18;

/// The plain bytes that are known, and where their strings were.
pub(super) struct Igzip {
    /// All is one block, of codes that are not made for it.
    is_preset: bool,
    max_entries: usize,
    /// The matches of the next places, at level 3.
    map: Option<Map>,
    bytes: Vec<u8>,
    /// The place of the next token.
    at: usize,
    head: Vec<u16>,
    /// The bits of hashes that are used.
    mask: usize,
    /// The hashes of the two places of the next turn.
    hashes: (usize, usize),
    skip: Skip,
    calls: Calls,
    /// A call has begun, or a block.
    is_new: bool,
    /// True if the last step goes on even at the end of a call.
    goes_on: bool,
    /// The first place was looked at.
    has_history: bool,
    /// The start of the block, if it is still there, and its tokens.
    start: Option<usize>,
    tokens: Vec<Token>,
    entries: usize,
    /// A part of the block of level 0 was made.
    has_begun: bool,
}

impl Igzip {
    pub(super) fn new(level: u8) -> Self {
        let size = if level < 2 { 1 << 13 } else { WINDOW_SIZE };
        let map = match level {
            3 => Some(Map::new(16)),
            4 => Some(Map::new(8)),
            _ => None,
        };
        Self {
            is_preset: level == 0,
            max_entries: if map.is_some() { MAP_BLOCK_ENTRIES } else { BLOCK_ENTRIES },
            map,
            bytes: Vec::new(),
            at: 0,
            // One more, for what is no hash.
            head: vec![0; size + 1],
            mask: size - 1,
            hashes: (0, 0),
            skip: Skip::new(0),
            calls: Calls::new(),
            is_new: true,
            goes_on: false,
            has_history: false,
            start: Some(0),
            tokens: Vec::new(),
            entries: 0,
            has_begun: false,
        }
    }

    /// Takes plain bytes in; gives the blocks that are full, at the end of all bytes also the last; at level 0 what
    /// there is of the block.
    pub(super) fn take(&mut self, bytes: &[u8], is_end: bool) -> Vec<Group> {
        self.forget();
        self.bytes.extend_from_slice(bytes);
        let mut groups = Vec::new();
        if is_end && !self.has_history && self.bytes.len() < calls::PIECE {
            // Fewer bytes than hashes at the start of all bytes have fewer hashes.
            let double = 2 * self.bytes.len();
            self.mask = self.mask.min((double + 1).next_power_of_two() - 1);
        }
        loop {
            let call = self.calls.extent(self.bytes.len(), is_end);
            match self.map.take() {
                Some(map) => self.map = Some(self.maps(map, call, &mut groups)),
                None => self.turns(call, &mut groups),
            }
            if call.is_last || call.stop.is_none() {
                break;
            }
            self.calls.next(self.at);
            self.begin();
        }
        if is_end {
            self.finish(&mut groups);
        }
        // The block is the last of the stream if the first call has all bytes.
        let is_last = is_end && self.calls.is_first();
        let is_known = is_end || !self.calls.is_first();
        if self.is_preset && is_known && !self.tokens.is_empty() {
            let is_last = is_last && !self.has_begun;
            let outline =
                Outline { begins: !self.has_begun, is_last, ..Outline::of(Contents::Tokens, is_end) };
            self.has_begun = true;
            groups.push(Group { outline, tokens: std::mem::take(&mut self.tokens) });
        }
        groups
    }

    /// Leaves out bytes that no reference can be to.
    fn forget(&mut self) {
        let mut past = self.at.saturating_sub(WINDOW_SIZE);
        if let Some(start) = self.start.filter(|start| !self.is_preset && self.at - start <= MAX_STORED_BLOCK)
        {
            past = past.min(start);
        }
        if past > MAX_PAST {
            let gone = past / PLACES * PLACES;
            self.bytes.drain(..gone);
            self.at -= gone;
            self.start = self.start.and_then(|start| start.checked_sub(gone));
            self.skip.shift(gone);
            self.calls.shift(gone);
            if let Some(map) = &mut self.map {
                map.shift(gone);
            }
        }
    }

    fn hash(&self, at: usize) -> usize {
        let value = four(&self.bytes, at);
        let hash = if self.map.is_some() { map::hash(value) } else { hash(value) };
        hash & self.mask
    }

    /// Enters the string at a place.
    fn enter(&mut self, at: usize) -> u16 {
        let hash = self.hash(at);
        std::mem::replace(&mut self.head[hash], entry(at))
    }

    /// Enters a place for a hash; gives the place that the entry before is thought to be.
    fn candidate(&mut self, hash: usize, at: usize) -> usize {
        let last = std::mem::replace(&mut self.head[hash], entry(at));
        at.saturating_sub(usize::from(entry(at).wrapping_sub(1).wrapping_sub(last)) % WINDOW_SIZE + 1)
    }

    fn is_full(&self) -> bool {
        !self.is_preset && self.entries >= self.max_entries
    }

    /// Hashes the strings of the next turn.
    fn restart(&mut self) {
        self.hashes = (self.hash(self.at), self.hash(self.at + 1));
    }

    /// Takes the first byte of the stream, which nothing is before.
    fn first(&mut self) {
        self.enter(self.at);
        self.literals(1);
        self.has_history = true;
    }

    /// Takes so many bytes as literals, in one entry.
    fn literals(&mut self, count: usize) {
        for byte in &self.bytes[self.at..self.at + count] {
            self.tokens.push(Token::literal(*byte));
        }
        self.at += count;
        self.entries += 1;
    }

    fn push(&mut self, size: usize, distance: usize) {
        self.tokens.push(Token::reference(size, distance));
        self.at += size;
        self.entries += 1;
    }

    /// A call begins, or a block.
    const fn begin(&mut self) {
        (self.is_new, self.goes_on) = (true, false);
    }

    /// Looks at the last places one by one, and ends the block.
    fn finish(&mut self, groups: &mut Vec<Group>) {
        let len = self.bytes.len();
        while self.at < len {
            let max = self.max_entries + usize::from(self.map.is_none());
            if !self.is_preset && self.entries >= max {
                self.end_block(false, groups);
            }
            if self.at + MIN_SIZE > len {
                self.literals(1);
            } else if self.has_history {
                self.last_place(len);
            } else {
                self.first();
            }
        }
        if !self.is_preset {
            self.end_block(true, groups);
        }
    }

    fn last_place(&mut self, len: usize) {
        let at = self.at;
        let last = self.enter(at);
        let distance = usize::from(entry(at).wrapping_sub(last));
        let source = at.checked_sub(distance).filter(|_| (1..WINDOW_SIZE).contains(&distance));
        let size = source.map_or(0, |source| common(&self.bytes, source, at, (len - at).min(MAX_MATCH)));
        if size < MIN_SIZE {
            self.literals(1);
            return;
        }
        if self.map.is_none() && at + size + MIN_SIZE <= len {
            self.enter(at + 1);
            self.enter(at + 2);
        }
        self.push(size, distance);
    }

    fn may_be_stored(&self, tokens: &[Token], start: usize) -> bool {
        let literals = tokens.iter().filter(|token| token.is_literal()).count();
        may_be_stored(literals, tokens.len() - literals, self.at - start)
    }

    fn end_block(&mut self, is_last: bool, groups: &mut Vec<Group>) {
        let next = Vec::with_capacity(self.tokens.len());
        let tokens = std::mem::replace(&mut self.tokens, next);
        let start = self.start.replace(self.at);
        self.entries = 0;
        if tokens.is_empty() {
            return;
        }
        let is_large = |start: &usize| (MAX_STORED..MAX_STORED_BLOCK).contains(&(self.at - start));
        if let Some(start) = start.filter(|start| is_large(start) && self.may_be_stored(&tokens, *start)) {
            let frequencies = Frequencies::of(&tokens);
            if let Kind::Stored { .. } = kind(&frequencies, Some(self.at - start)) {
                groups.extend(Group::stored(&self.bytes[start..self.at], is_last));
                return;
            }
        }
        groups.push(Group { outline: Outline { is_last, ..Outline::of(Contents::Tokens, is_last) }, tokens });
    }
}

/// A place as the table has it.
fn entry(at: usize) -> u16 {
    u16::try_from(at % PLACES).unwrap_or(0)
}
