//! The encoding of rules.
//!
//! ```text
//! rules    = segments segments bases count:uvarint rule{count} code
//!            computed sites corrections
//! segments = count:uvarint (address:signed size:signed place:signed){count}
//! bases    = count:uvarint (address:signed){count}
//! code     = count:uvarint (start:signed size:uvarint){count}
//! computed = flags:uvarint frames? hashes? packed?               frames if flags has 1, hashes if it has 2, packed if 4
//! frames   = table:signed count:uvarint start:signed size:uvarint
//! hashes   = (start:signed size:uvarint){3}
//! packed   = size:uvarint
//! sites    = 0 | size:uvarint start:uvarint
//! ```
//!
//! A signed integer is the difference from the like one before: a segment of the new file from that of the old one with
//! its number, every other from the end of the one before it.

mod rule;

use std::ops::Range;

use crate::frame_table::FrameTable;
use crate::hash_table::HashTable;
use crate::rules::{Rules, Side};
use crate::space::Segment;
use crate::varint::{self, Reader, put, put_difference};
use crate::{Error, MAX_BASES, MAX_CODE, MAX_RULES, MAX_SEGMENTS, Result};
use rule::{put_rule, read_rule};

/// Tables that are computed.
const HAS_FRAMES: u64 = 1;
const HAS_HASHES: u64 = 2;
/// New bytes that are packed.
const HAS_PACKED: u64 = 4;
const ALL_FLAGS: u64 = 7;

/// Appends the rules, but not where the new bases are.
pub(crate) fn put_rules(out: &mut Vec<u8>, rules: &Rules) {
    put_segments(out, &rules.old.segments, &[]);
    put_segments(out, &rules.new.segments, &rules.old.segments);
    put(out, rules.old.bases.len() as u64);
    let mut last = 0;
    for base in &rules.old.bases {
        put_difference(out, *base, last);
        last = *base;
    }
    put(out, rules.rules.len() as u64);
    let mut end = 0;
    for rule in &rules.rules {
        end = put_rule(out, rule, end);
    }
    put(out, rules.new_code.len() as u64);
    let mut end = 0;
    for range in &rules.new_code {
        put_places(out, range, end);
        end = range.end.into();
    }
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let tables = flag(rules.frame_table.is_some(), HAS_FRAMES) | flag(rules.hash_table.is_some(), HAS_HASHES);
    put(out, tables | flag(rules.packed.is_some(), HAS_PACKED));
    if let Some(table) = &rules.frame_table {
        put_difference(out, table.start.into(), end);
        put(out, table.count.into());
        put_places(out, &table.records, table.range().end);
    }
    if let Some(table) = &rules.hash_table {
        put_places(out, &table.section, 0);
        put_places(out, &table.symbols, table.section.end.into());
        put_places(out, &table.names, table.symbols.end.into());
    }
    if let Some(size) = rules.packed {
        put(out, size.into());
    }
    put(out, rules.call_sites.len() as u64);
    if !rules.call_sites.is_empty() {
        put(out, rules.call_sites.start.into());
    }
}

fn put_places(out: &mut Vec<u8>, range: &Range<u32>, expected: u64) {
    put_difference(out, range.start.into(), expected);
    put(out, u64::from(range.end).wrapping_sub(range.start.into()));
}

fn put_segments(out: &mut Vec<u8>, segments: &[Segment], like: &[Segment]) {
    put(out, segments.len() as u64);
    let mut before = Segment { address: 0, size: 0, place: 0 };
    for (index, segment) in segments.iter().enumerate() {
        let from = like.get(index).copied().unwrap_or(before);
        put_difference(out, segment.address, from.address);
        put_difference(out, segment.size.into(), from.size.into());
        put_difference(out, segment.place.into(), from.place.into());
        before = Segment {
            address: segment.address.wrapping_add(segment.size.into()),
            size: 0,
            place: segment.place.wrapping_add(segment.size),
        };
    }
}

/// Reads what [`put_rules`] wrote; the new bases are [`Rules::MAPPED`]. `size` is that of the old file.
pub(crate) fn read_rules(reader: &mut Reader<'_>, size: usize) -> Result<Rules> {
    let segments = read_segments(reader, &[])?;
    let new = read_segments(reader, &segments)?;
    let count = reader.at_most("the number of bases", MAX_BASES)?;
    let mut last = 0;
    let mut bases = Vec::new();
    for _ in 0..count {
        last = reader.difference(last)?;
        bases.push(last);
    }
    let count = reader.at_most("the number of rules", MAX_RULES)?;
    let mut rules = Vec::new();
    let mut end = 0;
    for _ in 0..count {
        let (rule, next) = read_rule(reader, end, size)?;
        rules.push(rule);
        end = next;
    }
    let new_code = read_code(reader)?;
    let tables = reader.next()?;
    if tables > ALL_FLAGS {
        return Err(Error::Rule("unknown tables that are computed"));
    }
    let has_frames = tables & HAS_FRAMES != 0;
    let end_of_code = new_code.last().map_or(0, |range| range.end);
    let frame_table = has_frames.then(|| read_frame_table(reader, end_of_code)).transpose()?;
    let has_hashes = tables & HAS_HASHES != 0;
    let hash_table = has_hashes.then(|| read_hash_table(reader)).transpose()?;
    let has_packed = tables & HAS_PACKED != 0;
    let packed = has_packed.then(|| narrow("the size of packed new bytes", reader.next()?)).transpose()?;
    let call_sites = read_call_sites(reader)?;
    let mapped = vec![Rules::MAPPED; bases.len()];
    let (old, new) = (Side { segments, bases }, Side { segments: new, bases: mapped });
    Ok(Rules { old, new, rules, new_code, frame_table, hash_table, call_sites, packed })
}

