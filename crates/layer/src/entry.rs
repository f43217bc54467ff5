//! An entry of a layer's tar, as far as the tools that extract tars agree about it.

use std::ops::Range;

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
