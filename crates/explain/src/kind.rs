//! The kind of a file's content, told from its first bytes.

use std::fmt;

/// Bytes at the start of a file that its kind is told from.
pub(crate) const HEAD_SIZE: u64 = 512;
/// Bytes at the start of a file that its entropy is told from.
pub(crate) const SAMPLE_SIZE: u64 = 1 << 20;
/// Bits per byte of content that random or compressed content is over; text and programs have
/// 4 to 6.5.
const HIGH_ENTROPY: f64 = 7.9;
/// Least bytes that the entropy is told from: of fewer, even noise seems to have less.
const MIN_ENTROPY_SIZE: usize = 4096;

/// The kind of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ContentKind {
    /// A program or library.
    Elf,
    /// A static library or Debian package.
    Ar,
    /// Java bytecode.
    Class,
    /// Python bytecode.
    Pyc,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// zstd.
    Zstd,
    /// A zip archive: also jar, whl and the like.
    Zip,
    /// An image, a font or a film that is compressed: png, jpeg, gif, webp, woff, woff2.
    Media,
    /// An SQLite database.
    Sqlite,
    /// UTF-8 text.
    Text,
    /// Anything else.
    Binary,
    /// No file: the tar headers and padding.
    Headers,
}

impl ContentKind {
    /// The kind of a file that starts with `head`, at least its first 512 bytes if it has as many.
    pub(crate) fn detect(head: &[u8]) -> Self {
        match head {
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf,
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => Self::Ar,
            [0xca, 0xfe, 0xba, 0xbe, ..] => Self::Class,
            // Two bytes are the version, then CR LF (CPython, Lib/importlib/_bootstrap_external.py).
            [_, 0x0d | 0x0c, b'\r', b'\n', ..] => Self::Pyc,
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Self::Bzip2,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
                Self::Media
            }
            [b'w', b'O', b'F', b'F' | b'2', ..] => Self::Media,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::Media,
            _ if head.starts_with(b"SQLite format 3\0") => Self::Sqlite,
            _ if is_text(head) => Self::Text,
            _ => Self::Binary,
        }
    }

    /// The usual name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Elf => "ELF",
            Self::Ar => "ar",
            Self::Class => "Java class",
            Self::Pyc => "Python bytecode",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Zip => "zip (jar, whl)",
            Self::Media => "image or font",
            Self::Sqlite => "SQLite",
            Self::Text => "text",
            Self::Binary => "other",
            Self::Headers => "tar headers",
        }
    }

    /// Returns true if files of this kind hold compressed bytes, of which a small change changes all that
    /// follows.
    pub const fn is_compressed(self) -> bool {
        matches!(self, Self::Gzip | Self::Xz | Self::Bzip2 | Self::Zstd | Self::Zip | Self::Media)
    }
}

impl fmt::Display for ContentKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

fn is_text(head: &[u8]) -> bool {
    let has_control =
        head.iter().any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b));
    // The last character may be cut off.
    !has_control && std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Returns true if the bytes have so much entropy that they must be compressed or encrypted.
pub(crate) fn is_dense(content: &[u8]) -> bool {
    if content.len() < MIN_ENTROPY_SIZE {
        return false;
    }
    let mut counts = [0u32; 256];
    content.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let size = content.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / size);
    let entropy: f64 = shares.map(|share| -share * share.log2()).sum();
    entropy > HIGH_ENTROPY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_from_magic() {
        for (head, kind) in [
            (&b"\x7fELF\x02"[..], ContentKind::Elf),
            (b"\xcb\x0d\r\n\0\0\0\0", ContentKind::Pyc),
            (b"PK\x03\x04", ContentKind::Zip),
            (b"\x1f\x8b\x08\0", ContentKind::Gzip),
            (b"#!/bin/sh\n", ContentKind::Text),
            ("na\u{ef}ve caf\u{e9}".as_bytes(), ContentKind::Text),
            (b"cut off: \xc3", ContentKind::Text),
            (b"latin1: \xe9 is no text", ContentKind::Binary),
            (b"\0\x01", ContentKind::Binary),
        ] {
            assert_eq!(ContentKind::detect(head), kind, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn only_noise_is_dense() {
        let mut rng = fixtures::Rng::new(1);
        assert!(is_dense(&rng.bytes(5000)) && is_dense(&rng.bytes(1 << 20)));
        assert!(!is_dense(&rng.bytes(1000)));
        assert!(!is_dense(&fixtures::contents::text(&mut rng, 10_000)));
        assert!(!is_dense(&fixtures::contents::program(1, 100_000, 0)));
    }
}
