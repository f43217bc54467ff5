//! Makes the new file of a payload and the old file.

use std::borrow::Cow;
use std::ops::Range;

use crate::call_sites::{CallSites, RowReader};
use crate::computed::{self, Computed, Held};
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::map::Map;
use crate::misses::{Guess, Misses};
use crate::neighbours::Neighbours;
use crate::operands::{Before, Code, Machine, New, PIECE_SIZE};
use crate::packed;
use crate::payload::{Block, Payload};
use crate::predict::{Outcome, Predictor};
use crate::rules::{Rule, Rules};
use crate::runs::Differences;
use crate::scan::{covered, scan};
use crate::side_by_side::side_by_side;
use crate::varint::Reader;
use crate::wire::{correct, read_rules};

/// Units of work for each byte that rules go over, and one more for so many segments that are looked through.
const COVERED_WORK: u64 = 3;
const SEGMENTS_A_UNIT: u64 = 3;
/// Units of work for each byte of the new file, of which some are fields. A compressed kernel module has up
/// to eight bytes for each one of the layer, whose work has to suffice for all of them.
const NEW_WORK: u64 = 8;
/// The same for each byte along data of ICU, beside those for any byte: their fields have two bytes, and each is looked
/// up in its bundle.
const ICU_WORK: u64 = 16;
/// Units of work for each byte that is held: records are read, and sorted.
const HELD_WORK: u64 = 8;
/// Units of work for each byte of tables of call sites, beside those for any byte: their records are followed byte by
/// byte, and random ones take twice as long as code.
const SITES_WORK: u64 = 8;
/// Units of work for each byte of packed new bytes, and of what they are unpacked with.
const PACKED_WORK: u64 = 70;
const DICTIONARY_WORK: u64 = 10;
/// Units of work for each block: to find what fields it has, and its place in the map.
const BLOCK_WORK: u64 = 256;

/// Makes the new file piece by piece.
///
/// Beside the old file and the payload it holds 12 bytes for each field and 16 for each place that one means, a sixth of
/// the old file to find them, and the map: with the limit of [`crate::MIN_FIELD_BYTES`] at most seven bytes for each
/// byte of the old file while it starts, and of programs in the field less than one. Each bundle of ICU takes 64 bytes
/// more, at most 4 MiB together. A table is computed once what it is computed from is made: up to then at most
/// [`crate::MAX_HELD`] bytes of the new file are held, too.
#[derive(Debug)]
pub struct Decoder<'a> {
    old: &'a [u8],
    payload: Payload<'a>,
    differences: Differences<'a>,
    predictor: Predictor<'a>,
    /// The block that is being made, and how far.
    block: usize,
    done: u32,
    /// Bytes that are made.
    position: u32,
    /// The new bytes, and how many of them are made. The operands among them stand apart.
    fresh: Cow<'a, [u8]>,
    fresh_used: usize,
    new: New<'a>,
    before: Before,
    misses: Misses<'a>,
    machine: Machine,
    held: Vec<Held>,
    code: Vec<Range<u32>>,
    sites: CallSites,
    rows: RowReader<'a>,
    piece: Vec<u8>,
    difference: Vec<u8>,
}

/// A payload that was read, before anything is done that takes time.
#[derive(Debug)]
pub struct Prepared<'a> {
    old: &'a [u8],
    payload: Payload<'a>,
    rules: Option<(Rules, Reader<'a>)>,
    computed: Vec<Computed>,
    /// The stretches that the dictionary of packed new bytes is made of, and the number of these.
    packed: Option<(Vec<Range<u32>>, usize)>,
    covered: u64,
}

impl<'a> Prepared<'a> {
    /// Reads the blocks and the rules.
    ///
    /// # Errors
    /// [`Error`](crate::Error).
    pub fn new(payload: &'a [u8], old: &'a [u8]) -> Result<Self> {
        let payload = Payload::parse(payload, Some(old.len()))?;
        let mut prepared = Self { old, payload, rules: None, computed: Vec::new(), packed: None, covered: 0 };
        if prepared.payload.has_rules() {
            let mut reader = Reader::new(prepared.payload.rules, "the rules");
            let rules = read_rules(&mut reader, old.len())?;
            prepared.covered = covered(old.len(), &rules.rules)?;
            prepared.computed = rules.computed();
            computed::check(&prepared.computed, prepared.payload.size)?;
            if let Some(size) = rules.packed {
                let (size, max) = (size as usize, prepared.payload.size);
                if size > max {
                    let what = "the size of packed new bytes";
                    return Err(Error::TooLarge { what, value: size as u64, max: max as u64 });
                }
                prepared.packed = Some((packed::stretches(&prepared.payload.blocks, old.len())?, size));
            }
            prepared.rules = Some((rules, reader));
        }
        Ok(prepared)
    }

