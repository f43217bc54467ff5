//! The compressions, and how a file that holds one begins.

/// A compression: how plain bytes are coded, without the file format around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Raw deflate (RFC 1951), as in gzip members and zip archives.
    Deflate,
    /// An xz stream with its header, index and footer.
    Xz,
    /// A zstd frame (RFC 8878).
    Zstd,
    /// A bzip2 stream.
    Bzip2,
    /// A zstd frame, of which only the entropy coder is undone: its literals and sequences lie as they are.
    ZstdBlocks,
    /// The zstd frames of zstd:chunked, with the skippable ones behind them up to the footer.
    ZstdChunked,
}

/// Bytes that [`is_compressed`] looks at.
pub const HEAD_SIZE: usize = KERNEL_PAYLOAD_OFFSET + 8;

/// The offsets in the header of an image of an x86 kernel: of its magic, of the number of its first sectors less one,
/// and of the offset and the size of its payload (Documentation/arch/x86/boot.rst).
const KERNEL_MAGIC_OFFSET: usize = 0x202;
const KERNEL_SECTORS_OFFSET: usize = 0x1f1;
const KERNEL_PAYLOAD_OFFSET: usize = 0x248;
const SECTOR_SIZE: usize = 512;

impl Codec {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] =
        [Self::Deflate, Self::Xz, Self::Zstd, Self::Bzip2, Self::ZstdBlocks, Self::ZstdChunked];

    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Deflate => 0,
            Self::Xz => 1,
            Self::Zstd => 2,
            Self::Bzip2 => 3,
            Self::ZstdBlocks => 4,
            Self::ZstdChunked => 5,
        }
    }

    /// The codec of a number on the wire.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.code() == code)
    }

    /// The usual name: `deflate`, `xz`, `zstd`, `bzip2`, `zstd-blocks` or `zstd-chunked`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deflate => "deflate",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::ZstdBlocks => "zstd-blocks",
            Self::ZstdChunked => "zstd-chunked",
        }
    }
}

/// A kind of file that [`find`](crate::find) looks into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Gzip,
    Zip,
    Xz,
    Zstd,
    Bzip2,
    /// The image of a kernel, with the payload that it unpacks when it starts.
    Kernel,
}

/// Returns where the payload of an image of a kernel lies, by its first [`HEAD_SIZE`] bytes: one for x86, or
/// one of those that firmware unpacks (`zimg`).
pub(crate) fn kernel_payload(head: &[u8]) -> Option<std::ops::Range<usize>> {
    let word = |at: usize| {
        let bytes = head.get(at..at + 4)?.first_chunk().copied()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let (start, size) = if head.get(KERNEL_MAGIC_OFFSET..)?.starts_with(b"HdrS") {
        let sectors = usize::from(*head.get(KERNEL_SECTORS_OFFSET)?) + 1;
        (sectors * SECTOR_SIZE + word(KERNEL_PAYLOAD_OFFSET)?, word(KERNEL_PAYLOAD_OFFSET + 4)?)
    } else if head.starts_with(b"MZ") && head[4..].starts_with(b"zimg") {
        (word(8)?, word(12)?)
    } else {
        return None;
    };
    Some(start..start.checked_add(size)?)
}

impl Container {
    /// Bytes that tell all kinds but a kernel.
    pub(crate) const START_SIZE: usize = 8;

    /// Told from the first bytes, never from a name.
    pub(crate) fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            // Then the magic of a block, or of the end of an empty stream.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Some(Self::Bzip2),
            _ => kernel_payload(head).map(|_| Self::Kernel),
        }
    }
}

/// Tells whether [`find`](crate::find) could find something in a file that begins with `head`, of which
/// the first [`HEAD_SIZE`] bytes are looked at.
pub fn is_compressed(head: &[u8]) -> bool {
    Container::detect(head).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_own_inverse() {
        for code in 0..=u8::MAX {
            let codec = Codec::from_code(code);
            assert_eq!(codec.map(Codec::code), (code < 6).then_some(code));
        }
    }
}
