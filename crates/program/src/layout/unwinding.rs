//! Describes what tells how the stack is unwound: `.eh_frame`, its header, and the data of the language.

use object::elf::SHT_NOBITS;

use super::Described;
use super::section::{Section, narrow};
use crate::form::{index, word32};
use crate::frame_table::{FrameTable, HEADER_SIZE};
use crate::rules::{Rule, Strided};

/// Describes a section, if it is one of these.
pub(super) fn describe(described: &mut Described, bytes: &[u8], section: &Section, all: &[Section]) {
    match section.name.as_str() {
        ".eh_frame_hdr" => {
            let start = index(section.start);
            if bytes.get(start..start + 4) != Some(&[1, 0x1b, 3, 0x3b]) || section.size < 20 {
                return;
            }
            let base = Some(described.base("unwind header", section.address));
            let count = narrow((section.size - 12) / 8).min(word32(bytes, start + 8));
            for (offset, is_column) in [(12, false), (16, true)] {
                let table = section.table(offset, 8, false);
                described.rules.push(Rule::Strided(Strided { count, base, is_column, ..table }));
            }
            let records = all.iter().find(|other| other.name == ".eh_frame" && other.kind != SHT_NOBITS);
            described.frame_table = records.map(|records| FrameTable {
                start: narrow(section.start + u64::from(HEADER_SIZE)),
                count,
                records: records.range(),
            });
            // Where the records start, relative to the field.
            let base = Some(described.base("unwind records", section.address + 4));
            let table = section.table(4, 8, false);
            described.rules.push(Rule::Strided(Strided { count: 1, base, ..table }));
        }
        ".eh_frame" if section.size > 0 && section.kind != SHT_NOBITS => {
            described.rules.push(Rule::EhFrame(section.range()));
        }
        ".gcc_except_table" if section.kind != SHT_NOBITS => described.call_sites = section.range(),
        _ => {}
    }
}
