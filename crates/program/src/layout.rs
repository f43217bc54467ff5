//! Finds out how ELF files and the data of ICU are laid out, for the writer.

mod elf;
mod elf32;
mod go;
mod icu;
mod section;
mod symbols;
#[cfg(test)]
mod tests;
mod unwinding;

use std::ops::Range;

use crate::computed::Computed;
use crate::encode::{Encoded, encode_scanned};
use crate::error::Result;
use crate::frame_table::{ENTRY_SIZE, FrameTable};
use crate::hash_table::HashTable;
use crate::map::Map;
use crate::normalise::{Overlay, normalise};
use crate::predict::Predictor;
use crate::rules::{Rule, Rules, Side};
use crate::scan::{Scanned, scan};
use crate::space::Space;
use crate::{Block, MAX_CODE, MAX_SIZE, computed};

/// The layouts of an old and a new program.
#[derive(Debug)]
pub struct Layouts {
    rules: Rules,
    old: Scanned,
    new: Scanned,
    old_overlays: Vec<Overlay>,
    new_overlays: Vec<Overlay>,
    old_names: Vec<Range<u32>>,
    new_names: Vec<Range<u32>>,
    /// The tables of frames, if they are computed.
    old_computed: Option<Range<u32>>,
    new_computed: Option<Range<u32>>,
}

/// A payload, and what was learned to make it.
#[derive(Debug)]
pub struct Draft<'o> {
    /// The payload.
    pub encoded: Encoded,
    predictor: Predictor<'o>,
    map: Map,
}

/// One file, as it is described.
#[derive(Debug, Default)]
struct Described {
    side: Side,
    /// The name of each base: bases of both files that have one name belong together.
    names: Vec<String>,
    rules: Vec<Rule>,
    overlays: Vec<Overlay>,
    /// The names of dynamic symbols.
    loaded_names: Vec<Range<u32>>,
    /// The table of `.eh_frame_hdr`, to which rules belong as well.
    frame_table: Option<FrameTable>,
    /// The hash table of dynamic symbols, to which a rule belongs as well.
    hash_table: Option<HashTable>,
    /// The tables of call sites.
    call_sites: Range<u32>,
}

