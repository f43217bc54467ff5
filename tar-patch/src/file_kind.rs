//! Kinds of files, as their first bytes tell them: for commands that were given the wrong one.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use delta_format::Version;
use layer::Compression;

/// The first bytes of a file that are looked at: a tar header's magic is in them.
const HEAD_SIZE: u64 = 512;
/// The place of the magic in a tar header (POSIX ustar, and GNU tar before it).
const USTAR: std::ops::Range<usize> = 257..262;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A file of no bytes.
    Empty,
    /// A delta.
    Delta(Version),
    /// A compressed file, which may be a layer.
    Compressed(Compression),
    /// A plain tar.
    Tar,
    /// A regular file of another kind. Very old tars are among these.
    Other,
}

impl FileKind {
    /// Looks at the file at `path`. `None` if it is neither a regular file nor a directory: a pipe must not
    /// be read before its time.
    ///
    /// # Errors
    /// If it does not exist or cannot be read.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Ok(Some(Self::Directory));
        }
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut head = Vec::new();
        File::open(path)?.take(HEAD_SIZE).read_to_end(&mut head)?;
        Ok(Some(Self::of_head(&head)))
    }

    fn of_head(head: &[u8]) -> Self {
        if head.is_empty() {
            return Self::Empty;
        }
        if let Some(version) = head.first_chunk().and_then(|magic| Version::from_magic(*magic)) {
            return Self::Delta(version);
        }
        match Compression::detect(&head[..head.len().min(Compression::MAGIC_SIZE)]) {
            Compression::None if head.get(USTAR) == Some(b"ustar") => Self::Tar,
            Compression::None => Self::Other,
            compression => Self::Compressed(compression),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => out.write_str("a directory"),
            Self::Empty => out.write_str("an empty file"),
            Self::Delta(version) => write!(out, "a delta ({})", version.name()),
            Self::Compressed(compression) => write!(out, "a {} file", compression.name()),
            Self::Tar => out.write_str("a tar"),
            Self::Other => out.write_str("a file of another kind"),
        }
    }
}

#[cfg(test)]
mod tests {
    use delta_format::wire::{MAGIC_V1, MAGIC_V3};

    use super::*;

    #[test]
    fn the_first_bytes_tell_the_kind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut tar = vec![0; 1024];
        tar[USTAR].copy_from_slice(b"ustar");
        for (bytes, kind) in [
            (&b""[..], FileKind::Empty),
            (&MAGIC_V1, FileKind::Delta(Version::V1)),
            (&MAGIC_V3, FileKind::Delta(Version::V3)),
            (&[0x1f, 0x8b, 8, 0], FileKind::Compressed(Compression::Gzip)),
            (&tar, FileKind::Tar),
            (b"tardf", FileKind::Other),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(FileKind::of(&path).unwrap(), Some(kind), "{bytes:?}");
        }
        assert_eq!(FileKind::of(directory.path()).unwrap(), Some(FileKind::Directory));
        assert_eq!(FileKind::of(Path::new("/dev/null")).unwrap(), None);
        assert!(FileKind::of(&directory.path().join("missing")).is_err());
    }
}
