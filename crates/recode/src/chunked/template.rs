//! A text in which digests of plain bytes and places of frames are not carried.
//!
//! A byte from 1 to 5 in it stands for a fact, and numbers follow it that say which: the frame, counted from
//! the one whose digest was told last, and for digests and sizes the number of frames. Stretches of plain
//! bytes follow one another.
//!
//! ```text
//! 1 frame:number frames:number   the sha256 of their plain bytes, in hexadecimal; the frame is the next to be counted from
//! 2 frame:number                 the place at which the frame begins, in decimal
//! 3 frame:number frames:number   the number of their plain bytes, in decimal
//! 4 size:number                  the next stretch of plain bytes, in base64
//! 5 size:number                  the CRC-64 of the next stretch, in base64
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use sha2::{Digest, Sha256};

use super::stretches::Stretches;
use super::{MAX_RUNS, MAX_STRETCHES};
use crate::wire::{Fields, put_number};
use crate::{Error, Result};

pub(super) const DIGEST: u8 = 1;
pub(super) const PLACE: u8 = 2;
pub(super) const SIZE: u8 = 3;
pub(super) const BYTES: u8 = 4;
pub(super) const CRC: u8 = 5;
/// The bytes that stand for something.
pub(super) const KINDS: std::ops::RangeInclusive<u8> = DIGEST..=CRC;
/// Most runs that share a frame: a file, and its chunk.
const MAX_ACTIVE: usize = 4;

const BROKEN: Error = Error::BadRecipe { reason: "its table of contents names no such frame" };

/// Some frames that follow one another: the first, and the one behind the last.
pub(super) type Run = (u64, u64);

/// A template, and the size of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) bytes: Vec<u8>,
    pub(super) text_size: u64,
}

/// A part of a template.
enum Part<'t> {
    Plain(&'t [u8]),
    Digest(Run),
    Place(u64),
    Size(Run),
    Stretch(Stretch),
}

impl Template {
    fn for_each(&self, mut part: impl FnMut(Part<'_>) -> Result<()>) -> Result<()> {
        let mut rest = &self.bytes[..];
        let mut from = 0u64;
        while !rest.is_empty() {
            let size = rest.iter().position(|byte| KINDS.contains(byte)).unwrap_or(rest.len());
            let (plain, more) = rest.split_at(size);
            part(Part::Plain(plain))?;
            let Some((kind, more)) = more.split_first() else { break };
            let mut fields = Fields::new(more);
            let number = fields.number()?;
            if *kind >= BYTES {
                part(Part::Stretch(Stretch { size: number, is_crc: *kind == CRC }))?;
                rest = fields.rest();
                continue;
            }
            let first = from.checked_add(number).ok_or(BROKEN)?;
            if *kind == PLACE {
                part(Part::Place(first))?;
            } else {
                let run = (first, first.checked_add(fields.number()?).ok_or(BROKEN)?);
                if *kind == DIGEST {
                    from = first;
                    part(Part::Digest(run))?;
                } else {
                    part(Part::Size(run))?;
                }
            }
            rest = fields.rest();
        }
        Ok(())
    }

    /// Adds the facts that the text has.
    pub(super) fn add_wanted(&self, wanted: &mut Wanted) -> Result<()> {
        let is_first = wanted.stretches.is_empty();
        self.for_each(|part| {
            match part {
                Part::Digest(run) => drop(wanted.runs.insert(run)),
                // Those of two texts would come side by side.
                Part::Stretch(stretch) if is_first => wanted.stretches.push(stretch),
                Part::Stretch(_) => return Err(BROKEN),
                _ => {}
            }
            let is_within = wanted.runs.len() <= MAX_RUNS && wanted.stretches.len() <= MAX_STRETCHES;
            if is_within { Ok(()) } else { Err(BROKEN) }
        })
    }

    /// Makes the text, of at most so many bytes.
    pub(super) fn text(&self, facts: &Facts, max: u64) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut stretches = 0..;
        let put_decimal = |text: &mut Vec<u8>, number: Option<u64>| {
            write!(text, "{}", number.ok_or(BROKEN)?).map_err(|_| BROKEN)
        };
        self.for_each(|part| {
            match part {
                Part::Plain(plain) => text.extend_from_slice(plain),
                Part::Digest(run) => text.extend_from_slice(facts.digest(run).ok_or(BROKEN)?.as_bytes()),
                Part::Place(frame) => put_decimal(&mut text, facts.place(frame))?,
                Part::Size(run) => put_decimal(&mut text, facts.size(run))?,
                Part::Stretch(_) => {
                    let max = usize::try_from(self.text_size.min(max)).unwrap_or(usize::MAX);
                    let found = stretches.next().and_then(|index| facts.stretch_text(index, max));
                    text.extend_from_slice(found.ok_or(BROKEN)?.as_bytes());
                }
            }
            if text.len() as u64 > self.text_size.min(max) {
                return Err(Error::BadRecipe { reason: "a text is too large" });
            }
            Ok(())
        })?;
        Ok(text)
    }
}