/// Reads the ranges of new code. Where they lie in the new file does not matter: what none of them has is no code.
fn read_code(reader: &mut Reader<'_>) -> Result<Vec<Range<u32>>> {
    let count = reader.at_most("the number of ranges of code", MAX_CODE)?;
    let mut ranges = Vec::new();
    let mut end = 0;
    for _ in 0..count {
        let start = narrow("the start of new code", reader.difference(end)?)?;
        let size = narrow("the size of new code", reader.next()?)?;
        let range = places(start, size, "new code ends after the last place")?;
        end = range.end.into();
        ranges.push(range);
    }
    Ok(ranges)
}

fn read_frame_table(reader: &mut Reader<'_>, expected: u32) -> Result<FrameTable> {
    let start = narrow("the start of a table of frames", reader.difference(expected.into())?)?;
    let count = narrow("the number of frames", reader.next()?)?;
    let table = FrameTable { start, count, records: 0..0 };
    let first = narrow("the start of the records", reader.difference(table.range().end)?)?;
    let size = narrow("the size of the records", reader.next()?)?;
    let records = places(first, size, "the records end after the last place")?;
    Ok(FrameTable { records, ..table })
}

fn read_hash_table(reader: &mut Reader<'_>) -> Result<HashTable> {
    let mut end = 0;
    let mut next = || {
        let start = narrow("the start of a part of a hash table", reader.difference(end)?)?;
        let size = narrow("the size of a part of a hash table", reader.next()?)?;
        let range = places(start, size, "a part of a hash table ends after the last place")?;
        end = range.end.into();
        Ok::<_, Error>(range)
    };
    Ok(HashTable { section: next()?, symbols: next()?, names: next()? })
}

/// Reads the range of call sites. As with new code, it does not matter where it lies.
fn read_call_sites(reader: &mut Reader<'_>) -> Result<Range<u32>> {
    let size = narrow("the size of the tables of call sites", reader.next()?)?;
    if size == 0 {
        return Ok(0..0);
    }
    let start = narrow("the start of the tables of call sites", reader.next()?)?;
    places(start, size, "call sites end after the last place")
}

/// Returns the `size` places from `start` on. `past` says what is wrong where there are not so many.
fn places(start: u32, size: u32, past: &'static str) -> Result<Range<u32>> {
    let end = start.checked_add(size).ok_or(Error::Rule(past))?;
    Ok(start..end)
}

fn read_segments(reader: &mut Reader<'_>, like: &[Segment]) -> Result<Vec<Segment>> {
    let count = reader.at_most("the number of segments", MAX_SEGMENTS)?;
    let mut segments = Vec::new();
    let mut before = Segment { address: 0, size: 0, place: 0 };
    for index in 0..count {
        let from = like.get(index).copied().unwrap_or(before);
        let address = reader.difference(from.address)?;
        let size = narrow("the size of a segment", reader.difference(from.size.into())?)?;
        let place = narrow("the place of a segment", reader.difference(from.place.into())?)?;
        let end = place.checked_add(size).ok_or(Error::Rule("a segment ends after the last place"))?;
        segments.push(Segment { address, size, place });
        before = Segment { address: address.wrapping_add(size.into()), size: 0, place: end };
    }
    Ok(segments)
}

/// Returns an integer that has 32 bits.
pub(crate) fn narrow(what: &'static str, value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::TooLarge { what, value, max: u32::MAX.into() })
}

/// Appends which bases differ from what is expected of them, and how.
pub(crate) fn put_corrections(out: &mut Vec<u8>, bases: &[u64], expected: &[u64]) {
    let differing = bases.iter().zip(expected).enumerate().filter(|(_, (base, expected))| base != expected);
    let corrections: Vec<_> = differing.collect();
    put(out, corrections.len() as u64);
    let mut last = 0;
    for (index, (base, expected)) in corrections {
        put(out, (index - last) as u64);
        varint::put_difference(out, *base, *expected);
        last = index;
    }
}

/// Applies what [`put_corrections`] wrote.
pub(crate) fn correct(reader: &mut Reader<'_>, bases: &mut [u64]) -> Result<()> {
    let count = reader.at_most("the number of corrections", bases.len())?;
    let mut index = 0usize;
    for _ in 0..count {
        index += reader.at_most("the index of a correction", bases.len())?;
        let base = bases.get_mut(index).ok_or(Error::Rule("a correction of no base"))?;
        *base = reader.difference(*base)?;
    }
    Ok(())
}
