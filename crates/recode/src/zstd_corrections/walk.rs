//! The walk over the blocks of a frame, which codes how each differs from what is predicted.

#[cfg(test)]
mod tests;

use super::history::History;
use super::manner::Manner;
use super::parts::Parts;
use super::predictor::Predictor;
use super::repeats::Repeats;
use super::rules::Rules;
use super::sequence::{Around, Number, Place, Sequences};
use super::tables;
use crate::compare::Plain;
use crate::deflate::range::{Coder, Model};
use crate::zstd_blocks::fse::Frequencies;
use crate::zstd_blocks::headers::{COMPRESSED, ONE, OWN_CODE, RAW};
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::sequences::{MAX_SYMBOLS, Sequence, Source};
use crate::zstd_blocks::{BLOCK_WORK, Known, MAX_BLOCK};
use crate::{Error, Result};

/// The kind of a compressed block that is carried as it is.
pub(super) const CARRIED: u8 = 3;
/// Units of work that the codes and tables of a compressed block take beside [`BLOCK_WORK`], carried or not.
const CODES_WORK: u64 = 128 << 10;
/// Literals for each sequence from which the literals are suspected to be noise.
const SUSPECT: usize = 20;
/// Ways to say the size of a block: up to the next multiple of the largest size, as a predicted one, or another.
const FULL: u32 = 0;
const PREDICTED: u32 = 1;
const OTHER: u32 = 2;
/// Most bytes of the description of a code or of a table.
const MAX_DESCRIPTION: usize = 256;

const fn mismatch(reason: &'static str) -> Error {
    Error::Mismatch { reason }
}

/// A block of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: u8,
    pub(super) is_last: bool,
    /// Its content, without the header.
    pub(super) content: Vec<u8>,
    pub(super) plain_size: usize,
    /// The parts of a compressed block that comes out of them.
    pub(super) parts: Option<Parts>,
}

/// The state between two blocks, and the models.
pub(super) struct Walk<C> {
    pub(super) coder: C,
    rules: Rules,
    predictor: Predictor,
    history: History,
    plain_size: u64,
    /// The place at which the next block begins.
    at: u64,
    known: Known,
    before: tables::Before,
    repeats: Repeats,
    models: Models,
    last_kind: u8,
    last_way: u32,
}

struct Models {
    kind: [[Model; 4]; 16],
    way: [[Model; 4]; 4],
    is_last: [Model; 2],
    size: Number,
    sequences: Sequences,
    form: [Model; 16],
    code: [[Model; 4]; 2],
    source: [[Model; 2]; 3],
    bytes: Number,
}

impl Models {
    fn new() -> Self {
        Self {
            kind: [[Model::NEW; 4]; 16],
            way: [[Model::NEW; 4]; 4],
            is_last: [Model::NEW; 2],
            size: Number::NEW,
            sequences: Sequences::new(),
            form: [Model::NEW; 16],
            code: [[Model::NEW; 4]; 2],
            source: [[Model::NEW; 2]; 3],
            bytes: Number::NEW,
        }
    }
}

impl<C: Coder> Walk<C> {
    pub(super) fn new(coder: C, manner: Manner, plain_size: u64) -> Result<Self> {
        Ok(Self {
            coder,
            rules: manner.rules(),
            predictor: Predictor::new(manner, plain_size)?,
            history: History::default(),
            plain_size,
            at: 0,
            known: Known::default(),
            before: tables::Before::default(),
            repeats: Repeats::default(),
            models: Models::new(),
            last_kind: COMPRESSED,
            last_way: FULL,
        })
    }

