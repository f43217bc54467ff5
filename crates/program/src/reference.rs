//! A second decoder, slow and plain, which the first is held against. The fields of the old file are the same for both.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use crate::form::{At, Field};
use crate::payload::Payload;
use crate::scan::scan;
use crate::space::Space;
use crate::varint::Reader;
use crate::wire::{correct, read_rules};
use crate::{Block, Result};

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

/// Makes the new file of a payload and the old file.
pub(crate) fn decode(payload: &[u8], old: &[u8]) -> Result<Vec<u8>> {
    let payload = Payload::parse(payload, Some(old.len()))?;
    let mut fields: Vec<Field> = Vec::new();
    let (mut segments, mut bases) = (Vec::new(), Vec::new());
    if payload.has_rules() {
        let mut reader = Reader::new(payload.rules, "the rules");
        let rules = read_rules(&mut reader, old.len())?;
        let scanned = scan(old, &rules.old, &rules.rules)?;
        for base in &scanned.bases {
            bases.push(match Space(&rules.old.segments).place(*base) {
                Some(place) if (place as usize) < old.len() => {
                    Space(&rules.new.segments).address(mapped(&payload.blocks, place).0)
                }
                Some(place) => Space(&rules.new.segments).address(place),
                None => *base,
            });
        }
        correct(&mut reader, &mut bases)?;
        reader.end()?;
        fields = scanned.fields;
        segments = rules.new.segments;
    }
    // Every byte that lies along the old file, as what it differs by.
    let mut runs = Reader::new(payload.runs, "the runs");
    let mut differences = Vec::new();
    let mut rest = payload.differences.iter();
    while !runs.is_empty() {
        let (zeros, others) = (runs.next()?, runs.next()?);
        differences.extend((0..zeros.min(1 << 20)).map(|_| 0));
        differences.extend(rest.by_ref().take(usize::try_from(others).unwrap_or(usize::MAX)));
    }
    let mut differences = differences.into_iter().chain(std::iter::repeat(0));
    let mut learned: HashMap<u32, (u32, u8)> = HashMap::new();
    let mut ever: Vec<u32> = Vec::new();
    let mut scores: HashMap<(crate::Kind, u8), i32> = HashMap::new();
    let (mut made, mut new) = (Vec::new(), payload.new);
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
            let at = At { space: Space(&segments), bases: &bases, position, moved };
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
            let value = at.value(field.form, near.unwrap_or(expected), old_value) & mask;
            let before = match field.position.checked_sub(1) {
                Some(before) if !field.form.is_of_table() => old[before as usize],
                _ => u8::try_from(field.position & 7).unwrap(),
            };
            let score = scores.entry((field.form.kind(), before)).or_insert(2);
            let guess = if *score >= 0 { value } else { old_value };
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
        let (bytes, rest) = new.split_at(literal as usize);
        made.extend_from_slice(bytes);
        new = rest;
    }
    Ok(made)
}
