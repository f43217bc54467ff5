//! The kinds of files that are given as a layer and are no tar.

use std::fmt;

use crate::{Compression, Result, Spool};

/// The kind of a file that is no tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// It has no bytes.
    Empty,
    /// A device without an end, such as a terminal or `/dev/zero`.
    Device,
    /// A tardiff of any version.
    Delta,
    /// Compressed within another compression.
    Compressed(Compression),
    /// A zip archive, also a jar.
    Zip,
    /// An ELF executable, library or module.
    Elf,
    /// A JSON document, such as a manifest.
    Json,
    /// HTML or XML: most often the error page of a server.
    Markup,
    /// Other text.
    Text,
    /// Something else that is shorter than a block of a tar.
    Short,
    /// Something else.
    Unknown,
}

impl fmt::Display for FileKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Empty => "it is empty",
            Self::Device => "it is a character device",
            Self::Delta => "it is a delta",
            Self::Compressed(compression) => {
                return write!(out, "it is compressed with {} a second time", compression.name());
            }
            Self::Zip => "it is a zip archive",
            Self::Elf => "it is an ELF file",
            Self::Json => "it is a JSON document",
            Self::Markup => "it is an HTML or XML document",
            Self::Text => "it is a text",
            Self::Short => "it is shorter than the 512 bytes of a header",
            Self::Unknown => "it does not start with the header of an entry",
        })
    }
}

/// Bytes at the start that tell what a file is.
const START_SIZE: u64 = 512;

/// Tells what a file is that is no tar.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub(crate) fn what_it_is(spool: &Spool) -> Result<FileKind> {
    let start = spool.read_range(0..spool.size().min(START_SIZE))?;
    let text = start.trim_ascii_start();
    let is_text = std::str::from_utf8(&start).map_or_else(|error| error.error_len().is_none(), |_| true)
        && !start.iter().any(|&byte| byte < b' ' && !byte.is_ascii_whitespace());
    Ok(match Compression::detect(&start) {
        _ if start.is_empty() => FileKind::Empty,
        _ if start.starts_with(b"tardf") => FileKind::Delta,
        _ if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") => FileKind::Zip,
        _ if start.starts_with(b"\x7fELF") => FileKind::Elf,
        _ if is_text && matches!(text, [b'{' | b'[', ..]) => FileKind::Json,
        _ if is_text && text.starts_with(b"<") => FileKind::Markup,
        _ if is_text => FileKind::Text,
        Compression::None if spool.size() < START_SIZE => FileKind::Short,
        Compression::None => FileKind::Unknown,
        compression => FileKind::Compressed(compression),
    })
}
