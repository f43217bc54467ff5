//! Describes the symbols of a program, their hash table, and the addresses that its data hold.

use object::elf::{
    SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_DYNAMIC, SHT_DYNSYM, SHT_FINI_ARRAY, SHT_GNU_HASH,
    SHT_INIT_ARRAY, SHT_PROGBITS, SHT_SYMTAB,
};

use super::Described;
use super::section::{Section, UNLOADED, narrow};
use crate::form::{index, word32};
use crate::rules::{Rule, Strided};

/// Sizes in bytes, which depend on the machine.
pub(super) struct Widths {
    /// Of an address. The address of a symbol lies so many bytes behind its start.
    pub(super) address: u64,
    /// Of a symbol: 16 or 24.
    pub(super) symbol: u64,
}

impl Widths {
    const fn is_wide(&self) -> bool {
        self.address == 8
    }
}

/// Describes a section, if it has symbols or their hash table.
pub(super) fn describe(
    described: &mut Described,
    bytes: &[u8],
    section: &Section,
    all: &[Section],
    widths: &Widths,
) {
    let linked = all.get(section.link).map_or(UNLOADED, Section::base);
    match section.kind {
        SHT_SYMTAB | SHT_DYNSYM if section.size >= widths.symbol => {
            let name = if section.kind == SHT_SYMTAB { "names" } else { "dynamic names" };
            let base = Some(described.base(name, linked));
            let names = section.table(0, widths.symbol, false);
            described.rules.push(Rule::Strided(Strided { base, ..names }));
            let addresses = section.table(widths.address, widths.symbol, widths.is_wide());
            described.rules.push(Rule::Strided(addresses));
            let names = all.get(section.link).filter(|_| section.kind == SHT_DYNSYM);
            described.loaded_names.extend(names.map(Section::range));
        }
        SHT_GNU_HASH if section.size > 16 => {
            let start = index(section.start);
            let (count, words) = (word32(bytes, start), word32(bytes, start + 8));
            let offset = 16 + widths.address * u64::from(words);
            if count > 0 && offset + 4 * u64::from(count) <= section.size {
                let base = Some(described.base("dynamic symbols", linked));
                let table = section.table(offset, 4, false);
                let scale = u8::try_from(widths.symbol).unwrap_or(u8::MAX);
                described.rules.push(Rule::Strided(Strided { count, base, scale, ..table }));
            }
        }
        _ => {}
    }
}

/// The table of the addresses that a section holds, if it may hold some. Of a program that can be loaded anywhere,
/// constants hold none.
pub(super) fn pointers(section: &Section, is_fixed: bool, widths: &Widths) -> Option<Strided> {
    let holds_pointers = matches!(section.kind, SHT_PROGBITS | SHT_INIT_ARRAY | SHT_FINI_ARRAY | SHT_DYNAMIC)
        && section.is(section.kind, SHF_ALLOC, SHF_EXECINSTR)
        && !matches!(section.name.as_str(), ".eh_frame_hdr" | ".eh_frame" | ".gcc_except_table");
    let may_change = section.flags & u64::from(SHF_WRITE) != 0;
    let skipped = section.start.next_multiple_of(widths.address) - section.start;
    let count = section.size.checked_sub(skipped)? / widths.address;
    let table = section.table(skipped, widths.address, widths.is_wide());
    let table = Strided { count: narrow(count), ..table };
    (holds_pointers && (is_fixed || may_change) && count > 0).then_some(table)
}
