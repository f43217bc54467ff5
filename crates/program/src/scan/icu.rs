//! The data of ICU: a table of items, most of which are resource bundles.

use std::ops::Range;

use super::Found;
use crate::bundle::{self, Bundle, OFFSET, Pool};
use crate::form::{Form, index, word, word32};

/// Bytes of a header, which the first two of it count.
const MIN_HEADER: usize = 24;
/// The format of a bundle, and where a header has the format.
const BUNDLE: &[u8] = b"ResB";
const FORMAT_AT: usize = 12;
/// The number of indexes that are read. A bundle may lack the last of them.
const INDEXES: usize = 8;
/// Flags of a bundle: it is a pool, or has one.
const IS_POOL: u32 = 2;
const HAS_POOL: u32 = 4;
/// Most pools of one rule.
pub(crate) const MAX_POOLS: u16 = 64;
/// Most bundles of a file.
const MAX_BUNDLES: usize = 1 << 16;
/// The offsets of an entry's name and item in the table.
const ENTRY_SIZE: usize = 8;

/// A bundle, as its indexes describe it.
#[derive(Debug, Clone, Copy)]
struct Indexes {
    root: usize,
    /// The end of the item, which may have padding.
    end: usize,
    words: [u32; INDEXES],
}

impl Indexes {
    fn read(bytes: &[u8], item: Range<usize>) -> Option<Self> {
        if bytes.get(item.start + FORMAT_AT..)?.get(..BUNDLE.len())? != BUNDLE {
            return None;
        }
        let root = item.start + index(word(bytes, item.start, 2));
        let count = usize::from(*bytes.get(root + 4)?);
        if count + 1 < INDEXES || root + 4 * (count + 1) > item.end {
            return None;
        }
        let of = |index: usize| if index < count { word32(bytes, root + 4 + 4 * index) } else { 0 };
        Some(Self { root, end: item.end, words: std::array::from_fn(of) })
    }

    const fn is_pool(&self) -> bool {
        self.words[5] & IS_POOL != 0
    }

    const fn checksum(&self) -> u32 {
        self.words[7]
    }
}

/// The items of a package.
pub(crate) fn items(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
    let table = range.start + index(word(bytes, range.start, 2));
    let count = entries(bytes, &range);
    let mut end = range.start;
    let start = move |entry: usize| {
        if entry == count {
            return range.end;
        }
        table.saturating_add(word32(bytes, table + 8 + ENTRY_SIZE * entry) as usize)
    };
    (0..count).filter_map(move |index| {
        let item = start(index)..start(index + 1).min(start(count));
        // No byte lies in two items.
        if item.start < end || item.is_empty() {
            return None;
        }
        end = item.end;
        Some(item)
    })
}

/// The number of entries in the table of a package.
fn entries(bytes: &[u8], range: &Range<usize>) -> usize {
    let table = range.start + index(word(bytes, range.start, 2));
    let most = range.end.saturating_sub(table + 4) / ENTRY_SIZE;
    most.min(word32(bytes, table) as usize)
}

/// Positions of the keys and the strings of each pool.
#[cfg(feature = "writer")]
pub(crate) fn pools(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = (usize, [usize; 2])> + '_ {
    let pools = items(bytes, range).filter_map(|item| Some((item.start, Indexes::read(bytes, item)?)));
    let places = |Indexes { root, words, .. }: &Indexes| {
        [
            root + 4 + 4 * (words[0] as usize & 0xff),
            root.saturating_add((words[1] as usize).saturating_mul(4)),
        ]
    };
    pools.filter(|(_, indexes)| indexes.is_pool()).map(move |(item, indexes)| (item, places(&indexes)))
}

pub(super) fn scan(found: &mut Found<'_>, range: &Range<u32>, bases: u16) {
    let range = found.range(range);
    let bytes = found.bytes;
    if range.len() < MIN_HEADER {
        return;
    }
    let table = range.start + index(word(bytes, range.start, 2));
    let entry = Form::based(bases, 1, false);
    for index in 0..2 * entries(bytes, &range) {
        found.read(table + 4 + 4 * index, entry);
    }
    let bundles = || items(bytes, range.clone()).filter_map(|item| Indexes::read(bytes, item));
    let pools: Vec<(u32, Pool)> = bundles()
        .filter(Indexes::is_pool)
        .zip(0..MAX_POOLS)
        .map(|(pool, index)| {
            let base = bases.saturating_add(1).saturating_add(2 * index);
            (pool.checksum(), Pool::new(base, &found.bases))
        })
        .collect();
    for indexes in bundles() {
        if found.is_full() || found.bundles.len() == MAX_BUNDLES {
            return;
        }
        let has_pool = indexes.words[5] & HAS_POOL != 0;
        let pool = pools.iter().find(|(checksum, _)| has_pool && *checksum == indexes.checksum());
        scan_bundle(found, &indexes, pool.map(|(_, pool)| *pool));
    }
}

