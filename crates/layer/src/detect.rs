//! Says what a file is that was given as a layer and is none.

use std::fmt;

use crate::entries::{Entry, EntryKind};
use crate::merged::clean_path;
use crate::{Compression, Error, Result, Spool, entries};

/// The kind of a file that is no tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Nothing at all.
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

/// An archive of images, which is a tar but no layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageArchive {
    /// A tar of an OCI image layout (`oci-archive:` in container tools; also what `docker save` writes
    /// since version 25).
    Oci,
    /// An archive as older versions of `docker save` write it (`docker-archive:`).
    Docker,
}

impl fmt::Display for ImageArchive {
    /// Says what it is, and what takes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Oci => {
                "an archive of images in an OCI layout; `registry-ext measure` and `registry-ext publish` take \
                 it as oci-archive:FILE, and its layers are files in its directory blobs/sha256"
            }
            Self::Docker => {
                "an archive of images as `docker save` writes it; its layers are the tars in it, and \
                 `skopeo copy docker-archive:FILE oci-archive:OTHER` makes of it what `registry-ext measure` and \
                 `registry-ext publish` take as oci-archive:OTHER"
            }
        })
    }
}

/// Checks that a tar which a user gave as a layer is not an archive of images.
///
/// Such an archive could be the layer of an image as well, so what comes from a registry is not checked.
///
/// # Errors
/// [`Error::ImageArchive`]; those of [`entries`].
pub fn check_is_layer(spool: &Spool) -> Result<()> {
    match ImageArchive::detect(&entries(spool)?) {
        Some(archive) => Err(Error::ImageArchive { name: spool.name().to_owned(), archive }),
        None => Ok(()),
    }
}

impl ImageArchive {
    /// Tells whether a tar with these entries is an archive of images.
    pub fn detect(entries: &[Entry]) -> Option<Self> {
        let has = |is_wanted: &dyn Fn(&[u8]) -> bool| {
            let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
            files.filter_map(|entry| clean_path(&entry.path)).any(|path| is_wanted(&path))
        };
        let has_file = |name: &[u8]| has(&|path| path == name);
        if has_file(b"oci-layout") && has_file(b"index.json") {
            return Some(Self::Oci);
        }
        // Of an image without layers there are manifest and config alone, which could be anything.
        let is_layer = |path: &[u8]| path.ends_with(b"/layer.tar") || is_layer_of_skopeo(path);
        (has_file(b"manifest.json") && has(&is_layer)).then_some(Self::Docker)
    }
}

/// Recognizes `<64 hex digits>.tar`.
fn is_layer_of_skopeo(path: &[u8]) -> bool {
    let digest = path.strip_suffix(b".tar");
    digest.is_some_and(|digest| digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit))
}
