//! Tables of fixed stride, and jump tables.

use std::ops::Range;

use super::Found;
use crate::form::{Form, sign_extend, word32, word64};
use crate::rules::Strided;

/// Smaller numbers are hardly addresses.
const MIN_ADDRESS: u64 = 0x1000;

pub(super) fn scan(found: &mut Found<'_>, table: &Strided) {
    let form = match table.base {
        Some(base) => Form::based(base, table.scale, table.is_wide),
        None => Form::absolute(table.is_wide),
    };
    let form = form.column_if(table.is_column);
    let mut position = table.start as usize;
    for _ in 0..table.count {
        if found.is_full() {
            break;
        }
        let is_address = table.base.is_some() || {
            let value = if table.is_wide {
                word64(found.bytes, position)
            } else {
                word32(found.bytes, position).into()
            };
            value >= MIN_ADDRESS
        };
        if is_address {
            found.read(position, form);
        }
        position = position.saturating_add(table.stride as usize);
    }
}

/// A jump table goes on as long as its entries lead to code, up to where the next is loaded from.
pub(super) fn scan_jump_tables(found: &mut Found<'_>, range: &Range<u32>) {
    let range = found.range(range);
    if !found.is_sorted {
        found.loaded.sort_unstable();
        found.loaded.dedup();
        found.loaded.retain(|start| start.is_multiple_of(4));
        found.is_sorted = true;
    }
    let [from, to] =
        [range.start, range.end].map(|end| found.loaded.partition_point(|start| (*start as usize) < end));
    let within: Vec<u32> = found.loaded[from..to].to_vec();
    for (index, start) in within.iter().enumerate() {
        let end = within.get(index + 1).map_or(range.end, |next| *next as usize);
        let base = found.space.address(*start);
        let mut position = *start as usize;
        while position + 4 <= end && !found.is_full() {
            let address = base.wrapping_add(sign_extend(word32(found.bytes, position)));
            if !found.code.contains(&address) {
                break;
            }
            if let Some(place) = found.space.place(address) {
                found.put(position, Form::in_table(*start), place);
            }
            position += 4;
        }
    }
}
