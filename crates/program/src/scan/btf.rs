//! BTF, the types of the kernel: ids of types and offsets of names, which count on from those of the kernel itself.

use std::ops::Range;

use super::Found;
use crate::form::{Form, word32};

pub(super) fn scan(found: &mut Found<'_>, range: &Range<u32>, ids: u16, names: u16) {
    let range = found.range(range);
    let bytes = found.bytes;
    let (id, name) = (Form::based(ids, 1, false), Form::based(names, 1, false));
    let offset = |at: usize| word32(bytes, range.start + at) as usize;
    // Header size, offset and size of the types.
    let start = range.start.saturating_add(offset(4)).saturating_add(offset(8));
    let end = start.saturating_add(offset(12)).min(range.end);
    let mut position = start;
    while position.saturating_add(12) <= end && !found.is_full() {
        let info = word32(bytes, position + 4);
        let (count, kind) = (info as usize & 0xffff, info >> 24 & 31);
        found.read(position, name);
        if matches!(kind, 2 | 8..=14 | 17 | 18) {
            found.read(position + 8, id);
        }
        position += 12;
        // Bytes of a member, and where a name and an id are in it.
        let (size, name_at, id_at) = match kind {
            // Integers, variables, declaration tags.
            1 | 14 | 17 => {
                position += 4;
                continue;
            }
            // Arrays: the type of the elements and that of the index.
            3 => {
                found.read(position, id);
                found.read(position + 4, id);
                position += 12;
                continue;
            }
            4 | 5 => (12, Some(0), Some(4)),
            6 => (8, Some(0), None),
            13 => (8, Some(0), Some(4)),
            15 => (12, None, Some(0)),
            19 => (12, Some(0), None),
            _ => continue,
        };
        for _ in 0..count {
            if position + size > end {
                break;
            }
            if let Some(at) = name_at {
                found.read(position + at, name);
            }
            if let Some(at) = id_at {
                found.read(position + at, id);
            }
            position += size;
        }
    }
}
