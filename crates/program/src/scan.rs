//! Finds the fields of a file by rules.
//!
//! Every rule goes through its range once and never searches ahead for more than a few bytes, so that the
//! time is bounded by what the rules cover.

mod aarch64;
mod arm;
mod btf;
mod go;
pub(crate) mod icu;
mod sections;
mod tables;
#[cfg(test)]
mod tests;
mod unwind;
mod x86_64;

pub(crate) use aarch64::{LOOK_AHEAD, adds_low, page};
pub(crate) use unwind::for_each_record;
pub(crate) use x86_64::{CALL, JUMP};

use std::ops::Range;

use crate::bundle::Bundle;
use crate::form::{At, Field, Form, word};
use crate::rules::{Rule, Side};
use crate::space::Space;
use crate::{Error, MAX_COVERED, MAX_FIELDS, MIN_FIELD_BYTES, MIN_FIELDS, Result};

/// The fields of a file, and its bases with those that rules read from it.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    pub(crate) fields: Vec<Field>,
    pub(crate) bases: Vec<u64>,
    /// The bundles that fields are in.
    pub(crate) bundles: Vec<Bundle>,
}

/// Fields that are found.
struct Found<'f> {
    bytes: &'f [u8],
    space: Space<'f>,
    bases: Vec<u64>,
    fields: Vec<Field>,
    bundles: Vec<Bundle>,
    /// Most fields.
    max: usize,
    /// The addresses of code, from the first to the end of the last.
    code: Range<u64>,
    /// The places whose address code loads.
    loaded: Vec<u32>,
    /// True once these are sorted.
    is_sorted: bool,
}

/// Finds the fields in a file.
///
/// # Errors
/// [`Error::Rule`] if the rules cover too much, [`Error::TooManyFields`].
pub(crate) fn scan(bytes: &[u8], side: &Side, rules: &[Rule]) -> Result<Scanned> {
    covered(bytes.len(), rules)?;
    let max = (bytes.len() / MIN_FIELD_BYTES).clamp(MIN_FIELDS, MAX_FIELDS);
    let space = Space(&side.segments);
    let mut found = Found {
        bytes,
        space,
        bases: side.bases.clone(),
        fields: Vec::new(),
        bundles: Vec::new(),
        max,
        code: code(space, rules),
        loaded: Vec::new(),
        is_sorted: false,
    };
    for rule in rules {
        match rule {
            Rule::X86_64(range) => x86_64::scan(&mut found, range),
            Rule::Aarch64(range) => aarch64::scan(&mut found, range),
            Rule::Thumb(range) => arm::scan_thumb(&mut found, range),
            Rule::Arm(range) => arm::scan_words(&mut found, range),
            Rule::ArmUnwinding(range) => arm::scan_unwinding(&mut found, range),
            Rule::JumpTables(range) => tables::scan_jump_tables(&mut found, range),
            Rule::Strided(table) => tables::scan(&mut found, table),
            Rule::EhFrame(range) => unwind::scan(&mut found, range),
            Rule::Sections { start, count } => sections::scan(&mut found, *start, *count),
            Rule::Btf { range, ids, names } => btf::scan(&mut found, range, *ids, *names),
            Rule::GoFunctions(table) => go::scan_functions(&mut found, table),
            Rule::GoTypes { range, types } => go::scan_types(&mut found, range, *types),
            Rule::Icu { range, bases } => icu::scan(&mut found, range, *bases),
        }
        if found.fields.len() > max {
            return Err(Error::TooManyFields { max });
        }
    }
    let Found { mut fields, bases, bundles, .. } = found;
    // The order of the rules is kept, and most of them find fields in order.
    fields.sort_by_key(|field| field.position);
    let mut end = 0;
    fields.retain(|field| {
        let is_first = field.position >= end;
        if is_first {
            #[expect(clippy::cast_possible_truncation, reason = "2, 4 or 8")]
            let width = field.form.width() as u32;
            end = field.position + width;
        }
        is_first
    });
    Ok(Scanned { fields, bases, bundles })
}

