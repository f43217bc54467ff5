//! Go: the tables of functions that the runtime reads, and type descriptors.

use std::ops::Range;

use super::Found;
use crate::form::{Form, word, word32, word64};
use crate::rules::GoFunctions;

/// Most tables of program counters of one function.
const MAX_TABLES: usize = 64;
/// Most bytes of one inline tree or list of stack objects.
const MAX_DATA: usize = 1 << 16;
/// Indices of a function's data: stack objects and the inline tree.
const STACK_OBJECTS: usize = 2;
const INLINE_TREE: usize = 3;

pub(super) fn scan_functions(found: &mut Found<'_>, table: &GoFunctions) {
    let bytes = found.bytes;
    let based = |index: u16, scale: u8| Form::based(table.bases.saturating_add(index), scale, false);
    let [own, code, names, tables, units, data, constants] =
        [(0, 1), (1, 1), (2, 1), (3, 1), (4, 4), (5, 1), (6, 1)].map(|(index, scale)| based(index, scale));
    let record_size = if table.is_old { 40 } else { 44 };
    let data_base = found.base(table.bases.saturating_add(5));
    let end = bytes.len().min(table.end as usize);
    // Records are in the order of the functions; one that goes back is none.
    let mut passed = 0;
    let mut lists: Vec<(usize, usize)> = Vec::new();
    for index in 0..table.count as usize {
        let entry = table.start as usize + 8 * index;
        found.read(entry, code);
        found.read(entry + 4, own);
        let record = table.start as usize + word32(bytes, entry + 4) as usize;
        if record < passed || record + record_size > end || found.is_full() {
            continue;
        }
        passed = record + record_size;
        found.read(record, code);
        found.read(record + 4, names);
        for offset in [16, 20, 24] {
            found.read(record + offset, tables);
        }
        found.read(record + 32, units);
        let count = word32(bytes, record + 28) as usize;
        let of_data = usize::from(bytes[record + record_size - 1]);
        let after = record + record_size + 4 * count.min(MAX_TABLES);
        if count > MAX_TABLES || after + 4 * of_data > end {
            continue;
        }
        passed = after + 4 * of_data;
        for position in (record + record_size..after).step_by(4) {
            found.read(position, tables);
        }
        for kind in 0..of_data {
            let position = after + 4 * kind;
            if word32(bytes, position) == u32::MAX {
                continue;
            }
            found.read(position, data);
            if let Some(base) = data_base {
                lists.push((base + word32(bytes, position) as usize, kind));
            }
        }
    }
    found.read(table.start as usize + 8 * table.count as usize, code);
    lists.sort_unstable();
    lists.dedup_by_key(|list| list.0);
    for (index, (start, kind)) in lists.iter().enumerate() {
        let next = lists.get(index + 1).map_or(bytes.len(), |next| next.0);
        let stop = next.min(start.saturating_add(MAX_DATA)).min(bytes.len());
        match *kind {
            INLINE_TREE => scan_inline_tree(found, *start..stop, names, table.is_old),
            STACK_OBJECTS => {
                let count = usize::try_from(word64(bytes, *start)).unwrap_or(usize::MAX);
                let room = stop.saturating_sub(start + 8) / 16;
                for object in 0..if count <= room { count } else { 0 } {
                    found.read(start + 8 + 16 * object + 12, constants);
                }
            }
            _ => {}
        }
    }
}

fn scan_inline_tree(found: &mut Found<'_>, range: Range<usize>, names: Form, is_old: bool) {
    let (size, name) = if is_old { (20, 12) } else { (16, 4) };
    let mut position = range.start;
    while position + size <= range.end {
        let is_call = is_old || found.bytes[position + 1..position + 4] == [0; 3];
        if !is_call || found.read(position + name, names).is_none() {
            break;
        }
        position += size;
    }
}

/// Type descriptors follow each other, with what they have besides between them: one is known by its fields.
pub(super) fn scan_types(found: &mut Found<'_>, range: &Range<u32>, types: u16) {
    let range = found.range(range);
    let bytes = found.bytes;
    let size = (range.end - range.start) as u64;
    let based = |base: u16| Form::based(base, 1, false);
    let (of_types, of_code) = (based(types), based(types.saturating_add(1)));
    let mut position = range.start.next_multiple_of(8);
    while position + 48 <= range.end && !found.is_full() {
        if !is_type(found, position, size) {
            position += 8;
            continue;
        }
        found.read(position + 40, of_types);
        found.read(position + 44, of_types);
        let kind = bytes[position + 23] & 31;
        let own = match kind {
            17 => 24,
            18 => 16,
            19 | 22 | 23 => 8,
            20 | 25 => 32,
            21 => 40,
            _ => 0,
        };
        let uncommon = position + 48 + own;
        let has_uncommon = bytes[position + 20] & 1 != 0;
        let mut next = position + 48;
        if has_uncommon && uncommon + 16 <= range.end {
            found.read(uncommon, of_types);
            let count = usize::try_from(word(bytes, uncommon + 4, 2)).unwrap_or(0);
            let methods = uncommon.saturating_add(word32(bytes, uncommon + 8) as usize);
            next = uncommon + 16;
            // They come right after the descriptor, or there are none.
            if methods >= next && methods <= next + MAX_DATA && methods + 16 * count <= range.end {
                for method in 0..count {
                    let method = methods + 16 * method;
                    found.read(method, of_types);
                    found.read(method + 4, of_types);
                    found.read(method + 8, of_code);
                    found.read(method + 12, of_code);
                }
            }
        }
        position = next.next_multiple_of(8);
    }
}

/// Returns true if the bytes at `position` look like the common part of a type descriptor.
fn is_type(found: &Found<'_>, position: usize, size: u64) -> bool {
    let bytes = found.bytes;
    let [flags, align, field_align, kind] = [20, 21, 22, 23].map(|offset| bytes[position + offset]);
    let is_align = |align: u8| matches!(align, 1 | 2 | 4 | 8);
    let (name, pointer) = (word32(bytes, position + 40), word32(bytes, position + 44));
    let is_address = |offset| {
        let value = word64(bytes, position + offset);
        value == 0 || found.space.place(value).is_some()
    };
    matches!(kind & 31, 1..=26)
        && kind >> 5 <= 1
        && flags < 64
        && is_align(align)
        && is_align(field_align)
        && name > 0
        && u64::from(name) < size
        && u64::from(pointer) < size
        && word64(bytes, position) < 1 << 32
        && word64(bytes, position + 8) <= word64(bytes, position)
        && is_address(24)
        && is_address(32)
}
