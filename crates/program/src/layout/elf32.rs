//! Describes an ELF32 file, for i386 and 32-bit ARM.
//!
//! The code of i386 is scanned as that of x86-64 is: calls and jumps are written alike.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{
    EM_386, EM_ARM, ET_DYN, ET_EXEC, FileHeader32, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_ARM_EXIDX,
    SHT_DYNAMIC, SHT_DYNSYM, SHT_FINI_ARRAY, SHT_GNU_HASH, SHT_INIT_ARRAY, SHT_PROGBITS, SHT_REL, SHT_SYMTAB,
};
use object::read::elf::FileHeader;

use super::elf::describe_segments;
use super::section::{Section, UNLOADED, narrow, read_sections};
use super::{Described, unwinding};
use crate::branch::Set;
use crate::form::{index, word32};
use crate::normalise::Overlay;
use crate::rules::{Rule, Strided};
use crate::space::Space;

/// Bytes of a relocation, of a symbol, and of an address.
const RELOCATION_SIZE: u64 = 8;
const SYMBOL_SIZE: u64 = 16;
const ADDRESS_SIZE: u64 = 4;
/// The position of the address at which a program starts.
const ENTRY: u32 = 24;

/// Describes a file; `None` if it is no ELF32 program of a machine that is known.
pub(super) fn describe(bytes: &[u8]) -> Option<Described> {
    let header = FileHeader32::<LittleEndian>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let is_program = matches!(header.e_type(endian), ET_DYN | ET_EXEC);
    let code_of = match header.e_machine(endian) {
        EM_386 => |_: &[u8], range| Rule::X86_64(range),
        EM_ARM => code_of_arm,
        _ => return None,
    };
    if !is_program {
        return None;
    }
    let sections = read_sections(header, endian, bytes);
    let mut described = Described::default();
    let code = describe_segments(&mut described, header, bytes, &sections)?;
    described.rules.extend(code.into_iter().map(|range| code_of(bytes, range)));
    for section in sections.iter().filter(|section| section.is(SHT_REL, SHF_ALLOC, 0)) {
        describe_relocations(&mut described, bytes, section, &sections);
    }
    let is_fixed = header.e_type(endian) == ET_EXEC;
    for section in &sections {
        unwinding::describe(&mut described, bytes, section, &sections);
        describe_symbols(&mut described, bytes, section, &sections);
        described.rules.extend(pointers(section, is_fixed).map(Rule::Strided));
        if section.kind == SHT_ARM_EXIDX && section.size > 0 {
            described.rules.push(Rule::ArmUnwinding(section.range()));
        }
    }
    let entry =
        Strided { start: ENTRY, count: 1, stride: 4, is_wide: false, base: None, scale: 1, is_column: false };
    described.rules.push(Rule::Strided(entry));
    Some(described)
}

/// The rule of a section with code for 32-bit ARM, in the set in which more calls lead into the section.
fn code_of_arm(bytes: &[u8], range: Range<u32>) -> Rule {
    let code = bytes.get(range.start as usize..range.end as usize).unwrap_or(&[]);
    let is_within = |target: u64| target < code.len() as u64;
    let calls = |set: Set, step: usize| {
        let positions = (0..code.len().saturating_sub(3)).step_by(step);
        let calls = positions.map(|at| (at as u64, word32(code, at))).filter(|(_, word)| set.is_call(*word));
        calls.filter(|(at, word)| set.target(*word, *at).is_some_and(is_within)).count()
    };
    if calls(Set::Thumb, 2) > calls(Set::Arm, 4) { Rule::Thumb(range) } else { Rule::Arm(range) }
}

/// The relocations of one section. What they add stands in the place that they change.
fn describe_relocations(described: &mut Described, bytes: &[u8], section: &Section, all: &[Section]) {
    // Most relocations have nothing but their place to tell them from others.
    described.rules.push(Rule::Strided(section.table(0, RELOCATION_SIZE, false)));
    let symbols = all.get(section.link).filter(|symbols| symbols.kind == SHT_DYNSYM);
    let space = Space(&described.side.segments);
    for record in 0..section.size / RELOCATION_SIZE {
        let at = index(section.start + record * RELOCATION_SIZE);
        let (place, symbol) = (space.place(word32(bytes, at).into()), word32(bytes, at + 4) >> 8);
        let position = place.filter(|position| (*position as usize) < bytes.len());
        if let (Some(position), Some(symbols), 1..) = (position, symbols, symbol) {
            let place = narrow(symbols.start + u64::from(symbol) * SYMBOL_SIZE);
            described.overlays.push(Overlay { position, width: 4, place });
        }
    }
}

/// The fields of symbols and of their hash table.
fn describe_symbols(described: &mut Described, bytes: &[u8], section: &Section, all: &[Section]) {
    let linked = all.get(section.link).map_or(UNLOADED, Section::base);
    match section.kind {
        SHT_SYMTAB | SHT_DYNSYM if section.size >= SYMBOL_SIZE => {
            let name = if section.kind == SHT_SYMTAB { "names" } else { "dynamic names" };
            let base = Some(described.base(name, linked));
            let names = section.table(0, SYMBOL_SIZE, false);
            described.rules.push(Rule::Strided(Strided { base, ..names }));
            described.rules.push(Rule::Strided(section.table(4, SYMBOL_SIZE, false)));
            let names = all.get(section.link).filter(|_| section.kind == SHT_DYNSYM);
            described.loaded_names.extend(names.map(Section::range));
        }
        SHT_GNU_HASH if section.size > 16 => {
            let start = index(section.start);
            let (count, words) = (word32(bytes, start), word32(bytes, start + 8));
            let offset = 16 + 4 * u64::from(words);
            if count > 0 && offset + 4 * u64::from(count) <= section.size {
                let base = Some(described.base("dynamic symbols", linked));
                let table = section.table(offset, 4, false);
                described.rules.push(Rule::Strided(Strided { count, base, scale: 16, ..table }));
            }
        }
        _ => {}
    }
}

/// The table of the addresses that a section holds, if it may hold some. Of a program that can be loaded anywhere,
/// constants hold none.
fn pointers(section: &Section, is_fixed: bool) -> Option<Strided> {
    let holds_pointers = matches!(section.kind, SHT_PROGBITS | SHT_INIT_ARRAY | SHT_FINI_ARRAY | SHT_DYNAMIC)
        && section.is(section.kind, SHF_ALLOC, SHF_EXECINSTR)
        && !matches!(section.name.as_str(), ".eh_frame_hdr" | ".eh_frame" | ".gcc_except_table");
    let may_change = section.flags & u64::from(SHF_WRITE) != 0;
    let skipped = section.start.next_multiple_of(ADDRESS_SIZE) - section.start;
    let count = section.size.checked_sub(skipped)? / ADDRESS_SIZE;
    let table = Strided { count: narrow(count), ..section.table(skipped, ADDRESS_SIZE, false) };
    (holds_pointers && (is_fixed || may_change) && count > 0).then_some(table)
}
