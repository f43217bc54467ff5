//! The encoding of one rule.
//!
//! ```text
//! rule     = kind:uvarint start:signed fields
//! ```

use std::ops::Range;

use super::narrow;
use crate::rules::{GoFunctions, Rule, Strided};
use crate::varint::{Reader, put, put_difference};
use crate::{Error, MAX_BASES, MAX_SIZE, Result};

const X86_64: u64 = 1;
const AARCH64: u64 = 2;
const JUMP_TABLES: u64 = 3;
const STRIDED: u64 = 4;
const EH_FRAME: u64 = 5;
const SECTIONS: u64 = 6;
const BTF: u64 = 7;
const GO_FUNCTIONS: u64 = 8;
const GO_TYPES: u64 = 9;
const ICU: u64 = 10;
const THUMB: u64 = 11;
const ARM: u64 = 12;
const ARM_UNWINDING: u64 = 13;

/// Flags of a strided rule.
const WIDE: u64 = 1;
const HAS_BASE: u64 = 2;
const IS_COLUMN: u64 = 4;
const ALL_FLAGS: u64 = 7;

/// Appends a rule. Gives where the next is expected.
pub(super) fn put_rule(out: &mut Vec<u8>, rule: &Rule, expected: u64) -> u64 {
    let put_range = |out: &mut Vec<u8>, kind: u64, range: &Range<u32>| {
        put(out, kind);
        put_difference(out, range.start.into(), expected);
        put(out, u64::from(range.end).wrapping_sub(range.start.into()));
        u64::from(range.end)
    };
    let put_based = |out: &mut Vec<u8>, kind: u64, range: &Range<u32>, base: u16| {
        let end = put_range(out, kind, range);
        put(out, base.into());
        end
    };
    match rule {
        Rule::X86_64(range) => put_range(out, X86_64, range),
        Rule::Aarch64(range) => put_range(out, AARCH64, range),
        Rule::Thumb(range) => put_range(out, THUMB, range),
        Rule::Arm(range) => put_range(out, ARM, range),
        Rule::ArmUnwinding(range) => put_range(out, ARM_UNWINDING, range),
        Rule::JumpTables(range) => put_range(out, JUMP_TABLES, range),
        Rule::EhFrame(range) => put_range(out, EH_FRAME, range),
        Rule::Strided(table) => {
            put(out, STRIDED);
            put_difference(out, table.start.into(), expected);
            put(out, table.count.into());
            put(out, table.stride.into());
            let flag = |is_set, flag| if is_set { flag } else { 0 };
            put(
                out,
                flag(table.is_wide, WIDE)
                    | flag(table.base.is_some(), HAS_BASE)
                    | flag(table.is_column, IS_COLUMN),
            );
            if let Some(base) = table.base {
                put(out, base.into());
                put(out, table.scale.into());
            }
            u64::from(table.start) + u64::from(table.stride) * u64::from(table.count)
        }
        Rule::Sections { start, count } => {
            put(out, SECTIONS);
            put_difference(out, (*start).into(), expected);
            put(out, (*count).into());
            u64::from(*start)
        }
        Rule::Btf { range, ids, names } => {
            let end = put_range(out, BTF, range);
            put(out, (*ids).into());
            put(out, (*names).into());
            end
        }
        Rule::GoFunctions(table) => {
            put(out, GO_FUNCTIONS);
            put_difference(out, table.start.into(), expected);
            put(out, table.count.into());
            put_difference(out, table.end.into(), table.start.into());
            put(out, table.is_old.into());
            put(out, table.bases.into());
            u64::from(table.end)
        }
        Rule::GoTypes { range, types } => put_based(out, GO_TYPES, range, *types),
        Rule::Icu { range, bases } => put_based(out, ICU, range, *bases),
    }
}

fn index(reader: &mut Reader<'_>, what: &'static str, max: usize) -> Result<u16> {
    let value = reader.at_most(what, max)?;
    u16::try_from(value).map_err(|_| Error::TooLarge { what, value: value as u64, max: max as u64 })
}

