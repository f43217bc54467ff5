//! Describes an ELF32 file, for i386 and 32-bit ARM.
//!
//! The code of i386 is scanned as that of x86-64 is: calls and jumps are written alike.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{
    EM_386, EM_ARM, ET_DYN, ET_EXEC, FileHeader32, SHF_ALLOC, SHT_ARM_EXIDX, SHT_DYNSYM, SHT_REL,
};
use object::read::elf::FileHeader;

use super::elf::describe_segments;
use super::section::{Section, narrow, read_sections};
use super::symbols::Widths;
use super::{Described, symbols, unwinding};
use crate::branch::Set;
use crate::form::{index, word32};
use crate::normalise::Overlay;
use crate::rules::{Rule, Strided};
use crate::space::Space;

/// Bytes of a relocation.
const RELOCATION_SIZE: u64 = 8;
/// Bytes of an address and of a symbol.
const WIDTHS: Widths = Widths { address: 4, symbol: 16 };
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
        symbols::describe(&mut described, bytes, section, &sections, &WIDTHS);
        described.rules.extend(symbols::pointers(section, is_fixed, &WIDTHS).map(Rule::Strided));
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
            let place = narrow(symbols.start + u64::from(symbol) * WIDTHS.symbol);
            described.overlays.push(Overlay { position, width: 4, place });
        }
    }
}
