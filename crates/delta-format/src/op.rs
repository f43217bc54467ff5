//! The operations of a delta and its versions.

use crate::wire::{MAGIC_SIZE, MAGIC_V1, MAGIC_V2, MAGIC_V3};
use crate::{Reencoding, SourcePath, View};

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// tardf1: what every applier in the field reads.
    #[default]
    V1,
    /// tardf2: tardf1 and [`Op::ZstdDict`].
    V2,
    /// tardf3: tardf2, [`Op::OpenView`], [`Op::Reencode`], [`Op::Relocated`], [`Op::Headers`] and [`Op::Entries`].
    V3,
}

impl Version {
    /// The eight bytes that a delta of this version starts with.
    pub const fn magic(self) -> [u8; MAGIC_SIZE] {
        match self {
            Self::V1 => MAGIC_V1,
            Self::V2 => MAGIC_V2,
            Self::V3 => MAGIC_V3,
        }
    }

    /// The version that a magic announces.
    pub fn from_magic(magic: [u8; MAGIC_SIZE]) -> Option<Self> {
        [Self::V1, Self::V2, Self::V3].into_iter().find(|version| version.magic() == magic)
    }

    /// The name of the version: `tardf1`, `tardf2` or `tardf3`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "tardf1",
            Self::V2 => "tardf2",
            Self::V3 => "tardf3",
        }
    }
}

/// One operation, without its payload. All sizes and offsets are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Emits `size` payload bytes.
    Data {
        /// Bytes of payload and of output.
        size: u64,
    },
    /// Makes the named file of the old tree the source, at position 0.
    Open(SourcePath),
    /// Emits `size` bytes of the source and advances.
    Copy {
        /// Bytes of output.
        size: u64,
    },
    /// Emits `payload[i] + source[i]` (wrapping) and advances.
    AddData {
        /// Bytes of payload and of output.
        size: u64,
    },
    /// Sets the position in the source.
    Seek {
        /// Offset from the start of the source.
        offset: u64,
    },
    /// Emits what the payload, a zstd frame, decodes to with the whole source as its prefix.
    ZstdDict {
        /// Bytes of payload.
        size: u64,
    },
    /// Makes the named file the source, with compressed streams of it decoded, at position 0.
    OpenView {
        /// The file.
        path: SourcePath,
        /// The streams.
        view: View,
    },
    /// Says which stretches of what the ops from here on emit are encoded.
    Reencode(Vec<Reencoding>),
    /// Emits what the payload makes of the whole source, with what moved in it predicted.
    Relocated {
        /// Bytes of payload.
        size: u64,
    },
    /// Gives the list of headers that `Entries` ops emit.
    Headers {
        /// Bytes of payload.
        size: u64,
    },
    /// Emits the padding of the entry before and the next entries of the list.
    Entries {
        /// The number of entries.
        count: u64,
    },
}

impl Op {
    /// Bytes of payload that follow the op and that [`OpReader::payload`](crate::OpReader::payload) gives.
    pub const fn payload_size(&self) -> u64 {
        match *self {
            Self::Data { size }
            | Self::AddData { size }
            | Self::ZstdDict { size }
            | Self::Relocated { size }
            | Self::Headers { size } => size,
            Self::Open(_)
            | Self::Copy { .. }
            | Self::Seek { .. }
            | Self::Entries { .. }
            | Self::OpenView { .. }
            | Self::Reencode(_) => 0,
        }
    }

    /// The name of the op, as FORMAT.md has it: `data`, `open`, …
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Data { .. } => "data",
            Self::Open(_) => "open",
            Self::Copy { .. } => "copy",
            Self::AddData { .. } => "add_data",
            Self::Seek { .. } => "seek",
            Self::ZstdDict { .. } => "zstd_dict",
            Self::OpenView { .. } => "open_view",
            Self::Reencode(_) => "reencode",
            Self::Relocated { .. } => "relocated",
            Self::Headers { .. } => "headers",
            Self::Entries { .. } => "entries",
        }
    }
}
