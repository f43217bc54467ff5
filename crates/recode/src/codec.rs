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
}

/// Bytes that [`is_compressed`] looks at.
pub const HEAD_SIZE: usize = 6;

impl Codec {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Deflate, Self::Xz, Self::Zstd, Self::Bzip2];

    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Deflate => 0,
            Self::Xz => 1,
            Self::Zstd => 2,
            Self::Bzip2 => 3,
        }
    }

    /// The codec of a number on the wire.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.code() == code)
    }

    /// The usual name: `deflate`, `xz`, `zstd` or `bzip2`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deflate => "deflate",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
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
}

impl Container {
    /// Told from the first bytes, never from a name.
    pub(crate) fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            // Then the magic of a block, or of the end of an empty stream.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Some(Self::Bzip2),
            _ => None,
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
            assert_eq!(codec.map(Codec::code), (code < 4).then_some(code));
        }
    }
}
