//! The entries of a layer's tar, as far as the tools that extract tars agree about them.

use std::ops::Range;

use crate::members::Members;
use crate::{Result, Spool};

/// One entry of a tar. Extension headers are part of the entry that they describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as the tar has it, raw bytes.
    pub path: Box<[u8]>,
    /// The kind of the entry.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// The stored data: byte offsets in the uncompressed tar. Empty for entries without data.
    pub data: Range<u64>,
}

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its data is its content.
    File,
    /// A sparse file in any of the GNU and PAX forms; its data is not its content.
    Sparse,
    /// One more name of the file that an entry with this path made.
    HardLink(Box<[u8]>),
    /// A symbolic link with this target.
    Symlink(Box<[u8]>),
    /// A directory.
    Directory,
    /// A device or a fifo, or something else that is neither a directory nor a link.
    Other,
    /// The label of a tar, or a piece of a file of another volume: nothing is extracted.
    Nothing,
    /// Something that GNU tar and Go's archive/tar, and so podman and docker, read differently.
    Disputed(Dispute),
}

/// The part of a disputed entry that depends on the tool which extracts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dispute {
    /// The files under the path of the entry, and under this other path.
    Names(Box<[u8]>),
    /// Anything: the tools take different bytes for the entries that follow, or one finds a link where
    /// the other finds a file.
    Everything,
}

/// Lists the entries of a tar, up to its first zero block or its end.
///
/// The paths are those that Go's archive/tar finds, and the data lies where it finds it. What follows the
/// end of the archive is nobody's data and is not looked at. Fewer than 512 bytes at the end cannot be a
/// header and count as such, unless they are the start of one.
///
/// # Errors
/// [`Error::NotATar`](crate::Error::NotATar) if there is no header at the start,
/// [`Error::BrokenTar`](crate::Error::BrokenTar) with the offset of the header that is broken or whose data
/// is cut off, [`Error::Io`](crate::Error::Io).
pub fn entries(spool: &Spool) -> Result<Vec<Entry>> {
    Members::of(spool).map(|member| member.map(|member| member.entry)).collect()
}