impl Described {
    /// Adds a base, or finds it.
    fn base(&mut self, name: &str, address: u64) -> u16 {
        let index = self.names.iter().position(|other| other == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.side.bases.push(address);
            self.names.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// Drops the rules of a table of frames, which is computed, and returns where it lies. A delta that has no
    /// relocated op carries it, so that what moved in it looks the same in the copies still.
    fn without_frame_table(&mut self, bytes: &[u8]) -> Option<Range<u32>> {
        let table = self.frame_table.take()?;
        let space = Space(&self.side.segments);
        self.overlays.extend(table.codes(bytes, space));
        let table = table.range();
        self.drop_tables(&table);
        Some(u32::try_from(table.start).ok()?..u32::try_from(table.end).ok()?)
    }

    /// Drops the rule of a hash table, which is computed. What moved in it looks the same in the copies still.
    fn without_hash_table(&mut self, bytes: &[u8]) {
        if let Some(table) = self.hash_table.take() {
            self.overlays.extend(table.firsts(bytes));
            self.drop_tables(&table.range());
        }
    }

    /// The range of the data of ICU.
    fn icu(&self) -> Option<Range<usize>> {
        self.rules.iter().find_map(|rule| match rule {
            Rule::Icu { range, .. } => Some(range.start as usize..range.end as usize),
            _ => None,
        })
    }

    /// Drops the rule of the data of ICU and its bases, which are the last. Returns true if there was one.
    fn without_icu(&mut self) -> bool {
        let rule = self.rules.extract_if(.., |rule| matches!(rule, Rule::Icu { .. })).last();
        let Some(Rule::Icu { bases, .. }) = rule else { return false };
        self.names.truncate(bases.into());
        self.side.bases.truncate(bases.into());
        true
    }

    /// Drops the rules of tables that start in a range.
    fn drop_tables(&mut self, range: &Range<u64>) {
        let is_other = |rule: &Rule| match rule {
            Rule::Strided(strided) => !range.contains(&strided.start.into()),
            _ => true,
        };
        self.rules.retain(is_other);
    }
}

impl Layouts {
    /// Reads the headers of both files; `None` unless both are programs of one kind, with fields.
    pub fn of(old: &[u8], new: &[u8]) -> Option<Self> {
        if old.len().max(new.len()) > MAX_SIZE {
            return None;
        }
        let describe =
            |bytes| elf::describe(bytes).or_else(|| elf32::describe(bytes)).or_else(|| icu::describe(bytes));
        let (mut before, mut after) = (describe(old)?, describe(new)?);
        let space = Space(&after.side.segments);
        let frame_table = after.frame_table.clone();
        let frame_table =
            frame_table.filter(|table| Computed::Frames(table.clone()).is_computable(new, space));
        let hash_table = after.hash_table.clone();
        let hash_table = hash_table.filter(|table| {
            let is_other =
                before.hash_table.as_ref().is_none_or(|old_table| table.differs(new, old_table, old));
            let both = [Some(Computed::Hash(table.clone())), frame_table.clone().map(Computed::Frames)];
            let both: Vec<_> = both.into_iter().flatten().collect();
            is_other && both[0].is_computable(new, space) && computed::check(&both, new.len()).is_ok()
        });
        let (mut old_computed, mut new_computed) = (None, None);
        if frame_table.is_some() {
            (old_computed, new_computed) = (before.without_frame_table(old), after.without_frame_table(new));
        }
        if hash_table.is_some() {
            before.without_hash_table(old);
            after.without_hash_table(new);
        }
        if same_icu(old, &before, new, &after) {
            before.without_icu();
            after.without_icu();
        }
        let both = |before: &Described, after: &Described| {
            let scan = |bytes, described: &Described| scan(bytes, &described.side, &described.rules).ok();
            Some((scan(old, before)?, scan(new, after)?))
        };
        // Dense data have more fields than an applier takes: the rest of the program is predicted without them.
        let (old, new) = both(&before, &after).or_else(|| {
            let had_icu = [before.without_icu(), after.without_icu()];
            had_icu.contains(&true).then(|| both(&before, &after)).flatten()
        })?;
        if old.fields.is_empty() {
            return None;
        }
        let same = |name: &String| {
            let index = after.names.iter().position(|other| other == name)?;
            // Those of sections come after the others and are not in the side.
            new.bases.get(index).copied()
        };
        let bases = before.names.iter().map(|name| same(name).unwrap_or(Rules::MAPPED)).collect();
        let old_overlays = std::mem::take(&mut before.overlays);
        let old_names = std::mem::take(&mut before.loaded_names);
        let new_code = after.rules.iter().filter_map(Rule::split_code).take(MAX_CODE).collect();
        let rules = Rules {
            new_code,
            frame_table,
            hash_table,
            call_sites: after.call_sites,
            packed: None,
            old: before.side,
            new: Side { segments: after.side.segments, bases },
            rules: before.rules,
        };
        let (new_overlays, new_names) = (after.overlays, after.loaded_names);
        Some(Self {
            rules,
            old,
            new,
            old_overlays,
            new_overlays,
            old_names,
            new_names,
            old_computed,
            new_computed,
        })
    }

    /// Makes a payload of blocks that cover the new file.
    ///
    /// # Errors
    /// As [`encode`](crate::encode()).
    pub fn encode<'o>(&self, old: &'o [u8], new: &[u8], blocks: &[Block]) -> Result<Draft<'o>> {
        let scanned = Some((&self.rules, self.old.clone()));
        let (encoded, predictor) = encode_scanned(old, new, blocks, scanned)?;
        Ok(Draft { encoded, predictor, map: Map::new(blocks) })
    }

    /// Returns the old file with the addresses of the new one where the draft found what they mean.
    pub fn normalised_old(&self, old: &[u8], draft: &Draft<'_>) -> Vec<u8> {
        let moved = |overlay: &Overlay| {
            let place = draft.predictor.place(overlay.place);
            Overlay { place: place.unwrap_or_else(|| draft.map.get(overlay.place).0), ..*overlay }
        };
        let space = Space(&self.rules.new.segments);
        let overlays = self.old_overlays.iter().map(moved);
        let mut normal = normalise(old, draft.predictor.found(), overlays, &self.old_names, space);
        clear(&mut normal, self.old_computed.as_ref());
        normal
    }

    /// Returns the new file with each field written as [`normalised_old`](Self::normalised_old) writes it.
    pub fn normalised_new(&self, new: &[u8]) -> Vec<u8> {
        let space = Space(&self.rules.new.segments);
        let (fields, overlays) = (self.new.fields.iter().copied(), self.new_overlays.iter().copied());
        let mut normal = normalise(new, fields, overlays, &self.new_names, space);
        clear(&mut normal, self.new_computed.as_ref());
        normal
    }
}

/// Returns true if both files have the same data of ICU, in which nothing moved.
fn same_icu(old: &[u8], before: &Described, new: &[u8], after: &Described) -> bool {
    let (Some(of_old), Some(of_new)) = (before.icu(), after.icu()) else { return false };
    old.get(of_old) == new.get(of_new)
}

/// Clears the positions of records in a table of frames: they ascend, and tell nothing about which entries are alike.
fn clear(bytes: &mut [u8], range: Option<&Range<u32>>) {
    let table = range.and_then(|range| bytes.get_mut(range.start as usize..range.end as usize));
    table.unwrap_or_default().chunks_exact_mut(ENTRY_SIZE).for_each(|entry| entry[ENTRY_SIZE / 2..].fill(0));
}
