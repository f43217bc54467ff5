//! Describes an ELF64 file.

use std::collections::HashMap;
use std::ops::Range;

use object::LittleEndian;
use object::elf::{
    EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, ET_REL, FileHeader64, PF_X, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR,
    SHF_WRITE, SHT_DYNSYM, SHT_GNU_HASH, SHT_NOBITS, SHT_PROGBITS, SHT_RELA,
};
use object::read::elf::{FileHeader, ProgramHeader};

use super::section::{Section, UNLOADED, narrow, read_sections};
use super::symbols::Widths;
use super::{Described, go, icu, symbols, unwinding};
use crate::form::{index, word, word32, word64};
use crate::hash_table::HashTable;
use crate::normalise::Overlay;
use crate::rules::{Rule, Strided};
use crate::space::{Segment, Space};

/// The first places that stand for something without bytes in the file: variables that start as zero, ids of types, and
/// names of types.
const PLACE_OF_ZEROS: u32 = 1 << 30;
const PLACE_OF_IDS: u32 = 1 << 28;
const PLACE_OF_NAMES: u32 = 1 << 29;
/// The addresses of ids and names, of which there are at most so many.
const IDS: u64 = 1 << 45;
const NAMES: u64 = 1 << 46;
const MAX_NAMES: u32 = 1 << 28;
/// Bytes of a relocation and of a symbol.
const RECORD_SIZE: u64 = 24;
/// Bytes of an address and of a symbol.
const WIDTHS: Widths = Widths { address: 8, symbol: RECORD_SIZE };
/// Relocations of both machines that put an address of the program into it.
const RELATIVE: [u32; 2] = [8, 1027];

/// A file, taken apart.
pub(super) struct Program<'p> {
    pub(super) bytes: &'p [u8],
    pub(super) sections: Vec<Section>,
    pub(super) is_fixed: bool,
    /// The addresses that relocations write: each by the address that it is written to.
    pub(super) relocated: HashMap<u64, u64>,
}

/// Describes a file; `None` if it is no ELF64 file of a machine that is known.
pub(super) fn describe(bytes: &[u8]) -> Option<Described> {
    let header = FileHeader64::<LittleEndian>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let machine = header.e_machine(endian);
    let kind = header.e_type(endian);
    let sections = read_sections(header, endian, bytes);
    let mut described = Described::default();
    match kind {
        ET_REL => {
            let count = u16::try_from(sections.len()).ok().filter(|count| *count < 4000)?;
            describe_object(&mut described, bytes, &sections, narrow(header.e_shoff(endian)), count);
            Some(described)
        }
        ET_DYN | ET_EXEC if machine == EM_X86_64 || machine == EM_AARCH64 => {
            let code = describe_segments(&mut described, header, bytes, &sections)?;
            let mut program =
                Program { bytes, sections, is_fixed: kind == ET_EXEC, relocated: HashMap::new() };
            describe_program(&mut described, &mut program, machine == EM_X86_64, code);
            Some(described)
        }
        _ => None,
    }
}

/// Describes where the addresses of a program lie, and returns its code. `None` if a segment does not lie in the file.
pub(super) fn describe_segments<H: FileHeader<Endian = LittleEndian>>(
    described: &mut Described,
    header: &H,
    bytes: &[u8],
    sections: &[Section],
) -> Option<Vec<Range<u32>>> {
    let endian = header.endian().ok()?;
    let headers = header.program_headers(endian, bytes).ok()?;
    let mut code = Vec::new();
    let mut zeros = PLACE_OF_ZEROS;
    let segments = &mut described.side.segments;
    for header in headers.iter().filter(|header| header.p_type(endian) == PT_LOAD) {
        let (start, in_file) = header.file_range(endian);
        if start.checked_add(in_file)? > bytes.len() as u64 {
            return None;
        }
        let address: u64 = header.p_vaddr(endian).into();
        segments.push(Segment { address, size: narrow(in_file), place: narrow(start) });
        let more = header.p_memsz(endian).into().saturating_sub(in_file).min(1 << 30);
        if more > 0 && zeros < PLACE_OF_ZEROS + (1 << 31) {
            let address = address.wrapping_add(in_file);
            segments.push(Segment { address, size: narrow(more), place: zeros });
            zeros += 1 << 30;
        }
        if header.p_flags(endian) & PF_X != 0 {
            code.push(narrow(start)..narrow(start + in_file));
        }
    }
    segments.push(Segment { address: UNLOADED, size: narrow(bytes.len() as u64), place: 0 });
    let of_sections: Vec<_> = sections
        .iter()
        .filter(|section| section.is(SHT_PROGBITS, SHF_EXECINSTR, 0) && section.size > 0)
        .map(Section::range)
        .collect();
    Some(if of_sections.is_empty() { code } else { of_sections })
}