/// Finds the indexes that say where the parts of a bundle are, and all that its root leads to.
fn scan_bundle(found: &mut Found<'_>, indexes: &Indexes, pool: Option<Pool>) {
    let (root, end) = (indexes.root, indexes.end);
    let (Ok(place), Ok(number)) = (u32::try_from(root), u16::try_from(found.bundles.len())) else { return };
    let mut bundle = Bundle::NONE;
    for index in [bundle::LIMIT, bundle::KEYS_END, bundle::BUNDLE_END, bundle::FLAGS] {
        let position = root + 4 + 4 * usize::from(index);
        let address = found.space.address(place).wrapping_add(4 + 4 * u64::from(index));
        bundle.take(index, address, indexes.words[usize::from(index)]);
        found.put(position, Form::index(number, index), place);
    }
    bundle.pool = pool;
    found.bundles.push(bundle);
    if indexes.is_pool() {
        return;
    }
    let strings = root.saturating_add((indexes.words[1] as usize).saturating_mul(4));
    // A bit for each unit of two bytes at which a resource starts.
    let mut seen = vec![0u64; (end - root) / 128 + 1];
    // Each byte is in one resource, so that all together have no more than the bundle.
    let mut left = end - root;
    let mut resources = Walk { found, number, pending: Vec::new() };
    resources.resource(root);
    while let Some(resource) = resources.pending.pop() {
        let (kind, offset) = (resource >> 28, (resource & OFFSET) as usize);
        let is_16 = matches!(kind, bundle::TABLE_16 | bundle::ARRAY_16);
        let at = if is_16 { strings.saturating_add(2 * offset) } else { root + 4 * offset };
        let Some(bits) = at.checked_sub(root).and_then(|unit| seen.get_mut(unit / 128)) else { continue };
        let bit = 1 << ((at - root) / 2 % 64);
        if *bits & bit != 0 {
            continue;
        }
        *bits |= bit;
        let width = if matches!(kind, bundle::TABLE_32 | bundle::ARRAY) { 4 } else { 2 };
        let count = index(word(resources.found.bytes, at, width));
        let size = match kind {
            bundle::TABLE_16 | bundle::TABLE => count.saturating_mul(if is_16 { 4 } else { 6 }),
            bundle::TABLE_32 => count.saturating_mul(8),
            bundle::ARRAY => count.saturating_mul(4),
            _ => count.saturating_mul(2),
        };
        // The resources of a table start at a multiple of 4.
        let padding = if kind == bundle::TABLE {
            (at + width - root).saturating_add(count.saturating_mul(2)) % 4
        } else {
            0
        };
        let last = [width, size, padding].into_iter().fold(at, usize::saturating_add);
        match left.checked_sub(size) {
            Some(rest) if last <= end => left = rest,
            _ => continue,
        }
        let first = at + width;
        match kind {
            bundle::TABLE_16 => {
                resources.keys(first, count);
                resources.strings(first + 2 * count, count);
            }
            bundle::ARRAY_16 => resources.strings(first, count),
            bundle::TABLE => {
                resources.keys(first, count);
                let first = first + 2 * count;
                resources.resources(first + padding, count);
            }
            // Keys of 32 bits are of large tables, of which no bundle has one that moves.
            bundle::TABLE_32 => resources.resources(first + 4 * count, count),
            _ => resources.resources(first, count),
        }
    }
}

/// A walk over the resources of a bundle.
struct Walk<'w, 'f> {
    found: &'w mut Found<'f>,
    number: u16,
    /// Tables and arrays that were not looked at. There are no more than fields.
    pending: Vec<u32>,
}

impl Walk<'_, '_> {
    fn keys(&mut self, first: usize, count: usize) {
        self.offsets(first, count, Form::key(self.number));
    }

    fn strings(&mut self, first: usize, count: usize) {
        self.offsets(first, count, Form::string(self.number));
    }

    fn offsets(&mut self, first: usize, count: usize, form: Form) {
        for position in (0..count).map(|index| first + 2 * index) {
            let value = word(self.found.bytes, position, 2);
            self.found.read_any(position, form, value);
        }
    }

    fn resources(&mut self, first: usize, count: usize) {
        (0..count).for_each(|index| self.resource(first + 4 * index));
    }

    fn resource(&mut self, position: usize) {
        let word = word32(self.found.bytes, position);
        let form = Form::resource(self.number);
        let leads_on = matches!(
            word >> 28,
            bundle::TABLE | bundle::TABLE_32 | bundle::TABLE_16 | bundle::ARRAY | bundle::ARRAY_16
        );
        if self.found.read_any(position, form, word.into()).is_some() && leads_on && !self.found.is_full() {
            self.pending.push(word);
        }
    }
}
