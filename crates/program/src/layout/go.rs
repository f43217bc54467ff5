//! Describes what a program in Go has for its runtime.

use object::elf::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS};

use super::Described;
use super::elf::Program;
use super::section::narrow;
use crate::form::{word32, word64};
use crate::rules::{GoFunctions, Rule, Strided};
use crate::space::Space;

/// The first bytes of a pclntab: of Go 1.18 and 1.19, and since.
const MAGIC_OLD: u32 = 0xffff_fff0;
const MAGIC: u32 = 0xffff_fff1;
const HEADER_SIZE: usize = 72;

/// The module's record, as words.
struct Module<'m> {
    program: &'m Program<'m>,
    space: Space<'m>,
    address: u64,
}

impl Module<'_> {
    /// Returns the word that lies at an address once the program is loaded.
    fn at(&self, address: u64) -> u64 {
        self.program.relocated.get(&address).copied().unwrap_or_else(|| {
            let position =
                self.space.place(address).filter(|place| (*place as usize) < self.program.bytes.len());
            position.map_or(0, |position| word64(self.program.bytes, position as usize))
        })
    }

    fn word(&self, index: u64) -> u64 {
        self.at(self.address.wrapping_add(8 * index))
    }
}

pub(super) fn describe(described: &mut Described, program: &Program<'_>) {
    let Some((header, end)) = find_header(program) else { return };
    let bytes = program.bytes;
    let segments = described.side.segments.clone();
    let space = Space(&segments);
    let address = |position: usize| space.address(u32::try_from(position).unwrap_or(u32::MAX));
    let own = address(header);
    let parts = [0, 1, 2, 3, 4].map(|index| own.wrapping_add(word64(bytes, header + 32 + 8 * index)));
    let [names, units, files, tables, functions] = parts;
    let count = word64(bytes, header + 8);
    let Some(start) = space.place(functions) else { return };
    if u64::from(start).saturating_add(8u64.saturating_mul(count)).saturating_add(4) > end as u64 {
        return;
    }
    let Some(module) = find_module(program, space, own, names) else { return };
    let is_old = word32(bytes, header) == MAGIC_OLD;
    let has_type_section = program.sections.iter().any(|section| section.name == ".go.type");
    let back = if is_old { 2 } else { 0 };
    let [data, types, types_end, constants] =
        if has_type_section { [43, 37, 39, 42] } else { [40 - back, 37 - back, 38 - back, 39 - back] }
            .map(|index| module.word(index));
    let code = match module.word(22) {
        0 => word64(bytes, header + 24),
        code => code,
    };
    // A rule names the first of seven bases that follow each other.
    let first = described.base("go functions", functions);
    let others = [
        ("code", code),
        ("names", names),
        ("tables", tables),
        ("units", units),
        ("data", data),
        ("constants", constants),
    ];
    for (name, address) in others {
        described.base(&format!("go {name}"), address);
    }
    let range = GoFunctions { start, count: narrow(count), end: narrow(end as u64), is_old, bases: first };
    described.rules.push(Rule::GoFunctions(range));
    let table = |start: usize, count: u64, stride: u32, base: u16, scale: u8| Strided {
        start: narrow(start as u64),
        count: narrow(count),
        stride,
        is_wide: false,
        base: Some(base),
        scale,
        is_column: false,
    };
    let base = described.base("go header", own);
    described.rules.push(Rule::Strided(Strided { is_wide: true, ..table(header + 32, 5, 8, base, 1) }));
    if let (Some(from), Some(to)) = (space.place(units), space.place(files))
        && from + 4 <= to
        && to as usize <= bytes.len()
    {
        let base = described.base("go files", files);
        described.rules.push(Rule::Strided(table(from as usize, u64::from((to - from) / 4), 4, base, 1)));
    }
    let within = |position: u32, size: u64| u64::from(position) + size <= bytes.len() as u64;
    let buckets = module.word(21).saturating_sub(module.word(20)).div_ceil(4096);
    if let Some(position) = space.place(module.word(19)).filter(|place| *place > 0)
        && buckets > 0
        && buckets < 1 << 20
        && within(position, 20 * buckets)
    {
        described.rules.push(Rule::Strided(table(position as usize, buckets, 20, first, 8)));
    }
    describe_types(described, &module, types, types_end, code);
}