/// Describes an object file, as modules of the kernel are.
fn describe_object(described: &mut Described, bytes: &[u8], sections: &[Section], start: u32, count: u16) {
    let segment = |address, size, place| Segment { address, size, place };
    described.side.segments = vec![
        segment(0, 1 << 28, 0),
        segment(IDS, MAX_NAMES, PLACE_OF_IDS),
        segment(NAMES, MAX_NAMES, PLACE_OF_NAMES),
    ];
    if let Some(btf) = sections.iter().find(|section| section.name == ".BTF" && section.size > 24) {
        let (ids, names) = (described.base("ids", IDS), described.base("names", NAMES));
        described.rules.push(Rule::Btf { range: btf.range(), ids, names });
    }
    described.rules.push(Rule::Sections { start, count });
    // The rule reads the bases; their names tell which are the same.
    let mut names: Vec<String> = Vec::with_capacity(sections.len());
    for (index, section) in sections.iter().enumerate() {
        let is_taken = names.contains(&section.name);
        names.push(if is_taken { format!("{} {index}", section.name) } else { section.name.clone() });
    }
    described.names.extend(names);
    for section in sections.iter().filter(|section| section.kind == SHT_RELA) {
        let (Some(symbols), Some(target)) = (sections.get(section.link), sections.get(section.info)) else {
            continue;
        };
        if target.flags & u64::from(SHF_EXECINSTR) != 0 {
            continue;
        }
        for record in 0..section.size / RECORD_SIZE {
            let at = index(section.start + record * RECORD_SIZE);
            let symbol = u64::from(word32(bytes, at + 12));
            if symbol >= symbols.size / RECORD_SIZE {
                continue;
            }
            let symbol = index(symbols.start + symbol * RECORD_SIZE);
            let section = usize::try_from(word(bytes, symbol + 6, 2)).unwrap_or(0);
            let Some(of) = sections.get(section).filter(|of| !matches!(of.kind, 0 | SHT_NOBITS)) else {
                continue;
            };
            let offset = word64(bytes, symbol + 8).wrapping_add(word64(bytes, at + 16));
            described.overlays.push(Overlay {
                position: narrow(target.start.wrapping_add(word64(bytes, at))),
                width: if word32(bytes, at + 8) == 1 { 8 } else { 4 },
                place: narrow(of.start.wrapping_add(offset)),
            });
        }
    }
}

fn describe_program(
    described: &mut Described,
    program: &mut Program<'_>,
    is_x86: bool,
    code: Vec<Range<u32>>,
) {
    let sections = std::mem::take(&mut program.sections);
    for range in code {
        described.rules.push(if is_x86 { Rule::X86_64(range) } else { Rule::Aarch64(range) });
    }
    for section in &sections {
        let data_flags = u64::from(SHF_ALLOC | SHF_EXECINSTR | SHF_WRITE);
        let is_constant = section.kind == SHT_PROGBITS && section.flags & data_flags == u64::from(SHF_ALLOC);
        let holds_jumps = section.name.starts_with(".rodata") || section.name == ".data.rel.ro";
        if is_x86 && is_constant && holds_jumps {
            described.rules.push(Rule::JumpTables(section.range()));
        }
    }
    let procedures = sections.iter().find(|section| section.name == ".plt");
    let relocations = sections.iter().find(|section| section.name == ".rela.plt");
    if let (true, Some(procedures), Some(relocations)) = (is_x86, procedures, relocations) {
        describe_procedures(described, program.bytes, procedures, relocations);
    }
    for section in sections.iter().filter(|section| section.is(SHT_RELA, SHF_ALLOC, 0)) {
        let symbols = sections.get(section.link).filter(|symbols| symbols.kind == SHT_DYNSYM);
        describe_relocations(described, program, section, symbols);
    }
    for section in &sections {
        describe_section(described, program, section, &sections);
    }
    // The program's entry.
    let entry =
        Strided { start: 24, count: 1, stride: 8, is_wide: true, base: None, scale: 1, is_column: false };
    described.rules.push(Rule::Strided(entry));
    program.sections = sections;
    go::describe(described, program);
    icu::describe_within(described, program.bytes);
}