/// Appends what stands for a fact.
pub(super) fn put_fact(template: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    template.push(kind);
    numbers.iter().for_each(|number| put_number(template, *number));
}

/// Writes bytes in base64 (RFC 4648, 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|three| {
        let word = three.iter().zip([16, 8, 0]).fold(0, |word, (byte, by)| word | usize::from(*byte) << by);
        [18, 12, 6, 0].into_iter().enumerate().map(move |(index, by)| match index <= three.len() {
            true => char::from(LETTERS[word >> by & 63]),
            false => '=',
        })
    });
    letters.collect()
}

/// A stretch of plain bytes that comes behind the one before, of which the text has the bytes, or their CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) size: u64,
    pub(super) is_crc: bool,
}

/// The facts that texts have.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) runs: BTreeSet<Run>,
    pub(super) stretches: Vec<Stretch>,
}

/// The digests, places and sizes of the frames that were made.
pub(super) struct Facts {
    wanted: BTreeMap<Run, Option<[u8; 32]>>,
    active: Vec<(Run, Sha256)>,
    stretches: Stretches,
    /// The places at which frames begin, and the end of the last one.
    places: Vec<u64>,
    /// The plain bytes before each frame, and of all.
    plain: Vec<u64>,
}

impl Facts {
    /// The facts before the first frame, of which some are wanted.
    pub(super) fn new(Wanted { runs, stretches }: Wanted) -> Self {
        let wanted = runs.into_iter().map(|run| (run, None)).collect();
        let stretches = Stretches::new(stretches);
        let mut facts = Self { wanted, active: Vec::new(), stretches, places: Vec::new(), plain: vec![0] };
        facts.begin(0);
        facts
    }

    /// Begins the runs that begin with a frame. Of too many some have no digest.
    fn begin(&mut self, frame: u64) {
        let runs = self.wanted.range((frame, 0)..(frame + 1, 0)).map(|(run, _)| *run);
        let runs: Vec<Run> = runs.take(MAX_ACTIVE - self.active.len()).collect();
        self.active.extend(runs.into_iter().map(|run| (run, Sha256::new())));
        self.end_runs(frame);
    }

    fn end_runs(&mut self, frame: u64) {
        for (run, digest) in self.active.extract_if(.., |(run, _)| run.1 <= frame) {
            self.wanted.insert(run, Some(digest.finalize().into()));
        }
    }

    /// Takes plain bytes of the frame.
    pub(super) fn update(&mut self, plain: &[u8]) {
        self.active.iter_mut().for_each(|(_, digest)| digest.update(plain));
        self.stretches.update(plain);
    }

    /// Takes the end of a frame that began at a place.
    pub(super) fn end_frame(&mut self, place: u64, plain_size: u64) {
        self.places.push(place);
        self.plain.push(self.plain.last().map_or(0, |before| before.saturating_add(plain_size)));
        let next = self.places.len() as u64;
        self.end_runs(next);
        self.begin(next);
    }

    /// Takes the place at which the last frame ends.
    pub(super) fn end(&mut self, place: u64) {
        self.places.push(place);
    }

    /// Returns the digest of a run in hexadecimal.
    pub(super) fn digest(&self, run: Run) -> Option<String> {
        let digest = self.wanted.get(&run)?.as_ref()?;
        Some(digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
    }

    /// Returns what a text has of a stretch, in at most `max` letters.
    pub(super) fn stretch_text(&self, index: usize, max: usize) -> Option<String> {
        self.stretches.get(index).filter(|bytes| bytes.len() / 3 * 4 <= max).map(base64)
    }

    pub(super) fn place(&self, frame: u64) -> Option<u64> {
        self.places.get(usize::try_from(frame).ok()?).copied()
    }

    pub(super) fn size(&self, (first, end): Run) -> Option<u64> {
        let before = |frame: u64| self.plain.get(usize::try_from(frame).ok()?).copied();
        before(end)?.checked_sub(before(first)?)
    }

    /// Returns the frame that begins at a place.
    pub(super) fn frame_at(&self, place: u64) -> Option<u64> {
        self.places.binary_search(&place).ok().map(|frame| frame as u64)
    }
}