/// Bytes of a file of `size` that the rules go over, all together.
///
/// # Errors
/// [`Error::Rule`] if they are too many.
pub(crate) fn covered(size: usize, rules: &[Rule]) -> Result<u64> {
    let size = size as u64;
    let covered = rules.iter().map(|rule| rule.covered(size)).fold(0, u64::saturating_add);
    if covered > size * MAX_COVERED {
        Err(Error::Rule("they go over the old file too often"))
    } else {
        Ok(covered)
    }
}

/// The addresses from the first to the last code.
fn code(space: Space<'_>, rules: &[Rule]) -> Range<u64> {
    let ranges = rules.iter().filter_map(|rule| match rule {
        Rule::X86_64(range) | Rule::Aarch64(range) | Rule::Thumb(range) | Rule::Arm(range)
            if !range.is_empty() =>
        {
            let start = space.address(range.start);
            Some(start..start.wrapping_add((range.end - range.start).into()))
        }
        _ => None,
    });
    let joined = ranges.reduce(|left, right| left.start.min(right.start)..left.end.max(right.end));
    joined.unwrap_or(0..0)
}

impl Rule {
    /// Bytes of the file that it goes through, about.
    fn covered(&self, file: u64) -> u64 {
        let size = |range: &Range<u32>| u64::from(range.end - range.start);
        match self {
            Self::X86_64(range)
            | Self::Aarch64(range)
            | Self::Thumb(range)
            | Self::Arm(range)
            | Self::ArmUnwinding(range)
            | Self::JumpTables(range)
            | Self::EhFrame(range)
            | Self::Btf { range, .. }
            | Self::GoTypes { range, .. }
            | Self::Icu { range, .. } => size(range),
            // Each field is one step.
            Self::Strided(table) => 4 * u64::from(table.count),
            // They lead to anything in the file, and to no byte twice.
            Self::Sections { count, .. } => 64 * u64::from(*count) + file,
            Self::GoFunctions(table) => 8 * u64::from(table.count) + file,
        }
    }
}

impl<'f> Found<'f> {
    /// A range of the file as indices.
    fn range(&self, range: &Range<u32>) -> Range<usize> {
        let end = self.bytes.len().min(range.end as usize);
        end.min(range.start as usize)..end
    }

    fn is_full(&self) -> bool {
        self.fields.len() > self.max
    }

    /// Adds a field that lies in the file.
    fn put(&mut self, position: usize, form: Form, target: u32) {
        if let Ok(position) = u32::try_from(position)
            && !self.is_full()
            && position as usize + form.width() <= self.bytes.len()
        {
            self.fields.push(Field { position, target, form });
        }
    }

    /// Adds the field at `position` if what it holds means a place. Zero and all ones mean none.
    fn read(&mut self, position: usize, form: Form) -> Option<u32> {
        let width = form.width();
        let value = word(self.bytes, position, width);
        if value == 0 || value == u64::MAX >> (64 - 8 * width) {
            return None;
        }
        self.read_any(position, form, value)
    }

    /// Does what [`read`](Self::read) does, whatever the field holds.
    fn read_any(&mut self, position: usize, form: Form, value: u64) -> Option<u32> {
        let own = u32::try_from(position).ok()?;
        let bundle = form.bundle().and_then(|number| self.bundles.get(number)).unwrap_or(&Bundle::NONE);
        let at = At { space: self.space, bases: &self.bases, position: own, moved: 0, bundle };
        let target = at.place(form, value)?;
        self.put(position, form, target);
        Some(target)
    }

    /// The place of a base.
    fn base(&self, base: u16) -> Option<usize> {
        let place = self.space.place(*self.bases.get(usize::from(base))?)?;
        usize::try_from(place).ok()
    }
}