/// Each entry of the procedure table pushes the number of its relocation.
fn describe_procedures(described: &mut Described, bytes: &[u8], section: &Section, relocations: &Section) {
    let second = index(section.start + 16);
    let offset = match (bytes.get(second + 6), bytes.get(second + 4)) {
        (Some(0x68), _) => 7,
        (_, Some(0x68)) => 5,
        _ => return,
    };
    let count = narrow((section.size / 16).saturating_sub(1));
    if count > 0 && relocations.size > 0 {
        let base = Some(described.base("procedures", relocations.base()));
        let table = section.table(16 + offset, 16, false);
        described.rules.push(Rule::Strided(Strided { count, base, scale: 24, ..table }));
    }
}

fn describe_relocations(
    described: &mut Described,
    program: &mut Program<'_>,
    section: &Section,
    symbols: Option<&Section>,
) {
    let bytes = program.bytes;
    if section.size < RECORD_SIZE {
        return;
    }
    let place = section.table(0, RECORD_SIZE, true);
    described.rules.push(Rule::Strided(Strided { is_column: true, ..place }));
    if let Some(symbols) = symbols {
        let base = Some(described.base("dynamic symbols", symbols.base()));
        let table = section.table(12, RECORD_SIZE, false);
        described.rules.push(Rule::Strided(Strided { base, scale: 24, ..table }));
    }
    described.rules.push(Rule::Strided(section.table(16, RECORD_SIZE, true)));
    let segments = described.side.segments.clone();
    let space = Space(&segments);
    for record in 0..section.size / RECORD_SIZE {
        let at = index(section.start + record * RECORD_SIZE);
        let [place, _, addend] = [0, 8, 16].map(|offset| word64(bytes, at + offset));
        let (kind, symbol) = (word32(bytes, at + 8), word32(bytes, at + 12));
        if RELATIVE.contains(&kind) {
            program.relocated.insert(place, addend);
        }
        let target = match symbols {
            Some(symbols) if symbol != 0 => Some(narrow(symbols.start + u64::from(symbol) * RECORD_SIZE)),
            _ => space.place(addend),
        };
        let position = space.place(place).filter(|position| (*position as usize) < bytes.len());
        if let (Some(position), Some(place)) = (position, target) {
            described.overlays.push(Overlay { position, width: 8, place });
        }
    }
}

fn describe_section(described: &mut Described, program: &Program<'_>, section: &Section, all: &[Section]) {
    let bytes = program.bytes;
    unwinding::describe(described, bytes, section, all);
    if section.name != ".gopclntab" {
        described.rules.extend(symbols::pointers(section, program.is_fixed, &WIDTHS).map(Rule::Strided));
    }
    if section.kind == SHT_GNU_HASH && section.size > 16 {
        let symbols = all.get(section.link).filter(|symbols| symbols.kind == SHT_DYNSYM);
        let names =
            symbols.and_then(|symbols| all.get(symbols.link)).filter(|names| names.kind != SHT_NOBITS);
        if let (Some(symbols), Some(names)) = (symbols, names) {
            let (section, symbols, names) = (section.range(), symbols.range(), names.range());
            described.hash_table = Some(HashTable { section, symbols, names });
        }
    }
    symbols::describe(described, bytes, section, all, &WIDTHS);
}
