//! Finds how a zstd:chunked stream was made.

use std::ops::Range;

use super::body::{Body, Content, Frame, Skippable};
use super::decode::skippable_size;
use super::template::{
    BYTES, CRC, DIGEST, Facts, KINDS, PLACE, Run, SIZE, Stretch, Template, Wanted, put_fact,
};
use super::{FRAME_WORK, MAX_FRAMES, MAX_RUNS, MAX_SIZE, MAX_SKIPPABLE, MAX_STRETCHES, Plan};
use crate::compare::Source;
use crate::klauspost::{FrameWriter, Settings};
use crate::zstd_blocks::frame_size;
use crate::{Budget, Codec, Refused};

/// Plain bytes of the frames by which the version is told.
const SAMPLE_SIZE: u64 = 512 << 10;
/// Most plain bytes of a frame that is searched: files are cut to chunks of some 64 KiB.
const MAX_FRAME: u64 = 64 << 20;
/// Units of work for a byte of a text: it is searched for entries several times, and made again.
const TEXT_WORK: u64 = 256;
/// The part of the stream that may be carried.
const MAX_SHARE: usize = 8;

/// The frames of a stream.
struct Frames<'e> {
    encoded: &'e [u8],
    frames: Vec<Range<usize>>,
    skippable: Vec<Range<usize>>,
}

impl<'e> Frames<'e> {
    /// Splits a stream whose skippable frames are the last ones.
    fn split(encoded: &'e [u8]) -> Option<Self> {
        let mut split = Self { encoded, frames: Vec::new(), skippable: Vec::new() };
        let mut at = 0;
        while at < encoded.len() {
            let rest = &encoded[at..];
            let (size, ranges) = match skippable_size(rest) {
                Some(size) => (size.checked_add(8)?, &mut split.skippable),
                None if split.skippable.is_empty() => (frame_size(rest)?, &mut split.frames),
                None => return None,
            };
            rest.get(..size)?;
            ranges.push(at..at + size);
            at += size;
        }
        Some(split)
    }

    /// Decodes one frame, of at most `max` plain bytes.
    fn plain(&self, frame: &Range<usize>, max: u64, budget: &Budget) -> Result<Vec<u8>, Refused> {
        if !budget.charge(FRAME_WORK) {
            return Err(Refused::OverBudget);
        }
        let mut plain = Vec::new();
        let charge = |units| budget.take(units);
        let encoded = &mut &self.encoded[frame.clone()];
        let decoded = crate::decode_charged(Codec::Zstd, encoded, max, &mut plain, &charge);
        decoded.map(|_| plain).map_err(|_| Refused::NotTheStream)
    }
}

/// Finds the plan that makes a stream.
///
/// # Errors
/// [`Refused`] if none of the versions makes most of its frames, or the budget is spent.
pub(crate) fn find(source: &mut dyn Source, budget: &Budget) -> Result<Plan, Refused> {
    let encoded = source.encoded()?;
    let split = Frames::split(&encoded).ok_or(Refused::NotTheStream)?;
    if split.frames.len() > MAX_FRAMES || split.skippable.len() as u64 > MAX_SKIPPABLE {
        return Err(Refused::Unsupported("zstd-chunked-frames"));
    }
    let settings = settings(&split, budget)?;
    let mut writer = FrameWriter::new(settings);
    // The bytes that all texts together may have.
    let mut left = MAX_SIZE;
    let texts: Vec<Option<Vec<u8>>> =
        split.skippable.iter().map(|range| text(&split, range, &mut left, budget)).collect();
    let mut places = Facts::new(Wanted::default());
    split.frames.iter().for_each(|range| places.end_frame(range.start as u64, 0));
    places.end(split.frames.last().map_or(0, |range| range.end as u64));
    let all_entries = || texts.iter().flatten().flat_map(|text| entries(text));
    let runs =
        all_entries().filter_map(|entry| run(entry, &places)).flat_map(|run| [run, (run.0, run.0 + 1)]);
    let mut stretches = texts.iter().flatten().map(|text| entries(text).filter_map(stretch).collect());
    let stretches: Vec<Stretch> =
        stretches.find(|stretches: &Vec<_>| !stretches.is_empty()).unwrap_or_default();
    // Facts beyond the limits are carried.
    let stretches = stretches.into_iter().take(MAX_STRETCHES).collect();
    let mut facts = Facts::new(Wanted { runs: runs.take(MAX_RUNS).collect(), stretches });
    let (mut frames, mut carried) = (Vec::new(), 0);
    for range in &split.frames {
        let plain = split.plain(range, MAX_FRAME, budget)?;
        made_work(settings, plain.len(), budget)?;
        facts.update(&plain);
        facts.end_frame(range.start as u64, plain.len() as u64);
        let plain_size = plain.len() as u64;
        let bytes = &encoded[range.clone()];
        frames.push(if writer.frame_of(&plain).is_ok_and(|made| made == bytes) {
            Frame::Made { plain_size }
        } else {
            carried += bytes.len();
            if carried > encoded.len() / MAX_SHARE {
                return Err(Refused::NoEncoder);
            }
            Frame::Carried { plain_size, bytes: bytes.to_vec() }
        });
    }
    facts.end(split.frames.last().map_or(0, |range| range.end as u64));
    // Stretches are those of one text.
    let mut has_split = false;
    let skippable = split.skippable.iter().zip(texts).map(|(range, text)| {
        let bytes = &encoded[range.clone()];
        let content = &bytes[8..];
        let made = text.and_then(|text| {
            let of_split = template_of_split(&text, &facts).filter(|_| !has_split);
            has_split |= of_split.is_some();
            let template = of_split.unwrap_or_else(|| template(&text, &facts));
            let is_right = template.text(&facts, MAX_SIZE).is_ok_and(|again| again == text)
                && writer.frame_of(&text).is_ok_and(|made| made == content);
            is_right.then_some(template)
        });
        let content = made.map_or_else(|| Content::Carried(content.to_vec()), Content::Text);
        Skippable { magic: bytes[0], content }
    });
    let body = Body { frames, skippable: skippable.collect() };
    Plan::of_body(settings, &body).ok_or(Refused::NoEncoder)
}

