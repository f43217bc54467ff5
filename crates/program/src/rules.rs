//! The rules: the writer's description of both files, by which the applier finds and predicts addresses.

use std::ops::Range;

use crate::computed::Computed;
use crate::operands::{Code, Machine};
use crate::space::{Segment, Space};
use crate::{FrameTable, HashTable};

/// Fields of the old file, by where they lie. Positions and sizes are bytes of the old file, bases are indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Code: calls, jumps and operands relative to the next instruction.
    X86_64(Range<u32>),
    /// Code: branches, conditional ones too, and ADRP with the instruction that adds the low bits.
    Aarch64(Range<u32>),
    /// Code of 32-bit ARM in Thumb: branches, and constants relative to the instructions that use them.
    Thumb(Range<u32>),
    /// Code of 32-bit ARM in words: branches.
    Arm(Range<u32>),
    /// The records of `.ARM.exidx`.
    ArmUnwinding(Range<u32>),
    /// Tables of 32-bit distances to code, where code of the rules before loads the address of.
    JumpTables(Range<u32>),
    /// One field of each record of a table.
    Strided(Strided),
    /// The records of `.eh_frame`.
    EhFrame(Range<u32>),
    /// The relocations and symbols of a relocatable ELF64 file, found by its section headers. The offsets of the
    /// sections are bases after those that are given.
    Sections {
        /// The position of the first section header.
        start: u32,
        /// The number of section headers.
        count: u16,
    },
    /// Types in BTF.
    Btf {
        /// The whole section.
        range: Range<u32>,
        /// The base of type ids.
        ids: u16,
        /// The base of offsets of names.
        names: u16,
    },
    /// The function table of Go's pclntab and the records that it leads to.
    GoFunctions(GoFunctions),
    /// Type descriptors of Go.
    GoTypes {
        /// From the first to the end of the last.
        range: Range<u32>,
        /// The base of offsets of types and names; that of methods comes after it.
        types: u16,
    },
    /// The resource bundles of ICU's data.
    Icu {
        /// From the header of the data to its end.
        range: Range<u32>,
        /// The base of offsets in the table of items. After it come two for each pool of keys and strings, in their
        /// order.
        bases: u16,
    },
}

impl Rule {
    /// The range of code whose operands stand apart where it is new.
    pub(crate) fn split_code(&self) -> Option<Range<u32>> {
        match self {
            Self::X86_64(range) | Self::Aarch64(range) => Some(range.clone()),
            _ => None,
        }
    }

    /// The name of its kind, as `tar-patch inspect` shows it.
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::X86_64(_) => "x86-64 code",
            Self::Aarch64(_) => "aarch64 code",
            Self::Thumb(_) => "thumb code",
            Self::Arm(_) => "arm code",
            Self::ArmUnwinding(_) => "exidx",
            Self::JumpTables(_) => "jump tables",
            Self::Strided(_) => "tables",
            Self::EhFrame(_) => "eh_frame",
            Self::Sections { .. } => "sections",
            Self::Btf { .. } => "btf",
            Self::GoFunctions(_) => "go functions",
            Self::GoTypes { .. } => "go types",
            Self::Icu { .. } => "icu",
        }
    }
}

/// One field of each record of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strided {
    /// The position of the field in the first record.
    pub start: u32,
    /// The number of records.
    pub count: u32,
    /// Bytes from one record to the next.
    pub stride: u32,
    /// True if the field has 8 bytes, not 4.
    pub is_wide: bool,
    /// The base that the field counts from; `None` if it holds the address itself.
    pub base: Option<u16>,
    /// The units in which it counts.
    pub scale: u8,
    /// True if the values of all records ascend: they tell nothing about which records are alike.
    pub is_column: bool,
}

/// The function table of a pclntab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoFunctions {
    /// The position of its first byte.
    pub start: u32,
    /// The number of functions.
    pub count: u32,
    /// The end of the pclntab.
    pub end: u32,
    /// True for the records of Go 1.18 and 1.19.
    pub is_old: bool,
    /// The first of seven bases: the table itself, code, function names, tables of program counters, compilation units,
    /// data of functions, read-only data.
    pub bases: u16,
}

/// The layout of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// Its addresses.
    pub segments: Vec<Segment>,
    /// The addresses that fields count from.
    pub bases: Vec<u64>,
}

/// The rules of a pair of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The old file.
    pub old: Side,
    /// The new file. A base that is [`Rules::MAPPED`] is where the map has the old one.
    pub new: Side,
    /// The fields of the old file. Where two rules find one, the first counts.
    pub rules: Vec<Rule>,
    /// Ranges of the new file that are code: at most [`MAX_CODE`](crate::MAX_CODE). It is for aarch64 if a rule is for
    /// that, and else for x86-64.
    pub new_code: Vec<Range<u32>>,
    /// The table of frames of the new file that is computed.
    pub frame_table: Option<FrameTable>,
    /// The hash table of the new file that is computed. What it is computed from has no byte in common with what the
    /// table of frames is computed from, nor have the tables.
    pub hash_table: Option<HashTable>,
    /// The range of the new file that has tables of call sites, `.gcc_except_table`. It may be empty.
    pub call_sites: Range<u32>,
    /// Bytes of the new ones once they are unpacked, if they are packed with the rest of the old file.
    pub packed: Option<u32>,
}

impl Rules {
    /// A new base that is found through the map.
    pub const MAPPED: u64 = u64::MAX;

    /// The new code.
    pub(crate) fn code(&self) -> Code<'_> {
        Code { machine: self.machine(), ranges: &self.new_code, space: Space(&self.new.segments) }
    }

    /// The tables of the new file that are computed.
    pub(crate) fn computed(&self) -> Vec<Computed> {
        let hash = self.hash_table.clone().map(Computed::Hash);
        hash.into_iter().chain(self.frame_table.clone().map(Computed::Frames)).collect()
    }

    /// The processor that the new code is for.
    pub(crate) fn machine(&self) -> Machine {
        let is_aarch64 = self.rules.iter().any(|rule| matches!(rule, Rule::Aarch64(_)));
        if is_aarch64 { Machine::Aarch64 } else { Machine::X86_64 }
    }
}
