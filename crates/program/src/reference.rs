//! A second decoder, slow and plain, which the first is held against. The fields of the old file are the same for both.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aarch64;
mod arm;
mod bundles;
mod call_sites;
mod hash_table;
mod packed;
mod x86_64;

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::form::{At, Field};
use crate::payload::Payload;
use crate::scan::{for_each_record, scan};
use crate::space::Space;
use crate::varint::Reader;
use crate::wire::{correct, read_rules};
use crate::{Block, Error, FrameTable, Result, Rule};
use bundles::Bundles;

/// Returns the new position of a place, and whether it is exact. It looks at every block, so that it is slow
/// and simple.
fn mapped(blocks: &[Block], place: u32) -> (u32, bool) {
    let mut new = 0u32;
    let mut ranges = Vec::new();
    for block in blocks {
        if block.add > 0 {
            ranges.push((block.add, block.source, new));
        }
        new += block.add + block.literal;
    }
    let best = |place: u32| {
        let has = ranges.iter().filter(|(add, source, _)| place >= *source && place - source < *add);
        has.max_by_key(|(add, source, new)| (*add, u32::MAX - source, u32::MAX - new)).copied()
    };
    let moved = |found: (u32, u32, u32)| found.2.wrapping_sub(found.1);
    if let Some(found) = best(place) {
        return (place.wrapping_add(moved(found)), true);
    }
    let before = ranges.iter().map(|(add, source, _)| source + add - 1).filter(|last| *last < place).max();
    let after = ranges.iter().map(|(_, source, _)| *source).filter(|first| *first > place).min();
    let near = match (before, after) {
        (Some(before), Some(after)) if place - (before + 1) < after - place => Some(before),
        (Some(_), Some(after)) => Some(after),
        (before, after) => before.or(after),
    };
    (place.wrapping_add(near.and_then(best).map_or(0, moved)), false)
}

/// Returns the new position of a place that the block with an index or one of sixteen on each side of it
/// reads, the nearest first.
fn near(blocks: &[Block], index: usize, place: u32) -> Option<u32> {
    let distance = |other: &usize| (other.abs_diff(index), *other);
    let start = |other: usize| blocks[..other].iter().map(|block| block.add + block.literal).sum::<u32>();
    let has =
        |other: &usize| place >= blocks[*other].source && place - blocks[*other].source < blocks[*other].add;
    let around = index.saturating_sub(16)..blocks.len().min(index + 17);
    let nearest = around.filter(has).min_by_key(distance)?;
    Some(start(nearest) + place - blocks[nearest].source)
}

/// Adds the table of frames to the zeros, or what else was made, in its place.
fn add_table(made: &mut [u8], table: &FrameTable, space: Space<'_>) {
    let header = space.address(table.start.wrapping_sub(12));
    let relative = |place: usize| space.address(u32::try_from(place).unwrap()).wrapping_sub(header);
    let low = |number: u64| u32::try_from(number % (1 << 32)).unwrap();
    let word = |place: usize| u32::from_le_bytes(made[place..place + 4].try_into().unwrap());
    let mut entries = BTreeMap::new();
    for_each_record(made, table.records.start as usize..table.records.end as usize, |record| {
        if let Some(code) = record.code {
            let meant = low(relative(code)).wrapping_add(word(code));
            entries.entry(meant.cast_signed()).or_insert(low(relative(record.position)));
        }
        true
    });
    for ((code, record), index) in entries.into_iter().zip(0..table.count) {
        let at = (table.start + 8 * index) as usize;
        let computed = [code.to_le_bytes(), record.to_le_bytes()].concat();
        let places = made[at..at + 8].iter_mut().zip(computed);
        places.for_each(|(byte, computed)| *byte = byte.wrapping_add(computed));
    }
}

/// Takes bytes from the start of others.
fn take_bytes(from: &mut &[u8], size: usize) -> Result<Vec<u8>> {
    let (bytes, rest) = from.split_at_checked(size).ok_or(Error::Truncated("the new bytes"))?;
    *from = rest;
    Ok(bytes.to_vec())
}