/// Reads a rule. Gives where the next is expected.
pub(super) fn read_rule(reader: &mut Reader<'_>, expected: u64, size: usize) -> Result<(Rule, u64)> {
    let kind = reader.next()?;
    let start = reader.difference(expected)?;
    // All positions are within the file, so that sums of them do not overflow 32 bits.
    let within = |value: u64| match u32::try_from(value) {
        Ok(position) if value <= size.min(MAX_SIZE) as u64 => Ok(position),
        _ => Err(Error::Rule("it reaches past the old file")),
    };
    let range = |reader: &mut Reader<'_>| {
        let size = reader.next()?;
        let end = within(start.saturating_add(size))?;
        Ok::<_, Error>((within(start)?..end, u64::from(end)))
    };
    Ok(match kind {
        X86_64 => range(reader).map(|(range, end)| (Rule::X86_64(range), end))?,
        AARCH64 => range(reader).map(|(range, end)| (Rule::Aarch64(range), end))?,
        THUMB => range(reader).map(|(range, end)| (Rule::Thumb(range), end))?,
        ARM => range(reader).map(|(range, end)| (Rule::Arm(range), end))?,
        ARM_UNWINDING => range(reader).map(|(range, end)| (Rule::ArmUnwinding(range), end))?,
        JUMP_TABLES => range(reader).map(|(range, end)| (Rule::JumpTables(range), end))?,
        EH_FRAME => range(reader).map(|(range, end)| (Rule::EhFrame(range), end))?,
        STRIDED => {
            let (count, stride) = (reader.next()?, reader.next()?);
            let flags = reader.next()?;
            if flags > ALL_FLAGS {
                return Err(Error::Rule("unknown flags of a table"));
            }
            let (mut base, mut scale) = (None, 1);
            if flags & HAS_BASE != 0 {
                base = Some(index(reader, "a base", 2 * MAX_BASES)?);
                scale = u8::try_from(reader.at_most("a scale", u8::MAX.into())?).unwrap_or(u8::MAX);
            }
            let is_wide = flags & WIDE != 0;
            let width = if is_wide { 8 } else { 4 };
            let end = count
                .checked_sub(1)
                .and_then(|before| before.checked_mul(stride)?.checked_add(start)?.checked_add(width));
            let next = start.saturating_add(stride.saturating_mul(count));
            within(end.ok_or(Error::Rule("a table without records"))?)?;
            if stride < width {
                return Err(Error::Rule("records are smaller than their field"));
            }
            let table = Strided {
                start: within(start)?,
                count: narrow("the number of records", count)?,
                // One record may have any stride.
                stride: narrow("the stride of a table", stride)?,
                is_wide,
                base,
                scale,
                is_column: flags & IS_COLUMN != 0,
            };
            (Rule::Strided(table), next)
        }
        SECTIONS => {
            let count = index(reader, "the number of sections", MAX_BASES)?;
            within(start.saturating_add(64 * u64::from(count)))?;
            (Rule::Sections { start: within(start)?, count }, start)
        }
        BTF => {
            let (range, end) = range(reader)?;
            let ids = index(reader, "a base", 2 * MAX_BASES)?;
            let names = index(reader, "a base", 2 * MAX_BASES)?;
            (Rule::Btf { range, ids, names }, end)
        }
        GO_FUNCTIONS => {
            let count = reader.next()?;
            let end = reader.difference(start)?;
            within(start.saturating_add(count.saturating_mul(8)))?;
            let is_old = reader.at_most("a flag", 1)? == 1;
            let bases = index(reader, "a base", 2 * MAX_BASES)?;
            let table = GoFunctions {
                start: within(start)?,
                count: narrow("the number of functions", count)?,
                end: within(end)?,
                is_old,
                bases,
            };
            (Rule::GoFunctions(table), end)
        }
        GO_TYPES => {
            let (range, end) = range(reader)?;
            let types = index(reader, "a base", 2 * MAX_BASES)?;
            (Rule::GoTypes { range, types }, end)
        }
        ICU => {
            let (range, end) = range(reader)?;
            let bases = index(reader, "a base", 2 * MAX_BASES)?;
            (Rule::Icu { range, bases }, end)
        }
        other => return Err(Error::UnknownRule(other)),
    })
}