/// Charges what it takes to make a frame.
fn made_work(settings: &Settings, plain_size: usize, budget: &Budget) -> Result<(), Refused> {
    let work = FRAME_WORK + (settings.work().1 + super::DIGEST_WORK) * plain_size as u64;
    if budget.charge(work) { Ok(()) } else { Err(Refused::OverBudget) }
}

/// Returns the level and the version that make most of some frames.
fn settings(split: &Frames<'_>, budget: &Budget) -> Result<&'static Settings, Refused> {
    let (mut sample, mut size) = (Vec::new(), 0);
    for range in &split.frames {
        let plain = split.plain(range, MAX_FRAME, budget)?;
        size += plain.len() as u64;
        sample.push((&split.encoded[range.clone()], plain));
        if size > SAMPLE_SIZE {
            break;
        }
    }
    let (mut best, mut most, mut lacks_memory) = (None, 0, false);
    for settings in Settings::ALL {
        if settings.memory() > budget.memory() {
            lacks_memory = true;
            continue;
        }
        if !budget.charge(settings.work().0) {
            return Err(Refused::OverBudget);
        }
        let mut writer = FrameWriter::new(settings);
        let mut matched = 0;
        let mut missed = 0;
        for (encoded, plain) in &sample {
            made_work(settings, plain.len(), budget)?;
            match writer.frame_of(plain) {
                Ok(made) if made == *encoded => matched += encoded.len(),
                _ => missed += encoded.len(),
            }
            // What most frames are not made by is not the encoder.
            if missed > 4096 + matched {
                break;
            }
        }
        if matched > most {
            (best, most) = (Some(settings), matched);
        }
        if missed == 0 && most > 0 {
            break;
        }
    }
    best.ok_or(if lacks_memory { Refused::TooMuchMemory } else { Refused::NoEncoder })
}

/// Returns the text of a skippable frame that is a frame itself.
fn text(split: &Frames<'_>, range: &Range<usize>, left: &mut u64, budget: &Budget) -> Option<Vec<u8>> {
    let content = range.start + 8..range.end;
    let is_frame = frame_size(&split.encoded[content.clone()]) == Some(content.len());
    let text = split.plain(&Some(content).filter(|_| is_frame)?, *left, budget).ok()?;
    *left -= text.len() as u64;
    if !budget.charge(TEXT_WORK * text.len() as u64) {
        return None;
    }
    let is_plain = !text.iter().any(|byte| KINDS.contains(byte));
    Some(text).filter(|_| is_plain)
}

/// Returns the entries of a table of contents, with what comes before the first.
fn entries(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    const START: &[u8] = b"{\"type\":";
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = rest[1..].windows(START.len()).position(|window| window == START);
        let (entry, more) = rest.split_at(next.map_or(rest.len(), |next| next + 1));
        rest = more;
        Some(entry)
    })
}

/// Returns the number behind a key.
fn number(entry: &[u8], key: &[u8]) -> Option<u64> {
    let start = entry.windows(key.len()).position(|window| window == key)? + key.len();
    let digits = entry[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&entry[start..start + digits]).ok()?.parse().ok()
}

