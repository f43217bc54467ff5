//! Makes the payload of a pair of files.

use std::borrow::Cow;

use crate::call_sites::CallSites;
use crate::computed;
use crate::error::{Error, Result};
use crate::form::word;
use crate::kind::Kind;
use crate::map::Map;
use crate::misses::Guess;
use crate::neighbours::Neighbours;
use crate::operands::{Code, Machine};
use crate::payload::{Block, Parts};
use crate::predict::{Outcome, Predictor};
use crate::rules::Rules;
use crate::scan::{Scanned, scan};
use crate::space::Space;
use crate::varint::Reader;
use crate::wire::{put_corrections, put_rules, read_rules};

/// A payload, and the outcomes of its predictions.
#[derive(Debug)]
pub struct Encoded {
    /// The payload.
    pub payload: Vec<u8>,
    /// Bytes that differ from what is predicted, and new ones.
    pub carried: usize,
    /// The outcomes of the predictions, by the kind of the field.
    pub outcomes: Vec<(Kind, Outcome)>,
}

/// Makes the payload that [`Decoder`](crate::Decoder) makes `new` of with `old`. The blocks cover `new` in order.
///
/// # Errors
/// [`Error::Block`] if they do not, or a file is too large; [`Error::Packed`] if the rules say that new bytes are packed,
/// which comes later; what [`Decoder`](crate::Decoder) would refuse.
pub fn encode(old: &[u8], new: &[u8], blocks: &[Block], rules: Option<&Rules>) -> Result<Encoded> {
    let scanned = rules.map(|rules| {
        check_rules(rules, old.len())?;
        if rules.packed.is_some() {
            return Err(Error::Packed);
        }
        Ok((rules, scan(old, &rules.old, &rules.rules)?))
    });
    let scanned = scanned.transpose()?;
    encode_scanned(old, new, blocks, scanned).map(|(encoded, _)| encoded)
}

/// Does what [`encode`] does, with the fields of the old file. Gives what was learned of them, too.
pub(crate) fn encode_scanned<'o>(
    old: &'o [u8],
    new: &[u8],
    blocks: &[Block],
    scanned: Option<(&Rules, Scanned)>,
) -> Result<(Encoded, Predictor<'o>)> {
    check(old, new, blocks)?;
    let mut blocks = Cow::Borrowed(blocks);
    let mut computed = Vec::new();
    if let Some((rules, _)) = &scanned {
        let tables = rules.computed();
        computed::check(&tables, new.len())?;
        if !tables.is_empty() {
            blocks = Cow::Owned(computed::cut(&tables, &blocks));
        }
        let space = Space(&rules.new.segments);
        computed.extend(tables.into_iter().map(|table| (table.left(new, space), table)));
    }
    let blocks = &*blocks;
    let mut parts = Parts::default();
    let code = scanned
        .as_ref()
        .map_or(Code { machine: Machine::X86_64, ranges: &[], space: Space(&[]) }, |(rules, _)| rules.code());
    let mut sites = CallSites::new(scanned.as_ref().map_or(0..0, |(rules, _)| rules.call_sites.clone()));
    let mut predictor = match scanned {
        None => Predictor::none(old),
        Some((rules, scanned)) => {
            check_rules(rules, old.len())?;
            put_rules(&mut parts.rules, rules);
            let written = &mut parts.rules;
            Predictor::new(old, rules, scanned, &Map::new(blocks), |bases| {
                let expected = bases.to_vec();
                let wanted =
                    bases.iter_mut().zip(&rules.new.bases).filter(|(_, wanted)| **wanted != Rules::MAPPED);
                wanted.for_each(|(base, wanted)| *base = *wanted);
                put_corrections(written, bases, &expected);
                Ok(())
            })?
        }
    };
    let mut position = 0usize;
    let mut predicted = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let end = position + block.add as usize;
        parts.block(*block);
        let bytes = &new[position..end];
        predicted.clear();
        predicted.extend_from_slice(&old[block.source as usize..][..block.add as usize]);
        let own = u32::try_from(position).map_err(|_| Error::Block("it is too large"))?;
        let neighbours = Neighbours { blocks, index, start: own };
        let (missed, taken) = (&mut parts.missed, &mut parts.taken);
        let mut correct =
            |offset, guess: &Guess<'_>| Ok(missed.put(guess, word(bytes, offset, guess.form.width()), taken));
        predictor.predict(
            neighbours,
            block.source,
            own,
            &mut predicted,
            &mut correct,
            |offset, predicted| word(bytes, offset, predicted.len()),
        )?;
        parts.along(&predicted, bytes);
        sites.pass(own, bytes);
        parts.taken.pass(bytes);
        position = end + block.literal as usize;
        match computed.iter().find(|(_, table)| table.is_made_by(*block, own)) {
            Some((left, _)) => {
                parts.along(&vec![0; left.len()], left);
                sites.pass(own, left);
                parts.taken.pass(left);
            }
            None => {
                let (bytes, start) = (&new[end..position], own.wrapping_add(block.add));
                parts.taken.literal(bytes, start, code, &mut sites, &mut parts.rows);
            }
        }
    }
    let carried = parts.differing() + parts.taken.size() + parts.missed.size() + parts.rows.size();
    let outcomes = predictor.outcomes();
    Ok((Encoded { payload: parts.finish(new.len()), carried, outcomes }, predictor))
}

/// Fails if a decoder would refuse the rules of an old file of `size` bytes.
fn check_rules(rules: &Rules, size: usize) -> Result<()> {
    let mut written = Vec::new();
    put_rules(&mut written, rules);
    read_rules(&mut Reader::new(&written, "the rules"), size).map(|_| ())
}

fn check(old: &[u8], new: &[u8], blocks: &[Block]) -> Result<()> {
    if old.len().max(new.len()) > crate::MAX_SIZE {
        return Err(Error::Block("a file is too large"));
    }
    let mut size = 0usize;
    for block in blocks {
        if block.source as usize + block.add as usize > old.len() {
            return Err(Error::Block("it reaches past the old file"));
        }
        if block.add == 0 && block.literal == 0 {
            return Err(Error::Block("it is empty"));
        }
        size += block.add as usize + block.literal as usize;
    }
    if size == new.len() { Ok(()) } else { Err(Error::Block("the blocks do not cover the new file")) }
}