/// Makes the new file of a payload and the old file.
pub(crate) fn decode(payload: &[u8], old: &[u8]) -> Result<Vec<u8>> {
    let payload = Payload::parse(payload, Some(old.len()))?;
    let mut fields: Vec<Field> = Vec::new();
    let (mut segments, mut bases, mut code) = (Vec::new(), Vec::new(), Vec::new());
    let mut bundles = Bundles::default();
    let mut is_aarch64 = false;
    let (mut frame_table, mut hash_table) = (None, None);
    let mut computed = Vec::new();
    let mut sites = 0..0;
    let mut unpacked = None;
    if payload.has_rules() {
        let mut reader = Reader::new(payload.rules, "the rules");
        let rules = read_rules(&mut reader, old.len())?;
        let scanned = scan(old, &rules.old, &rules.rules)?;
        let moved = |address: &u64| match Space(&rules.old.segments).place(*address) {
            Some(place) if (place as usize) < old.len() => {
                Space(&rules.new.segments).address(mapped(&payload.blocks, place).0)
            }
            Some(place) => Space(&rules.new.segments).address(place),
            None => *address,
        };
        bases.extend(scanned.bases.iter().map(moved));
        crate::computed::check(&rules.computed(), payload.size)?;
        correct(&mut reader, &mut bases)?;
        reader.end()?;
        unpacked = packed::new_bytes(&payload, old, &rules)?;
        bundles = Bundles::new(scanned.bundles, &bases, moved);
        fields = scanned.fields;
        segments = rules.new.segments;
        is_aarch64 = rules.rules.iter().any(|rule| matches!(rule, Rule::Aarch64(_)));
        code = rules.new_code;
        frame_table = rules.frame_table;
        hash_table = rules.hash_table;
        sites = rules.call_sites;
        computed.extend(frame_table.iter().map(|table| (table.start, 8 * u64::from(table.count))));
        computed.extend(hash_table.iter().map(|table| {
            let size = table.section.end - table.section.start - 16;
            (table.section.start + 16, u64::from(size))
        }));
    }
    // Every byte that lies along the old file, as what it differs by.
    let mut rests = Reader::new(payload.runs[1], "the rests of runs");
    let mut differences = Vec::new();
    let mut rest = payload.differences.iter();
    for run in payload.runs[0] {
        let (mut zeros, mut others) = (u64::from(run % 64), u64::from(run / 64) + 1);
        if zeros == 63 {
            zeros = zeros.saturating_add(rests.next()?);
        }
        if others == 4 {
            others = others.saturating_add(rests.next()?);
        }
        differences.extend((0..zeros.min(1 << 20)).map(|_| 0));
        differences.extend(rest.by_ref().take(usize::try_from(others).unwrap_or(usize::MAX)));
    }
    rests.end()?;
    let mut differences = differences.into_iter().chain(std::iter::repeat(0));
    let mut learned: HashMap<u32, (u32, u8)> = HashMap::new();
    let mut ever: Vec<u32> = Vec::new();
    let mut scores: HashMap<(crate::Kind, u8), i32> = HashMap::new();
    let [mut gaps, mut tables, mut jumps] = payload.misses.map(|part| Reader::new(part, "the misses"));
    let mut rows = payload.rows.map(|part| Reader::new(part, "the rows of call sites"));
    let mut left = None;
    let mut lasts: HashMap<(crate::Kind, bool), u64> = HashMap::new();
    let (mut made, mut new) = (Vec::new(), payload.new);
    new.new = unpacked.as_deref().unwrap_or(new.new);
    let mut targets = VecDeque::from([0; 32]);
    for (index, block) in payload.blocks.iter().enumerate() {
        let Block { source, add, literal } = *block;
        let mut bytes = old[source as usize..(source + add) as usize].to_vec();
        let difference: Vec<u8> = differences.by_ref().take(bytes.len()).collect();
        let within = |field: &&Field| {
            field.position >= source
                && field.position as usize + field.form.width() <= (source + add) as usize
        };
        for field in fields.iter().filter(within) {
            let offset = (field.position - source) as usize;
            let width = field.form.width();
            let position = u32::try_from(made.len() + offset).unwrap();
            let moved = position.wrapping_sub(field.position);
            let address = Space(&segments).address(position);
            let bundle = bundles.of(field.form, address);
            let at = At { space: Space(&segments), bases: &bases, position, moved, bundle: &bundle };
            let read = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            let old_value = read(&bytes[offset..offset + width]);
            let is_byte = (field.target as usize) < old.len();
            let (map, is_exact) = if is_byte { mapped(&payload.blocks, field.target) } else { (0, false) };
            let expected = match learned.get(&field.target) {
                Some((place, trust)) if *trust >= 2 || *trust > 0 && !is_exact => *place,
                _ if is_byte => map,
                _ => match ever.iter().filter(|place| **place <= field.target).max() {
                    Some(near) => field.target.wrapping_add(learned[near].0.wrapping_sub(*near)),
                    None => field.target,
                },
            };
            let is_near = !field.form.is_of_table()
                && matches!(field.form.kind(), crate::Kind::Relative | crate::Kind::Branch)
                && field.target.abs_diff(field.position) <= 1 << 16;
            let near = is_near.then(|| near(&payload.blocks, index, field.target)).flatten();
            let mask = u64::MAX >> (64 - 8 * width);
            let is_branch = field.form.kind() == crate::Kind::Branch;
            let branch = arm::Branch::of(field.form.set(), old_value);
            let is_conditional = is_branch && branch.is_conditional;
            let else_expected = if is_conditional { field.target.wrapping_add(moved) } else { expected };
            let value = at.value(field.form, near.unwrap_or(else_expected), old_value) & mask;
            let before = match field.position.checked_sub(1) {
                _ if is_conditional => branch.opcode,
                Some(before) if !field.form.is_of_table() => old[before as usize],
                _ => u8::try_from(field.position & 7).unwrap(),
            };
            let score = scores.entry((field.form.kind(), before)).or_insert(2);
            let expected = if *score >= 0 { value } else { old_value };
            let mut guess = expected;
            let is_table = field.form.is_of_table();
            let sort = (field.form.kind(), field.form.is_column() || field.form.is_start_of_code());
            if matches!(
                field.form.kind(),
                crate::Kind::Relative
                    | crate::Kind::Absolute
                    | crate::Kind::Based
                    | crate::Kind::InTable
                    | crate::Kind::Branch
                    | crate::Kind::Pooled
                    | crate::Kind::Short
            ) {
                let is_jump = match is_branch {
                    true => !branch.is_call,
                    false => before == 0xe9 || before & 0xf0 == 0x80,
                };
                if left.is_none() && !gaps.is_empty() {
                    left = Some(gaps.next()?);
                }
                if left == Some(0) {
                    left = None;
                    let meant = if is_table {
                        tables.difference(lasts.get(&sort).copied().unwrap_or(0))?
                    } else if is_jump {
                        jumps.difference(at.address(field.form, expected).unwrap())?
                    } else {
                        let part = if before == 0xe8 || is_branch { &mut new.calls } else { &mut new.loads };
                        take_bytes(part, 4)?.iter().fold(0, |address, byte| address << 8 | u64::from(*byte))
                    };
                    guess = at.written(field.form, meant, old_value) & mask;
                }
                left = left.map(|left| left - 1);
            }
            bytes[offset..offset + width].copy_from_slice(&guess.to_le_bytes()[..width]);
            let sums: Vec<u8> = bytes[offset..offset + width]
                .iter()
                .zip(&difference[offset..])
                .map(|(byte, difference)| byte.wrapping_add(*difference))
                .collect();
            let found = read(&sums);
            if value != old_value && found == value {
                *score = (*score + 1).min(8);
            } else if value != old_value && found == old_value {
                *score = (*score - 1).max(-8);
            }
            if let Some(mut address) = at.address(field.form, found).filter(|_| is_table) {
                if field.form.is_start_of_code() {
                    let size = old.get(field.position as usize + 4..field.position as usize + 8);
                    address = address.wrapping_add(size.map_or(0, read)).wrapping_add(15) / 16 * 16;
                }
                lasts.insert(sort, address);
            }
            bundles.found(field.form, address, found);
            if let Some(place) = at.place(field.form, found) {
                let weight = if field.form.is_of_table() { 1 } else { 2 };
                let entry = learned.entry(field.target).or_insert((place, 0));
                if entry.1 > 0 && entry.0 == place {
                    entry.1 = (entry.1 + weight).min(6);
                } else if entry.1 > weight {
                    entry.1 -= weight;
                } else {
                    *entry = (place, weight);
                }
                if !is_byte {
                    ever.push(field.target);
                }
            }
        }
        made.extend(bytes.iter().zip(difference).map(|(byte, difference)| byte.wrapping_add(difference)));
        let end = made.len() + literal as usize;
        let is_table =
            |table: &(u32, u64)| add == 0 && made.len() == table.0 as usize && u64::from(literal) == table.1;
        if computed.iter().any(is_table) {
            made.extend(differences.by_ref().take(literal as usize));
        }
        while made.len() < end {
            // A piece of at most 64 KiB, and what may be the operand of an instruction at each of its bytes.
            let start = made.len();
            let to = end.min(start + 65536);
            let places = u32::try_from(start).unwrap()..u32::try_from(to).unwrap();
            let is_code = code.iter().any(|range| range.start <= places.start && places.end <= range.end);
            if is_code && is_aarch64 {
                let address = Space(&segments).address(places.start);
                aarch64::read(&mut made, &mut new, to - start, address)?;
            }
            while !is_code && sites.start <= places.start && places.end <= sites.end && made.len() < to {
                call_sites::read(&mut made, &mut new.new, &mut rows, [sites.start as usize, to])?;
            }
            if is_code && !is_aarch64 {
                let address = Space(&segments).address(places.start);
                x86_64::read(&mut made, &mut new, &mut targets, (to - start, address))?;
            }
            let size = to - made.len();
            made.extend(take_bytes(&mut new.new, size)?);
        }
    }
    if left.is_some() {
        return Err(Error::Left("the misses"));
    }
    gaps.end()?;
    tables.end()?;
    jumps.end()?;
    rows.iter().try_for_each(Reader::end)?;
    if new.new.len() + new.calls.len() + new.loads.len() + new.branches.len() + new.stack.len() > 0 {
        return Err(Error::Left("the new bytes"));
    }
    if let Some(table) = &frame_table {
        add_table(&mut made, table, Space(&segments));
    }
    if let Some(table) = &hash_table {
        hash_table::add(&mut made, table);
    }
    Ok(made)
}
