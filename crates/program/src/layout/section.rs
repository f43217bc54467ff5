//! The sections of an ELF file.

use object::LittleEndian;
use object::elf::{SHF_ALLOC, SHT_NOBITS};
use object::read::elf::{FileHeader, SectionHeader};

use crate::form::index;
use crate::rules::Strided;

/// The first address of what the loader does not load.
pub(super) const UNLOADED: u64 = 1 << 44;

/// All positions lie in files of less than 2^28 bytes.
pub(super) fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A section, with numbers that were checked against the file.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) link: usize,
    pub(super) info: usize,
}

impl Section {
    pub(super) fn is(&self, kind: u32, flags: u32, without: u32) -> bool {
        let (flags, without) = (u64::from(flags), u64::from(without));
        self.kind == kind && self.flags & flags == flags && self.flags & without == 0
    }

    /// The address that stands for its first byte: of what is not loaded, one that nothing else has.
    pub(super) fn base(&self) -> u64 {
        if self.flags & u64::from(SHF_ALLOC) != 0 { self.address } else { UNLOADED + self.start }
    }

    pub(super) fn range(&self) -> std::ops::Range<u32> {
        narrow(self.start)..narrow(self.start + self.size)
    }

    /// A table of one field of each record, from `offset` in the first on.
    pub(super) fn table(&self, offset: u64, stride: u64, is_wide: bool) -> Strided {
        Strided {
            start: narrow(self.start + offset),
            count: narrow(self.size / stride),
            stride: narrow(stride),
            is_wide,
            base: None,
            scale: 1,
            is_column: false,
        }
    }
}

/// Reads the headers of the sections. Those of which bytes would lie outside the file have none.
pub(super) fn read_sections<H: FileHeader<Endian = LittleEndian>>(
    header: &H,
    endian: LittleEndian,
    bytes: &[u8],
) -> Vec<Section> {
    let Ok(table) = header.sections(endian, bytes) else { return Vec::new() };
    let of = |section: &H::SectionHeader| {
        let name = table.section_name(endian, section).unwrap_or(b"");
        let kind = section.sh_type(endian);
        let (start, size): (u64, u64) = (section.sh_offset(endian).into(), section.sh_size(endian).into());
        let lies_within = start.checked_add(size).is_some_and(|end| end <= bytes.len() as u64);
        let (start, size) = if lies_within || kind == SHT_NOBITS { (start, size) } else { (0, 0) };
        Section {
            name: String::from_utf8_lossy(name).into_owned(),
            kind,
            flags: section.sh_flags(endian).into(),
            address: section.sh_addr(endian).into(),
            start,
            size,
            link: index(section.sh_link(endian).into()),
            info: index(section.sh_info(endian).into()),
        }
    };
    table.iter().map(of).collect()
}