    /// The size of the new file in bytes.
    pub const fn size(&self) -> usize {
        self.payload.size
    }

    /// Bytes that are held at once beside the old file and the payload: those of the new file that are held back, and
    /// new bytes that are unpacked, with their dictionary and the window over both.
    pub fn held(&self) -> usize {
        let unpacked =
            self.packed.as_ref().map_or(0, |(_, size)| self.dictionary_size().saturating_add(*size));
        self.held_back().saturating_add(unpacked.saturating_mul(2))
    }

    /// Bytes of the new file that are held back at once.
    fn held_back(&self) -> usize {
        usize::try_from(computed::held_size(&self.computed)).unwrap_or(usize::MAX)
    }

    /// Bytes of the old file that the dictionary is made of.
    fn dictionary_size(&self) -> usize {
        let stretches = self.packed.iter().flat_map(|(stretches, _)| stretches);
        stretches.map(|stretch| (stretch.end - stretch.start) as usize).sum()
    }

    /// Bytes of the new file that are tables of call sites.
    fn sites(&self) -> u64 {
        let size = self.payload.size as u64;
        let range = self.rules.as_ref().map_or(0..0, |(rules, _)| rules.call_sites.clone());
        size.min(range.end.into()).saturating_sub(range.start.into())
    }

    /// Bytes of the new file that lie along data of ICU, from the start of the first rule for them to the end of the
    /// last.
    fn icu(&self) -> u64 {
        let ranges = self.rules.iter().flat_map(|(rules, _)| &rules.rules).filter_map(|rule| match rule {
            Rule::Icu { range, .. } => Some(range.clone()),
            _ => None,
        });
        let all = ranges.reduce(|all, range| all.start.min(range.start)..all.end.max(range.end));
        let Some(Range { start, end }) = all else { return 0 };
        let along = |block: &Block| {
            let block_end = block.source.saturating_add(block.add);
            u64::from(end.min(block_end).saturating_sub(block.source.max(start)))
        };
        self.payload.blocks.iter().map(along).sum()
    }

    /// The time that it takes to make the new file, in units of about a nanosecond.
    pub fn work(&self) -> u64 {
        let segments =
            self.rules.as_ref().map_or(0, |(rules, _)| rules.old.segments.len() + rules.new.segments.len());
        let per_byte = if self.rules.is_some() { NEW_WORK } else { 1 };
        let of_segments = segments as u64 / SEGMENTS_A_UNIT;
        self.covered * (COVERED_WORK + of_segments)
            + self.held_back() as u64 * (HELD_WORK + of_segments)
            + self.payload.size as u64 * per_byte
            + self.dictionary_size() as u64 * DICTIONARY_WORK
            + self.packed.as_ref().map_or(0, |_| self.payload.new.new.len() as u64 * PACKED_WORK)
            + self.sites() * SITES_WORK
            + self.icu() * ICU_WORK
            + self.payload.blocks.len() as u64 * BLOCK_WORK
    }

    /// Finds the fields of the old file, and on a thread beside that unpacks new bytes.
    ///
    /// # Errors
    /// [`Error`](crate::Error).
    pub fn start(self) -> Result<Decoder<'a>> {
        let Self { old, payload, rules, computed, packed, .. } = self;
        let mut fresh = Cow::Borrowed(payload.new.new);
        let (mut code, mut machine) = (Vec::new(), Machine::X86_64);
        let mut sites = CallSites::new(0..0);
        let predictor = match rules {
            None => Predictor::none(old),
            Some((mut rules, mut reader)) => {
                machine = rules.machine();
                code = std::mem::take(&mut rules.new_code);
                sites = CallSites::new(rules.call_sites.clone());
                let mut predictor = || {
                    let map = Map::new(&payload.blocks);
                    let scanned = scan(old, &rules.old, &rules.rules)?;
                    Predictor::new(old, &rules, scanned, &map, |bases| {
                        correct(&mut reader, bases)?;
                        reader.end()
                    })
                };
                match packed {
                    None => predictor()?,
                    Some((stretches, size)) => {
                        let unpack = || {
                            let dictionary = packed::dictionary(old, &stretches, &rules);
                            packed::unpack(&dictionary, payload.new.new, size)
                        };
                        let (unpacked, predictor) = side_by_side(unpack, predictor);
                        fresh = Cow::Owned(unpacked?);
                        predictor?
                    }
                }
            }
        };
        Ok(Decoder {
            old,
            differences: Differences::new(payload.runs, payload.differences),
            fresh,
            fresh_used: 0,
            new: payload.new,
            before: Before::default(),
            misses: payload.misses(),
            machine,
            held: computed.into_iter().map(Held::new).collect(),
            code,
            sites,
            rows: RowReader::new(payload.rows),
            payload,
            predictor,
            block: 0,
            done: 0,
            position: 0,
            piece: Vec::new(),
            difference: Vec::new(),
        })
    }
}

