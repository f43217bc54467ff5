//! Finds the data of ICU, in a program or in a file of its own.

use super::Described;
use crate::form::{index, word, word32};
use crate::rules::Rule;
use crate::scan::icu::{MAX_POOLS, items, pools};
use crate::space::{Segment, Space};

/// The data starts at a multiple of this.
const ALIGNMENT: usize = 16;
/// Bytes 2 and 3 of a header, and 12 to 15: it is one of ICU, of a package of items.
const MAGIC: &[u8] = &[0xda, 0x27];
const FORMAT: &[u8] = b"CmnD";
/// Bytes 8 to 10 of a header: little-endian, ASCII, characters of two bytes.
const LITTLE: &[u8] = &[0, 0, 2];
/// Fewest items, below which the rule costs more than it saves.
const MIN_ITEMS: usize = 8;
/// Bytes of an item's name that are looked at.
const MAX_NAME: usize = 256;

/// Describes a file that is data of ICU and nothing else.
pub(super) fn describe(bytes: &[u8]) -> Option<Described> {
    if !is_package(bytes) {
        return None;
    }
    let mut described = Described::default();
    let size = u32::try_from(bytes.len()).ok()?;
    described.side.segments.push(Segment { address: 0, size, place: 0 });
    describe_at(&mut described, bytes, 0);
    (!described.rules.is_empty()).then_some(described)
}

/// Adds the first package in a program to its description.
pub(super) fn describe_within(described: &mut Described, bytes: &[u8]) {
    let start = (0..bytes.len()).step_by(ALIGNMENT).find(|start| is_package(&bytes[*start..]));
    if let Some(start) = start {
        describe_at(described, bytes, start);
    }
}

fn is_package(bytes: &[u8]) -> bool {
    bytes.get(2..4) == Some(MAGIC) && bytes.get(8..11) == Some(LITTLE) && bytes.get(12..16) == Some(FORMAT)
}

fn describe_at(described: &mut Described, bytes: &[u8], start: usize) {
    let all = start..bytes.len();
    if items(bytes, all.clone()).count() < MIN_ITEMS {
        return;
    }
    let Some(last) = items(bytes, all).last() else { return };
    // The last item is a bundle, or the small rest of the file.
    let root = last.start + index(word(bytes, last.start, 2));
    let end = root.saturating_add((word32(bytes, root + 16) as usize).saturating_mul(4)).min(last.end);
    let (Ok(from), Ok(to)) = (u32::try_from(start), u32::try_from(end)) else { return };
    let table = start + index(word(bytes, start, 2));
    let segments = described.side.segments.clone();
    let address = |place: usize| Space(&segments).address(u32::try_from(place).unwrap_or(u32::MAX));
    let bases = described.base("icu", address(table));
    let mut names: Vec<String> = Vec::new();
    for (item, [keys, strings]) in pools(bytes, start..end).take(MAX_POOLS.into()) {
        let mut name = directory(bytes, table, item);
        // The bases of the pools follow each other, also where two have one name.
        while names.contains(&name) {
            name.push('/');
        }
        described.base(&format!("icu keys {name}"), address(keys));
        described.base(&format!("icu strings {name}"), address(strings));
        names.push(name);
    }
    described.rules.push(Rule::Icu { range: from..to, bases });
}

/// Returns the directory of an item, without that of the package, which has the version in its name.
fn directory(bytes: &[u8], table: usize, item: usize) -> String {
    let entry = (0..word32(bytes, table) as usize)
        .map(|entry| table + 4 + 8 * entry)
        .find(|entry| table.saturating_add(word32(bytes, entry + 4) as usize) == item);
    let name = entry.map_or(&[][..], |entry| {
        bytes.get(table.saturating_add(word32(bytes, entry) as usize)..).unwrap_or_default()
    });
    let name = &name[..name.len().min(MAX_NAME)];
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = name.split(|byte| *byte == b'/').skip(1).collect::<Vec<_>>().concat();
    String::from_utf8_lossy(&name).into_owned()
}