    /// The place at which the next block begins.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Checks that a block is of the plain bytes at hand, and has it be carried if it does not come out of its parts.
    pub(super) fn check(&mut self, plain: &mut Plain<'_>, block: &mut Block) -> Result<()> {
        const OTHERS: Error = mismatch("the blocks have other plain bytes");
        let end = self.at + block.plain_size as u64;
        self.history.read_to(plain, end)?;
        if end > self.history.end() {
            return Err(OTHERS);
        }
        let bytes = self.history.bytes(self.at, end);
        match block.kind {
            RAW if bytes != block.content => return Err(OTHERS),
            ONE if bytes.iter().any(|byte| block.content.first() != Some(byte)) => return Err(OTHERS),
            COMPRESSED => {
                let parts = block.parts.as_ref().ok_or(OTHERS)?;
                let mut rest = bytes;
                let mut literals = Vec::with_capacity(bytes.len());
                for Sequence { literals: count, size, .. } in &parts.sequences {
                    let (of_sequence, behind) = rest.split_at_checked(*count as usize).ok_or(OTHERS)?;
                    literals.extend_from_slice(of_sequence);
                    rest = behind.get(*size as usize..).ok_or(OTHERS)?;
                }
                literals.extend_from_slice(rest);
                if parts.write(&literals, &mut self.known.clone()).as_ref() != Some(&block.content) {
                    block.kind = CARRIED;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Codes a block; `actual` is the block, if it is known, and its parts are those that make it.
    pub(super) fn block(&mut self, plain: &mut Plain<'_>, actual: Option<&Block>) -> Result<Block> {
        plain.charge(BLOCK_WORK)?;
        let left = self.plain_size - self.at;
        let full = (MAX_BLOCK as u64 - self.at % MAX_BLOCK as u64).min(left);
        let ahead = self.at + (MAX_BLOCK as u64).min(left);
        self.predictor.advance(&mut self.history, plain, self.at, ahead)?;
        self.history.pass(self.at, ahead);

        let predicted = self.predictor.block(self.at);
        let context =
            usize::from(self.last_kind) << 2 | predicted.map_or(3, |(_, kind)| usize::from(kind & 3));
        let kind = actual.map_or(0, |actual| u32::from(actual.kind));
        let kind = self.coder.tree(&mut self.models.kind[context], kind, 2).to_le_bytes()[0];
        self.last_kind = kind;
        let ways = [full, predicted.map_or(full, |(end, _)| end - self.at)];
        let size = self.size(ways, actual.map(|actual| actual.plain_size))?;
        if size as u64 > left || size > MAX_BLOCK {
            return Err(mismatch("a block is too large"));
        }
        let end = self.at + size as u64;
        let is_end = end == self.plain_size;
        let is_last = self
            .coder
            .bit(&mut self.models.is_last[usize::from(is_end)], actual.is_some_and(|of| of.is_last));
        self.predictor.enter(&self.history, self.at, end, self.repeats);
        let mut block = Block { kind, is_last, content: Vec::new(), plain_size: size, parts: None };
        if matches!(kind, COMPRESSED | CARRIED) {
            plain.charge(CODES_WORK)?;
        }
        match kind {
            RAW => block.content = self.history.bytes(self.at, end).to_vec(),
            ONE => block.content = self.history.bytes(self.at, end).first().into_iter().copied().collect(),
            COMPRESSED => {
                let parts = actual.and_then(|actual| actual.parts.as_ref());
                let (parts, literals) = self.parts(plain, end, parts)?;
                let made = parts.write(&literals, &mut self.known);
                block.content = made.ok_or(mismatch("no block has such parts"))?;
                block.parts = Some(parts);
            }
            _ => {
                block.content = self.bytes(actual.map(|actual| actual.content.as_slice()), MAX_BLOCK)?;
                let read = Parts::read(&block.content, &mut self.known);
                let (parts, literals) = read.ok_or(mismatch("a block is broken"))?;
                let made: usize = parts.sequences.iter().map(|sequence| sequence.size as usize).sum();
                if made + literals != size {
                    return Err(mismatch("a block has another size"));
                }
                block.parts = Some(parts);
            }
        }
        if let Some(parts) = &block.parts {
            if let Some(sources) = &parts.sources {
                self.before.learn(sources);
            }
            // Those of a block that was coded were taken one by one.
            if kind == CARRIED {
                for sequence in &parts.sequences {
                    self.repeats.take(*sequence).ok_or(mismatch("a block is broken"))?;
                }
            }
        }
        self.at = end;
        Ok(block)
    }

    /// Codes the number of plain bytes of a block, which is known in one or two ways.
    fn size(&mut self, [full, predicted]: [u64; 2], actual: Option<usize>) -> Result<usize> {
        let way = match actual.map(|actual| actual as u64) {
            Some(actual) if actual == full => FULL,
            Some(actual) if actual == predicted => PREDICTED,
            _ => OTHER,
        };
        let way = self.coder.tree(&mut self.models.way[self.last_way as usize & 3], way, 2);
        self.last_way = way;
        let size = match way {
            FULL => full,
            PREDICTED => predicted,
            _ => {
                let actual = actual.and_then(|actual| u32::try_from(actual).ok()).unwrap_or(0);
                self.models.size.code(&mut self.coder, actual).into()
            }
        };
        usize::try_from(size).map_err(|_| mismatch("a block is too large"))
    }

    /// Codes the parts of a block that ends at a place. Returns the literals, too.
    fn parts(&mut self, plain: &Plain<'_>, end: u64, actual: Option<&Parts>) -> Result<(Parts, Vec<u8>)> {
        let (sequences, literals) =
            self.sequences(plain, end, actual.map(|actual| actual.sequences.as_slice()))?;
        let is_suspect = sequences.is_empty() || literals.len() / sequences.len() >= SUSPECT;
        let expected = self.rules.literals(&literals, self.known.code.as_ref(), is_suspect);
        let is_other = actual.is_some_and(|actual| actual.form != expected.form);
        let form = if self.coder.bit(&mut self.models.form[usize::from(expected.form)], is_other) {
            self.coder.raw(actual.map_or(0, |actual| actual.form.into()), 4).to_le_bytes()[0]
        } else {
            expected.form
        };
        let mut description = Vec::new();
        if form & 3 == OWN_CODE {
            let actual = actual.map(|actual| &actual.description);
            description = self.description(&expected.descriptions, actual)?;
        }
        let sources = if sequences.is_empty() {
            None
        } else {
            let expected = self.rules.tables(&self.before, &sequences);
            let expected = expected.ok_or(mismatch("a sequence has no code"))?;
            let actual = actual.and_then(|actual| actual.sources.as_ref());
            Some([
                self.source(0, &expected, actual)?,
                self.source(1, &expected, actual)?,
                self.source(2, &expected, actual)?,
            ])
        };
        Ok((Parts { form, description, sequences, sources }, literals))
    }

    fn sequences(
        &mut self,
        plain: &Plain<'_>,
        end: u64,
        actual: Option<&[Sequence]>,
    ) -> Result<(Vec<Sequence>, Vec<u8>)> {
        let mut place = Place { at: self.at, end, next: 0 };
        let (mut sequences, mut literals) = (Vec::new(), Vec::new());
        let mut work = 0;
        while place.at < end {
            let next = actual.map(|actual| actual.get(sequences.len()).copied());
            let (predictor, history, repeats) = (&self.predictor, &self.history, self.repeats);
            let around = Around { predictor, history, repeats };
            let models = &mut self.models.sequences;
            let sequence = models.code(&mut self.coder, &mut place, around, next, &mut work);
            let Some(sequence) = sequence.map_err(mismatch)? else { break };
            self.repeats.take(sequence).ok_or(mismatch("a distance is none"))?;
            let start = place.at + u64::from(sequence.literals);
            literals.extend_from_slice(self.history.bytes(place.at, start));
            place.at = start + u64::from(sequence.size);
            sequences.push(sequence);
        }
        plain.charge(work)?;
        literals.extend_from_slice(self.history.bytes(place.at, end));
        Ok((sequences, literals))
    }

    /// Codes the description of a code: one of those that are expected, or its bytes.
    fn description(&mut self, expected: &[Option<Vec<u8>>; 2], actual: Option<&Vec<u8>>) -> Result<Vec<u8>> {
        const OTHER: u32 = 2;
        let searched = usize::from(self.rules.searches_depth());
        let way = actual.and_then(|actual| expected.iter().position(|of| of.as_ref() == Some(actual)));
        let way = way.map_or(OTHER, |way| if way == 0 { 0 } else { 1 });
        match self.coder.tree(&mut self.models.code[searched], way, 2) {
            way @ 0..OTHER => expected[way as usize].clone().ok_or(mismatch("there is no such code")),
            _ => {
                let bytes = self.bytes(actual.map(Vec::as_slice), MAX_DESCRIPTION)?;
                let size = Code::read(&bytes).map(|(_, size)| size);
                if size == Some(bytes.len()) { Ok(bytes) } else { Err(mismatch("a code is broken")) }
            }
        }
    }

    /// Codes where a table comes from.
    fn source(
        &mut self,
        kind: usize,
        expected: &tables::Expected,
        actual: Option<&[Source; 3]>,
    ) -> Result<Source> {
        let actual = actual.map(|actual| &actual[kind]);
        let is_other = actual.is_some_and(|actual| *actual != expected.sources[kind]);
        if !self.coder.bit(&mut self.models.source[kind][0], is_other) {
            return Ok(expected.sources[kind].clone());
        }
        let mode = self.coder.raw(actual.map_or(0, |actual| actual.mode().into()), 2);
        Ok(match mode {
            0 => Source::Fixed,
            1 => {
                let symbol = if let Some(Source::One(symbol)) = actual { *symbol } else { 0 };
                let symbol = self.coder.raw(symbol.into(), 6).to_le_bytes()[0];
                if usize::from(symbol) >= MAX_SYMBOLS[kind] {
                    return Err(mismatch("a table is broken"));
                }
                Source::One(symbol)
            }
            2 => {
                let own = match actual {
                    Some(Source::Own(own)) => Some(own),
                    _ => None,
                };
                let is_other = own.is_some_and(|own| expected.own[kind].as_ref() != Some(own));
                if self.coder.bit(&mut self.models.source[kind][1], is_other) {
                    let written = own.map(Frequencies::write);
                    let bytes = self.bytes(written.as_deref(), MAX_DESCRIPTION)?;
                    let read = Frequencies::read(&bytes, tables::MAX_LOGS[kind], MAX_SYMBOLS[kind]);
                    let read = read.filter(|(_, size)| *size == bytes.len());
                    Source::Own(read.ok_or(mismatch("a table is broken"))?.0)
                } else {
                    Source::Own(expected.own[kind].clone().ok_or(mismatch("there is no such table"))?)
                }
            }
            _ => Source::Before,
        })
    }

    /// Codes bytes as they are, at most so many.
    fn bytes(&mut self, actual: Option<&[u8]>, most: usize) -> Result<Vec<u8>> {
        let size = actual.and_then(|actual| u32::try_from(actual.len()).ok()).unwrap_or(0);
        let size = self.models.bytes.code(&mut self.coder, size) as usize;
        if size > most {
            return Err(mismatch("a block is too large"));
        }
        let byte =
            |index: usize| actual.and_then(|actual| actual.get(index)).map_or(0, |byte| u32::from(*byte));
        Ok((0..size).map(|index| self.coder.raw(byte(index), 8).to_le_bytes()[0]).collect())
    }
}