const OFFSET: &[u8] = b"\"offset\":";
const END_OFFSET: &[u8] = b"\"endOffset\":";

/// Returns the frames of an entry: those of a file, or the one of a chunk.
fn run(entry: &[u8], facts: &Facts) -> Option<Run> {
    let first = facts.frame_at(number(entry, OFFSET)?)?;
    let end = number(entry, END_OFFSET).and_then(|end| facts.frame_at(end));
    Some((first, end.filter(|end| *end > first).unwrap_or(first + 1)))
}

const PAYLOAD: &[u8] = b"\"payload\":\"";

/// Returns the stretch of an entry of tar-split: the bytes between two files, or a file.
fn stretch(entry: &[u8]) -> Option<Stretch> {
    match number(entry, b"\"type\":")? {
        1 => Some(Stretch { size: number(entry, b"\"size\":").unwrap_or(0), is_crc: true }),
        2 => {
            let start = entry.windows(PAYLOAD.len()).position(|window| window == PAYLOAD)? + PAYLOAD.len();
            let letters = entry[start..].iter().take_while(|byte| **byte != b'"').count();
            let filled = entry[start..start + letters].iter().rev().take_while(|byte| **byte == b'=').count();
            Some(Stretch { size: (letters / 4 * 3).checked_sub(filled)? as u64, is_crc: false })
        }
        _ => None,
    }
}

/// Makes the template of tar-split, up to the first entry that does not follow from the plain bytes.
fn template_of_split(text: &[u8], facts: &Facts) -> Option<Template> {
    let mut bytes = Vec::new();
    let (mut next, mut is_right) = (0, true);
    for entry in entries(text) {
        let made = stretch(entry).filter(|_| is_right).and_then(|stretch| {
            let start = entry.windows(PAYLOAD.len()).position(|window| window == PAYLOAD)? + PAYLOAD.len();
            let fact = facts.stretch_text(next, entry.len())?;
            let rest = entry[start..].strip_prefix(fact.as_bytes()).filter(|rest| rest.starts_with(b"\""))?;
            Some((stretch, start, rest))
        });
        let Some((stretch, start, rest)) = made else {
            is_right &= stretch(entry).is_none();
            bytes.extend_from_slice(entry);
            continue;
        };
        next += 1;
        bytes.extend_from_slice(&entry[..start]);
        put_fact(&mut bytes, if stretch.is_crc { CRC } else { BYTES }, &[stretch.size]);
        bytes.extend_from_slice(rest);
    }
    (next > 0).then_some(Template { bytes, text_size: text.len() as u64 })
}

/// Makes the template of a table of contents.
fn template(text: &[u8], facts: &Facts) -> Template {
    let mut bytes = Vec::new();
    let mut from = 0;
    for entry in entries(text) {
        let Some((first, end)) = run(entry, facts).filter(|(first, _)| *first >= from) else {
            bytes.extend_from_slice(entry);
            continue;
        };
        let (all, one) = ((first, end), (first, first + 1));
        let keys: [(&[u8], u8, Run); 6] = [
            (b"\"size\":", SIZE, all),
            (OFFSET, PLACE, one),
            (END_OFFSET, PLACE, (end, end)),
            (b"\"chunkSize\":", SIZE, one),
            (b"\"digest\":\"sha256:", DIGEST, all),
            (b"\"chunkDigest\":\"sha256:", DIGEST, one),
        ];
        let mut rest = entry;
        while let Some((byte, more)) = rest.split_first() {
            let key = keys.iter().find(|(key, ..)| *byte == b'"' && rest.starts_with(key));
            let Some((key, kind, run)) = key else {
                bytes.push(*byte);
                rest = more;
                continue;
            };
            bytes.extend_from_slice(key);
            rest = &rest[key.len()..];
            let fact = match *kind {
                DIGEST => facts.digest(*run),
                PLACE => facts.place(run.0).map(|place| place.to_string()),
                _ => facts.size(*run).map(|size| size.to_string()),
            };
            let Some(behind) = fact.and_then(|fact| rest.strip_prefix(fact.as_bytes())) else { continue };
            // A number goes on otherwise.
            if behind.first().is_some_and(u8::is_ascii_alphanumeric) {
                continue;
            }
            let numbers = [run.0 - from, run.1 - run.0];
            put_fact(&mut bytes, *kind, if *kind == PLACE { &numbers[..1] } else { &numbers });
            if *kind == DIGEST {
                from = run.0;
            }
            rest = behind;
        }
    }
    Template { bytes, text_size: text.len() as u64 }
}