impl<'a> Decoder<'a> {
    /// Reads a payload and finds the fields of the old file, whatever time that takes.
    ///
    /// # Errors
    /// [`Error`](crate::Error).
    pub fn new(payload: &'a [u8], old: &'a [u8]) -> Result<Self> {
        Prepared::new(payload, old)?.start()
    }

    /// The size of the new file in bytes.
    pub const fn size(&self) -> usize {
        self.payload.size
    }

    /// Makes the next bytes of the new file; `None` at its end.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the differences end early, or some are left.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        while let Some(block) = self.payload.blocks.get(self.block).copied() {
            self.make(block)?;
            let (end, space) = (self.position.into(), self.predictor.space());
            if self.held.iter_mut().all(|held| held.passes(&mut self.piece, end, space)) {
                return Ok(Some(&self.piece));
            }
        }
        self.differences.end()?;
        if self.fresh_used < self.fresh.len() {
            return Err(Error::Left("the new bytes"));
        }
        self.new.end()?;
        self.rows.end()?;
        self.misses.end()?;
        Ok(None)
    }

    /// Makes the next piece of a block.
    fn make(&mut self, block: Block) -> Result<()> {
        let Block { source, add, literal } = block;
        if self.done < add {
            let start = source + self.done;
            let end = self.predictor.cut(start, start + (add - self.done).min(PIECE_SIZE));
            // A field at the end of a block is cut by the block.
            let end = if source + add - start <= PIECE_SIZE { source + add } else { end };
            self.along(start, end)?;
            self.advance(end - start, block);
        } else if self.held.iter().any(|held| held.table().is_made_by(block, self.position - self.done)) {
            let size = (literal - self.done).min(PIECE_SIZE);
            self.piece.resize(size as usize, 0);
            self.differences.fill(&mut self.piece)?;
            self.sites.pass(self.position, &self.piece);
            self.advance(size, block);
        } else {
            let size = (add + literal - self.done).min(PIECE_SIZE);
            let code = Code { machine: self.machine, ranges: &self.code, space: self.predictor.space() };
            let address = code.address(self.position, size as usize);
            self.piece.clear();
            let mut fresh = &self.fresh[self.fresh_used..];
            if address.is_none() && self.sites.holds(self.position, size as usize) {
                self.rows.read(&mut self.sites, &mut self.piece, size as usize, &mut fresh)?;
            } else {
                let (piece, before) = (&mut self.piece, &mut self.before);
                self.new.read(&mut fresh, piece, size as usize, address, self.machine, before)?;
                self.sites.pass(self.position, &self.piece);
            }
            self.fresh_used = self.fresh.len() - fresh.len();
            self.advance(size, block);
        }
        self.before.pass(&self.piece);
        Ok(())
    }

    fn advance(&mut self, size: u32, block: Block) {
        self.done += size;
        self.position += size;
        if self.done == block.add + block.literal {
            (self.block, self.done) = (self.block + 1, 0);
        }
    }

    /// Makes the bytes that lie along the old file.
    fn along(&mut self, start: u32, end: u32) -> Result<()> {
        let along = &self.old[start as usize..end as usize];
        self.piece.clear();
        self.piece.extend_from_slice(along);
        self.difference.resize(along.len(), 0);
        self.differences.fill(&mut self.difference)?;
        let difference = &self.difference;
        let block = self.position - self.done;
        let neighbours = Neighbours { blocks: &self.payload.blocks, index: self.block, start: block };
        let (misses, new) = (&mut self.misses, &mut self.new);
        let mut correct = |_, guess: &Guess<'_>| misses.next(guess, new);
        self.predictor.predict(
            neighbours,
            start,
            self.position,
            &mut self.piece,
            &mut correct,
            |offset, predicted| {
                let mut found = [0; 8];
                let sums = found.iter_mut().zip(predicted).zip(&difference[offset..]);
                sums.for_each(|((found, byte), difference)| *found = byte.wrapping_add(*difference));
                u64::from_le_bytes(found)
            },
        )?;
        let sums = self.piece.iter_mut().zip(difference);
        sums.for_each(|(byte, difference)| *byte = byte.wrapping_add(*difference));
        self.sites.pass(self.position, &self.piece);
        Ok(())
    }

    /// Returns the outcomes of the predictions so far, by the kind of the field.
    pub fn outcomes(&self) -> Vec<(Kind, Outcome)> {
        self.predictor.outcomes()
    }
}