fn describe_types(described: &mut Described, module: &Module<'_>, types: u64, types_end: u64, code: u64) {
    let (bytes, space) = (module.program.bytes, module.space);
    let (Some(start), Some(end)) = (space.place(types), space.place(types_end)) else { return };
    if types == 0 || start >= end || end as usize > bytes.len() {
        return;
    }
    let base = described.base("go types", types);
    if usize::from(described.base("go code of types", code)) != usize::from(base) + 1 {
        return;
    }
    described.rules.push(Rule::GoTypes { range: start..end, types: base });
    // Offsets of types: a slice somewhere after the map of sections.
    for index in 41..48 {
        let [count, capacity] = [1, 2].map(|more| module.word(index + more));
        let Some(position) = space.place(module.word(index)) else { continue };
        let is_slice = count == capacity && count > 64 && count < 1 << 24;
        if !is_slice || u64::from(position) + 4 * count > bytes.len() as u64 {
            continue;
        }
        let is_offset = |entry| word32(bytes, position as usize + 4 * entry) < end - start;
        if (0..usize::try_from(count).unwrap_or(0)).all(is_offset) {
            described.rules.push(Rule::Strided(Strided {
                start: position,
                count: narrow(count),
                stride: 4,
                is_wide: false,
                base: Some(base),
                scale: 1,
                is_column: false,
            }));
            break;
        }
    }
}

/// Returns the start of the pclntab, and the end of its section.
fn find_header(program: &Program<'_>) -> Option<(usize, usize)> {
    let bytes = program.bytes;
    let is_go = |name: &str| name.contains("gopclntab") || name == ".go.buildinfo";
    if !program.sections.iter().any(|section| is_go(&section.name)) {
        return None;
    }
    let named = program.sections.iter().filter(|section| section.name.contains("gopclntab"));
    let wanted = u64::from(SHF_ALLOC);
    let others = program.sections.iter().filter(|section| {
        section.kind == SHT_PROGBITS && section.flags & (wanted | u64::from(SHF_EXECINSTR)) == wanted
    });
    for section in named.chain(others) {
        let end = usize::try_from(section.start + section.size).ok()?.min(bytes.len());
        let start = usize::try_from(section.start.next_multiple_of(8)).ok()?;
        let is_header = |position: &usize| {
            let magic = word32(bytes, *position);
            (magic == MAGIC || magic == MAGIC_OLD)
                && bytes[position + 4] == 0
                && bytes[position + 5] == 0
                && bytes[position + 7] == 8
        };
        let positions = (start..(end + 1).saturating_sub(HEADER_SIZE)).step_by(8);
        if let Some(position) = positions.into_iter().find(is_header) {
            return Some((position, end));
        }
    }
    None
}

/// The record of the module starts with the addresses of the pclntab and of its names.
fn find_module<'m>(
    program: &'m Program<'m>,
    space: Space<'m>,
    header: u64,
    names: u64,
) -> Option<Module<'m>> {
    let module = |address| Module { program, space, address };
    let is_it = |address: &u64| module(*address).word(1) == names;
    let relocated = program.relocated.iter().filter(|(_, value)| **value == header).map(|(place, _)| *place);
    if let Some(address) = relocated.filter(is_it).min() {
        return Some(module(address));
    }
    let flags = u64::from(SHF_ALLOC | SHF_WRITE);
    for section in &program.sections {
        if section.kind != SHT_PROGBITS || section.flags & flags != flags {
            continue;
        }
        let start = section.start.next_multiple_of(8);
        let end = section.start + section.size;
        let positions = (start..end.saturating_sub(8)).step_by(8);
        let holds = |position: &u64| {
            usize::try_from(*position).is_ok_and(|position| word64(program.bytes, position) == header)
        };
        let addresses = positions.filter(holds).map(|position| space.address(narrow(position)));
        if let Some(address) = addresses.filter(is_it).min() {
            return Some(module(address));
        }
    }
    None
}
